"""lib/tables.py and the migrations say the same, and migrating twice or at once changes nothing."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from lib import db, postgres, tables
from tests import databases


def test_the_tables_are_those_of_the_migrations(conn: Connection) -> None:
    options = {"compare_type": True, "compare_server_default": False}
    context = MigrationContext.configure(conn, opts=options)
    differences = [d for d in compare_metadata(context, tables.metadata) if "alembic_version" not in str(d)]
    assert differences == []


def test_every_named_constraint_exists(conn: Connection) -> None:
    known = set(conn.scalars(text("SELECT conname FROM pg_constraint")))
    named = {
        str(constraint.name)
        for table in tables.metadata.tables.values()
        for constraint in table.constraints
        if constraint.name is not None
    }
    assert named - known == set()


def test_no_object_names_a_schema(conn: Connection) -> None:
    """One company is one schema later: nothing may say public."""
    bodies = conn.scalars(text("SELECT prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"))
    assert not [body for body in bodies if "public." in body]


def test_two_processes_can_migrate_at_once(server: str) -> None:
    name = "mandant_test_0_migrate"
    with psycopg.connect(server, autocommit=True) as conn:
        databases._drop(conn, name)
    engine = db.engine(postgres.database(server, name))

    def migrate(_: int) -> str | None:
        with engine.begin() as conn:
            db.migrate(conn)
            return db.schema_version(conn)

    try:
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(migrate, range(3))) == {db.newest_version()}
    finally:
        engine.dispose()
        with psycopg.connect(server, autocommit=True) as conn:
            databases._drop(conn, name)
