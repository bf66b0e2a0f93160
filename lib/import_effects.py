"""What an import of bookings or end dates would change of the charges: said before anybody applies it (row B11).

The rows are written, the customers rated, and all of it is rolled back: the figures are those that
the import would leave, by the code that rates everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import billing, charges, import_bookings, import_customer_writes, periods
from lib.auth import User
from lib.import_plans import Plan, Planned, id_array

MOST_AFFECTED = 10
_Amounts = dict[tuple[date, int], Decimal | None]


@dataclass(frozen=True)
class MonthEffect:
    """The net charges of an open month: of the customers in the file, and of all, without and with the import.

    `unpriced` counts the customers of the file of whom something booked would have no price.
    """

    month: date
    before: Decimal
    after: Decimal
    all_before: Decimal
    unpriced: int

    @property
    def all_after(self) -> Decimal:
        """Of all customers, with the import."""
        return self.all_before + self.after - self.before


@dataclass(frozen=True)
class CustomerEffect:
    """The net charges of one customer in the current month; None where something booked has no price."""

    number: str
    name: str
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True)
class Effect:
    """By open month, and the customers whose current month changes most. `second_plans`: who would have two plans."""

    months: list[MonthEffect]
    customers: list[CustomerEffect]
    second_plans: set[int]


def of_bookings(conn: Connection, planned: Plan, *, today: date, user: User) -> Effect:
    """The effect of a plan of bookings. Writes nothing that stays."""
    rows = planned.changing()

    def write() -> set[int]:
        import_bookings.append(conn, rows, user=user)
        return import_bookings.second_plans(conn, rows)

    return _of(conn, planned, rows, write, today=today)


def of_ends(conn: Connection, planned: Plan, *, today: date, user: User) -> Effect | None:
    """The effect of the end dates in a plan of customers; None where it changes none. Writes nothing that stays."""
    rows = import_customer_writes.moving(planned, planned.changing())

    def write() -> set[int]:
        import_customer_writes.move_ends(conn, planned, rows, today=today, user=user)
        return set()

    return _of(conn, planned, rows, write, today=today) if rows else None


def _of(
    conn: Connection, planned: Plan, rows: Sequence[Planned], write: Callable[[], set[int]], *, today: date
) -> Effect:
    ids = id_array(row.customer_id for row in rows)
    months = periods.open_months(conn, today=today)
    charges.ensure_rated(conn, *months)
    before = _amounts(conn, months, ids)
    with conn.begin_nested() as dry_run:
        second_plans = write()
        after = _amounts(conn, months, ids)
        dry_run.rollback()
    names = {row.customer_id: planned.named(row) for row in rows}
    return Effect(
        [_of_month(conn, month, before, after) for month in months],
        _most_affected(months[-1:], before, after, names),
        second_plans,
    )


def _amounts(conn: Connection, months: Sequence[date], ids: str) -> _Amounts:
    amount = "CASE WHEN bool_or(amount IS NULL) THEN NULL ELSE sum(amount) END AS amount"
    rating = billing.statement(
        select=f"SELECT month, customer_id, {amount} FROM charge GROUP BY month, customer_id", customers=True
    )
    found = conn.execute(text(rating), {"months": list(months), "customers": ids})
    return {(row.month, row.customer_id): row.amount for row in found}


def _of_month(conn: Connection, month: date, before: _Amounts, after: _Amounts) -> MonthEffect:
    everybody = conn.scalar(text("SELECT sum(amount) FROM month_totals WHERE month = :month"), {"month": month})
    unpriced = sum(amount is None for (of_month, _), amount in after.items() if of_month == month)
    return MonthEffect(month, _sum(before, month), _sum(after, month), everybody or Decimal("0.00"), unpriced)


def _sum(amounts: _Amounts, month: date) -> Decimal:
    return sum((amount or Decimal(0) for (of, _), amount in amounts.items() if of == month), Decimal("0.00"))


def _most_affected(
    months: Sequence[date], before: _Amounts, after: _Amounts, names: dict[int, tuple[str, str]]
) -> list[CustomerEffect]:
    nothing = Decimal("0.00")
    found = []
    for month in months:
        for customer_id, (number, name) in names.items():
            old, new = before.get((month, customer_id), nothing), after.get((month, customer_id), nothing)
            if old != new:
                found.append(CustomerEffect(number, name, old, new))
    # What has no price comes first: it stops the close.
    found.sort(key=lambda one: (one.after is not None, -abs((one.after or nothing) - (one.before or nothing))))
    return found[:MOST_AFFECTED]
