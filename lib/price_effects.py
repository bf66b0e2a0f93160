"""What a proposed list price does to the customers of its product, before it is saved (rows G15, B5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import billing, quotes
from lib.prices import Tier, require_tiers

_ONLY = "booked_spans AS (SELECT * FROM booked_spans WHERE product_id = :proposed_product)"
_ORDER = "e.individual, abs(e.after - e.before) DESC NULLS LAST, c.sort_name, c.id"
_COMPARED = """
rated AS MATERIALIZED (
    SELECT new.customer_id, new.end_quantity AS quantity, old.amount AS before, new.amount AS after,
           new.price_id IS DISTINCT FROM -1 AS individual
      FROM ({new}) new JOIN ({old}) old USING (customer_id)
), compared AS MATERIALIZED (
    SELECT a.customer_id, quantity, before, after, individual,
           NOT individual AND before IS DISTINCT FROM after AS changed
      FROM alike a JOIN rated r ON r.customer_id = a.rated_by
)"""
_LISTED = f"""
, total AS (
    SELECT count(*) FILTER (WHERE changed) AS changed, count(*) FILTER (WHERE individual) AS individual,
           count(*) FILTER (WHERE NOT changed AND NOT individual) AS same,
           coalesce(sum(before) FILTER (WHERE changed), 0.00) AS before,
           coalesce(sum(after) FILTER (WHERE changed), 0.00) AS after
      FROM compared
), page AS (
    SELECT c.id AS customer_id, c.number, c.name, e.quantity, e.before, e.after, e.individual,
           row_number() OVER (ORDER BY {_ORDER}) AS place
      FROM compared e JOIN customers c ON c.id = e.customer_id
     WHERE e.changed OR e.individual
     ORDER BY place LIMIT :limit OFFSET :offset
)
SELECT t.changed, t.individual AS own, t.same, t.before AS sum_before, t.after AS sum_after, p.*
  FROM total t LEFT JOIN page p ON true ORDER BY p.place"""


@dataclass(frozen=True)
class Effect:
    """What a proposed price does to one customer's month. `individual`: not touched, has its own price."""

    customer_id: int
    number: str
    name: str
    quantity: int
    before: Decimal | None
    after: Decimal | None
    individual: bool

    @property
    def difference(self) -> Decimal | None:
        """After less before; None where either has no price."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Effects:
    """A page of the customers that a proposed price concerns, and what it does to all of them.

    `changed` customers pay another amount, `before` and `after` in sum; `individual` ones have a price of
    their own; for `same` it stays as it is. The rows are pages of the changed, then of the individual ones.
    """

    rows: list[Effect]
    changed: int
    individual: int
    same: int
    before: Decimal
    after: Decimal

    @property
    def listed(self) -> int:
        """How many rows all pages have."""
        return self.changed + self.individual

    @property
    def difference(self) -> Decimal:
        """What the company's month changes by."""
        return self.after - self.before


def effects(
    conn: Connection, product_id: int, *, tiers: Sequence[Tier], valid_from: date, limit: int = 50, offset: int = 0
) -> Effects:
    """Old and new amounts of the product's billed customers in the month `valid_from`, the largest difference first."""
    compared, values = comparison(conn, product_id, tiers=tiers, valid_from=valid_from)
    found = conn.execute(text(f"WITH {compared} {_LISTED}"), values | {"limit": limit, "offset": offset}).all()
    names = tuple(field.name for field in fields(Effect))
    rows = [Effect(**{name: row._mapping[name] for name in names}) for row in found if row.customer_id is not None]
    total = found[0]
    return Effects(rows, total.changed, total.own, total.same, total.sum_before, total.sum_after)


def comparison(
    conn: Connection, product_id: int, *, tiers: Sequence[Tier], valid_from: date
) -> tuple[str, dict[str, Any]]:
    """Table expressions that end in `compared`, and their parameters: each billed customer of the product.

    Columns: customer_id, quantity, before, after, individual, changed. Both amounts come from the rating statement,
    which sees this product's bookings alone. Customers who have the same on the same days, at the list price, cost
    the same: one of them is rated for all, which is a third of the work with 100,000 customers.
    """
    require_tiers(tiers)
    billing.allow_memory(conn)
    values = quotes.proposal(product_id, tiers, valid_from=valid_from) | {"months": [valid_from]}
    values["customers"] = _alike(conn, values)
    select = "SELECT customer_id, price_id, end_quantity, amount FROM charge WHERE product_id = :proposed_product"
    old = billing.statement(select=select, what_if=_ONLY, customers=True)
    new = billing.statement(select=select, what_if=f"{_ONLY},{quotes.PROPOSED_PRICE}", customers=True)
    return _COMPARED.format(old=old, new=new), values


def _alike(conn: Connection, values: Mapping[str, Any]) -> list[int]:
    """Say in the table `alike`, which ends with the transaction, who is rated for whom; returns those who are."""
    stretches = billing.statement(
        select="SELECT customer_id, from_day, until_day, last_until, quantity, project_key_id FROM stretch",
        what_if=_ONLY,
    )
    conn.execute(text("DROP TABLE IF EXISTS alike"))
    conn.execute(
        text(f"""
            CREATE TEMP TABLE alike ON COMMIT DROP AS
            SELECT customer_id, min(customer_id) OVER (PARTITION BY has, own) AS rated_by
              FROM (SELECT s.customer_id, s.has,
                           CASE WHEN s.customer_id IN (SELECT p.customer_id FROM prices p
                                                        WHERE p.product_id = :proposed_product
                                                          AND p.customer_id IS NOT NULL)
                                THEN s.customer_id END AS own
                      FROM (SELECT customer_id,
                                   string_agg(concat_ws(' ', from_day, until_day, last_until, quantity, project_key_id),
                                              ',' ORDER BY from_day) AS has
                              FROM ({stretches}) stretch GROUP BY customer_id) s) found"""),
        {name: values[name] for name in ("months", "proposed_product")},
    )
    return list(conn.scalars(text("SELECT DISTINCT rated_by FROM alike")))
