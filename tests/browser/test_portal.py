"""The portal with a real browser: an accepted invite, a downloaded invoice, IPs ordered, a company that registers."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from lib import customer_users, customers, db, invites, local, mail_sending, mail_server, settings
from lib.auth import Role
from tests import databases, mailboxes, people, portals
from tests.browser.accessibility import violations
from tests.browser.conftest import Server, running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """Ada and Berta with a closed June, and Rosa, who is invited to Ada's portal."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = portals.filled(conn)
            invites.invite(conn, made.ada, email="rosa@ada.example", first_name="Rosa", user=made.sales)
        yield url


@pytest.fixture(scope="module")
def app(app_database: str, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The portal as `make run` starts it."""
    log = tmp_path_factory.mktemp("portal") / "log"
    with running(app_database, log, port, site=local.PORTAL, MANDANT_TODAY="2026-07-20") as server:
        yield server


@pytest.fixture
def mailbox(app: Server) -> Iterator[mailboxes.Mailbox]:
    """A mail server that we use, and registering switched on."""
    terms = {"portal_url": app.url, "self_registration": True, "registration_terms": "Be kind."}
    with mailboxes.running() as running:
        post = {"host": "127.0.0.1", "port": str(running.port), "security": "none", "sender_address": "post@m.example"}
        with db.transaction() as conn:
            admin = people.hire(conn)[Role.ADMIN]
            mail_server.edit(conn, version=mail_server.server(conn).version, changes=post, user=admin)
            settings.edit_company(conn, version=settings.company(conn).version, changes=terms, user=admin)
        yield running


@pytest.mark.row("G4", "G5")
def test_from_the_invite_to_an_invoice(new_browser: Callable[..., BrowserContext], tmp_path: Path) -> None:
    with db.transaction() as conn:
        rosa = customer_users.by_email(conn, "rosa@ada.example")
        assert rosa
        link = portals.link(conn, rosa.id, "invite")
    page = new_browser().pages[0]
    page.goto(f"/accept?link={link}")
    page.get_by_role("textbox", name="New password", exact=True).fill(portals.PASSWORD)
    page.get_by_role("textbox", name="New password again").fill(portals.PASSWORD)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your password is set. Sign in")).to_be_visible()

    page.goto("/invoices")  # survives the sign-in
    page.get_by_role("textbox", name="E-mail").fill("rosa@ada.example")
    page.get_by_role("textbox", name="Password").fill(portals.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Invoices")).to_be_visible()
    expect(page.get_by_text("RE-2026-00001")).to_be_visible()
    assert page.get_by_text("RE-2026-00002").count() == 0
    assert violations(page) == []
    address = page.get_by_role("link", name="PDF").get_attribute("href") or ""
    answer = page.request.get(address)
    assert answer.status == 200 and answer.body().startswith(b"%PDF")
    assert page.request.get(address.replace("1.pdf", "2.pdf")).status == 404

    page.get_by_role("link", name="Team").click()
    page.get_by_role("button", name="Invite colleague").click()
    page.get_by_role("dialog").get_by_role("textbox", name="E-mail").fill("timo@ada.example")
    page.get_by_role("dialog").get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_test_id("stToast").filter(has_text="is invited")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.request.get(address).status == 401


@pytest.mark.row("G2", "G8")
def test_ips_are_ordered_cancelled_and_kept(new_browser: Callable[..., BrowserContext]) -> None:
    page = new_browser().pages[0]
    page.goto("/subscription")
    page.get_by_role("textbox", name="E-mail").fill("olga@ada.example")
    page.get_by_role("textbox", name="Password").fill(portals.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Order IPs").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Total").fill("100")
    dialog.get_by_role("textbox", name="Total").press("Enter")
    expect(dialog).to_contain_text("July 2026: 45.00 → 112.74 (+67.74)")  # 175.00 × 12/31
    dialog.get_by_text("I order this at the price shown").click()
    dialog.get_by_role("button", name="Order", exact=True).click()
    expect(dialog).to_have_count(0)

    page.get_by_role("button", name="Cancel at month's end").click()
    expect(dialog).to_contain_text("A decrease takes effect at the month's end: from 1 Aug 2026")
    expect(dialog).to_contain_text("August 2026: 220.00 → 45.00 (-175.00)")
    dialog.get_by_text("I order this at the price shown").click()
    dialog.get_by_role("button", name="Order", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("cancelled")).to_be_visible()
    page.get_by_role("button", name="Take back").click()
    dialog.get_by_role("button", name="Take back").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("Booked for later")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel at month's end")).to_be_visible()


@pytest.mark.row("G14")
def test_a_company_registers_and_signs_in(
    new_browser: Callable[..., BrowserContext], mailbox: mailboxes.Mailbox
) -> None:
    page = new_browser().pages[0]
    page.goto("/register")
    typed = {
        "Company name": "Neu GmbH", "Street and number": "Weg 1", "Postcode": "10115", "City": "Berlin",
        "First name": "Nina", "Surname": "Neu", "E-mail": "nina@neu.example", "Password again": portals.PASSWORD,
    }  # fmt: skip
    for label, value in typed.items():
        page.get_by_role("textbox", name=label).fill(value)
    page.get_by_role("textbox", name="Password", exact=True).fill(portals.PASSWORD)
    page.get_by_text("I accept the terms").click()
    page.get_by_role("button", name="Register", exact=True).click()
    done = page.get_by_test_id("stAlertContentSuccess")
    expect(done).to_contain_text("A mail is on its way to this address")

    while mail_sending.send_one():  # the worker's part; invites of the other tests are mailed, too
        pass
    [mail] = [one for one in mailbox.arrived if one["To"] == "nina@neu.example"]
    link = re.search(r"https?://\S+/confirm\?link=\S+", mail.get_content())
    assert link
    page.goto(link[0])
    page.get_by_role("textbox", name="The password that you chose").fill(portals.PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("textbox", name="E-mail").fill("nina@neu.example")
    page.get_by_role("textbox", name="Password").fill(portals.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Neu GmbH")).to_be_visible()
    expect(page.get_by_text("Your free trial runs until 17 Aug 2026")).to_be_visible()

    with db.transaction() as conn:  # and we see it among the tests
        person = customer_users.by_email(conn, "nina@neu.example")
        assert person and person.is_main and person.state == "active"
        customer = customers.customer(conn, person.customer_id)
        assert (customer.phase, customer.service_mode, customer.street) == ("test", "self_service", "Weg 1")
