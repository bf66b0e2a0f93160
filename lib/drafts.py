"""Drafts: documents that may still be written, changed and deleted (rows S3, B1).

Finance writes them by hand; those of a month's close come from `lib/close_drafts.py`, those of prepaid terms from
`lib/advance_invoices.py`. Lines that came from there are never edited, only lines added. Deleting a draft of a close
releases its charges into *unbilled*, from where they are drafted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, text, update

from lib import audit, charges, customers, fields, terms, vat
from lib.auth import Permission, User, require
from lib.customer_states import Action
from lib.document_words import CREDITED
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, rounded
from lib.requests import once
from lib.tables import invoice_lines, invoices

MOST_LINES = 500


@dataclass(frozen=True)
class DraftLine:
    """A line written by hand. A credit has a negative quantity; unit prices are never negative.

    `vat_treatment` is one of vat.TREATMENTS; what is exempt prints its reason.
    """

    name: str
    detail: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    vat_treatment: str = "standard"
    exempt_reason: str = ""

    @property
    def amount(self) -> Decimal:
        """Quantity × unit price, rounded once to the cent."""
        return rounded(self.quantity * self.unit_price)


def create(
    conn: Connection,
    customer_id: int,
    *,
    service_from: date,
    service_until: date,
    lines: Sequence[DraftLine],
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Write a draft by hand for a billed customer and return its id (row S3)."""
    require(user, Permission.EDIT_INVOICES)
    once(conn, request_key)
    customer = customers.held_for_change(conn, customer_id, Action.CHARGE)
    if not customer.billed:
        raise Conflict(f"{customer.name} is a test customer and gets no invoices. Convert it to billed first.")
    _require_period(service_from, service_until)
    checked = _checked(lines)
    invoice_id: int = conn.execute(
        text("""
            INSERT INTO invoices (customer_id, service_from, service_until, language, currency, purchase_order,
                                  intro, closing, created_by)
            SELECT c.id, :service_from, :service_until, c.language, o.currency, c.purchase_order,
                   CASE c.language WHEN 'de' THEN o.intro_de ELSE o.intro_en END,
                   CASE c.language WHEN 'de' THEN o.closing_de ELSE o.closing_en END, :user_id
              FROM customers c CROSS JOIN company o WHERE c.id = :id RETURNING id"""),
        {"id": customer_id, "service_from": service_from, "service_until": service_until, "user_id": user.id},
    ).scalar_one()
    _write_lines(conn, invoice_id, checked)
    recompute(conn, [invoice_id])
    audit.record(
        conn, "create draft", "invoice", invoice_id, user_id=user.id, customer_id=customer_id,
        changes={"net": (None, sum((line.amount for line in checked), Decimal(0)))},
    )  # fmt: skip
    return invoice_id


def edit(
    conn: Connection,
    invoice_id: int,
    *,
    version: int,
    intro: str,
    closing: str,
    purchase_order: str,
    due_on: date | None,
    service_from: date,
    service_until: date,
    lines: Sequence[DraftLine],
    user: User,
) -> None:
    """Save a draft's texts, due date, service period and the lines written by hand (row S3).

    Lines and service period of the month close, and of what is paid in advance, stay as they are. Raises Conflict for
    a stale form and for a document that was issued meanwhile.
    """
    require(user, Permission.EDIT_INVOICES)
    before = _held(conn, invoice_id)
    if before.version != version:
        raise Conflict(audit.overtaken(conn, "this draft", "invoice", invoice_id, customer_id=before.customer_id))
    if before.month is not None or before.advance_period:
        service_from, service_until = before.service_from, before.service_until
    _require_period(service_from, service_until)
    with fields.all_of() as check:
        order = "The purchase-order reference"
        values: dict[str, Any] = {
            "intro": check(fields.block, intro, field="intro", label="The text above the lines"),
            "closing": check(fields.block, closing, field="closing", label="The text below the lines"),
            "purchase_order": check(fields.line, purchase_order, field="purchase_order", label=order),
            "due_on": due_on,
            "service_from": service_from,
            "service_until": service_until,
        }
        checked = check(_checked, lines)
    conn.execute(update(invoices).where(invoices.c.id == invoice_id).values(version=version + 1, **values))
    conn.execute(delete(invoice_lines).where(invoice_lines.c.invoice_id == invoice_id, ~invoice_lines.c.from_close))
    _write_lines(conn, invoice_id, checked)
    recompute(conn, [invoice_id])
    after = conn.execute(text("SELECT net, intro FROM invoices WHERE id = :id"), {"id": invoice_id}).one()
    changed = audit.difference(before._asdict(), values | after._asdict())
    audit.record(
        conn, "edit draft", "invoice", invoice_id, user_id=user.id, customer_id=before.customer_id, changes=changed
    )


def remove(conn: Connection, invoice_id: int, *, user: User) -> None:
    """Delete a draft; charges of the month close that were on it become unbilled, a term that waited is void (S3)."""
    require(user, Permission.EDIT_INVOICES)
    before = _held(conn, invoice_id)
    charges.release(conn, invoice_id)
    terms.void_waiting(conn, invoice_id, deleted=True, user=user)
    conn.execute(delete(invoices).where(invoices.c.id == invoice_id))
    audit.record(
        conn, "delete draft", "invoice", invoice_id, user_id=user.id, customer_id=before.customer_id,
        changes={"net": (before.net, None), "month": (before.month, None)},
    )  # fmt: skip


