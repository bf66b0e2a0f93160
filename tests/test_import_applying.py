"""The worker applies imports: all or nothing, once, also when it is killed in the middle."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text, update

from lib import db, import_applying, import_writes, imports, jobs, tables, worker
from lib.auth import Role, User
from lib.imports import Import
from tests import people, uploads
from tests.uploads import written

pytestmark = pytest.mark.row("B11")
ROOT = Path(__file__).parents[1]
CONTENT = written("Number|Name", *(f"K-{index}|Number {index}" for index in range(40)))
# Applies what is due, and stops after half of the rows until it is killed.
APPLIER = """
import time
from lib import import_applying, import_writes
import_writes._AT_ONCE = 10
noted = import_applying._note_progress

def reached(claimed, done):
    noted(claimed, done)
    if done == 20:
        print("reached", flush=True)
        time.sleep(600)

import_applying._note_progress = reached
import_applying.apply_one()
"""


@pytest.fixture(autouse=True)
def fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-15")


@pytest.fixture
def sales(database: str) -> User:
    with db.transaction() as conn:
        return people.open_company(conn)[Role.SALES]


def queue(user: User, content: bytes = CONTENT) -> int:
    with db.transaction() as conn:
        return uploads.queue(conn, "customers", content, user)


def found(import_id: int) -> Import:
    with db.transaction() as conn:
        return imports.import_(conn, import_id)


def counted(table: str, condition: str = "true") -> int:
    with db.transaction() as conn:
        return conn.scalar(text(f"SELECT count(*) FROM {table} WHERE {condition}")) or 0


def lease_ends() -> None:
    with db.transaction() as conn:
        conn.execute(text("UPDATE imports SET leased_until = now() - interval '1 second'"))


def test_the_worker_knows_imports() -> None:
    assert worker.HANDLERS["import"] is import_applying.apply_one
    assert jobs.RETRIES["import"] is imports.retry


def test_what_is_queued_is_applied_once(sales: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_writes, "_AT_ONCE", 10)
    import_id = queue(sales)
    assert found(import_id).state == "queued"
    seen = []
    noted = import_applying._note_progress

    def progress(claimed: import_applying._Claimed, done: int) -> None:
        noted(claimed, done)
        now = found(import_id)
        seen.append((now.state, now.done_rows, counted("customers")))

    monkeypatch.setattr(import_applying, "_note_progress", progress)
    assert import_applying.apply_one()
    assert not import_applying.apply_one()
    # Seen by others while it is under way; what it does is not.
    assert seen == [("running", done, 0) for done in (0, 10, 20, 30, 40)]
    done = found(import_id)
    assert (done.state, done.created, done.done_rows, done.attempts) == ("applied", 40, 40, 1)
    assert counted("customers") == 40
    assert counted("imports", "content IS NOT NULL") == 0


def test_nobody_else_claims_what_is_being_applied(sales: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its lease has run out: the row is held."""
    import_id = queue(sales)
    claims = []
    noted = import_applying._note_progress

    def progress(claimed: import_applying._Claimed, done: int) -> None:
        noted(claimed, done)
        lease_ends()
        claims.append(import_applying.apply_one())

    monkeypatch.setattr(import_applying, "_note_progress", progress)
    import_applying.apply_one()
    assert claims
    assert not any(claims)
    assert found(import_id).attempts == 1


