"""Drafts: documents that may still be written, changed and deleted (rows S3, B1).

The month close drafts one document per customer with charges, set-based; finance writes others by
hand. Lines that came from the close are never edited, only lines added. Deleting such a draft
releases its charges into *unbilled*, from where they are drafted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, text, update

from lib import audit, billing, customers, fields, terms, vat
from lib.auth import Permission, User, require
from lib.customer_states import Action
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, rounded
from lib.project_keys import MASK
from lib.requests import once
from lib.tables import invoice_lines, invoices

MOST_LINES = 500


@dataclass(frozen=True)
class DraftLine:
    """A line written by hand. A credit has a negative quantity; unit prices are never negative."""

    name: str
    detail: str
    quantity: Decimal
    unit: str
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """Quantity × unit price, rounded once to the cent."""
        return rounded(self.quantity * self.unit_price)


# ------------------------------------------------------------------------------ from statements

# A statement gets its document's id before the document is written. Where the close has just rated the
# month, it has it already (`charges.rate_to_close`).
_LINKED = """
UPDATE statements s SET invoice_id = d.invoice_id
  FROM (SELECT customer_id, nextval('invoices_id_seq') AS invoice_id
          FROM (SELECT s.customer_id FROM statements s
                 WHERE s.month = :month AND s.invoice_id IS NULL AND s.amount <> 0 {narrowed}
                 ORDER BY s.customer_id) unlinked) d
 WHERE s.month = :month AND s.customer_id = d.customer_id
"""

# One statement writes all documents with their lines. {rating} is the rating statement up to its lines;
# what is printed of each is in the document's language.
_DRAFTED = """
WITH drafted AS MATERIALIZED (
    SELECT s.invoice_id, s.customer_id, c.language, c.language = 'de' AS de, c.purchase_order, {decision} AS category
      FROM statements s JOIN customers c ON c.id = s.customer_id
     WHERE s.month = :month AND s.invoice_id IS NOT NULL {narrowed}
), rates AS (
    -- One array, read by the day's place in it: joined, each line would be held against each day.
    SELECT array_agg({rate_of_day} ORDER BY day) AS by_day
      FROM generate_series(:month, CAST(:month AS date) + interval '1 month', '1 day') AS days(day)
), rated AS (
    SELECT *, CASE WHEN prorated THEN from_day ELSE month END AS service_from,
           CASE WHEN prorated THEN until_day ELSE month + month_days END - 1 AS service_until
      FROM ({rating}) line
), meant AS (
    SELECT *, (month_meant + interval '1 month')::date - 1 AS service_until
      FROM adjustments WHERE month = :month AND withdrawn_at IS NULL
), line AS (
    SELECT d.invoice_id, p.position AS place, l.first_unit AS place_in, l.product_id,
           CASE WHEN d.de THEN p.name_de ELSE p.name_en END AS name, {detail} AS detail,
           coalesce(l.units, 1)::numeric AS quantity,
           CASE WHEN l.prorated THEN '' WHEN d.de THEN p.unit_de ELSE p.unit_en END AS unit,
           coalesce(l.unit_price, l.amount) AS unit_price, l.amount, {rate_of_line} AS vat_rate,
           l.service_from, l.service_until
      FROM rated l
      JOIN drafted d USING (customer_id)
      JOIN products p ON p.id = l.product_id
    UNION ALL
    SELECT d.invoice_id, p.position, l.id, p.id, l.text,
           CASE WHEN l.month_meant = l.month THEN ''
                ELSE CASE WHEN d.de THEN 'für ' ELSE 'for ' END || to_char(l.month_meant, 'MM/YYYY') END,
           sign(l.amount), '', abs(l.amount), l.amount, {rate_of_adjustment}, l.month_meant, l.service_until
      FROM meant l
      JOIN drafted d USING (customer_id)
      JOIN products p ON p.kind = 'adjustment'
), written AS (
    INSERT INTO invoice_lines (invoice_id, position, product_id, from_close, name, detail, quantity, unit,
                               unit_price, amount, vat_rate, service_from, service_until)
    SELECT invoice_id,
           row_number() OVER (PARTITION BY invoice_id ORDER BY place, product_id, service_from, place_in),
           product_id, true, name, detail, quantity, unit, unit_price, amount, vat_rate, service_from, service_until
      FROM line
    RETURNING invoice_id, vat_rate, amount
), taxed AS (
    -- Tax is summed per rate and rounded once (`billing-rules`, Money).
    SELECT invoice_id, sum(amount) AS net, coalesce(round(sum(amount) * vat_rate / 100, 2), 0) AS vat
      FROM written GROUP BY invoice_id, vat_rate
)
INSERT INTO invoices (id, kind, customer_id, month, service_from, service_until, language, currency,
                      purchase_order, intro, closing, net, vat, gross, vat_category, created_by)
