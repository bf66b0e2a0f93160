"""Backup and restore, tried for real (row N1)."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from lib import backups, charges, checks, db
from lib.errors import Conflict, Invalid
from tests import databases, ledgers, people
from tests.ledgers import JUNE


@pytest.fixture
def filled(database: str) -> str:
    """A database with people, a customer, bookings and their charges."""
    with db.transaction() as conn:
        staff = people.open_company(conn, first_month=JUNE)
        ips, ada = ledgers.product(conn, staff, "ips", price=ledgers.RANGES), ledgers.customer(conn, staff)
        ledgers.book(conn, staff, ada, ips, 300, JUNE)
        charges.ensure_rated(conn, JUNE)
    return database


@pytest.mark.row("N1")
def test_round_trip(filled: str, server: str, tmp_path: Path) -> None:
    """Every row comes back, and so do the rules that keep them."""
    file = tmp_path / "mandant.backup"
    size = backups.backup(filled, file)
    assert size == file.stat().st_size > 1_000
    assert file.stat().st_mode & 0o077 == 0  # nobody else reads it
    with empty(server) as other:
        backups.restore(other, file)
        with db.engine(filled).connect() as before, db.engine(other).connect() as after:
            assert content(before) == content(after)
            assert checks.findings(after) == []
            with pytest.raises(Exception, match="never changed"):
                after.execute(text("DELETE FROM bookings"))
        db.engine(other).dispose()


@pytest.mark.row("N1")
def test_a_filled_database_is_replaced_only_when_told(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "mandant.backup"
    backups.backup(filled, file)
    with db.transaction() as conn:
        conn.execute(text("UPDATE company SET name = 'Changed since'"))
    with pytest.raises(Conflict, match="not empty"):
        backups.restore(filled, file)
    backups.restore(filled, file, replace=True)
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT name FROM company")) == ""
        assert conn.scalar(text("SELECT count(*) FROM charges")) == 1


def test_a_restore_that_fails_leaves_what_was_there(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "mandant.backup"
    backups.backup(filled, file)
    file.write_bytes(file.read_bytes()[:-2_000])
    with pytest.raises(Conflict, match="pg_restore failed"):
        backups.restore(filled, file, replace=True)
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM charges")) == 1


def test_a_backup_of_another_version_replaces_nothing_and_says_where_it_goes(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "mandant.backup"
    backups.backup(filled, file)
    # What a later version brought: the backup knows nothing of it, and it stands in the way.
    with db.transaction() as conn:
        conn.execute(text("CREATE TABLE added_later (customer_id BIGINT REFERENCES customers (id))"))
    with pytest.raises(Conflict, match=r"(?s)pg_restore failed.*Nothing was replaced\..*goes into an empty database"):
        backups.restore(filled, file, replace=True)
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM charges")) == 1


def test_what_is_no_backup_is_refused(database: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no file"):
        backups.restore(database, tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Invalid, match="not a backup"):
        backups.restore(database, tmp_path / "notes.txt")
    with pytest.raises(Invalid, match="no folder"):
        backups.backup(database, tmp_path / "nowhere" / "file")


def test_without_a_fitting_program_it_says_so(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "_candidates", lambda name: [])
    with pytest.raises(Conflict, match=r"pg_dump of Postgres \d+ or newer is needed"):
        backups.backup(database, tmp_path / "file")


def test_the_password_is_not_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.append((command, options["env"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(backups.subprocess, "run", run)
    backups._run(["pg_dump"], "postgresql+psycopg://me:s3cret@db.example/mandant")
    [(command, environment)] = seen
    assert command == ["pg_dump", "--dbname=postgresql://me@db.example/mandant"]
    assert environment["PGPASSWORD"] == "s3cret"


def empty(server: str):  # type: ignore[no-untyped-def]
    """A database without tables, for as long as the block lasts."""
    return databases.copy(server, "template0")


def content(conn) -> dict[str, list[tuple[object, ...]]]:  # type: ignore[no-untyped-def]
    """All rows of all tables, and the views' and triggers' names."""
    tables = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")).all()
    found = {table: sorted(map(repr, conn.execute(text(f"SELECT * FROM {table}")))) for table in tables}
    found["triggers"] = sorted(conn.scalars(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")))
    return found
