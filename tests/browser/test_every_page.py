"""Every page on a desktop and on a phone, light and dark: no fault for assistive technology, nothing cut off."""

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from lib import db, deletions, invoices
from lib.auth import Role
from tests import closes, databases, ledgers
from tests.browser.accessibility import violations
from tests.browser.settling import settled

pytestmark = pytest.mark.browser
SignIn = Callable[..., Page]
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 20)
# Address → the heading that says that the page is there.
PAGES = {
    "/": "Overview",
    "/customers": "Customers",
    "/cost_overview": "Cost Overview",
    "/invoices": "Invoices",
    "/month_close": "Month close: June 2026",
    "/self_service": "Self-Service",
    "/prices": "Prices",
    "/settings": "Settings",
    "/staff": "Staff",
    "/audit_log": "Audit log",
    "/deletions": "Deletions",
    "/imports": "Import",
    "/jobs": "Jobs",
    "/account": "My account",
    "/customer?id={customer}": "Berta AG",
    "/customer?id={erased}": "Cäsar KG",
    "/invoice?id={invoice}": "RE-2026-00001",
}


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """A company with a closed May, its documents, and June to come."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = closes.company(conn, first_month=MAY)
            for name in ("Cäsar KG", "Dora & Söhne GmbH"):
                customer_id = ledgers.customer(conn, made.people, name, since=MAY)
                ledgers.book(conn, made.people, customer_id, made.users, 3, MAY)
        with db.transaction() as conn:
            closes.approve(conn, made, MAY)
            closes.issue(conn, made, MAY)
            [of_caesar] = invoices.page(conn, invoices.Filters(search="cäsar"), today=MAY)
            deletions.mark(conn, of_caesar.customer_id, today=JUNE, user=made.admin)
            conn.execute(text("UPDATE deletions SET due_at = now()"))
            deletions.erase_next(conn)
        yield url


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_is_in_order(sign_in: SignIn, scheme: str, width: int) -> None:
    page = sign_in(Role.ADMIN, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    with db.transaction() as conn:
        [of_berta] = invoices.page(conn, invoices.Filters(search="berta"), today=MAY)
        [first] = invoices.page(conn, invoices.Filters(search="00001"), today=MAY)
        erased = deletions.page(conn)[0][0]
    known = {"customer": of_berta.customer_id, "invoice": first.id, "erased": erased.customer_id}
    faults = []
    for address, heading in PAGES.items():
        page.goto(address.format(**known))
        expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
        settled(page)
        assert page.get_by_test_id("stException").count() == 0, address
        wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        faults += [f"{address}: {fault}" for fault in violations(page, dark=scheme == "dark")]
        if wide > width:
            faults.append(f"{address}: {wide} pixels wide on a screen of {width}")
    assert faults == []
