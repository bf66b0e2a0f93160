"""What approving a month would bill, and what to look at before (row B1)."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection

from lib import (
    close_previews,
    customer_verbs,
    customers,
    invoices,
    issuing,
)
from tests import closes, ledgers
from tests.closes import AUGUST, JULY, JUNE, TODAY, Company

BEGINS_WITH = closes.company


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


def found(conn: Connection, kind: str, *, today: date = TODAY) -> list[close_previews.ExceptionRow]:
    return close_previews.exceptions(conn, JUNE, today=today, kind=kind)


@pytest.mark.row("B1")
def test_the_preview_shows_what_the_close_then_bills_and_writes_nothing(conn: Connection, company: Company) -> None:
    preview = close_previews.preview(conn, JUNE, today=date(2026, 6, 20))
    assert (preview.net, preview.previous_net, preview.documents) == (Decimal("505.00"), Decimal(0), 2)
    assert [(one.name, one.amount, one.previous, one.charges) for one in preview.by_product] == [
        ("Users", Decimal("45.00"), Decimal(0), 1), ("Ips", Decimal("460.00"), Decimal(0), 1)
    ]  # fmt: skip
    assert closes.count(conn, "invoices") == 0
    closes.approve(conn, company)
    assert sum(one.net for one in invoices.page(conn, invoices.Filters(), today=TODAY)) == preview.net
    following = close_previews.preview(conn, JULY, today=TODAY)
    assert following.previous_net == preview.net
    assert [one.previous for one in following.by_product] == [Decimal("45.00"), Decimal("460.00")]


def test_reverse_charge_documents_have_a_deadline(conn: Connection, company: Company) -> None:
    closes.abroad(conn, company, "Lumière SARL", "FR", "FR40303265045")
    assert close_previews.preview(conn, JUNE, today=TODAY).reverse_charge == 1
    assert issuing.reverse_charge_deadline(JUNE) == date(2026, 7, 15)
    assert issuing.reverse_charge_deadline(date(2026, 12, 1)) == date(2027, 1, 15)


def test_every_kind_of_exception_is_found(conn: Connection, company: Company) -> None:
    option = ledgers.product(conn, company.people, "option", code="sso")
    unpriced = ledgers.customer(conn, company.people, "Preislos GmbH")
    ledgers.book(conn, company.people, unpriced, option, 1, JUNE)
    homeless = customers.create(
        conn, details={"name": "Ohne Anschrift", "city": "Ulm"}, billed=True, ends_on=None, today=JUNE,
        user=company.admin,
    )  # fmt: skip
    ledgers.book(conn, company.people, homeless, company.users, 1, JUNE)
    undecided = closes.abroad(conn, company, "Alpenhof", "AT")
    ending = ledgers.customer(conn, company.people, "Endet GmbH", ends_on=date(2026, 7, 20))
    ledgers.book(conn, company.people, ending, company.users, 1, JUNE)
    ended = ledgers.customer(conn, company.people, "Fertig GmbH", ends_on=date(2026, 6, 10))
    ledgers.book(conn, company.people, ended, company.users, 1, JUNE)
    later = ledgers.customer(conn, company.people, "Später GmbH", ends_on=date(2026, 9, 1))
    ledgers.book(conn, company.people, later, company.users, 1, JUNE)
    idle = ledgers.customer(conn, company.people, "Leer GmbH")
    preview = close_previews.preview(conn, JUNE, today=TODAY)
    assert preview.exceptions == {"no_price": 1, "no_address": 1, "no_vat_decision": 1, "ending": 2, "zero": 1}
    rows = {kind: [(row.customer_id, row.detail) for row in found(conn, kind)] for kind in close_previews.EXCEPTIONS}
    assert rows["no_price"] == [(unpriced, "Sso")]
    assert rows["no_address"] == [(homeless, "missing: the street, the postcode")]
    assert rows["no_vat_decision"][0][0] == undecided
    assert rows["no_vat_decision"][0][1].startswith("needs a valid VAT ID")
    assert rows["ending"] == [(ending, "ends on 20 Jul 2026"), (ended, "ended on 10 Jun 2026")]
    assert rows["zero"] == [(idle, "nothing is booked")]
    assert rows["change"] == []
    assert [row.kind for row in close_previews.exceptions(conn, JUNE, today=TODAY, limit=2, offset=1)] == [
        "no_address", "no_vat_decision"
    ]  # fmt: skip


def test_changes_over_the_threshold_and_revenue_that_stopped_are_exceptions(conn: Connection, company: Company) -> None:
    third = ledgers.customer(conn, company.people, "Cäsar KG")
    ledgers.book(conn, company.people, third, company.users, 2, JUNE)
    customer_verbs.deactivate(conn, company.with_ips, today=date(2026, 6, 20), user=company.admin)
    closes.approve(conn, company)
    ledgers.book(conn, company.people, company.with_users, company.users, 14, JULY)  # 45.00 -> 63.00
    customer_verbs.deactivate(conn, third, today=JULY, user=company.admin)
    rows = close_previews.exceptions(conn, JULY, today=AUGUST, kind="change")
    assert [(row.customer_id, row.detail) for row in rows] == [
        (company.with_users, "+40 % against the month before"),
        (company.with_ips, "no charges any more; 291.33 in the month before"),  # 460.00 * 19 / 30
        (third, "-100 % against the month before"),
    ]


@pytest.mark.row("N4")
def test_users_over_the_licence_are_an_exception_of_the_months_in_which_they_are_booked(
    conn: Connection, company: Company
) -> None:
    def limit(customer_id: int, most: int, *, beyond: bool = False) -> None:
        version = customers.customer(conn, customer_id).version
        changes = {"max_users": str(most), "users_beyond_max": beyond}
        customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=company.admin)

    let_in = ledgers.customer(conn, company.people, "Darf GmbH")
    ledgers.book(conn, company.people, let_in, company.users, 10, JUNE)
    peak = ledgers.customer(conn, company.people, "Spitze GmbH")
    for quantity, day in ((3, JUNE), (9, date(2026, 6, 10)), (4, date(2026, 6, 20))):
        ledgers.book(conn, company.people, peak, company.users, quantity, day)
    assert found(conn, "over_licence") == []
    # The maximum is lowered later than the users were booked.
    limit(company.with_users, 9)
    limit(let_in, 9, beyond=True)
    limit(peak, 8)
    rows = {row.customer_id: row.detail for row in found(conn, "over_licence")}
    assert rows == {
        company.with_users: "10 users are booked, the licence allows 9",
        peak: "9 users are booked, the licence allows 8",
    }
    assert close_previews.preview(conn, JUNE, today=TODAY).exceptions["over_licence"] == 2
    in_july = close_previews.exceptions(conn, JULY, today=TODAY, kind="over_licence")
    assert [row.customer_id for row in in_july] == [company.with_users], "the peak was in June"
    limit(company.with_users, 10)
    assert [row.customer_id for row in found(conn, "over_licence")] == [peak]


def test_a_change_within_the_threshold_is_none(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    ledgers.book(conn, company.people, company.with_users, company.users, 13, JULY)  # + 30 %, the threshold
    assert close_previews.exceptions(conn, JULY, today=AUGUST, kind="change") == []
