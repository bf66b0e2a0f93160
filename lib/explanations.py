"""Explain this number: where the charge of one customer, product and month comes from (rows N11, B2)."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import adjustments, billing, bookings, charges, customers, prices, products, project_keys
from lib.adjustments import Adjustment
from lib.billing import Line, Part
from lib.bookings import Booking
from lib.clock import next_month
from lib.customers import Customer
from lib.errors import NotFound
from lib.prices import Version
from lib.products import Product
from lib.project_keys import ProjectKey
from lib.statements import Charge


@dataclass(frozen=True)
class Explanation:
    """A charge with what it was computed from.

    `lines` are what a document prints, each rounded once; `parts` their exact pieces. `bookings`
    are those that took effect in the month, and the one that stood when it began. `price` is None
    where no price rules the month, and for adjustments, which are listed instead; `keys` are the project
    keys that stand for it on some of the days.
    """

    customer: Customer
    product: Product
    month: date
    final: bool
    amount: Decimal | None
    start: int
    end: int
    changes: str
    lines: list[Line]
    parts: list[Part]
    price: Version | None
    bookings: list[Booking]
    adjustments: list[Adjustment]
    keys: list[ProjectKey]


def explanation(conn: Connection, customer_id: int, product_id: int, *, month: date) -> Explanation:
    """All that one amount of the Cost Overview rests on. Raises NotFound where nothing was charged."""
    charges.ensure_rated(conn, month)
    charge = conn.execute(
        text("""SELECT h.*, month < open_month() AS final FROM charges h
                 WHERE month = :month AND customer_id = :customer AND product_id = :product"""),
        {"month": month, "customer": customer_id, "product": product_id},
    ).one_or_none()
    if charge is None:
        raise NotFound(f"Nothing is charged for this product in {month:%B %Y} any more. Reload the page.")
    product = products.product(conn, product_id)
    months, only = [month], [customer_id]
    entered = adjustments.adjustments_of(conn, customer_id) if product.kind == "adjustment" else []
    lines = [line for line in billing.lines(conn, months=months, customers=only) if line.product_id == product_id]
    keys = sorted({line.project_key_id for line in lines if line.project_key_id is not None})
    return Explanation(
        customer=customers.customer(conn, customer_id),
        product=product,
        month=month,
        final=charge.final,
        amount=charge.amount,
        start=charge.start_quantity,
        end=charge.end_quantity,
        changes=charge.changes,
        lines=lines,
        parts=[part for part in billing.parts(conn, months=months, customers=only) if part.product_id == product_id],
        price=_price(conn, product, customer_id, month),
        bookings=_bookings(conn, customer_id, product_id, month),
        adjustments=[entry for entry in entered if entry.month == month],
        keys=[project_keys.key(conn, key_id) for key_id in keys],
    )


def charges_in(conn: Connection, customer_id: int, *, month: date) -> list[Charge]:
    """What a customer's month is the sum of: its charge of each product, in the order of documents."""
    charges.ensure_rated(conn, month)
    found = conn.execute(
        text("""SELECT c.month, c.product_id, p.name_en AS product, p.kind, c.start_quantity, c.changes,
                       c.end_quantity, c.amount
                  FROM charges c JOIN products p ON p.id = c.product_id
                 WHERE c.customer_id = :id AND c.month = :month ORDER BY p.position, p.id"""),
        {"id": customer_id, "month": month},
    )
    return [Charge(**row._mapping) for row in found]


def _price(conn: Connection, product: Product, customer_id: int, month: date) -> Version | None:
    if product.kind == "adjustment":
        return None
    return prices.version_in(conn, product.id, month=month, customer_id=customer_id)


def _bookings(conn: Connection, customer_id: int, product_id: int, month: date) -> list[Booking]:
    standing = bookings.standing(conn, customer_id, product_id=product_id)
    within = [booking for booking in standing if month <= booking.effective_on < next_month(month)]
    before = [booking for booking in standing if booking.effective_on < month][:1]
    return (within + before)[::-1]
