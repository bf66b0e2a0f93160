"""The timeline of a customer: every change with what it does to a whole month, in one statement."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, event

from lib import bookings, prices, quotes, subscriptions, timelines
from lib.auth import Role
from lib.bookings import Holding
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 16)
JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(JUNE)


@pytest.fixture
def ips(conn: Connection, people: People) -> int:
    return ledgers.product(conn, people, "ips", price=ledgers.RANGES)


def book_ips(
    conn: Connection, people: People, customer: int, ips: int, inside: int, outside: int, day: date, *, today: date
) -> None:
    bookings.book(
        conn, customer, ips, effective_on=day, quantity=inside + outside, internal=inside, external=outside,
        today=today, user=people[Role.SALES],
    )  # fmt: skip


def told(conn: Connection, customer: int) -> list[tuple[str, int, int, str, str, str]]:
    return [
        (
            f"{one.effective_on:%d.%m.}",
            one.before.quantity,
            one.after.quantity,
            str(one.price_before),
            str(one.price_after),
            one.state,
        )
        for one in timelines.changes(conn, customer, today=TODAY)
    ]


@pytest.mark.row("G6")
def test_past_current_and_pending_changes_with_their_price_of_a_whole_month(
    conn: Connection, people: People, ips: int
) -> None:
    ada = ledgers.customer(conn, people)
    book_ips(conn, people, ada, ips, 100, 100, JUNE, today=JUNE)
    book_ips(conn, people, ada, ips, 200, 100, TODAY, today=TODAY)
    book_ips(conn, people, ada, ips, 50, 0, JULY, today=TODAY)
    module = ledgers.product(conn, people, "module", price="30")
    ledgers.book(conn, people, ada, module, 1, date(2026, 6, 10))
    assert told(conn, ada) == [
        ("01.07.", 300, 50, "460.00", "100.00", "planned"),
        ("16.06.", 200, 300, "325.00", "460.00", "in_force"),
        ("10.06.", 0, 1, "0.00", "30.00", "in_force"),
        ("01.06.", 0, 200, "0.00", "325.00", "over"),
    ]
    first = timelines.changes(conn, ada, today=TODAY)[0]
    assert (first.before, first.after) == (Holding(300, 200, 100), Holding(50, 50, 0))
    assert (first.recorded_by, first.difference) == ("Samuel", Decimal("-360.00"))


@pytest.mark.row("G6")
def test_what_was_taken_back_is_no_change(conn: Connection, people: People, ips: int) -> None:
    ada = ledgers.customer(conn, people)
    book_ips(conn, people, ada, ips, 300, 0, JUNE, today=JUNE)
    book_ips(conn, people, ada, ips, 50, 0, JULY, today=TODAY)
    pending = timelines.changes(conn, ada, today=TODAY)[0]
    bookings.take_back(conn, pending.id, today=TODAY, user=people[Role.SALES])
    assert told(conn, ada) == [("01.06.", 0, 300, "0.00", "460.00", "in_force")]


def test_the_price_is_that_of_the_customer_in_the_month_of_the_change(
    conn: Connection, people: People, ips: int
) -> None:
    ada, bob = ledgers.customer(conn, people), ledgers.customer(conn, people, "Bob AG")
    seller = people[Role.SALES]
    prices.set_individual_price(conn, ips, ada, valid_from=JULY, tiers=ledgers.tiers((1, None, "0.5")), user=seller)
    for customer in (ada, bob):
        book_ips(conn, people, customer, ips, 100, 0, JUNE, today=JUNE)
        book_ips(conn, people, customer, ips, 200, 0, JULY, today=TODAY)
    assert [row[3:5] for row in told(conn, ada)] == [("50.00", "100.00"), ("0.00", "175.00")]
    assert [row[3:5] for row in told(conn, bob)] == [("175.00", "325.00"), ("0.00", "175.00")]


def test_without_a_price_there_is_no_effect(conn: Connection, people: People) -> None:
    users, ada = ledgers.product(conn, people, "users"), ledgers.customer(conn, people)
    ledgers.book(conn, people, ada, users, 5, JUNE)
    [only] = timelines.changes(conn, ada, today=TODAY)
    assert (only.price_before, only.price_after, only.difference) == (Decimal("0.00"), None, None)


@pytest.mark.row("G8")
def test_a_cancelled_subscription_is_seen_with_what_it_saves(conn: Connection, people: People, ips: int) -> None:
    ada = ledgers.customer(conn, people)
    book_ips(conn, people, ada, ips, 300, 0, JUNE, today=JUNE)
    subscriptions.cancel(conn, ada, today=TODAY, user=people[Role.SALES])
    end = timelines.changes(conn, ada, today=TODAY)[0]
    assert (end.effective_on, end.after.quantity, end.difference, end.state) == (JULY, 0, Decimal("-460.00"), "planned")
    assert end.cancellation is not None


def test_one_statement_however_many_changes(conn: Connection, people: People) -> None:
    users, ada = ledgers.product(conn, people, "users", price="5"), ledgers.customer(conn, people)
    for quantity in range(1, 15):
        ledgers.book(conn, people, ada, users, quantity, date(2026, 6, quantity))
    seen: list[str] = []
    event.listen(conn, "before_cursor_execute", lambda *given: seen.append(given[2]))
    found = timelines.changes(conn, ada, today=TODAY)
    assert len(seen) == 1
    assert [one.price_after for one in found] == [Decimal(5 * quantity) for quantity in range(14, 0, -1)]
    # And they are what the price calculator says.
    asked = quotes.quotes(conn, users, quantities=range(14, 0, -1), month=JUNE)
    assert [one.price_after for one in found] == [quote.amount for quote in asked]
