"""Every change of what a customer has, with what it does to a month: past, current and pending (rows G6, B2)."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from lib import audit, billing
from lib.bookings import Holding
from lib.project_keys import MASK, MONTH_PRICE


@dataclass(frozen=True)
class Change:
    """A booking that stands, beside what stood before it; `first` where nothing of the product did.

    `price_before` and `price_after` are what a whole month of either quantity costs, net, at the customer's price of
    the month of `effective_on`; None where no price ruled it. `state`: planned (not yet effective), in_force (rules
    today) or over (something later rules). `cancellation` is set where the whole subscription was cancelled;
    `project_key` (masked) where one starts, is split anew, or ends. A month of one that is charged once costs its price
    over its months.
    """

    id: int
    product_id: int
    effective_on: date
    before: Holding
    after: Holding
    first: bool
    price_before: Decimal | None
    price_after: Decimal | None
    recorded_at: datetime
    recorded_by: str
    state: str
    cancellation: UUID | None
    project_key: str | None = None

    @property
    def difference(self) -> Decimal | None:
        """After less before; None where either has no price."""
        if self.price_before is None or self.price_after is None:
            return None
        return self.price_after - self.price_before


_CHANGED = """
changed AS MATERIALIZED (
    SELECT id, product_id, effective_on, date_trunc('month', effective_on)::date AS month, recorded_at, recorded_by,
           lag(quantity, 1, 0) OVER earlier AS quantity_before, quantity,
           lag(internal) OVER earlier AS internal_before, internal,
           lag(external) OVER earlier AS external_before, external,
           project_key_id, lag(CASE WHEN quantity > 0 THEN project_key_id END) OVER earlier AS key_before,
           lead(effective_on) OVER earlier AS until_day, lag(id) OVER earlier IS NULL AS first,
           row_number() OVER (ORDER BY id) AS n
      FROM standing_bookings WHERE customer_id = :customer
    WINDOW earlier AS (PARTITION BY product_id ORDER BY effective_on)
)"""
# Each change is rated as two customers who had the one and the other quantity for that whole month: 2n has what was
# before, 2n + 1 what is after, negative so that they are nobody's ids. The customer's own prices are theirs.
_TIMELINE = """
counting_spans AS (
    SELECT -2 * n - side AS customer_id, month AS from_day, (month + interval '1 month')::date AS until_day
      FROM changed CROSS JOIN (VALUES (0), (1)) both_of(side)
), booked_spans AS (
    SELECT -2 * n - side AS customer_id, product_id, month AS from_day, NULL::date AS until_day,
           CASE side WHEN 0 THEN quantity_before ELSE quantity END AS quantity, NULL::bigint AS project_key_id
      FROM changed CROSS JOIN (VALUES (0), (1)) both_of(side)
     WHERE CASE side WHEN 0 THEN quantity_before ELSE quantity END > 0
), price_spans AS (
    SELECT price_id, product_id, customer_id, returns_to_list, from_month, until_month
      FROM price_spans WHERE customer_id IS NULL
    UNION ALL
    SELECT p.price_id, p.product_id, -2 * c.n - side, p.returns_to_list, p.from_month, p.until_month
      FROM price_spans p JOIN changed c ON c.product_id = p.product_id CROSS JOIN (VALUES (0), (1)) both_of(side)
     WHERE p.customer_id = :customer
)"""
# A month of nothing costs nothing; one that has lines without an amount has no price.
_PRICE = "CASE WHEN bool_or(amount IS NULL) THEN NULL ELSE sum(amount) END"
_SELECT = f"""
SELECT c.id, c.product_id, c.effective_on, c.quantity_before, c.internal_before, c.external_before,
       c.quantity, c.internal, c.external, c.first, c.recorded_at,
       coalesce(s.name, {audit.CUSTOMER_USER.format("b")}, 'System') AS recorded_by, b.cancellation,
       CASE WHEN c.quantity_before = 0 THEN 0.00 WHEN ended.id IS NOT NULL THEN {MONTH_PRICE.format("ended")}
            ELSE before.price END AS price_before,
       CASE WHEN c.quantity = 0 THEN 0.00 WHEN k.id IS NOT NULL THEN {MONTH_PRICE.format("k")}
            ELSE after.price END AS price_after,
       k.ending AS key_ending,
       CASE WHEN c.effective_on > :today THEN 'planned'
            WHEN c.until_day IS NULL OR c.until_day > :today THEN 'in_force' ELSE 'over' END AS state
  FROM changed c JOIN bookings b ON b.id = c.id LEFT JOIN staff s ON s.id = c.recorded_by
  LEFT JOIN customer_users u ON u.id = b.customer_user_id
  LEFT JOIN project_keys k ON k.id = c.project_key_id
  LEFT JOIN project_keys ended ON ended.id = c.key_before
  LEFT JOIN whole before ON before.customer_id = -2 * c.n AND before.month = c.month
  LEFT JOIN whole after ON after.customer_id = -2 * c.n - 1 AND after.month = c.month
 ORDER BY c.effective_on DESC, c.id DESC"""


def changes(conn: Connection, customer_id: int, *, today: date) -> list[Change]:
    """All changes of all products of a customer, the latest effective day first; one statement, however many."""
    priced = f"SELECT customer_id, month, {_PRICE} AS price FROM line GROUP BY customer_id, month"
    rating = billing.statement(select=priced, what_if=_TIMELINE)
    rating = rating.replace(":months", "ARRAY(SELECT DISTINCT month FROM changed)")
    statement = f"WITH {_CHANGED}, whole AS MATERIALIZED ({rating}) {_SELECT}"
    found = conn.execute(text(statement), {"customer": customer_id, "today": today})
    return [
        Change(
            id=row.id, product_id=row.product_id, effective_on=row.effective_on, first=row.first,
            before=Holding(row.quantity_before, row.internal_before, row.external_before),
            after=Holding(row.quantity, row.internal, row.external),
            price_before=row.price_before, price_after=row.price_after, recorded_at=row.recorded_at,
            recorded_by=row.recorded_by, state=row.state, cancellation=row.cancellation,
            project_key=None if row.key_ending is None else MASK + row.key_ending,
        )
        for row in found
    ]  # fmt: skip
