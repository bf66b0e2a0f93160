"""Simulate a month: what customers would cost, beside what another month costs; nothing is written (row B4).

The statement is that of `lib/billing.py`; a what-if puts expressions in front of it that stand for
the bookings or the prices, so that it is rated by the same code as an invoice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import billing, periods, prices, products, quotes
from lib.billing import Line
from lib.clock import next_month
from lib.errors import Conflict, Invalid
from lib.fields import whole
from lib.prices import Tier
from lib.report_files import HARMLESS, copied

# Bookings and prices are known for longer, but nobody plans further, and each month is rated anew.
MONTHS_AHEAD = 60
MOST_CUSTOMERS = 50
SMALLEST_PERCENT, LARGEST_PERCENT = -100, 1000
ORDERS = {
    "difference": "abs(coalesce(c.after, 0) - coalesce(c.before, 0)) DESC, c.id",
    "name": "x.sort_name, c.id",
    "amount": "coalesce(c.after, 0) DESC, c.id",
}


@dataclass(frozen=True)
class NewPrice:
    """What if a product had this list price in the simulated month? Individual prices stay."""

    product_id: int
    tiers: list[Tier]


@dataclass(frozen=True)
class NewQuantity:
    """What if a product's quantity were another one from the simulated month on?

    `quantity` for each chosen customer, or `percent` more (fewer) of what each has booked.
    """

    product_id: int
    quantity: int | None = None
    percent: int | None = None


@dataclass(frozen=True)
class Scenario:
    """The month to simulate, the month beside it (as it is), and what would be different. No customers: all."""

    month: date
    against: date
    customers: tuple[int, ...] = ()
    price: NewPrice | None = None
    quantity: NewQuantity | None = None


@dataclass(frozen=True)
class Compared:
    """Net amounts of a product or of a customer: `before` in the month beside, `after` simulated.

    0.00 where nothing is charged, None where nothing of what is charged has a price.
    """

    id: int
    name: str
    before: Decimal | None
    after: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """After less before; None where one of them is."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Simulation:
    """Both months side by side: by product in the catalogue's order, and one page of the customers.

    `customers_count` counts the customers with charges in either month, `unpriced` the simulated
    charges that have no price; they are in no sum.
    """

    products: list[Compared]
    customers: list[Compared]
    customers_count: int
    unpriced: int

    @property
    def before(self) -> Decimal:
        """The total of the month beside."""
        return sum((row.before or Decimal(0) for row in self.products), Decimal("0.00"))

    @property
    def after(self) -> Decimal:
        """The total of the simulated month."""
        return sum((row.after or Decimal(0) for row in self.products), Decimal("0.00"))


def months(conn: Connection) -> list[date]:
    """The months that can be simulated: the open one and those after it. Raises Conflict before set-up."""
    first = _first_open(conn)
    return [next_month(first, by=ahead) for ahead in range(MONTHS_AHEAD + 1)]


def simulation(
    conn: Connection, scenario: Scenario, *, order: str = "difference", limit: int = 50, offset: int = 0
) -> Simulation:
    """Rate the scenario and put it beside the other month (row B4). Raises Invalid at the field."""
    compared, values = _compared(conn, scenario)
    _plan_for(conn, scenario)
    found = conn.execute(
        text(f"""
            WITH {compared}, customer AS MATERIALIZED (
                SELECT customer_id AS id, sum(before) AS before, sum(after) AS after FROM compared GROUP BY customer_id
            )
            SELECT kind, id, name, before, after FROM (
                SELECT 'product' AS kind, p.id, p.name_en AS name, sum(c.before) AS before, sum(c.after) AS after,
                       row_number() OVER (ORDER BY p.position, p.id) AS place
                  FROM compared c JOIN products p ON p.id = c.product_id GROUP BY p.id
                UNION ALL
                (SELECT 'customer', c.id, x.number || ' ' || x.name, c.before, c.after,
                        row_number() OVER (ORDER BY {ORDERS[order]})
                   FROM customer c JOIN customers x ON x.id = c.id
                  ORDER BY {ORDERS[order]} LIMIT :limit OFFSET :offset)
                UNION ALL
                SELECT 'count', (SELECT count(*) FROM customer), '',
                       (SELECT count(*) FROM compared WHERE unpriced), 0, 0
            ) found ORDER BY kind, place"""),
        values | {"limit": limit, "offset": offset},
    ).all()
    rows: dict[str, list[Compared]] = {"product": [], "customer": [], "count": []}
    for row in found:
        rows[row.kind].append(Compared(row.id, row.name, row.before, row.after))
    counted = rows["count"][0]
    return Simulation(rows["product"], rows["customer"], counted.id, int(counted.before or 0))


