"""Project keys: each brings IPs for some months at a price of its own, and is used once."""

from lib.migrations.sql import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("0006_project_keys.sql")
