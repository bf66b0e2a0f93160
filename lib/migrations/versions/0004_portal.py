"""What a customer's users book by themselves, in the portal."""

from lib.migrations.sql import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("0004_portal.sql")
