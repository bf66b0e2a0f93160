"""The list of customers: searched, filtered, ordered and paged (rows G1, G13, N3, N5).

The ids of a page are found on `customers` alone, by its indexes; only for them are status, IPs,
price and forecast looked up. So a page costs the same with a hundred customers and with 100,000.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from lib import billing, charges, customer_statuses, project_keys
from lib.clock import month_of
from lib.customer_fields import PHASES
from lib.customer_filters import Filters, conditions

# Counting stops here: a person who sees "more than 10,000" narrows the search, and it stays fast.
MOST_COUNTED = 10_000

_ORDERS = {
    "name": "c.sort_name",
    "number": "c.number",
    "ends_on": "c.ends_on",
    "forecast": "s.amount",
    "created": "c.id",
}
_MAY_BE_EMPTY = ("ends_on", "forecast")
ORDERS = tuple(_ORDERS)


@dataclass(frozen=True)
class Row:
    """A customer in the list.

    `average_ip_price` is for display: the price of a whole month of today's IPs, divided by them;
    None at 0 IPs. `forecast` is the net amount of today's month: None for a test customer, and
    where `unpriced`, because something booked has no price.
    """

    id: int
    number: str
    name: str
    contact_name: str
    contact_email: str
    country: str
    phase: str
    service_mode: str
    payment_method: str
    status: str
    billed_from: date | None
    ends_on: date | None
    ips_internal: int
    ips_external: int
    average_ip_price: Decimal | None
    forecast: Decimal | None
    unpriced: bool


@dataclass(frozen=True)
class Found:
    """A customer to pick."""

    id: int
    number: str
    name: str


@dataclass(frozen=True)
class Listing:
    """A page of the list, and how many match in each phase; MOST_COUNTED + 1 stands for more."""

    rows: list[Row]
    counts: dict[str, int]


def listing(
    conn: Connection,
    filters: Filters,
    *,
    today: date,
    order: str = "name",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> Listing:
    """One page with the counts of both phases, whichever of them `filters` names."""
    charges.ensure_rated(conn, month_of(today))
    wanted = _Wanted(order, descending, limit, offset)
    narrow = filters.search.strip() or filters.statuses or filters.quota_warnings or filters.tags
    found = _searched(conn, filters, today, wanted) if narrow else None
    if found is None:
        found = _ids(conn, filters, today, wanted), counts(conn, filters, today=today)
    return Listing(rows(conn, found[0], today=today), found[1])


def page(
    conn: Connection,
    filters: Filters,
    *,
    today: date,
    order: str = "name",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> list[Row]:
    """The customers of one page of the list, in its order. `order` is one of ORDERS."""
    charges.ensure_rated(conn, month_of(today))
    return rows(conn, _ids(conn, filters, today, _Wanted(order, descending, limit, offset)), today=today)


def count(conn: Connection, filters: Filters, *, today: date) -> int:
    """How many customers match; MOST_COUNTED + 1 stands for more than MOST_COUNTED."""
    where, values = conditions(filters, today)
    statement = f"SELECT count(*) FROM (SELECT FROM customers c WHERE {where} LIMIT :most) matching"
    return conn.scalar(text(statement), values | {"most": MOST_COUNTED + 1}) or 0


def counts(conn: Connection, filters: Filters, *, today: date) -> dict[str, int]:
    """How many match in each phase, whichever phase `filters` names; each as `count`."""
    return {phase: count(conn, replace(filters, phase=phase), today=today) for phase in PHASES}


def find(conn: Connection, search: str, *, limit: int = 20) -> list[Found]:
    """Customers to pick from, by what was typed of their name, number, contact, e-mail or VAT ID."""
    where, values = conditions(Filters(search=search), None)
    found = conn.execute(
        text(f"SELECT c.id, c.number, c.name FROM customers c WHERE {where} ORDER BY c.sort_name, c.id LIMIT :limit"),
        values | {"limit": limit},
    )
    return [Found(**row._mapping) for row in found]


def tags(conn: Connection, *, limit: int = 200) -> list[str]:
    """The tags that customers have, to choose from."""
    # From one tag to the next by the index: as quick where every customer has one.
    found = conn.scalars(
        text("""WITH RECURSIVE used AS (
                    SELECT min(tag) AS tag FROM customer_tags
                    UNION ALL
                    SELECT (SELECT min(tag) FROM customer_tags t WHERE t.tag > used.tag) FROM used WHERE tag IS NOT NULL
                )
                SELECT tag FROM used WHERE tag IS NOT NULL LIMIT :limit"""),
        {"limit": limit},
    )
    return list(found)


def chosen(conn: Connection, filters: Filters, *, today: date, limit: int | None) -> list[int]:
    """The ids of all that match, in the order of their names, up to `limit` (None: all)."""
    return _ids(conn, filters, today, _Wanted("name", False, limit, 0))


class _Wanted(NamedTuple):
    order: str
    descending: bool
    limit: int | None
    offset: int

    @property
    def way(self) -> str:
        """After the column: pages neither repeat nor skip a customer, and empty ones come last."""
        way = "DESC" if self.descending else "ASC"
        return f"{way}{' NULLS LAST' if self.order in _MAY_BE_EMPTY else ''}, id {way}"

    @property
    def table(self) -> str:
        forecast = " LEFT JOIN statements s ON s.month = :month AND s.customer_id = c.id"
        return "customers c" + (forecast if self.order == "forecast" else "")


def _ids(conn: Connection, filters: Filters, today: date, wanted: _Wanted) -> list[int]:
    where, values = conditions(filters, today)
    statement = f"""SELECT c.id FROM {wanted.table} WHERE {where}
                     ORDER BY {_ORDERS[wanted.order]} {wanted.way} LIMIT :limit OFFSET :offset"""
    values |= {"month": month_of(today), "limit": wanted.limit, "offset": wanted.offset}
    return list(conn.scalars(text(statement), values))


def _searched(
    conn: Connection, filters: Filters, today: date, wanted: _Wanted
) -> tuple[list[int], dict[str, int]] | None:
    """The page and both counts from one look at the hits; None where there are too many to look at all."""
    where, values = conditions(replace(filters, phase=None), today)
    statement = f"""
        WITH hits AS MATERIALIZED (
            SELECT c.id, c.phase, {_ORDERS[wanted.order]} AS key FROM {wanted.table} WHERE {where} LIMIT :most
        )
        SELECT count(*) FILTER (WHERE phase = 'test') AS test, count(*) FILTER (WHERE phase = 'billed') AS billed,
               ARRAY(SELECT id FROM hits WHERE CAST(:phase AS text) IS NULL OR phase = :phase
                      ORDER BY key {wanted.way} LIMIT :limit OFFSET :offset) AS ids
          FROM hits"""
    values |= {"month": month_of(today), "most": MOST_COUNTED + 1, "phase": filters.phase}
    row = conn.execute(text(statement), values | {"limit": wanted.limit, "offset": wanted.offset}).one()
    if row.test + row.billed > MOST_COUNTED:
        return None
    return row.ids, {"test": row.test, "billed": row.billed}


def rows(conn: Connection, ids: Sequence[int], *, today: date) -> list[Row]:
    """These customers with what is looked up for them, in the order of `ids`."""
    if not ids:
        return []
    found = conn.execute(
        text(f"""
            WITH ips AS (
                SELECT DISTINCT ON (customer_id) customer_id, internal, external, project_key_id
                  FROM standing_bookings
                 WHERE customer_id = ANY(CAST(:ids AS bigint[])) AND kind = 'ips' AND effective_on <= :today
                 ORDER BY customer_id, effective_on DESC
            )
            SELECT c.id, c.number, c.name, c.contact_name, c.contact_email, c.country, c.phase, c.service_mode,
                   c.payment_method, {customer_statuses.STATUS} AS status, c.billed_from, c.ends_on,
                   coalesce(i.internal, 0) AS ips_internal, coalesce(i.external, 0) AS ips_external,
                   CASE WHEN c.phase = 'test' THEN NULL WHEN s.customer_id IS NULL THEN 0.00 ELSE s.amount END
                     AS forecast,
                   c.phase = 'billed' AND s.customer_id IS NOT NULL AND s.amount IS NULL AS unpriced,
                   {project_keys.MONTH_PRICE.format("k")} AS key_price
              FROM customers c
              LEFT JOIN ips i ON i.customer_id = c.id
              LEFT JOIN project_keys k ON k.id = i.project_key_id
              LEFT JOIN statements s ON s.month = :month AND s.customer_id = c.id
             WHERE c.id = ANY(CAST(:ids AS bigint[]))"""),
        {"ids": list(ids), "today": today, "month": month_of(today)},
    )
    by_id = {row.id: dict(row._mapping) for row in found}
    averages = _average_ip_prices(conn, by_id, month_of(today))
    return [Row(**by_id[id_], average_ip_price=averages.get(id_)) for id_ in ids if id_ in by_id]


# A whole month of today's IPs, for customers who need not be charged in it: tests see their price too.
_IPS_ALL_MONTH = """
counting_spans AS (
    SELECT customer_id, CAST(:month AS date) AS from_day, NULL::date AS until_day
      FROM unnest(CAST(:customers AS bigint[])) AS customer_id
), booked_spans AS (
    SELECT asked.customer_id, p.id AS product_id, asked.quantity, CAST(:month AS date) AS from_day,
           NULL::date AS until_day, NULL::bigint AS project_key_id
      FROM unnest(CAST(:customers AS bigint[]), CAST(:quantities AS int[])) AS asked(customer_id, quantity)
      JOIN products p ON p.kind = 'ips'
)"""


def _average_ip_prices(conn: Connection, rows: dict[int, dict[str, Any]], month: date) -> dict[int, Decimal]:
    quantities = {id_: row["ips_internal"] + row["ips_external"] for id_, row in rows.items()}
    keys = {id_: row.pop("key_price") for id_, row in rows.items()}
    by_key = {id_: price / quantities[id_] for id_, price in keys.items() if price is not None and quantities[id_]}
    held = {id_: quantity for id_, quantity in quantities.items() if quantity and id_ not in by_key}
    if not held:
        return by_key
    select = "SELECT customer_id, sum(amount) AS amount FROM line GROUP BY customer_id HAVING count(*) = count(amount)"
    found = conn.execute(
        text(billing.statement(select=select, what_if=_IPS_ALL_MONTH, customers=True)),
        {"months": [month], "month": month, "customers": list(held), "quantities": list(held.values())},
    )
    return by_key | {row.customer_id: row.amount / held[row.customer_id] for row in found}
