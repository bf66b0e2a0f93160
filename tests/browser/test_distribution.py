"""Sales with a real browser: IPs moved and made fewer, with what that costs; and an amount that explains itself."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from lib import bookings, db
from lib.auth import Role
from tests import ledgers, people
from tests.ledgers import JUNE

SignIn = Callable[..., Page]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def customer_id(app_database: str) -> int:
    """200 internal and 100 external IPs since 1 June."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        ips = ledgers.product(conn, hired, "ips", price=ledgers.RANGES)
        made = ledgers.customer(conn, hired, "Verteiler GmbH")
        bookings.book(
            conn, made, ips, effective_on=JUNE, quantity=300, internal=200, external=100, today=JUNE,
            user=hired[Role.SALES],
        )  # fmt: skip
        return made


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def box(page: Page, name: str) -> Locator:
    return dialog(page).get_by_role("textbox", name=name)


@pytest.mark.row("G6", "B2")
def test_ips_are_moved_made_fewer_and_the_forecast_explains_itself(sign_in: SignIn, customer_id: int) -> None:
    page = sign_in(Role.SALES, f"/customer?id={customer_id}")
    page.get_by_role("button", name="Change IPs").click()
    expect(dialog(page)).to_contain_text("Verteiler GmbH")
    expect(dialog(page)).to_contain_text("This is what the customer has today.")
    # The slider moves IPs between both, the total stays; that costs nothing.
    dialog(page).get_by_role("slider").press("ArrowRight")
    expect(box(page, "External")).to_have_value("99")
    expect(box(page, "Internal")).to_have_value("201")
    expect(box(page, "Total")).to_have_value("300")
    expect(dialog(page)).to_contain_text("June 2026: 460.00, as before")
    # Of two shares the other one is the rest; only the total itself changes the total, and the external ones.
    box(page, "Internal").fill("301")
    box(page, "Internal").press("Enter")
    expect(dialog(page)).to_contain_text("Internal must be between 0 and 300.")
    box(page, "External").fill("0")
    box(page, "External").press("Enter")
    expect(box(page, "Internal")).to_have_value("300")
    expect(box(page, "Total")).to_have_value("300")
    box(page, "Total").fill("50")
    box(page, "Total").press("Enter")
    expect(box(page, "Internal")).to_have_value("50")
    expect(dialog(page)).to_contain_text("A decrease takes effect at the month's end: from 1 Jul 2026")
    expect(dialog(page)).to_contain_text(re.compile(r"July 2026: 460\.00 → 100\.00 \(-360\.00\)"))
    dialog(page).get_by_role("button", name="Book IPs").click()
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("50 (50 internal, 0 external)")).to_be_visible()

    page.get_by_role("tab", name="Forecast").click()
    page.get_by_role("button", name="How this came about").last.click()
    expect(dialog(page)).to_contain_text("List price in EUR, valid from June 2026")
    dialog(page).get_by_role("button", name="Close").click()

    page.get_by_role("tab", name="History", exact=True).click()
    page.get_by_role("button", name="Take back").click()
    dialog(page).get_by_role("button", name="Take back").click()
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("Booked for later")).to_have_count(0)
