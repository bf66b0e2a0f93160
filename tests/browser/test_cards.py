"""Paying by card with a real browser: the link that finance makes, the page of a Stripe of ours, back, and a refund."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lib import card_answers, db, invoices, stripe_client
from lib.auth import Role
from tests import closes, databases, stripe_server, test_cards
from tests.browser.conftest import Server, running
from tests.stripe_server import DECLINED, GOOD, Stripe

pytestmark = [pytest.mark.browser, pytest.mark.row("G16")]


@pytest.fixture(scope="module")
def fake() -> Iterator[Stripe]:
    with stripe_server.started() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv(stripe_client.VARIABLE, made.url)
        yield made


@pytest.fixture(scope="module")
def invoice_id(server: str, template: str) -> Iterator[int]:
    """An issued invoice of 53.55, and Stripe's keys."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = closes.issued(conn)
            test_cards.enter(conn, made)
            found = invoices.invoices_of(conn, made.with_users)[0].id
        yield found


@pytest.fixture(scope="module")
def app(invoice_id: int, fake: Stripe, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, which asks our Stripe."""
    with running(db.url(), tmp_path_factory.mktemp("app") / "log", port, MANDANT_TODAY="2026-07-03") as server:
        yield server


def test_an_invoice_is_paid_by_its_link_and_refunded_in_part(
    sign_in: Callable[..., Page],
    new_browser: Callable[..., BrowserContext],
    app: Server,
    fake: Stripe,
    invoice_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-03")
    page = sign_in(Role.FINANCE, f"/invoice?id={invoice_id}")
    page.get_by_role("button", name="Make pay link").click()
    link = page.locator("[data-testid=stCode]").filter(has_text="/c/cs_test")
    expect(link).to_be_visible()
    address = (link.text_content() or "").strip()

    customer = new_browser().pages[0]
    customer.goto(address)
    expect(customer.get_by_role("heading", name="Pay 53.55")).to_be_visible()
    customer.get_by_label("Card number").fill(DECLINED)
    customer.get_by_role("button", name="Go on").click()
    expect(customer.get_by_role("alert")).to_have_text("Your card was declined.")
    customer.get_by_label("Card number").fill(GOOD)
    customer.get_by_role("button", name="Go on").click()
    expect(customer.get_by_role("heading", name="Thank you")).to_be_visible()
    assert customer.url == f"{app.url}/stripe/done"

    body, signature = stripe_server.signed(fake.events[-1])
    for _ in range(2):  # Stripe may send it twice
        answer = httpx.post(f"{app.url}/stripe/webhook", content=body, headers={"Stripe-Signature": signature})
        assert answer.status_code == 200
    assert card_answers.ask_one()

    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_text("Paid", exact=True)).to_be_visible()
    expect(page.get_by_text("0.00 EUR open")).to_be_visible()

    page.get_by_role("button", name="Refund by card …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Amount (EUR)").fill("10")
    dialog.get_by_role("textbox", name="Reason").fill("Billed too much")
    dialog.get_by_role("button", name="Refund", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_test_id("stToast").filter(has_text="Stripe was asked for the refund")).to_be_visible()
    assert card_answers.ask_one()
    page.reload()
    expect(page.get_by_text("10.00 EUR open")).to_be_visible()
    expect(page.get_by_text("Partly paid", exact=True)).to_be_visible()
