"""What any customers cost in any months: one statement, read by everything that shows a price.

`PARTS` turns the ledger into parts: customer, product, stretch of days, range of the price, units,
unit price, days. `LINES` groups parts into the lines that a document prints, each rounded once;
`CHARGES` sums lines. The forecast, the Cost Overview, the month close, the statement on a
customer's page, the price calculator and the preview of a price change all read these; nothing
else computes a price. The rules are those of `docs/billing.md`.

Charges of months that are not closed are kept ready in the table `charges`: a write re-rates the
customers that it touches (`keep`), a month that nobody has rated yet is rated when it is first
read (`ensure_rated`), and the close re-rates all of it (`months.approve`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib.clock import month_of

# ---------------------------------------------------------------------------------- the statement
#
# {customers} narrows the statement to some customers; {what_if} may put common table expressions
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
     WHERE true {customers}
), stretch AS (
    SELECT c.month, c.next_month, c.month_days, c.customer_id, c.last_until, b.product_id, b.quantity,
           greatest(c.from_day, b.from_day) AS from_day, least(c.until_day, b.until_day) AS until_day
      FROM counted c
      JOIN booked_spans b ON b.customer_id = c.customer_id
       AND b.from_day < c.until_day AND (b.until_day IS NULL OR b.until_day > c.from_day) {booked}
)"""

_PARTS = """
within AS (
    SELECT s.month, s.next_month, s.month_days, s.customer_id, s.product_id, p.measure, s.quantity,
           greatest(s.from_day, s.month) AS from_day, s.until_day, s.last_until
      FROM stretch s
      JOIN products p ON p.id = s.product_id
     WHERE s.until_day > s.month
), measured AS (
    -- daily: every stretch. peak and full: the highest quantity. end: that of the last counting day.
    SELECT month, month_days, customer_id, product_id, measure, quantity, from_day, until_day,
           until_day - from_day AS days, until_day - from_day < month_days AS prorated
      FROM within WHERE measure = 'daily'
    UNION ALL
    SELECT * FROM (
        SELECT DISTINCT ON (month, customer_id, product_id)
               month, month_days, customer_id, product_id, measure, quantity, from_day, until_day,
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
), part AS (
    SELECT p.*, t.first_unit, t.last_unit, t.unit_price,
           least(p.quantity, t.last_unit) - t.first_unit + 1 AS units
      FROM priced p
      LEFT JOIN price_tiers t ON t.price_id = p.price_id AND t.first_unit <= p.quantity
)"""

# A line is rounded once: per range, or per stretch of days where the product changed in the month.
_LINES = """
line AS (
    SELECT month, month_days, customer_id, product_id, measure, prorated, from_day, until_day, days, quantity,
           price_id, first_unit, last_unit, units, unit_price, round(units * unit_price, 2) AS amount
      FROM part WHERE NOT prorated
    UNION ALL
    SELECT month, month_days, customer_id, product_id, measure, prorated, from_day, until_day, days, quantity,
           price_id, NULL, NULL, NULL, NULL,
           CASE WHEN count(unit_price) = 0 THEN NULL
                ELSE round(sum(units * unit_price) * days / month_days, 2) END
      FROM part WHERE prorated
     GROUP BY month, month_days, customer_id, product_id, measure, prorated, from_day, until_day, days, quantity,
              price_id
)"""

_CHARGES = """
edge AS (
    SELECT month, customer_id, product_id, from_day AS day, quantity AS step FROM stretch WHERE from_day >= month
    UNION ALL
    SELECT month, customer_id, product_id, until_day, -quantity FROM stretch WHERE until_day < next_month
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
      FROM stretch GROUP BY month, customer_id, product_id
), rated AS (
    SELECT month, customer_id, product_id, max(price_id) AS price_id, sum(amount) AS amount,
           bool_or(amount IS NULL) AS blocked
      FROM line GROUP BY month, customer_id, product_id
), charge AS (
    SELECT q.month, q.customer_id, q.product_id, q.start_quantity, q.end_quantity,
           coalesce(c.changes, '') AS changes, r.price_id,
           CASE WHEN r.blocked THEN NULL ELSE coalesce(r.amount, 0) END AS amount
      FROM quantity q
      LEFT JOIN rated r USING (month, customer_id, product_id)
      LEFT JOIN change c USING (month, customer_id, product_id)
    UNION ALL
    SELECT a.month, a.customer_id, p.id, 0, 0, '', NULL, sum(a.amount)
      FROM adjustments a JOIN products p ON p.kind = 'adjustment'
     WHERE a.withdrawn_at IS NULL AND a.month = ANY(CAST(:months AS date[])) {adjusted}
     GROUP BY a.month, a.customer_id, p.id
)"""


