"""Cancelling a subscription, taking that back, withdrawing one product; and what a dialog says of it beforehand."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    billing,
    bookings,
    charges,
    customer_statuses,
    customer_verbs,
    customers,
    effects,
    months,
    subscriptions,
)
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 10)
LAST, JULY, AUGUST = date(2026, 6, 30), date(2026, 7, 1), date(2026, 8, 1)
MISSING = 4_000_000


@dataclass(frozen=True)
class Shop:
    """A billed customer with 10 users at 5, 300 IPs and a module at 30, since June."""

    people: People
    customer: int
    users: int
    ips: int
    module: int

    @property
    def sales(self) -> User:
        return self.people[Role.SALES]


@pytest.fixture
def shop(conn: Connection, set_up: Callable[..., People]) -> Shop:
    people = set_up(JUNE)
    made = Shop(
        people,
        ledgers.customer(conn, people),
        ledgers.product(conn, people, "users", price="5"),
        ledgers.product(conn, people, "ips", price=ledgers.RANGES),
        ledgers.product(conn, people, "module", price="30"),
    )
    ledgers.book(conn, people, made.customer, made.users, 10, JUNE)
    book_ips(conn, made, 300, JUNE)
    ledgers.book(conn, people, made.customer, made.module, 1, JUNE)
    return made


def book_ips(conn: Connection, shop: Shop, quantity: int, day: date, *, today: date = JUNE, **more: Any) -> None:
    bookings.book(
        conn, shop.customer, shop.ips, effective_on=day, quantity=quantity, internal=quantity, external=0,
        today=today, user=shop.sales, **more,
    )  # fmt: skip


def cancel(conn: Connection, shop: Shop, today: date = TODAY) -> date:
    return subscriptions.cancel(conn, shop.customer, today=today, user=shop.sales)


def take_back(conn: Connection, shop: Shop, today: date = TODAY) -> None:
    subscriptions.take_back(conn, shop.customer, today=today, user=shop.sales)


def withdraw(conn: Connection, shop: Shop, product_id: int | None, today: date = TODAY, **more: Any) -> None:
    subscriptions.withdraw(conn, shop.customer, product_id, today=today, user=shop.sales, **more)


def held(conn: Connection, shop: Shop, day: date) -> dict[int, int]:
    return {id_: one.quantity for id_, one in bookings.holdings(conn, shop.customer, on=day).items() if one.quantity}


def ledger(conn: Connection, shop: Shop) -> list[tuple[Any, ...]]:
    """What stands, without who recorded it when."""
    found = bookings.standing(conn, shop.customer)
    return [(one.product_id, one.effective_on, one.quantity, one.internal, one.external) for one in found]


def charged(conn: Connection, shop: Shop, month: date) -> str:
    lines = billing.lines(conn, months=[month], customers=[shop.customer])
    return str(sum((line.amount or Decimal(0) for line in lines), Decimal("0.00")))


# ---------------------------------------------------------------------------------- cancelling


@pytest.mark.row("G8")
def test_all_of_it_ends_with_the_booking_month(conn: Connection, shop: Shop) -> None:
    everything = {shop.users: 10, shop.ips: 300, shop.module: 1}
    assert cancel(conn, shop) == LAST
    assert held(conn, shop, LAST) == everything
    assert held(conn, shop, JULY) == {}
    assert (charged(conn, shop, JUNE), charged(conn, shop, JULY)) == ("540.00", "0.00")
    assert subscriptions.booked(conn, shop.customer, today=TODAY).cancelled_until == LAST
    entry = audit.entries(conn, customer_id=shop.customer)[0][0]
    assert (entry.action, entry.changes["ends_on"], entry.changes["Ips"]) == (
        "cancel subscription", [None, "2026-06-30"], [300, 0],
    )  # fmt: skip


@pytest.mark.row("G8")
def test_the_status_is_inactive_once_it_has_ended_without_anything_having_run(conn: Connection, shop: Shop) -> None:
    cancel(conn, shop)
    assert customer_statuses.status(conn, shop.customer, today=LAST) == "active"
    assert customer_statuses.status(conn, shop.customer, today=JULY) == "inactive"
    assert customers.customer(conn, shop.customer).ends_on is None


@pytest.mark.row("G8")
def test_a_count_given_again_reactivates(conn: Connection, shop: Shop) -> None:
    cancel(conn, shop)
    book_ips(conn, shop, 50, JULY + timedelta(days=4), today=JULY + timedelta(days=4))
    assert customer_statuses.status(conn, shop.customer, today=AUGUST) == "active"
    assert held(conn, shop, AUGUST) == {shop.ips: 50}
    assert subscriptions.booked(conn, shop.customer, today=AUGUST).cancelled_until is None


@pytest.mark.row("G8")
def test_taken_back_it_goes_on_with_what_was_booked_for_later(conn: Connection, shop: Shop) -> None:
    # Something for later of each sort: an increase, a decrease, an end, two of one day.
    ledgers.book(conn, shop.people, shop.customer, shop.users, 20, date(2026, 8, 5))
    ledgers.book(conn, shop.people, shop.customer, shop.users, 25, date(2026, 8, 5))
    book_ips(conn, shop, 100, JULY, today=TODAY)
    ledgers.book(conn, shop.people, shop.customer, shop.module, 0, date(2026, 9, 1))
    before = ledger(conn, shop)
    cancel(conn, shop)
    assert held(conn, shop, date(2026, 12, 1)) == {}
    take_back(conn, shop)
    assert ledger(conn, shop) == before
    assert charged(conn, shop, AUGUST) != "0.00"
    assert audit.entries(conn, customer_id=shop.customer)[0][0].action == "take cancellation back"
    # Once more, and still the same.
    cancel(conn, shop)
    take_back(conn, shop)
    assert ledger(conn, shop) == before


@pytest.mark.row("G8")
def test_what_was_ended_before_stays_ended_when_the_cancellation_is_taken_back(conn: Connection, shop: Shop) -> None:
    ledgers.book(conn, shop.people, shop.customer, shop.module, 0, JULY)
    cancel(conn, shop)
    take_back(conn, shop)
    assert held(conn, shop, JULY) == {shop.users: 10, shop.ips: 300}


def test_one_product_goes_on_when_it_is_booked_over_its_end(conn: Connection, shop: Shop) -> None:
    cancel(conn, shop)
    book_ips(conn, shop, 400, TODAY, today=TODAY, keep_pending=False)
    assert held(conn, shop, JULY) == {shop.ips: 400}
    take_back(conn, shop)
    assert held(conn, shop, JULY) == {shop.users: 10, shop.ips: 400, shop.module: 1}


def test_what_only_begins_later_is_cancelled_too(conn: Connection, shop: Shop) -> None:
    plan = ledgers.product(conn, shop.people, "plan", price="9")
    ledgers.book(conn, shop.people, shop.customer, plan, 1, date(2026, 9, 15))
    cancel(conn, shop)
    assert held(conn, shop, date(2026, 12, 1)) == {}
    take_back(conn, shop)
    assert held(conn, shop, date(2026, 12, 1))[plan] == 1


def test_the_second_cancellation_changes_nothing(conn: Connection, shop: Shop) -> None:
    cancel(conn, shop)
    with pytest.raises(AlreadyDone, match="already cancelled; it ends on 30 Jun 2026"):
        cancel(conn, shop)
    take_back(conn, shop)
    with pytest.raises(AlreadyDone, match="is not cancelled"):
        take_back(conn, shop)


def test_nothing_booked_is_nothing_to_cancel(conn: Connection, shop: Shop) -> None:
    other = ledgers.customer(conn, shop.people, "Leer GmbH")
    with pytest.raises(Conflict, match="nothing booked that runs on"):
        subscriptions.cancel(conn, other, today=TODAY, user=shop.sales)
    with pytest.raises(Conflict, match="No cancellation of Leer GmbH is pending"):
        subscriptions.take_back(conn, other, today=TODAY, user=shop.sales)


@pytest.mark.row("G8")
def test_once_it_has_ended_it_can_not_be_taken_back(conn: Connection, shop: Shop) -> None:
    cancel(conn, shop)
    with pytest.raises(Conflict, match="Book what it is to have"):
        take_back(conn, shop, today=JULY)


def test_of_a_deactivated_customer_nothing_is_ended(conn: Connection, shop: Shop) -> None:
    customer_verbs.deactivate(conn, shop.customer, today=TODAY, user=shop.sales)
    with pytest.raises(Conflict, match="Activate it before"):
        cancel(conn, shop)
    with pytest.raises(Conflict, match="Activate it before"):
        withdraw(conn, shop, shop.module)


def test_in_july_june_stays_as_it_was_closed(conn: Connection, shop: Shop) -> None:
    months.approve(conn, JUNE, today=JULY, user=shop.people[Role.FINANCE])
    assert cancel(conn, shop, today=JULY) == date(2026, 7, 31)
    assert charges.differences(conn, months=[JUNE]) == []


def test_before_the_first_booking_month_it_ends_with_that(conn: Connection, set_up: Callable[..., People]) -> None:
    people = set_up(AUGUST)
    users = ledgers.product(conn, people, "users", price="5", month=AUGUST)
    customer_id = ledgers.customer(conn, people, since=AUGUST)
    ledgers.book(conn, people, customer_id, users, 3, AUGUST)
    assert subscriptions.cancel(conn, customer_id, today=TODAY, user=people[Role.SALES]) == date(2026, 8, 31)


# ---------------------------------------------------------------------------------- withdrawing


@pytest.mark.row("S6")
def test_a_withdrawn_product_is_not_charged_on_its_day(conn: Connection, shop: Shop) -> None:
    charges.ensure_rated(conn, JUNE)
    withdraw(conn, shop, shop.module)
    # 1 to 9 June: 30.00 × 9/30.
    assert str(ledgers.amounts(conn, shop.customer)[shop.module]) == "9.00"
    assert held(conn, shop, TODAY) == {shop.users: 10, shop.ips: 300}
    assert charges.differences(conn, months=[JUNE]) == []
    entry = audit.entries(conn, customer_id=shop.customer)[0][0]
    assert (entry.action, entry.object_id, entry.changes) == (
        "withdraw", "module", {"Module": [1, 0], "from": [None, "2026-06-10"]},
    )  # fmt: skip


@pytest.mark.row("S6")
def test_withdrawn_on_its_first_day_it_was_never_there(conn: Connection, shop: Shop) -> None:
    plan = ledgers.product(conn, shop.people, "plan", price="30")
    ledgers.book(conn, shop.people, shop.customer, plan, 1, TODAY, until=date(2026, 12, 31))
    withdraw(conn, shop, plan)
    assert plan not in ledgers.amounts(conn, shop.customer)
    # Its booked end is gone, too; another plan may start the same day.
    other = ledgers.product(conn, shop.people, "plan", code="other", price="30")
    ledgers.book(conn, shop.people, shop.customer, other, 1, TODAY)
    assert bookings.pending(conn, shop.customer, today=TODAY) == []


@pytest.mark.row("S6")
def test_a_second_click_withdraws_nothing_else(conn: Connection, shop: Shop) -> None:
    key = uuid4()
    withdraw(conn, shop, shop.module, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        withdraw(conn, shop, shop.module, request_key=key)
    with pytest.raises(Conflict, match="no plan and no module"):
        withdraw(conn, shop, shop.module)


def test_what_can_not_be_withdrawn_says_why(conn: Connection, shop: Shop) -> None:
    with pytest.raises(Invalid, match="Choose what is withdrawn") as refused:
        withdraw(conn, shop, None)
    assert refused.value.field == "product"
    with pytest.raises(Invalid, match="is no plan and no module") as refused:
        withdraw(conn, shop, shop.users)
    assert refused.value.field == "product"
    plan = ledgers.product(conn, shop.people, "plan", price="30")
    with pytest.raises(Conflict, match="is not booked today"):
        withdraw(conn, shop, plan)
    with pytest.raises(NotFound):
        withdraw(conn, shop, MISSING)


def test_nothing_is_withdrawn_in_a_closed_month(conn: Connection, shop: Shop) -> None:
    months.approve(conn, JUNE, today=JULY, user=shop.people[Role.FINANCE])
    with pytest.raises(Invalid, match="closed month"):
        withdraw(conn, shop, shop.module, today=LAST)


# ---------------------------------------------------------------------------------- who may, and what exists


WRITES: dict[str, Callable[..., Any]] = {
    "cancel": subscriptions.cancel,
    "take back": subscriptions.take_back,
    "withdraw": lambda conn, id_, **given: subscriptions.withdraw(conn, id_, 1, **given),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_viewer_ends_nothing(conn: Connection, shop: Shop, write: Callable[..., Any]) -> None:
    with pytest.raises(NotAllowed):
        write(conn, shop.customer, today=TODAY, user=shop.people[Role.VIEWER])


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_customer_that_does_not_exist_is_not_found(conn: Connection, shop: Shop, write: Callable[..., Any]) -> None:
    with pytest.raises(NotFound):
        write(conn, MISSING, today=TODAY, user=shop.people[Role.FINANCE])


# ---------------------------------------------------------------------------------- what a dialog says beforehand


def told(conn: Connection, shop: Shop, write: Callable[..., Any], *args: Any) -> list[tuple[str, str]]:
    found = effects.of(
        conn, shop.customer, lambda c: write(c, shop.customer, *args, today=TODAY, user=shop.sales), today=TODAY
    )
    return [(str(one.before), str(one.after)) for one in found]


@pytest.mark.row("G8", "S6", "N9")
def test_the_effect_on_the_charges_is_known_before_and_nothing_is_written(conn: Connection, shop: Shop) -> None:
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("bookings", "lifecycle", "audit_log"))
    rows = text(f"SELECT {counts}")
    before = conn.execute(rows).one()
    assert told(conn, shop, subscriptions.cancel) == [("540.00", "540.00"), ("540.00", "0.00")]
    assert told(conn, shop, subscriptions.withdraw, shop.module) == [("540.00", "519.00"), ("540.00", "510.00")]
    # 9 of 30 days of IPs and module; users are charged at their peak.
    assert told(conn, shop, customer_verbs.deactivate) == [("540.00", "197.00"), ("540.00", "0.00")]
    assert conn.execute(rows).one() == before
    with pytest.raises(Conflict):
        told(conn, shop, customer_verbs.activate)
    assert conn.execute(rows).one() == before
