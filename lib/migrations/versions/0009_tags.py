"""Which tags are in use, found without reading every customer."""

from lib.migrations.sql import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run("0009_tags.sql")
