"""Databases for tests: one server for all workers, one migrated template, a copy where it is needed.

The server is DATABASE_URL's where it is set when the tests begin, else one of our own that all
worker processes share. Its files are in memory where there is room: a copy then costs a tenth.
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from lib import db, postgres

ROOT = Path(__file__).parents[1]
GIVEN = os.environ.get("DATABASE_URL")
# Any fixed number: workers take turns with making the template.
TEMPLATE_LOCK = 7_246_156
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2**30
# The engine whose compiled statements the others use, too.
_compiler: list[Engine] = []
_connections: dict[str, psycopg.Connection] = {}
# Durability is off: the data are thrown away. The rest keeps the server from work of its own, and its files few.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "128MB",
}


@contextmanager
def server() -> Iterator[str]:
    """The URL of the server's maintenance database."""
    with _started() as url:
        try:
            yield url
        finally:
            for conn in _connections.values():
                conn.close()
            _connections.clear()


@contextmanager
def _started() -> Iterator[str]:
    if GIVEN:
        yield GIVEN
        return
    shared = ROOT / ".data" / "test-postgres"
    shared.mkdir(parents=True, exist_ok=True)
    with postgres._locked(shared):
        _keep_in_memory(shared)
    try:
        with postgres.server(shared, **SETTINGS) as url:
            yield url
    finally:
        with postgres._locked(shared):
            if postmaster(shared) is None:  # we were the last
                _remove_server(shared)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a server of the test's own, which every user can enter: pytest's is closed to it when we are root.

    Whatever is left of the server goes with the folder.
    """
    path = Path(tempfile.mkdtemp(dir=_memory(), prefix="mandant-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        process = postmaster(path)
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            psutil.wait_procs([process], timeout=10)
        _remove_server(path)
        shutil.rmtree(path)


def postmaster(folder: Path) -> psutil.Process | None:
    """The server that runs on the data in `folder`."""
    return postgres._postmaster(folder / "server" / "data")


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
                # Tests sign in with a password alone; those of the second factor demand it themselves.
                fresh.execute(text("UPDATE company SET second_factor_roles = '{}'"))
            engine.dispose()
            conn.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(unfinished), sql.Identifier(name))
            )
    return name


@contextmanager
def copy(url: str, template_name: str) -> Iterator[str]:
    """A copy of the template, which goes when the block ends. Yields its URL."""
    name = f"mandant_test_{os.getpid()}_{secrets.token_hex(4)}"
    conn = _at_hand(url)
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
    conn.execute(command.format(sql.Identifier(name), sql.Identifier(template_name), sql.SQL(_strategy(conn))))
    address = postgres.address(url, name)
    try:
        yield address
    finally:
        db.engine(address).dispose()
        _drop(_at_hand(url), name)


@contextmanager
def in_use(url: str) -> Iterator[str]:
    """Make `url` the database that lib.db, and so the pages, work on."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    _share_statements(db.engine())
    try:
        yield url
    finally:
        if before is None:
            del os.environ["DATABASE_URL"]
        else:
            os.environ["DATABASE_URL"] = before


def _share_statements(engine: Engine) -> None:
    """Let all engines of this process compile a statement once: with a dialect of its own, each would do it anew."""
    if not _compiler:
        engine.connect().close()  # tells the dialect about the server
        _compiler.append(engine)
    engine.dialect = engine.pool._dialect = _compiler[0].dialect
    engine._compiled_cache = _compiler[0]._compiled_cache


def _at_hand(url: str) -> psycopg.Connection:
    """This process's connection for making and dropping databases: signing in for each costs more than a copy."""
    if url not in _connections:
        _connections[url] = psycopg.connect(url, autocommit=True)
    return _connections[url]


def _memory() -> Path | None:
    """A folder that is kept in memory, if there is one with room for some databases."""
    with suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
            return MEMORY
    return None


def _keep_in_memory(folder: Path) -> None:
    """Let the server of `folder` have its files in memory, unless it runs."""
    place = folder / "server"
    if _memory() is None or (place.exists() and (place.is_symlink() or postmaster(folder) is not None)):
        return
    _remove_server(folder)
    in_memory = Path(tempfile.mkdtemp(dir=_memory(), prefix="mandant-"))
    postgres._give_away(in_memory)
    place.symlink_to(in_memory)


def _remove_server(folder: Path) -> None:
    """Remove the files of the server of `folder`, wherever they are."""
    place = folder / "server"
    shutil.rmtree(place.resolve(), ignore_errors=True)
    place.unlink(missing_ok=True)


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
