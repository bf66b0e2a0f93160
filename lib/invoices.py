"""Documents: what the list and a document's page show (rows S1, S3). Drafts are written in `lib/drafts.py`,
issued in `lib/issuing.py`, cancelled in `lib/cancellations.py`.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import audit
from lib.errors import NotFound
from lib.papers import Tax

KINDS = {"invoice": "Invoice", "credit_note": "Credit note", "cancellation": "Cancellation invoice"}
STATES = {
    "draft": "Draft",
    "issued": "Issued",
    "partly_paid": "Partly paid",
    "paid": "Paid",
    "written_off": "Written off",
    "cancelled": "Cancelled",
}


@dataclass(frozen=True)
class Invoice:
    """A document as its page shows it. Amounts in `currency`."""

    id: int
    kind: str
    state: str
    number: str | None
    customer_id: int
    customer_number: str
    customer_name: str
    month: date | None
    issued_on: date | None
    due_on: date | None
    service_from: date
    service_until: date
    language: str
    currency: str
    purchase_order: str
    intro: str
    closing: str
    net: Decimal
    vat: Decimal
    gross: Decimal
    vat_category: str | None
    cancels_id: int | None
    cancels_number: str | None
    cancelled_by_id: int | None
    cancelled_by_number: str | None
    advance_period: str
    version: int


@dataclass(frozen=True)
class InvoiceLine:
    """A printed line; `from_close` lines came from the month close and are never edited.

    `product_id` says of which charge such a line is a piece.
    """

    position: int
    from_close: bool
    name: str
    detail: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    amount: Decimal
    vat_rate: Decimal | None
    service_from: date | None
    service_until: date | None
    product_id: int | None = None
    vat_treatment: str = "standard"
    exempt_reason: str = ""


_SELECT = """
SELECT i.id, i.kind, i.state, i.number, i.customer_id, c.number AS customer_number,
       coalesce(i.buyer ->> 'name', c.name) AS customer_name, i.month,
       i.issued_on, i.due_on, i.service_from, i.service_until, i.language, i.currency, i.purchase_order,
       i.intro, i.closing, i.net, i.vat, i.gross, i.vat_category,
       i.cancels_id, o.number AS cancels_number, n.id AS cancelled_by_id, n.number AS cancelled_by_number,
       i.advance_period, i.version
  FROM invoices i
  JOIN customers c ON c.id = i.customer_id
  LEFT JOIN invoices o ON o.id = i.cancels_id
  LEFT JOIN invoices n ON n.cancels_id = i.id
