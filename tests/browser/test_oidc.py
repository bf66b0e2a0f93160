"""Signing in at the company's provider with a real browser, against a provider of our own."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import text

from lib import db, staff
from lib.auth import Role
from lib.sessions import SESSION_COOKIE
from tests import people
from tests.browser import provider as providers
from tests.browser.conftest import Server, running
from tests.browser.provider import Provider

pytestmark = pytest.mark.browser
SAMUEL, VERA, ADAM, FIONA = (f"{name}@msp.example" for name in ("samuel", "vera", "adam", "fiona"))
ADDRESSES = {Role.SALES: SAMUEL, Role.VIEWER: VERA, Role.ADMIN: ADAM, Role.FINANCE: FIONA}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """A provider that knows colleagues, somebody disabled here, two whom we don't let in, and Fiona's successor."""
    known = {
        "Samuel": {"sub": "1", "email": SAMUEL, "email_verified": True},
        "Vera": {"sub": "2", "email": VERA, "email_verified": True},
        "A stranger": {"sub": "3", "email": "stranger@msp.example", "email_verified": True},
        "Unconfirmed": {"sub": "4", "email": SAMUEL, "email_verified": False},
        "The new Fiona": {"sub": "5", "email": FIONA, "email_verified": True},
        "Adam": {"sub": "6", "email": ADAM, "email_verified": True},
        "Nora": {"sub": "7", "email": "nora@msp.example", "email_verified": True},
    }
    with providers.started(known) as started:
        yield started


@pytest.fixture(scope="module")
def app(app_database: str, provider: Provider, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with that provider; all have an address, Vera is disabled, Fiona has signed in before."""
    with db.transaction() as conn:
        users = people.hire(conn)
        for role, address in ADDRESSES.items():
            staff.set_email(conn, users[role].id, user=users[Role.ADMIN], email=address, version=1)
        staff.link(conn, FIONA, issuer=provider.url, subject="the Fiona of last year")
        staff.disable(conn, users[Role.VIEWER].id, user=users[Role.ADMIN], version=2)
    settings = provider.settings | {"MANDANT_URL": f"http://127.0.0.1:{port}"}
    with running(app_database, tmp_path_factory.mktemp("app") / "log", port, **settings) as server:
        yield server


def sign_in_as(page: Page, name: str) -> None:
    """The button, then the provider's page."""
    page.get_by_role("button", name="Sign in with Example ID").click()
    page.get_by_role("link", name=name, exact=True).click()


def test_signing_in_and_out_at_the_provider(page: Page, provider: Provider) -> None:
    page.goto("/account?from=mail&n=1")
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
    expect(page.get_by_role("textbox")).to_have_count(0)
    sign_in_as(page, "Samuel")
    expect(page.get_by_text("You sign in with Example ID")).to_be_visible()
    assert page.url.endswith("/account?from=mail&n=1"), "the deep link survives"
    cookie = next(one for one in page.context.cookies() if one["name"] == SESSION_COOKIE)
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"

    with db.transaction() as conn:  # 30 idle minutes later
        conn.execute(text("UPDATE sessions SET last_seen_at = now() - interval '31 minutes'"))
    page.reload()
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
    page.reload()  # what the provider said before is in the browser still, and counts no more
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()

    sign_in_as(page, "Samuel")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
    page.wait_for_url("**/")
    assert len(provider.signed_out) == 1 and provider.signed_out[0].count(".") == 2
    assert not [one for one in page.context.cookies() if one["name"].startswith("_streamlit_user")]


def test_who_is_not_let_in_is_told_why(page: Page) -> None:
    page.goto("/account")
    for name, sentence in (
        ("A stranger", "stranger@msp.example has no account in Mandant."),
        ("Vera", "Your account in Mandant is disabled."),
        ("Unconfirmed", "has not confirmed your e-mail address"),
        ("The new Fiona", "belongs to somebody else who used this address before"),
    ):
        sign_in_as(page, name)
        expect(page.get_by_text(sentence)).to_be_visible()
        expect(page.get_by_role("heading", name="My account")).to_have_count(0)
        assert SESSION_COOKIE not in {cookie["name"] for cookie in page.context.cookies()}


def test_an_admin_adds_a_person_by_address_and_unlinks_another(new_browser: Callable[..., BrowserContext]) -> None:
    admin, nora = new_browser().pages[0], new_browser().pages[0]
    admin.goto("/staff")
    sign_in_as(admin, "Adam")
    admin.get_by_role("button", name="Add a person").click()
    dialog = admin.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("Nora New")
    dialog.get_by_role("textbox", name="User name").fill("nora")
    dialog.get_by_role("textbox", name="E-mail").fill("Nora@msp.example")
    expect(dialog.get_by_role("textbox", name="First password")).to_have_count(0)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(admin.get_by_text("Nora New can sign in.")).to_be_visible()
    expect(dialog).to_have_count(0)
    nora.goto("/account")
    sign_in_as(nora, "Nora")
    expect(nora.get_by_text("Nora New, signed in as nora (viewer)")).to_be_visible()

    with db.transaction() as conn:
        linked = next(one.id for one in staff.accounts(conn) if one.username == "nora")
    admin.locator(f".st-key-email_{linked} button").click()
    dialog.get_by_role("button", name="Unlink").click()
    expect(admin.get_by_text("The next to sign in by nora@msp.example is linked.")).to_be_visible()
    nora.reload()
    expect(nora.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
