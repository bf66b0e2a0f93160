"""The month close in a real browser: from the preview to a PDF in hand, once, and only for who may (rows B1, S3)."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from lib import db, invoices, months
from lib.auth import Role
from lib.errors import NotAllowed
from tests import closes, databases, ledgers
from tests.browser.accessibility import violations
from tests.browser.conftest import go_to
from tests.browser.grids import add_row, type_into
from tests.closes import Company

pytestmark = pytest.mark.browser
MAY = date(2026, 5, 1)
TODAY = date(2026, 6, 20)
SignIn = Callable[..., Page]


@pytest.fixture(scope="module")
def company(server: str, template: str) -> Iterator[Company]:
    """A company whose May can be closed on the app's day."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = closes.company(conn, first_month=MAY)
            for name in ("Cäsar KG", "Dora <b>GmbH</b>"):
                customer_id = ledgers.customer(conn, made.people, name, since=MAY)
                ledgers.book(conn, made.people, customer_id, made.users, 3, MAY)
        yield made


@pytest.fixture(scope="module")
def app_database(company: Company) -> str:
    return db.url()


def confirm(page: Page, button: str, *, double: bool = False) -> None:
    """Press the button of the open dialog, once or twice."""
    dialog = page.get_by_role("dialog")
    pressed = dialog.get_by_role("button", name=button)
    pressed.dblclick() if double else pressed.click()
    expect(dialog).to_be_hidden()


def numbers() -> list[str]:
    with db.transaction() as conn:
        return closes.numbers(conn)


@pytest.mark.row("B1", "S3")
def test_a_month_is_closed_from_the_preview_to_the_pdf(company: Company, sign_in: SignIn, tmp_path: Path) -> None:
    page = sign_in(Role.FINANCE, "/month_close?month=2026-05")
    expect(page.get_by_role("heading", name="Month close: May 2026")).to_be_visible()
    expect(page.get_by_text("Nothing unusual was found")).to_be_visible()
    assert violations(page) == []

    page.get_by_role("button", name="Approve May 2026").click()
    confirm(page, "Approve", double=True)
    expect(page.get_by_role("button", name="Issue all (4)")).to_be_visible()
    with db.transaction() as conn:
        assert closes.count(conn, "invoices") == 4
        assert closes.count(conn, "audit_log", "action = 'approve'") == 1

    page.get_by_role("button", name="Issue all (4)").click()
    confirm(page, "Issue all", double=True)
    expect(page.get_by_text("Issued 4 documents: RE-2026-00001 – RE-2026-00004.")).to_be_visible()
    assert numbers() == [f"RE-2026-{index:05d}" for index in range(1, 5)]
    expect(page.get_by_role("alert").filter(has_text="already issued")).to_have_count(0)
    assert violations(page) == []

    with db.transaction() as conn:
        document = invoices.invoices_of(conn, company.with_ips)[0]
    go_to(page, f"/invoice?id={document.id}")
    expect(page.get_by_role("heading", name=document.number or "")).to_be_visible()
    assert violations(page) == []
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "invoice.pdf")
    assert download.value.suggested_filename == f"{document.number}.pdf"
    assert (tmp_path / "invoice.pdf").read_bytes().startswith(b"%PDF")

    go_to(page, "/month_close?month=2026-05")
    page.get_by_role("button", name="Lock May 2026").click()
    confirm(page, "Lock")
    expect(page.get_by_text("4 Lock: done")).to_be_visible()
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT state FROM months WHERE month = :month"), {"month": MAY}) == "locked"


@pytest.mark.row("S3")
def test_a_draft_is_written_edited_and_issued(company: Company, sign_in: SignIn) -> None:
    page = sign_in(Role.FINANCE, "/invoices")
    page.get_by_role("button", name="New invoice").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Find customer").fill("berta")
    expect(dialog.get_by_role("combobox", name="Customer")).to_have_value("C-10002 Berta AG")
    dialog.get_by_role("button", name="Create draft").dblclick()
    expect(page.get_by_role("heading", name="Draft invoice")).to_be_visible()
    with db.transaction() as conn:
        written = [one for one in invoices.invoices_of(conn, company.with_ips) if one.month is None]
    assert len(written) == 1
    expect(page.get_by_text("It needs:")).to_be_visible()

    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Purchase-order reference").fill("PO 4711")
    page.get_by_label("Purchase-order reference").press("Tab")
    add_line(page, "Workshop", "2", "950,50")
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_text("The draft is saved")).to_be_visible()
    with db.transaction() as conn:
        stored = invoices.invoice(conn, written[0].id)
        assert (stored.purchase_order, str(stored.net)) == ("PO 4711", "1901.00")
    before = numbers()
    page.get_by_role("button", name="Issue").click()
    confirm(page, "Issue", double=True)
    expect(page.get_by_text("Issued 1 document:")).to_be_visible()
    assert len(numbers()) == len(before) + 1


def add_line(page: Page, name: str, quantity: str, unit_price: str) -> None:
    """Type a line into the first free row of the table."""
    grid = page.get_by_test_id("stDataFrame").first
    add_row(page, grid)
    for right, typed in {0: name, 2: quantity, 3: "days", 4: unit_price}.items():
        type_into(page, grid, typed, x=120, right=right)
    expect(page.get_by_text("Row 1,")).to_have_count(0)


def test_a_viewer_sees_no_buttons_and_lib_refuses(company: Company, sign_in: SignIn) -> None:
    page = sign_in(Role.VIEWER, "/month_close")
    expect(page.get_by_text("Finance and admins close months")).to_be_visible()
    for words in ("Approve", "Issue", "Lock", "Reopen"):
        assert page.get_by_role("button", name=words).count() == 0
    go_to(page, "/invoices")
    expect(page.get_by_role("heading", name="Invoices")).to_be_visible()
    assert page.get_by_role("button", name="New invoice").count() == 0
    assert page.get_by_role("button", name="Issue selected").count() == 0
    assert violations(page) == []
    with pytest.raises(NotAllowed), db.transaction() as conn:
        months.approve(conn, date(2026, 6, 1), today=date(2026, 7, 1), user=company.people[Role.VIEWER])
