"""Cancelling: an issued document never changes, another one takes it back (rows S3, B7).

A cancellation invoice names its original and copies its rates and amounts negated; it computes nothing anew.
"""

from datetime import date

from sqlalchemy import Connection, text

from lib import audit, charges, issuing, terms
from lib.auth import Permission, User, require
from lib.db import conflicts
from lib.errors import AlreadyDone, Conflict, NotFound
from lib.fields import line as text_line
from lib.invoices import STATES


def cancel(conn: Connection, invoice_id: int, *, reason: str, today: date, user: User) -> int:
    """Cancel an issued document by a cancellation invoice that names it; returns the new document's id.

    Its charges of the month close become unbilled, a term that waits for its payment is void. Rates and amounts are
    copied negated.
    """
    require(user, Permission.EDIT_INVOICES)
    reason = text_line(reason, field="reason", label="The reason", required=True)
    return cancel_one(conn, invoice_id, reason=reason, today=today, user=user)


def cancel_one(
    conn: Connection, invoice_id: int, *, reason: str, printed: str = "", today: date, user: User | None
) -> int:
    """`cancel` for what a payment has made necessary, with a reason that is `printed` on the cancellation, too."""
    original = conn.execute(
        text("SELECT id, kind, state, number, customer_id FROM invoices WHERE id = :id FOR UPDATE"), {"id": invoice_id}
    ).one_or_none()
    if original is None:
        raise NotFound("This document does not exist.")
    if original.kind == "cancellation":
        raise Conflict("A cancellation is not cancelled. Write a new invoice instead.")
    if original.state == "draft":
        raise Conflict("A draft is deleted, not cancelled.")
    if original.state == "cancelled":
        raise AlreadyDone(f"{original.number} was already cancelled.")
    if original.state in ("partly_paid", "paid"):
        raise Conflict(f"{original.number} has payments. Reverse them first, then cancel it.")
    if original.state != "issued":
        raise Conflict(f"{original.number} is {STATES[original.state].lower()} and can't be cancelled.")
    terms.require_cancellable(conn, invoice_id, today=today)
    with conflicts({"invoices_cancelled_once_key": f"{original.number} was already cancelled."}):
        cancellation_id = _copy_negated(conn, invoice_id, printed=printed, today=today, user=user)
    issuing.number(conn, "i.id = :id", {"id": cancellation_id}, today=today, user=user, action="cancel")
    charges.release(conn, invoice_id)
    terms.void_waiting(conn, invoice_id, deleted=False, user=user)
    conn.execute(
        text("UPDATE invoices SET state = 'cancelled', version = version + 1 WHERE id = :id"), {"id": invoice_id}
    )
    audit.record(
        conn, "cancelled", "invoice", invoice_id, user_id=user.id if user else None, customer_id=original.customer_id,
        changes={"state": (STATES["issued"], STATES["cancelled"]), "reason": (None, reason)},
    )  # fmt: skip
    return cancellation_id


def _copy_negated(conn: Connection, invoice_id: int, *, printed: str, today: date, user: User | None) -> int:
    values = {"id": invoice_id, "today": today, "user_id": user.id if user else None, "printed": printed}
    copy_id: int = conn.execute(
        text("""
            INSERT INTO invoices (kind, customer_id, cancels_id, due_on, service_from, service_until, language,
                                  currency, purchase_order, net, vat, gross, vat_category, created_by,
                                  advance_period, intro)
            SELECT 'cancellation', customer_id, id, :today, service_from, service_until, language, currency,
                   purchase_order, -net, -vat, -gross, vat_category, :user_id, advance_period, :printed
              FROM invoices WHERE id = :id RETURNING id"""),
        values,
    ).scalar_one()
    values["copy"] = copy_id
    conn.execute(
        text("""
            INSERT INTO invoice_lines (invoice_id, position, product_id, from_close, name, detail, quantity, unit,
                                       unit_price, amount, vat_rate, service_from, service_until, vat_treatment,
                                       exempt_reason)
            SELECT :copy, position, product_id, from_close, name, detail, -quantity, unit,
                   unit_price, -amount, vat_rate, service_from, service_until, vat_treatment, exempt_reason
              FROM invoice_lines WHERE invoice_id = :id"""),
        values,
    )
    # The buyer of the original, not of today: the cancellation mirrors the document it names.
    conn.execute(
        text("""UPDATE invoices n SET buyer = o.buyer, vat_evidence = o.vat_evidence
                  FROM invoices o WHERE o.id = :id AND n.id = :copy"""),
        values,
    )
    return copy_id
