"""A renewal that is paid after the old term's end is cancelled and issued again, once, with its payments (row S5)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text
from streamlit.testing.v1 import AppTest

from lib import (
    audit,
    card_answers,
    cards,
    checks,
    customers,
    db,
    debits,
    documents,
    drafts,
    invoices,
    issuing,
    late_renewals,
    layouts,
    mandates,
    overviews,
    payment_methods,
    payments,
    reports,
    settings,
    stripe_account,
    stripe_client,
    term_invoices,
    terms,
    vat_rates,
)
from lib.auth import Role
from lib.drafts import DraftLine
from lib.errors import BillingError, Conflict, NotAllowed
from lib.invoices import Invoice
from lib.report_filters import Filters
from lib.term_amounts import PREPAID
from lib.term_offers import TermAction
from lib.terms import Term
from tests import stripe_server, termed
from tests.beginnings import Begin
from tests.stripe_server import GOOD, PUBLISHABLE, SECRET, SIGNING
from tests.termed import Shop, bought, issue, pay, span

BEGINS_WITH = termed.shop
# The old term is over on 10 June 2027, the first day without it.
DUE, ENDED, LATE = date(2027, 5, 27), date(2027, 6, 10), date(2027, 6, 20)
GROSS = Decimal("357.00")


@pytest.fixture
def shop(begun: Shop) -> Shop:
    return begun


def renewal(conn: Connection, shop: Shop, *, issued_on: date = DUE, action: TermAction = TermAction.YEARLY) -> Invoice:
    """The issued renewal of the plan that Ada bought a year before."""
    bought(conn, shop, shop.basic, action)
    while term_invoices.renew_next(conn, today=DUE):
        pass
    return issue(conn, shop, waiting(conn, shop).invoice_id or 0, today=issued_on)


def waiting(conn: Connection, shop: Shop, product_id: int | None = None) -> Term:
    wanted = ("waiting", product_id or shop.basic)
    return next(one for one in terms.terms_of(conn, shop.ada) if (one.state, one.product_id) == wanted)


def again(conn: Connection, old: Invoice) -> late_renewals.Again:
    [found] = late_renewals.issued_again(conn, [old.id])
    return found


def rows(conn: Connection, invoice_id: int) -> list[tuple[Any, ...]]:
    return [(p.amount, p.paid_on, p.method, p.reference) for p in payments.payments_of(conn, invoice_id)]


# ---------------------------------------------------------------------------------- when


@pytest.mark.parametrize(("paid_on", "late"), [(date(2027, 6, 9), False), (ENDED, False), (date(2027, 6, 11), True)])
def test_late_is_what_leaves_a_day_without(conn: Connection, shop: Shop, paid_on: date, late: bool) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, day=paid_on)
    assert len(late_renewals.issued_again(conn, [old.id])) == late
    begins = paid_on if late else ENDED
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", begins, terms.after(begins, 12))
    assert checks.findings(conn) == []


def test_what_is_issued_when_the_old_term_is_over_says_so_itself(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop, issued_on=ENDED)
    assert old.advance_period == "12 Monate ab vollständigem Zahlungseingang"
    assert invoices.lines(conn, old.id)[0].detail == old.advance_period
    pay(conn, shop, old.id, day=LATE)
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", LATE, date(2028, 6, 20))
    assert late_renewals.issued_again(conn, [old.id]) == []


# ---------------------------------------------------------------------------------- what happens


@pytest.mark.row("S5")
def test_it_is_cancelled_and_issued_again_with_its_payment(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    paid = payments.record(
        conn, old.id, amount=GROSS, paid_on=LATE, method="bank_transfer", reference="Statement 7",
        today=date(2027, 6, 23), user=shop.finance,
    )  # fmt: skip
    done = again(conn, old)
    new = invoices.invoice(conn, done.new_id)
    assert (new.state, new.gross, new.issued_on) == ("paid", GROSS, date(2027, 6, 23))
    assert (new.service_from, new.service_until) == (LATE, date(2028, 6, 19))
    assert new.advance_period == "12 Monate ab vollständigem Zahlungseingang"
    [line] = invoices.lines(conn, new.id)
    assert (line.amount, line.detail, line.vat_rate) == (Decimal(300), new.advance_period, Decimal(19))
    cancelled = invoices.invoice(conn, old.id)
    assert (cancelled.state, cancelled.cancelled_by_number) == ("cancelled", done.cancellation_number)
    # One payment counts, on its day; the other one and its reversal add up to nothing on that very day.
    assert rows(conn, new.id) == [(GROSS, LATE, "bank_transfer", "Statement 7")]
    assert [one.id for one in payments.payments_of(conn, new.id)] == [paid]
    assert rows(conn, old.id) == [
        (GROSS, LATE, "bank_transfer", "Statement 7"), (-GROSS, LATE, "bank_transfer", "")
    ]  # fmt: skip
    term = terms.of_invoice(conn, new.id)
    assert term is not None and span(term) == ("active", LATE, date(2028, 6, 20))
    assert checks.findings(conn) == []


def test_numbers_have_no_gap_and_the_sums_of_the_months_stay(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, day=LATE)
    new = issue(conn, shop, termed.order(conn, shop, shop.module, today=LATE), today=LATE)
    numbers = conn.scalars(text("SELECT number FROM invoices WHERE number IS NOT NULL ORDER BY id")).all()
    assert numbers == ["RE-2026-00001", "RE-2027-00001", "RE-2027-00002", "ST-2027-00001", new.number]
    assert new.number == "RE-2027-00003"
    june = reports.summary(conn, Filters(first=date(2027, 6, 1), last=date(2027, 6, 1)))
    # Taken back 300.00, invoiced 300.00 again, and the module's 100.00.
    assert june.products[PREPAID].amount == Decimal("100.00")
    assert checks.findings(conn) == []


def test_the_log_tells_why(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, day=LATE)
    done = again(conn, old)
    said = {entry.action: entry.changes for entry in audit.entries(conn, object_id=old.id, object_type="invoice")[0]}
    assert said["cancelled"]["reason"] == [
        None, f"Paid on 2027-06-20, after Basic had ended on 2027-06-09: issued again as {done.new_number}"
    ]  # fmt: skip
    assert said["carry payments over"]["to"] == [None, done.new_number]
    [sentence] = late_renewals.told(conn, [old.id])
    assert sentence == (
        f"{old.number} was paid on 20 Jun 2027, after Basic had ended with 09 Jun 2027: it was cancelled by "
        f"{done.cancellation_number} and issued again as {done.new_number}."
    )
    assert late_renewals.told(conn, [done.new_id]) == [sentence]


def test_what_was_paid_in_parts_goes_on_in_parts(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, Decimal(100), day=date(2027, 6, 1))
    taken_back = pay(conn, shop, old.id, Decimal(50), day=date(2027, 6, 2))
    payments.reverse(conn, taken_back, reason="Typing error", today=date(2027, 6, 3), user=shop.finance)
    assert late_renewals.issued_again(conn, [old.id]) == []
    pay(conn, shop, old.id, Decimal(257), day=LATE)
    done = again(conn, old)
    assert rows(conn, done.new_id) == [
        (Decimal(100), date(2027, 6, 1), "bank_transfer", ""), (Decimal(257), LATE, "bank_transfer", "")
    ]  # fmt: skip
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", LATE, date(2028, 6, 20))
    assert sum(one.amount for one in payments.payments_of(conn, old.id)) == 0
    assert checks.findings(conn) == []


def test_what_was_written_by_hand_stays_and_it_happens_to_a_month_too(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic, TermAction.MONTHLY)
    today = date(2026, 7, 1)
    assert term_invoices.renew_next(conn, today=today)
    draft = invoices.invoice(conn, waiting(conn, shop).invoice_id or 0)
    discount = DraftLine(name="Discount", detail="", quantity=Decimal(-1), unit="", unit_price=Decimal(5))
    drafts.edit(
        conn, draft.id, version=draft.version, intro="", closing="", purchase_order="PO 7", due_on=None,
        service_from=draft.service_from, service_until=draft.service_until, lines=[discount], user=shop.finance,
    )  # fmt: skip
    old = issue(conn, shop, draft.id, today=today)
    pay(conn, shop, old.id, day=date(2026, 7, 31))
    new = invoices.invoice(conn, again(conn, old).new_id)
    assert (new.net, new.purchase_order) == (Decimal("25.00"), "PO 7")
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", date(2026, 7, 31), date(2026, 8, 31))
    assert checks.findings(conn) == []


def test_several_recorded_as_paid_at_once(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.module)
    old = renewal(conn, shop)
    other = issue(conn, shop, waiting(conn, shop, shop.module).invoice_id or 0, today=DUE)
    done = payments.settle(
        conn, [old.id, other.id], paid_on=LATE, method="bank_transfer", today=LATE, user=shop.finance
    )  # fmt: skip
    assert done == 2
    assert len(late_renewals.told(conn, [old.id, other.id])) == 2
    assert [one.state for one in terms.terms_of(conn, shop.ada)].count("active") == 4
    assert checks.findings(conn) == []


# ---------------------------------------------------------------------------------- another gross


def rate_from(conn: Connection, shop: Shop, rate: str) -> None:
    """Between the last days of the two periods the rate changes."""
    vat_rates.set_rate(conn, valid_from=date(2028, 6, 15), rate=Decimal(rate), user=shop.admin)


def test_a_higher_rate_leaves_the_rest_open_and_the_term_waits(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    rate_from(conn, shop, "20")
    pay(conn, shop, old.id, day=LATE)
    new = invoices.invoice(conn, again(conn, old).new_id)
    assert (new.state, new.gross, payments.open_amount(conn, new.id)) == ("partly_paid", Decimal(360), Decimal(3))
    assert waiting(conn, shop).invoice_id == new.id
    pay(conn, shop, new.id, day=date(2027, 7, 1))
    # Once: what was issued again names no earliest day.
    assert late_renewals.paid_late(conn, [new.id]) == []
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", date(2027, 7, 1), date(2028, 7, 1))
    assert checks.findings(conn) == []


def test_what_is_too_much_then_is_said_and_counts_nowhere(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, Decimal(340), day=date(2027, 6, 1))
    rate_from(conn, shop, "7")
    last = pay(conn, shop, old.id, day=LATE)
    done = again(conn, old)
    new = invoices.invoice(conn, done.new_id)
    assert (new.state, new.gross, done.surplus) == ("paid", Decimal(321), Decimal(36))
    assert payments.counted(conn, last) == (old.id, 0)
    changes = [entry.changes for entry in audit.entries(conn, object_id=new.id, object_type="invoice")[0]]
    assert any(one.get("to be paid back") == [None, "36.00 EUR"] for one in changes)
    assert "36.00 EUR more was paid" in late_renewals.told(conn, [old.id])[0]
    assert checks.findings(conn) == []


# ---------------------------------------------------------------------------------- twice, at once, back


def renewed(conn: Connection) -> tuple[Shop, Invoice]:
    made = termed.shop(conn)
    return made, renewal(conn, made)


@pytest.mark.row("S5")
@pytest.mark.parametrize("parts", [1, 2])
def test_two_payments_at_once_issue_it_again_once(begin: Begin, parts: int) -> None:
    made, old = begin(renewed)

    def try_to(_: int) -> bool:
        try:
            with db.transaction() as conn:
                pay(conn, made, old.id, GROSS / parts, day=LATE)
        except BillingError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(try_to, range(2))) == [parts == 2, True]
    with db.transaction() as conn:
        done = again(conn, old)
        assert [amount for amount, *_ in rows(conn, done.new_id)] == [GROSS / parts] * parts
        assert termed.count(conn, "invoices WHERE kind = 'cancellation'") == 1
        assert [one.state for one in terms.terms_of(conn, made.ada)] == ["active", "void", "active"]
        assert checks.findings(conn) == []


def test_two_customers_at_once_do_not_wait_for_each_other_in_a_circle(begin: Begin) -> None:
    made, pairs = begin(two_renewed)

    def pay_late(number: int) -> None:
        with db.transaction() as conn:
            pay(conn, made, pairs[number], day=LATE)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(pay_late, range(2)))
    with db.transaction() as conn:
        assert len(late_renewals.issued_again(conn, pairs)) == 2
        assert checks.findings(conn) == []


def two_renewed(conn: Connection) -> tuple[Shop, list[int]]:
    made = termed.shop(conn)
    bought(conn, made, made.module)
    other = made.module
    return made, [renewal(conn, made).id, issue(conn, made, waiting(conn, made, other).invoice_id or 0, today=DUE).id]


def test_paid_twice_is_refused_and_names_the_new_document(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, day=LATE)
    with pytest.raises(Conflict, match=f"issued again as {again(conn, old).new_number}"):
        pay(conn, shop, old.id, Decimal(10), day=LATE)


def test_a_payment_that_goes_back_ends_nothing_and_being_paid_again_begins_nothing(
    conn: Connection, shop: Shop
) -> None:
    old = renewal(conn, shop)
    paid = pay(conn, shop, old.id, day=LATE)
    later = date(2027, 7, 1)
    payments.reverse(conn, paid, reason="Came back", today=later, user=shop.finance)
    new = again(conn, old).new_id
    assert invoices.invoice(conn, new).state == "issued"
    pay(conn, shop, new, day=later)
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", LATE, date(2028, 6, 20))
    assert termed.count(conn, "invoices WHERE kind = 'cancellation'") == 1
    assert checks.findings(conn) == []


def test_what_began_in_time_and_is_paid_anew_later_stays(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    paid = pay(conn, shop, old.id, day=date(2027, 6, 1))
    payments.reverse(conn, paid, reason="Came back", today=LATE, user=shop.finance)
    pay(conn, shop, old.id, day=LATE)
    assert late_renewals.told(conn, [old.id]) == []
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", ENDED, date(2028, 6, 10))


def test_what_is_reversed_before_it_is_complete_counts_for_nothing(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    paid = pay(conn, shop, old.id, Decimal(100), day=LATE)
    payments.reverse(conn, paid, reason="Typing error", today=LATE, user=shop.finance)
    payments.record(
        conn, old.id, amount=GROSS, paid_on=date(2027, 6, 9), method="cash", today=LATE, user=shop.finance
    )  # fmt: skip
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", ENDED, date(2028, 6, 10))


# ---------------------------------------------------------------------------------- who


@pytest.mark.parametrize("role", list(Role))
def test_who_may_record_payments_may_do_it(conn: Connection, shop: Shop, role: Role) -> None:
    old = renewal(conn, shop)
    given: dict[str, Any] = {"amount": GROSS, "paid_on": LATE, "method": "cash", "today": LATE}
    if role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed):
            payments.record(conn, old.id, **given, user=shop.people[role])
        with pytest.raises(NotAllowed):
            late_renewals.replace_now(conn, old.id, today=LATE, user=shop.people[role])
        return
    payments.record(conn, old.id, **given, user=shop.people[role])
    assert again(conn, old)


def test_nobody_of_us_has_to_be_there(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    payments.receive(conn, old.id, amount=GROSS, paid_on=LATE, method="card", reference="pi_1", today=LATE)
    done = again(conn, old)
    assert rows(conn, done.new_id) == [(GROSS, LATE, "card", "pi_1")]
    entries = audit.entries(conn, object_id=done.cancellation_id, object_type="invoice")[0]
    assert [entry.person for entry in entries] == ["System"]


# ---------------------------------------------------------------------------------- by Stripe, by direct debit


def with_cards(conn: Connection) -> tuple[Shop, Invoice]:
    made, old = renewed(conn)
    keys = {"secret_key": SECRET, "publishable_key": PUBLISHABLE, "webhook_secret": SIGNING}
    stripe_account.edit(conn, **keys, version=stripe_account.account(conn).version, user=made.admin)
    return made, old


def work(_: int = 0) -> None:
    """The worker asks Stripe about everything."""
    with db.transaction() as conn:
        conn.execute(text("UPDATE stripe_requests SET due_at = now() - interval '1 second' WHERE due_at IS NOT NULL"))
    while card_answers.ask_one():
        pass


def test_a_card_payment_goes_on_to_the_new_document_and_back(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", LATE.isoformat())
    with stripe_server.started() as fake:
        monkeypatch.setenv(stripe_client.VARIABLE, fake.url)
        made, old = begin(with_cards)
        with db.transaction() as conn:
            asked = cards.pay_link(conn, old.id, return_to="http://127.0.0.1:8501", user=made.finance)
        assert card_answers.carry_out(asked) == ""
        with db.transaction() as conn:
            page = cards.asked_for_invoice(conn, old.id)[0].url
        fake.type_card(page.rpartition("/")[2], GOOD)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))
        with db.transaction() as conn:
            done = again(conn, old)
            [(amount, paid_on, method, reference)] = rows(conn, done.new_id)
            assert (amount, paid_on, method) == (GROSS, LATE, "card")
            assert cards.asked_for_invoice(conn, done.new_id)[0].note == ""
            assert checks.findings(conn) == []
        fake.refund(reference, 5700)
        work()
        with db.transaction() as conn:
            assert [amount for amount, *_ in rows(conn, done.new_id)] == [GROSS, -GROSS, Decimal(300)]
            assert checks.findings(conn) == []


def test_a_debit_goes_on_to_the_new_document_and_comes_back(conn: Connection, shop: Shop) -> None:
    payment_methods.set_creditor_id(conn, version=1, creditor_id="DE98ZZZ09999999999", user=shop.finance)
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"iban": "DE02120300000000202051"}, user=shop.admin)
    move(conn, shop, payment_method="direct_debit")
    mandates.add(
        conn, shop.ada, holder="Ada", iban="DE89370400440532013000", signed_on=date(2026, 1, 5), today=DUE,
        user=shop.sales,
    )  # fmt: skip
    old = renewal(conn, shop)
    monday = date(2027, 6, 21)
    run = debits.make(
        conn, date(2027, 5, 1), collect_on=monday, late=True, today=date(2027, 6, 14), user=shop.finance
    )  # fmt: skip
    assert debits.collect(conn, run, today=monday, user=shop.finance).recorded == 1
    done = again(conn, old)
    [debit] = debits.debits_of(conn, run)
    assert (debit.invoice_id, debit.paid) == (done.new_id, True)
    assert rows(conn, done.new_id) == [(GROSS, monday, "direct_debit", "")]
    debits.come_back(conn, debit.id, reason="AC04", today=date(2027, 6, 30), user=shop.finance)
    assert invoices.invoice(conn, done.new_id).state == "issued"
    assert checks.findings(conn) == []


# ---------------------------------------------------------------------------------- where it can't be done


@pytest.mark.row("S5")
def test_the_payment_is_kept_where_the_address_lacks_something(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    move(conn, shop, street="")
    pay(conn, shop, old.id, day=LATE)
    assert invoices.invoice(conn, old.id).state == "paid"
    assert span(terms.terms_of(conn, shop.ada)[0]) == ("active", LATE, date(2028, 6, 20))
    assert termed.count(conn, "invoices WHERE number IS NULL") == 0
    assert late_renewals.told(conn, [old.id]) == [
        f"{old.number} was paid on 20 Jun 2027, after Basic had ended with 09 Jun 2027. The payment is recorded; the "
        "document is still to be cancelled and issued again, on its page. First enter the street."
    ]  # fmt: skip
    assert issuing.lacks_anew(conn, old.id) == ["the street"]
    assert [one.number for one in late_renewals.still_waiting(conn)] == [old.number]
    assert "late_renewals" in {one.name for one in overviews.attention(conn, today=LATE, user=shop.finance)}
    assert "late_renewals" not in {one.name for one in overviews.attention(conn, today=LATE, user=shop.sales)}
    entry = audit.entries(conn, object_id=old.id, object_type="invoice", limit=1)[0][0]
    assert (entry.action, entry.changes["reason"][1]) == (
        "not issued again", "It can't be issued again before this is entered: the street."
    )  # fmt: skip
    assert checks.findings(conn) == []
    with pytest.raises(Conflict, match="the street"), conn.begin_nested():
        late_renewals.replace_now(conn, old.id, today=LATE, user=shop.finance)
    move(conn, shop, street="Weg 1")
    new_id = late_renewals.replace_now(conn, old.id, today=date(2027, 7, 5), user=shop.finance)
    assert invoices.invoice(conn, new_id).state == "paid"
    # It ran on meanwhile, and does so with the same days.
    term = terms.of_invoice(conn, new_id)
    assert term is not None and span(term) == ("active", LATE, date(2028, 6, 20))
    with pytest.raises(Conflict, match="needs not be issued again"):
        late_renewals.replace_now(conn, old.id, today=date(2027, 7, 5), user=shop.finance)
    assert checks.findings(conn) == []


def test_the_payment_is_kept_where_our_own_data_is_incomplete(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"street": ""}, user=shop.admin)
    pay(conn, shop, old.id, day=LATE)
    assert (invoices.invoice(conn, old.id).state, len(late_renewals.paid_late(conn, [old.id]))) == ("paid", 1)
    assert issuing.lacks_anew(conn, old.id) == ["the street of our company"]
    assert checks.findings(conn) == []


def move(conn: Connection, shop: Shop, **changes: str) -> None:
    version = customers.customer(conn, shop.ada).version
    customers.edit(conn, shop.ada, version=version, changes=changes, today=LATE, user=shop.finance)


# ---------------------------------------------------------------------------------- what is printed


def test_the_documents_say_what_became_of_the_payment(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    pay(conn, shop, old.id, day=LATE)
    done = again(conn, old)
    new = layouts.content(documents.document(conn, done.new_id))
    assert (new["payment"], new["account"]) == (
        f"Diese Rechnung ersetzt die Rechnung {old.number}. Ihre Zahlung von 357,00 EUR ist angerechnet."
        " Es ist kein Betrag zu zahlen.", []
    )  # fmt: skip
    storno = layouts.content(documents.document(conn, done.cancellation_id))
    assert "erstatten" not in storno["payment"] and done.new_number in storno["payment"]
    assert "nach dem Ende des vorigen Zeitraums am 09.06.2027" in storno["intro"]


def test_what_follows_it_already_leaves_it_as_it_is(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    move(conn, shop, street="")
    pay(conn, shop, old.id, day=LATE)
    assert late_renewals.paid_late(conn, [old.id])
    assert term_invoices.renew_next(conn, today=date(2028, 6, 15))
    assert late_renewals.told(conn, [old.id]) == []


def test_the_new_document_asks_for_the_rest_alone(conn: Connection, shop: Shop) -> None:
    old = renewal(conn, shop)
    rate_from(conn, shop, "20")
    pay(conn, shop, old.id, day=LATE)
    new = documents.document(conn, again(conn, old).new_id)
    assert (new.is_payable, new.to_pay) == (True, Decimal(3))
    assert "Bitte zahlen Sie den Rest von 3,00 EUR bis zum 04.07.2027." in layouts.content(new)["payment"]


# ---------------------------------------------------------------------------------- on the pages


def paid_twice_late(conn: Connection) -> tuple[Shop, late_renewals.Again, int]:
    """Ada's plan was issued again; her module could not be, because her street was missing then."""
    made = termed.shop(conn)
    bought(conn, made, made.module)
    old = renewal(conn, made)
    other = issue(conn, made, waiting(conn, made, made.module).invoice_id or 0, today=DUE)
    pay(conn, made, old.id, day=LATE)
    street = customers.customer(conn, made.ada).street
    move(conn, made, street="")
    pay(conn, made, other.id, day=LATE)
    move(conn, made, street=street)
    return made, again(conn, old), other.id


