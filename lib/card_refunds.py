"""Giving back what was paid by card, all or a part (row G16): asked of Stripe once, recorded like any refund.

A refund has no row of its own. The key by which Stripe does it once is made of the request's and of what is recorded of
it: a click that is repeated, or whose answer was lost, asks for the same refund, and the next one has another key as
soon as this one is recorded by `lib/card_answers.py`.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from lib import audit, cards, db, fields, money, stripe_account, stripe_client, stripe_requests
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid, NotFound
from lib.requests import once


@dataclass(frozen=True)
class Refundable:
    """A payment by card of an invoice, and what is left of it to give back."""

    id: int
    received: Decimal
    currency: str


@dataclass(frozen=True)
class Refund:
    """What Stripe is to be asked, outside of any transaction, by `carry_out`."""

    secret: str
    intent: str
    amount: Decimal
    key: str


def refundable(conn: Connection, invoice_id: int) -> list[Refundable]:
    """The payments by card of an invoice of which something can be given back, the newest first."""
    found = conn.execute(
        text("""SELECT r.id, r.received, r.currency FROM stripe_requests r JOIN stripe_account a ON a.mode = r.mode
                 WHERE r.invoice_id = :id AND r.state = 'done' AND r.received > 0 AND r.intent IS NOT NULL
                   AND NOT starts_with(r.note, :disputed) ORDER BY r.id DESC"""),
        {"id": invoice_id, "disputed": cards.DISPUTED},
    )
    return [Refundable(**row._mapping) for row in found]


def refund(
    conn: Connection,
    request_id: int,
    *,
    amount: Decimal,
    reason: str,
    seen: Decimal,
    user: User,
    request_key: UUID | None = None,
) -> Refund:
    """Check and log a refund of this amount; `carry_out` then asks Stripe for it.

    `seen` is what was received when the form was opened. Raises Invalid at the field, Conflict where that has changed
    since, and while a cardholder disputes the payment.
    """
    require(user, Permission.RECORD_PAYMENTS)
    once(conn, request_key)
    reason = fields.line(reason, field="reason", label="The reason", required=True)
    secret, mode = stripe_account.secret(conn)
    row: Any = conn.execute(
        text("""SELECT key, mode, intent, received, payment_id, currency, note, invoice_id, customer_id
                  FROM stripe_requests
                 WHERE id = :id AND kind IN ('payment', 'charge') AND intent IS NOT NULL FOR UPDATE"""),
        {"id": request_id},
    ).one_or_none()
    if row is None or row.mode != mode:
        raise NotFound("There is no such payment at Stripe.")
    if row.note.startswith(cards.DISPUTED):
        raise Conflict("The cardholder disputes this payment: Stripe has taken it back already. Answer the dispute.")
    if row.received != seen:
        raise Conflict("Something of this payment went back meanwhile. Nothing was refunded: look again.")
    if amount <= 0 or amount != money.rounded(amount):
        raise Invalid("Enter an amount above zero, in whole cents.", field="amount")
    if amount > row.received:
        raise Invalid(f"Only {money.shown(row.received)} {row.currency} can be given back.", field="amount")
    audit.record(
        conn, "refund by card", "invoice", row.invoice_id, user_id=user.id, customer_id=row.customer_id,
        changes={"amount": (None, f"{money.shown(amount)} {row.currency}"), "reason": (None, reason)},
    )  # fmt: skip
    return Refund(secret, row.intent, amount, f"{row.key}-refund-{row.payment_id}-{row.received}")


def carry_out(asked: Refund) -> None:
    """Ask Stripe for the refund, and have the worker look what became of it, also where no answer came.

    Raises Refused with Stripe's reason, Unreachable where nobody knows: asked again, it is done once.
    """
    try:
        stripe_client.refund(asked.secret, intent=asked.intent, amount=asked.amount, key=asked.key)
    finally:
        with db.transaction() as conn:
            stripe_requests.hint(conn, (asked.intent,))
