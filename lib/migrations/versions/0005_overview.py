"""What charges cost us and how many IPs are internal, kept ready for the Overview."""

from lib.migrations.sql import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run("0005_overview.sql")
