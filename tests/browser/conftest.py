"""A real server on a free port over a database of its own, and a real browser."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from lib import db, local
from lib.auth import Role
from lib.sessions import SESSION_COOKIE
from tests import databases, people
from tests.browser import chromium, forked, settling

# Long enough for a machine on which others work, too: nothing waits longer than it must.
WAIT_MS = 60_000
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
# By default no system hands these to a connection, which could have the port of a server that is about to start.
PORTS = range(20_000, 30_000)


@dataclass(frozen=True)
class Server:
    """The running app: its address, and the log that it writes to."""

    url: str
    log: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A journey that fails is tried once more, and the run's last lines name it: two browsers at once are a lot."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The second try begins with a new server and database: in the first one's the customer is there already, say.

    The plugin that tries again keeps what belongs to the whole file, as other tests' outcomes may rest on it.
    """
    if isinstance(item, pytest.Function) and getattr(item, "execution_count", 1) > 1:
        for name in reversed(item.fixturenames):
            for fixture in item._fixtureinfo.name2fixturedefs.get(name, ()):
                if fixture.scope == "module":
                    fixture.finish(item._request)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """The database of this file's app, with the four people and June 2026 as the first open month."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            people.open_company(conn)
        yield url


@pytest.fixture(scope="module")
def app(app_database: str, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as `make run` starts it."""
    with running(app_database, tmp_path_factory.mktemp("app") / "log", port) as server:
        yield server


@pytest.fixture(scope="session")
def port() -> int:
    """Where this worker's apps are served, one after the other: to a browser they are one site, whose code it knows."""
    first = os.getpid() % len(PORTS)
    for candidate in (*PORTS[first:], *PORTS[:first]):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", candidate))
            return candidate
    raise AssertionError("no port is free")


@contextmanager
def running(url: str, log: Path, port: int, *, site: str = local.STAFF, **settings: str) -> Iterator[Server]:
    """A site on this database, with these settings in its environment; it ends with the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"DATABASE_URL": url, "MANDANT_TODAY": "2026-06-20", **settings}.items():
            patch.setenv(name, value)
        if site == local.PORTAL:
            patch.setenv(local.PORTAL_URL, local._own_portal_role())
        process = forked.Forked("127.0.0.1", port, log, site=site)
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


@pytest.fixture(scope="session")
def at_rest() -> list[BrowserContext]:
    """Browsers that are in no test's hands. Their one tab is blank, but has the app's code loaded and compiled."""
    return []


@pytest.fixture
def new_browser(
    browser: Browser, app: Server, port: int, at_rest: list[BrowserContext]
) -> Iterator[Callable[..., BrowserContext]]:
    """`new_browser()`: a browser with one blank tab and nothing stored for the app, its pages relative to the app."""
    url, in_use = f"http://127.0.0.1:{port}", []

    def make() -> BrowserContext:
        context = at_rest.pop() if at_rest else new_context(browser, url)
        in_use.append(context)
        return context

    expect.set_options(timeout=WAIT_MS)
    yield make
    for context in in_use:
        as_new(context, url)
        at_rest.append(context)


def new_context(browser: Browser, url: str) -> BrowserContext:
    """A browser that waits until pages have settled; still ones, or each dialog would fly in first."""
    context = browser.new_context(base_url=url, viewport=DESKTOP, reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    settling.watch(context)
    context.new_page()
    return context


def as_new(context: BrowserContext, url: str) -> None:
    """Close all tabs but one, and take back what a test did to that one, and what it left in the browser."""
    page, *others = context.pages
    for other in others:
        other.close()
    page.unroute_all()
    page.goto("about:blank")
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="null")
    context.unroute_all()
    context.clear_cookies()
    # Setting the state of all its storage would do the same, and have it forget the app's code.
    devtools = context.new_cdp_session(page)
    devtools.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage"})
    devtools.detach()


@pytest.fixture
def page(new_browser: Callable[..., BrowserContext]) -> Page:
    """A page of a browser that is not signed in."""
    return new_browser().pages[0]


@pytest.fixture
def signed_in(new_browser: Callable[..., BrowserContext], app: Server) -> Callable[..., BrowserContext]:
    """`signed_in(Role.SALES)`: a new browser with the cookie that signing in would leave."""

    def open_(role: Role) -> BrowserContext:
        with db.transaction() as conn:
            token = people.sign_in(conn, people.hire(conn)[role])
        context = new_browser()
        context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": app.url}])
        return context

    return open_


@pytest.fixture
def sign_in(signed_in: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """`sign_in(Role.SALES, "/account")`: a new browser on that page, signed in. It is light."""

    def open_(role: Role = Role.ADMIN, path: str = "/customers") -> Page:
        page = signed_in(role).pages[0]
        page.emulate_media(color_scheme="light")
        page.goto(path)
        expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_attached()
        return page

    return open_


def go_to(page: Page, address: str) -> None:
    """Another page in the app that is open, as Back and Forward lead to one. Loading the app anew takes far longer."""
    page.evaluate("to => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }", address)
    settling.settled(page)


def fill_in(page: Page, username: str, password: str = people.PASSWORD) -> None:
    """Type into the sign-in form and send it."""
    page.get_by_role("textbox", name="User name").fill(username)
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
