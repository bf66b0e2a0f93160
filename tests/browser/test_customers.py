"""Sales with a real browser: a new test customer, its users, its conversion, its forecast; and without a mouse."""

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from sqlalchemy import insert, text

from lib import db, tables
from lib.auth import Role
from tests import ledgers, people
from tests.browser.accessibility import SCHEMES, in_colours, violations
from tests.browser.grids import FIRST_ROW_Y, TRIES, TRY_MS, size
from tests.browser.settling import settled

SignIn = Callable[..., Page]
# The middle of the menu's column, right of the names.
MENU_X = 220
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def shop(app_database: str) -> None:
    """Products with prices, and a customer to find."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        users = ledgers.product(conn, hired, "users", price="5")
        ledgers.product(conn, hired, "ips", price=ledgers.RANGES)
        known = ledgers.customer(conn, hired, "Ährenfeld AG")
        ledgers.book(conn, hired, known, users, 7, ledgers.JUNE)
        ledgers.customer(conn, hired, "Bördewerk GmbH")
        # Somebody of it has registered, so deleting it takes a word.
        person = {"customer_id": known, "email": "anke@aehrenfeld.example", "is_main": True}
        registered = {"registered_at": text("now()"), "password_hash": "unused"}
        conn.execute(insert(tables.customer_users).values(person | registered))


def counted(name: str) -> int:
    with db.transaction() as conn:
        return int(conn.scalar(text("SELECT count(*) FROM customers WHERE name = :name"), {"name": name}) or 0)


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def choose(page: Page, verb: str) -> None:
    """Choose a verb from the menu in the customer's head."""
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem").filter(has_text=verb).click()


def type_number(page: Page, label: str, value: str) -> None:
    """Type into a number field of the dialog and leave it."""
    dialog(page).get_by_role("textbox", name=label).fill(value)
    dialog(page).get_by_role("heading").first.click()


def click_first_row(page: Page) -> None:
    """As a hand does it: the table wants to see the mouse come before it takes a click."""
    box = size(page, page.get_by_test_id("stDataFrame"))
    page.mouse.move(box["x"] + 60, box["y"] + 52, steps=15)
    page.mouse.down()
    page.mouse.up()


def choose_in_first_row(page: Page, label: str) -> None:
    """Choose from the menu beside the first customer's name, once the list has settled."""
    item = page.get_by_role("menuitem").filter(has_text=label)
    for _ in range(TRIES):
        box = size(page, page.get_by_test_id("stDataFrame"))
        page.mouse.move(box["x"] + MENU_X, box["y"] + FIRST_ROW_Y, steps=15)
        page.mouse.down()
        page.mouse.up()
        with suppress(AssertionError):
            expect(item).to_be_visible(timeout=TRY_MS)
            item.click()
            expect(dialog(page)).to_be_visible()
            return
        page.keyboard.press("Escape")
    raise AssertionError(f"no menu offers {label!r}")


# What a click sends goes out again and again for a second: one of them comes while the next page is being drawn.
AGAIN = """
() => {
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    send.call(this, data);
    if (!window.again) return;
    window.again = false;
    for (let wait = 20; wait < 1000; wait += 20) setTimeout(() => send.call(this, data), wait);
  };
}
"""


@pytest.mark.row("N2")
def test_a_click_that_comes_when_its_dialog_is_gone_leaves_no_blank_page(
    signed_in: Callable[..., BrowserContext],
) -> None:
    page = signed_in(Role.SALES).pages[0]
    page.goto("/customers")
    page.evaluate(AGAIN)
    page.get_by_role("button", name="New customer").click()
    dialog(page).get_by_role("textbox", name="Company name").fill("Doppelt GmbH")
    settled(page)
    page.evaluate("window.again = true")
    dialog(page).get_by_role("button", name="Create customer").click()
    expect(page).to_have_url(re.compile(r"/customer\?id=\d+"))
    page.wait_for_timeout(1500)
    expect(page.get_by_role("heading", name="Doppelt GmbH")).to_be_visible(timeout=10_000)
    assert counted("Doppelt GmbH") == 1


