"""The portal's routes, headers and pages: who is nobody there, and that no id opens another customer's document."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from streamlit.testing.v1 import AppTest

import app as staff_app
import portal as portal_app
from lib import customer_verbs, db, invites
from lib.auth import Role
from pages.portal.shared import session
from pages.shared import lost_clicks
from pages.shared.serving import PORTAL, STAFF, PageHeaders
from tests import people, portals
from tests.beginnings import Begin
from tests.portals import Portal

ROOT = Path(__file__).parents[1]
GUARDED = ("company.py", "subscription.py", "invoices.py", "team.py", "account.py")
OPEN = ("accept.py", "forgotten.py", "reset.py", "register.py", "confirm.py")
OpenPage = Callable[..., AppTest]


@pytest.fixture
def made(begin: Begin) -> Portal:
    return begin(portals.filled)


def signed_in(name: str = "olga") -> str:
    with db.transaction() as conn:
        return portals.sign_in(conn, name)


def request(cookies: dict[str, str], *, query: str = "", scheme: str = "http", **path: Any) -> Request:
    """A GET as the server hands it to a route."""
    held = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return Request(
        {
            "type": "http", "method": "GET", "scheme": scheme, "server": ("127.0.0.1", 8502), "path": "/",
            "query_string": query.encode(), "headers": [(b"cookie", held.encode())], "path_params": path,
        }
    )  # fmt: skip


# ---------------------------------------------------------------------------------- routes


def test_a_document_opens_for_its_customers_users_alone(made: Portal) -> None:
    own, others = made.invoices["ada"], made.invoices["berta"]
    for name in ("olga", "piet"):
        cookies = {PORTAL.session: signed_in(name)}
        assert portal_app.document(request(cookies, invoice_id=own)).status_code == 200
        for invoice_id in (others, 0, 4_711, 10**40):
            answer = portal_app.document(request(cookies, invoice_id=invoice_id))
            assert (answer.status_code, bytes(answer.body)) == (404, b"This document does not exist.")
    assert portal_app.document(request({}, invoice_id=own)).status_code == 401


def test_a_cookie_of_one_site_opens_nothing_on_the_other(made: Portal) -> None:
    with db.transaction() as conn:
        of_staff = people.sign_in(conn, made.company.people[Role.ADMIN])
    of_portal, own = signed_in(), made.invoices["ada"]
    for token in (of_staff, of_portal):
        for name in (STAFF.session, PORTAL.session):
            on_portal = portal_app.document(request({name: token}, invoice_id=own)).status_code
            on_staff = staff_app.document(request({name: token}, invoice_id=own)).status_code
            assert on_portal == (200 if (token, name) == (of_portal, PORTAL.session) else 401)
            assert on_staff == (200 if (token, name) == (of_staff, STAFF.session) else 401)


def test_behind_tls_only_the_cookie_of_the_own_host_name_counts(made: Portal) -> None:
    token, own = signed_in(), made.invoices["ada"]
    planted = request({PORTAL.session: token}, scheme="https", invoice_id=own)
    assert portal_app.document(planted).status_code == 401
    hosted = request({f"__Host-{PORTAL.session}": token}, scheme="https", invoice_id=own)
    assert portal_app.document(hosted).status_code == 200


def test_a_ticket_becomes_a_cookie_that_no_script_reads(made: Portal) -> None:
    with db.transaction() as conn:
        ticket = portals.ticket(conn)
    asked = request(
        {"__Host-mandant_portal_nonce": "nonce"}, query=f"ticket={ticket}&to=//evil.example", scheme="https"
    )
    answer = portal_app.start_session(asked)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-mandant_portal=") and answer.headers["location"] == "/"
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/")) and "Domain" not in cookie
    assert "set-cookie" not in portal_app.start_session(asked).headers, "a ticket works once"


def test_a_made_up_ticket_signs_nobody_in_and_nobody_out(made: Portal) -> None:
    token = signed_in()
    answer = portal_app.start_session(request({PORTAL.session: token}, query="ticket=made-up"))
    assert "set-cookie" not in answer.headers
    assert portal_app.document(request({PORTAL.session: token}, invoice_id=made.invoices["ada"])).status_code == 200


@pytest.mark.parametrize(
    ("scheme", "name"), [("http", "mandant_portal_nonce"), ("https", "__Host-mandant_portal_nonce")]
)
def test_a_page_brings_a_nonce_and_the_headers(scheme: str, name: str) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await HTMLResponse("page")(scope, receive, send)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    people.awaited(PageHeaders(page, cookies=PORTAL)(request({}, scheme=scheme).scope, None, send))  # type: ignore[arg-type]
    headers = Response(headers={key.decode(): value.decode() for key, value in sent[0]["headers"]}).headers
    assert headers["set-cookie"].startswith(f"{name}=") and ("Secure" in headers["set-cookie"]) == (scheme == "https")
    assert headers["x-content-type-options"] == "nosniff"


# ---------------------------------------------------------------------------------- pages


@pytest.fixture
def open_page(made: Portal, monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """`open_page("team.py", token)`: the portal's page, run once in a browser that holds this token."""

    def run(file: str, token: str | None = None, **query: str) -> AppTest:
        monkeypatch.setattr(session, "token", lambda: token)
        monkeypatch.setattr(session, "address", lambda: "10.0.0.1")
        page = AppTest.from_file(str(ROOT / "pages" / "portal" / "main.py"), default_timeout=30)
        page.switch_page(file)
        for name, value in query.items():
            page.query_params[name] = value
        return page.run()

    return run


