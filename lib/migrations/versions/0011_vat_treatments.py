"""Products, adjustments and lines are taxed at the standard or the reduced rate, or exempt."""

from lib.migrations.sql import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run("0011_vat_treatments.sql")