@pytest.mark.row("S5")
def test_the_pages_tell_and_the_rest_is_done_by_a_click(
    begin: Begin, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", LATE.isoformat())
    made, done, other = begin(paid_twice_late)
    for invoice_id in (done.old_id, done.new_id):
        page = open_page("invoice.py", Role.VIEWER, id=str(invoice_id))
        assert not page.exception
        assert f"issued again as {done.new_number}" in page.info[0].value.replace("\\", "")
    page = open_page("customer.py", Role.VIEWER, id=str(made.ada), tab="Plans")
    assert f"issued again as {done.new_number}" in " ".join(one.value for one in page.markdown).replace("\\", "")
    for role, seen in ((Role.VIEWER, False), (Role.FINANCE, True)):
        listed = open_page("invoices.py", role)
        assert any("still to be cancelled and issued again" in one.value for one in listed.markdown) == seen
    page = open_page("invoice.py", Role.VIEWER, id=str(other))
    assert "still to be cancelled and issued again" in page.warning[0].value
    assert all(one.key != "issue_again" for one in page.button)
    page = open_page("invoice.py", Role.FINANCE, id=str(other))
    page.button(key="issue_again").click().run()
    assert not page.exception
    assert "issued again as RE" in page.info[0].value.replace("\\", "")
    with db.transaction() as conn:
        assert late_renewals.still_waiting(conn) == []


def test_what_else_a_click_did_stays_above_the_page() -> None:
    def script() -> None:
        from pages.shared import session

        session.carry_out(lambda: None, name="pay", success="2 invoices recorded as paid.")
        session.tell([])
        session.tell(["RE-1 was issued again."])
        session.show_outcome()

    page = AppTest.from_function(script).run()
    assert [one.value.replace("\\", "") for one in page.info] == ["2 invoices recorded as paid. RE-1 was issued again."]
