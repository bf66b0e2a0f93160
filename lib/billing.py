"""What any customers cost in any months: one statement, read by everything that shows a price.

`PARTS` turns the ledger into parts: customer, product, stretch of days, range of the price, units,
unit price, days; what a project key brings is priced by the key. `LINES` groups parts into the lines
that a document prints, each rounded once; `CHARGES` sums lines. The forecast, the Cost Overview, the
month close, the statement on a customer's page, the price calculator and the preview of a price
change all read these; nothing else computes a price. The rules are those of `docs/billing.md`.

Charges of months that are not closed are kept ready by `lib/charges.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

# ---------------------------------------------------------------------------------- the statement
#
# {counted}, {booked} and {adjusted} narrow the statement to some customers; {what_if} may put common table expressions
# named like a view (counting_spans, booked_spans, price_spans) or table (price_tiers) in front:
# SQL resolves the name to them, so that a price list which isn't saved yet is rated by this code.
_STRETCHES = """
period AS (
    SELECT month, (month + interval '1 month')::date AS next_month,
           (month + interval '1 month')::date - month AS month_days
      FROM unnest(CAST(:months AS date[])) AS month
), counted AS (
    -- A day more than the month: what the customer had on the day before shows as the start.
    SELECT p.month, p.next_month, p.month_days, s.customer_id,
           greatest(s.from_day, p.month - 1) AS from_day, least(s.until_day, p.next_month) AS until_day,
           max(least(s.until_day, p.next_month)) OVER (PARTITION BY p.month, s.customer_id) AS last_until
      FROM period p
      JOIN counting_spans s ON s.from_day < p.next_month AND (s.until_day IS NULL OR s.until_day >= p.month)
     WHERE true {counted}
), stretch AS (
    -- One that fills the month and the day before is the only one of its product: alone.
    SELECT c.month, c.next_month, c.month_days, c.customer_id, c.last_until, b.product_id, b.quantity,
           b.project_key_id, greatest(c.from_day, b.from_day) AS from_day, least(c.until_day, b.until_day) AS until_day,
           greatest(c.from_day, b.from_day) < c.month AND least(c.until_day, b.until_day) = c.next_month AS alone
      FROM counted c
      JOIN booked_spans b ON b.customer_id = c.customer_id
       AND b.from_day < c.until_day AND (b.until_day IS NULL OR b.until_day > c.from_day) {booked}
)"""

_PRICED = """
within AS NOT MATERIALIZED (
    SELECT s.month, s.month_days, s.customer_id, s.product_id, p.measure, s.quantity,
           greatest(s.from_day, s.month) AS from_day, s.until_day, s.last_until, s.alone
      FROM stretch s
      JOIN products p ON p.id = s.product_id
     WHERE s.until_day > s.month AND (s.project_key_id IS NULL)::int <> 0
), measured AS (
    -- daily: every stretch. peak and full: the highest quantity. end: that of the last counting day.
    SELECT month, month_days, customer_id, product_id, measure, quantity, from_day, until_day, alone,
           until_day - from_day AS days, until_day - from_day < month_days AS prorated
      FROM within WHERE measure = 'daily'
    UNION ALL
    SELECT * FROM (
        SELECT DISTINCT ON (month, customer_id, product_id)
               month, month_days, customer_id, product_id, measure, quantity, from_day, until_day, alone,
               month_days AS days, false AS prorated
          FROM within WHERE measure IN ('peak', 'full') OR measure = 'end' AND until_day = last_until
         ORDER BY month, customer_id, product_id, quantity DESC, from_day
    ) single
), priced AS (
    SELECT m.*, coalesce(i.price_id, l.price_id) AS price_id
      FROM measured m
      LEFT JOIN price_spans i ON i.product_id = m.product_id AND i.customer_id = m.customer_id
       AND NOT i.returns_to_list AND i.from_month <= m.month AND (i.until_month IS NULL OR i.until_month > m.month)
       {own}
      LEFT JOIN price_spans l ON l.product_id = m.product_id AND l.customer_id IS NULL
       AND l.from_month <= m.month AND (l.until_month IS NULL OR l.until_month > m.month)
)"""

# What a quantity costs in a whole month, range by range: computed once, however many customers have it.
# Beside each range stand the sums over all of them: of the rounded amounts, and of the exact ones.
_TARIFF = """
tariff AS (
    SELECT price_id, quantity, first_unit, last_unit, unit_price, units, round(units * unit_price, 2) AS amount,
           sum(round(units * unit_price, 2)) OVER whole AS rounded, sum(units * unit_price) OVER whole AS exact
      FROM (SELECT q.price_id, q.quantity, t.first_unit, t.last_unit, t.unit_price,
                   least(q.quantity, t.last_unit) - t.first_unit + 1 AS units
              FROM (SELECT DISTINCT price_id, quantity FROM priced) q
              JOIN price_tiers t ON t.price_id = q.price_id AND t.first_unit <= q.quantity) used
    WINDOW whole AS (PARTITION BY price_id, quantity)
)"""

# While a project key runs, its prices stand for the ranges and for the purchase price, whatever the measure: whole
# on the first of its days that counts, or each month by days. As few as there are keys, so nobody else waits for it.
# The condition is written so that the planner, which knows nothing of a CTE's columns, expects few rows here and nearly
# all of them in `within`: of IS NULL it expects one row in 200, and joins 100,000 customers one by one.
_KEYED = """
keyed AS MATERIALIZED (
    SELECT s.month, s.month_days, s.customer_id, s.product_id, s.measure, s.quantity, s.from_day, s.until_day, s.alone,
           s.until_day - s.from_day AS days, k.id AS project_key_id,
           CASE WHEN k.charging = 'monthly' OR k.begins BETWEEN s.from_day AND s.until_day - 1
                THEN k.selling_price ELSE 0.00 END AS unit_price,
           CASE WHEN k.charging = 'monthly' THEN k.selling_price * (s.until_day - s.from_day) / s.month_days
                WHEN k.begins BETWEEN s.from_day AND s.until_day - 1 THEN k.selling_price ELSE 0.00 END AS exact,
           CASE WHEN k.charging = 'monthly'
                THEN k.purchase_price * (s.until_day - s.from_day) / (k.months * s.month_days)
                WHEN k.begins BETWEEN s.from_day AND s.until_day - 1 THEN k.purchase_price ELSE 0.00 END AS purchase
      FROM (SELECT s.month, s.month_days, s.customer_id, s.product_id, p.measure, s.quantity, s.project_key_id,
                   greatest(s.from_day, s.month) AS from_day, s.until_day, s.alone
              FROM stretch s JOIN products p ON p.id = s.product_id
             WHERE s.until_day > s.month AND (s.project_key_id IS NULL)::int = 0) s
      JOIN (SELECT id, charging, selling_price, purchase_price, months,
                   project_key_begins(customer_id, from_day, until_day) AS begins
              FROM project_keys) k ON k.id = s.project_key_id
)"""

_PARTS = """
part AS (
    SELECT p.month, p.month_days, customer_id, product_id, measure, p.quantity, from_day, until_day, days, p.price_id,
           t.first_unit, t.last_unit, t.units, t.unit_price, t.units * t.unit_price * days / p.month_days AS amount,
           NULL::bigint AS project_key_id
      FROM priced p LEFT JOIN tariff t ON t.price_id = p.price_id AND t.quantity = p.quantity
    UNION ALL
    SELECT month, month_days, customer_id, product_id, measure, quantity, from_day, until_day, days, NULL,
           NULL, NULL, NULL, unit_price, exact, project_key_id
      FROM keyed
)"""

# A line is rounded once: per range, or per stretch of days where the product changed in the month.
_LINES = """
line AS NOT MATERIALIZED (
    SELECT month, month_days, customer_id, product_id, prorated, from_day, until_day, days, p.quantity,
           p.price_id, first_unit, last_unit, units, unit_price, amount, NULL::bigint AS project_key_id
      FROM priced p LEFT JOIN tariff t ON t.price_id = p.price_id AND t.quantity = p.quantity
     WHERE NOT prorated
    UNION ALL
    SELECT month, month_days, customer_id, product_id, prorated, from_day, until_day, days, p.quantity,
           p.price_id, NULL, NULL, NULL, NULL, round(exact * days / month_days, 2), NULL
      FROM priced p LEFT JOIN tariff t ON t.price_id = p.price_id AND t.quantity = p.quantity AND t.first_unit = 1
     WHERE prorated
    UNION ALL
    SELECT month, month_days, customer_id, product_id, true, from_day, until_day, days, quantity,
           NULL, NULL, NULL, NULL, NULL, round(exact, 2), project_key_id
      FROM keyed
)"""

_CHARGES = """
moving AS MATERIALIZED (SELECT * FROM stretch WHERE NOT alone),
edge AS (
    SELECT month, customer_id, product_id, from_day AS day, quantity AS step FROM moving WHERE from_day >= month
    UNION ALL
    SELECT month, customer_id, product_id, until_day, -quantity FROM moving WHERE until_day < next_month
), change AS (
    SELECT month, customer_id, product_id,
           string_agg(to_char(day, 'YYYY-MM-DD ') || to_char(step, 'FMSG99999999'), '; ' ORDER BY day) AS changes
      FROM (SELECT month, customer_id, product_id, day, sum(step) AS step FROM edge GROUP BY 1, 2, 3, 4) moved
     WHERE step <> 0
     GROUP BY month, customer_id, product_id
), quantity AS (
    SELECT month, customer_id, product_id,
           coalesce(max(quantity) FILTER (WHERE from_day < month), 0) AS start_quantity,
           coalesce(max(quantity) FILTER (WHERE until_day = next_month), 0) AS end_quantity
      FROM moving GROUP BY month, customer_id, product_id
), rated AS NOT MATERIALIZED (
    -- What each stretch comes to: the sum of its lines. Only one that is prorated has others beside it.
    -- And what it costs us: the same quantity and days at the purchase price.
    SELECT p.month, customer_id, p.product_id, p.price_id, prorated, alone, p.quantity,
           CASE WHEN prorated THEN round(exact * days / month_days, 2) ELSE rounded END AS amount,
           round(p.quantity * b.unit_price * days / month_days, 2) AS purchase
      FROM priced p LEFT JOIN tariff t ON t.price_id = p.price_id AND t.quantity = p.quantity AND t.first_unit = 1
      LEFT JOIN purchase_spans b ON b.product_id = p.product_id
       AND b.from_month <= p.month AND (b.until_month IS NULL OR b.until_month > p.month)
    UNION ALL
    SELECT month, customer_id, product_id, NULL, true, alone, quantity, round(exact, 2), round(purchase, 2) FROM keyed
), added AS (
    SELECT month, customer_id, product_id, max(price_id) AS price_id,
           CASE WHEN count(amount) = count(*) THEN sum(amount) END AS amount, sum(purchase) AS purchase
      FROM rated WHERE NOT alone GROUP BY month, customer_id, product_id
), charge AS (
    SELECT month, customer_id, product_id, quantity AS start_quantity, quantity AS end_quantity, '' AS changes,
           price_id, amount, purchase
      FROM rated WHERE alone
    UNION ALL
    SELECT q.month, q.customer_id, q.product_id, q.start_quantity, q.end_quantity, coalesce(c.changes, ''),
           r.price_id, CASE WHEN r.month IS NULL THEN 0 ELSE r.amount END, r.purchase
      FROM quantity q
      LEFT JOIN added r USING (month, customer_id, product_id)
      LEFT JOIN change c USING (month, customer_id, product_id)
    UNION ALL
    SELECT a.month, a.customer_id, p.id, 0, 0, '', NULL, sum(a.amount), NULL
      FROM adjustments a JOIN products p ON p.kind = 'adjustment'
     WHERE a.withdrawn_at IS NULL AND a.month = ANY(CAST(:months AS date[])) {adjusted}
     GROUP BY a.month, a.customer_id, p.id
)"""


# What `rate_all` left in this transaction takes the place of the steps that lead to it.
_RATED = """
stretch AS NOT MATERIALIZED (SELECT * FROM rated_stretch),
keyed AS NOT MATERIALIZED (SELECT * FROM rated_keyed),
priced AS NOT MATERIALIZED (SELECT * FROM rated_priced),
tariff AS NOT MATERIALIZED (SELECT * FROM rated_tariff)"""

_KEPT = {
    "stretch": _STRETCHES.format(counted="", booked=""),
    "keyed": "stretch AS NOT MATERIALIZED (SELECT * FROM rated_stretch)," + _KEYED,
    "priced": "stretch AS NOT MATERIALIZED (SELECT * FROM rated_stretch)," + _PRICED.format(own=""),
    "tariff": "priced AS NOT MATERIALIZED (SELECT * FROM rated_priced)," + _TARIFF,
}


def statement(*, select: str, what_if: str = "", customers: bool = False, rated: bool = False) -> str:
    """The rating statement that ends in `select` from stretch, part, line or charge.

    Its parameters are :months (first days) and, where `customers` is set, :customers (ids).
    `what_if` puts expressions in front of it that stand for views or tables of the same name;
    `rated` reads what `rate_all` left instead of rating again.
    """
    # Said of each: the planner doesn't carry a condition of the join into the window of a view.
    aliases = {"counted": "s", "booked": "b", "own": "i", "adjusted": "a"}
    narrowed = "AND {}.customer_id = ANY(CAST(:customers AS bigint[]))" if customers else ""
    filters = {step: narrowed.format(alias) for step, alias in aliases.items()}
    wanted = select.split(" FROM ")[1].split()[0]
    after = {
        "stretch": [],
        "part": [_PARTS],
        "line": [_LINES],
        "charge": [_CHARGES],
    }[wanted]
    chain = [_RATED] if rated else [_STRETCHES, _PRICED, _TARIFF, _KEYED]
    chain += after
    body = ",".join(fragment.format(**filters) for fragment in chain)
    prefix = f"{what_if}," if what_if else ""
    return f"WITH {prefix}{body} {select}"


# ---------------------------------------------------------------------------------- reading it


@dataclass(frozen=True)
class Part:
    """The smallest piece of a charge: one range of the price over one stretch of days.

    `until_day` is the first day that no longer belongs to it. `amount` is exact, not rounded;
    None where no price rules the month. What a project key brings has no range: its price is `unit_price`,
    0 where all of it was charged before.
    """

    month: date
    customer_id: int
    product_id: int
    measure: str
    from_day: date
    until_day: date
    days: int
    month_days: int
    quantity: int
    price_id: int | None
    first_unit: int | None
    last_unit: int | None
    units: int | None
    unit_price: Decimal | None
    amount: Decimal | None
    project_key_id: int | None


@dataclass(frozen=True)
class Line:
    """What a document prints on one line, rounded once to the cent.

    A range line has units and unit price; a prorated one has them None and says its days, as does that of a
    project key.
    """

    month: date
    customer_id: int
    product_id: int
    prorated: bool
    from_day: date
    until_day: date
    days: int
    month_days: int
    quantity: int
    price_id: int | None
    first_unit: int | None
    last_unit: int | None
    units: int | None
    unit_price: Decimal | None
    amount: Decimal | None
    project_key_id: int | None


def parts(conn: Connection, *, months: Sequence[date], customers: Sequence[int]) -> list[Part]:
    """The parts of these customers' months, in the order of product, day and range."""
    select = """
        SELECT month, customer_id, product_id, measure, from_day, until_day, days, month_days, quantity, price_id,
               first_unit, last_unit, units, unit_price, amount, project_key_id
          FROM part ORDER BY month, customer_id, product_id, from_day, first_unit"""
    found = conn.execute(
        text(statement(select=select, customers=True)), {"months": list(months), "customers": list(customers)}
    )
    return [Part(**row._mapping) for row in found]