# What `rate_all` left in this transaction takes the place of the steps that lead to it.
_RATED = """
stretch AS NOT MATERIALIZED (SELECT * FROM rated_stretch),
line AS NOT MATERIALIZED (SELECT * FROM rated_line)"""


def statement(*, select: str, what_if: str = "", customers: bool = False, rated: bool = False) -> str:
    """The rating statement that ends in `select` from stretch, part, line or charge.

    Its parameters are :months (first days) and, where `customers` is set, :customers (ids).
    `what_if` puts expressions in front of it that stand for views or tables of the same name;
    `rated` reads what `rate_all` left instead of rating again.
    """
    filters = {
        "customers": "AND s.customer_id = ANY(CAST(:customers AS bigint[]))" if customers else "",
        # Said once more of bookings and prices: a condition of the join doesn't reach into the window of a view.
        "booked": "AND b.customer_id = ANY(CAST(:customers AS bigint[]))" if customers else "",
        "own": "AND i.customer_id = ANY(CAST(:customers AS bigint[]))" if customers else "",
        "adjusted": "AND a.customer_id = ANY(CAST(:customers AS bigint[]))" if customers else "",
    }
    steps = ["stretch", "part", "line", "charge"]
    chain = [_STRETCHES, _PARTS, _LINES, _CHARGES][: steps.index(select.split(" FROM ")[1].split()[0]) + 1]
    if rated:
        chain = [_RATED, *chain[3:]]
    body = ",".join(fragment.format(**filters) for fragment in chain)
    prefix = f"{what_if}," if what_if else ""
    return f"WITH {prefix}{body} {select}"


CHARGE_COLUMNS = "month, customer_id, product_id, start_quantity, end_quantity, changes, price_id, amount"


# ---------------------------------------------------------------------------------- reading it


@dataclass(frozen=True)
class Part:
    """The smallest piece of a charge: one range of the price over one stretch of days.

    `until_day` is the first day that no longer belongs to it. `amount` is exact, not rounded;
    None where no price rules the month.
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


@dataclass(frozen=True)
class Line:
    """What a document prints on one line, rounded once to the cent.

    A range line has units and unit price; a prorated one has them None and says its days.
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


def parts(conn: Connection, *, months: Sequence[date], customers: Sequence[int]) -> list[Part]:
    """The parts of these customers' months, in the order of product, day and range."""
    select = """
        SELECT month, customer_id, product_id, measure, from_day, until_day, days, month_days, quantity, price_id,
               first_unit, last_unit, units, unit_price, units * unit_price * days / month_days AS amount
          FROM part ORDER BY month, customer_id, product_id, from_day, first_unit"""
    found = _run(conn, statement(select=select, customers=True), months, customers)
    return [Part(**row._mapping) for row in found]


def lines(conn: Connection, *, months: Sequence[date], customers: Sequence[int]) -> list[Line]:
    """The lines of these customers' months, in the order of product, day and range."""
    select = """
        SELECT month, customer_id, product_id, prorated, from_day, until_day, days, month_days, quantity, price_id,
               first_unit, last_unit, units, unit_price, amount
          FROM line ORDER BY month, customer_id, product_id, from_day, first_unit"""
    found = _run(conn, statement(select=select, customers=True), months, customers)
    return [Line(**row._mapping) for row in found]


# ---------------------------------------------------------------------------------- prices asked for


@dataclass(frozen=True)
class Tier:
    """A range of a price: each of its units costs `unit_price`. `last_unit` None: and above."""

    first_unit: int
    last_unit: int | None
    unit_price: Decimal


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
           CAST(:month AS date) AS from_day, NULL::date AS until_day
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
               first_unit, last_unit, units, unit_price, amount
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
    for row in conn.execute(text(statement(select=select, what_if=what_if)), values):
        found.setdefault(-row.customer_id - 1, []).append(Line(**row._mapping))
    return [Quote(quantity, found.get(index, [])) for index, quantity in enumerate(quantities)]


# ---------------------------------------------------------------------------------- keeping charges ready


def keep(conn: Connection, *, customers: Sequence[int] | None, first_month: date | None = None) -> None:
    """Re-rate these customers (None: all) in every month that is rated and not closed, from `first_month` on.

    Called by each write that can change charges, in its transaction.
    """
    if customers is not None and not customers:
        return
    months = list(
        conn.scalars(
            text("""SELECT month FROM rated_months
                     WHERE month >= greatest(open_month(), CAST(:first AS date)) ORDER BY month"""),
            {"first": first_month},
        )
    )
    if months:
        _store(conn, months, customers)


