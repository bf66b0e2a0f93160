"""What a quantity of a product costs in a whole month: at the list price, or at one that isn't saved yet (row G15).

Nobody has to be a customer for that: the rating statement is asked about a customer who exists in the question only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import billing
from lib.billing import Line
from lib.prices import Tier


@dataclass(frozen=True)
class Quote:
    """What a quantity costs for a whole month, with one line per range used."""

    quantity: int
    lines: list[Line]

    @property
    def amount(self) -> Decimal:
        """Net, the sum of the lines."""
        return sum((line.amount or Decimal(0) for line in self.lines), Decimal("0.00"))

    @property
    def average(self) -> Decimal | None:
        """The average price of a unit, for display only; None at 0 (`billing-rules`, Prices)."""
        return self.amount / self.quantity if self.quantity else None


_ASKED = """
counting_spans AS (
    SELECT -n AS customer_id, CAST(:month AS date) AS from_day, NULL::date AS until_day
      FROM generate_series(1, cardinality(CAST(:quantities AS int[]))) n
), booked_spans AS (
    SELECT -n AS customer_id, CAST(:product_id AS bigint) AS product_id, quantity,
           CAST(:month AS date) AS from_day, NULL::date AS until_day, NULL::bigint AS project_key_id
      FROM unnest(CAST(:quantities AS int[])) WITH ORDINALITY AS asked(quantity, n)
     WHERE quantity > 0
)"""

# A list price that isn't saved: it takes the place of the product's list price from its month on.
PROPOSED_PRICE = """
price_tiers AS (
    SELECT price_id, first_unit, last_unit, unit_price FROM price_tiers
    UNION ALL
    SELECT -1, first_unit, last_unit, unit_price
      FROM unnest(CAST(:first_units AS int[]), CAST(:last_units AS int[]), CAST(:unit_prices AS numeric[]))
        AS proposed(first_unit, last_unit, unit_price)
), price_spans AS (
    SELECT price_id, product_id, customer_id, returns_to_list, from_month,
           CASE WHEN product_id = :proposed_product AND customer_id IS NULL AND from_month < :valid_from
                THEN least(until_month, CAST(:valid_from AS date)) ELSE until_month END AS until_month
      FROM price_spans
     WHERE NOT (product_id = :proposed_product AND customer_id IS NULL AND from_month = :valid_from)
    UNION ALL
    SELECT -1, :proposed_product, NULL, false, CAST(:valid_from AS date),
           (SELECT min(from_month) FROM price_spans
             WHERE product_id = :proposed_product AND customer_id IS NULL AND from_month > :valid_from)
)"""


def proposal(product_id: int, tiers: Sequence[Tier], *, valid_from: date) -> dict[str, Any]:
    """The parameters of PROPOSED_PRICE."""
    return {
        "proposed_product": product_id,
        "valid_from": valid_from,
        "first_units": [tier.first_unit for tier in tiers],
        "last_units": [tier.last_unit for tier in tiers],
        "unit_prices": [tier.unit_price for tier in tiers],
    }


def quotes(
    conn: Connection, product_id: int, *, quantities: Sequence[int], month: date, tiers: Sequence[Tier] | None = None
) -> list[Quote]:
    """What each quantity costs in a whole month at the list price, or at ranges not saved yet (row G15)."""
    select = """
        SELECT month, customer_id, product_id, prorated, from_day, until_day, days, month_days, quantity, price_id,
               first_unit, last_unit, units, unit_price, amount, project_key_id
          FROM line ORDER BY customer_id DESC, first_unit"""
    values: dict[str, Any] = {
        "months": [month],
        "month": month,
        "quantities": list(quantities),
        "product_id": product_id,
    }
    what_if = _ASKED
    if tiers is not None:
        what_if += "," + PROPOSED_PRICE
        values |= proposal(product_id, tiers, valid_from=month)
    found: dict[int, list[Line]] = {}
    for row in conn.execute(text(billing.statement(select=select, what_if=what_if)), values):
        found.setdefault(-row.customer_id - 1, []).append(Line(**row._mapping))
    return [Quote(quantity, found.get(index, [])) for index, quantity in enumerate(quantities)]