def lines(
    conn: Connection,
    *,
    months: Sequence[date],
    customers: Sequence[int],
    what_if: str = "",
    values: Mapping[str, Any] | None = None,
) -> list[Line]:
    """The lines of these customers' months, in the order of product, day and range; `values` are those of `what_if`."""
    select = """
        SELECT month, customer_id, product_id, prorated, from_day, until_day, days, month_days, quantity, price_id,
               first_unit, last_unit, units, unit_price, amount, project_key_id
          FROM line ORDER BY month, customer_id, product_id, from_day, first_unit"""
    rating = statement(select=select, what_if=what_if, customers=True)
    found = conn.execute(text(rating), {**(values or {}), "months": list(months), "customers": list(customers)})
    return [Line(**row._mapping) for row in found]


# ---------------------------------------------------------------------------------- everybody at once


def allow_memory(conn: Connection) -> None:
    """Let this transaction sort 100,000 customers in memory rather than on disk."""
    conn.execute(text("SET LOCAL work_mem = '128MB'"))
    # Compiling the statements to machine code costs more than it saves on so many short expressions.
    conn.execute(text("SET LOCAL jit = off"))


def rate_all(conn: Connection, months: Sequence[date]) -> None:
    """Rate all customers once and leave it in this transaction, for charges and printed lines to be read from.

    Its tables (`rated_stretch` and others) go when the transaction ends.
    """
    allow_memory(conn)
    conn.execute(text("DROP TABLE IF EXISTS rated_stretch, rated_keyed, rated_priced, rated_tariff"))
    # The planner needs to know how many rows there are, and little else.
    conn.execute(text("SET LOCAL default_statistics_target = 10"))
    for table, steps in _KEPT.items():
        conn.execute(
            text(f"CREATE TEMP TABLE rated_{table} ON COMMIT DROP AS WITH {steps} SELECT * FROM {table}"),
            {"months": list(months)},
        )
        # The planner knows nothing of a new table: without statistics it joins 100,000 rows one by one.
        conn.execute(text(f"ANALYZE rated_{table}"))
    conn.execute(text("SET LOCAL default_statistics_target = DEFAULT"))
