"""The rating statement: worked examples from the billing rules, then random ledgers against the oracle."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from lib import adjustments, billing, bookings, charges, customer_verbs, prices
from lib.auth import Role
from lib.prices import Tier
from tests import oracle
from tests.ledgers import JUNE, RANGES, People, amounts, book, customer, product, tiers
from tests.random_ledgers import (
    APRIL,
    AUGUST,
    JULY,
    MONTHS,
    PRODUCTS,
    as_oracle,
    insert,
    ledgers_of_companies,
    store,
    tier_lists,
)


@pytest.fixture
def people(set_up: Any) -> People:
    found: People = set_up(APRIL)
    return found


# ---------------------------------------------------------------- how a month is measured


def test_ips_that_grow_in_mid_month(conn: Connection, people: People) -> None:
    """200 → 300 IPs on 16 June: 162.50 + 230.00, the difference of totals by days."""
    ips, ada = product(conn, people, "ips", price=RANGES), customer(conn, people)
    book(conn, people, ada, ips, 200, JUNE)
    book(conn, people, ada, ips, 300, date(2026, 6, 16))
    lines = billing.lines(conn, months=[JUNE], customers=[ada])
    assert [(line.days, line.quantity, line.amount) for line in lines] == [
        (15, 200, Decimal("162.50")),
        (15, 300, Decimal("230.00")),
    ]
    assert all(line.prorated and line.unit_price is None for line in lines)
    assert amounts(conn, ada)[ips] == Decimal("392.50")


def test_ips_of_a_whole_month_print_a_line_per_range(conn: Connection, people: People) -> None:
    ips, ada = product(conn, people, "ips", price=RANGES), customer(conn, people)
    book(conn, people, ada, ips, 300, JUNE)
    lines = billing.lines(conn, months=[JUNE], customers=[ada])
    assert [(line.first_unit, line.units, line.unit_price, line.amount) for line in lines] == [
        (1, 50, Decimal(2), Decimal("100.00")),
        (51, 200, Decimal("1.5"), Decimal("300.00")),
        (251, 50, Decimal("1.2"), Decimal("60.00")),
    ]


def test_a_module_from_the_10th_of_august(conn: Connection, people: People) -> None:
    module, ada = product(conn, people, "module", price="50"), customer(conn, people)
    book(conn, people, ada, module, 1, date(2026, 8, 10))
    assert amounts(conn, ada, AUGUST) == {module: Decimal("35.48")}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("peak", "70.00"),  # 7 were the most
        ("full", "70.00"),
        ("end", "50.00"),  # 5 on the last day
        ("daily", "53.33"),  # 30 × 10/30 + 70 × 10/30 + 50 × 10/30 = 10.00 + 23.33 + 16.67 … each line rounded
    ],
)
def test_the_four_measures(conn: Connection, people: People, measure: str, expected: str) -> None:
    users = product(conn, people, "users", measure=measure, price="10")
    ada = customer(conn, people)
    for quantity, day in ((3, 1), (7, 11), (5, 21)):
        book(conn, people, ada, users, quantity, date(2026, 6, day))
    if measure == "daily":
        expected = str(Decimal("10.00") + Decimal("23.33") + Decimal("16.67"))
    assert amounts(conn, ada) == {users: Decimal(expected)}


def test_end_counts_nothing_that_was_gone_on_the_last_day(conn: Connection, people: People) -> None:
    users, ada = product(conn, people, "users", measure="end", price="10"), customer(conn, people)
    book(conn, people, ada, users, 4, JUNE)
    book(conn, people, ada, users, 0, date(2026, 6, 20))
    assert amounts(conn, ada) == {}
    assert rated(conn, [JUNE])[ada, users, JUNE] == oracle.Charge(0, 0, "2026-06-01 +4; 2026-06-20 -4", Decimal("0.00"))


def test_full_charges_a_single_day_whole(conn: Connection, people: People) -> None:
    module, ada = product(conn, people, "module", measure="full", price="50"), customer(conn, people)
    book(conn, people, ada, module, 1, date(2026, 6, 30), until=date(2026, 6, 30))
    assert amounts(conn, ada) == {module: Decimal("50.00")}


def test_billed_in_mid_month(conn: Connection, people: People) -> None:
    """Row N6: peak charges the whole month of the conversion, daily from that day."""
    users = product(conn, people, "users", price="10")
    module = product(conn, people, "module", price="30")
    ada = customer(conn, people, billed=False, ends_on=date(2026, 7, 31))
    book(conn, people, ada, users, 4, JUNE)
    book(conn, people, ada, module, 1, JUNE)
    assert amounts(conn, ada) == {}  # a test is never charged
    customer_verbs.convert_to_billed(conn, ada, ends_on=None, today=date(2026, 6, 16), user=people[Role.SALES])
    assert amounts(conn, ada) == {users: Decimal("40.00"), module: Decimal("15.00")}


def test_deactivated_days_are_not_charged(conn: Connection, people: People) -> None:
    """Row N9: bookings go on taking effect by date meanwhile."""
    module = product(conn, people, "module", price="30")
    users = product(conn, people, "users", price="10")
    ada = customer(conn, people)
    book(conn, people, ada, module, 1, JUNE)
    book(conn, people, ada, users, 2, JUNE)
    customer_verbs.deactivate(conn, ada, today=date(2026, 6, 11), user=people[Role.SALES])
    book(conn, people, ada, users, 9, date(2026, 6, 15))
    book(conn, people, ada, users, 2, date(2026, 6, 19))
    customer_verbs.activate(conn, ada, today=date(2026, 6, 21), user=people[Role.SALES])
    # 30 × 10/30 twice; 9 users stood on days that don't count.
    assert amounts(conn, ada) == {module: Decimal("20.00"), users: Decimal("20.00")}
    assert rated(conn, [JUNE])[ada, users, JUNE].changes == "2026-06-01 +2; 2026-06-11 -2; 2026-06-21 +2"


def test_the_end_date_is_the_last_charged_day(conn: Connection, people: People) -> None:
    module = product(conn, people, "module", price="30")
    ada = customer(conn, people, ends_on=date(2026, 6, 10))
    book(conn, people, ada, module, 1, JUNE)
    assert amounts(conn, ada) == {module: Decimal("10.00")}
    assert amounts(conn, ada, JULY) == {}


# ---------------------------------------------------------------- prices


def test_an_individual_price_wins_and_returns_to_list(conn: Connection, people: People) -> None:
    users = product(conn, people, "users", price="10")
    ada, bob = customer(conn, people), customer(conn, people, "Bob AG")
    for each in (ada, bob):
        book(conn, people, each, users, 2, JUNE)
    own: dict[str, Any] = {"user": people[Role.SALES]}
    prices.set_individual_price(conn, users, ada, valid_from=JUNE, tiers=tiers((1, None, "7.5")), **own)
    prices.set_individual_price(conn, users, ada, valid_from=AUGUST, tiers=[], **own)
    assert [amounts(conn, ada, month)[users] for month in (JUNE, JULY, AUGUST)] == [
        Decimal("15.00"),
        Decimal("15.00"),
        Decimal("20.00"),
    ]
    assert amounts(conn, bob)[users] == Decimal("20.00")


def test_a_price_rules_from_its_month_on(conn: Connection, people: People) -> None:
    users, ada = product(conn, people, "users", price="10"), customer(conn, people)
    book(conn, people, ada, users, 2, JUNE)
    prices.set_list_price(conn, users, valid_from=JULY, tiers=tiers((1, None, "11")), user=people[Role.SALES])
    assert (amounts(conn, ada)[users], amounts(conn, ada, JULY)[users]) == (Decimal(20), Decimal(22))


@pytest.mark.parametrize("measure", ["peak", "daily", "end", "full"])
def test_without_a_price_there_is_no_amount(conn: Connection, people: People, measure: str) -> None:
    """Never 0.00: it blocks the customer's charges until a price is set."""
    users, module = product(conn, people, "users", measure=measure), product(conn, people, "module", price="30")
    ada = customer(conn, people)
    book(conn, people, ada, users, 2, date(2026, 6, 5))
    book(conn, people, ada, module, 1, JUNE)
    assert rated(conn, [JUNE])[ada, users, JUNE].amount is None
    charges.ensure_rated(conn, JUNE)
    assert conn.scalar(text("SELECT amount IS NULL FROM statements WHERE customer_id = :id"), {"id": ada})
    prices.set_list_price(conn, users, valid_from=JUNE, tiers=tiers((1, None, "0")), user=people[Role.SALES])
    assert conn.scalar(text("SELECT amount FROM statements WHERE customer_id = :id"), {"id": ada}) == Decimal("30.00")


