"""What a customer was and will be charged: its months, and the charges by product that they consist of (row N8)."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import charges, periods
from lib.clock import month_of, next_month


@dataclass(frozen=True)
class Statement:
    """A month of a customer, net. `amount` is None where something booked has no price.

    `final` once the month is closed; before, it is a forecast. The invoice is the one that the
    charges are on, if any.
    """

    month: date
    amount: Decimal | None
    final: bool
    invoice_id: int | None
    invoice_number: str | None
    invoice_state: str | None


@dataclass(frozen=True)
class Charge:
    """One product in one month: quantities at its start and end, what changed between, and the net amount."""

    month: date
    product_id: int
    product: str
    kind: str
    start_quantity: int
    changes: str
    end_quantity: int
    amount: Decimal | None


def statements_of(conn: Connection, customer_id: int, *, today: date, months: int = 24) -> list[Statement]:
    """The last months of a customer up to the one of `today`, the newest first; none for months without charges."""
    _ready(conn, today)
    found = conn.execute(
        text("""SELECT s.month, s.amount, coalesce(s.month < open_month(), false) AS final,
                       i.id AS invoice_id, i.number AS invoice_number, i.state AS invoice_state
                  FROM statements s LEFT JOIN invoices i ON i.id = s.invoice_id
                 WHERE s.customer_id = :id AND s.month > :after AND s.month <= :last ORDER BY s.month DESC"""),
        {"id": customer_id, "last": month_of(today), "after": next_month(month_of(today), by=-months)},
    )
    return [Statement(**row._mapping) for row in found]


def charges_of(conn: Connection, customer_id: int, *, today: date, months: int = 24) -> list[Charge]:
    """The charges behind `statements_of`, the oldest month first, products in the order of documents."""
    _ready(conn, today)
    found = conn.execute(
        text("""SELECT c.month, c.product_id, p.name_en AS product, p.kind, c.start_quantity, c.changes,
                       c.end_quantity, c.amount
                  FROM charges c JOIN products p ON p.id = c.product_id
                 WHERE c.customer_id = :id AND c.month > :after AND c.month <= :last
                 ORDER BY c.month, p.position, p.id"""),
        {"id": customer_id, "last": month_of(today), "after": next_month(month_of(today), by=-months)},
    )
    return [Charge(**row._mapping) for row in found]


def _ready(conn: Connection, today: date) -> None:
    charges.ensure_rated(conn, *periods.open_months(conn, today=today))
