"""The ledger, prices, charges, invoices, staff and the audit log."""

from lib.migrations.sql import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run("0001_first.sql")
