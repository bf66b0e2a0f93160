"""The database: one engine, one kind of transaction, migrations."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from lib.errors import Conflict

MIGRATIONS = Path(__file__).parent / "migrations"
# Any fixed number: two processes that migrate at once take turns on it.
MIGRATION_LOCK = 7_246_155


def url() -> str:
    """The address of the database, from DATABASE_URL. Raises RuntimeError where it isn't set."""
    address = os.environ.get("DATABASE_URL")
    if not address:
        raise RuntimeError("DATABASE_URL is not set. Start the app by `make run`, or set it to your Postgres.")
    return address


def engine(address: str | None = None) -> Engine:
    """One pooled engine per address and process."""
    return _engine(address or url())


@cache
def _engine(address: str) -> Engine:
    target = make_url(address).set(drivername="postgresql+psycopg")
    return create_engine(
        target,
        pool_size=10,
        max_overflow=20,
        pool_pre_ping=True,
        connect_args={
            "prepare_threshold": None,  # named plans break behind a transaction-pooling pgbouncer
            "application_name": "mandant",
            # A killed process frees its locks at once, not when its statement ends. JIT compiling
            # costs more than it saves on statements of this size.
            "options": "-c client_connection_check_interval=1000 -c jit=off",
        },
    )


@contextmanager
def transaction() -> Iterator[Connection]:
    """The only place that commits: all of the block, or nothing of it."""
    with engine().begin() as conn:
        yield conn


def migrate(conn: Connection) -> None:
    """Bring the schema to the newest version. Safe to call by several processes at once."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    for extension in ("btree_gist", "pg_trgm"):
        conn.execute(text(f"CREATE EXTENSION IF NOT EXISTS {extension}"))
    config = _alembic()
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def schema_version(conn: Connection) -> str | None:
    """The migration that the database is at, or None for an empty one."""
    if conn.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    version: str | None = conn.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def newest_version() -> str:
    """The migration that this code needs."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    assert head is not None
    return head


def constraint_of(error: DBAPIError) -> str | None:
    """The name of the constraint that refused a statement, or None."""
    diagnosis = getattr(error.orig, "diag", None)
    name: str | None = getattr(diagnosis, "constraint_name", None)
    return name


@contextmanager
def conflicts(messages: dict[str, str]) -> Iterator[None]:
    """Turn a refusal by one of the named constraints into a Conflict with its sentence."""
    try:
        yield
    except DBAPIError as error:
        message = messages.get(constraint_of(error) or "")
        if message is None:
            raise
        raise Conflict(message) from error


def rows(conn: Connection, statement: str, **values: Any) -> list[Any]:
    """All rows of a hand-written query."""
    return list(conn.execute(text(statement), values))


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
