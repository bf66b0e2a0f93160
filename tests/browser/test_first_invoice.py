"""A new company, from an empty database to its first invoice: all of it by hand, on the pages."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pypdf import PdfReader

from lib import audit, checks, db, invoices, local
from tests.browser.conftest import WAIT_MS, fill_in

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
PASSWORD = "three-grey-herons"
SETTLED_MS = 400


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


@contextmanager
def served(today: str, log: Path) -> Iterator[str]:
    """The app on the database in use, on that day. Yields its address."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("w") as output, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANDANT_TODAY", today)
        process = local.start("127.0.0.1", port, stderr=output)
    try:
        assert local.up(process, "127.0.0.1", port), log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        local.stop(process)


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def choose(place: Page | Locator, label: str, option: str, page: Page) -> None:
    """Pick an option of a select box."""
    place.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def fill(place: Page | Locator, values: dict[str, str]) -> None:
    for label, value in values.items():
        place.get_by_role("textbox", name=label, exact=True).fill(value)


def enter_company(page: Page, url: str) -> None:
    """Settings: the seller, the tax number and bank, the first booking month."""
    page.goto(f"{url}/settings")
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


def add_product(page: Page, url: str) -> None:
    """Prices: licensed users at 4.50 from June on."""
    page.goto(f"{url}/prices")
    page.get_by_role("button", name="Add product").click()
    choose(dialog(page), "Kind", "Licensed users", page)
    fill(dialog(page), {"Code": "users", "German name": "Lizenzierte Benutzer", "English name": "Licensed users"})
    dialog(page).get_by_role("button", name="Add product").click()
    expect(dialog(page)).to_have_count(0)
    choose(page, "Valid from", "June 2026", page)
    # The one range that a new price begins with: from 1, and above. Only its price is missing.
    grid = page.get_by_test_id("stDataFrame").last
    box = grid.bounding_box()
    assert box is not None
    review = page.get_by_role("button", name="Review and save")
    for _ in range(4):  # a run that ends while somebody types redraws the grid, and the typing goes nowhere
        grid.click(position={"x": box["width"] * 0.85, "y": 52})
        page.wait_for_timeout(SETTLED_MS)
        page.keyboard.type("4,50", delay=30)
        page.keyboard.press("Enter")
        page.wait_for_timeout(4 * SETTLED_MS)
        if review.is_enabled():
            break
    review.click()
    dialog(page).get_by_role("button", name="Save price from June 2026").click()
    expect(dialog(page)).to_have_count(0)
    expect(page.get_by_role("cell", name="from June 2026")).to_be_visible()


def add_colleague(page: Page, url: str) -> None:
    page.goto(f"{url}/staff")
    page.get_by_role("button", name="Add a person").click()
    fill(dialog(page), {"Name": "Fritz Finance", "User name": "fritz", "First password": "nine-wet-meadows"})
    dialog(page).get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Fritz Finance", exact=True)).to_be_visible()


def add_customer(page: Page, url: str) -> None:
    """A billed customer with its address and ten users."""
    page.goto(url)
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


def close_june(page: Page, url: str) -> None:
    page.goto(f"{url}/month_close?month=2026-06")
    page.get_by_role("button", name="Approve June 2026").click()
    dialog(page).get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Issue all (1)").click()
    dialog(page).get_by_role("button", name="Issue all").click()
    expect(page.get_by_text("Issued 1 document: RE-2026-00001.")).to_be_visible()


def test_from_an_empty_database_to_the_first_invoice(database: str, browser: Browser, tmp_path: Path) -> None:
    create_admin()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    page = context.new_page()
    try:
        with served("2026-06-20", tmp_path / "june") as url:
            page.goto(url)
            fill_in(page, "anna", PASSWORD)
            expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_attached()
            enter_company(page, url)
            add_product(page, url)
            page.goto(f"{url}/settings")
            expect(page.get_by_role("heading", name="Settings")).to_be_visible()
            expect(page.get_by_text("Before the first invoice")).to_have_count(0)
            add_colleague(page, url)
            add_customer(page, url)
        with served("2026-07-01", tmp_path / "july") as url:  # the month can be closed after its last day
            close_june(page, url)
            with db.transaction() as conn:
                [issued] = invoices.page(conn, invoices.Filters(), today=date(2026, 7, 1))
            page.goto(f"{url}/invoice?id={issued.id}")
            with page.expect_download() as download:
                page.get_by_role("link", name="Download").click()
            printed = download.value.path().read_bytes()
    finally:
        context.close()
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