def test_a_line_is_rounded_once_and_a_charge_is_their_sum(conn: Connection, people: People) -> None:
    """Ten lines of 0.125: each is 0.13 (half away from zero), the charge 1.30."""
    ranges = [(unit, unit if unit < 10 else None, "0.125") for unit in range(1, 11)]
    users, ada = product(conn, people, "users", price=ranges), customer(conn, people)
    book(conn, people, ada, users, 10, JUNE)
    lines = billing.lines(conn, months=[JUNE], customers=[ada])
    assert [line.amount for line in lines] == [Decimal("0.13")] * 10
    assert rated(conn, [JUNE])[ada, users, JUNE].amount == Decimal("1.30")


def test_adjustments_are_charges_of_their_month(conn: Connection, people: People) -> None:
    ada = customer(conn, people)
    finance = people[Role.FINANCE]
    for value in ("-12.34", "100"):
        adjustments.add(
            conn, ada, text="Set-up", amount=Decimal(value), month_meant=JUNE, reason="agreed", month=JUNE, user=finance
        )
    charged = conn.scalar(
        text("SELECT amount FROM charges h JOIN products p ON p.id = h.product_id WHERE p.kind = 'adjustment'")
    )
    if charged is None:  # the month was not rated yet
        charges.ensure_rated(conn, JUNE)
        charged = conn.scalar(text("SELECT sum(amount) FROM charges WHERE month = :month"), {"month": JUNE})
    assert charged == Decimal("87.66")


