"""A plan in advance with a real browser: its invoice, what its payment begins, its cancellation and back."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from lib import db, invoices
from lib.auth import Role
from tests import closes, ledgers, people, termed
from tests.browser.accessibility import violations
from tests.termed import Shop

SignIn = Callable[..., Page]
pytestmark = pytest.mark.browser
# What the app of these tests takes for today.
TODAY = termed.DAY.replace(day=20)


@pytest.fixture(scope="module")
def shop(app_database: str) -> Shop:
    """A billed customer and a plan at 30 a month."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        closes.complete(conn, hired[Role.ADMIN])
        plan = ledgers.product(conn, hired, "plan", code="basic", price="30")
        ada = ledgers.customer(conn, hired, "Ada GmbH")
    return Shop(hired, ada, 0, plan, 0, 0)


def chosen(page: Page, label: str) -> Locator:
    """The dialog of an entry of the card's menu."""
    page.get_by_role("button", name="Action", exact=True).click()
    page.get_by_role("menuitem", name=label).click()
    return page.get_by_role("dialog")


def saved(page: Page, told: str) -> None:
    expect(page.get_by_test_id("stToast").filter(has_text=told)).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.row("S5", "S6")
def test_from_the_invoice_of_a_plan_to_its_cancellation_and_back(sign_in: SignIn, shop: Shop) -> None:
    page = sign_in(Role.FINANCE, f"/customer?id={shop.ada}&tab=Plans")
    expect(page.get_by_text("Not booked")).to_be_visible()
    dialog = chosen(page, "Make invoice for a month")
    expect(dialog.get_by_role("row", name="To pay 35.70")).to_be_visible()
    assert violations(page) == []
    dialog.get_by_role("button", name="Draft the invoice").dblclick()
    saved(page, "The invoice for Basic is drafted.")
    expect(page.get_by_text("Waits for payment")).to_be_visible()
    with db.transaction() as conn:
        [draft] = invoices.invoices_of(conn, shop.ada)
        termed.issue(conn, shop, draft.id, today=TODAY)
        termed.pay(conn, shop, draft.id, day=TODAY)
    page.reload()
    expect(page.get_by_text("Monthly, since 20 Jun 2026, until 19 Jul 2026. It is renewed then.")).to_be_visible()

    dialog = chosen(page, "Cancel at expiry")
    expect(dialog).to_contain_text("Its renewal of 30.00 EUR net is not invoiced.")
    dialog.get_by_role("button", name="Cancel at expiry").click()
    saved(page, "Basic ends with 19 Jul 2026.")
    expect(page.get_by_text("It is not renewed.")).to_be_visible()
    chosen(page, "Take cancellation back").get_by_role("button", name="Let it go on").click()
    saved(page, "Basic goes on.")
    expect(page.get_by_text("It is renewed then.")).to_be_visible()
    assert violations(page) == []
