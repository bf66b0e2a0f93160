"""The database server of the benchmarks, and the databases on it."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from lib import db, demo_fill, postgres

ROOT = Path(__file__).parents[1]
# The demo's last day: closed months end two months before it.
TODAY = date(2026, 11, 21)


@dataclass(frozen=True)
class Bench:
    """Where to measure, with how many customers, and how often."""

    url: str
    customers: int
    runs: int


@contextmanager
def bench_server() -> Iterator[str]:
    """A server of our own with its ordinary durability, or that of DATABASE_URL."""
    given = os.environ.get("DATABASE_URL")
    own = postgres.server(ROOT / ".data" / "bench-postgres", shared_buffers="512MB", max_wal_size="4GB")
    with nullcontext(given) if given else own as url:
        yield url


def log(message: str) -> None:
    """Progress goes to stderr: stdout holds the figures alone."""
    print(message, file=sys.stderr, flush=True)


def filled(bench: Bench, name: str, *, customers: int, months: int, documents: int) -> str:
    """The URL of a database with so many customers; made once, kept for the next run of the same schema."""
    full = f"bench_{name}_{customers}"
    with psycopg.connect(bench.url, autocommit=True) as conn:
        kept = conn.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (full,)
        ).fetchone()
    if kept and kept[0] == _schema():
        return postgres.database(bench.url, full)
    drop(bench.url, full)
    url = postgres.database(bench.url, full)
    log(f"Filling {full} …")
    with in_use(url):
        try:
            with db.transaction() as conn:
                db.migrate(conn)
                demo_fill.fill(conn, customers=customers, today=TODAY, months=months, documents=documents, progress=log)
            demo_fill.vacuum()
            with psycopg.connect(bench.url, autocommit=True) as conn:
                conn.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(full), sql.Literal(_schema()))
                )
        except BaseException:
            db.engine().dispose()
            drop(bench.url, full)
            raise
    return url


def _schema() -> str:
    """What tells one state of the migrations from another, also while they are edited in place."""
    scripts = sorted((ROOT / "lib" / "migrations" / "sql").glob("*.sql"))
    return sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()


@contextmanager
def copied(bench: Bench, source_url: str, name: str) -> Iterator[str]:
    """A throw-away copy of a database."""
    source = source_url.rsplit("/", 1)[1].split("?")[0]
    drop(bench.url, name)
    with psycopg.connect(bench.url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
        conn.execute("CHECKPOINT")
    try:
        yield postgres.database(bench.url, name)
    finally:
        drop(bench.url, name)


def drop(server_url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def in_use(url: str) -> Iterator[None]:
    """Make `url` the database that lib.db works on."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    try:
        yield
    finally:
        db.engine().dispose()
        if before is None:
            del os.environ["DATABASE_URL"]
        else:
            os.environ["DATABASE_URL"] = before


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def peak_memory(action: Callable[[], object]) -> int:
    """The most memory in bytes that this process holds while `action` runs, whatever it held before (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    action()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def ratio(ours: list[float], reference: list[float]) -> float:
    """The median of ours over that of the reference."""
    return median(ours) / median(reference)
