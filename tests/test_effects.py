"""What another number of IPs would cost, said before it is booked."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import bookings, effects, prices
from lib.auth import Role
from lib.effects import Effect
from lib.errors import Invalid, NotAllowed
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 16)
JULY = date(2026, 7, 1)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(JUNE)


@pytest.fixture
def ips(conn: Connection, people: People) -> int:
    return ledgers.product(conn, people, "ips", price=ledgers.RANGES)


@pytest.fixture
def ada(conn: Connection, people: People, ips: int) -> int:
    """200 IPs since 1 June."""
    customer = ledgers.customer(conn, people)
    bookings.book(
        conn, customer, ips, effective_on=JUNE, quantity=200, internal=200, external=0, today=JUNE,
        user=people[Role.SALES],
    )  # fmt: skip
    return customer


def asked(
    conn: Connection, people: People, ada: int, ips: int, quantity: int, day: date = TODAY, **more: Any
) -> list[Effect]:
    given: dict[str, Any] = {"internal": quantity, "external": 0, "user": people[Role.SALES]} | more
    return effects.of_booking(conn, ada, ips, quantity=quantity, effective_on=day, today=TODAY, **given)


def charged(found: list[Effect]) -> list[tuple[str, str, str]]:
    return [(f"{one.month:%b}", str(one.before), str(one.after)) for one in found]


@pytest.mark.row("G6")
def test_an_increase_says_the_new_month_and_what_this_one_changes_by(
    conn: Connection, people: People, ada: int, ips: int
) -> None:
    found = asked(conn, people, ada, ips, 300)
    quotes = effects.whole_months(conn, ada, ips, quantities=[200, 300], month=JUNE)
    assert quotes is not None
    now, then = quotes
    assert (str(now.amount), str(then.amount)) == ("325.00", "460.00")
    assert [(line.first_unit, line.units, str(line.amount)) for line in then.lines] == [
        (1, 50, "100.00"), (51, 200, "300.00"), (251, 50, "60.00"),
    ]  # fmt: skip
    assert then.average is not None and round(then.average, 2) == Decimal("1.53")
    # 15 of 30 days: 162.50 + 230.00.
    assert charged(found) == [("Jun", "325.00", "392.50"), ("Jul", "325.00", "460.00")]
    assert found[0].difference == Decimal("67.50")
    assert charged(asked(conn, people, ada, ips, 300, JULY)) == [
        ("Jun", "325.00", "325.00"), ("Jul", "325.00", "460.00"),
    ]  # fmt: skip


@pytest.mark.row("G6")
def test_a_decrease_changes_nothing_this_month(conn: Connection, people: People, ada: int, ips: int) -> None:
    with pytest.raises(Invalid, match="takes effect with the next month"):
        asked(conn, people, ada, ips, 50)
    found = asked(conn, people, ada, ips, 50, JULY)
    assert charged(found) == [("Jun", "325.00", "325.00"), ("Jul", "325.00", "100.00")]


@pytest.mark.row("G6")
def test_moving_between_internal_and_external_costs_nothing(
    conn: Connection, people: People, ada: int, ips: int
) -> None:
    found = asked(conn, people, ada, ips, 200, internal=20, external=180)
    assert [one.difference for one in found] == [Decimal("0.00")] * 2


def test_it_is_what_booking_it_leaves_and_the_preview_writes_nothing(
    conn: Connection, people: People, ada: int, ips: int
) -> None:
    rows = text("SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM audit_log)")
    before = conn.execute(rows).one()
    told = asked(conn, people, ada, ips, 300)[0].after
    assert conn.execute(rows).one() == before
    ledgers.book(conn, people, ada, ips, 300, TODAY)
    assert ledgers.amounts(conn, ada)[ips] == told


def test_the_price_is_the_customers_own_of_the_month_it_takes_effect(
    conn: Connection, people: People, ada: int, ips: int
) -> None:
    own = ledgers.tiers((1, None, "0.5"))
    prices.set_individual_price(conn, ips, ada, valid_from=JULY, tiers=own, user=people[Role.SALES])
    found = [effects.whole_months(conn, ada, ips, quantities=[300], month=month) for month in (JUNE, JULY)]
    assert [str(quotes[0].amount) for quotes in found if quotes] == ["460.00", "150.00"]


def test_without_a_price_it_says_so_with_none(conn: Connection, people: People) -> None:
    users, bob = ledgers.product(conn, people, "users"), ledgers.customer(conn, people, "Bob AG")
    found = effects.of_booking(conn, bob, users, quantity=5, effective_on=TODAY, today=TODAY, user=people[Role.SALES])
    assert [one.after for one in found] == [None, None]


def test_pending_changes_are_asked_about(conn: Connection, people: People, ada: int, ips: int) -> None:
    bookings.book(
        conn, ada, ips, effective_on=JULY, quantity=50, internal=50, external=0, today=TODAY, user=people[Role.SALES]
    )
    with pytest.raises(Invalid, match="Later changes are pending"):
        asked(conn, people, ada, ips, 300)
    assert charged(asked(conn, people, ada, ips, 300, keep_pending=True))[1] == ("Jul", "100.00", "100.00")
    assert charged(asked(conn, people, ada, ips, 300, keep_pending=False))[1] == ("Jul", "100.00", "460.00")


def test_a_viewer_is_told_nothing(conn: Connection, people: People, ada: int, ips: int) -> None:
    with pytest.raises(NotAllowed):
        asked(conn, people, ada, ips, 300, user=people[Role.VIEWER])
