"""Entries of the audit log about documents are found by their customer."""

from lib.migrations.sql import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run("0012_audit_index.sql")
