"""What a write would change of a customer's charges: said in its dialog before anybody confirms it.

The write is done, the charges are read, and it is rolled back: so the figures are those that it would leave, by the
same code, and nothing has to know the rules of rating a second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import billing, bookings, periods, prices, quotes
from lib.auth import PortalUser, User
from lib.clock import month_of, next_month
from lib.quotes import Quote


@dataclass(frozen=True)
class Effect:
    """The net charges of a month without and with a write; None where something booked has no price."""

    month: date
    before: Decimal | None
    after: Decimal | None

    @property
    def difference(self) -> Decimal | None:
        """After less before; None where either has no price."""
        return None if self.before is None or self.after is None else self.after - self.before


def of(conn: Connection, customer_id: int, write: Callable[[Connection], Any], *, today: date) -> list[Effect]:
    """What `write` would change of this booking month's and the next one's charges of a customer.

    Writes nothing. Raises what the write raises.
    """
    first_open = periods.open_month(conn)
    this = month_of(max(today, first_open or today))
    months = [this, next_month(this)]
    before = _stated(conn, customer_id, months)
    with conn.begin_nested() as dry_run:
        write(conn)
        after = _stated(conn, customer_id, months)
        dry_run.rollback()
    return [Effect(month, before[month], after[month]) for month in months]


def of_booking(
    conn: Connection,
    customer_id: int,
    product_id: int,
    *,
    quantity: int,
    effective_on: date,
    keep_pending: bool | None = None,
    internal: int | None = None,
    external: int | None = None,
    today: date,
    user: User | PortalUser,
) -> list[Effect]:
    """What booking this quantity would change of this month's and the next one's charges (row G6). Writes nothing.

    Raises what `bookings.book` would raise.
    """

    def write(dry: Connection) -> None:
        bookings.book(
            dry, customer_id, product_id, effective_on=effective_on, quantity=quantity, internal=internal,
            external=external, keep_pending=keep_pending, today=today, user=user,
        )  # fmt: skip

    return of(conn, customer_id, write, today=today)


def whole_months(
    conn: Connection, customer_id: int, product_id: int, *, quantities: Sequence[int], month: date
) -> list[Quote] | None:
    """What each quantity costs this customer for a whole month, by its own price where it has one; None without one."""
    price = prices.version_in(conn, product_id, month=month, customer_id=customer_id)
    if price is None:
        return None
    return quotes.quotes(conn, product_id, quantities=quantities, month=month, tiers=price.tiers)


def _stated(conn: Connection, customer_id: int, months: list[date]) -> dict[date, Decimal | None]:
    """Rated for this customer alone: the next month of all others need not be ready."""
    total = "CASE WHEN bool_or(amount IS NULL) THEN NULL ELSE CAST(sum(amount) AS numeric(24, 2)) END"
    rating = billing.statement(select=f"SELECT month, {total} AS amount FROM charge GROUP BY month", customers=True)
    found = conn.execute(text(rating), {"months": months, "customers": [customer_id]})
    stated: dict[date, Decimal | None] = dict.fromkeys(months, Decimal("0.00"))
    return stated | {row.month: row.amount for row in found}
