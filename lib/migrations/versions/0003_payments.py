"""What was paid on a document."""

from lib.migrations.sql import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run("0003_payments.sql")