def lines_of(conn: Connection, scenario: Scenario, customer_id: int) -> list[Line]:
    """How a customer's simulated amount comes about: its lines, as a document of that month would print them (row B2).

    Adjustments are no lines: they stand in the simulated month as they were entered.
    """
    _require_month(scenario.month, _first_open(conn))
    what_if, values = _what_ifs(conn, scenario)
    return billing.lines(
        conn, months=[scenario.month], customers=[customer_id], what_if=", ".join(what_if), values=values
    )


def export_csv(conn: Connection, scenario: Scenario) -> Iterator[bytes]:
    """A row per customer and product as CSV, streamed: number, customer, product, both amounts, difference."""
    compared, values = _compared(conn, scenario)
    _plan_for(conn, scenario)
    before, after = f"{scenario.against:%Y-%m}", f"{scenario.month:%Y-%m} simulated"
    statement = f"""
        COPY (WITH {compared}
              SELECT {HARMLESS.format("x.number")} AS "Number", {HARMLESS.format("x.name")} AS "Customer",
                     {HARMLESS.format("p.name_en")} AS "Product", c.before AS "{before}", c.after AS "{after}",
                     c.after - c.before AS "Difference"
                FROM compared c JOIN customers x ON x.id = c.customer_id JOIN products p ON p.id = c.product_id
               ORDER BY x.sort_name, x.id, p.position, p.id)
        TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"""
    return copied(conn, statement, values)


def _plan_for(conn: Connection, scenario: Scenario) -> None:
    """Let this transaction rate all customers in memory, and join them as the many that they are."""
    billing.allow_memory(conn)
    if not scenario.customers:
        # A what-if has no statistics: the planner takes it for a row or two and joins 400,000 stretches one by one.
        conn.execute(text("SET LOCAL enable_nestloop = off"))


def _compared(conn: Connection, scenario: Scenario) -> tuple[str, dict[str, Any]]:
    """The expression `compared` (customer_id, product_id, before, after, unpriced) and its parameters."""
    first_open = _first_open(conn)
    _require_month(scenario.month, first_open)
    _require_customers(scenario)
    what_if, values = _what_ifs(conn, scenario)
    columns, narrowed = "SELECT customer_id, product_id, amount FROM charge", bool(scenario.customers)
    simulated = billing.statement(select=columns, what_if=", ".join(what_if), customers=narrowed)
    values |= {"months": [scenario.month], "customers": list(scenario.customers)}
    if scenario.against < first_open:
        beside = "SELECT customer_id, product_id, amount FROM charges WHERE month = :against"
        beside += " AND customer_id = ANY(CAST(:customers AS bigint[]))" if narrowed else ""
        values["against"] = scenario.against
    else:
        _require_month(scenario.against, first_open, field="against")
        beside = re.sub(r":months\b", ":against", billing.statement(select=columns, customers=narrowed))
        values["against"] = [scenario.against]
    if not narrowed:
        del values["customers"]
    both = f"""
        simulated AS ({simulated}),
        beside AS ({beside}),
        compared AS MATERIALIZED (
            SELECT customer_id, product_id, CASE WHEN b.customer_id IS NULL THEN 0 ELSE b.amount END AS before,
                   CASE WHEN s.customer_id IS NULL THEN 0 ELSE s.amount END AS after,
                   s.customer_id IS NOT NULL AND s.amount IS NULL AS unpriced
              FROM simulated s FULL JOIN beside b USING (customer_id, product_id)
        )"""
    return both, values