# ---------------------------------------------------------------- properties


def test_moving_ips_between_internal_and_external_costs_nothing(conn: Connection, people: People) -> None:
    ips, ada = product(conn, people, "ips", price=RANGES), customer(conn, people)
    seller: dict[str, Any] = {"user": people[Role.SALES], "quantity": 300}
    bookings.book(conn, ada, ips, effective_on=JUNE, internal=100, external=200, today=JUNE, **seller)
    before = rated(conn, [JUNE])
    mid = date(2026, 6, 16)
    bookings.book(conn, ada, ips, effective_on=mid, internal=250, external=50, today=mid, **seller)
    assert rated(conn, [JUNE]) == before
    assert before[ada, ips, JUNE].amount == Decimal("460.00")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offered=tier_lists,
    quantity=st.integers(1, 300),
    measure=st.sampled_from(["peak", "daily", "end", "full"]),
    moves=st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=4),
)
def test_however_often_ips_are_moved_the_month_costs_the_same(
    conn: Connection,
    people: People,
    offered: list[Tier],
    quantity: int,
    measure: str,
    moves: list[tuple[int, float]],
) -> None:
    with conn.begin_nested() as nested:
        ips, ada = product(conn, people, "ips", measure=measure), customer(conn, people)
        prices.set_list_price(conn, ips, valid_from=JUNE, tiers=offered, user=people[Role.ADMIN])
        book(conn, people, ada, ips, quantity, JUNE)
        parts, charges = billing.parts(conn, months=[JUNE], customers=[ada]), rated(conn, [JUNE])
        for day, share in moves:
            inside = int(quantity * share)
            split = {"internal": inside, "external": quantity - inside, "quantity": quantity, "kind": "ips"}
            insert(conn, "bookings", customer_id=ada, product_id=ips, effective_on=date(2026, 6, day), **split)
        moved = billing.parts(conn, months=[JUNE], customers=[ada]), rated(conn, [JUNE])
        nested.rollback()
    assert moved == (parts, charges)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offered=tier_lists, quantity=st.integers(1, 200), split=st.integers(2, 30))
