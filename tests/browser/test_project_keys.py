"""A project key with a real browser: entered by an admin, redeemed by sales in the wizard, revealed with a note."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from lib import db, project_key_stock
from lib.auth import Role
from tests import ledgers, people
from tests.browser.conftest import go_to
from tests.ledgers import JUNE

SignIn = Callable[..., Page]
pytestmark = pytest.mark.browser
KEY = "PRJ-BROWSER-2026-WXYZ"


@pytest.fixture(scope="module")
def customer_id(app_database: str) -> int:
    """A managed customer with 300 IPs since 1 June, and a key for 500."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        ips = ledgers.product(conn, hired, "ips", price=ledgers.RANGES)
        made = ledgers.customer(conn, hired, "Schlüsselbund GmbH")
        ledgers.book(conn, hired, made, ips, 300, JUNE)
        project_key_stock.add(
            conn, key=KEY, ips=500, months=12, purchase_price=Decimal(900), redeem_until=None, today=JUNE,
            user=hired[Role.ADMIN],
        )  # fmt: skip
        return made


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def box(page: Page, name: str) -> Locator:
    return dialog(page).get_by_role("textbox", name=name, exact=True)


def click(page: Page, name: str) -> None:
    dialog(page).get_by_role("button", name=name, exact=True).click()


@pytest.mark.row("G9", "G3")
def test_a_key_is_redeemed_step_by_step_and_back(sign_in: SignIn, customer_id: int) -> None:
    page = sign_in(Role.SALES, f"/customer?id={customer_id}")
    page.get_by_role("button", name="Actions").click()
    page.get_by_text("Project key …").click()
    box(page, "Project key").fill("prj browser 2026 nope")
    click(page, "Next")
    expect(dialog(page)).to_contain_text("There is no such project key")
    box(page, "Project key").fill("prj browser 2026 wxyz")
    click(page, "Next")
    box(page, "Selling price, net (EUR)").fill("450")
    # Sales doesn't learn what it costs us.
    expect(dialog(page)).to_contain_text("12 months")
    expect(dialog(page)).not_to_contain_text("Purchase price")
    click(page, "Next")
    expect(dialog(page)).to_contain_text("The key brings 500 IPs. Today the customer has 300")
    # A share that the key doesn't bring is told where it stands, and the other one is left alone.
    box(page, "External").fill("501")
    click(page, "Next")
    expect(dialog(page)).to_contain_text("External must be between 0 and 500.")
    expect(box(page, "Internal")).to_have_value("0")
    box(page, "External").fill("500")
    dialog(page).get_by_role("slider").press("ArrowRight")
    expect(box(page, "External")).to_have_value("499")
    expect(box(page, "Internal")).to_have_value("1")
    click(page, "Next")
    expect(dialog(page)).to_contain_text("450.00 EUR each month")
    expect(dialog(page)).to_contain_text("500: 1 internal, 499 external")
    expect(dialog(page)).not_to_contain_text("Margin")
    click(page, "Back")
    expect(box(page, "External")).to_have_value("499")
    click(page, "Back")
    expect(box(page, "Selling price, net (EUR)")).to_have_value("450")
    box(page, "Selling price, net (EUR)").fill("480")
    click(page, "Next")
    expect(box(page, "Internal")).to_have_value("1")
    click(page, "Next")
    expect(dialog(page)).to_contain_text("5,760.00 EUR")
    click(page, "Finish")
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("the project key ends")).to_be_visible()
    expect(page.get_by_role("cell", name="Project key", exact=True).first).to_be_visible()
    # From now on only the split changes.
    page.get_by_role("button", name="Change IPs").click()
    expect(dialog(page)).to_contain_text("Until then only their distribution changes")
    expect(box(page, "Total")).to_be_disabled()
    expect(dialog(page)).not_to_contain_text("Later changes are booked")
    dialog(page).get_by_role("slider").press("ArrowRight")
    expect(box(page, "Internal")).to_have_value("2")
    expect(dialog(page)).to_contain_text("as before")
    click(page, "Book IPs")
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("500: 2 internal, 498 external")).to_be_visible()


@pytest.mark.row("G9")
def test_an_admin_enters_keys_and_reveals_one(sign_in: SignIn, customer_id: int) -> None:
    page = sign_in(Role.ADMIN, "/project_keys")
    page.get_by_role("button", name="Add a key").click()
    box(page, "Key").fill("PRJ-BROWSER-2026-QRST")
    box(page, "IPs").fill("100")
    box(page, "Purchase price, net").fill("120")
    click(page, "Add the key")
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("button", name="Import CSV").click()
    rows = "Key;IPs;Months;Purchase price\nPRJ-BROWSER-2026-AAAA;5;1;9\nPRJ-BROWSER-2026-BBBB;5;1;9\n"
    file = {"name": "keys.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    dialog(page).locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    click(page, "Import 2 keys")
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_text("4 keys", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Open a key").click()
    page.get_by_role("option", name="·····QRST").click()
    expect(dialog(page)).not_to_contain_text("PRJ-BROWSER")
    click(page, "Reveal")
    expect(dialog(page)).to_contain_text("PRJ-BROWSER-2026-QRST")
    go_to(page, "/audit_log")
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
