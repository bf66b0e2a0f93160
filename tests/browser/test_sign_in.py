"""Signing in with a real browser: what a stranger sees, and when a session is over."""

import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import text
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lib import db
from lib.auth import Role
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE
from tests import people
from tests.browser.conftest import WAIT_MS, Server, fill_in
from tests.browser.settling import settled

pytestmark = pytest.mark.browser
PAGES = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "pages").glob("*.py")
    if path.name not in ("__init__.py", "main.py")
)
# What stands on pages for those who signed in, and in the menu.
OURS = ("Sign out", "Adam", "Customers", "Staff", "Add a person")
Browsers = Callable[..., BrowserContext]
SignIn = Callable[..., Page]
SignedIn = Callable[..., BrowserContext]


def status(url: str, **headers: str) -> int:
    """The status of a GET without a browser."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def form_only(page: Page) -> None:
    """The sign-in form is there, and nothing of the app."""
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    nothing_of_ours(page)


def nothing_of_ours(page: Page) -> None:
    """No menu, no table, nobody's name."""
    settled(page)
    body = page.locator("body").inner_text()
    assert not [word for word in OURS if word in body]
    assert page.get_by_test_id("stSidebarNav").count() == 0
    assert page.get_by_test_id("stDataFrame").count() == 0


def elements(app: Server, path: str, token: str = "") -> str:
    """All that the server sends a browser to draw at this address, whether the browser then shows it or not."""
    asked = BackMsg()
    asked.rerun_script.page_name = path
    address = app.url.replace("http", "ws") + "/_stcore/stream"
    cookie = {"Cookie": f"{SESSION_COOKIE}={token}"} if token else None
    found, message = b"", ForwardMsg()
    with connect(address, origin=app.url, additional_headers=cookie) as server:  # type: ignore[arg-type]
        server.send(asked.SerializeToString())
        while message.WhichOneof("type") != "script_finished":
            message.ParseFromString(bytes(server.recv(timeout=WAIT_MS / 1000)))
            found += message.delta.SerializeToString()
    return found.decode(errors="replace")


def test_a_fresh_server_shows_a_stranger_nothing(page: Page) -> None:
    for path in ("", "staff"):
        page.goto(f"/{path}")
        form_only(page)
    for path in ("pages/staff.py", "secret"):  # no pages of ours
        page.goto(f"/{path}")
        settled(page)
        nothing_of_ours(page)


def test_a_stranger_is_sent_nothing_anywhere(app: Server) -> None:
    with db.transaction() as conn:
        token = people.sign_in(conn, people.hire(conn)[Role.ADMIN])
    sent = elements(app, "staff", token)
    assert "Add a person" in sent and "Adam" in sent and "Sign in" not in sent  # so would a page that let one in
    for path in ["", *PAGES, "main", "pages/staff", "shared/session"]:
        sent = elements(app, path)
        assert "Sign in" in sent, path
        assert not [word for word in OURS if word in sent], path


def test_no_file_of_ours_is_served(app: Server) -> None:
    for path in ("/app.py", "/pages/staff.py", "/lib/db.py", "/.streamlit/config.toml", "/app/static/app.py"):
        with urllib.request.urlopen(app.url + path) as answer:
            assert b"import" not in answer.read().replace(b"important", b"").split(b"<script")[0], path


def test_a_document_needs_a_session(app: Server) -> None:
    assert status(f"{app.url}/documents/1.pdf") == 401
    assert status(f"{app.url}/documents/1.pdf", Cookie=f"{SESSION_COOKIE}=made-up") == 401


def test_a_missing_document_says_so(signed_in: SignedIn) -> None:
    assert signed_in(Role.VIEWER).request.get("/documents/999999.pdf").status == 404


def test_a_link_to_another_site_is_not_followed(signed_in: SignedIn) -> None:
    browser = signed_in(Role.VIEWER)
    for target in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%5Cevil.example",
    ):
        answer = browser.request.get("/session/start", params={"ticket": "x", "to": target}, max_redirects=0)
        assert answer.headers["location"] in ("/", "/%5Cevil.example")


def test_a_deep_link_survives_signing_in_and_the_cookie_is_for_the_server_only(page: Page) -> None:
    page.goto("/account?from=mail&n=1")
    fill_in(page, "samuel")
    expect(page.get_by_role("heading", name="My account")).to_be_visible()
    assert page.url.endswith("/account?from=mail&n=1")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    for name in (SESSION_COOKIE, NONCE_COOKIE):
        assert cookies[name]["httpOnly"] and cookies[name]["sameSite"] == "Lax"
    assert SESSION_COOKIE not in page.evaluate("document.cookie")
    assert "unused" not in cookies, "the package's own cookie must never begin"


def test_the_cookie_is_secure_behind_tls_of_a_known_proxy_only(app: Server) -> None:
    request = urllib.request.Request(app.url, headers={"X-Forwarded-Proto": "https"})
    with urllib.request.urlopen(request) as answer:
        assert "secure" not in answer.headers["set-cookie"].lower(), "nobody has configured this proxy"


