"""The Cost Overview: what all billed customers cost, by month, customer and product (row N11).

Months that are closed are final; the open ones are a forecast. Pages go by customer: the ids of a
page come from an index, and only for them are charges read, so that a page costs the same with a
hundred customers and with 100,000. Totals that no customer filter narrows come from `month_totals`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
from sqlalchemy import Connection, text

from lib import charges
from lib.clock import next_month
from lib.report_filters import Filters, asked, conditions, of_products
from lib.term_amounts import COSTED, PREPAID

# Counting stops here: a person who sees "more than 10,000" narrows the search, and it stays fast.
MOST_COUNTED = 10_000
# The chart of a search that matches more customers would read every charge of two years.
MOST_CHARTED = 1_000
CHARTED_MONTHS = 24
ORDERS = ("name", "number", "amount")


@dataclass(frozen=True)
class Total:
    """A net amount and the one of the months before; None where those have no charges at all."""

    amount: Decimal
    before: Decimal | None

    @property
    def change(self) -> Decimal | None:
        """The amount less the one before."""
        return None if self.before is None else self.amount - self.before

    @property
    def percent(self) -> Decimal | None:
        """The change in percent of the amount before; None where that was 0."""
        return None if not self.before or self.change is None else self.change * 100 / abs(self.before)


@dataclass(frozen=True)
class Summary:
    """What the filtered charges add up to.

    `products` has a total per product id, in the order of the catalogue, and under PREPAID one of what is prepaid.
    `series` is a frame of net amounts (Decimal): its index the months up to the last one, a column per product id.
    `unpriced` counts charges without a price; they are in no total.
    """

    total: Total
    products: dict[int, Total]
    series: pd.DataFrame
    unpriced: int


@dataclass(frozen=True)
class Page:
    """Some customers with all their rows. `customers` counts all that match, MOST_COUNTED + 1 for more than that.

    The frame's columns are those of ROW_COLUMNS; a customer without charges has one row per month
    whose product and amount are None.
    """

    rows: pd.DataFrame
    customers: int


ROW_COLUMNS = (
    "month",
    "customer_id",
    "number",
    "customer",
    "product_id",
    "product",
    "start",
    "changes",
    "end",
    "amount",
    "state",
)


def summary(conn: Connection, filters: Filters, *, charted: int = CHARTED_MONTHS) -> Summary:
    """Totals of the range against the months before it, and the months that a chart shows."""
    window = [next_month(filters.last, by=-back) for back in range(charted - 1, -1, -1)]
    wanted = sorted({*window, *filters.months, *filters.months_before})
    charges.ensure_rated(conn, *wanted)
    sums = _sums(conn, filters, wanted)
    series = sums.pivot(index="month", columns="product_id", values="amount")
    before = set(filters.months_before)
    compared = bool(sums["month"].isin(before).any())
    products = {
        int(product): Total(
            _added(series[product], filters.months), _added(series[product], before) if compared else None
        )
        for product in sums["product_id"].unique()
    }
    total = Total(
        sum((each.amount for each in products.values()), Decimal("0.00")),
        sum((each.before or Decimal(0) for each in products.values()), Decimal("0.00")) if compared else None,
    )
    shown = {product: each for product, each in products.items() if each.amount or each.before}
    charts = series.reindex(index=window).reindex(columns=list(products))
    return Summary(total, shown, charts, _unpriced(conn, filters))


def overview_page(conn: Connection, filters: Filters, *, limit: int = 25, offset: int = 0, order: str = "name") -> Page:
    """The rows of `limit` customers from `offset` on. Orders: name, number, or amount, the largest first.

    Under amount, customers with something unpriced come first, those without charges last.
    """
    charges.ensure_rated(conn, *filters.months)
    customers, ids = matching(conn, filters, limit=limit, offset=offset, order=order)
    statement, values = rows_statement(filters, ids=ids)
    found = conn.execute(text(statement), values)
    frame = pd.DataFrame([tuple(row) for row in found], columns=list(ROW_COLUMNS), dtype=object)
    return Page(frame, customers)


# ---------------------------------------------------------------------------------- the rows

# A charge per row; what was invoiced in advance in the month on a row of its own (`lib/term_amounts.py`); and one row
# without product for a billed customer's month that has neither.
# Customers get their place in the order first: 400,000 rows sort by a number faster than by names.
_ROWS = """
WITH listed AS MATERIALIZED (
    SELECT c.id, c.number, c.name, c.billed_from, c.ends_on, {place} AS place FROM customers c WHERE {customers}
)
SELECT month, customer_id, number, customer, product_id, product, "start", changes, "end", amount,
       CASE WHEN prepaid THEN 'prepaid' WHEN product_id IS NOT NULL AND amount IS NULL THEN 'no price'
            WHEN month >= (SELECT open_month()) THEN 'forecast' ELSE 'final' END AS state{purchase}
  FROM (
    SELECT h.month, c.id AS customer_id, c.number, c.name AS customer, c.place, h.product_id, p.name_en AS product,
           p.position, h.start_quantity AS "start", h.changes, h.end_quantity AS "end", h.amount,
           false AS prepaid{bought}
      FROM listed c
      JOIN charges h ON h.customer_id = c.id
      JOIN products p ON p.id = h.product_id{totals}
     WHERE h.month = ANY(CAST(:months AS date[])) {products}
    UNION ALL
    SELECT h.month, c.id, c.number, c.name, c.place, h.product_id, p.name_en || ', prepaid', p.position, NULL, NULL,
           NULL, sum(h.amount), true{in_advance}
      FROM listed c
      JOIN {terms} h ON h.customer_id = c.id
      JOIN products p ON p.id = h.product_id
     WHERE h.month = ANY(CAST(:months AS date[])) {products}
     GROUP BY h.month, c.id, c.number, c.name, c.place, h.product_id, p.id
    {without}
  ) found
 ORDER BY place, month, position, product_id, prepaid"""

_WITHOUT = """
    UNION ALL
    SELECT m.month, c.id, c.number, c.name, c.place, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false{nothing}
      FROM listed c
      CROSS JOIN unnest(CAST(:months AS date[])) AS m(month)
     WHERE c.billed_from < (m.month + interval '1 month')::date
       AND (c.ends_on IS NULL OR c.ends_on >= m.month - 1)
       AND NOT EXISTS (SELECT FROM statements s WHERE s.month = m.month AND s.customer_id = c.id
                          AND s.month = ANY(CAST(:months AS date[])))
       AND NOT EXISTS (SELECT FROM term_amounts a WHERE a.month = m.month AND a.customer_id = c.id)"""

# What has no purchase price costs us nobody knows what, nor a month that was closed before that was kept. An adjustment
# costs nothing.
_PURCHASES = {
    "purchase": ", purchase",
    "bought": """,
           coalesce(h.purchase, CASE WHEN p.kind = 'adjustment' OR b.product_id IS NOT NULL THEN 0 * t.purchase END)
           AS purchase""",
    "totals": """
      LEFT JOIN month_totals t ON t.month = h.month AND t.product_id = h.product_id
      LEFT JOIN purchase_spans b ON b.product_id = h.product_id
       AND b.from_month <= h.month AND (b.until_month IS NULL OR b.until_month > h.month)""",
    "in_advance": ", CASE WHEN count(h.purchase) = count(*) THEN sum(h.purchase) END",
    "nothing": ", NULL",
}


def rows_statement(
    filters: Filters, *, ids: Sequence[int] | None = None, purchases: bool = False
) -> tuple[str, dict[str, Any]]:
    """The rows of these customers in the order of `ids`, or (None) of all that match in the order of names.

    Its columns are ROW_COLUMNS, and `purchase` where the caller has made sure that the reader may see it. The page and
    the exports read the same statement.
    """
    where, values = conditions(filters)
    place = "row_number() OVER (ORDER BY c.sort_name, c.id)"
    if ids is not None:
        where, values["ids"] = "c.id = ANY(CAST(:ids AS bigint[]))", list(ids)
        place = "array_position(CAST(:ids AS bigint[]), c.id)"
    without = "" if filters.products else _WITHOUT
    parts = _PURCHASES if purchases else dict.fromkeys(_PURCHASES, "")
    parts = parts | {"terms": f"({COSTED})" if purchases else "term_amounts"}
    without = without.format(**parts)
    statement = _ROWS.format(customers=where, products=of_products(filters), without=without, place=place, **parts)
    return statement, values


def matching(conn: Connection, filters: Filters, *, limit: int, offset: int, order: str) -> tuple[int, list[int]]:
    """How many customers match (at most MOST_COUNTED + 1), and the ids of one page of them."""
    where, values = conditions(filters)
    listed = _by_amount(filters, where) if order == "amount" else _by_text(filters, where, order)
    # Sorting or hashing 100,000 ids on disk takes three times as long.
    conn.execute(text("SET LOCAL work_mem = '64MB'"))
    row = conn.execute(
        text(f"""
            WITH matched AS MATERIALIZED (SELECT id FROM ({listed}) listed LIMIT :most)
            SELECT (SELECT count(*) FROM matched) AS customers,
                   ARRAY(SELECT id FROM matched LIMIT :limit OFFSET :offset) AS ids"""),
        values | {"most": MOST_COUNTED + 1, "limit": limit, "offset": offset},
    ).one()
    return row.customers, row.ids


def _by_text(filters: Filters, where: str, order: str) -> str:
    ordered = {"name": "c.sort_name, c.id", "number": "c.number, c.id"}[order]
    if not filters.products:
        return f"SELECT c.id FROM customers c WHERE {where} ORDER BY {ordered} LIMIT :most"
    return f"""
        SELECT c.id FROM customers c
         WHERE {where} AND (EXISTS (SELECT FROM charges h WHERE h.customer_id = c.id
                                      AND h.month = ANY(CAST(:months AS date[])) {of_products(filters)})
               OR c.id IN (SELECT h.customer_id FROM term_amounts h
                            WHERE h.month = ANY(CAST(:months AS date[])) {of_products(filters)}))
         ORDER BY {ordered} LIMIT :most"""


# Where products are asked for, what was invoiced in advance for them counts like a charge.
_BY_PRODUCT = """(SELECT month, customer_id, product_id, amount FROM charges
                  UNION ALL SELECT month, customer_id, product_id, amount FROM term_amounts)"""


def _by_amount(filters: Filters, where: str) -> str:
    """Those with charges by their sum, then those without by name."""
    source = _BY_PRODUCT if filters.products else "statements"
    if filters.by_customer:
        source += f" h JOIN customers c ON c.id = h.customer_id AND {where}"
    else:  # whoever was charged is shown
        source += " h"
    if filters.first == filters.last and not filters.products:  # one row per customer, in the order of the index
        charged = "WHERE h.month = :first ORDER BY h.amount DESC, h.customer_id DESC"
    else:
        charged = f"""
            WHERE h.month = ANY(CAST(:months AS date[])) {of_products(filters)} GROUP BY h.customer_id
            ORDER BY CASE WHEN bool_and(h.amount IS NOT NULL) THEN sum(h.amount) END DESC, h.customer_id DESC"""
    charged = f"SELECT h.customer_id AS id FROM {source} {charged} LIMIT :most"
    if filters.products:
        return charged
    return f"""
        SELECT id FROM ({charged}) charged
        UNION ALL
        SELECT id FROM (SELECT c.id FROM customers c
                         WHERE {where} AND NOT EXISTS (SELECT FROM statements s WHERE s.customer_id = c.id
                                                          AND s.month = ANY(CAST(:months AS date[])))
                         ORDER BY c.sort_name, c.id LIMIT :most) uncharged"""


# ---------------------------------------------------------------------------------- the sums


def _sums(conn: Connection, filters: Filters, wanted: Sequence[date]) -> pd.DataFrame:
    """Net amounts by month and product, in the order of the catalogue; what is prepaid (PREPAID) comes last."""
    where, values = asked(filters)
    charged = f"h.month = ANY(CAST(:wanted AS date[])) {of_products(filters)}"
    if filters.by_customer:
        source = f"""SELECT h.month, h.product_id, coalesce(sum(h.amount), 0) AS amount FROM charges h
                      WHERE {charged} AND h.customer_id IN (SELECT c.id FROM customers c WHERE {where})
                      GROUP BY h.month, h.product_id"""
    else:
        source = f"SELECT h.month, h.product_id, h.amount FROM month_totals h WHERE {charged} AND h.charges > 0"
    in_advance = f"SELECT h.month, sum(h.amount) AS amount FROM term_amounts h WHERE {charged} {{}} GROUP BY h.month"
    one_of = f"AND h.customer_id IN (SELECT c.id FROM customers c WHERE {where})" if filters.by_customer else ""
    found = conn.execute(
        text(f"""SELECT month, product_id, amount
                   FROM (SELECT f.month, f.product_id, f.amount, p.position FROM ({source}) f
                           JOIN products p ON p.id = f.product_id
                          UNION ALL SELECT month, {PREPAID}, amount, NULL FROM ({in_advance.format(one_of)}) a) found
                  ORDER BY position NULLS LAST, product_id, month"""),
        values | {"wanted": list(wanted)},
    )
    return pd.DataFrame([tuple(row) for row in found], columns=["month", "product_id", "amount"], dtype=object)


def _added(series: "pd.Series[Any]", wanted: Collection[date]) -> Decimal:
    amounts = (amount for month, amount in series.items() if month in wanted and not pd.isna(amount))
    return sum(amounts, Decimal("0.00"))


def _unpriced(conn: Connection, filters: Filters) -> int:
    where, values = asked(filters)
    return (
        conn.scalar(
            text(f"""SELECT count(*) FROM statements s JOIN charges h USING (month, customer_id)
                   JOIN customers c ON c.id = s.customer_id
                  WHERE s.month = ANY(CAST(:months AS date[])) AND s.amount IS NULL AND h.amount IS NULL
                    AND {where} {of_products(filters)}"""),
            values,
        )
        or 0
    )
