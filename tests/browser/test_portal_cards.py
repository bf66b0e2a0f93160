"""An invoice paid by card from the portal, with a real browser and a Stripe of ours."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, expect
from sqlalchemy import text

from lib import card_answers, db, local, stripe_client
from tests import databases, portals, stripe_server, test_cards
from tests.browser.accessibility import violations
from tests.browser.conftest import Server, running
from tests.stripe_server import GOOD, Stripe

pytestmark = [pytest.mark.browser, pytest.mark.row("G16")]


@pytest.fixture(scope="module")
def fake() -> Iterator[Stripe]:
    with stripe_server.started() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv(stripe_client.VARIABLE, made.url)
        patch.setenv("MANDANT_TODAY", "2026-07-03")
        yield made


@pytest.fixture(scope="module")
def app(
    server: str, template: str, fake: Stripe, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The portal with its own role; Ada's invoice of 53.55 is issued, and our keys are entered."""
    log = tmp_path_factory.mktemp("portal") / "log"
    address = f"http://127.0.0.1:{port}"
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = portals.filled(conn)
            test_cards.enter(conn, made.company)
            conn.execute(text("UPDATE company SET portal_url = :url"), {"url": address})
        with running(url, log, port, site=local.PORTAL, MANDANT_TODAY="2026-07-20") as server:
            yield server


def test_an_invoice_is_paid_from_the_portal(new_browser: Callable[..., BrowserContext], app: Server) -> None:
    page = new_browser().pages[0]
    page.goto("/invoices")
    page.get_by_role("textbox", name="E-mail").fill("olga@ada.example")
    page.get_by_role("textbox", name="Password").fill(portals.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Pay by card").click()
    expect(page.get_by_text("The payment page is being made …")).to_be_visible()
    assert card_answers.ask_one()  # the worker
    link = page.get_by_role("link", name="Go to payment")
    expect(link).to_be_visible()
    assert violations(page) == []

    page.goto(link.get_attribute("href") or "")
    expect(page.get_by_role("heading", name="Pay 53.55")).to_be_visible()
    page.get_by_label("Card number").fill(GOOD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Your payment of RE-2026-00001 is being confirmed.")).to_be_visible()
    assert page.url.startswith(f"{app.url}/invoices")
    expect(page.get_by_role("link", name="Go to payment")).to_have_count(0)
    assert violations(page) == []

    assert card_answers.ask_one()
    expect(page.get_by_text("Thank you. Your payment of RE-2026-00001 has arrived.")).to_be_visible()
    expect(page.get_by_text("Paid", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Pay by card")).to_have_count(0)
