"""Prepaid terms: free, tests, and what only the full payment of its invoice activates, once (rows S4–S7)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import (
    audit,
    bookings,
    cancellations,
    charges,
    checks,
    customer_statuses,
    customer_verbs,
    customers,
    db,
    deletions,
    documents,
    drafts,
    invoices,
    months,
    payments,
    plans,
    products,
    subscriptions,
    term_actions,
    term_invoices,
    terms,
)
from lib.auth import Role
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from lib.term_offers import TermAction
from tests import closes, ledgers, termed
from tests.beginnings import Begin
from tests.termed import DAY, JUNE, Shop, act, bought, card, issue, order, own, pay, span

BEGINS_WITH = termed.shop
A_YEAR_ON = date(2027, 6, 10)


@pytest.fixture
def shop(begun: Shop) -> Shop:
    return begun


# ---------------------------------------------------------------------------------- free and tests


@pytest.mark.row("S5")
def test_a_plan_is_activated_free(conn: Connection, shop: Shop) -> None:
    act(conn, shop, "activate_free", shop.basic, user=shop.sales)
    assert span(own(conn, shop.ada, shop.basic)) == ("active", DAY, None)
    entry = audit.entries(conn, limit=1)[0][0]
    assert (entry.action, entry.object_type, entry.customer_id) == ("activate term", "term", shop.ada)
    with pytest.raises(Conflict, match="Basic is active"):
        act(conn, shop, "activate_free", shop.basic)
    assert checks.findings(conn) == []


@pytest.mark.row("S5")
def test_what_a_period_is_on_a_day(conn: Connection, shop: Shop) -> None:
    invoice_id = order(conn, shop, shop.basic)
    assert terms.terms_of(conn, shop.ada)[0].standing(DAY) == "waiting"
    drafts.remove(conn, invoice_id, user=shop.finance)
    assert terms.terms_of(conn, shop.ada)[0].standing(DAY) == "void"
    act(conn, shop, "activate_trial", shop.basic)
    test = own(conn, shop.ada, shop.basic)
    days = (DAY - timedelta(days=1), DAY, date(2026, 6, 23), date(2026, 6, 24))
    assert [test.standing(day) for day in days] == ["planned", "in_force", "in_force", "over"]


@pytest.mark.row("S5")
def test_a_test_lasts_its_days_and_happens_once(conn: Connection, shop: Shop) -> None:
    act(conn, shop, "activate_trial", shop.basic)
    assert span(own(conn, shop.ada, shop.basic)) == ("active", DAY, date(2026, 6, 24))
    later = date(2026, 6, 24)
    with pytest.raises(Conflict, match="Only an admin"):
        act(conn, shop, "activate_trial", shop.basic, today=later)
    with pytest.raises(NotAllowed):
        act(conn, shop, "allow_trial_again", shop.basic, today=later, user=shop.finance)
    act(conn, shop, "allow_trial_again", shop.basic, today=later)
    act(conn, shop, "activate_trial", shop.basic, today=later)
    assert span(own(conn, shop.ada, shop.basic, today=later)) == ("active", later, date(2026, 7, 8))
    # Of another customer it is the first one.
    term_actions.activate_trial(conn, shop.tess, shop.basic, today=later, user=shop.sales)
    assert checks.findings(conn) == []


@pytest.mark.row("S7")
def test_several_modules_at_once_beside_a_plan(conn: Connection, shop: Shop) -> None:
    other = products.add(
        conn, kind="module", code="second", details={"name_de": "Zwei", "name_en": "Second"}, user=shop.admin
    )
    for product_id in (shop.basic, shop.module, other):
        act(conn, shop, "activate_free", product_id)
    assert termed.states(conn, shop.ada) == ["active"] * 3
    with pytest.raises(Conflict, match="Basic is active"):
        act(conn, shop, "activate_free", shop.plus)
    assert TermAction.TRIAL not in card(conn, shop.ada, other).actions


def test_a_second_click_activates_once(conn: Connection, shop: Shop) -> None:
    key = uuid4()
    act(conn, shop, "activate_free", shop.module, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        act(conn, shop, "activate_free", shop.module, request_key=key)


@pytest.mark.row("S5")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE, Role.ADMIN])
def test_who_may_do_what(conn: Connection, shop: Shop, role: Role) -> None:
    user = shop.people[role]
    if role is Role.VIEWER:
        for verb in ("activate_free", "activate_trial", "cancel", "resume", "withdraw", "drop", "allow_trial_again"):
            with pytest.raises(NotAllowed):
                act(conn, shop, verb, shop.basic, user=user)
    if role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed):
            term_invoices.make(conn, shop.ada, shop.basic, TermAction.YEARLY, today=DAY, user=user)
        return
    term_invoices.make(conn, shop.ada, shop.basic, TermAction.YEARLY, today=DAY, user=user)


def test_what_does_not_exist_is_not_found(conn: Connection, shop: Shop) -> None:
    with pytest.raises(NotFound):
        act(conn, shop, "activate_free", 4_000_000)
    with pytest.raises(NotFound):
        term_actions.activate_free(conn, 4_000_000, shop.basic, today=DAY, user=shop.sales)
    users = products.product_of_kind(conn, "users")
    assert users is not None
    with pytest.raises(NotFound, match="no plan and no module"):
        act(conn, shop, "activate_free", users.id)


# ---------------------------------------------------------------------------------- an invoice in advance


@pytest.mark.parametrize(
    ("action", "net", "said", "until"),
    [
        (TermAction.MONTHLY, "30.00", "1 Monat ab vollständigem Zahlungseingang", date(2026, 7, 20)),
        (TermAction.YEARLY, "300.00", "12 Monate ab vollständigem Zahlungseingang", date(2027, 6, 20)),
    ],
)
def test_only_the_full_payment_activates(
    conn: Connection, shop: Shop, action: TermAction, net: str, said: str, until: date
) -> None:
    draft = order(conn, shop, shop.basic, action)
    written = documents.document(conn, draft)
    assert (written.net, written.vat, written.advance_period) == (Decimal(net), Decimal(net) * 19 / 100, said)
    assert card(conn, shop.ada, shop.basic).own is None
    issue(conn, shop, draft, today=date(2026, 6, 12))
    half = written.gross / 2
    pay(conn, shop, draft, half, day=date(2026, 6, 15))
    assert card(conn, shop.ada, shop.basic, today=date(2026, 6, 15)).own is None
    pay(conn, shop, draft, half, day=date(2026, 6, 20))
    active = own(conn, shop.ada, shop.basic, today=date(2026, 6, 20))
    assert span(active) == ("active", date(2026, 6, 20), until)
    assert checks.findings(conn) == []


@pytest.mark.row("S5")
def test_the_document_says_what_it_is_in_its_language(conn: Connection, shop: Shop) -> None:
    customers.edit(
        conn, shop.ada, version=customers.customer(conn, shop.ada).version, changes={"language": "en"}, today=DAY,
        user=shop.sales,
    )  # fmt: skip
    number = issue(conn, shop, order(conn, shop, shop.plus)).number
    found = invoices.invoices_of(conn, shop.ada)[0]
    _, pdf = documents.pdf(conn, found.id)
    printed = text_of(pdf)
    for said in (f"Advance invoice {number}", "12 months from receipt of full payment", "714.00"):
        assert said in printed


def text_of(pdf: bytes) -> str:
    from io import BytesIO

    from pypdf import PdfReader

    return " ".join("".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split())


def test_a_draft_counts_from_the_day_of_its_issue(conn: Connection, shop: Shop) -> None:
    draft = order(conn, shop, shop.basic)
    issued = issue(conn, shop, draft, today=date(2026, 6, 25))
    assert (issued.service_from, issued.service_until) == (date(2026, 6, 25), date(2027, 6, 24))


def test_its_lines_are_not_edited_but_others_added(conn: Connection, shop: Shop) -> None:
    draft = order(conn, shop, shop.basic)
    before = invoices.invoice(conn, draft)
    drafts.edit(
        conn, draft, version=before.version, intro="", closing="", purchase_order="", due_on=None,
        service_from=before.service_from, service_until=before.service_until,
        lines=[closes.line("30.00", quantity="-1", name="Discount")], user=shop.finance,
    )  # fmt: skip
    assert [(line.name, line.amount) for line in invoices.lines(conn, draft)] == [
        ("basic (de)", Decimal("300.00")), ("Discount", Decimal("-30.00"))
    ]  # fmt: skip
    issue(conn, shop, draft)
    pay(conn, shop, draft)
    assert own(conn, shop.ada, shop.basic).state == "active"


@pytest.mark.row("S5")
def test_a_document_down_to_zero_is_no_payment(conn: Connection, shop: Shop) -> None:
    draft = order(conn, shop, shop.basic)
    before = invoices.invoice(conn, draft)
    drafts.edit(
        conn, draft, version=before.version, intro="", closing="", purchase_order="", due_on=None,
        service_from=before.service_from, service_until=before.service_until,
        lines=[closes.line("300.00", quantity="-1", name="Goodwill")], user=shop.finance,
    )  # fmt: skip
    issue(conn, shop, draft)
    with pytest.raises(Conflict, match="Nothing is to be paid"):
        payments.record(
            conn, draft, amount=Decimal(1), paid_on=DAY, method="cash", today=DAY, user=shop.finance
        )  # fmt: skip
    assert card(conn, shop.ada, shop.basic).own is None


def test_several_paid_at_once_activate_theirs(conn: Connection, shop: Shop) -> None:
    both = [order(conn, shop, shop.basic), order(conn, shop, shop.module, TermAction.MONTHLY)]
    for invoice_id in both:
        issue(conn, shop, invoice_id)
    payments.settle(conn, both, paid_on=DAY, method="bank_transfer", today=DAY, user=shop.finance)
    assert span(own(conn, shop.ada, shop.basic)) == ("active", DAY, A_YEAR_ON)
    assert span(own(conn, shop.ada, shop.module)) == ("active", DAY, date(2026, 7, 10))
    assert checks.findings(conn) == []


def test_a_payment_that_goes_back_leaves_the_term_and_activates_nothing_again(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    invoice_id = own(conn, shop.ada, shop.basic).invoice_id
    assert invoice_id is not None
    payments.reverse(
        conn, payments.payments_of(conn, invoice_id)[0].id, reason="Returned", today=DAY, user=shop.finance
    )
    later = date(2026, 6, 20)
    with pytest.raises(Conflict, match="Withdraw that first"):
        cancellations.cancel(conn, invoice_id, reason="Unpaid", today=later, user=shop.finance)
    pay(conn, shop, invoice_id, day=later)
    assert span(own(conn, shop.ada, shop.basic)) == ("active", DAY, A_YEAR_ON)


def test_a_second_invoice_for_the_same_is_refused(conn: Connection, shop: Shop) -> None:
    order(conn, shop, shop.basic)
    for product_id in (shop.basic, shop.plus):
        with pytest.raises(Conflict, match="An invoice for Basic waits"):
            order(conn, shop, product_id)


def test_what_waits_is_void_with_its_document(conn: Connection, shop: Shop) -> None:
    drafts.remove(conn, order(conn, shop, shop.basic), user=shop.finance)
    assert termed.states(conn, shop.ada) == ["void"]
    issued = issue(conn, shop, order(conn, shop, shop.basic))
    cancellations.cancel(conn, issued.id, reason="Wrong", today=DAY, user=shop.finance)
    assert termed.states(conn, shop.ada) == ["void", "void"]
    dropped = order(conn, shop, shop.basic)
    act(conn, shop, "drop", shop.basic, user=shop.finance)
    with pytest.raises(NotFound):
        invoices.invoice(conn, dropped)
    assert checks.findings(conn) == []


def test_a_test_customer_gets_no_paid_term(conn: Connection, shop: Shop) -> None:
    with pytest.raises(Conflict, match="test customer"):
        term_invoices.make(conn, shop.tess, shop.basic, TermAction.YEARLY, today=DAY, user=shop.finance)
    term_actions.activate_free(conn, shop.tess, shop.basic, today=DAY, user=shop.sales)


def test_a_product_withdrawn_from_sale_or_without_a_price(conn: Connection, shop: Shop) -> None:
    products.edit(conn, shop.basic, version=2, changes={"yearly_price": "", "test_days": ""}, user=shop.admin)
    with pytest.raises(Conflict, match="no price for a year"):
        order(conn, shop, shop.basic)
    with pytest.raises(Conflict, match="no test time"):
        act(conn, shop, "activate_trial", shop.basic)
    products.edit(conn, shop.basic, version=3, changes={"on_sale": False}, user=shop.admin)
    for refused in (lambda: act(conn, shop, "activate_free", shop.basic),
                    lambda: order(conn, shop, shop.basic, TermAction.MONTHLY)):  # fmt: skip
        with pytest.raises(Conflict, match="withdrawn from sale"):
            refused()


def test_a_test_becomes_paid_on_the_day_of_the_payment(conn: Connection, shop: Shop) -> None:
    act(conn, shop, "activate_trial", shop.basic)
    draft = order(conn, shop, shop.plus)
    issue(conn, shop, draft)
    assert own(conn, shop.ada, shop.basic).state == "active"
    pay(conn, shop, draft, day=date(2026, 6, 15))
    assert [span(one) for one in terms.terms_of(conn, shop.ada)] == [
        ("active", date(2026, 6, 15), date(2027, 6, 15)), ("active", DAY, date(2026, 6, 15))
    ]  # fmt: skip


# ---------------------------------------------------------------------------------- recurring or prepaid


@pytest.mark.row("S4")
def test_a_plan_is_recurring_or_prepaid_not_both(conn: Connection, shop: Shop) -> None:
    plans.choose(conn, shop.ada, shop.basic, effective_on=DAY, today=DAY, user=shop.sales)
    for product_id in (shop.basic, shop.plus):
        with pytest.raises(Conflict, match="Basic is booked and charged at the month close"):
            act(conn, shop, "activate_free", product_id)
    act(conn, shop, "activate_free", shop.module)
    with pytest.raises(Conflict, match="paid in advance"), conn.begin_nested():
        bookings.book(conn, shop.ada, shop.module, effective_on=DAY, quantity=1, today=DAY, user=shop.sales)


@pytest.mark.row("S4")
def test_no_plan_is_booked_beside_one_that_is_prepaid_or_waits(conn: Connection, shop: Shop) -> None:
    order(conn, shop, shop.basic)
    with pytest.raises(Conflict, match="paid in advance"), conn.begin_nested():
        plans.choose(conn, shop.ada, shop.plus, effective_on=DAY, today=DAY, user=shop.sales)
    act(conn, shop, "drop", shop.basic)
    plans.choose(conn, shop.ada, shop.plus, effective_on=DAY, today=DAY, user=shop.sales)


def test_the_database_refuses_two_plans_whatever_lib_says(conn: Connection, shop: Shop) -> None:
    act(conn, shop, "activate_free", shop.basic)
    insert = """INSERT INTO terms (customer_id, product_id, kind, cycle, state, ordered_on, from_day, until_day)
                VALUES (:customer, :product, 'plan', 'trial', 'active', '2026-06-20', '2026-06-20', '2026-07-01')"""
    with pytest.raises(DBAPIError, match="terms_one_plan"), conn.begin_nested():
        conn.execute(text(insert), {"customer": shop.ada, "product": shop.plus})
    with pytest.raises(DBAPIError, match="never"), conn.begin_nested():
        conn.execute(text("DELETE FROM terms"))
    with pytest.raises(DBAPIError, match="does not go from"), conn.begin_nested():
        conn.execute(text("UPDATE terms SET state = 'waiting', until_day = NULL, from_day = NULL, cycle = cycle"))


@pytest.mark.row("S5")
def test_a_term_is_never_charged_at_the_close(conn: Connection, shop: Shop) -> None:
    before = [(c.customer_id, c.amount) for c in conn.execute(text("SELECT * FROM charges ORDER BY 1, 2"))]
    bought(conn, shop, shop.basic)
    charges.ensure_rated(conn, JUNE)
    products_charged = set(conn.scalars(text("SELECT product_id FROM charges WHERE month = '2026-06-01'")))
    assert shop.basic not in products_charged
    drafted = months.approve(conn, JUNE, today=closes.TODAY, user=shop.finance)
    assert drafted == 2
    assert before == [] or shop.basic not in {row[0] for row in before}
    assert checks.findings(conn) == []


def test_a_closed_month_is_no_hindrance_and_stays(conn: Connection, shop: Shop) -> None:
    """A payment that is recorded late, with a day in a closed month, begins the term then and changes no charge."""
    draft = order(conn, shop, shop.basic)
    issue(conn, shop, draft)
    months.approve(conn, JUNE, today=closes.TODAY, user=shop.finance)
    left = payments.open_amount(conn, draft)
    payments.record(
        conn, draft, amount=left, paid_on=date(2026, 6, 30), method="bank_transfer", today=closes.TODAY,
        user=shop.finance,
    )  # fmt: skip
    assert own(conn, shop.ada, shop.basic, today=closes.TODAY).from_day == date(2026, 6, 30)
    assert checks.findings(conn) == []


# ---------------------------------------------------------------------------------- what is active


@pytest.mark.row("S6")
def test_the_period_is_edited(conn: Connection, shop: Shop) -> None:
    term = bought(conn, shop, shop.module, TermAction.MONTHLY)
    with pytest.raises(Invalid, match="before today") as refused:
        act(conn, shop, "edit_period", shop.module, version=term.version, from_day=DAY, last_day=DAY - timedelta(1))
    assert refused.value.field == "last_day"
    with pytest.raises(Invalid, match="has begun"):
        act(conn, shop, "edit_period", shop.module, version=term.version, from_day=JUNE, last_day=A_YEAR_ON)
    act(conn, shop, "edit_period", shop.module, version=term.version, from_day=DAY, last_day=date(2026, 8, 31))
    assert span(own(conn, shop.ada, shop.module)) == ("active", DAY, date(2026, 9, 1))
    with pytest.raises(Conflict, match="Somebody else changed"):
        act(conn, shop, "edit_period", shop.module, version=term.version, from_day=DAY, last_day=A_YEAR_ON)


@pytest.mark.row("S6")
def test_cancelled_at_expiry_and_taken_back(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic, TermAction.MONTHLY)
    act(conn, shop, "cancel", shop.basic, user=shop.sales)
    entry = audit.entries(conn, limit=1)[0][0]
    assert (entry.action, entry.person) == ("cancel term", "Samuel")
    assert entry.changes == {"plan": [None, "Basic, monthly"], "ends on": [None, "2026-07-09"]}
    assert span(own(conn, shop.ada, shop.basic)) == ("active", DAY, date(2026, 7, 10))
    with pytest.raises(Conflict, match="already cancelled; it ends on 09 Jul 2026"):
        act(conn, shop, "cancel", shop.basic)
    assert not term_invoices.renew_next(conn, today=date(2026, 7, 1))
    act(conn, shop, "resume", shop.basic, today=date(2026, 7, 1))
    assert term_invoices.renew_next(conn, today=date(2026, 7, 1))
    with pytest.raises(Conflict, match="not cancelled"):
        act(conn, shop, "resume", shop.basic)


@pytest.mark.row("S6")
def test_withdrawn_it_ends_at_once_without_credit(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    later = date(2026, 8, 1)
    act(conn, shop, "withdraw", shop.basic, today=later, user=shop.sales)
    ended = terms.terms_of(conn, shop.ada)[0]
    assert span(ended) == ("active", DAY, later)
    assert termed.count(conn, "invoices WHERE kind = 'credit_note'") == 0
    assert card(conn, shop.ada, shop.basic, today=later).own is None
    with pytest.raises(Conflict, match="not active"):
        act(conn, shop, "withdraw", shop.basic, today=later)
    act(conn, shop, "activate_free", shop.plus, today=later)
    act(conn, shop, "withdraw", shop.plus, today=later)
    assert terms.terms_of(conn, shop.ada)[0].state == "void"
    assert checks.findings(conn) == []


def test_whoever_is_marked_for_deletion_changes_nothing(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    customer_verbs.deactivate(conn, shop.ada, reason="", today=DAY, user=shop.sales)
    with pytest.raises(Conflict, match="deactivated"):
        act(conn, shop, "activate_free", shop.module)
    assert not term_invoices.renew_next(conn, today=date(2027, 6, 1))


# ---------------------------------------------------------------------------------- two at once


def issued_for_ada(conn: Connection) -> tuple[Shop, int]:
    made = termed.shop(conn)
    draft = order(conn, made, made.basic)
    issue(conn, made, draft)
    return made, draft


@pytest.mark.row("S5")
def test_two_payments_at_once_activate_once(begin: Begin) -> None:
    made, invoice_id = begin(issued_for_ada)
    half = Decimal("178.50")

    def pay_half(_: int) -> bool:
        with db.transaction() as conn:
            pay(conn, made, invoice_id, half)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(pay_half, range(2))) == [True, True]
    with db.transaction() as conn:
        assert span(own(conn, made.ada, made.basic)) == ("active", DAY, A_YEAR_ON)
        assert termed.count(conn, "audit_log WHERE action = 'activate term'") == 1
        assert checks.findings(conn) == []


def test_two_who_order_at_once_get_one_draft(begin: Begin) -> None:
    made = begin(termed.shop)

    def try_to(_: int) -> bool:
        try:
            with db.transaction() as conn:
                order(conn, made, made.basic)
        except BillingError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(try_to, range(2))) == [False, True]
    with db.transaction() as conn:
        assert termed.count(conn, "invoices") == 1


# ---------------------------------------------------------------------------------- elsewhere


def test_a_customer_with_a_prepaid_plan_alone_is_active(conn: Connection, shop: Shop) -> None:
    bare = ledgers.customer(conn, shop.people, "Bare GmbH")
    assert customer_statuses.status(conn, bare, today=DAY) == "inactive"
    term_actions.activate_trial(conn, bare, shop.basic, today=DAY, user=shop.sales)
    assert customer_statuses.status(conn, bare, today=DAY) == "active"
    assert customer_statuses.status(conn, bare, today=date(2026, 6, 24)) == "inactive"
    assert [
        (one.product, one.from_day, one.last_day, one.state)
        for one in subscriptions.all_of(conn, bare, today=DAY)
    ] == [("Basic, test time", DAY, date(2026, 6, 23), "in_force")]  # fmt: skip


@pytest.mark.row("S5")
def test_a_deletion_ends_terms_with_the_billing_period(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    deletions.mark(conn, shop.ada, typed=deletions.WORD, today=DAY, user=shop.sales)
    prepaid = next(one for one in subscriptions.all_of(conn, shop.ada, today=DAY) if one.kind == "plan")
    assert prepaid.last_day == date(2026, 6, 30)
    with pytest.raises(Conflict, match="marked for deletion"):
        act(conn, shop, "withdraw", shop.basic)


def test_a_payment_and_a_cancellation_at_once_leave_one_of_both(begin: Begin) -> None:
    made, invoice_id = begin(issued_for_ada)

    def pay_all() -> None:
        with db.transaction() as conn:
            payments.settle(
                conn, [invoice_id], paid_on=DAY, method="bank_transfer", today=DAY, user=made.finance
            )  # fmt: skip

    def cancel() -> None:
        with db.transaction() as conn:
            cancellations.cancel(conn, invoice_id, reason="Wrong", today=DAY, user=made.finance)

    def tried(write: Callable[[], None]) -> bool:
        try:
            write()
        except BillingError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        paid, cancelled = pool.map(tried, (pay_all, cancel))
    assert paid != cancelled
    with db.transaction() as conn:
        assert termed.states(conn, made.ada) == ["active" if paid else "void"]
        assert checks.findings(conn) == []
