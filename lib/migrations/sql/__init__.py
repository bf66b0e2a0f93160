"""Migrations are written in SQL: triggers, views and exclusion constraints have no other home."""

from pathlib import Path

from alembic import op


def run(name: str) -> None:
    """Execute the SQL file `name` of this folder in the migration's transaction."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute((Path(__file__).parent / name).read_text(encoding="utf-8").encode())
