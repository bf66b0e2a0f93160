"""`make run`'s runner: with a Postgres of the user's own nothing but the schema goes into it, and Ctrl-C ends all."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from lib import db, local, vault

ROOT = Path(__file__).parents[1]
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def run(database: str, port: int) -> Iterator[Run]:
    """`run(NAME="value")`: the runner with these environment variables, on the test's database and port."""
    started = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        values = os.environ | {"DATABASE_URL": database, "PORT": str(port)} | environment
        process = subprocess.Popen(
            [sys.executable, "-m", "lib.local"],
            cwd=ROOT,
            env=values,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def wait_for_address(process: "subprocess.Popen[str]", port: int) -> None:
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    assert any(f"http://127.0.0.1:{port}" in line for line in lines)


def worker_of(process: "subprocess.Popen[str]", *, other_than: int = 0) -> psutil.Process:
    """The worker, once it runs; one that ended and was not looked at yet doesn't."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if child.pid != other_than and child.status() != psutil.STATUS_ZOMBIE and "work" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def test_an_own_postgres_gets_the_schema_and_nothing_else(run: Run, port: int) -> None:
    process = run(FORWARDED_ALLOW_IPS="127.0.0.1")
    wait_for_address(process, port)
    with db.transaction() as conn:
        assert db.schema_version(conn) == db.newest_version()
        for table in ("staff", "customers", "months"):
            assert conn.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-Proto": "https"})
    with urllib.request.urlopen(request) as answer:
        assert "secure" in answer.headers["set-cookie"].lower(), "the proxy was named"

    first = worker_of(process)
    first.kill()
    worker_of(process, other_than=first.pid)  # one that died is replaced
    started = psutil.Process(process.pid).children()
    for _ in range(2):  # an impatient Ctrl-C
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "password" not in printed
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server still runs"
    assert not any(child.is_running() for child in started)


def test_a_killed_runner_leaves_nothing_running(run: Run, port: int) -> None:
    process = run()
    wait_for_address(process, port)
    assert worker_of(process)
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    _, alive = psutil.wait_procs(started, timeout=120)
    assert not alive


def test_the_demos_key_is_made_once_and_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KEYS", tmp_path / "keys")
    made = local._own_keys()
    assert local._own_keys() == made and [path.name for path in tmp_path.iterdir()] == ["keys"]
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(vault.VARIABLE, made)
    assert vault.opened(vault.sealed("x", about="y"), about="y") == "x"


def test_a_port_in_use_is_said_before_anything_starts(run: Run, port: int) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        _, said = run().communicate(timeout=60)
    assert f"Port {port} is in use. Choose another one: make run PORT={port + 1}" in said
    assert "Traceback" not in said


def test_the_demo_is_not_served_to_the_network(run: Run) -> None:
    process = run(DATABASE_URL="", ADDRESS="0.0.0.0")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "this machine only" in said


INTERRUPTED = """
import subprocess, sys
import psutil
from lib import local

def asleep(*_, **__):
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

def interrupted():
    asleep()
    raise KeyboardInterrupt

local.start, local.up, local.start_worker = asleep, lambda *_: True, interrupted
try:
    local._serve("127.0.0.1", 8501, None, demo_sign_ins=False)
except KeyboardInterrupt:
    print(len(psutil.Process().children()), "left")
"""


def test_a_signal_that_comes_while_a_worker_starts_leaves_none() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 left\n")
