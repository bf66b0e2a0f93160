"""A customer's people, mail, usage, imports, deletion; the second factor of staff."""

from lib.migrations.sql import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run("0002_customers.sql")
