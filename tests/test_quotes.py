"""What a quantity costs in a whole month, by graduated ranges."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from lib import quotes
from lib.prices import Tier
from tests import oracle
from tests.ledgers import JUNE, RANGES, People, product, tiers
from tests.random_ledgers import APRIL, as_oracle, tier_lists


@pytest.fixture
def people(set_up: Any) -> People:
    found: People = set_up(APRIL)
    return found


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, "0.00"),
        (1, "2.00"),
        (50, "100.00"),
        (51, "101.50"),
        (250, "400.00"),
        (251, "401.20"),
        (300, "460.00"),
        (500, "700.00"),
        (501, "701.00"),
    ],
)
def test_graduated_ranges(conn: Connection, people: People, quantity: int, expected: str) -> None:
    """Row N8: each unit costs the price of the range it falls in."""
    ips = product(conn, people, "ips", price=RANGES)
    [quote] = quotes.quotes(conn, ips, quantities=[quantity], month=JUNE)
    assert quote.amount == Decimal(expected)
    assert quote.amount == oracle.whole_month(as_oracle(tiers(*RANGES)), quantity)
    assert (quote.average is None) == (quantity == 0)


def test_a_quote_at_ranges_that_are_not_saved(conn: Connection, people: People) -> None:
    ips = product(conn, people, "ips", price=RANGES)
    cheap, listed = (
        quotes.quotes(conn, ips, quantities=[300], month=JUNE, tiers=offered)[0].amount
        for offered in (tiers((1, None, "0.5")), None)
    )
    assert (cheap, listed) == (Decimal("150.00"), Decimal("460.00"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offered=tier_lists, quantity=st.integers(0, 250))
def test_a_unit_more_never_costs_less(conn: Connection, people: People, offered: list[Tier], quantity: int) -> None:
    with conn.begin_nested() as nested:
        ips = product(conn, people, "ips")
        less, more = quotes.quotes(conn, ips, quantities=[quantity, quantity + 1], month=JUNE, tiers=offered)
        nested.rollback()
    assert less.amount <= more.amount
    assert less.amount == oracle.whole_month(as_oracle(offered), quantity)