@pytest.mark.row("N2", "N3", "N4", "N6", "N8", "G6")
def test_from_a_new_test_customer_to_its_forecast(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_role("button", name="New customer").click()
    # The end date is prefilled four weeks ahead: 20 June + 28 days.
    expect(dialog(page).get_by_role("group", name="End date")).to_contain_text(re.compile(r"18\D+0?7\D+2026"))
    dialog(page).get_by_role("button", name="Create customer").click()
    expect(dialog(page)).to_contain_text("The name is required.")
    dialog(page).get_by_role("textbox", name="Company name").fill("Klickprobe GmbH")
    # A double click creates one, and its page is drawn; a slow one, whose second half comes when that is on its way.
    dialog(page).get_by_role("button", name="Create customer").dblclick(delay=100)
    expect(page).to_have_url(re.compile(r"/customer\?id=\d+"))
    expect(page.get_by_role("heading", name="Klickprobe GmbH")).to_be_visible()
    assert counted("Klickprobe GmbH") == 1

    page.get_by_role("button", name="Change users").click()
    type_number(page, "Users", "ten")
    expect(dialog(page).get_by_text("Users must be a whole number, for example 25.")).to_be_visible()
    type_number(page, "Users", "10")
    expect(dialog(page)).to_contain_text("50.00")
    dialog(page).get_by_role("button", name="Book users").click()
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("button", name="Change IPs").click()
    type_number(page, "Total", "300")
    expect(dialog(page)).to_contain_text("460.00")
    dialog(page).get_by_role("button", name="Book IPs").click()
    expect(dialog(page)).to_have_count(0)

    page.get_by_role("tab", name="Forecast").click()
    expect(page.get_by_text("a test customer has no charges")).to_be_visible()
    page.get_by_role("button", name="Convert to billed").click()
    expect(dialog(page)).to_contain_text("never becomes a test customer again")
    dialog(page).get_by_role("button", name="Convert to billed").click()
    expect(dialog(page)).to_have_count(0)
    # Users for the whole month, IPs for 11 of 30 days: 50.00 + 460.00 × 11/30.
    expect(page.get_by_test_id("stMetricValue").first).to_have_text("218.67")
    expect(page.get_by_role("button", name="Convert to billed")).to_have_count(0)


@pytest.mark.row("N5", "G13")
def test_a_search_stands_in_the_address_and_a_click_opens_the_customer(sign_in: SignIn) -> None:
    page = sign_in(Role.VIEWER)
    page.get_by_test_id("stMain").get_by_role("searchbox").press_sequentially("ähren")
    expect(page.get_by_text("1–1 of 1 customer")).to_be_visible()
    expect(page).to_have_url(re.compile("customer_search="))
    page.reload()
    expect(page.get_by_text("1–1 of 1 customer")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    for name, ending in (("JSON", "json"), ("CSV", "csv"), ("CSV for German Excel", "csv")):
        address = page.get_by_role("link", name=name, exact=True).get_attribute("href") or ""
        exported = page.request.get(address)
        assert f".{ending}" in exported.headers["content-disposition"]
        assert "Ährenfeld AG" in exported.text() and exported.text().count("C-1000") == 1
    page.keyboard.press("Escape")
    click_first_row(page)
    expect(page.get_by_role("heading", name="Ährenfeld AG")).to_be_visible()


@pytest.mark.row("N5")
def test_a_customer_is_opened_without_a_mouse(sign_in: SignIn) -> None:
    page = sign_in(Role.VIEWER)
    page.get_by_role("combobox", name="Open a customer").focus()
    page.keyboard.type("Ähren")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ährenfeld AG")).to_be_visible()


@pytest.mark.row("G3")
def test_a_row_offers_its_own_actions(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_test_id("stMain").get_by_role("searchbox").press_sequentially("börde")
    expect(page.get_by_text("1–1 of 1 customer")).to_be_visible()
    choose_in_first_row(page, "Edit address")
    dialog(page).get_by_role("textbox", name="Street and number").fill("Neue Str. 9")
    dialog(page).get_by_role("button", name="Save address").click()
    expect(dialog(page)).to_have_count(0)
    with db.transaction() as conn:
        hired = people.hire(conn)
        [(customer_id, street)] = conn.execute(text("SELECT id, street FROM customers WHERE name = 'Bördewerk GmbH'"))
        ledgers.serve_itself(conn, hired, customer_id)
    assert street == "Neue Str. 9"
    page.reload()
    choose_in_first_row(page, "Convert to managed service")
    expect(dialog(page)).to_contain_text("Bördewerk GmbH: from now on only we edit its address")
    dialog(page).get_by_role("button", name="Convert").click()
    expect(dialog(page)).to_have_count(0)
    choose_in_first_row(page, "Details")
    expect(dialog(page)).to_contain_text("Nothing was ever booked.")
    expect(dialog(page)).to_contain_text("Managed service")
    dialog(page).get_by_role("button", name="Open the customer").click()
    expect(page.get_by_role("heading", name="Bördewerk GmbH")).to_be_visible()
    page.get_by_role("tab", name="Data").click()
    expect(page.get_by_role("textbox", name="Street and number").first).to_have_value("Neue Str. 9")


def test_what_is_typed_into_the_data_outlasts_a_look_at_another_tab(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_role("combobox", name="Open a customer").focus()
    page.keyboard.type("Ähren")
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Data").click()
    page.get_by_role("textbox", name="Phone").fill("030 4711")
    page.get_by_role("textbox", name="Street and number").first.fill("Ring 5")
    page.get_by_role("tab", name="Notes").click()
    page.get_by_role("textbox", name="New note").fill("Moved.")
    settled(page)
    page.get_by_role("tab", name="Data").click()
    expect(page.get_by_role("textbox", name="Phone")).to_have_value("030 4711")
    page.get_by_role("button", name="Save data").click()
    expect(page.get_by_text("The customer's data is saved.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Street and number").first).to_have_value("Ring 5")
    page.get_by_role("tab", name="Notes").click()
    expect(page.get_by_role("textbox", name="New note")).to_have_value("Moved.")


@pytest.mark.row("N9")
def test_deactivating_and_activating(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_role("combobox", name="Open a customer").focus()
    page.keyboard.type("Ähren")
    page.keyboard.press("Enter")
    choose(page, "Deactivate …")
    # Users are charged at their peak: this month stays, the next one costs nothing.
    expect(dialog(page)).to_contain_text("July 2026: 35.00 → 0.00")
    dialog(page).get_by_role("textbox", name="Reason").fill("moved away")
    dialog(page).get_by_role("button", name="Deactivate").click()
    expect(page.get_by_text("Reason: moved away")).to_be_visible()
    choose(page, "Activate …")
    dialog(page).get_by_role("button", name="Activate", exact=True).click()
    expect(page.get_by_text("Reason: moved away")).to_have_count(0)
    expect(dialog(page)).to_have_count(0)


@pytest.mark.row("G7", "G12", "N10")
def test_locking_deleting_and_taking_it_back(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_role("combobox", name="Open a customer").focus()
    page.keyboard.type("Ähren")
    page.keyboard.press("Enter")
    choose(page, "Lock …")
    expect(dialog(page)).to_contain_text("Its charges don't change")
    dialog(page).get_by_role("button", name="Lock").click()
    expect(page.get_by_text("its users can't sign in. What is booked runs on.")).to_be_visible()

    choose(page, "Delete …")
    expect(dialog(page)).to_contain_text("July 2026: 35.00 → 0.00")
    dialog(page).get_by_role("textbox", name="Type DELETE").fill("delete")
    dialog(page).get_by_role("button", name="Delete customer").click()
    expect(dialog(page)).to_contain_text("type DELETE, in capitals")
    dialog(page).get_by_role("textbox", name="Type DELETE").fill("DELETE")
    # As long as a person presses: what leaving the field draws anew must not move the button from under the pointer.
    dialog(page).get_by_role("button", name="Delete customer").click(delay=500)
    # The closing dialog says what is left to us.
    expect(dialog(page)).to_contain_text("is gone here from")
    expect(dialog(page)).to_contain_text("Drop the customer's SQL database")
    expect(dialog(page)).to_contain_text("Remove existing backups")
    dialog(page).get_by_role("button", name="Close", exact=True).last.click()
    expect(page.get_by_text("Marked for deletion by Samuel")).to_be_visible()
    expect(page.get_by_role("button", name="Actions")).to_have_count(0)

    page.get_by_role("button", name="Take deletion back").click()
    dialog(page).get_by_role("button", name="Take back").click()
    expect(page.get_by_text("Marked for deletion")).to_have_count(0)
    # As it was before: locked, and its subscription runs on.
    choose(page, "Unlock …")
    expect(dialog(page)).to_contain_text("July 2026 35.00")
    dialog(page).get_by_role("button", name="Unlock").click()
    expect(page.get_by_text("What is booked runs on.")).to_have_count(0)
    with db.transaction() as conn:
        query = text("SELECT locked_at, marked_for_deletion_at, ends_on FROM customers WHERE name = 'Ährenfeld AG'")
        assert conn.execute(query).one() == (None, None, None)


def test_the_tabs_have_no_serious_fault_for_assistive_technology(sign_in: SignIn) -> None:
    page = sign_in(Role.FINANCE)
    page.get_by_role("combobox", name="Open a customer").focus()
    page.keyboard.type("Ähren")
    page.keyboard.press("Enter")
    tabs = ("Overview", "Data", "History", "Forecast", "Statements", "Adjustments", "Change log")
    # Each is opened in the colours in which the one before was looked at last.
    for tab, schemes in zip(tabs, cycle((SCHEMES, SCHEMES[::-1])), strict=False):
        page.get_by_role("tab", name=tab, exact=True).click()
        expect(page.get_by_role("tabpanel").first).to_be_visible()
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        for scheme in schemes:
            in_colours(page, scheme)
            assert violations(page) == [], (tab, scheme)
