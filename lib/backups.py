"""Backup and restore of our own database, by pg_dump and pg_restore (row N1). See `docs/operations.md`.

A backup is one file in Postgres' custom format: compressed, restorable into any server of the same
version or newer. pg_restore loads the rows before it makes the triggers, so the append-only rules
don't stand in its way. Secrets are kept outside the database and are in no backup.
"""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, make_url, text

from lib import db, postgres
from lib.errors import Conflict, Invalid

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def backup(url: str, file: Path) -> int:
    """Write the whole database to `file` and return its size in bytes. An older file of that name is replaced last.

    Raises Conflict where no pg_dump fits the server, Invalid where the file can't be written.
    """
    program = _program("pg_dump", url)
    if not file.parent.is_dir():
        raise Invalid(f"There is no folder {file.parent}. Make it first.", field="file")
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        _run([program, "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}"], url)
        unfinished.chmod(0o600)  # it holds all customers' data
        unfinished.replace(file)
    except OSError as error:
        raise Invalid(f"{file} can't be written: {error.strerror}.", field="file") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return file.stat().st_size


def restore(url: str, file: Path, *, replace: bool = False) -> None:
    """Load a backup into the database, all of it or nothing.

    One that already holds tables is refused, unless `replace` says that they may go: those that the backup has, so
    it must be of the same version of ours. Raises Conflict, also where no pg_restore fits, and Invalid where the
    file isn't a backup.
    """
    if not file.is_file():
        raise Invalid(f"There is no file {file}.", field="file")
    if file.open("rb").read(5) != b"PGDMP":
        raise Invalid(f"{file} is not a backup made by this program.", field="file")
    program = _program("pg_restore", url)
    _require_empty(url, replace=replace)
    # One transaction: what replaces the old tables is there, or they stay.
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    options += ["--clean", "--if-exists"] if replace else []
    try:
        _run([program, *options, f"--dbname={_plain(url)}", str(file)], url)
    except Conflict as failure:
        if not replace:
            raise
        raise Conflict(
            f"{failure}\nNothing was replaced. A backup of another version of Mandant goes into an empty database."
        ) from None
    with db.engine(url).begin() as conn:
        conn.execute(text("ANALYZE"))


def _require_empty(url: str, *, replace: bool) -> None:
    with db.engine(url).connect() as conn:
        if not replace and _tables(conn):
            raise Conflict(
                "The database is not empty, and a restore would replace what is in it. Restore into an empty one, "
                "or say --replace."
            )


def _tables(conn: Connection) -> int:
    statement = text("SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
    return conn.scalar(statement) or 0


def _program(name: str, url: str) -> str:
    """The newest `name` that is not older than the server: an older one refuses to read it."""
    with db.engine(url).connect() as conn:
        server = int(conn.scalar(text("SELECT current_setting('server_version_num')::int / 10000")) or 0)
    found = sorted(((_version(path), path) for path in _candidates(name)), reverse=True)
    if not found or found[0][0] < server:
        newest = f"; the newest here is {found[0][0]}" if found else ""
        raise Conflict(
            f"{name} of Postgres {server} or newer is needed{newest}. Install the Postgres client programs "
            f"(postgresql-client-{server} on Debian) and try again."
        )
    # A file made by a newer pg_dump needs a newer pg_restore, so both take the one nearest to the server.
    return min((version, path) for version, path in found if version >= server)[1]


def _candidates(name: str) -> list[str]:
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    with suppress(RuntimeError):  # raised where the embedded server isn't installed
        folders.append(str(postgres.binaries()))
    on_path = shutil.which(name)
    paths = [str(Path(folder) / name) for folder in folders] + ([on_path] if on_path else [])
    return [path for path in paths if os.access(path, os.X_OK)]


def _version(path: str) -> int:
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = _VERSION.search(answer)
    return int(found.group(1)) if found else 0


def _plain(url: str) -> str:
    """The address without SQLAlchemy's driver and without the password, which goes by environment."""
    return make_url(url)._replace(drivername="postgresql", password=None).render_as_string()


def _run(command: list[str], url: str) -> None:
    password = make_url(url).password
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    if "--dbname" not in " ".join(command):
        command = [*command, f"--dbname={_plain(url)}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise Conflict(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