OVERRIDING SYSTEM VALUE
SELECT d.invoice_id, CASE WHEN t.net < 0 THEN 'credit_note' ELSE 'invoice' END, d.customer_id, :month, :month,
       (CAST(:month AS date) + interval '1 month')::date - 1, d.language, o.currency, d.purchase_order,
       CASE WHEN d.de THEN o.intro_de ELSE o.intro_en END, CASE WHEN d.de THEN o.closing_de ELSE o.closing_en END,
       t.net, t.vat, t.net + t.vat, d.category, :user_id
  FROM (SELECT invoice_id, sum(net) AS net, sum(vat) AS vat FROM taxed GROUP BY invoice_id) t
  JOIN drafted d USING (invoice_id)
 CROSS JOIN company o
 ORDER BY d.invoice_id
"""

# What stands below a line's name. Aliases l, d and p, as in `line`.
_DAYS = """to_char(l.service_from, CASE WHEN d.de THEN 'DD.MM.–' ELSE 'FMDD Mon – ' END)
        || to_char(l.service_until, CASE WHEN d.de THEN 'DD.MM.YYYY, ' ELSE 'FMDD Mon YYYY, ' END)
        || l.days || CASE WHEN d.de THEN ' von ' ELSE ' of ' END || l.month_days
        || CASE WHEN d.de THEN ' Tagen' ELSE ' days' END
        || CASE WHEN p.kind IN ('users', 'ips')
                THEN ', ' || l.quantity || ' ' || CASE WHEN d.de THEN p.unit_de ELSE p.unit_en END ELSE '' END"""
_BY_KEY = f"""(
        SELECT CASE WHEN d.de THEN 'Projektschlüssel ' ELSE 'Project key ' END || '{MASK}' || k.ending || ': '
               || {_DAYS}
               || CASE WHEN k.charging = 'monthly' THEN ''
                       WHEN l.amount = 0 AND d.de THEN ', bei Beginn berechnet'
                       WHEN l.amount = 0 THEN ', charged at its start'
                       WHEN d.de THEN ', Laufzeit bis ' || to_char(k.until_day - 1, 'DD.MM.YYYY')
                       ELSE ', runs until ' || to_char(k.until_day - 1, 'FMDD Mon YYYY') END
          FROM project_keys k WHERE k.id = l.project_key_id)"""
_DETAIL = f"""CASE
    WHEN l.project_key_id IS NOT NULL THEN {_BY_KEY}
    WHEN l.prorated THEN {_DAYS}
    WHEN l.last_unit IS NULL AND l.first_unit = 1 THEN ''
    WHEN l.last_unit IS NULL THEN CASE WHEN d.de THEN 'ab ' ELSE 'from ' END || l.first_unit
    ELSE CASE WHEN d.de THEN 'Staffel ' ELSE 'range ' END || l.first_unit || '–' || l.last_unit END"""

# The rate of the day on which the line's service ends. Alias d, as in `line`.
_RATE_OF_LINE = "CASE d.category WHEN 'S' THEN {standard} WHEN 'AE' THEN 0 WHEN 'O' THEN 0 END"
_OF_DAY = "(SELECT by_day FROM rates)[l.service_until - CAST(:month AS date) + 1]"


def from_statements(conn: Connection, month: date, *, customer_id: int | None = None, user: User) -> int:
    """Draft one document for each statement of a closed month that is on none; returns how many.

    Without a customer it drafts the whole month, of which nothing is drafted yet, and prints the
    lines that `billing.rate_all` left in this transaction. The caller holds the permission and the
    month's row. A total below zero drafts a credit note.
    """
    narrowed = "" if customer_id is None else "AND s.customer_id = :customer_id"
    rating = billing.statement(
        select="SELECT * FROM line", customers=customer_id is not None, rated=customer_id is None
    )
    values = {
        "month": month, "months": [month], "customer_id": customer_id, "customers": [customer_id], "user_id": user.id
    }  # fmt: skip
    conn.execute(text(_LINKED.format(narrowed=narrowed)), values)
    statement = _DRAFTED.format(
        decision=vat.DECISION,
        narrowed=narrowed,
        rate_of_day=vat.RATE.format(day="day"),
        rating=rating,
        detail=_DETAIL,
        rate_of_line=_RATE_OF_LINE.format(standard=_OF_DAY),
        rate_of_adjustment=_RATE_OF_LINE.format(standard=vat.RATE.format(day="l.service_until")),
    )
    return conn.execute(text(statement), values).rowcount


def draft_unbilled(conn: Connection, customer_id: int, month: date, *, user: User) -> int:
    """Draft the released charges of a closed month again and return the draft's id (`billing-rules`)."""
    require(user, Permission.EDIT_INVOICES)
    # Shared: reopening or issuing the month waits for this draft, or this draft for them.
    conn.execute(text("SELECT 1 FROM months WHERE month = :month FOR SHARE"), {"month": month})
    claimed = conn.scalar(
        text("""SELECT month FROM statements WHERE customer_id = :customer AND month = :month
                   AND month < open_month() AND invoice_id IS NULL AND amount <> 0 FOR UPDATE"""),
        {"customer": customer_id, "month": month},
    )
    if claimed is None:
        raise Conflict("These charges are already on a document, or their month is not closed.")
    from_statements(conn, month, customer_id=customer_id, user=user)
    invoice_id: int = conn.execute(
        text("SELECT invoice_id FROM statements WHERE customer_id = :customer AND month = :month"),
        {"customer": customer_id, "month": month},
    ).scalar_one()
    audit.record(
        conn, "draft unbilled", "invoice", invoice_id, user_id=user.id, customer_id=customer_id,
        changes={"month": (None, month)},
    )  # fmt: skip
    return invoice_id