def test_parts_of_a_divided_month_add_up(
    conn: Connection, people: People, offered: list[Tier], quantity: int, split: int
) -> None:
    """Under daily, two stretches of one quantity cost exactly what the whole month does, before rounding."""
    with conn.begin_nested() as nested:
        ips = product(conn, people, "ips")
        prices.set_list_price(conn, ips, valid_from=JUNE, tiers=offered, user=people[Role.ADMIN])
        whole, divided = customer(conn, people), customer(conn, people, "Bob AG")
        for each in (whole, divided):
            book(conn, people, each, ips, quantity, JUNE)
        day = date(2026, 6, split)
        customer_verbs.deactivate(conn, divided, today=day, user=people[Role.SALES])
        first = exact(conn, divided)
        customer_verbs.activate(conn, divided, today=day, user=people[Role.SALES])
        assert exact(conn, divided) == exact(conn, whole)  # stretches that touch are one
        conn.execute(
            text("INSERT INTO lifecycle (customer_id, effective_on, billed, active) VALUES (:id, :day, true, false)"),
            {"id": divided, "day": JUNE},
        )
        second = exact(conn, divided)
        nested.rollback()
        assert first + second == exact_whole(offered, quantity)


def exact(conn: Connection, customer_id: int) -> Fraction:
    found = billing.parts(conn, months=[JUNE], customers=[customer_id])
    return sum((worth(part) for part in found), Fraction(0))


def worth(part: billing.Part) -> Fraction:
    assert part.units is not None and part.unit_price is not None
    return Fraction(part.units) * Fraction(part.unit_price) * Fraction(part.days, part.month_days)


def exact_whole(offered: list[Tier], quantity: int) -> Fraction:
    return sum(oracle.pieces(as_oracle(offered), quantity), Fraction(0))


# ---------------------------------------------------------------- random ledgers


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(ledger=ledgers_of_companies())
def test_random_ledgers_cost_what_the_oracle_says(conn: Connection, people: People, ledger: oracle.Ledger) -> None:
    """Charges equal the oracle's; lines are sums of their parts, and charges sums of lines (rows N8, N11)."""
    with conn.begin_nested() as nested:
        ids = store(conn, ledger)
        stored = rated(conn, MONTHS)
        expected = {
            (ids[name], ids[code], month): charge
            for name in ledger.statuses
            for code in PRODUCTS
            for month in MONTHS
            if (charge := oracle.charge(ledger, name, code, month))
        }
        lines = billing.lines(conn, months=MONTHS, customers=[ids[name] for name in ledger.statuses])
        parts = billing.parts(conn, months=MONTHS, customers=[ids[name] for name in ledger.statuses])
        nested.rollback()
    assert stored == expected
    for key, charge in stored.items():
        own = [line for line in lines if (line.customer_id, line.product_id, line.month) == key]
        if charge.amount is None:
            assert any(line.amount is None for line in own)
        else:
            assert charge.amount == sum((line.amount or Decimal(0) for line in own), Decimal(0))
    for line in lines:
        if line.amount is not None:
            own = [part for part in parts if belongs(part, line)]
            assert line.amount == oracle.cents(sum((exactly(part) for part in own), Fraction(0)))
            assert all(part.project_key_id or abs(worth(part) - exactly(part)) < Fraction(1, 10**9) for part in own)


def exactly(part: billing.Part) -> Fraction:
    """By its own amount, of a key; else of its units, which no division has cut off."""
    assert part.amount is not None
    return Fraction(part.amount) if part.project_key_id else worth(part)


def belongs(part: billing.Part, line: billing.Line) -> bool:
    same = (part.month, part.customer_id, part.product_id, part.from_day) == (
        line.month,
        line.customer_id,
        line.product_id,
        line.from_day,
    )
    return same and (line.prorated or part.first_unit == line.first_unit)


def rated(conn: Connection, months: list[date]) -> dict[tuple[int, int, date], oracle.Charge]:
    """The statement's charges of these months, apart from adjustments."""
    found = conn.execute(text(billing.statement(select=f"SELECT {charges.COLUMNS} FROM charge")), {"months": months})
    return {
        (row.customer_id, row.product_id, row.month): oracle.Charge(
            row.start_quantity, row.end_quantity, row.changes, row.amount
        )
        for row in found
    }