def ensure_rated(conn: Connection, *months: date) -> None:
    """Rate the open months among these that nobody has read yet, so that their charges are ready.

    Takes the open month's row FOR UPDATE: no booking can slip in between rating and storing.
    """
    missing = text("""
        SELECT month FROM unnest(CAST(:months AS date[])) AS month
         WHERE month >= (SELECT open_month()) AND month NOT IN (SELECT month FROM rated_months)""")
    if not conn.scalars(missing, {"months": list(months)}).all():
        return
    conn.execute(text("SELECT month FROM months WHERE state = 'open' FOR UPDATE"))
    # Looked at again: somebody may have rated or closed them while we waited.
    wanted = list(conn.scalars(missing, {"months": list(months)}))
    if wanted:
        conn.execute(text("INSERT INTO rated_months SELECT unnest(CAST(:months AS date[]))"), {"months": wanted})
        _store(conn, wanted, None)


def open_months(conn: Connection, *, today: date) -> list[date]:
    """The months from the first open one to the one of `today`: those whose charges are a forecast."""
    found = conn.scalars(
        text("""SELECT generate_series(open_month()::timestamp, CAST(:last AS timestamp), interval '1 month')::date"""),
        {"last": month_of(today)},
    )
    return list(found)


def allow_memory(conn: Connection) -> None:
    """Let this transaction sort 100,000 customers in memory rather than on disk."""
    conn.execute(text("SET LOCAL work_mem = '128MB'"))


def rate_all(conn: Connection, months: Sequence[date]) -> None:
    """Rate all customers once and leave it in this transaction, for charges and printed lines to be read from.

    Its tables (`rated_stretch`, `rated_line`) go when the transaction ends.
    """
    allow_memory(conn)
    conn.execute(text("DROP TABLE IF EXISTS rated_stretch, rated_line"))
    stretches = statement(select="SELECT * FROM stretch")
    conn.execute(text(f"CREATE TEMP TABLE rated_stretch ON COMMIT DROP AS {stretches}"), {"months": list(months)})
    # The planner knows nothing of a new table: without statistics it joins 100,000 rows one by one.
    conn.execute(text("ANALYZE rated_stretch (month, customer_id, product_id)"))
    parts = _PARTS.format(own="")
    chain = ",".join(("stretch AS NOT MATERIALIZED (SELECT * FROM rated_stretch)", parts, _LINES))
    conn.execute(text(f"CREATE TEMP TABLE rated_line ON COMMIT DROP AS WITH {chain} SELECT * FROM line"))
    conn.execute(text("ANALYZE rated_line (month, customer_id, product_id)"))


def _store(conn: Connection, months: Sequence[date], customers: Sequence[int] | None) -> None:
    narrowed = "" if customers is None else "AND customer_id = ANY(CAST(:customers AS bigint[]))"
    values = {"months": list(months), "customers": None if customers is None else list(customers)}
    if customers is None:
        rate_all(conn, months)
    for table in ("charges", "statements"):
        conn.execute(text(f"DELETE FROM {table} WHERE month = ANY(CAST(:months AS date[])) {narrowed}"), values)
    everyone = customers is None
    rating = statement(select=f"SELECT {CHARGE_COLUMNS} FROM charge", customers=not everyone, rated=everyone)
    conn.execute(
        text(f"""
            WITH charge AS MATERIALIZED ({rating}),
            stored AS (INSERT INTO charges ({CHARGE_COLUMNS}) SELECT {CHARGE_COLUMNS} FROM charge)
            INSERT INTO statements (month, customer_id, amount)
            SELECT month, customer_id, CASE WHEN bool_or(amount IS NULL) THEN NULL ELSE sum(amount) END
              FROM charge GROUP BY month, customer_id"""),
        values,
    )


def _run(conn: Connection, sql: str, months: Sequence[date], customers: Sequence[int]) -> list[Any]:
    return list(conn.execute(text(sql), {"months": list(months), "customers": list(customers)}))


def differences(conn: Connection, *, months: Sequence[date]) -> list[str]:
    """Where the stored charges of these months are not what a full rating gives, in words; none is right.

    Leaves the rating in this transaction (`rate_all`).
    """
    rate_all(conn, months)
    rating = statement(select=f"SELECT {CHARGE_COLUMNS} FROM charge", rated=True)
    columns = "start_quantity, end_quantity, changes, price_id, amount"
    found = conn.execute(
        text(f"""
            WITH rating AS MATERIALIZED ({rating})
            SELECT month, customer_id, product_id, s.amount AS stored, r.amount AS right_amount
              FROM rating r
              FULL JOIN (SELECT * FROM charges WHERE month = ANY(CAST(:months AS date[]))) s
              USING (month, customer_id, product_id)
             WHERE (s.{columns.replace(", ", ", s.")}) IS DISTINCT FROM (r.{columns.replace(", ", ", r.")})
             ORDER BY month, customer_id, product_id LIMIT 1000"""),
        {"months": list(months)},
    )
    return [
        f"{row.month:%Y-%m} customer {row.customer_id} product {row.product_id}: "
        f"{row.stored} kept, {row.right_amount} rated"
        for row in found
    ]
