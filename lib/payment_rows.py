"""The rows of payments, and the state that they make a document have: issued, partly paid, paid, and back (row B9).

Only this module writes the table. Rows are added, never changed. Who calls it holds the document.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, insert, text

from lib import audit, money, stripe_requests
from lib.errors import NotFound
from lib.invoices import STATES
from lib.tables import payments

_HELD = "id, kind, state, number, gross, currency, customer_id"
_STANDING = "p.reverses_id IS NULL AND NOT EXISTS (SELECT FROM payments r WHERE r.reverses_id = p.id)"

# Why a payment was reversed that counts on another document now.
CARRIED = "Carried over to {number}"

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


def held(conn: Connection, invoice_id: int) -> Row[Any]:
    """The document, held until the transaction ends: two payments at once are counted one after the other."""
    query = text(f"SELECT {_HELD} FROM invoices WHERE id = :id FOR UPDATE")
    row = conn.execute(query, {"id": invoice_id}).one_or_none()
    if row is None:
        raise NotFound("This document does not exist (any more).")
    return row


def held_all(conn: Connection, invoice_ids: Sequence[int]) -> list[Row[Any]]:
    """These documents, held in the order of their ids. Raises NotFound where one is gone."""
    query = text(f"SELECT {_HELD} FROM invoices WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE")
    found = list(conn.execute(query, {"ids": list(invoice_ids)}))
    if len(found) < len(invoice_ids):
        raise NotFound("A document does not exist any more. Nothing was entered: reload the list.")
    return found


def add(conn: Connection, invoice_id: int, *, user_id: int | None, **values: Any) -> int:
    """Enter a payment, or the reversal of one, and return its id."""
    row = insert(payments).values(invoice_id=invoice_id, recorded_by=user_id, **values).returning(payments.c.id)
    payment_id: int = conn.execute(row).scalar_one()
    return payment_id


def follow(
    conn: Connection, invoice: Row[Any], action: str, changes: dict[str, audit.Change], *, user_id: int | None
) -> str:
    """Set the state that the payments now make, note what was done, and return that state."""
    state: str = conn.execute(
        text("""UPDATE invoices i SET version = version + 1,
                       state = CASE WHEN p.paid = 0 THEN 'issued'
                                    WHEN p.paid < i.gross THEN 'partly_paid' ELSE 'paid' END
                  FROM (SELECT coalesce(sum(amount), 0) AS paid FROM payments WHERE invoice_id = :id) p
                 WHERE i.id = :id RETURNING i.state"""),
        {"id": invoice.id},
    ).scalar_one()
    if state != invoice.state:
        changes = changes | {"state": (STATES[invoice.state], STATES[state])}
    audit.record(conn, action, "invoice", invoice.id, user_id=user_id, customer_id=invoice.customer_id, changes=changes)
    return state


def settle(conn: Connection, invoice_ids: Sequence[int], *, paid_on: date, method: str, user_id: int) -> None:
    """Enter a payment of all that is open on each of these invoices, and note it."""
    values = {
        "ids": list(invoice_ids), "paid_on": paid_on, "method": method, "user": user_id,
        "of_day": f" of {paid_on.isoformat()}", "states": json.dumps(STATES),
    }  # fmt: skip
    audit.record_all(conn, "pay", "invoice", source=_SETTLED, query=_SETTLED_ENTRY, values=values, user_id=user_id)


# ---------------------------------------------------------------------------------- onto another document


@dataclass(frozen=True)
class Carried:
    """What payments brought to another document: how much of them it took, and what was more than it asks for.

    `moved` has the payment on the new document by that on the old one, where anything of it is there.
    """

    amount: Decimal
    surplus: Decimal
    moved: dict[int, int]


def take_off(conn: Connection, invoice_id: int, *, towards: str, user_id: int | None) -> list[Row[Any]]:
    """Reverse what was paid on a document, each payment on its own day, so that the sums of no day change.

    Returns the payments, for `put_on`. `towards` is the number of the document that they go to.
    """
    invoice = held(conn, invoice_id)
    found = conn.execute(
        text(f"""SELECT p.id, p.amount, p.paid_on, p.method, p.reference FROM payments p
                  WHERE p.invoice_id = :id AND {_STANDING} ORDER BY p.id"""),
        {"id": invoice_id},
    ).all()
    for one in found:
        add(
            conn, invoice_id, user_id=user_id, amount=-one.amount, paid_on=one.paid_on, method=one.method,
            reason=CARRIED.format(number=towards), reverses_id=one.id,
        )  # fmt: skip
    total = sum((one.amount for one in found), Decimal(0))
    told: dict[str, audit.Change] = {"paid": (f"{money.shown(total)} {invoice.currency}", None), "to": (None, towards)}
    follow(conn, invoice, "carry payments over", told, user_id=user_id)
    return list(found)


def put_on(
    conn: Connection, invoice_id: int, taken: Sequence[Row[Any]], *, origin: str, user_id: int | None
) -> Carried:
    """Enter payments that were taken off the document `origin`: amount, day, method and reference as they were.

    What is more than this document asks for is entered nowhere, like any payment that is too much: it is to be paid
    back, and the log says so. Debits and card payments from then on belong to the payment here.
    """
    invoice = held(conn, invoice_id)
    left: Decimal = invoice.gross
    moved: dict[int, int] = {}
    for one in taken:
        amount = min(one.amount, left)
        left -= amount
        if amount:
            moved[one.id] = add(
                conn, invoice_id, user_id=user_id, amount=amount, paid_on=one.paid_on, method=one.method,
                reference=one.reference,
            )  # fmt: skip
        _hand_on(conn, one, invoice, moved.get(one.id), too_much=one.amount - amount)
    carried = Carried(invoice.gross - left, sum((one.amount for one in taken), left) - invoice.gross, moved)
    told: dict[str, audit.Change] = {
        "paid": (None, f"{money.shown(carried.amount)} {invoice.currency}"), "from": (None, origin)
    }  # fmt: skip
    if carried.surplus:
        told["to be paid back"] = (None, f"{money.shown(carried.surplus)} {invoice.currency}")
    follow(conn, invoice, "carry payments over", told, user_id=user_id)
    return carried


def _hand_on(
    conn: Connection, taken: Row[Any], invoice: Row[Any], payment_id: int | None, *, too_much: Decimal
) -> None:
    """What collected a payment has its successor now, so that a debit that comes back or a refund finds it."""
    note = ""
    if too_much:
        note = f"{money.shown(too_much)} {invoice.currency} more came in than was open. Refund it at Stripe."
    if payment_id is None:  # nothing of it is on the new document: it stays with the old one, reversed
        stripe_requests.hand_on(conn, taken.id, note=note)
        return
    stripe_requests.hand_on(conn, taken.id, note=note, invoice_id=invoice.id, payment_id=payment_id)
    conn.execute(
        text("UPDATE debits SET invoice_id = :invoice, payment_id = :payment WHERE payment_id = :before"),
        {"before": taken.id, "invoice": invoice.id, "payment": payment_id},
    )
