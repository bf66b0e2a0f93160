"""Renewals, upgrades and downgrades of prepaid terms: drafted once, credited to the cent (rows S4, S5)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lib import (
    cancellations,
    checks,
    customer_verbs,
    db,
    deletions,
    invoices,
    prices,
    products,
    settings,
    term_invoices,
    terms,
)
from lib.errors import Conflict, NotAllowed
from lib.term_offers import TermAction
from tests import ledgers, termed
from tests.beginnings import Begin
from tests.termed import DAY, Shop, act, bought, card, issue, order, own, pay, span

BEGINS_WITH = termed.shop
DECEMBER = date(2026, 12, 10)
A_YEAR_ON = date(2027, 6, 10)
# Fourteen days before.
DUE = date(2027, 5, 27)


@pytest.fixture
def shop(begun: Shop) -> Shop:
    return begun


def renew(conn: Connection, *, today: date = DUE) -> int:
    """How many renewals are drafted on a day."""
    drafted = 0
    while term_invoices.renew_next(conn, today=today):
        drafted += 1
    return drafted


# ---------------------------------------------------------------------------------- renewals


@pytest.mark.row("S5")
def test_a_renewal_is_drafted_once_some_days_before_the_end(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    assert renew(conn, today=date(2027, 5, 26)) == 0
    assert renew(conn) == 1
    assert renew(conn) == 0
    waiting = card(conn, shop.ada, shop.basic, today=DUE).awaited
    assert waiting is not None and waiting.invoice_id is not None
    draft = invoices.invoice(conn, waiting.invoice_id)
    assert (draft.net, draft.service_from, draft.service_until) == (Decimal(300), A_YEAR_ON, date(2028, 6, 9))
    assert draft.advance_period == "12 Monate ab vollständigem Zahlungseingang, frühestens ab dem 10.06.2027"
    assert checks.findings(conn) == []


def test_the_number_of_days_is_a_setting(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"renewal_days": "20"}, user=shop.admin)
    assert renew(conn, today=date(2027, 5, 20)) == 0
    assert renew(conn, today=date(2027, 5, 21)) == 1


@pytest.mark.parametrize(
    "paid_on", [date(2027, 6, 1), date(2027, 6, 9), A_YEAR_ON]
)  # what is paid later: tests/test_late_renewals.py
def test_a_renewal_that_is_paid_in_time_begins_at_the_old_end(conn: Connection, shop: Shop, paid_on: date) -> None:
    bought(conn, shop, shop.basic)
    renew(conn)
    waiting = card(conn, shop.ada, shop.basic, today=DUE).awaited
    assert waiting is not None and waiting.invoice_id is not None
    issue(conn, shop, waiting.invoice_id, today=DUE)
    pay(conn, shop, waiting.invoice_id, day=paid_on)
    assert span(terms.term(conn, waiting.id)) == ("active", A_YEAR_ON, date(2028, 6, 10))
    assert termed.count(conn, "invoices WHERE kind = 'cancellation'") == 0
    assert renew(conn, today=paid_on) == 0
    assert checks.findings(conn) == []


def test_what_is_cancelled_or_leaves_is_not_renewed(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    bought(conn, shop, shop.module)
    act(conn, shop, "cancel", shop.module)
    act(conn, shop, "cancel", shop.basic)
    assert renew(conn) == 0
    act(conn, shop, "resume", shop.basic)
    customer_verbs.set_end_date(conn, shop.ada, ends_on=date(2027, 6, 9), today=DUE, user=shop.sales)
    assert renew(conn) == 0
    customer_verbs.set_end_date(conn, shop.ada, ends_on=None, today=DUE, user=shop.sales)
    deletions.mark(conn, shop.ada, typed=deletions.WORD, today=DUE, user=shop.sales)
    assert renew(conn) == 0


def test_who_deletes_a_renewal_cancels_and_taking_it_back_drafts_it_again(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    renew(conn)
    act(conn, shop, "drop", shop.basic, today=DUE)
    assert own(conn, shop.ada, shop.basic, today=DUE).cancelled_at is not None
    assert renew(conn) == 0
    act(conn, shop, "resume", shop.basic, today=DUE)
    assert renew(conn) == 1
    # Cancelling deletes the draft, too.
    act(conn, shop, "cancel", shop.basic, today=DUE)
    assert termed.count(conn, "invoices WHERE state = 'draft'") == 0
    assert renew(conn) == 0


def test_an_issued_renewal_is_cancelled_first(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    renew(conn)
    waiting = card(conn, shop.ada, shop.basic, today=DUE).awaited
    assert waiting is not None and waiting.invoice_id is not None
    number = issue(conn, shop, waiting.invoice_id, today=DUE).number
    for verb in ("cancel", "withdraw", "drop"):
        with pytest.raises(Conflict, match=f"{number}"):
            act(conn, shop, verb, shop.basic, today=DUE)
    cancellations.cancel(conn, waiting.invoice_id, reason="Ends", today=DUE, user=shop.finance)
    act(conn, shop, "withdraw", shop.basic, today=DUE)
    assert checks.findings(conn) == []


def test_a_renewal_costs_what_holds_then_and_is_made_without_a_price_too(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    products.edit(conn, shop.basic, version=2, changes={"yearly_price": "330"}, user=shop.admin)
    assert renew(conn) == 1
    assert card(conn, shop.ada, shop.basic, today=DUE).awaited.price == Decimal(330)  # type: ignore[union-attr]
    act(conn, shop, "drop", shop.basic, today=DUE)
    act(conn, shop, "resume", shop.basic, today=DUE)
    changes = {"yearly_price": "", "on_sale": False}
    products.edit(conn, shop.basic, version=3, changes=changes, user=shop.admin)
    assert renew(conn) == 1
    assert card(conn, shop.ada, shop.basic, today=DUE).awaited.price == Decimal(300)  # type: ignore[union-attr]


def test_what_can_not_be_drafted_says_why_and_rests_until_tomorrow(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.plus)
    act(conn, shop, "change_later", shop.basic, action=TermAction.LATER_YEARLY)
    products.edit(conn, shop.basic, version=2, changes={"yearly_price": ""}, user=shop.admin)
    bought(conn, shop, shop.module)
    assert renew(conn) == 2
    assert "no price" in own(conn, shop.ada, shop.plus, today=DUE).renewal_refusal
    assert card(conn, shop.ada, shop.module, today=DUE).awaited is not None
    products.edit(conn, shop.basic, version=3, changes={"yearly_price": "310"}, user=shop.admin)
    assert renew(conn) == 0
    assert renew(conn, today=date(2027, 5, 28)) == 1
    assert own(conn, shop.ada, shop.plus, today=DUE).renewal_refusal == ""


def renewable(conn: Connection) -> Shop:
    made = termed.shop(conn)
    bought(conn, made, made.basic, TermAction.MONTHLY)
    bought(conn, made, made.module, TermAction.MONTHLY)
    return made


def test_two_workers_at_once_draft_each_renewal_once(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    made = begin(renewable)
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-01")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: term_invoices.renew_one(), range(12)))
    while term_invoices.renew_one():
        pass
    with db.transaction() as conn:
        assert termed.count(conn, "invoices WHERE state = 'draft'") == 2
        assert [one.state for one in terms.terms_of(conn, made.ada)].count("waiting") == 2
        assert checks.findings(conn) == []


# ---------------------------------------------------------------------------------- upgrade


@pytest.mark.row("S4")
def test_an_upgrade_credits_the_unused_days_from_its_issue_on(conn: Connection, shop: Shop) -> None:
    """300.00 for 365 days: 182 of them from 10 December on are worth 149.59, 180 from 12 December on 147.95."""
    bought(conn, shop, shop.basic)
    seen = term_invoices.preview(
        conn, shop.ada, shop.plus, TermAction.UPGRADE_YEARLY, today=DECEMBER, user=shop.finance
    )
    assert (seen.price, seen.credit, seen.net, seen.vat, seen.gross) == (
        Decimal("600.00"), Decimal("-149.59"), Decimal("450.41"), Decimal("85.58"), Decimal("535.99")
    )  # fmt: skip
    assert termed.count(conn, "invoices WHERE state = 'draft'") == 0
    draft = order(conn, shop, shop.plus, TermAction.UPGRADE_YEARLY, today=DECEMBER)
    assert invoices.invoice(conn, draft).net == Decimal("450.41")
    issued = issue(conn, shop, draft, today=date(2026, 12, 12))
    assert issued.net == Decimal("452.05")
    lines = [(line.name, line.detail, line.amount) for line in invoices.lines(conn, draft)]
    assert lines == [
        ("plus (de)", "12 Monate ab vollständigem Zahlungseingang", Decimal("600.00")),
        ("Anrechnung basic (de)", "180 von 365 Tagen sind nicht genutzt", Decimal("-147.95")),
    ]
    # The old plan goes on until the payment; the payment ends it.
    assert own(conn, shop.ada, shop.basic, today=date(2026, 12, 20)).state == "active"
    pay(conn, shop, draft, day=date(2026, 12, 20))
    assert [span(one) for one in terms.terms_of(conn, shop.ada)] == [
        ("active", date(2026, 12, 20), date(2027, 12, 20)), ("active", DAY, date(2026, 12, 20))
    ]  # fmt: skip
    assert checks.findings(conn) == []


@pytest.mark.row("S4")
def test_an_upgrade_that_is_worth_less_than_its_credit_is_refused(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    with pytest.raises(Conflict, match=r"worth 149\.59"):
        order(conn, shop, shop.plus, TermAction.UPGRADE_MONTHLY, today=DECEMBER)


def test_what_is_no_upgrade_is_refused(conn: Connection, shop: Shop) -> None:
    for action in (TermAction.UPGRADE_YEARLY, TermAction.LATER_YEARLY):
        with pytest.raises(Conflict, match="no paid period"):
            order(conn, shop, shop.plus, action)
    bought(conn, shop, shop.plus)
    with pytest.raises(Conflict, match="costs no more than Plus"):
        order(conn, shop, shop.basic, TermAction.UPGRADE_YEARLY)
    with pytest.raises(Conflict, match="no other plan"):
        order(conn, shop, shop.plus, TermAction.UPGRADE_YEARLY)
    with pytest.raises(Conflict, match="is paid until"):
        order(conn, shop, shop.basic)
    with pytest.raises(NotAllowed):
        term_invoices.make(conn, shop.ada, shop.basic, TermAction.YEARLY, today=DAY, user=shop.sales)


def test_an_upgrade_that_is_not_paid_leaves_the_plan(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    issued = issue(conn, shop, order(conn, shop, shop.plus, TermAction.UPGRADE_YEARLY, today=DECEMBER), today=DECEMBER)
    with pytest.raises(Conflict, match="Cancel that document first"):
        act(conn, shop, "withdraw", shop.basic, today=DECEMBER)
    assert renew(conn) == 0
    cancellations.cancel(conn, issued.id, reason="Changed their mind", today=DECEMBER, user=shop.finance)
    assert span(own(conn, shop.ada, shop.basic, today=DECEMBER)) == ("active", DAY, A_YEAR_ON)
    assert renew(conn) == 1


# ---------------------------------------------------------------------------------- downgrade


@pytest.mark.row("S4")
def test_a_downgrade_comes_with_the_renewal(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.plus)
    act(conn, shop, "change_later", shop.basic, action=TermAction.LATER_MONTHLY)
    held = own(conn, shop.ada, shop.plus)
    assert (held.next_product, held.next_cycle, held.until_day) == ("Basic", "monthly", A_YEAR_ON)
    with pytest.raises(Conflict, match="chosen already"):
        act(conn, shop, "change_later", shop.basic, action=TermAction.LATER_MONTHLY)
    assert renew(conn) == 1
    waiting = card(conn, shop.ada, shop.basic, today=DUE).awaited
    assert waiting is not None and waiting.invoice_id is not None
    assert (waiting.cycle, waiting.price) == ("monthly", Decimal(30))
    issue(conn, shop, waiting.invoice_id, today=DUE)
    pay(conn, shop, waiting.invoice_id, day=DUE)
    assert span(terms.term(conn, waiting.id)) == ("active", A_YEAR_ON, date(2027, 7, 10))
    assert own(conn, shop.ada, shop.plus, today=DUE).until_day == A_YEAR_ON
    assert checks.findings(conn) == []


@pytest.mark.row("S4")
def test_a_downgrade_is_taken_back(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.plus)
    act(conn, shop, "change_later", shop.basic, action=TermAction.LATER_YEARLY)
    act(conn, shop, "resume", shop.plus)
    assert own(conn, shop.ada, shop.plus).next_product is None
    assert renew(conn) == 1
    assert card(conn, shop.ada, shop.plus, today=DUE).awaited is not None


def test_another_cycle_comes_with_the_renewal(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.module, TermAction.MONTHLY)
    with pytest.raises(Conflict, match="goes on monthly anyway"):
        act(conn, shop, "change_later", shop.module, action=TermAction.LATER_MONTHLY)
    act(conn, shop, "change_later", shop.module, action=TermAction.LATER_YEARLY)
    assert renew(conn, today=date(2026, 7, 1)) == 1
    awaited = card(conn, shop.ada, shop.module, today=date(2026, 7, 1)).awaited
    assert awaited is not None and (awaited.cycle, awaited.price) == ("yearly", Decimal(100))


def test_a_customers_own_price_holds_for_its_month(conn: Connection, shop: Shop) -> None:
    prices.set_individual_price(
        conn, shop.basic, shop.ada, valid_from=termed.JUNE, tiers=ledgers.tiers((1, None, "25")), user=shop.sales
    )
    assert card(conn, shop.ada, shop.basic).prices == {"monthly": Decimal("25.00"), "yearly": Decimal("300.00")}


def test_a_month_that_is_shorter_ends_with_its_last_day() -> None:
    assert terms.after(date(2027, 1, 31), 1) == date(2027, 2, 28)
    assert terms.after(date(2028, 2, 29), 12) == date(2029, 2, 28)
    assert terms.after(date(2026, 12, 15), 1) == date(2027, 1, 15)


def test_the_rows_that_say_so_are_the_only_ones(conn: Connection, shop: Shop) -> None:
    """What the check looks for is found: a term that waits although its invoice is paid."""
    draft = order(conn, shop, shop.basic)
    issue(conn, shop, draft)
    conn.execute(text("ALTER TABLE terms DISABLE TRIGGER USER"))
    pay(conn, shop, draft)
    conn.execute(text("UPDATE terms SET state = 'waiting', from_day = NULL, until_day = NULL"))
    assert [finding.rule for finding in checks.findings(conn)] == ["A paid term is active from its full payment on"]
