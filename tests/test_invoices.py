"""Documents: numbers without a gap, VAT as the law wants it, and nothing that was issued ever changes (row S3)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import (
    adjustments,
    audit,
    cancellations,
    close_drafts,
    customers,
    db,
    drafts,
    invoices,
    issuing,
    settings,
    vat_rates,
)
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.invoices import Filters
from tests import closes
from tests.closes import END_OF_JUNE, JULY, JUNE, TODAY, Company, line

BEGINS_WITH = closes.company


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


def draft(conn: Connection, company: Company, *lines: drafts.DraftLine, customer: int | None = None) -> int:
    return drafts.create(
        conn, customer or company.with_users, service_from=JUNE, service_until=END_OF_JUNE,
        lines=lines or [line("100")], user=company.finance,
    )  # fmt: skip


def issued(conn: Connection, company: Company, *lines: drafts.DraftLine, customer: int | None = None) -> int:
    document = draft(conn, company, *lines, customer=customer)
    outcome = issuing.issue(conn, [document], today=TODAY, user=company.finance)
    assert (outcome.count, outcome.blocked) == (1, [])
    return document


def blocked(conn: Connection, company: Company, document: int) -> list[str]:
    """What keeps a draft back, which the page says beforehand in the same words."""
    before = issuing.lacks(conn, document, today=TODAY)
    outcome = issuing.issue(conn, [document], today=TODAY, user=company.finance)
    assert outcome.count == 0
    assert outcome.blocked[0].missing == before
    assert invoices.invoice(conn, document).state == "draft"
    return before


def edit_customer(conn: Connection, company: Company, customer_id: int, **changes: Any) -> None:
    version = customers.customer(conn, customer_id).version
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=company.admin)


# ---------------------------------------------------------------------------------- numbers


@pytest.mark.row("B1", "S3")
def test_issuing_numbers_freezes_and_dates_the_documents(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    outcome = closes.issue(conn, company)
    assert outcome == issuing.Issued(2, "RE-2026-00001", "RE-2026-00002", [], [("RE-2026-00001", "RE-2026-00002")])
    document = invoices.invoices_of(conn, company.with_users)[0]
    assert (document.state, document.issued_on, document.due_on) == ("issued", TODAY, date(2026, 7, 17))
    edit_customer(conn, company, company.with_users, name="Umbenannt GmbH", payment_method="card")
    settings.edit_company(conn, version=settings.company(conn).version, changes={"name": "Neu"}, user=company.admin)
    assert invoices.invoice(conn, document.id).customer_name == "Ada GmbH"
    frozen = conn.execute(
        text("SELECT s.content ->> 'name' AS seller, i.buyer, i.vat_evidence FROM invoices i"
             " JOIN sellers s ON s.id = i.seller_id WHERE i.id = :id"), {"id": document.id}
    ).one()  # fmt: skip
    assert (frozen.seller, frozen.buyer["name"], frozen.vat_evidence["country"]) == ("Muster IT GmbH", "Ada GmbH", "DE")
    assert frozen.buyer["payment_method"] == "bank_transfer"
    entries, _ = audit.entries(conn, object_type="invoice", object_id=document.id)
    assert entries[0].action == "issue"
    assert entries[0].changes["number"] == [None, document.number]
    assert closes.issue(conn, company).count == 0


@pytest.mark.row("B1")
def test_many_who_issue_at_once_leave_no_gap_and_a_failure_takes_no_number(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        ids = [draft(conn, company) for _ in range(24)]
    together = threading.Barrier(6)

    def issue(worker: int) -> None:
        together.wait()
        for document in ids[worker::6]:
            try:
                with db.transaction() as own:
                    issuing.issue(own, [document], today=TODAY, user=company.finance)
                    if document in (ids[3], ids[10]):
                        raise RuntimeError("the power fails after the number was taken")
            except RuntimeError:
                pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(issue, range(6)))
    with db.transaction() as conn:
        assert closes.numbers(conn) == [f"RE-2026-{index:05d}" for index in range(1, 23)]
        states = {invoices.invoice(conn, one).state for one in (ids[3], ids[10])}
        assert states == {"draft"}
        assert issuing.issue(conn, [ids[3]], today=TODAY, user=company.finance).first_number == "RE-2026-00023"


def test_of_a_double_click_one_issues(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        ids = [draft(conn, company) for _ in range(3)]
    together = threading.Barrier(2)

    def click(_: int) -> str:
        together.wait()
        try:
            with db.transaction() as own:
                return str(issuing.issue(own, ids, today=TODAY, user=company.finance).count)
        except Conflict as refusal:
            return str(refusal)

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(click, range(2)))
    assert outcomes[0] == "3"
    assert "already issued" in outcomes[1]
    with db.transaction() as conn:
        assert closes.numbers(conn) == ["RE-2026-00001", "RE-2026-00002", "RE-2026-00003"]


def test_each_year_and_each_series_starts_at_1(conn: Connection, company: Company) -> None:
    first, second, note = draft(conn, company), draft(conn, company), draft(conn, company, line("5", quantity="-1"))
    issuing.issue(conn, [first], today=date(2026, 12, 31), user=company.finance)
    outcome = issuing.issue(conn, [second, note], today=date(2027, 1, 1), user=company.finance)
    assert outcome.series == [("RE-2027-00001", "RE-2027-00001"), ("RK-2027-00001", "RK-2027-00001")]
    assert closes.numbers(conn) == ["RK-2027-00001", "RE-2026-00001", "RE-2027-00001"]


def test_issuing_all_or_nothing_of_what_was_chosen(conn: Connection, company: Company) -> None:
    first, second = draft(conn, company), draft(conn, company)
    issuing.issue(conn, [first], today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="already issued"):
        issuing.issue(conn, [first, second], today=TODAY, user=company.finance)
    drafts.remove(conn, second, user=company.finance)
    with pytest.raises(NotFound, match="does not exist any more"):
        issuing.issue(conn, [second], today=TODAY, user=company.finance)


def test_a_month_that_is_not_closed_has_nothing_to_issue(conn: Connection, company: Company) -> None:
    with pytest.raises(Conflict, match="June 2026 is not closed"):
        closes.issue(conn, company)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_issue_and_cancel_nothing(conn: Connection, company: Company, role: Role) -> None:
    document = issued(conn, company)
    with pytest.raises(NotAllowed):
        issuing.issue(conn, [draft(conn, company)], today=TODAY, user=company.people[role])
    with pytest.raises(NotAllowed):
        cancellations.cancel(conn, document, reason="x", today=TODAY, user=company.people[role])


# ---------------------------------------------------------------------------------- what was issued stays


@pytest.mark.row("S3")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET net = 1, gross = 1 + vat WHERE id = :id",
        "UPDATE invoices SET due_on = '2030-01-01' WHERE id = :id",
        "UPDATE invoices SET state = 'draft', number = NULL WHERE id = :id",
        "DELETE FROM invoices WHERE id = :id",
        "UPDATE invoice_lines SET name = 'x' WHERE invoice_id = :id",
        "DELETE FROM invoice_lines WHERE invoice_id = :id",
        "INSERT INTO invoice_lines (invoice_id, position, name, quantity, unit_price, amount)"
        " VALUES (:id, 99, 'x', 1, 1, 1)",
    ],
)
def test_the_database_keeps_an_issued_document_as_it_is(conn: Connection, company: Company, statement: str) -> None:
    document = issued(conn, company)
    with pytest.raises(DBAPIError, match=r"never (changed|deleted)|issued_is_complete"), conn.begin_nested():
        conn.execute(text(statement), {"id": document})


@pytest.mark.row("S3")
def test_a_cancellation_copies_the_original_negated_and_recomputes_nothing(conn: Connection, company: Company) -> None:
    lines = [line("0.13", name=f"Line {index}") for index in range(10)] + [line("0.5", quantity="-1")]
    original = issued(conn, company, *lines)
    edit_customer(conn, company, company.with_users, name="Umbenannt GmbH", country="CH", tax_number="CHE-107.787.577")
    cancellation = cancellations.cancel(
        conn, original, reason="wrong customer", today=date(2026, 8, 1), user=company.finance
    )
    before, after = invoices.invoice(conn, original), invoices.invoice(conn, cancellation)
    assert (before.state, before.cancelled_by_id, before.cancelled_by_number) == ("cancelled", after.id, after.number)
    assert (after.kind, after.number, after.cancels_number, after.state) == (
        "cancellation", "ST-2026-00001", "RE-2026-00001", "issued"
    )  # fmt: skip
    assert (after.net, after.vat, after.gross) == (-before.net, -before.vat, -before.gross)
    assert (after.vat_category, after.customer_name) == ("S", "Ada GmbH")
    for one, copy in zip(invoices.lines(conn, original), invoices.lines(conn, cancellation), strict=True):
        assert (copy.quantity, copy.amount) == (-one.quantity, -one.amount)
        assert (copy.unit_price, copy.vat_rate, copy.name) == (one.unit_price, one.vat_rate, one.name)
    assert [(tax.rate, tax.net, tax.vat) for tax in invoices.taxes(conn, cancellation)] == [
        (tax.rate, -tax.net, -tax.vat) for tax in invoices.taxes(conn, original)
    ]
    entries, _ = audit.entries(conn, object_type="invoice", object_id=original)
    assert entries[0].changes["reason"] == [None, "wrong customer"]


def test_what_cannot_be_cancelled(conn: Connection, company: Company) -> None:
    original = issued(conn, company)
    with pytest.raises(Invalid, match="The reason is required") as refusal:
        cancellations.cancel(conn, original, reason=" ", today=TODAY, user=company.finance)
    assert refusal.value.field == "reason"
    cancellation = cancellations.cancel(conn, original, reason="x", today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="RE-2026-00001 was already cancelled"):
        cancellations.cancel(conn, original, reason="x", today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="A cancellation is not cancelled"):
        cancellations.cancel(conn, cancellation, reason="x", today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="A draft is deleted, not cancelled"):
        cancellations.cancel(conn, draft(conn, company), reason="x", today=TODAY, user=company.finance)
    with pytest.raises(NotFound):
        cancellations.cancel(conn, 10**9, reason="x", today=TODAY, user=company.finance)


@pytest.mark.row("B1")
def test_cancelling_a_document_of_the_close_releases_its_charges(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    original = invoices.invoices_of(conn, company.with_ips)[0]
    cancellations.cancel(conn, original.id, reason="x", today=TODAY, user=company.finance)
    assert [(one.customer_id, one.amount) for one in invoices.unbilled(conn)] == [(company.with_ips, Decimal("460.00"))]
    again = close_drafts.draft_unbilled(conn, company.with_ips, JUNE, user=company.finance)
    issuing.issue(conn, [again], today=TODAY, user=company.finance)
    printed = [[astuple(one)[2:8] for one in invoices.lines(conn, one)] for one in (original.id, again)]
    assert printed[0] == printed[1]
    assert invoices.unbilled(conn) == []


def test_of_two_who_cancel_at_once_one_is_refused(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        document = issued(conn, company)
    together = threading.Barrier(2)

    def click(_: int) -> bool:
        together.wait()
        try:
            with db.transaction() as own:
                cancellations.cancel(own, document, reason="x", today=TODAY, user=company.finance)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(click, range(2))) == [False, True]
    with db.transaction() as conn:
        assert closes.numbers(conn) == ["ST-2026-00001", "RE-2026-00001"]


# ---------------------------------------------------------------------------------- VAT


def test_vat_is_rounded_once_per_rate(conn: Connection, company: Company) -> None:
    document = invoices.invoice(conn, draft(conn, company, *[line("0.13")] * 10))
    assert (document.net, document.vat, document.gross) == (Decimal("1.30"), Decimal("0.25"), Decimal("1.55"))


def test_two_rates_stand_on_one_document_around_a_change(conn: Connection, company: Company) -> None:
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(21), user=company.admin)
    closes.approve(conn, company)
    adjustments.add(
        conn, company.with_users, text="For June", amount=Decimal("10.00"), month_meant=JUNE, reason="late",
        user=company.finance,
    )  # fmt: skip
    closes.approve(conn, company, JULY, today=date(2026, 8, 1))
    july = next(one for one in invoices.invoices_of(conn, company.with_users) if one.month == JULY)
    assert [astuple(tax) for tax in invoices.taxes(conn, july.id)] == [
        (Decimal(21), "S", Decimal("45.00"), Decimal("9.45")), (Decimal(19), "S", Decimal("10.00"), Decimal("1.90"))
    ]  # fmt: skip
    assert july.vat == Decimal("11.35")


def test_a_rate_that_changes_after_the_draft_is_looked_up_at_the_issue(conn: Connection, company: Company) -> None:
    document = drafts.create(
        conn, company.with_users, service_from=JULY, service_until=JULY, lines=[line("100")], user=company.finance
    )
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(21), user=company.admin)
    issuing.issue(conn, [document], today=TODAY, user=company.finance)
    assert invoices.invoice(conn, document).vat == Decimal("21.00")


def test_a_business_elsewhere_in_the_eu_owes_the_tax_itself(conn: Connection, company: Company) -> None:
    france = closes.abroad(conn, company, "Lumière SARL", "FR", "FR40303265045")
    document = invoices.invoice(conn, issued(conn, company, customer=france))
    assert (document.vat_category, document.vat, document.gross) == ("AE", Decimal("0.00"), Decimal("100.00"))
    assert [astuple(tax) for tax in invoices.taxes(conn, document.id)] == [(Decimal(0), "AE", Decimal(100), Decimal(0))]
    evidence = conn.scalar(text("SELECT vat_evidence FROM invoices WHERE id = :id"), {"id": document.id})
    known = {"country": "FR", "vat_id": "FR40303265045", "valid": True, "checked_on": "2026-06-01"}
    assert evidence == known | {"vies": []}  # VIES was not asked


@pytest.mark.parametrize("country", ["CH", "GB", "US"])
def test_elsewhere_the_service_is_not_taxable_here(conn: Connection, company: Company, country: str) -> None:
    abroad = closes.abroad(conn, company, "Elsewhere Ltd", country)
    document = invoices.invoice(conn, issued(conn, company, customer=abroad))
    assert (document.vat_category, document.vat) == ("O", Decimal("0.00"))


def test_an_eu_business_without_a_valid_vat_id_is_blocked_until_it_has_one(conn: Connection, company: Company) -> None:
    austria = closes.abroad(conn, company, "Alpenhof", "AT")
    document = draft(conn, company, customer=austria)
    assert blocked(conn, company, document)[0].startswith("a valid VAT ID")
    assert invoices.invoice(conn, document).vat_category is None
    edit_customer(conn, company, austria, vat_id="ATU13585627")
    assert issuing.lacks(conn, document, today=TODAY) == []
    issuing.issue(conn, [document], today=TODAY, user=company.finance)
    assert invoices.invoice(conn, document).vat_category == "AE"


def test_the_first_blocked_drafts_are_listed_and_all_are_counted(conn: Connection, company: Company) -> None:
    for name in ("Alpenhof", "Bergbahn", "Chalet"):
        closes.abroad(conn, company, name, "AT")
    closes.approve(conn, company)
    listed, many = issuing.blocked_in(conn, JUNE, today=TODAY, limit=2)
    assert ([one.customer.split(" ", 1)[1] for one in listed], many) == (["Alpenhof", "Bergbahn"], 3)


def test_the_others_are_issued_beside_a_blocked_one(conn: Connection, company: Company) -> None:
    closes.abroad(conn, company, "Alpenhof", "AT")
    closes.approve(conn, company)
    listed, many = issuing.blocked_in(conn, JUNE, today=TODAY)
    assert ([one.customer.split(" ", 1)[1] for one in listed], many) == (["Alpenhof"], 1)
    assert issuing.blocked_in(conn, JUNE, today=TODAY, limit=0) == ([], 0)
    outcome = closes.issue(conn, company)
    assert (outcome.count, len(outcome.blocked), outcome.last_number) == (2, 1, "RE-2026-00002")
    assert closes.numbers(conn) == ["RE-2026-00001", "RE-2026-00002"]


# ---------------------------------------------------------------------------------- what is missing is named


def test_an_incomplete_seller_issues_nothing_and_is_told_what_lacks(conn: Connection, company: Company) -> None:
    conn.execute(text("UPDATE company SET street = '', tax_number = '', vat_id = ''"))
    document = draft(conn, company)
    assert issuing.lacks(conn, document, today=TODAY) == [
        "the street of our company", "the tax number or VAT ID of our company"
    ]  # fmt: skip
    with pytest.raises(Invalid, match="incomplete: the street, the tax number or VAT ID"):
        issuing.issue(conn, [document], today=TODAY, user=company.finance)
    assert invoices.invoice(conn, document).state == "draft"


def test_reverse_charge_needs_our_own_vat_id(conn: Connection, company: Company) -> None:
    conn.execute(text("UPDATE company SET vat_id = ''"))
    france = closes.abroad(conn, company, "Lumière SARL", "FR", "FR40303265045")
    assert blocked(conn, company, draft(conn, company, customer=france)) == ["our own VAT ID"]


def test_an_incomplete_buyer_is_named(conn: Connection, company: Company) -> None:
    homeless = customers.create(
        conn, details={"name": "Ohne"}, billed=True, ends_on=None, today=JUNE, user=company.admin
    )
    assert blocked(conn, company, draft(conn, company, customer=homeless)) == [
        "the street", "the postcode", "the city"
    ]  # fmt: skip


def test_a_document_without_lines_or_with_a_past_due_date_is_not_issued(conn: Connection, company: Company) -> None:
    document = drafts.create(
        conn, company.with_users, service_from=JUNE, service_until=JUNE, lines=[], user=company.finance
    )
    drafts.edit(
        conn, document, version=1, intro="", closing="", purchase_order="", due_on=date(2026, 7, 2),
        service_from=JUNE, service_until=JUNE, lines=[], user=company.finance,
    )  # fmt: skip
    assert blocked(conn, company, document) == ["a line", "a due date that is not past"]


def test_a_day_before_the_first_rate_is_named(conn: Connection, company: Company) -> None:
    document = drafts.create(
        conn, company.with_users, service_from=date(2000, 1, 1), service_until=date(2000, 1, 31), lines=[line("1")],
        user=company.finance,
    )  # fmt: skip
    assert blocked(conn, company, document) == ["a VAT rate for the service period (Settings → VAT rates)"]


# ---------------------------------------------------------------------------------- the list


@pytest.mark.row("S3")
def test_the_list_is_filtered_searched_ordered_paged_and_summed(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    hand = draft(conn, company, line("10"))

    def ids(*, order: str = "newest", today: date = TODAY, limit: int = 50, offset: int = 0, **only: Any) -> list[int]:
        found = invoices.page(conn, Filters(**only), today=today, order=order, limit=limit, offset=offset)
        totals = invoices.totals(conn, Filters(**only), today=today)
        if limit == 50:
            assert (totals.count, totals.net) == (len(found), sum((one.net for one in found), Decimal(0)))
        return [one.id for one in found]

    ada, berta = (invoices.invoices_of(conn, one)[-1].id for one in (company.with_users, company.with_ips))
    assert ids() == [hand, berta, ada]
    assert ids(limit=1, offset=1) == [berta]
    assert ids(month=JUNE) == [berta, ada]
    assert ids(states=("draft",)) == [hand]
    assert ids(states=("overdue",)) == []
    assert ids(states=("overdue",), today=date(2026, 7, 18)) == [berta, ada]
    assert ids(states=("overdue", "draft"), today=date(2026, 7, 18)) == [hand, berta, ada]
    assert ids(kinds=("credit_note",)) == []
    assert ids(states=("\x00",)) == ids(kinds=("invoice\x00",)) == ids(states=("lost",)) == []
    assert ids(states=("\x00", "draft")) == [hand]
    assert ids(search="bert") == [berta]
    assert ids(search="re-2026-00001") == [ada]
    assert ids(search="%") == []
    assert ids(search="a\x00da") == [hand, ada]
    assert ids(search="x" * 10_000) == []
    assert ids(order="amount") == [berta, ada, hand]
    assert ids(order="customer") == [ada, hand, berta]
    assert ids(order="number") == [hand, berta, ada]


@pytest.mark.row("S1")
def test_a_customers_documents_are_listed_newest_first(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    hand = draft(conn, company)
    listed = invoices.invoices_of(conn, company.with_users)
    assert (listed[0].id, len(listed)) == (hand, 2)


def test_an_unknown_document_is_not_found(conn: Connection, company: Company) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        invoices.invoice(conn, 10**9)
