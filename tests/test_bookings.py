"""The ledger: what may be booked when, what is pending, and the way back."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import audit, bookings, charges, customers, months, products
from lib.auth import Role
from lib.bookings import Holding
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 10)
MAY, JULY = date(2026, 5, 1), date(2026, 7, 1)
MISSING = 4_000_000


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(MAY)


@pytest.fixture
def customer(conn: Connection, people: People) -> int:
    return ledgers.customer(conn, people, since=MAY)


@pytest.fixture
def users_product(conn: Connection, people: People) -> int:
    return ledgers.product(conn, people, "users", price="5", month=MAY)


@pytest.fixture
def ips(conn: Connection, people: People) -> int:
    return ledgers.product(conn, people, "ips", price=ledgers.RANGES, month=MAY)


@pytest.fixture
def module(conn: Connection, people: People) -> int:
    return ledgers.product(conn, people, "module", price="30", month=MAY)


def book(conn: Connection, people: People, customer_id: int, product_id: int, quantity: Any, **given: Any) -> None:
    options = {"effective_on": TODAY, "today": TODAY, "user": people[Role.SALES]} | given
    bookings.book(conn, customer_id, product_id, quantity=quantity, **options)


def book_ips(
    conn: Connection, people: People, customer_id: int, product_id: int, inside: int, outside: int, **given: Any
) -> None:
    book(conn, people, customer_id, product_id, inside + outside, internal=inside, external=outside, **given)


def quantity_on(conn: Connection, customer_id: int, product_id: int, day: date) -> int:
    return bookings.holdings(conn, customer_id, on=day).get(product_id, bookings.NOTHING).quantity


# ---------------------------------------------------------------------------------- users and switches


@pytest.mark.row("N4", "N8")
def test_users_change_on_any_day_of_an_open_month(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    book(conn, people, customer, users_product, 10, effective_on=date(2026, 5, 20))
    book(conn, people, customer, users_product, 25)
    book(conn, people, customer, users_product, 5, effective_on=date(2026, 6, 15))
    days = [date(2026, 5, 19), date(2026, 5, 20), TODAY, date(2026, 6, 14), date(2026, 6, 15)]
    assert [quantity_on(conn, customer, users_product, day) for day in days] == [0, 10, 25, 25, 5]
    assert [(one.effective_on.day, one.quantity) for one in bookings.standing(conn, customer)] == [
        (15, 5),
        (10, 25),
        (20, 10),
    ]
    assert [one.quantity for one in bookings.pending(conn, customer, today=TODAY)] == [5]
    assert audit.entries(conn, customer_id=customer)[0][0].changes == {"Users": [25, 5], "from": [None, "2026-06-15"]}


def test_of_two_on_one_day_the_later_recorded_counts(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    book(conn, people, customer, users_product, 10)
    book(conn, people, customer, users_product, 12)
    assert quantity_on(conn, customer, users_product, TODAY) == 12
    assert conn.scalar(text("SELECT count(*) FROM bookings")) == 2


@pytest.mark.row("N4", "S4")
def test_a_module_has_a_first_and_a_last_day(conn: Connection, people: People, customer: int, module: int) -> None:
    book(conn, people, customer, module, 1, ends_on=date(2026, 6, 20))
    days = [TODAY - timedelta(days=1), TODAY, date(2026, 6, 20), date(2026, 6, 21)]
    assert [quantity_on(conn, customer, module, day) for day in days] == [0, 1, 1, 0]
    # 30.00 × 11/30
    assert str(ledgers.amounts(conn, customer)[module]) == "11.00"


@pytest.mark.row("N4")
def test_the_licence_bounds_the_users_unless_it_lets_more_in(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    limited = {"max_users": "20", "users_beyond_max": False}
    customers.edit(conn, customer, version=1, changes=limited, today=TODAY, user=people[Role.SALES])
    book(conn, people, customer, users_product, 20)
    with pytest.raises(Invalid, match="allows 20 users at most") as refused:
        book(conn, people, customer, users_product, 21)
    assert refused.value.field == "quantity"
    customers.edit(conn, customer, version=2, changes={"users_beyond_max": True}, today=TODAY, user=people[Role.SALES])
    book(conn, people, customer, users_product, 21)
    assert quantity_on(conn, customer, users_product, TODAY) == 21


@pytest.mark.row("N4")
def test_a_maximum_that_is_lowered_lets_users_go_and_none_come(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    book(conn, people, customer, users_product, 30)
    book(conn, people, customer, users_product, 10, effective_on=JULY)
    limited = {"max_users": "20", "users_beyond_max": False}
    customers.edit(conn, customer, version=1, changes=limited, today=TODAY, user=people[Role.SALES])
    book(conn, people, customer, users_product, 28, keep_pending=True)
    with pytest.raises(Invalid, match="allows 20 users at most"):
        book(conn, people, customer, users_product, 29, keep_pending=True)
    # Fewer than today, and more than what would be left in July.
    with pytest.raises(Invalid, match="allows 20 users at most"):
        book(conn, people, customer, users_product, 25, keep_pending=False)
    book(conn, people, customer, users_product, 20, keep_pending=False)
    assert quantity_on(conn, customer, users_product, JULY) == 20


def test_what_changes_nothing_is_refused(conn: Connection, people: People, customer: int, module: int) -> None:
    with pytest.raises(Invalid, match="already at 0"):
        book(conn, people, customer, module, 0)
    book(conn, people, customer, module, 1)
    with pytest.raises(Invalid, match="already at 1") as refused:
        book(conn, people, customer, module, 1)
    assert refused.value.field == "quantity"


@pytest.mark.parametrize("quantity", [2, 100])
def test_a_module_is_on_or_off(conn: Connection, people: People, customer: int, module: int, quantity: int) -> None:
    with pytest.raises(Invalid, match="on or off"):
        book(conn, people, customer, module, quantity)


def test_an_end_before_the_start_is_refused(conn: Connection, people: People, customer: int, module: int) -> None:
    for given in (
        {"quantity": 1, "ends_on": TODAY - timedelta(days=1)},
        {"quantity": 0, "ends_on": TODAY},
        {"quantity": 1, "ends_on": date.max},
    ):
        with pytest.raises(Invalid) as refused:
            book(conn, people, customer, module, **given)
        assert refused.value.field == "ends_on"


def test_what_is_withdrawn_from_sale_is_not_booked_but_can_end(
    conn: Connection, people: People, customer: int, module: int
) -> None:
    book(conn, people, customer, module, 1, effective_on=JUNE)
    products.edit(conn, module, version=1, changes={"on_sale": False}, user=people[Role.ADMIN])
    book(conn, people, customer, module, 0)
    with pytest.raises(Invalid, match="withdrawn from sale"):
        book(conn, people, customer, module, 1, effective_on=date(2026, 6, 20))


def test_two_years_ahead_is_the_end_of_the_calendar(
    conn: Connection, people: People, customer: int, module: int
) -> None:
    with pytest.raises(Invalid, match="two years ahead") as refused:
        book(conn, people, customer, module, 1, effective_on=date(2028, 6, 2))
    assert refused.value.field == "effective_on"


# ---------------------------------------------------------------------------------- plans


@pytest.mark.row("S4")
def test_one_plan_at_a_time(conn: Connection, people: People, customer: int) -> None:
    small = ledgers.product(conn, people, "plan", code="small", price="10")
    large = ledgers.product(conn, people, "plan", code="large", price="20")
    book(conn, people, customer, small, 1)
    with pytest.raises(Conflict, match="one plan at a time"), conn.begin_nested():
        book(conn, people, customer, large, 1, effective_on=date(2026, 6, 20))
    book(conn, people, customer, small, 0, effective_on=date(2026, 6, 20))
    # The day on which one ends is the first of the next: they don't overlap.
    book(conn, people, customer, large, 1, effective_on=date(2026, 6, 20))
    assert quantity_on(conn, customer, small, date(2026, 6, 20)) == 0
    assert quantity_on(conn, customer, large, date(2026, 6, 20)) == 1


def test_two_plans_of_different_customers_do_not_meet(conn: Connection, people: People, customer: int) -> None:
    small = ledgers.product(conn, people, "plan", code="small")
    large = ledgers.product(conn, people, "plan", code="large")
    other = ledgers.customer(conn, people, "Bea GmbH")
    book(conn, people, customer, small, 1)
    book(conn, people, other, large, 1)
    assert quantity_on(conn, other, large, TODAY) == 1


# ---------------------------------------------------------------------------------- IPs


@pytest.mark.row("G6")
def test_more_ips_take_effect_at_once_or_with_the_next_month(
    conn: Connection, people: People, customer: int, ips: int
) -> None:
    book_ips(conn, people, customer, ips, 100, 50)
    assert bookings.holdings(conn, customer, on=TODAY)[ips] == Holding(150, 100, 50)
    book_ips(conn, people, customer, ips, 200, 50, effective_on=JULY)
    assert [quantity_on(conn, customer, ips, day) for day in (TODAY, JULY)] == [150, 250]
    with pytest.raises(Invalid, match="today or on 01 Jul 2026") as refused:
        book_ips(conn, people, customer, ips, 300, 0, effective_on=date(2026, 6, 20), keep_pending=True)
    assert refused.value.field == "effective_on"


@pytest.mark.row("G6")
def test_fewer_ips_only_with_the_next_month(conn: Connection, people: People, customer: int, ips: int) -> None:
    book_ips(conn, people, customer, ips, 100, 50, effective_on=TODAY)
    with pytest.raises(Invalid, match="01 Jul 2026") as refused:
        book_ips(conn, people, customer, ips, 100, 0)
    assert refused.value.field == "effective_on"
    book_ips(conn, people, customer, ips, 100, 0, effective_on=JULY)
    assert [quantity_on(conn, customer, ips, day) for day in (date(2026, 6, 30), JULY)] == [150, 100]


@pytest.mark.row("G6")
def test_a_pending_decrease_is_seen_changed_and_taken_back(
    conn: Connection, people: People, customer: int, ips: int
) -> None:
    book_ips(conn, people, customer, ips, 150, 0)
    book_ips(conn, people, customer, ips, 100, 0, effective_on=JULY)
    assert [one.quantity for one in bookings.pending(conn, customer, today=TODAY)] == [100]
    book_ips(conn, people, customer, ips, 80, 0, effective_on=JULY)
    pending = bookings.pending(conn, customer, today=TODAY)
    assert [one.quantity for one in pending] == [80]
    bookings.take_back(conn, pending[0].id, today=TODAY, user=people[Role.SALES])
    # The one that it replaced doesn't stand again.
    assert bookings.pending(conn, customer, today=TODAY) == []
    assert quantity_on(conn, customer, ips, JULY) == 150


@pytest.mark.row("G6")
def test_moving_ips_between_internal_and_external_is_at_once_and_costs_nothing(
    conn: Connection, people: People, customer: int, ips: int
) -> None:
    book_ips(conn, people, customer, ips, 300, 0, today=JUNE, effective_on=JUNE)
    before = ledgers.amounts(conn, customer)
    book_ips(conn, people, customer, ips, 100, 200)
    assert bookings.holdings(conn, customer, on=TODAY)[ips] == Holding(300, 100, 200)
    assert ledgers.amounts(conn, customer) == before
    assert str(before[ips]) == "460.00"


@pytest.mark.row("G6")
def test_the_split_adds_up(conn: Connection, people: People, customer: int, ips: int) -> None:
    with pytest.raises(Invalid, match="add up to 90, not to 100") as refused:
        book(conn, people, customer, ips, 100, internal=50, external=40)
    assert refused.value.field == "internal"
    with pytest.raises(Invalid):
        book(conn, people, customer, ips, 100, internal=150)


# ---------------------------------------------------------------------------------- pending changes


@pytest.mark.row("G6")
@pytest.mark.parametrize(("keep", "then"), [(True, 3), (False, 20)])
def test_booking_over_later_changes_asks_whether_they_stay(
    conn: Connection, people: People, customer: int, users_product: int, keep: bool, then: int
) -> None:
    book(conn, people, customer, users_product, 10, effective_on=JUNE)
    book(conn, people, customer, users_product, 3, effective_on=date(2026, 6, 25))
    with pytest.raises(Invalid, match="stay or are taken back") as refused:
        book(conn, people, customer, users_product, 20)
    assert refused.value.field == "keep_pending"
    book(conn, people, customer, users_product, 20, keep_pending=keep)
    assert quantity_on(conn, customer, users_product, TODAY) == 20
    assert quantity_on(conn, customer, users_product, date(2026, 6, 25)) == then


def test_only_what_is_not_in_effect_is_taken_back(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    book(conn, people, customer, users_product, 10)
    book(conn, people, customer, users_product, 20, effective_on=TODAY + timedelta(days=1))
    later, now = bookings.standing(conn, customer)
    with pytest.raises(Conflict, match="already in effect"):
        bookings.take_back(conn, now.id, today=TODAY, user=people[Role.SALES])
    bookings.take_back(conn, later.id, today=TODAY, user=people[Role.SALES])
    with pytest.raises(Conflict, match="already taken back"):
        bookings.take_back(conn, later.id, today=TODAY, user=people[Role.SALES])
    void = conn.scalar(text("SELECT id FROM bookings WHERE voids IS NOT NULL"))
    for missing in (MISSING, void):
        with pytest.raises(NotFound):
            bookings.take_back(conn, missing, today=TODAY, user=people[Role.SALES])


# ---------------------------------------------------------------------------------- refusals


def test_a_closed_month_is_refused_and_the_first_open_one_named(
    conn: Connection, people: People, customer: int, users_product: int, module: int
) -> None:
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    for product_id in (users_product, module):
        with pytest.raises(Invalid, match="first open month is June 2026") as refused:
            book(conn, people, customer, product_id, 1, effective_on=date(2026, 5, 31))
        assert refused.value.field == "effective_on"
    book(conn, people, customer, users_product, 1, effective_on=JUNE)


def test_the_database_refuses_a_closed_month_and_any_edit(
    conn: Connection, people: People, customer: int, users_product: int
) -> None:
    book(conn, people, customer, users_product, 1, effective_on=MAY)
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    late = """INSERT INTO bookings (customer_id, product_id, kind, effective_on, quantity)
              VALUES (:customer, :product, 'users', '2026-05-31', 7)"""
    with pytest.raises(DBAPIError, match="closed month"), conn.begin_nested():
        conn.execute(text(late), {"customer": customer, "product": users_product})
    for change in ("UPDATE bookings SET quantity = 2", "DELETE FROM bookings"):
        with pytest.raises(DBAPIError, match="never changed"), conn.begin_nested():
            conn.execute(text(change))


def test_a_double_click_books_once(conn: Connection, people: People, customer: int, users_product: int) -> None:
    key = uuid4()
    book(conn, people, customer, users_product, 10, request_key=key)
    with pytest.raises(Conflict, match="already saved"), conn.begin_nested():
        book(conn, people, customer, users_product, 10, request_key=key)
    assert conn.scalar(text("SELECT count(*) FROM bookings")) == 1


def test_a_viewer_books_nothing(conn: Connection, people: People, customer: int, users_product: int) -> None:
    book(conn, people, customer, users_product, 10, effective_on=TODAY + timedelta(days=1))
    pending = bookings.pending(conn, customer, today=TODAY)[0]
    with pytest.raises(NotAllowed):
        book(conn, people, customer, users_product, 11, user=people[Role.VIEWER])
    with pytest.raises(NotAllowed):
        bookings.take_back(conn, pending.id, today=TODAY, user=people[Role.VIEWER])


def test_what_does_not_exist_is_not_found(conn: Connection, people: People, customer: int, users_product: int) -> None:
    with pytest.raises(NotFound, match="customer"):
        book(conn, people, MISSING, users_product, 1)
    with pytest.raises(NotFound, match="product"):
        book(conn, people, customer, MISSING, 1)


def test_adjustments_are_not_booked(conn: Connection, people: People, customer: int) -> None:
    product = products.product_of_kind(conn, "adjustment")
    assert product is not None
    with pytest.raises(Invalid, match="not booked"):
        book(conn, people, customer, product.id, 1)


@pytest.mark.parametrize(
    "typed", [-1, 10_000_001, 10**30, "many", "\x00", "x" * 10_000, "=1+1", "<b>1</b>", None, 1.5, ""]
)
def test_a_quantity_that_is_none_is_refused_at_its_field(
    conn: Connection, people: People, customer: int, users_product: int, typed: object
) -> None:
    with pytest.raises(Invalid) as refused:
        book(conn, people, customer, users_product, typed)
    assert refused.value.field == "quantity"


@pytest.mark.parametrize("typed", [-1, 10**30, "many", "\x00"])
@pytest.mark.parametrize("field", ["internal", "external"])
def test_a_split_that_is_none_is_refused_at_its_field(
    conn: Connection, people: People, customer: int, ips: int, field: str, typed: object
) -> None:
    with pytest.raises(Invalid) as refused:
        book(conn, people, customer, ips, 10, **{field: typed})
    assert refused.value.field in (field, "internal", "external")


# ---------------------------------------------------------------------------------- charges follow


def test_a_test_customer_books_and_is_not_charged(conn: Connection, people: People, users_product: int) -> None:
    test = ledgers.customer(conn, people, billed=False, ends_on=date(2026, 7, 31))
    book(conn, people, test, users_product, 10)
    assert quantity_on(conn, test, users_product, TODAY) == 10
    assert ledgers.amounts(conn, test) == {}


def test_the_ready_charges_follow_a_booking_and_its_way_back(
    conn: Connection, people: People, customer: int, module: int
) -> None:
    for month in (MAY, JUNE):
        charges.ensure_rated(conn, month)

    def charged() -> str:
        return str(conn.scalar(text("SELECT sum(amount) FROM statements WHERE month = :june"), {"june": JUNE}))

    assert charged() == "None"
    book(conn, people, customer, module, 1, effective_on=date(2026, 6, 16))
    assert charged() == "15.00"
    bookings.take_back(conn, bookings.pending(conn, customer, today=TODAY)[0].id, today=TODAY, user=people[Role.SALES])
    assert charged() == "None"