"""


def invoice(conn: Connection, invoice_id: int) -> Invoice:
    """One document. Raises NotFound."""
    row = conn.execute(text(f"{_SELECT} WHERE i.id = :id"), {"id": invoice_id}).one_or_none()
    if row is None:
        raise NotFound("This document does not exist (any more).")
    return Invoice(**row._mapping)


def invoices_of(conn: Connection, customer_id: int) -> list[Invoice]:
    """The documents of a customer, the newest first (row S1)."""
    found = conn.execute(text(f"{_SELECT} WHERE i.customer_id = :id ORDER BY i.id DESC"), {"id": customer_id})
    return [Invoice(**row._mapping) for row in found]


def lines(conn: Connection, invoice_id: int) -> list[InvoiceLine]:
    """The lines of a document in the order in which they are printed."""
    columns = ", ".join(InvoiceLine.__dataclass_fields__)
    found = conn.execute(
        text(f"SELECT {columns} FROM invoice_lines WHERE invoice_id = :id ORDER BY position"), {"id": invoice_id}
    )
    return [InvoiceLine(**row._mapping) for row in found]


def taxes(conn: Connection, invoice_id: int) -> list[Tax]:
    """The VAT of a document by rate, the highest first, and what is exempt last: on its page and as it is printed."""
    found = conn.execute(
        text("""SELECT rate, category, net, vat FROM invoice_taxes WHERE invoice_id = :id
                 ORDER BY category DESC, rate DESC"""),
        {"id": invoice_id},
    )
    return [Tax(**row._mapping) for row in found]


@dataclass(frozen=True)
class Filters:
    """What the invoice list is narrowed to; the state `overdue` is issued or partly paid past its due date."""

    month: date | None = None
    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    search: str = ""


ORDERS = {"newest": "i.id DESC", "number": "i.number DESC NULLS FIRST, i.id DESC", "due": "i.due_on, i.id",
          "amount": "i.gross DESC, i.id", "customer": "c.sort_name, i.id"}  # fmt: skip
MOST_COUNTED = 10_000
LONGEST_SEARCH = 200


def page(
    conn: Connection, filters: Filters, *, today: date, order: str = "newest", limit: int = 50, offset: int = 0
) -> list[Invoice]:
    """A page of the list, in one of ORDERS."""
    where, values = _conditions(filters, today)
    found = conn.execute(
        text(f"{_SELECT} WHERE {where} ORDER BY {ORDERS[order]} LIMIT :limit OFFSET :offset"),
        values | {"limit": limit, "offset": offset},
    )
    return [Invoice(**row._mapping) for row in found]


@dataclass(frozen=True)
class Totals:
    """How many documents match, counted up to one more than MOST_COUNTED, and what they add up to up to there.

    `gross` leaves out the `undecided`: drafts without a VAT decision, of which only the net amount is known.
    """

    count: int
    net: Decimal
    gross: Decimal
    undecided: int


def totals(conn: Connection, filters: Filters, *, today: date) -> Totals:
    """The number and the sums of the documents that match. A document and its cancellation add up to 0.00."""
    where, values = _conditions(filters, today)
    row = conn.execute(
        text(f"""SELECT count(*) AS count, coalesce(sum(net), 0) AS net,
                        coalesce(sum(gross) FILTER (WHERE vat_category IS NOT NULL), 0) AS gross,
                        count(*) FILTER (WHERE vat_category IS NULL) AS undecided
                   FROM (SELECT i.net, i.gross, i.vat_category FROM invoices i JOIN customers c ON c.id = i.customer_id
                          WHERE {where} LIMIT {MOST_COUNTED + 1}) found"""),
        values,
    ).one()
    return Totals(**row._mapping)


@dataclass(frozen=True)
class Unbilled:
    """Charges of a closed month that are on no document."""

    month: date
    customer_id: int
    number: str
    name: str
    amount: Decimal


def unbilled(conn: Connection, *, limit: int = 200) -> list[Unbilled]:
    """Charges of closed months that are on no document, oldest first."""
    found = conn.execute(
        text("""SELECT s.month, s.customer_id, c.number, c.name, s.amount
                  FROM statements s JOIN customers c ON c.id = s.customer_id
                 WHERE s.invoice_id IS NULL AND s.amount <> 0 AND s.month < open_month()
                 ORDER BY s.month, c.sort_name LIMIT :limit"""),
        {"limit": limit},
    )
    return [Unbilled(**row._mapping) for row in found]


def _conditions(filters: Filters, today: date) -> tuple[str, dict[str, Any]]:
    where: list[str] = ["true"]
    values: dict[str, Any] = {}
    if filters.month is not None:
        where.append("i.month = :month")
        values["month"] = filters.month
    chosen = []
    if filters.states:  # what is no state matches nothing, and may be any text of an address
        chosen.append("i.state = ANY(CAST(:states AS text[]))")
        values["states"] = [state for state in filters.states if state in STATES and state != "overdue"]
    if "overdue" in filters.states:
        chosen.append("(i.state IN ('issued', 'partly_paid') AND i.kind = 'invoice' AND i.due_on < :today)")
        values["today"] = today
    if chosen:
        where.append(f"({' OR '.join(chosen)})")
    if filters.kinds:
        where.append("i.kind = ANY(CAST(:kinds AS text[]))")
        values["kinds"] = [kind for kind in filters.kinds if kind in KINDS]
    wanted = filters.search.replace("\x00", "").strip()[:LONGEST_SEARCH]
    if wanted:
        where.append("(c.search LIKE :search OR upper(i.number) LIKE upper(:search))")
        values["search"] = f"%{audit.like_escaped(wanted.lower())}%"
    return " AND ".join(where), values
