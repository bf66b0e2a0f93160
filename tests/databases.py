"""Databases for tests: one server for all workers, one migrated template, a copy where it is needed.

The server is DATABASE_URL's where it is set when the tests begin, else one of our own that all
worker processes share.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from lib import db, postgres

ROOT = Path(__file__).parents[1]
GIVEN = os.environ.get("DATABASE_URL")
# Any fixed number: workers take turns with making the template.
TEMPLATE_LOCK = 7_246_156


@contextmanager
def server() -> Iterator[str]:
    """The URL of the server's maintenance database. Durability is off: the data are thrown away."""
    own = postgres.server(
        ROOT / ".data" / "test-postgres", fsync="off", synchronous_commit="off", full_page_writes="off"
    )
    with nullcontext(GIVEN) if GIVEN else own as url:
        yield url


def template(url: str) -> str:
    """The name of a migrated, otherwise empty database, made by the first worker that asks."""
    content = b"".join(path.read_bytes() for path in sorted(db.MIGRATIONS.rglob("*")) if path.suffix in (".py", ".sql"))
    name = f"mandant_template_{sha256(content).hexdigest()[:12]}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
        _drop_left_over(conn, keep=name)
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            unfinished = f"{name}_new"
            _drop(conn, unfinished)
            engine = db.engine(postgres.database(url, unfinished))
            with engine.begin() as fresh:
                db.migrate(fresh)
            engine.dispose()
            conn.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(unfinished), sql.Identifier(name))
            )
    return name


@contextmanager
def copy(url: str, template_name: str) -> Iterator[str]:
    """A copy of the template, which goes when the block ends. Yields its URL."""
    name = f"mandant_test_{os.getpid()}_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as conn:
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
        names = sql.Identifier(name), sql.Identifier(template_name)
        conn.execute(command.format(*names, sql.SQL(_strategy(conn))))
    try:
        yield postgres.database(url, name)
    finally:
        with psycopg.connect(url, autocommit=True) as conn:
            _drop(conn, name)


@contextmanager
def in_use(url: str) -> Iterator[str]:
    """Make `url` the database that lib.db, and so the pages, work on."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    db.engine.cache_clear()
    try:
        yield url
    finally:
        db.engine().dispose()
        db.engine.cache_clear()
        if before is None:
            del os.environ["DATABASE_URL"]
        else:
            os.environ["DATABASE_URL"] = before


def _strategy(conn: psycopg.Connection) -> str:
    """How a copy is cheapest: file by file, unless each file is forced to the disk."""
    row = conn.execute("SHOW fsync").fetchone()
    return "FILE_COPY" if row == ("off",) else "WAL_LOG"


def _drop(conn: psycopg.Connection, name: str) -> None:
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_left_over(conn: psycopg.Connection, *, keep: str) -> None:
    """Databases of runs that were killed on this machine, and templates of older schemas."""
    for (name,) in conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'mandant%'").fetchall():
        parts = name.split("_")
        killed = parts[:2] == ["mandant", "test"] and not psutil.pid_exists(int(parts[2]))
        old = not GIVEN and parts[:2] == ["mandant", "template"] and name != keep and not name.endswith("_new")
        if killed or old:
            with suppress(psycopg.Error):
                _drop(conn, name)
