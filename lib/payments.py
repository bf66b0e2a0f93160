"""What was paid on an invoice, by hand or as a payment service says (row B9): rows that are only reversed by others.

The invoice's state follows from them (`lib/payment_rows.py`), and what its full payment begins: a prepaid term, on a
document of its own where a renewal was paid late (`lib/late_renewals.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from lib import fields, late_renewals, money, payment_rows, terms
from lib.auth import Permission, User, require
from lib.errors import AlreadyDone, Conflict, Invalid, NotFound
from lib.invoices import STATES
from lib.late_renewals import Replaced
from lib.requests import once

METHODS = {
    "bank_transfer": "Bank transfer",
    "direct_debit": "SEPA direct debit",
    "card": "Credit card",
    "cash": "Cash",
    "other": "Other",
}
PAYABLE = ("issued", "partly_paid")
_IN_FUTURE = "The day of the payment lies in the future. Enter it once the money is there."


@dataclass(frozen=True)
class Payment:
    """A payment, or the reversal of one (`reverses_id`, amount below zero). `reversed` says that there is one of it."""

    id: int
    amount: Decimal
    paid_on: date
    method: str
    reference: str
    reason: str
    reverses_id: int | None
    reversed: bool
    recorded_at: datetime
    recorded_by: str


def payments_of(conn: Connection, invoice_id: int) -> list[Payment]:
    """The payments of an invoice and their reversals in the order in which they were entered."""
    found = conn.execute(
        text("""SELECT p.id, p.amount, p.paid_on, p.method, p.reference, p.reason, p.reverses_id,
                       r.id IS NOT NULL AS reversed, p.recorded_at, coalesce(s.name, 'System') AS recorded_by
                  FROM payments p LEFT JOIN payments r ON r.reverses_id = p.id LEFT JOIN staff s ON s.id = p.recorded_by
                 WHERE p.invoice_id = :id ORDER BY p.id"""),
        {"id": invoice_id},
    )
    return [Payment(**row._mapping) for row in found]


def open_amounts(conn: Connection, invoice_ids: Sequence[int]) -> dict[int, Decimal]:
    """What is still to be paid on each of these documents, in its currency; zero for all that nobody pays."""
    found = conn.execute(
        text("""SELECT i.id, CASE WHEN i.kind = 'invoice' AND i.state = ANY(:payable)
                                  THEN greatest(i.gross - coalesce(sum(p.amount), 0), 0) ELSE 0 END AS left_open
                  FROM invoices i LEFT JOIN payments p ON p.invoice_id = i.id
                 WHERE i.id = ANY(CAST(:ids AS bigint[])) GROUP BY i.id"""),
        {"ids": list(invoice_ids), "payable": list(PAYABLE)},
    )
    return {row.id: row.left_open for row in found}


def open_amount(conn: Connection, invoice_id: int) -> Decimal:
    """What is still to be paid on a document, in its currency; zero for one that nobody pays."""
    return open_amounts(conn, [invoice_id]).get(invoice_id, Decimal(0))


def counted(conn: Connection, payment_id: int) -> tuple[int, Decimal]:
    """The document that a payment is on, and what of it counts: nothing once it is reversed."""
    row = conn.execute(
        text("""SELECT p.invoice_id, CASE WHEN r.id IS NULL THEN p.amount ELSE 0 END AS amount
                  FROM payments p LEFT JOIN payments r ON r.reverses_id = p.id WHERE p.id = :id"""),
        {"id": payment_id},
    ).one()
    return row.invoice_id, row.amount


def record(
    conn: Connection,
    invoice_id: int,
    *,
    amount: Decimal,
    paid_on: date,
    method: str,
    reference: str = "",
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Enter a payment, of all or of a part. Returns its id: on the document that it counts on in the end.

    Raises Invalid at the field (more than is open, a future day), Conflict for a document that can't be paid.
    """
    require(user, Permission.RECORD_PAYMENTS)
    once(conn, request_key)
    return _record(
        conn, invoice_id, amount=amount, paid_on=paid_on, method=method, reference=reference, today=today, user=user
    )


def receive(
    conn: Connection,
    invoice_id: int,
    *,
    amount: Decimal,
    paid_on: date,
    method: str,
    reference: str,
    today: date,
) -> int:
    """`record` for what a payment service says came in: nobody of us enters it. Returns the payment's id."""
    return _record(
        conn, invoice_id, amount=amount, paid_on=paid_on, method=method, reference=reference, today=today, user=None
    )


