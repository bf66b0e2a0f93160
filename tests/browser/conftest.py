"""A real server on a free port over a database of its own, and a real browser."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lib import db, local
from lib.auth import Role
from tests import databases, people
from tests.browser import chromium

WAIT_MS = 20_000


@dataclass(frozen=True)
class Server:
    """The running app: its address, and the log that it writes to."""

    url: str
    log: Path


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """The database of this file's app, with the four people and June 2026 as the first open month."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            people.open_company(conn)
        yield url


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as `make run` starts it, on a free port."""
    with running(app_database, tmp_path_factory.mktemp("app") / "log", free_port()) as server:
        yield server


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(url: str, log: Path, port: int, **settings: str) -> Iterator[Server]:
    """The app on this database, with these settings in its environment; it ends with the block."""
    with log.open("w") as output, pytest.MonkeyPatch.context() as patch:
        for name, value in {"DATABASE_URL": url, "MANDANT_TODAY": "2026-06-20", **settings}.items():
            patch.setenv(name, value)
        process = local.start("127.0.0.1", port, stderr=output)
    try:
        assert local.up(process, "127.0.0.1", port), log.read_text()
        yield Server(f"http://127.0.0.1:{port}", log)
    finally:
        local.stop(process)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium per worker."""
    path = chromium.find()
    if path is None:
        pytest.fail(chromium.ADVICE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def new_browser(browser: Browser, app: Server) -> Iterator[Callable[..., BrowserContext]]:
    """`new_browser()`: a browser with no cookies, its pages relative to the app."""
    contexts = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(base_url=app.url, viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        return context

    expect.set_options(timeout=WAIT_MS)
    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_browser: Callable[..., BrowserContext]) -> Page:
    """A page of a browser that is not signed in."""
    return new_browser().new_page()


@pytest.fixture
def sign_in(new_browser: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """`sign_in(Role.SALES, "/account")`: a new browser, signed in by the form, on that page."""

    def open_(role: Role = Role.ADMIN, path: str = "/", **options: object) -> Page:
        page = new_browser(**options).new_page()
        page.goto(path)
        fill_in(page, people.NAMES[role].lower())
        expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_attached()
        return page

    return open_


def fill_in(page: Page, username: str, password: str = people.PASSWORD) -> None:
    """Type into the sign-in form and send it."""
    page.get_by_role("textbox", name="User name").fill(username)
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
