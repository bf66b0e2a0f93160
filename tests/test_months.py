"""The month close: in order, once, complete or not at all, and never undone where documents are out (row B1)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import (
    bookings,
    cancellations,
    charges,
    close_drafts,
    close_previews,
    db,
    drafts,
    invoices,
    issuing,
    months,
    periods,
    prices,
    settings,
)
from lib.auth import Role
from lib.errors import BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import closes, ledgers, people
from tests.closes import AUGUST, JULY, JUNE, TODAY, Company

BEGINS_WITH = closes.company


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


def month(conn: Connection, wanted: date, *, today: date = TODAY) -> months.Month:
    return next(one for one in months.months(conn, today=today) if one.month == wanted)


# ---------------------------------------------------------------------------------- approving


@pytest.mark.row("B1")
def test_approving_freezes_the_month_and_drafts_one_document_per_customer(conn: Connection, company: Company) -> None:
    steps: list[str] = []
    drafted = months.approve(conn, JUNE, today=TODAY, user=company.finance, progress=steps.append)
    assert drafted == 2
    assert steps[0] == "Rating all customers"
    closed = month(conn, JUNE)
    assert (closed.state, closed.approved_by, closed.net, closed.customers) == ("approved", "Fiona", Decimal(505), 2)
    assert (closed.drafts, closed.issued, closed.unbilled) == (2, 0, 0)
    assert periods.open_month(conn) == JULY
    ada, berta = sorted(invoices.page(conn, invoices.Filters(), today=TODAY), key=lambda one: one.customer_name)
    assert (ada.net, ada.vat, ada.gross, ada.kind, ada.state) == (
        Decimal("45.00"), Decimal("8.55"), Decimal("53.55"), "invoice", "draft"
    )  # fmt: skip
    assert (ada.service_from, ada.service_until, ada.month) == (JUNE, date(2026, 6, 30), JUNE)
    assert berta.net == Decimal("460.00")
    assert [(one.quantity, one.unit_price, one.amount) for one in invoices.lines(conn, berta.id)] == [
        (50, 2, 100), (200, Decimal("1.5"), 300), (50, Decimal("1.2"), 60)
    ]  # fmt: skip
    assert all(one.from_close for one in invoices.lines(conn, berta.id))
    assert charges.differences(conn, months=[JUNE]) == []


def test_a_second_approval_drafts_nothing(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    with pytest.raises(Conflict, match="June 2026 can't be closed: the next month to close is July 2026"):
        closes.approve(conn, company)
    assert closes.count(conn, "invoices") == 2


@pytest.mark.row("B1")
def test_of_two_who_approve_at_once_one_is_refused(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        for index in range(30):
            customer_id = ledgers.customer(conn, company.people, f"Number {index:02d}")
            ledgers.book(conn, company.people, customer_id, company.users, 1 + index, JUNE)
    together = threading.Barrier(2)

    def attempt(_: int) -> str:
        try:
            with db.transaction() as own:
                together.wait()
                return str(closes.approve(own, company))
        except Conflict as refusal:
            return str(refusal)

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(attempt, range(2)))
    assert outcomes[0] == "32"
    assert "closed" in outcomes[1]
    with db.transaction() as conn:
        assert closes.count(conn, "invoices") == 32
        assert closes.count(conn, "statements", "invoice_id IS NULL") == 0
        assert closes.count(conn, "audit_log", "action = 'approve'") == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_close_nothing(conn: Connection, company: Company, role: Role) -> None:
    person = company.people[role]
    for action in (
        lambda: months.approve(conn, JUNE, today=TODAY, user=person),
        lambda: months.lock(conn, JUNE, user=person),
        lambda: months.reopen(conn, JUNE, user=person),
        lambda: issuing.issue_month(conn, JUNE, today=TODAY, user=person),
    ):
        with pytest.raises(NotAllowed, match=f"Your role \\({role}\\) may not"):
            action()


def test_months_close_in_order(conn: Connection, company: Company) -> None:
    with pytest.raises(Conflict, match="July 2026 can't be closed: the next month to close is June 2026"):
        months.approve(conn, JULY, today=date(2026, 9, 1), user=company.finance)


def test_a_month_closes_only_after_its_last_day(conn: Connection, company: Company) -> None:
    with pytest.raises(Conflict, match="June 2026 can be closed from 01 Jul 2026 on, after its last day"):
        months.approve(conn, JUNE, today=date(2026, 6, 30), user=company.finance)
    assert months.approve(conn, JUNE, today=JULY, user=company.finance) == 2


def test_before_set_up_nothing_is_closed(database: str) -> None:
    with db.transaction() as conn:
        admin = people.hire(conn)[Role.ADMIN]
        with pytest.raises(Conflict, match="first booking month is not set"):
            months.approve(conn, JUNE, today=TODAY, user=admin)
        assert months.known(conn) == []


def test_a_quantity_without_a_price_blocks_the_close(conn: Connection, company: Company) -> None:
    option = ledgers.product(conn, company.people, "option", code="sso")
    ledgers.book(conn, company.people, company.with_users, option, 1, JUNE)
    assert close_previews.preview(conn, JUNE, today=TODAY).missing_prices == 1
    with pytest.raises(Conflict, match=r"No price is valid in June 2026 for what C-\d+ Ada GmbH booked"):
        closes.approve(conn, company)
    prices.set_list_price(conn, option, valid_from=JUNE, tiers=ledgers.tiers((1, None, "9")), user=company.admin)
    assert closes.approve(conn, company) == 2


def test_charges_that_differ_from_a_full_rating_stop_the_close(conn: Connection, company: Company) -> None:
    charges.ensure_rated(conn, JUNE)
    # As a defect would leave it: behind the back of the triggers and of the functions that keep charges ready.
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    conn.execute(text("UPDATE charges SET amount = amount + 1 WHERE customer_id = :id"), {"id": company.with_ips})
    conn.execute(text("SET LOCAL session_replication_role = DEFAULT"))
    with pytest.raises(Conflict, match=r"The close was stopped: 1 charges .*461\.00 kept, 460\.00 rated") as refusal:
        closes.approve(conn, company)
    assert "Nothing was changed" in str(refusal.value)
    assert closes.count(conn, "invoices") == 0
    assert periods.open_month(conn) == JUNE


def test_a_customer_at_0_00_gets_no_document_and_one_below_zero_a_credit_note(
    conn: Connection, company: Company
) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"intro_de": "Wir berechnen:"}, user=company.admin)
    closes.credit(conn, company, company.with_users, "-45.00")
    closes.credit(conn, company, company.with_ips, "-500.00")
    preview = close_previews.preview(conn, JUNE, today=TODAY)
    assert (preview.documents, preview.credit_notes, preview.without_charges) == (1, 1, 1)
    assert [
        (row.customer_id, row.amount) for row in close_previews.exceptions(conn, JUNE, today=TODAY, kind="zero")
    ] == [(company.with_users, Decimal("0.00"))]
    assert closes.approve(conn, company) == 1
    note = invoices.page(conn, invoices.Filters(), today=TODAY)[0]
    assert (note.customer_id, note.kind, note.net, note.vat, note.gross) == (
        company.with_ips, "credit_note", Decimal("-40.00"), Decimal("-7.60"), Decimal("-47.60")
    )  # fmt: skip
    assert note.intro == "Den Gesamtbetrag der folgenden Positionen schreiben wir Ihnen gut:"
    assert closes.issue(conn, company).first_number == "RK-2026-00001"
    assert month(conn, JUNE).unbilled == 0


# ---------------------------------------------------------------------------------- late changes


@pytest.mark.row("B1")
def test_a_late_change_goes_into_the_next_open_month(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    with pytest.raises(Invalid, match=r"is in a closed month\. The first open month is July 2026"):
        ledgers.book(conn, company.people, company.with_users, company.users, 12, date(2026, 6, 15))
    ledgers.book(conn, company.people, company.with_users, company.users, 12, date(2026, 7, 2))
    closes.credit(conn, company, company.with_users, "-9.00")
    assert month(conn, JUNE).net == Decimal("505.00")
    assert ledgers.amounts(conn, company.with_users, JULY)[company.users] == Decimal("54.00")
    closes.approve(conn, company, JULY, today=AUGUST)
    july = invoices.page(conn, invoices.Filters(month=JULY), today=AUGUST)
    assert sorted(one.net for one in july) == [Decimal("45.00"), Decimal("460.00")]  # 54.00 - 9.00
    corrected = next(one for one in july if one.customer_id == company.with_users)
    assert [one.detail for one in invoices.lines(conn, corrected.id) if one.name == "Correction"] == ["für 06/2026"]


def july_detail(conn: Connection, company: Company) -> str:
    """Close July, and say what stands below its correction of June."""
    closes.approve(conn, company, JULY, today=AUGUST)
    july = invoices.page(conn, invoices.Filters(month=JULY), today=AUGUST)
    document = next(one for one in july if one.customer_id == company.with_users)
    return next(one.detail for one in invoices.lines(conn, document.id) if one.name == "Correction")


@pytest.mark.parametrize(
    ("amount", "detail"), [("-9.00", "für 06/2026, zur Rechnung RE-2026-00001"), ("9.00", "für 06/2026")]
)
def test_a_credit_names_the_issued_invoice_of_the_month_it_is_meant_for(
    conn: Connection, company: Company, amount: str, detail: str
) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    closes.credit(conn, company, company.with_users, amount)
    assert july_detail(conn, company) == detail


def test_a_credit_names_no_invoice_that_was_cancelled(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    issued = invoices.invoices_of(conn, company.with_users)[0]
    cancellations.cancel(conn, issued.id, reason="x", today=TODAY, user=company.finance)
    closes.credit(conn, company, company.with_users, "-9.00")
    assert july_detail(conn, company) == "für 06/2026"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO bookings (customer_id, product_id, kind, effective_on, quantity)"
        " VALUES (:customer, :product, 'users', '2026-06-15', 12)",
        "INSERT INTO lifecycle (customer_id, effective_on, billed, active)"
        " VALUES (:customer, '2026-06-15', true, false)",
        "INSERT INTO adjustments (customer_id, month, month_meant, text, amount, reason)"
        " VALUES (:customer, '2026-06-01', '2026-06-01', 'x', 1, 'x')",
        "INSERT INTO prices (product_id, valid_from) VALUES (:product, '2026-05-01')",
        "UPDATE charges SET amount = 1 WHERE month = '2026-06-01'",
        "DELETE FROM charges WHERE month = '2026-06-01'",
        "UPDATE statements SET amount = 1 WHERE month = '2026-06-01'",
        "DELETE FROM months WHERE month = '2026-06-01'",
    ],
)
def test_the_database_refuses_changes_in_a_closed_month(conn: Connection, company: Company, statement: str) -> None:
    closes.approve(conn, company)
    with pytest.raises(DBAPIError, match=r"closed month|is never removed"), conn.begin_nested():
        conn.execute(text(statement), {"customer": company.with_users, "product": company.users})


def test_a_booking_that_waited_for_the_close_is_refused(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
    closing, closed = threading.Event(), threading.Event()

    def book() -> str:
        closing.wait()
        try:
            with db.transaction() as own:
                closed.set()
                ledgers.book(own, company.people, company.with_users, company.users, 99, date(2026, 6, 20))
        except BillingError as refusal:
            return str(refusal)
        return "booked"

    with ThreadPoolExecutor(1) as pool, db.transaction() as conn:
        late = pool.submit(book)
        months.approve(conn, JUNE, today=TODAY, user=company.finance, progress=lambda _: closing.set())
        closed.wait()
    assert "first open month is July 2026" in late.result()
    with db.transaction() as conn:
        assert charges.differences(conn, months=[JUNE]) == []


# ---------------------------------------------------------------------------------- reopening and locking


@pytest.mark.row("B1")
def test_a_month_is_reopened_while_nothing_is_issued(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    assert months.reopen(conn, JUNE, user=company.finance) == 2
    assert (periods.open_month(conn), closes.count(conn, "invoices")) == (JUNE, 0)
    assert closes.count(conn, "audit_log", "action = 'delete draft'") == 2
    ledgers.book(conn, company.people, company.with_users, company.users, 20, date(2026, 6, 15))
    closes.approve(conn, company)
    assert month(conn, JUNE).net == Decimal("550.00")


def test_a_month_with_an_issued_document_stays_closed(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    with pytest.raises(Conflict, match="June 2026 has 2 issued documents, so its figures stay"):
        months.reopen(conn, JUNE, user=company.finance)
    conn.execute(text("DELETE FROM months WHERE state = 'open'"))
    with pytest.raises(DBAPIError, match="not reopened"), conn.begin_nested():
        conn.execute(text("UPDATE months SET state = 'open' WHERE month = '2026-06-01'"))


def test_only_the_month_closed_last_is_reopened(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.approve(conn, company, JULY, today=AUGUST)
    with pytest.raises(Conflict, match="a later month is already closed"):
        months.reopen(conn, JUNE, user=company.finance)
    with pytest.raises(NotFound, match="August 2027 was never closed"):
        months.reopen(conn, date(2027, 8, 1), user=company.finance)
    with pytest.raises(Conflict, match="August 2026 is open and can't be reopened"):
        months.reopen(conn, AUGUST, user=company.finance)


@pytest.mark.row("B1")
def test_a_month_is_locked_once_its_drafts_are_issued(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    with pytest.raises(Conflict, match="2 drafts of June 2026 are not issued yet"), conn.begin_nested():
        months.lock(conn, JUNE, user=company.finance)
    closes.issue(conn, company)
    months.lock(conn, JUNE, user=company.finance)
    locked = month(conn, JUNE)
    assert (locked.state, locked.locked_by) == ("locked", "Fiona")
    with pytest.raises(Conflict, match="June 2026 is locked and can't be"):
        months.lock(conn, JUNE, user=company.finance)
    with pytest.raises(Conflict, match="its figures stay"):
        months.reopen(conn, JUNE, user=company.finance)


def test_a_draft_again_and_a_reopening_exclude_each_other(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        closes.approve(conn, company)
        removed = invoices.invoices_of(conn, company.with_users)[0]
        drafts.remove(conn, removed.id, user=company.finance)
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def attempt(action: Callable[[Connection], object]) -> None:
        try:
            with db.transaction() as own:
                together.wait()
                action(own)
            outcomes.append("done")
        except Conflict as refusal:
            outcomes.append(str(refusal))

    actions = (
        lambda own: close_drafts.draft_unbilled(own, company.with_users, JUNE, user=company.finance),
        lambda own: months.reopen(own, JUNE, user=company.finance),
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, actions))
    with db.transaction() as conn:
        assert periods.open_month(conn) == JUNE
        assert closes.count(conn, "invoices") == 0
        assert closes.count(conn, "statements", "invoice_id IS NOT NULL") == 0
    assert "done" in outcomes


def test_a_booking_taken_back_is_not_billed(conn: Connection, company: Company) -> None:
    ledgers.book(conn, company.people, company.with_users, company.users, 40, date(2026, 6, 25))
    late = bookings.standing(conn, company.with_users, product_id=company.users)[0]
    with pytest.raises(BillingError):
        bookings.take_back(conn, late.id, today=date(2026, 6, 26), user=company.admin)
    bookings.take_back(conn, late.id, today=date(2026, 6, 20), user=company.admin)
    closes.approve(conn, company)
    assert invoices.invoices_of(conn, company.with_users)[0].net == Decimal("45.00")
