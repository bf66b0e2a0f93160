"""The embedded server: shared by processes, stopped by the last, never fooled by a stale pid file."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from lib import postgres
from tests import databases

ROOT = Path(__file__).parents[1]
WAITS = """
import sys, time
from pathlib import Path
from lib import postgres
with postgres.server(Path(sys.argv[1]), fsync="off") as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with databases.folder() as path:
        yield path


def answer(url: str, question: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(question).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]


def start_waiting(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WAITS, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_data_survive_a_restart_and_nobody_is_left_running(folder: Path) -> None:
    with postgres.server(folder, fsync="off") as url:
        mine = postgres.database(url, "mine")
        assert postgres.database(url, "mine") == mine
        with psycopg.connect(mine) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 7 AS n")
        assert answer(mine, "SELECT current_setting('listen_addresses')") == ""
    assert databases.postmaster(folder) is None
    with postgres.server(folder, fsync="off"):
        assert answer(mine, "SELECT n FROM kept") == 7


def test_order_does_not_depend_on_the_machine(folder: Path) -> None:
    with postgres.server(folder, fsync="off") as url:
        assert answer(url, "SELECT datlocale FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
        assert answer(url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,a,B,ä}'::text[]) x") == "Babä"


def test_nobody_without_the_password_gets_in(folder: Path) -> None:
    with postgres.server(folder, fsync="off") as url:
        assert (folder / "password").stat().st_mode & 0o077 == 0
        password = (folder / "password").read_text()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace(password, "wrong"))


def test_processes_share_one_server_and_the_last_stops_it(folder: Path) -> None:
    first, second = start_waiting(folder), start_waiting(folder)
    assert first.stdout and second.stdout
    url = first.stdout.readline().strip()
    assert second.stdout.readline().strip() == url
    first.communicate("\n", timeout=20)
    assert answer(url, "SELECT 1") == 1
    second.communicate("\n", timeout=20)
    assert databases.postmaster(folder) is None


def test_a_killed_process_does_not_count_as_a_user(folder: Path) -> None:
    killed = start_waiting(folder)
    assert killed.stdout
    url = killed.stdout.readline().strip()
    killed.kill()
    killed.communicate()
    assert answer(url, "SELECT 1") == 1  # its server outlives it
    with postgres.server(folder, fsync="off") as again:
        assert again == url
    assert databases.postmaster(folder) is None


def test_a_killed_server_is_started_again(folder: Path) -> None:
    with postgres.server(folder, fsync="off"):
        process = databases.postmaster(folder)
        assert process is not None
        children = process.children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        deadline = time.monotonic() + 10
        while databases.postmaster(folder) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        with postgres.server(folder, fsync="off") as url:
            assert answer(url, "SELECT 1") == 1


def test_a_pid_that_is_another_program_now_is_no_server(folder: Path) -> None:
    with postgres.server(folder, fsync="off"):
        pass
    pid_file = (folder / "server").resolve() / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n0\n5432\n\n\n")
    with postgres.server(folder, fsync="off") as url:
        assert answer(url, "SELECT 1") == 1


def test_a_folder_too_deep_for_a_socket_gets_a_port_on_this_machine_only(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with postgres.server(deep, fsync="off") as url:
        assert "host=127.0.0.1" in url
        assert answer(url, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
        assert answer(url, "SELECT current_setting('unix_socket_directories')") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that the server's user can't enter")
def test_root_keeps_the_data_elsewhere_when_its_folder_is_closed(folder: Path) -> None:
    folder.chmod(0o700)
    with postgres.server(folder, fsync="off") as url:
        assert answer(url, "SELECT 1") == 1
    assert (folder / "server").is_symlink()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_server_that_does_not_come_up_says_why(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_setting"), postgres.server(folder, no_such_setting="1"):
        pass
