"""What was paid on an invoice, by hand or as a payment service says (row B9): rows that are only reversed by others.

The invoice's state follows from them: issued, partly paid, paid, and back. No row is ever changed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, text

from lib import audit, fields, money, terms
from lib.auth import Permission, User, require
from lib.errors import AlreadyDone, Conflict, Invalid, NotFound
from lib.invoices import STATES
from lib.requests import once
from lib.tables import payments

METHODS = {
    "bank_transfer": "Bank transfer",
    "direct_debit": "SEPA direct debit",
    "card": "Credit card",
    "cash": "Cash",
    "other": "Other",
}
PAYABLE = ("issued", "partly_paid")
_HELD = "id, kind, state, number, gross, currency, customer_id"
_IN_FUTURE = "The day of the payment lies in the future. Enter it once the money is there."

# All that is open on some invoices, as payments; the invoices are paid by it.
_SETTLED = """
due AS (
    SELECT i.id, i.customer_id, i.state, i.currency, i.gross - coalesce(sum(p.amount), 0) AS amount
      FROM invoices i LEFT JOIN payments p ON p.invoice_id = i.id
     WHERE i.id = ANY(CAST(:ids AS bigint[])) GROUP BY i.id ORDER BY i.id
), entered AS (
    INSERT INTO payments (invoice_id, amount, paid_on, method, recorded_by)
    SELECT id, amount, :paid_on, :method, :user FROM due
), settled AS (
    UPDATE invoices i SET state = 'paid', version = i.version + 1 FROM due WHERE due.id = i.id
)"""
_SETTLED_ENTRY = """
SELECT id AS object_id, customer_id, jsonb_build_object(
           'payment', jsonb_build_array(NULL, to_char(amount, 'FM999,999,999,990.00') || ' ' || currency || :of_day),
           'state', jsonb_build_array(CAST(:states AS jsonb) -> state, CAST(:states AS jsonb) -> 'paid')) AS changes
  FROM due"""


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
    """Enter a payment, of all or of a part. Returns its id.

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
    invoice = _held(conn, invoice_id)
    _require_payable(invoice)
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
    payment_id = _add(conn, invoice, values, user)
    told = f"{money.shown(amount)} {invoice.currency} of {paid_on.isoformat()}"
    _follow(conn, invoice, "pay", {"payment": (None, told)}, user)
    return payment_id


def settle(conn: Connection, invoice_ids: Sequence[int], *, paid_on: date, method: str, today: date, user: User) -> int:
    """Enter a payment of all that is open on each of these invoices. Returns how many are paid by it.

    Raises NotFound or Conflict where one of them takes no payment, Invalid for a future day: nothing is entered then.
    """
    require(user, Permission.RECORD_PAYMENTS)
    method = fields.one_of(method, METHODS, field="method", label="The method")
    if paid_on > today:
        raise Invalid(_IN_FUTURE, field="paid_on")
    wanted = sorted(set(invoice_ids))
    query = text(f"SELECT {_HELD} FROM invoices WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE")
    found = conn.execute(query, {"ids": wanted}).all()
    if len(found) < len(wanted):
        raise NotFound("A document does not exist any more. Nothing was entered: reload the list.")
    for invoice in found:
        _require_payable(invoice)
    values = {
        "ids": wanted, "paid_on": paid_on, "method": method, "user": user.id,
        "of_day": f" of {paid_on.isoformat()}", "states": json.dumps(STATES),
    }  # fmt: skip
    audit.record_all(conn, "pay", "invoice", source=_SETTLED, query=_SETTLED_ENTRY, values=values, user_id=user.id)
    terms.activate_paid(conn, wanted, user=user)
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
    invoice = _held(conn, payment.invoice_id)
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
    reversal_id = _add(conn, invoice, values, user)
    told = f"{money.shown(payment.amount)} {invoice.currency}"
    _follow(conn, invoice, "reverse payment", {"payment": (told, None), "reason": (None, reason)}, user)
    return reversal_id


def _held(conn: Connection, invoice_id: int) -> Row[Any]:
    """The invoice, held until the transaction ends: two payments at once are counted one after the other."""
    query = text(f"SELECT {_HELD} FROM invoices WHERE id = :id FOR UPDATE")
    row = conn.execute(query, {"id": invoice_id}).one_or_none()
    if row is None:
        raise NotFound("This document does not exist (any more).")
    return row


def _require_payable(invoice: Row[Any]) -> None:
    if invoice.kind != "invoice" or invoice.gross <= 0:
        number = invoice.number or "this document"
        raise Conflict(f"Nothing is to be paid on {number}. Only an invoice with an amount can be paid.")
    if invoice.state not in PAYABLE:
        raise Conflict(f"{invoice.number or 'This invoice'} is {STATES[invoice.state].lower()} and takes no payment.")


def _add(conn: Connection, invoice: Row[Any], values: dict[str, Any], user: User | None) -> int:
    recorded_by = None if user is None else user.id
    row = insert(payments).values(invoice_id=invoice.id, recorded_by=recorded_by, **values).returning(payments.c.id)
    payment_id: int = conn.execute(row).scalar_one()
    return payment_id


def _follow(conn: Connection, invoice: Row[Any], action: str, changes: dict[str, Any], user: User | None) -> None:
    """Set the state that the payments now make, and note what was done."""
    state = conn.execute(
        text("""UPDATE invoices i SET version = version + 1,
                       state = CASE WHEN p.paid = 0 THEN 'issued'
                                    WHEN p.paid < i.gross THEN 'partly_paid' ELSE 'paid' END
                  FROM (SELECT coalesce(sum(amount), 0) AS paid FROM payments WHERE invoice_id = :id) p
                 WHERE i.id = :id RETURNING i.state"""),
        {"id": invoice.id},
    ).scalar_one()
    if state != invoice.state:
        changes = changes | {"state": (STATES[invoice.state], STATES[state])}
    audit.record(
        conn, action, "invoice", invoice.id, user_id=None if user is None else user.id,
        customer_id=invoice.customer_id, changes=changes,
    )  # fmt: skip
    if state == "paid":
        terms.activate_paid(conn, [invoice.id], user=user)