# ------------------------------------------------------------------------------ by hand


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
        raise Conflict(_stale(conn, invoice_id))
    if before.month is not None or before.advance_period:
        service_from, service_until = before.service_from, before.service_until
    _require_period(service_from, service_until)
    values: dict[str, Any] = {
        "intro": fields.block(intro, field="intro", label="The text above the lines"),
        "closing": fields.block(closing, field="closing", label="The text below the lines"),
        "purchase_order": fields.line(purchase_order, field="purchase_order", label="The purchase-order reference"),
        "due_on": due_on,
        "service_from": service_from,
        "service_until": service_until,
    }
    checked = _checked(lines)
    conn.execute(update(invoices).where(invoices.c.id == invoice_id).values(version=version + 1, **values))
    conn.execute(delete(invoice_lines).where(invoice_lines.c.invoice_id == invoice_id, ~invoice_lines.c.from_close))
    _write_lines(conn, invoice_id, checked)
    recompute(conn, [invoice_id])
    after = conn.execute(text("SELECT net FROM invoices WHERE id = :id"), {"id": invoice_id}).scalar_one()
    changed = audit.difference(before._asdict(), values | {"net": after})
    audit.record(
        conn, "edit draft", "invoice", invoice_id, user_id=user.id, customer_id=before.customer_id, changes=changed
    )


