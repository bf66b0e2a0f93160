"""A new company, from an empty database to its first invoice: all of it by hand, on the pages."""

import os
import subprocess
import sys
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from pypdf import PdfReader

from lib import audit, checks, db, invoices
from tests.browser.conftest import fill_in, go_to, running
from tests.browser.grids import size, type_into

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
PASSWORD = "three-grey-herons"


@pytest.fixture(scope="module")
def app() -> None:
    """None yet: the journey starts one in June and one in July."""


def create_admin() -> None:
    """The one command that a new installation needs."""
    subprocess.run(
        [sys.executable, "-m", "lib", "create-admin", "anna", "--name", "Anna Admin"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def choose(place: Page | Locator, label: str, option: str, page: Page) -> None:
    """Pick an option of a select box."""
    place.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def fill(place: Page | Locator, values: dict[str, str]) -> None:
    for label, value in values.items():
        place.get_by_role("textbox", name=label, exact=True).fill(value)


def enter_company(page: Page) -> None:
    """Settings: the seller, the tax number and bank, the first booking month."""
    go_to(page, "/settings")
    expect(page.get_by_text("Before the first invoice")).to_be_visible()
    fill(
        page,
        {"Company name": "Neuland IT GmbH", "Street and number": "Hafenstr. 1", "Postcode": "20457", "City": "Hamburg"},
    )
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Done: Company name")).to_be_visible()
    page.get_by_role("tab", name="Bank and tax").click()
    fill(page, {"Tax number": "181/815/08155", "IBAN": "DE89 3704 0044 0532 0130 00"})
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Done: VAT ID or tax number")).to_be_visible()
    page.get_by_role("tab", name="Booking months").click()
    page.get_by_role("button", name="Set first month").click()
    expect(page.get_by_text("Set to June 2026")).to_be_visible()


def add_product(page: Page) -> None:
    """Prices: licensed users at 4.50 from June on."""
    go_to(page, "/prices")
    page.get_by_role("button", name="Add product").click()
    choose(dialog(page), "Kind", "Licensed users", page)
    fill(dialog(page), {"Code": "users", "German name": "Lizenzierte Benutzer", "English name": "Licensed users"})
    dialog(page).get_by_role("button", name="Add product").click()
    expect(dialog(page)).to_have_count(0)
    choose(page, "Valid from", "June 2026", page)
    # The one range that a new price begins with: from 1, and above. Only its price is missing.
    grid = page.get_by_test_id("stDataFrame").last
    type_into(page, grid, "4,50", x=size(page, grid)["width"] * 0.85)
    page.get_by_role("button", name="Review and save").click()
    dialog(page).get_by_role("button", name="Save price from June 2026").click()
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_role("cell", name="from June 2026")).to_be_visible()


def add_colleague(page: Page) -> None:
    go_to(page, "/staff")
    page.get_by_role("button", name="Add a person").click()
    fill(dialog(page), {"Name": "Fritz Finance", "User name": "fritz", "First password": "nine-wet-meadows"})
    dialog(page).get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Fritz Finance", exact=True)).to_be_visible()


def add_customer(page: Page) -> None:
    """A billed customer with its address and ten users."""
    go_to(page, "/customers")
    page.get_by_role("button", name="New customer").click()
    fill(dialog(page), {"Company name": "Erste Kundin AG"})
    choose(dialog(page), "Kind of customer", "Billed: charged from the current month", page)
    dialog(page).get_by_role("button", name="Create customer").click()
    expect(page.get_by_role("heading", name="Erste Kundin AG")).to_be_visible()
    page.get_by_role("button", name="Change users").click()
    dialog(page).get_by_role("textbox", name="Users").fill("10")
    dialog(page).get_by_role("heading").first.click()
    expect(dialog(page)).to_contain_text("45.00")
    dialog(page).get_by_role("button", name="Book users").click()
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("tab", name="Data").click()
    for label, value in {"Street and number": "Ring 5", "Postcode": "50667", "City": "Köln"}.items():
        page.get_by_role("textbox", name=label, exact=True).first.fill(value)
    page.get_by_role("button", name="Save data").click()
    expect(page.get_by_text("The customer's data is saved.")).to_be_visible()


def close_june(page: Page) -> None:
    page.goto("/month_close?month=2026-06")
    page.get_by_role("button", name="Approve June 2026").click()
    dialog(page).get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Issue all (1)").click()
    dialog(page).get_by_role("button", name="Issue all").click()
    expect(page.get_by_text("Issued 1 document: RE-2026-00001.")).to_be_visible()


def test_from_an_empty_database_to_the_first_invoice(database: str, page: Page, port: int, tmp_path: Path) -> None:
    create_admin()
    with running(database, tmp_path / "june", port, MANDANT_TODAY="2026-06-20"):
        page.goto("/")
        fill_in(page, "anna", PASSWORD)
        expect(page.get_by_role("link", name="Set the first booking month")).to_be_visible()
        enter_company(page)
        add_product(page)
        go_to(page, "/settings")
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        expect(page.get_by_text("Before the first invoice")).to_have_count(0)
        add_colleague(page)
        add_customer(page)
    # The month can be closed after its last day.
    with running(database, tmp_path / "july", port, MANDANT_TODAY="2026-07-01"):
        close_june(page)
        with db.transaction() as conn:
            [issued] = invoices.page(conn, invoices.Filters(), today=date(2026, 7, 1))
        go_to(page, f"/invoice?id={issued.id}")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        printed = download.value.path().read_bytes()
    assert (issued.number, str(issued.net), str(issued.gross)) == ("RE-2026-00001", "45.00", "53.55")
    words = "\n".join(sheet.extract_text() for sheet in PdfReader(BytesIO(printed)).pages)
    for word in (
        "RE-2026-00001",
        "Neuland IT GmbH",
        "181/815/08155",
        "Erste Kundin AG",
        "Lizenzierte Benutzer",
        "53,55",
    ):
        assert word in words, word
    with db.transaction() as conn:
        assert checks.findings(conn) == []
        assert {entry.person for entry in audit.entries(conn)[0]} == {"Anna Admin"}
