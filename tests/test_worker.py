"""The worker: it does what is due, ends in order, outlives a handler that fails, and dies with its parent."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from sqlalchemy import text

from lib import db, worker

ROOT = Path(__file__).parents[1]
# A job in one transaction, as an erasure or an import is: claimed, its effect written, slow to end.
SLOW_JOB = """
import sys, time
from sqlalchemy import text
from lib import db
with db.transaction() as conn:
    claimed = conn.scalar(text("SELECT id FROM work WHERE done_at IS NULL FOR UPDATE SKIP LOCKED"))
    conn.execute(text("UPDATE work SET done_at = now(), effects = effects + 1 WHERE id = :id"), {"id": claimed})
    print("claimed", flush=True)
    time.sleep(60)
"""


def until(true: Callable[[], object], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "lib", "work", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def working() -> int:
    """How many connections other processes of ours hold: a worker that has begun has one."""
    with db.transaction() as conn:
        query = """SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'mandant' AND pid <> pg_backend_pid()"""
        return conn.scalar(text(query)) or 0


def test_it_works_without_pause_until_nothing_is_due_and_then_sleeps() -> None:
    stop, left, calls = Event(), list(range(5)), []

    def handler() -> bool:
        calls.append(time.monotonic())
        if not left:
            return False
        left.pop()
        return True

    thread = Thread(target=worker.work, args=({"a": handler},), kwargs={"stop": stop, "idle_seconds": 0.5})
    thread.start()
    until(lambda: len(calls) >= 8)
    stop.set()
    thread.join(60)
    assert not thread.is_alive() and not left
    assert calls[5] - calls[0] < 2.4, "no pause while there is work: five would take 2.5 seconds"
    assert all(later - earlier > 0.45 for earlier, later in pairwise(calls[5:])), "then it sleeps"


def test_a_handler_that_fails_rests_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    stop, failures, done = Event(), [], []

    def broken() -> bool:
        failures.append(1)
        raise RuntimeError("no such thing")

    def sound() -> bool:
        done.append(1)
        if len(done) == 50:
            stop.set()
        return True

    worker.work({"broken": broken, "sound": sound}, stop=stop, rest_seconds=60)
    assert len(done) == 50 and len(failures) == 1, "the broken one is not tried again at once"
    assert "The work “broken” failed" in caplog.text and "no such thing" in caplog.text


def test_a_handler_that_recovers_is_called_again() -> None:
    stop, calls = Event(), []

    def recovering() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError
        stop.set()
        return True

    worker.work({"a": recovering}, stop=stop, rest_seconds=0.05, idle_seconds=0.01)
    assert len(calls) == 2


def test_it_ends_between_two_jobs_and_not_in_one() -> None:
    stop, done = Event(), []

    def first() -> bool:
        stop.set()
        done.append("first")
        return True

    def second() -> bool:
        done.append("second")
        return True

    worker.work({"first": first, "second": second}, stop=stop)
    assert done == ["first"]


def test_a_signal_ends_it_in_order(database: str) -> None:
    process = start()
    until(working)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in said


def test_it_dies_with_its_parent(database: str) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'lib', 'work', '--parent', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    until(working)
    parent.kill()
    parent.wait()
    until(lambda: gone(child))


def gone(pid: int) -> bool:
    """Ended; one that was handed to a process that does not wait for it stays as a zombie."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_workers_job_is_done_by_another_with_one_effect(database: str) -> None:
    with db.transaction() as conn:
        conn.execute(text("CREATE TABLE work (id int, done_at timestamptz, effects int NOT NULL DEFAULT 0)"))
        conn.execute(text("INSERT INTO work VALUES (1)"))
    process = subprocess.Popen([sys.executable, "-c", SLOW_JOB], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "claimed\n"
    stop = Event()

    def handler() -> bool:
        with db.transaction() as conn:
            claimed = conn.scalar(text("SELECT id FROM work WHERE done_at IS NULL FOR UPDATE SKIP LOCKED"))
            if claimed is None:
                return False
            conn.execute(text("UPDATE work SET done_at = now(), effects = effects + 1"))
        stop.set()
        return True

    assert not handler(), "while the first one works, the row is its own"
    process.kill()
    process.wait()
    Thread(target=lambda: (time.sleep(30), stop.set()), daemon=True).start()
    worker.work({"work": handler}, stop=stop, idle_seconds=0.05)
    with db.transaction() as conn:
        assert conn.execute(text("SELECT effects, done_at IS NOT NULL FROM work")).one() == (1, True)


def test_without_a_database_it_goes_on_trying(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    process = start()
    assert process.stderr
    assert "it is tried again in 15 seconds: connection failed" in process.stderr.readline()
    assert process.poll() is None
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in said