def _what_ifs(conn: Connection, scenario: Scenario) -> tuple[list[str], dict[str, Any]]:
    what_if: list[str] = []
    values: dict[str, Any] = {}
    if scenario.price is not None:
        prices.require_tiers(scenario.price.tiers)
        products.product(conn, scenario.price.product_id)
        what_if.append(quotes.PROPOSED_PRICE)
        values |= quotes.proposal(scenario.price.product_id, scenario.price.tiers, valid_from=scenario.month)
    if scenario.quantity is not None:
        product = products.product(conn, scenario.quantity.product_id)
        _require_quantity(
            scenario.quantity, scenario, name=product.name_en, switch=product.kind not in ("users", "ips")
        )
        what_if.append(_QUANTITY.format(more=_PERCENT if scenario.quantity.percent is not None else _ABSOLUTE))
        values |= {
            "asked_product": scenario.quantity.product_id,
            "asked_from": scenario.month,
            "asked_for": list(scenario.customers),
            "asked_quantity": scenario.quantity.quantity,
            "asked_percent": scenario.quantity.percent,
        }
    return what_if, values


# What is asked about: the product, of the chosen customers or (none chosen) of all. What a project key brings is fixed:
# no percentage changes it; another quantity takes its place.
_MEANT = """(b.product_id = :asked_product AND (b.project_key_id IS NULL OR CAST(:asked_percent AS int) IS NULL) AND
             (cardinality(CAST(:asked_for AS bigint[])) = 0 OR b.customer_id = ANY(CAST(:asked_for AS bigint[]))))"""
_ABSOLUTE = """
    SELECT customer_id, :asked_product, CAST(:asked_quantity AS int), CAST(:asked_from AS date), NULL, NULL
      FROM unnest(CAST(:asked_for AS bigint[])) AS customer_id
     WHERE CAST(:asked_quantity AS int) > 0"""
_PERCENT = f"""
    SELECT b.customer_id, b.product_id, round(b.quantity * (100 + CAST(:asked_percent AS int)) / 100.0)::int,
           greatest(b.from_day, :asked_from), b.until_day, NULL
      FROM booked_spans b
     WHERE {_MEANT} AND (b.until_day IS NULL OR b.until_day > :asked_from)
       AND round(b.quantity * (100 + CAST(:asked_percent AS int)) / 100.0) >= 1"""
_QUANTITY = f"""
booked_spans AS (
    SELECT b.customer_id, b.product_id, b.quantity, b.from_day,
           CASE WHEN {_MEANT} THEN least(b.until_day, :asked_from) ELSE b.until_day END AS until_day, b.project_key_id
      FROM booked_spans b
     WHERE NOT {_MEANT} OR b.from_day < :asked_from
    UNION ALL
    {{more}}
)"""


def _require_quantity(asked: NewQuantity, scenario: Scenario, *, name: str, switch: bool) -> None:
    if (asked.quantity is None) == (asked.percent is None):
        raise Invalid("Enter either a quantity or a change in percent.", field="quantity")
    if asked.percent is not None:
        if switch:
            raise Invalid(f"{name} is booked or not: enter 1 or 0 instead of a percentage.", field="percent")
        if not SMALLEST_PERCENT <= asked.percent <= LARGEST_PERCENT:
            raise Invalid(f"Enter between {SMALLEST_PERCENT} and {LARGEST_PERCENT} percent.", field="percent")
        return
    whole(asked.quantity, field="quantity", label="The quantity", highest=1 if switch else 10_000_000)
    if not scenario.customers:
        raise Invalid("Choose the customers that have this quantity, or enter a percentage for all.", field="quantity")


def _require_customers(scenario: Scenario) -> None:
    if len(scenario.customers) > MOST_CUSTOMERS:
        raise Invalid(f"Choose at most {MOST_CUSTOMERS} customers, or none for all.", field="customers")


def _require_month(month: date, first_open: date, *, field: str = "month") -> None:
    periods.require_first_of_month(month, field=field)
    last = next_month(first_open, by=MONTHS_AHEAD)
    if not first_open <= month <= last:
        raise Invalid(f"Choose a month from {first_open:%B %Y} to {last:%B %Y}.", field=field)


def _first_open(conn: Connection) -> date:
    first = periods.open_month(conn)
    if first is None:
        raise Conflict(periods.NOT_SET_UP)
    return first
