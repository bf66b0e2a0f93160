"""Prepaid terms on plans and modules, and what the catalogue says for them."""

from lib.migrations.sql import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run("0008_terms.sql")
