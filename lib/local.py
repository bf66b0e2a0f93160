"""Mandant on one machine, which is what `make run` starts: database, schema, demo company, server, worker.

    python -m lib.local

Without DATABASE_URL the database is our own (`lib/postgres.py`, data in `.data/`) and holds the demo
company. With it, it is that Postgres, and nothing is put into it but the schema.

The portal, the site of the customers' users, is a server beside it where PORTAL_PORT is set, and with the demo. It
connects by PORTAL_DATABASE_URL, as a role of its own; on our own database that role is made here.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import IO

import psutil
from sqlalchemy import make_url

from lib import (
    clock,
    customer_users,
    db,
    demo,
    demo_seed,
    oidc,
    periods,
    portal_role,
    postgres,
    settings,
    staff,
    vault,
)

ROOT = Path(__file__).parents[1]
DATA = ROOT / ".data" / "postgres"
KEYS = ROOT / ".data" / "keys"
DATABASE = "mandant"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SECONDS = 120
STOP_SECONDS = 15
# The scripts of the two sites.
STAFF, PORTAL = "app.py", "portal.py"
# How many ports after ours the demo's portal tries.
NEXT_PORTS = 20
# By which address the portal reaches the database, and its role on a server of our own.
PORTAL_URL, PORTAL_ROLE = "PORTAL_DATABASE_URL", "mandant_portal"
OWNER_WARNING = (
    "The portal connects as the owner of the database. Give it a role of its own: PORTAL_DATABASE_URL, and\n"
    "python -m lib grant-portal ROLE (docs/operations.md, Portal)."
)
# In the server's environment: the process without which it ends.
PARENT = "MANDANT_PARENT"
# How often we look whether the worker still lives.
WATCH_SECONDS = 5


@contextmanager
def database() -> Iterator[bool]:
    """Make sure that DATABASE_URL points to a running database. Yields whether it is our own, which is migrated too."""
    if os.environ.get("DATABASE_URL"):
        yield False
        return
    with postgres.server(DATA) as url:
        own = {"DATABASE_URL": postgres.database(url, DATABASE)}
        if not vault.configured():
            own[vault.VARIABLE] = _own_keys()
        os.environ.update(own)
        try:
            _migrate()
            yield True
        finally:
            db.engine().dispose()
            for name in own:
                del os.environ[name]


def main() -> int:
    """Run the app until Ctrl-C. Returns the exit code; what is wrong is said on stderr."""
    port, address = int(os.environ.get("PORT") or 8501), os.environ.get("ADDRESS") or "127.0.0.1"
    for number in ENDINGS:
        signal.signal(number, _as_interrupt)
    try:
        if not os.environ.get("DATABASE_URL") and not ip_address(address).is_loopback:
            raise RuntimeError("The demo's passwords are known to all: it is served on this machine only (127.0.0.1).")
        oidc.provider()  # half a sign-in service is refused here, in a sentence
        _require_free(address, port)
        portal_port = _portal_port(address, port)
        with database() as own:
            if own:
                _load_demo()
            else:
                _migrate()
            if own and portal_port:
                _point_links(f"http://{address}:{portal_port}")
                os.environ[PORTAL_URL] = _own_portal_role()
            elif portal_port and not os.environ.get(PORTAL_URL):
                print(OWNER_WARNING, file=sys.stderr)
            return _serve(address, port, portal_port, demo_sign_ins=own)
    except KeyboardInterrupt:
        return 0
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _migrate() -> None:
    with db.transaction() as conn:
        before = db.schema_version(conn)
        db.migrate(conn)
    if before not in (None, db.newest_version()):
        with db.transaction() as conn:
            portal_role.renew(conn)


def _own_portal_role() -> str:
    """Make the portal's role on our own server, which may do its part and no more; returns its address."""
    owner = make_url(os.environ["DATABASE_URL"])
    password = portal_role.derived_password(owner.password or "")
    with db.transaction() as conn:
        portal_role.make(conn, PORTAL_ROLE, password=password)
        portal_role.grant(conn, PORTAL_ROLE)
    return owner.set(username=PORTAL_ROLE, password=password).render_as_string(hide_password=False)


def _load_demo() -> None:
    """Once: a company that is set up, by the demo or by hand, is left as it is."""
    with db.transaction() as conn:
        if periods.open_month(conn) is not None:
            return
        print("Loading the demo company …", flush=True)
        demo.load(conn, today=clock.today(conn))


def _own_keys() -> str:
    """The key that seals the demo's secrets: made once, in a file for this user alone, apart from the database."""
    if not KEYS.exists():
        fresh = KEYS.with_name(f"{KEYS.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(f"{vault.new_key()}\n")
        # Of two processes that start at once, both take the key of the first.
        with suppress(FileExistsError):
            os.link(fresh, KEYS)
        fresh.unlink()
    return KEYS.read_text().strip()


def start(address: str, port: int, *, site: str = STAFF, stderr: IO[str] | None = None) -> subprocess.Popen[bytes]:
    """Start the server of a site, which ends when we do, even where we are killed."""
    command = [sys.executable, "-m", "streamlit", *arguments(address, port, site)]
    env = environment(site) | {PARENT: str(os.getpid())}
    # In a session of its own: a Ctrl-C in the terminal reaches us alone, and we end it in order.
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    )