def remove(conn: Connection, invoice_id: int, *, user: User) -> None:
    """Delete a draft; charges of the month close that were on it become unbilled, a term that waited is void (S3)."""
    require(user, Permission.EDIT_INVOICES)
    before = _held(conn, invoice_id)
    release(conn, invoice_id)
    terms.void_waiting(conn, invoice_id, deleted=True, user=user)
    conn.execute(delete(invoices).where(invoices.c.id == invoice_id))
    audit.record(
        conn, "delete draft", "invoice", invoice_id, user_id=user.id, customer_id=before.customer_id,
        changes={"net": (before.net, None), "month": (before.month, None)},
    )  # fmt: skip


def remove_month(conn: Connection, month: date, *, user: User) -> int:
    """Delete all drafts of a month that is reopened; returns how many. The caller holds the month's row."""
    values = {"month": month}
    audit.record_all(
        conn,
        "delete draft",
        "invoice",
        query="""SELECT id AS object_id, customer_id,
                          jsonb_build_object('net', jsonb_build_array(net::text, NULL)) AS changes
                   FROM invoices WHERE month = :month AND state = 'draft'""",
        values=values,
        user_id=user.id,
    )
    conn.execute(
        text("UPDATE statements SET invoice_id = NULL WHERE month = :month AND invoice_id IS NOT NULL"), values
    )
    return conn.execute(text("DELETE FROM invoices WHERE month = :month AND state = 'draft'"), values).rowcount


def release(conn: Connection, invoice_id: int) -> None:
    """Make the charges that are on a document unbilled again, before it is deleted or as it is cancelled."""
    conn.execute(
        text("""UPDATE statements SET invoice_id = NULL
                 WHERE invoice_id = :id AND customer_id = (SELECT customer_id FROM invoices WHERE id = :id)"""),
        {"id": invoice_id},
    )


def recompute(conn: Connection, invoice_ids: Sequence[int]) -> None:
    """Decide VAT anew for these drafts, and sum lines, taxes and totals.

    The rate is the one of the day on which the line's service ends.
    """
    values = {"ids": list(invoice_ids)}
    conn.execute(
        text(f"""
            UPDATE invoices i SET vat_category = {vat.DECISION} FROM customers c
             WHERE c.id = i.customer_id AND i.id = ANY(CAST(:ids AS bigint[]))"""),
        values,
    )
    rate = vat.RATE.format(day="coalesce(l.service_until, i.service_until)")
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
                   kind = CASE WHEN s.net < 0 THEN 'credit_note' ELSE 'invoice' END
              FROM (SELECT d.id, coalesce((SELECT sum(amount) FROM invoice_lines WHERE invoice_id = d.id), 0) AS net,
                           coalesce((SELECT sum(vat) FROM invoice_taxes WHERE invoice_id = d.id), 0) AS vat
                      FROM invoices d WHERE d.id = ANY(CAST(:ids AS bigint[]))) s
             WHERE i.id = s.id"""),
        values,
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


def _stale(conn: Connection, invoice_id: int) -> str:
    last = conn.execute(
        text("""SELECT coalesce(s.name, 'The system') AS person,
                       to_char(a.at AT TIME ZONE (SELECT timezone FROM company), 'HH24:MI') AS time
                  FROM audit_log a LEFT JOIN staff s ON s.id = a.staff_id
                 WHERE a.object_type = 'invoice' AND a.object_id = :id ORDER BY a.id DESC LIMIT 1"""),
        {"id": str(invoice_id)},
    ).one_or_none()
    who = f"{last.person} changed this draft at {last.time}" if last else "Somebody changed this draft"
    return f"{who}, after you opened it. Nothing was saved: reload, look at the change, and enter yours again."


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
        checked.append(DraftLine(name, detail, line.quantity, unit, line.unit_price))
    return checked


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
