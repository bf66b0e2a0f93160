"""The table of the first page: a month by price or in detail, paged and as JSON (row G17).

*By price*: a row per price that charged something, the list price of a product first, then each
individual price. *In detail*: the rows of the Cost Overview. What it costs us and the margin stand in
it for those who may see purchase prices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import charges, reports
from lib.auth import Permission, User, require
from lib.prices import Tier
from lib.project_keys import MASK
from lib.report_files import json_rows
from lib.report_filters import Filters

VIEWS = {"price": "By price", "detail": "In detail"}


@dataclass(frozen=True)
class PriceRow:
    """What one price brought in. `customer` is None for the list price, `tiers` empty where there is no price.

    `quantity` is that of the month's end. `income` is None where there is no price; `purchase` where there is no
    purchase price (0.00 is one), where nobody knows it any more, or where the reader may not know it. `project_key`
    (masked) where one stood for the price.
    """

    product_id: int
    product: str
    customer_id: int | None
    customer: str | None
    since: date | None
    tiers: list[Tier]
    customers: int
    quantity: int
    income: Decimal | None
    purchase: Decimal | None
    project_key: str = ""

    @property
    def average(self) -> Decimal | None:
        """Income by unit, for display; None at 0 units and where the income is not known."""
        return self.income / self.quantity if self.quantity and self.income is not None else None

    @property
    def margin(self) -> Decimal | None:
        """Income less purchase; None where either is not known."""
        return None if self.purchase is None or self.income is None else self.income - self.purchase


@dataclass(frozen=True)
class DetailRow:
    """A charge of a customer; without a product, a billed customer that has none in this month."""

    customer_id: int
    number: str
    customer: str
    product_id: int | None
    product: str | None
    quantity: int | None
    income: Decimal | None
    purchase: Decimal | None
    state: str

    @property
    def margin(self) -> Decimal | None:
        """Income less purchase; None where either is not known."""
        return None if self.purchase is None or self.income is None else self.income - self.purchase


# Only individual prices are looked up: what the list price brought in is the month's total less theirs. A charge with
# days of a project key is the key's, with what the customer's other days cost. What has no price brought in nobody
# knows what, and what has no purchase price costs as little known; an adjustment has neither, and costs nothing.
_BY_PRICE = """
WITH bought AS (
    SELECT p.id AS product_id FROM products p
     WHERE p.kind = 'adjustment' OR EXISTS (
           SELECT FROM purchase_spans b WHERE b.product_id = p.id AND b.from_month <= :month
              AND (b.until_month IS NULL OR b.until_month > :month))
), keyed AS (
    SELECT DISTINCT ON (customer_id) customer_id, ending, from_day FROM project_keys
     WHERE from_day < CAST(:month AS date) + interval '1 month' AND until_day > :month
     ORDER BY customer_id, from_day DESC
), individual AS (
    SELECT h.product_id, h.price_id, h.customer_id, h.end_quantity AS quantity, h.amount AS income,
           CASE WHEN h.product_id IN (SELECT product_id FROM bought) THEN coalesce(h.purchase, 0 * t.purchase) END
           AS purchase, '' AS key, NULL::date AS since
      FROM prices i
      JOIN charges h ON h.month = :month AND h.customer_id = i.customer_id AND h.product_id = i.product_id
       AND h.price_id = i.id
      JOIN month_totals t ON t.month = h.month AND t.product_id = h.product_id
     WHERE i.customer_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM keyed k JOIN products p ON p.id = h.product_id AND p.kind = 'ips'
                        WHERE k.customer_id = h.customer_id)
    UNION ALL
    SELECT h.product_id, NULL, h.customer_id, h.end_quantity, h.amount,
           coalesce(h.purchase, 0 * t.purchase), k.ending, k.from_day
      FROM keyed k
      JOIN products p ON p.kind = 'ips'
      JOIN charges h ON h.month = :month AND h.customer_id = k.customer_id AND h.product_id = p.id
      JOIN month_totals t ON t.month = h.month AND t.product_id = h.product_id
), less AS (
    SELECT product_id, count(*) AS customers, sum(quantity) AS quantity, sum(income) AS income,
           sum(purchase) AS purchase
      FROM individual GROUP BY product_id
), priced AS (
    SELECT t.product_id, l.price_id, l.from_month AS since, NULL::bigint AS customer_id,
           t.charges - coalesce(s.customers, 0) AS customers, t.quantity - coalesce(s.quantity, 0) AS quantity,
           CASE WHEN l.price_id IS NOT NULL OR p.kind = 'adjustment' THEN t.amount - coalesce(s.income, 0) END
           AS income,
           CASE WHEN t.product_id IN (SELECT product_id FROM bought) THEN t.purchase - coalesce(s.purchase, 0) END
           AS purchase, '' AS key
      FROM month_totals t
      JOIN products p ON p.id = t.product_id
      LEFT JOIN less s ON s.product_id = t.product_id
      LEFT JOIN price_spans l ON l.product_id = t.product_id AND l.customer_id IS NULL
       AND l.from_month <= t.month AND (l.until_month IS NULL OR l.until_month > t.month)
     WHERE t.month = :month AND t.charges > coalesce(s.customers, 0)
    UNION ALL
    SELECT i.product_id, i.price_id, coalesce(v.valid_from, i.since), i.customer_id, 1, i.quantity, i.income,
           i.purchase, i.key
      FROM individual i LEFT JOIN prices v ON v.id = i.price_id
)
SELECT r.product_id, p.name_en AS product, r.customer_id, c.name AS customer, c.number, r.since, r.price_id,
       r.customers, r.quantity, r.income, r.purchase, r.key,
       row_number() OVER (ORDER BY p.position, p.id, r.customer_id IS NOT NULL, c.sort_name, c.id) AS place
  FROM priced r JOIN products p ON p.id = r.product_id LEFT JOIN customers c ON c.id = r.customer_id"""

_TIERS = """(SELECT array_agg(ARRAY[t.first_unit::text, t.last_unit::text, t.unit_price::text] ORDER BY t.first_unit)
               FROM price_tiers t WHERE t.price_id = r.price_id)"""


def by_price(
    conn: Connection, month: date, *, user: User, limit: int = 25, offset: int = 0
) -> tuple[list[PriceRow], int]:
    """A page of the prices that charged something in this month, and how many there are."""
    require(user, Permission.READ)
    charges.ensure_rated(conn, month)
    found = conn.execute(
        text(f"""WITH found AS MATERIALIZED ({_BY_PRICE})
                 SELECT r.*, {_TIERS} AS tiers, (SELECT count(*) FROM found) AS total
                   FROM found r ORDER BY place LIMIT :limit OFFSET :offset"""),
        {"month": month, "limit": limit, "offset": offset},
    ).all()
    shown = user.may(Permission.SEE_PURCHASE_PRICES)
    rows = [
        PriceRow(
            product_id=row.product_id,
            product=row.product,
            customer_id=row.customer_id,
            customer=row.customer,
            since=row.since,
            tiers=[Tier(int(tier[0]), int(tier[1]) if tier[1] else None, Decimal(tier[2])) for tier in row.tiers or []],
            customers=row.customers,
            quantity=row.quantity,
            income=row.income,
            purchase=row.purchase if shown else None,
            project_key=MASK + row.key if row.key else "",
        )
        for row in found
    ]
    return rows, found[0].total if found else 0


def in_detail(
    conn: Connection, month: date, *, user: User, limit: int = 25, offset: int = 0
) -> tuple[list[DetailRow], int]:
    """The rows of a page of customers, by name, and how many customers there are (MOST_COUNTED + 1: more)."""
    require(user, Permission.READ)
    charges.ensure_rated(conn, month)
    filters = Filters(first=month, last=month)
    customers, ids = reports.matching(conn, filters, limit=limit, offset=offset, order="name")
    rows, values = reports.rows_statement(filters, ids=ids, purchases=True)
    shown = user.may(Permission.SEE_PURCHASE_PRICES)
    detail = [
        DetailRow(
            customer_id=row.customer_id,
            number=row.number,
            customer=row.customer,
            product_id=row.product_id,
            product=row.product,
            quantity=row.end,
            income=row.amount,
            purchase=row.purchase if shown else None,
            state=row.state,
        )
        for row in conn.execute(text(rows), values)
    ]
    return detail, customers


def file_name(month: date, view: str) -> str:
    """overview-2026-08-by-price.json."""
    return f"overview-{month:%Y-%m}-{VIEWS[view].lower().replace(' ', '-')}.json"


def export_json(conn: Connection, month: date, *, view: str, user: User) -> Iterator[bytes]:
    """The table on all its pages as a JSON list of objects, streamed; amounts are strings with two decimals.

    By price: month, product, price (list, individual or project key), since (YYYY-MM), number, customer, customers,
    quantity, income. In detail: month, number, customer, product, quantity, income, state. For who may see purchase
    prices also purchase and margin. Null is what nobody knows: the income of what has no price, the purchase of what
    has no purchase price, and a margin of either.
    """
    require(user, Permission.READ)
    charges.ensure_rated(conn, month)
    ours = ""
    if user.may(Permission.SEE_PURCHASE_PRICES):
        ours = ", r.purchase::text AS purchase, (r.income - r.purchase)::text AS margin"
    if view == "price":
        select = f"""SELECT to_char(CAST(:month AS date), 'YYYY-MM') AS month, r.product,
                            CASE WHEN r.customer_id IS NULL THEN 'list' WHEN r.key <> '' THEN 'project key'
                                 ELSE 'individual' END AS price,
                            to_char(r.since, 'YYYY-MM') AS since, r.number, r.customer, r.customers, r.quantity,
                            r.income::text AS income {ours}
                       FROM ({_BY_PRICE}) r ORDER BY place"""
        return json_rows(conn, select, {"month": month})
    rows, values = reports.rows_statement(Filters(first=month, last=month), purchases=True)
    select = f"""SELECT to_char(r.month, 'YYYY-MM') AS month, r.number, r.customer, r.product, r."end" AS quantity,
                        r.amount::text AS income, r.state {ours.replace("r.income", "r.amount")}
                   FROM ({rows}) r"""
    return json_rows(conn, select, values)
