"""A customer's service with a real browser: required fields, a plan, a quota and its end, the console in a new tab."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from lib import audit, db, usage
from lib.auth import Role
from lib.usage import Usage
from tests import ledgers, people
from tests.browser.accessibility import violations

SignIn = Callable[..., Page]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def customer(app_database: str) -> int:
    """A test customer that used something yesterday, and two plans to choose from."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        ledgers.product(conn, hired, "plan", code="basic", price="30")
        ledgers.product(conn, hired, "plan", code="plus", price="60")
        made = ledgers.customer(conn, hired, "Dachs Druck AG", billed=False, ends_on=date(2026, 8, 1))
        day = Usage(made, date(2026, 6, 19), credits=Decimal(90), cloud_status="Healthy", backups_ok=4)
        usage.record(conn, [day], import_id=None, user=hired[Role.SALES])
    return made


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def saved(page: Page, told: str) -> None:
    expect(page.get_by_test_id("stToast").filter(has_text=told)).to_be_visible()
    expect(dialog(page)).to_have_count(0)


@pytest.mark.row("D1", "D2", "D3", "D5")
def test_from_an_account_to_a_quota_that_warns_and_the_console(sign_in: SignIn, customer: int) -> None:
    page = sign_in(Role.SALES, f"/customer?id={customer}&tab=Service")
    page.get_by_role("button", name="Edit", exact=True).first.click()
    dialog(page).get_by_role("button", name="Save account").click()
    expect(dialog(page)).to_contain_text("The account name is required.")
    dialog(page).get_by_role("textbox", name="Account name").fill("dachs-druck")
    dialog(page).get_by_role("button", name="Save account").click()
    saved(page, "The account is saved.")

    page.get_by_role("button", name="Edit", exact=True).nth(1).click()
    dialog(page).get_by_role("textbox", name="Address of the console").fill("javascript:alert(1)")
    dialog(page).get_by_role("button", name="Save service").click()
    expect(dialog(page)).to_contain_text("Choose a storage region.")
    dialog(page).get_by_role("combobox", name="Storage region").click()
    page.get_by_role("option", name="Ireland (Dublin)").click()
    dialog(page).get_by_role("button", name="Save service").click()
    expect(dialog(page)).to_contain_text("must look like https://")
    dialog(page).get_by_role("textbox", name="Address of the console").fill("https://console.example/dachs")
    dialog(page).get_by_role("button", name="Save service").click()
    saved(page, "The service is saved.")
    expect(page.get_by_text("Ireland (Dublin)")).to_be_visible()

    page.get_by_role("button", name="Choose plan").click()
    dialog(page).get_by_role("button", name="Book plan").click()
    saved(page, "The plan is booked.")
    expect(page.get_by_text("Basic, since 20 Jun 2026")).to_be_visible()

    page.get_by_role("button", name="Add quota").click()
    dialog(page).get_by_role("textbox", name="Amount").fill("-1")
    dialog(page).get_by_role("button", name="Add quota").click()
    expect(dialog(page)).to_contain_text("can't be negative")
    dialog(page).get_by_role("textbox", name="Amount").fill("1000")
    dialog(page).get_by_role("button", name="Add quota").dblclick()
    saved(page, "The quota is added.")
    expect(page.get_by_text("1,000 credits, since 20 Jun 2026")).to_be_visible()
    page.get_by_role("button", name="End …").click()
    page.get_by_role("menuitem", name="Credits, since 20 Jun 2026").click()
    dialog(page).get_by_role("button", name="End quota").click()
    saved(page, "The end of the quota is saved.")
    expect(page.get_by_text("the quota ends on 20 Jun 2026, and no other follows.")).to_be_visible()
    assert violations(page) == []

    link = page.get_by_role("link", name="Open console")
    expect(link).to_have_attribute("target", "_blank")
    # The new tab neither learns where it was opened nor gets hold of our page.
    expect(link).to_have_attribute("rel", "noreferrer")
    with page.context.expect_event("request", lambda request: "console.example" in request.url) as asked:
        link.click()
    assert asked.value.url == "https://console.example/dachs" and "referer" not in asked.value.headers
    with db.transaction() as conn:
        entries, _ = audit.entries(conn, customer_id=customer, search="open console")
    assert [entry.person for entry in entries] == ["Samuel"]

    page.get_by_role("tab", name="Usage").click()
    # Used before the quota began.
    expect(page.get_by_text("0 of 1,000 credits, from 20 Jun 2026 until 20 Jun 2026")).to_be_visible()
    assert violations(page) == []
