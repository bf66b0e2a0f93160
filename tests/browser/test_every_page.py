"""Every page on a desktop and on a phone, light and dark: no fault for assistive technology, nothing cut off."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from itertools import cycle

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from lib import db, deletions, invoices, project_key_stock
from lib.auth import Role
from tests import closes, databases, ledgers
from tests.browser.accessibility import Scheme, in_colours, violations
from tests.browser.conftest import go_to

pytestmark = pytest.mark.browser
SignIn = Callable[..., Page]
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 20)
# Each page is opened once, as the page before was looked at last: changing how it looks draws it anew.
LOOKS: tuple[tuple[Scheme, int], ...] = (("dark", 390), ("light", 1280))
# Address → the heading that says that the page is there. A page's own tabs stay as they are while it is open, so no
# page stands twice in succession.
PAGES = {
    "/": "Overview",
    "/customers": "Customers",
    "/customer?id={customer}": "Berta AG",
    "/cost_overview": "Cost Overview",
    "/customer?id={customer}&tab=Plans": "Berta AG",
    "/invoices": "Invoices",
    "/customer?id={customer}&tab=Payment": "SEPA mandate",
    "/invoice?id={invoice}": "RE-2026-00001",
    "/month_close": "Month close: June 2026",
    "/self_service": "Self-Service",
    "/prices": "Prices",
    "/project_keys": "Project keys",
    "/payment_methods": "Payment methods",
    "/settings": "Settings",
    "/payment_methods?tab=Direct+debit": "Next file for the bank",
    "/staff": "Staff",
    "/payment_methods?tab=Credit+card": "Keys of Stripe",
    "/audit_log": "Audit log",
    "/deletions": "Deletions",
    "/customer?id={erased}": "Cäsar KG",
    "/imports": "Import",
    "/jobs": "Jobs",
    "/account": "My account",
}


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """A company with a closed May, its documents, and June to come."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            made = closes.company(conn, first_month=MAY)
            ledgers.product(conn, made.people, "plan", price="30", month=MAY)
            project_key_stock.add(
                conn, key="PRJ-EVERY-PAGE-0001", ips=5, months=1, purchase_price=Decimal(9), redeem_until=None,
                today=MAY, user=made.admin,
            )  # fmt: skip
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


@pytest.fixture(scope="module")
def addresses(app_database: str) -> dict[str, str]:
    """PAGES with the ids that were given."""
    with db.transaction() as conn:
        [of_berta] = invoices.page(conn, invoices.Filters(search="berta"), today=MAY)
        [first] = invoices.page(conn, invoices.Filters(search="00001"), today=MAY)
        erased = deletions.page(conn)[0][0]
    known = {"customer": of_berta.customer_id, "invoice": first.id, "erased": erased.customer_id}
    return {address.format(**known): heading for address, heading in PAGES.items()}


def test_every_page_is_in_order(sign_in: SignIn, addresses: dict[str, str]) -> None:
    page = sign_in(Role.ADMIN)
    faults = []
    for (address, heading), looks in zip(addresses.items(), cycle((LOOKS, LOOKS[::-1])), strict=False):
        go_to(page, address)
        expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
        for scheme, width in looks:
            page.set_viewport_size({"width": width, "height": 900})
            in_colours(page, scheme)
            assert page.evaluate("innerWidth") == width
            assert page.get_by_test_id("stException").count() == 0, address
            faults += [f"{address} ({scheme}): {fault}" for fault in violations(page, dark=scheme == "dark")]
            wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
            if wide > width:
                faults.append(f"{address}: {wide} pixels wide on a screen of {width}")
    assert faults == []