def _record(
    conn: Connection,
    invoice_id: int,
    *,
    amount: Decimal,
    paid_on: date,
    method: str,
    reference: str,
    today: date,
    user: User | None,
) -> int:
    invoice = payment_rows.held(conn, invoice_id)
    _require_payable(conn, invoice)
    if amount <= 0 or amount != money.rounded(amount):
        raise Invalid("Enter an amount above zero, in whole cents.", field="amount")
    left = open_amount(conn, invoice_id)
    if amount > left:
        raise Invalid(
            f"Only {money.shown(left)} {invoice.currency} is open on {invoice.number}. Enter that or less.",
            field="amount",
        )
    if paid_on > today:
        raise Invalid(_IN_FUTURE, field="paid_on")
    values: dict[str, Any] = {
        "amount": amount,
        "paid_on": paid_on,
        "method": fields.one_of(method, METHODS, field="method", label="The method"),
        "reference": fields.line(reference, field="reference", label="The reference"),
    }
    payment_id = payment_rows.add(conn, invoice_id, user_id=_id(user), **values)
    told = f"{money.shown(amount)} {invoice.currency} of {paid_on.isoformat()}"
    state = payment_rows.follow(conn, invoice, "pay", {"payment": (None, told)}, user_id=_id(user))
    if state != "paid":
        return payment_id
    made = _begin_paid(conn, [invoice_id], today=today, user=user)
    return made[0].moved.get(payment_id, payment_id) if made else payment_id


def settle(conn: Connection, invoice_ids: Sequence[int], *, paid_on: date, method: str, today: date, user: User) -> int:
    """Enter a payment of all that is open on each of these invoices. Returns how many are paid by it.

    Raises NotFound or Conflict where one of them takes no payment, Invalid for a future day: nothing is entered then.
    """
    require(user, Permission.RECORD_PAYMENTS)
    method = fields.one_of(method, METHODS, field="method", label="The method")
    if paid_on > today:
        raise Invalid(_IN_FUTURE, field="paid_on")
    wanted = sorted(set(invoice_ids))
    for invoice in payment_rows.held_all(conn, wanted):
        _require_payable(conn, invoice)
    payment_rows.settle(conn, wanted, paid_on=paid_on, method=method, user_id=user.id)
    _begin_paid(conn, wanted, today=today, user=user)
    return len(wanted)


def reverse(conn: Connection, payment_id: int, *, reason: str, today: date, user: User) -> int:
    """Take a payment back, because it was entered wrongly or the money went back. Returns the id of the reversal."""
    require(user, Permission.RECORD_PAYMENTS)
    return _reverse(conn, payment_id, reason=reason, today=today, user=user)


def send_back(conn: Connection, payment_id: int, *, reason: str, today: date) -> int:
    """`reverse` for what a payment service says went back: nobody of us does it. Returns the id of the reversal."""
    return _reverse(conn, payment_id, reason=reason, today=today, user=None)


def _reverse(conn: Connection, payment_id: int, *, reason: str, today: date, user: User | None) -> int:
    reason = fields.line(reason, field="reason", label="The reason", required=True)
    query = text("SELECT invoice_id, amount, method, reverses_id FROM payments WHERE id = :id")
    payment = conn.execute(query, {"id": payment_id}).one_or_none()
    if payment is None:
        raise NotFound("This payment does not exist.")
    if payment.reverses_id is not None:
        raise Conflict("A reversal is not reversed. Record the payment again instead.")
    invoice = payment_rows.held(conn, payment.invoice_id)
    # Only now, with the invoice held, a colleague's reversal can't come in between.
    if conn.scalar(text("SELECT EXISTS (SELECT FROM payments WHERE reverses_id = :id)"), {"id": payment_id}):
        raise AlreadyDone("This payment was already reversed.")
    if invoice.state not in ("partly_paid", "paid"):
        raise Conflict(f"{invoice.number} is {STATES[invoice.state].lower()}: its payments stay as they are.")
    values: dict[str, Any] = {
        "amount": -payment.amount,
        "paid_on": today,
        "method": payment.method,
        "reason": reason,
        "reverses_id": payment_id,
    }
    reversal_id = payment_rows.add(conn, invoice.id, user_id=_id(user), **values)
    told = f"{money.shown(payment.amount)} {invoice.currency}"
    changes: dict[str, Any] = {"payment": (told, None), "reason": (None, reason)}
    payment_rows.follow(conn, invoice, "reverse payment", changes, user_id=_id(user))
    return reversal_id


def _begin_paid(conn: Connection, invoice_ids: Sequence[int], *, today: date, user: User | None) -> list[Replaced]:
    """Activate the terms of documents that are paid now; returns those that were issued in place of one paid late."""
    made = late_renewals.replace_paid(conn, invoice_ids, today=today, user=user)
    terms.activate_paid(conn, [*invoice_ids, *(one.new_id for one in made)], user=user)
    return made


def _require_payable(conn: Connection, invoice: Row[Any]) -> None:
    if invoice.kind != "invoice" or invoice.gross <= 0:
        number = invoice.number or "this document"
        raise Conflict(f"Nothing is to be paid on {number}. Only an invoice with an amount can be paid.")
    if invoice.state in PAYABLE:
        return
    again = late_renewals.issued_again(conn, [invoice.id]) if invoice.state == "cancelled" else []
    instead = f" It was issued again as {again[0].new_number}." if again else ""
    raise Conflict(
        f"{invoice.number or 'This invoice'} is {STATES[invoice.state].lower()} and takes no payment.{instead}"
    )


def _id(user: User | None) -> int | None:
    return None if user is None else user.id