def words(page: AppTest) -> str:
    """All that a page says, tables included."""
    assert not page.exception
    kinds = (page.title, page.subheader, page.markdown, page.text, page.caption, page.warning, page.info, page.success)
    frames = [frame.value.to_csv() for frame in (*page.dataframe, *page.table)]
    return "\n".join([str(one.value) for kind in kinds for one in kind] + frames)


def test_every_page_shows_the_own_customer_and_nothing_of_another(open_page: OpenPage) -> None:
    tokens = {name: signed_in(name) for name in ("olga", "berit")}
    others = {"olga": ("Berta", "berit@", "00002"), "berit": ("Ada GmbH", "olga@", "piet@", "00001")}
    own = {"olga": ("Ada GmbH", "olga@ada.example", "00001"), "berit": ("Berta AG", "berit@ada.example", "00002")}
    for name, token in tokens.items():
        said = "\n".join(words(open_page(file, token, id="1", customer="1", user="1")) for file in GUARDED)
        assert not [word for word in others[name] if word in said]
        assert not [word for word in own[name] if word not in said]


def test_every_page_shows_a_stranger_the_form_alone(made: Portal, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        of_staff = people.sign_in(conn, made.company.people[Role.ADMIN])
    for token in (None, "made-up", of_staff):
        for file in GUARDED if token is None else GUARDED[:1]:
            said = words(page := open_page(file, token))
            assert [field.label for field in page.text_input] == ["E-mail", "Password"]
            assert "Ada" not in said and "RE-2026" not in said


@pytest.mark.parametrize("file", OPEN)
def test_what_a_stranger_opens_names_nobody(open_page: OpenPage, file: str) -> None:
    for link in ("", "made-up"):
        said = words(open_page(file, link=link))
        assert "ada.example" not in said and "Ada" not in said


@pytest.mark.row("G4")
def test_the_page_of_an_invite_sets_the_password_once(made: Portal, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        new = invites.invite(conn, made.ada, email="rosa@ada.example", user=made.sales)
        secret = portals.link(conn, new, "invite")
    page = open_page("accept.py", link=secret)
    assert "rosa@ada.example" in words(page)
    page.text_input(key="invite_password").set_value("short")
    page.text_input(key="invite_again").set_value("short")
    assert "at least 10 characters" in words(page.button(key="invite_save").click().run()).replace("\\", "")
    for field in ("password", "again"):
        page.text_input(key=f"invite_{field}").set_value(portals.PASSWORD)
    assert "Your password is set. Sign in" in words(page.button(key="invite_save").click().run())
    assert "used already" in words(open_page("accept.py", link=secret)).replace("\\", "")
    assert signed_in("rosa")


def test_the_address_is_edited_by_the_main_user_alone(open_page: OpenPage) -> None:
    keys = {
        name: {one.key for one in open_page("company.py", signed_in(name)).button} for name in ("olga", "piet", "berit")
    }
    assert "address_edit" in keys["olga"]
    assert "address_edit" not in keys["piet"] | keys["berit"]


@pytest.mark.row("G2")
def test_ips_are_ordered_with_the_confirmation_in_self_service_alone(made: Portal, open_page: OpenPage) -> None:
    managed = open_page("subscription.py", token := signed_in("berit"))
    assert {one.label: one.value for one in managed.metric} == {
        "IPs": "300", "Internal": "300", "External": "0", "A month, net (EUR)": "460.00",
    }  # fmt: skip
    assert "We change IPs and their distribution for you" in words(managed)
    assert not {"ips_change", "ips_cancel"} & {one.key for one in managed.button}
    with db.transaction() as conn:
        conn.execute(text("UPDATE customers SET service_mode = 'self_service' WHERE id = :id"), {"id": made.berta})
        conn.execute(text("UPDATE company SET registration_terms = 'Be *kind*.'"))
    page = open_page("subscription.py", token)
    page.button(key="ips_change").click().run()
    assert "Be *kind*." in words(page)
    page.text_input(key="ips_total").set_value("400")
    page.button(key="book_go").click().run()
    assert "Confirm the price and the terms" in "".join(one.value for one in page.error)
    page.button(key="ips_change").click().run()
    page.text_input(key="ips_total").set_value("400")
    page.checkbox(key="ips_accepted").check()
    page.button(key="book_go").click().run()
    assert not page.error and [one.value for one in page.metric] == ["400", "300", "100", "580.00"]


def test_who_is_locked_out_sees_the_form_at_the_next_click(made: Portal, open_page: OpenPage) -> None:
    page = open_page("team.py", signed_in())
    assert "Piet" in words(page)
    with db.transaction() as conn:
        customer_verbs.lock(conn, made.ada, user=made.sales)
    assert "Piet" not in words(page.run())
    assert [field.label for field in page.text_input] == ["E-mail", "Password"]


def test_registering_is_offered_where_it_is_on(open_page: OpenPage) -> None:
    assert "Nobody can register here" in words(open_page("register.py"))
    with db.transaction() as conn:
        conn.execute(text("UPDATE company SET self_registration = true, registration_terms = 'Be *kind*.'"))
    page = open_page("register.py")
    assert "Be *kind*." in words(page)
    page.text_input(key="register_name").set_value("Neu GmbH")
    page.button(key="register_save").click().run()
    assert "is required" in words(page).replace("\\", "")


def test_a_click_on_what_is_gone_finds_the_page_that_is_open(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it then does, tests/browser/test_customers.py tries on the staff's site.
    drawn_instead: list[str] = []
    monkeypatch.setattr(lost_clicks, "draw_instead", lambda page: drawn_instead.append(page.url_path))
    open_page("team.py", signed_in("olga"))
    assert drawn_instead == ["team"]