def test_a_worker_killed_in_the_middle_leaves_nothing_and_the_next_one_does_it(database: str, sales: User) -> None:
    import_id = queue(sales)
    environment = os.environ | {"DATABASE_URL": database, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", APPLIER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "reached\n"
        assert (found(import_id).state, found(import_id).done_rows) == ("running", 20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert counted("customers") == counted("audit_log", "object_type = 'customer'") == 0
    lease_ends()
    while not import_applying.apply_one():  # until the server has noticed that the other one is gone
        pass
    done = found(import_id)
    assert (done.state, done.created, done.attempts) == ("applied", 40, 2)
    assert counted("customers") == counted("lifecycle") == 40
    assert counted("audit_log", "object_type = 'customer'") == 40
    assert not import_applying.apply_one()


def test_two_workers_apply_each_file_once(sales: User) -> None:
    ids = [queue(sales, written("Number|Name", f"K-{index}|Name {index}")) for index in range(6)]

    def work() -> None:
        while import_applying.apply_one():
            pass

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found(import_id).state for import_id in ids] == ["applied"] * 6
    assert counted("customers") == 6


def test_who_claimed_an_import_waits_for_another_that_holds_it_for_a_moment(sales: User) -> None:
    """A worker that looks for one to claim locks a row before it sees that the row is taken."""
    import_id = queue(sales)
    with db.transaction() as conn:
        claimed = import_applying._claim(conn)
    assert claimed is not None

    def apply() -> None:
        with db.transaction() as conn:
            import_applying.apply(conn, import_id, today=date(2026, 6, 15), attempts=claimed.attempts)

    with db.transaction() as looking:
        looking.execute(text("SELECT id FROM imports WHERE id = :id FOR UPDATE"), {"id": import_id})
        thread = Thread(target=apply)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    assert found(import_id).state == "applied"


def test_what_became_wrong_since_it_was_checked_is_not_imported(sales: User) -> None:
    import_id = queue(sales, written("Number|Name", "K-1|Ada", "K-2|Bea", "|Carl"))
    with db.transaction() as conn:
        uploads.apply(conn, "customers", written("Number|Name", "K-9|Carl"), sales)
    assert import_applying.apply_one()
    failed = found(import_id)
    assert (failed.state, failed.over, counted("customers")) == ("failed", True, 1)
    assert "line 4, Name: This customer is there already, as K-9" in failed.last_error
    with db.transaction() as conn:
        jobs.retry(conn, "import", import_id, user=people.hire(conn)[Role.ADMIN])
        conn.execute(text("UPDATE customers SET name = 'Karl'"))
    assert import_applying.apply_one()
    assert found(import_id).state == "applied"


def test_who_may_not_any_more_imports_nothing(sales: User) -> None:
    import_id = queue(sales)
    with db.transaction() as conn:
        conn.execute(update(tables.staff).where(tables.staff.c.id == sales.id).values(disabled_at="2026-06-01"))
    import_applying.apply_one()
    assert found(import_id).last_error.startswith("Samuel is disabled in Mandant")
    assert counted("customers") == 0


def test_an_unexpected_error_is_tried_again_and_then_failed(sales: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("disk full")

    import_id = queue(sales)
    with monkeypatch.context() as patch:
        patch.setattr(import_writes, "write", broken)
        for attempt in range(import_applying.MOST_ATTEMPTS):
            assert found(import_id).attempts == attempt
            assert import_applying.apply_one()
            assert not import_applying.apply_one()  # not at once
            with db.transaction() as conn:
                conn.execute(text("UPDATE imports SET due_at = now()"))
    failed = found(import_id)
    assert failed.state == "failed"
    assert "An unexpected error; the log has it under the reference" in failed.last_error
    with db.transaction() as conn:
        imports.retry(conn, import_id, user=sales)
    assert import_applying.apply_one()
    assert found(import_id).state == "applied"


def test_the_file_of_a_failed_import_is_dropped_after_a_week(sales: User) -> None:
    import_id = queue(sales)
    with db.transaction() as conn:
        conn.execute(text("UPDATE imports SET state = 'failed', due_at = now() - interval '8 days'"))
    assert not import_applying.apply_one()
    assert counted("imports", "content IS NOT NULL") == 0
    with db.transaction() as conn, pytest.raises(imports.Conflict, match="its file is dropped by now"):
        imports.retry(conn, import_id, user=sales)


def test_an_import_that_nobody_takes_up_is_said_to_wait(sales: User) -> None:
    import_id = queue(sales)
    assert not found(import_id).waiting
    with db.transaction() as conn:
        conn.execute(text("UPDATE imports SET due_at = now() - interval '1 minute'"))
    assert found(import_id).waiting