def arguments(address: str, port: int, site: str) -> list[str]:
    """What streamlit is told, to run a site."""
    return ["run", str(ROOT / site), "--server.address", address, "--server.port", str(port)]


def environment(site: str) -> dict[str, str]:
    """The variables of a site's server. It believes X-Forwarded-For and -Proto from FORWARDED_ALLOW_IPS only."""
    # Without the variable uvicorn would believe everybody on this machine, and each guess could have another address.
    found = {"FORWARDED_ALLOW_IPS": "", **os.environ}
    for_portal = found.pop(PORTAL_URL, "")
    if site == PORTAL and for_portal:
        found["DATABASE_URL"] = for_portal
    return found


def start_worker() -> subprocess.Popen[bytes]:
    """Start a worker, which ends when we do, even where we are killed."""
    command = [sys.executable, "-m", "lib", "work", "--parent", str(os.getpid())]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """End them in order, or by force if that takes too long."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def up(server: subprocess.Popen[bytes], address: str, port: int) -> bool:
    """Wait until the app answers; False if it ended or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}:{port}/healthz", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ok")
        time.sleep(0.1)
    return False


def _serve(address: str, port: int, portal_port: int | None, *, demo_sign_ins: bool) -> int:
    running = {"server": start(address, port)}
    if portal_port:
        running["portal"] = start(address, portal_port, site=PORTAL)
    try:
        for name, its_port in (("server", port), ("portal", portal_port)):
            if its_port and not up(running[name], address, its_port):
                raise RuntimeError("The app did not start; what it said is above.")
        print(f"\nMandant runs on http://{address}:{port} (Ctrl-C ends it)", flush=True)
        if demo_sign_ins:
            _print_sign_ins()
        if portal_port:
            print(f"Its customer portal runs on http://{address}:{portal_port}", flush=True)
            if demo_sign_ins:
                _print_portal_sign_in()
        starts: dict[str, Callable[[], subprocess.Popen[bytes]]] = {"worker": start_worker}
        if portal_port:
            starts["portal"] = lambda: start(address, portal_port, site=PORTAL)
        return _watch(running, starts)
    finally:
        stop(*running.values())
        # One that was being started when the signal came is in no variable yet.
        for child in psutil.Process().children():
            child.kill()
            child.wait()


def _watch(
    running: dict[str, subprocess.Popen[bytes]], starts: Mapping[str, Callable[[], subprocess.Popen[bytes]]]
) -> int:
    """Wait until the server ends, and let what `starts` names run meanwhile. Returns the server's exit code."""
    server = running["server"]
    while server.poll() is None:
        for name, start_anew in starts.items():
            if name not in running or running[name].poll() is not None:
                running[name] = start_anew()
        with suppress(subprocess.TimeoutExpired):
            server.wait(WATCH_SECONDS)
    return server.returncode


def _print_sign_ins() -> None:
    with db.transaction() as conn:
        known = {account.username for account in staff.accounts(conn) if account.enabled}
    print(f"\n{'role':10}{'user':12}password")
    for role, username, password in demo_seed.SIGN_INS:
        if username in known:
            print(f"{role:10}{username:12}{password}")
    print(flush=True)


def _print_portal_sign_in() -> None:
    with db.transaction() as conn:
        found = [customer_users.by_email(conn, email) for email in demo_seed.portal_users()]
    known = [person for person in found if person is not None and person.state == "active"]
    if known:
        print(f"\n{'user':34}password")
        for person in known:
            print(f"{person.email:34}{demo_seed.PORTAL_PASSWORD}")
        print(flush=True)


def _portal_port(address: str, port: int) -> int | None:
    """Where the portal listens: PORTAL_PORT, or with the demo the next port that is free; None: there is no portal."""
    given = os.environ.get("PORTAL_PORT")
    if given:
        _require_free(address, int(given), "PORTAL_PORT")
        return int(given)
    if os.environ.get("DATABASE_URL"):
        return None
    for candidate in range(port + 1, port + 1 + NEXT_PORTS):
        with suppress(RuntimeError):
            _require_free(address, candidate)
            return candidate
    return None


def _point_links(url: str) -> None:
    """Let the links in the demo's mails lead to the portal of this run."""
    with db.transaction() as conn:
        settings.point_portal(conn, url)


def _require_free(address: str, port: int, variable: str = "PORT") -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise RuntimeError(f"Port {port} is in use. Choose another one: make run {variable}={port + 1}") from error


def _as_interrupt(_: int, __: FrameType | None) -> None:
    """End in order, once: a second signal (an impatient Ctrl-C, or make passing it on) must not leave half running."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