def recompute(conn: Connection, invoice_ids: Sequence[int]) -> None:
    """Decide VAT anew for these drafts, and sum lines, taxes and totals; below zero one is a credit note.

    A line keeps its treatment; the rate is the one of the day on which its service ends.
    """
    values = {"ids": list(invoice_ids)}
    conn.execute(
        text(f"""
            UPDATE invoices i SET vat_category = {vat.DECISION} FROM customers c
             WHERE c.id = i.customer_id AND i.id = ANY(CAST(:ids AS bigint[]))"""),
        values,
    )
    rate = vat.RATE_OF_LINE.format(treatment="l.vat_treatment", day="coalesce(l.service_until, i.service_until)")
    conn.execute(
        text(f"""
            UPDATE invoice_lines l
               SET vat_rate = CASE i.vat_category WHEN 'S' THEN {rate} WHEN 'AE' THEN 0 WHEN 'O' THEN 0 END
              FROM invoices i WHERE i.id = l.invoice_id AND i.id = ANY(CAST(:ids AS bigint[]))"""),
        values,
    )
    conn.execute(
        text("""
            UPDATE invoices i SET net = s.net, vat = s.vat, gross = s.net + s.vat,
                   kind = CASE WHEN s.net < 0 THEN 'credit_note' ELSE 'invoice' END,
                   intro = CASE WHEN s.net < 0 AND i.kind = 'invoice' AND i.intro = s.charged THEN s.credited
                                WHEN s.net >= 0 AND i.kind = 'credit_note' AND i.intro = s.credited THEN s.charged
                                ELSE i.intro END
              FROM (SELECT d.id, coalesce((SELECT sum(amount) FROM invoice_lines WHERE invoice_id = d.id), 0) AS net,
                           coalesce((SELECT sum(vat) FROM invoice_taxes WHERE invoice_id = d.id), 0) AS vat,
                           CASE d.language WHEN 'de' THEN o.intro_de ELSE o.intro_en END AS charged,
                           CASE d.language WHEN 'de' THEN :credited_de ELSE :credited_en END AS credited
                      FROM invoices d CROSS JOIN company o WHERE d.id = ANY(CAST(:ids AS bigint[]))) s
             WHERE i.id = s.id"""),
        values | CREDITED,
    )


def _held(conn: Connection, invoice_id: int) -> Any:
    row = conn.execute(
        text("""SELECT id, customer_id, month, state, version, net, intro, closing, purchase_order, due_on,
                       service_from, service_until, advance_period
                  FROM invoices WHERE id = :id FOR UPDATE"""),
        {"id": invoice_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This draft does not exist (any more).")
    if row.state != "draft":
        raise Conflict("This document was issued and never changes. Cancel it by a cancellation invoice instead.")
    return row


def _write_lines(conn: Connection, invoice_id: int, lines: Sequence[DraftLine]) -> None:
    if not lines:
        return
    first = conn.scalar(
        text("SELECT coalesce(max(position), 0) + 1 FROM invoice_lines WHERE invoice_id = :id"), {"id": invoice_id}
    )
    conn.execute(
        insert(invoice_lines),
        [
            vars(line) | {"invoice_id": invoice_id, "position": (first or 1) + index, "amount": line.amount}
            for index, line in enumerate(lines)
        ],
    )


def _checked(lines: Sequence[DraftLine]) -> list[DraftLine]:
    """The lines with trimmed texts. The field of a refusal is `row.column`, rows counted from 1."""
    if len(lines) > MOST_LINES:
        raise Invalid(f"A document has at most {MOST_LINES} lines written by hand.", field=f"{MOST_LINES + 1}.name")
    checked = []
    for row, line in enumerate(lines, start=1):
        name = fields.line(line.name, field=f"{row}.name", label=f"The text of line {row}", required=True)
        detail = fields.line(line.detail, field=f"{row}.detail", label=f"The detail of line {row}")
        unit = fields.line(line.unit, field=f"{row}.unit", label=f"The unit of line {row}", longest=30)
        _require_number(line.quantity, 4, field=f"{row}.quantity", label=f"The quantity of line {row}")
        _require_number(line.unit_price, 4, field=f"{row}.unit_price", label=f"The unit price of line {row}")
        if line.quantity == 0:
            raise Invalid(f"The quantity of line {row} is 0.", field=f"{row}.quantity")
        if line.unit_price < 0:
            message = f"The unit price of line {row} is negative. For a credit, make the quantity negative."
            raise Invalid(message, field=f"{row}.unit_price")
        if abs(line.amount) > LARGEST:
            raise Invalid(f"The amount of line {row} is too large.", field=f"{row}.quantity")
        checked.append(DraftLine(name, detail, line.quantity, unit, line.unit_price, *_taxed(line, row)))
    return checked


def _taxed(line: DraftLine, row: int) -> tuple[str, str]:
    reason_field = f"{row}.exempt_reason"
    reason = fields.line(line.exempt_reason, field=reason_field, label=f"The reason of line {row}")
    try:
        treatment = vat.treatment(line.vat_treatment, reason, field=f"{row}.vat_treatment", reason_field=reason_field)
    except Invalid as refusal:
        raise Invalid(f"Line {row}: {refusal}", field=refusal.field) from refusal
    return treatment, reason


def _require_number(value: Decimal, decimals: int, *, field: str, label: str) -> None:
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int):
        raise Invalid(f"{label} is not a number.", field=field)
    if -exponent > decimals:
        raise Invalid(f"{label} has more than {decimals} decimals.", field=field)
    if abs(value) > LARGEST:
        raise Invalid(f"{label} is too large.", field=field)


def _require_period(service_from: date, service_until: date) -> None:
    for field, day in (("service_from", service_from), ("service_until", service_until)):
        if not 2000 <= day.year <= 2199:
            raise Invalid(f"{day:%d %b %Y} can't be a day of service.", field=field)
    if service_until < service_from:
        raise Invalid("The service period ends before it starts.", field="service_until")
