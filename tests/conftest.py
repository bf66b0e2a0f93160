"""Fixtures: `conn` (rolled back), `begin` and `database` (one's own, real commits), one user per role, pages."""

import os
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner import script_cache
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

from lib import db, passwords, stripe_client, vault
from lib.auth import Role, User
from pages.shared import session
from tests import closes, databases, people, stripe_server
from tests.beginnings import Begin, Beginnings
from tests.scheduling import Scheduling
from tests.stripe_server import Stripe

ROOT = Path(__file__).parents[1]
# On a machine on which others work, too, an example may take as long as it takes.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# A key for secrets, which servers and workers that tests start inherit.
os.environ.setdefault(vault.VARIABLE, vault.new_key())
# The app's own hashing takes a quarter of a second each time; `hashing` is for the tests that are about it.
REAL_ROUNDS = passwords.ROUNDS
people.hash_with(people.QUICK_ROUNDS)
# Each AppTest looks through all installed packages for components, longer than it runs the page: once will do.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
# Nor need it compile each page anew, and collect all garbage after each run.
app_test.ScriptCache = local_script_runner.ScriptCache = cache(script_cache.ScriptCache)
config.set_option("runner.postScriptGC", False)


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one worker more than processors, for the tests in a browser wait a lot."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """The order in which workers get tests."""
    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What went wrong in a first try stands in the run's output, too: it is all there is to find out why."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The database server of this run."""
    with databases.server() as url:
        yield url


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """The migrated database that the others are copied from."""
    return databases.template(server)


@pytest.fixture(scope="session")
def worker_database(server: str, template: str) -> Iterator[str]:
    """This worker's database, which no test commits to."""
    with databases.copy(server, template) as url, databases.in_use(url):
        yield url


@pytest.fixture(scope="module")
def beginnings(server: str, template: str) -> Iterator[Beginnings]:
    """The filled databases that the tests of this file begin with."""
    made = Beginnings(server, template)
    yield made
    made.close()


@pytest.fixture
def conn(worker_database: str, beginnings: Beginnings, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection whose changes are gone after the test. What the file's BEGINS_WITH names was committed before."""
    fill = getattr(request.module, "BEGINS_WITH", None)
    url = beginnings.shared(fill)[0] if fill else worker_database
    with databases.in_use(url), db.engine().connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def begun(conn: Connection, beginnings: Beginnings, request: pytest.FixtureRequest) -> Any:
    """What the function that the file's BEGINS_WITH names returned."""
    return beginnings.shared(request.module.BEGINS_WITH)[1]


@pytest.fixture
def begin(beginnings: Beginnings, request: pytest.FixtureRequest) -> Iterator[Begin]:
    """`begin(closes.company)`: a database for this test alone, in use by lib.db, in which that was committed before.

    It is filled once per file and copied for each test. Tests with the mark `looks` share one copy: they open pages
    and write nothing.
    """
    starting = Begin(beginnings, only_looks=request.node.get_closest_marker("looks") is not None)
    yield starting
    starting.close()


@pytest.fixture
def database(begin: Begin) -> str:
    """The URL of this test's database: for commits, pages and two connections at once. Empty unless it was begun."""
    return begin.url


@pytest.fixture
def users(conn: Connection) -> dict[Role, User]:
    """One person for each role."""
    return people.hire(conn)


@pytest.fixture
def viewer(users: dict[Role, User]) -> User:
    return users[Role.VIEWER]


@pytest.fixture
def sales(users: dict[Role, User]) -> User:
    return users[Role.SALES]


@pytest.fixture
def finance(users: dict[Role, User]) -> User:
    return users[Role.FINANCE]


@pytest.fixture
def admin(users: dict[Role, User]) -> User:
    return users[Role.ADMIN]


@pytest.fixture
def hashing() -> Iterator[Callable[..., None]]:
    """`hashing()`: passwords are hashed as in the app, which is slow, or in 2**`rounds` steps, until the test ends."""

    def choose(rounds: int = REAL_ROUNDS) -> None:
        people.hash_with(rounds)

    yield choose
    people.hash_with(people.QUICK_ROUNDS)


@pytest.fixture
def set_up(conn: Connection) -> Callable[..., dict[Role, User]]:
    """`set_up(first_month)`: the company with its first open month (June 2026 unless told) and its people."""

    def prepare(first_month: date = date(2026, 6, 1)) -> dict[Role, User]:
        return people.open_company(conn, first_month=first_month)

    return prepare


@pytest.fixture
def open_page(database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """`open_page("staff.py", Role.ADMIN, id="7")`: the page, run once, as a person of that role sees it.

    The session is a real one, looked up at each run as in the app; only its cookie is handed over. The
    people are made; what else the page needs, the test commits before.
    """

    def run(file: str, role: Role = Role.ADMIN, **query: str) -> AppTest:
        with db.transaction() as conn:
            token = people.sign_in(conn, people.hire(conn)[role])
        monkeypatch.setattr(session, "token", lambda: token)
        app = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=30)
        app.switch_page(file)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stripe]:
    """The small Stripe that is asked instead of the real one, on the day on which June's documents are issued."""
    monkeypatch.setenv("MANDANT_TODAY", closes.TODAY.isoformat())
    with stripe_server.started() as made:
        monkeypatch.setenv(stripe_client.VARIABLE, made.url)
        yield made
