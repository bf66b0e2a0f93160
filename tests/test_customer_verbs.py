"""What is done to a customer: converted, ended, deactivated and back, and which days are charged then."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text, update
from sqlalchemy.exc import DBAPIError

from lib import audit, charges, customer_verbs, customers, lifecycles, months, tables
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import JUNE, People, days_that_count

TODAY = date(2026, 6, 10)
MAY, JULY = date(2026, 5, 1), date(2026, 7, 1)
MISSING = 4_000_000


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(MAY)


def add(
    conn: Connection, people: People, *, today: date = TODAY, billed: bool = True, ends_on: date | None = None
) -> int:
    """A customer of today; billed without an end unless told."""
    return ledgers.customer(conn, people, since=today, billed=billed, ends_on=ends_on)


# ---------------------------------------------------------------------------------- who may, and what exists


WRITES: dict[str, Callable[..., Any]] = {
    "convert": lambda conn, id_, user: customer_verbs.convert_to_billed(
        conn, id_, ends_on=None, today=TODAY, user=user
    ),
    "end": lambda conn, id_, user: customer_verbs.set_end_date(conn, id_, ends_on=None, today=TODAY, user=user),
    "deactivate": lambda conn, id_, user: customer_verbs.deactivate(conn, id_, today=TODAY, user=user),
    "activate": lambda conn, id_, user: customer_verbs.activate(conn, id_, today=TODAY, user=user),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_viewer_writes_nothing(conn: Connection, people: People, write: Callable[..., Any]) -> None:
    created = add(conn, people)
    with pytest.raises(NotAllowed):
        write(conn, created, people[Role.VIEWER])


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_customer_that_does_not_exist_is_not_found(
    conn: Connection, people: People, write: Callable[..., Any]
) -> None:
    with pytest.raises(NotFound):
        write(conn, MISSING, people[Role.SALES])


# ---------------------------------------------------------------------------------- converting


@pytest.mark.row("N6")
def test_a_converted_test_is_charged_from_that_day(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    later = TODAY + timedelta(days=5)
    customer_verbs.convert_to_billed(conn, created, ends_on=None, today=later, user=people[Role.SALES])
    customer = customers.customer(conn, created)
    # The end of the test is gone: it is asked anew.
    assert (customer.phase, customer.billed_from, customer.ends_on) == ("billed", later, None)
    assert days_that_count(conn, created) == [(later, None)]
    with pytest.raises(Conflict, match="already billed"):
        customer_verbs.convert_to_billed(conn, created, ends_on=None, today=later, user=people[Role.SALES])


@pytest.mark.row("N6")
def test_the_database_refuses_the_way_back_to_a_test(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(update(tables.customers).values(phase="test", billed_from=None))
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(update(tables.customers).values(billed_from=TODAY + timedelta(days=1)))
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(
            insert(tables.lifecycle).values(customer_id=created, effective_on=TODAY, billed=False, active=True)
        )


def test_conversion_asks_for_an_end_that_lies_ahead(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    with pytest.raises(Invalid) as refused:
        customer_verbs.convert_to_billed(
            conn, created, ends_on=TODAY - timedelta(days=1), today=TODAY, user=people[Role.SALES]
        )
    assert refused.value.field == "ends_on"


# ---------------------------------------------------------------------------------- end dates


def end(conn: Connection, people: People, customer_id: int, ends_on: date | None, today: date = TODAY) -> None:
    customer_verbs.set_end_date(conn, customer_id, ends_on=ends_on, today=today, user=people[Role.SALES])


@pytest.mark.row("N3")
def test_an_end_date_is_moved_and_emptied(conn: Connection, people: People) -> None:
    created = add(conn, people, ends_on=date(2026, 6, 20))
    end(conn, people, created, date(2026, 7, 31))
    assert days_that_count(conn, created) == [(TODAY, date(2026, 8, 1))]
    end(conn, people, created, None)
    assert days_that_count(conn, created) == [(TODAY, None)]
    end(conn, people, created, None)
    assert [entry.action for entry in audit.entries(conn, customer_id=created)[0]] == ["change end date"] * 2 + [
        "create"
    ]


@pytest.mark.row("N3")
def test_a_test_keeps_an_end_date(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    with pytest.raises(Invalid, match="needs an end date"):
        end(conn, people, created, None)
    end(conn, people, created, TODAY + customers.FOUR_WEEKS)
    assert days_that_count(conn, created) == []


@pytest.mark.row("N3")
def test_an_end_in_the_past_stops_the_charges_from_the_day_after(conn: Connection, people: People) -> None:
    created = add(conn, people, today=date(2026, 6, 2))
    end(conn, people, created, date(2026, 6, 5))
    assert days_that_count(conn, created) == [(date(2026, 6, 2), date(2026, 6, 6))]


@pytest.mark.row("N3")
def test_who_had_ended_is_charged_again_from_today_and_not_for_the_days_between(
    conn: Connection, people: People
) -> None:
    created = add(conn, people, today=date(2026, 6, 2), ends_on=date(2026, 6, 5))
    end(conn, people, created, date(2026, 6, 20))
    assert days_that_count(conn, created) == [(date(2026, 6, 2), date(2026, 6, 6)), (TODAY, date(2026, 6, 21))]


@pytest.mark.row("N3")
def test_an_end_date_is_not_moved_into_a_closed_month(conn: Connection, people: People) -> None:
    created = add(conn, people, today=date(2026, 5, 3))
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    with pytest.raises(Invalid, match="01 Jun 2026") as refused:
        end(conn, people, created, date(2026, 5, 20))
    assert refused.value.field == "ends_on"
    end(conn, people, created, JUNE)
    assert days_that_count(conn, created) == [(date(2026, 5, 3), date(2026, 6, 2))]


# ---------------------------------------------------------------------------------- deactivating


@pytest.mark.row("N9")
def test_deactivated_days_are_not_charged_and_everything_comes_back(conn: Connection, people: People) -> None:
    module = ledgers.product(conn, people, "module", price="30")
    created = ledgers.customer(conn, people, since=JUNE)
    ledgers.book(conn, people, created, module, 1, JUNE)
    before = customers.customer(conn, created)
    customer_verbs.deactivate(conn, created, reason="  does not pay ", today=date(2026, 6, 11), user=people[Role.SALES])
    stopped = customers.customer(conn, created)
    assert (stopped.active, stopped.deactivation_reason) == (False, "does not pay")
    assert str(ledgers.amounts(conn, created)[module]) == "10.00"
    customer_verbs.activate(conn, created, today=date(2026, 6, 21), user=people[Role.SALES])
    after = customers.customer(conn, created)
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 11)), (date(2026, 6, 21), None)]
    assert str(ledgers.amounts(conn, created)[module]) == "20.00"
    assert vars(after) | {"version": before.version} == vars(before)


@pytest.mark.row("N9")
def test_a_test_customer_is_deactivated_and_activated_too(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    customer_verbs.deactivate(conn, created, today=TODAY, user=people[Role.SALES])
    assert not customers.customer(conn, created).active
    customer_verbs.activate(conn, created, today=TODAY, user=people[Role.SALES])
    assert customers.customer(conn, created).active


def test_the_day_since_which_it_is_deactivated(conn: Connection, people: People) -> None:
    created, sales = add(conn, people, today=JUNE), people[Role.SALES]
    assert lifecycles.deactivated_from(conn, created) is None
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 3), user=sales)
    customer_verbs.activate(conn, created, today=date(2026, 6, 5), user=sales)
    assert lifecycles.deactivated_from(conn, created) is None
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 8), user=sales)
    customer_verbs.set_end_date(conn, created, ends_on=date(2026, 6, 30), today=date(2026, 6, 9), user=sales)
    assert lifecycles.deactivated_from(conn, created) == date(2026, 6, 8)
    customer_verbs.activate(conn, created, today=date(2026, 6, 10), user=sales)
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 12), user=sales)
    customer_verbs.activate(conn, created, today=date(2026, 6, 12), user=sales)
    assert lifecycles.deactivated_from(conn, created) is None


def test_the_second_click_changes_nothing(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(Conflict, match="already active"):
        customer_verbs.activate(conn, created, today=TODAY, user=people[Role.SALES])
    customer_verbs.deactivate(conn, created, today=TODAY, user=people[Role.SALES])
    with pytest.raises(Conflict, match="already deactivated"):
        customer_verbs.deactivate(conn, created, today=TODAY, user=people[Role.SALES])


@pytest.mark.row("N3", "N9")
def test_end_dates_and_deactivations_keep_each_others_history(conn: Connection, people: People) -> None:
    created = add(conn, people, today=JUNE)
    sales = people[Role.SALES]
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 5), user=sales)
    customer_verbs.activate(conn, created, today=date(2026, 6, 8), user=sales)
    # The end is entered later and lies after all of it: the pause of the days before stays.
    end(conn, people, created, date(2026, 6, 25), today=date(2026, 6, 12))
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 5)), (date(2026, 6, 8), date(2026, 6, 26))]
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 15), user=sales)
    end(conn, people, created, None, today=date(2026, 6, 16))
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 5)), (date(2026, 6, 8), date(2026, 6, 15))]
    customer_verbs.activate(conn, created, today=date(2026, 6, 28), user=sales)
    assert days_that_count(conn, created)[-1] == (date(2026, 6, 28), None)


def test_a_pause_inside_a_closed_month_stays_as_it_was_billed(conn: Connection, people: People) -> None:
    created = add(conn, people, today=MAY)
    customer_verbs.deactivate(conn, created, today=date(2026, 5, 10), user=people[Role.SALES])
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    customer_verbs.activate(conn, created, today=TODAY, user=people[Role.SALES])
    end(conn, people, created, date(2026, 6, 30))
    assert days_that_count(conn, created) == [(MAY, date(2026, 5, 10)), (TODAY, JULY)]
    with pytest.raises(DBAPIError, match="closed month"), conn.begin_nested():
        conn.execute(insert(tables.lifecycle).values(customer_id=created, effective_on=MAY, billed=True, active=True))


def test_the_ready_charges_follow_each_change(conn: Connection, people: People) -> None:
    module = ledgers.product(conn, people, "module", price="30")
    created = ledgers.customer(conn, people, since=JUNE)
    ledgers.book(conn, people, created, module, 1, JUNE)
    for month in (MAY, JUNE):
        charges.ensure_rated(conn, month)

    def charged() -> str:
        return str(conn.scalar(text("SELECT amount FROM statements WHERE month = :june"), {"june": JUNE}))

    assert charged() == "30.00"
    end(conn, people, created, date(2026, 6, 15))
    assert charged() == "15.00"
    customer_verbs.deactivate(conn, created, today=date(2026, 6, 6), user=people[Role.SALES])
    assert charged() == "5.00"


def test_a_reason_of_10000_characters_is_refused(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(Invalid) as refused:
        customer_verbs.deactivate(conn, created, reason="x" * 10_000, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == "reason"