def test_a_planted_link_signs_nobody_in(new_browser: Browsers, page: Page) -> None:
    """The attacker's ticket in the victim's browser: its nonce is another."""
    caught: list[str] = []
    page.route("**/session/start*", lambda route: (caught.append(route.request.url), route.abort()))
    page.goto("/account")
    fill_in(page, "samuel")
    while not caught:
        page.wait_for_timeout(50)
    victim = new_browser().pages[0]
    victim.goto("/")
    victim.goto(caught[0])
    form_only(victim)
    assert SESSION_COOKIE not in {cookie["name"] for cookie in victim.context.cookies()}


def test_signing_out_ends_the_session_in_the_other_tab_too(sign_in: SignIn) -> None:
    first = sign_in(Role.SALES, "/account")
    second = first.context.new_page()
    second.goto("/account")
    expect(second.get_by_role("heading", name="My account")).to_be_visible()
    first.get_by_role("button", name="Sign out", exact=True).click()
    form_only(first)
    second.get_by_role("button", name="Change password").click()
    form_only(second)
    second.reload()
    form_only(second)


def test_a_disabled_person_is_out_at_the_next_click(sign_in: SignIn) -> None:
    admin, victim = sign_in(Role.ADMIN, "/staff"), sign_in(Role.VIEWER, "/account")
    with db.transaction() as conn:
        vera = people.hire(conn)[Role.VIEWER].id
    admin.locator(f".st-key-disable_{vera} button").click()
    admin.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(admin.get_by_text("Vera is disabled.")).to_be_visible()
    expect(admin.get_by_role("dialog")).to_have_count(0)
    victim.get_by_role("button", name="Change password").click()
    form_only(victim)
    admin.locator(f".st-key-enable_{vera} button").click()
    expect(admin.get_by_text("Vera can sign in again.")).to_be_visible()


def test_a_new_person_chooses_a_password_first(sign_in: SignIn, page: Page) -> None:
    admin = sign_in(Role.ADMIN, "/staff")
    admin.get_by_role("button", name="Add a person").click()
    dialog = admin.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("Nora *New*")
    dialog.get_by_role("textbox", name="User name").fill("nora")
    dialog.get_by_role("textbox", name="First password").fill("short")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_text("A password needs at least 10 characters.")).to_have_count(2)
    dialog.get_by_role("textbox", name="First password").fill("three-small-boats")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(admin.get_by_text("Nora *New* can sign in.")).to_be_visible()

    page.goto("/account")
    fill_in(page, "nora", "three-small-boats")
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    page.goto("/account?again=1")
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    page.get_by_role("textbox", name="Current password").fill("three-small-boats")
    page.get_by_role("textbox", name="New password", exact=True).fill("four-large-boats")
    page.get_by_role("textbox", name="New password again").fill("four-large-boats")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("heading", name="My account")).to_be_visible()


def test_wrong_passwords_have_to_wait_and_the_right_one_with_them(page: Page) -> None:
    page.goto("/account")
    # A name that nobody has gets the same answer.
    fill_in(page, "nobody-here", "not this one")
    expect(page.get_by_text("This user name and password don't fit together.")).to_be_visible()
    for _ in range(5):
        fill_in(page, "fiona", "not this one")
        expect(page.get_by_text("don't fit together")).to_be_visible()
    # The wait doubles with each failure. The first ones are over before the form is filled in on a slow machine.
    with db.transaction() as conn:
        conn.execute(
            text("""INSERT INTO sign_in_attempts (site, username, address, succeeded)
                    SELECT site, username, address, succeeded FROM sign_in_attempts WHERE username = 'fiona'""")
        )
    fill_in(page, "fiona")
    expect(page.get_by_text(re.compile(r"Too many attempts\. Wait \d+ seconds"))).to_be_visible()
    with db.transaction() as conn:
        conn.execute(text("DELETE FROM sign_in_attempts WHERE username = 'fiona'"))


def test_a_made_up_forwarding_address_changes_nothing(app: Server) -> None:
    """Otherwise each guess could come from another address."""
    host = app.url.removeprefix("http://")
    headers = {"X-Forwarded-For": "203.0.113.7"}
    with connect(f"ws://{host}/_stcore/stream", origin=app.url, additional_headers=headers):  # type: ignore[arg-type]
        pass
    with db.transaction() as conn:
        assert not conn.scalar(text("SELECT count(*) FROM sign_in_attempts WHERE address LIKE '203.%'"))


def test_a_websocket_of_another_site_is_refused(app: Server) -> None:
    url = app.url.replace("http", "ws") + "/_stcore/stream"
    with connect(url, origin=app.url):  # type: ignore[arg-type]
        pass
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        with pytest.raises(InvalidStatus) as refusal, connect(url, origin=origin):  # type: ignore[arg-type]
            pass
        assert refusal.value.response.status_code == 403


def test_healthz_says_what_runs(page: Page) -> None:
    answer = page.request.get("/healthz")
    assert answer.status == 200
    assert answer.json() == {"status": "ok", "database": "ok", "schema": db.newest_version()}


def test_pages_can_not_be_framed_elsewhere(page: Page) -> None:
    headers = page.request.get("/").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
