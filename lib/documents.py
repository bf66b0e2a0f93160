"""The PDFs of invoices: rendered once from the frozen copy, kept with their hash, the same for ever."""

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.postgresql import insert

from lib import collection_notices, contacts, late_renewals
from lib.errors import NotFound
from lib.invoices import taxes
from lib.papers import Buyer, Carried, Document, Line, Original, Seller
from lib.rendering import rendered
from lib.tables import company, customers, documents, invoice_lines, invoices, sellers

Party = TypeVar("Party", Seller, Buyer)


def pdf(conn: Connection, invoice_id: int) -> tuple[str, bytes]:
    """The file name and the bytes of an invoice's PDF; a draft's is marked as such and not kept.

    The first call for an issued document stores it, so it needs a transaction that commits. Raises NotFound.
    """
    invoice = _invoice(conn, invoice_id)
    if invoice.number is None:
        draft = _document(conn, invoice)
        return f"{draft.words['draft']}-{invoice_id}.pdf", rendered(draft)
    file_name = f"{invoice.number}.pdf"
    kept = _kept(conn, invoice_id)
    if kept is None:
        content = rendered(_document(conn, invoice))
        values = {"invoice_id": invoice_id, "content": content, "sha256": sha256(content).digest()}
        conn.execute(insert(documents).values(values).on_conflict_do_nothing())
        # Of two at once, both hand out what was stored first.
        kept = _kept(conn, invoice_id)
        assert kept is not None
    return file_name, kept


def document(conn: Connection, invoice_id: int) -> Document:
    """What stands on an invoice: the frozen copy of an issued one, today's data for a draft. Raises NotFound."""
    return _document(conn, _invoice(conn, invoice_id))


def _invoice(conn: Connection, invoice_id: int) -> Row[Any]:
    row = conn.execute(select(invoices).where(invoices.c.id == invoice_id)).one_or_none()
    if row is None:
        raise NotFound("This invoice does not exist (any more).")
    return row


def _kept(conn: Connection, invoice_id: int) -> bytes | None:
    query = select(documents.c.content).where(documents.c.invoice_id == invoice_id, documents.c.format == "pdf")
    content = conn.scalar(query)
    return None if content is None else bytes(content)


def _document(conn: Connection, invoice: Row[Any]) -> Document:
    seller, logo = _seller(conn, invoice.seller_id)
    found = {"seller", "logo", "buyer", "lines", "taxes", "original", "carried"}
    own = {field.name for field in fields(Document)} - found
    return Document(
        **{name: invoice._mapping[name] for name in own},
        seller=seller,
        logo=logo,
        buyer=_buyer(conn, invoice),
        lines=_lines(conn, invoice.id),
        taxes=tuple(taxes(conn, invoice.id)),
        original=_original(conn, invoice.cancels_id),
        carried=_carried(conn, invoice) if invoice.advance_period else None,
    )


def _seller(conn: Connection, seller_id: int | None) -> tuple[Seller, bytes | None]:
    """The frozen seller, or the company as it is today for a draft."""
    if seller_id is None:
        today = conn.execute(select(company)).one()
        return _party(Seller, today._mapping), today.logo
    frozen = conn.execute(select(sellers.c.content, sellers.c.logo).where(sellers.c.id == seller_id)).one()
    return _party(Seller, frozen.content), frozen.logo


def _buyer(conn: Connection, invoice: Row[Any]) -> Buyer:
    """The frozen buyer, or the customer as it is today for a draft."""
    if invoice.buyer is not None:
        return _party(Buyer, invoice.buyer)
    row = conn.execute(select(customers).where(customers.c.id == invoice.customer_id)).one()
    today = dict(row._mapping) | {"email": contacts.document_email(conn, invoice.customer_id)}
    if row.separate_billing:
        today |= {name: today[f"billing_{name}"] for name in ("name", "street", "postcode", "city")}
        today["country"] = row.billing_country or row.country
    return _party(Buyer, today | collection_notices.of_draft(conn, invoice.id))


def _lines(conn: Connection, invoice_id: int) -> tuple[Line, ...]:
    columns = [invoice_lines.c[field.name] for field in fields(Line)]
    query = select(*columns).where(invoice_lines.c.invoice_id == invoice_id).order_by(invoice_lines.c.position)
    return tuple(Line(**row._mapping) for row in conn.execute(query))


def _original(conn: Connection, cancels_id: int | None) -> Original | None:
    if cancels_id is None:
        return None
    columns = (invoices.c.kind, invoices.c.number, invoices.c.issued_on)
    return Original(**conn.execute(select(*columns).where(invoices.c.id == cancels_id)).one()._mapping)


def _carried(conn: Connection, invoice: Row[Any]) -> Carried | None:
    """The other document where this one was issued again, or cancels what was."""
    found = late_renewals.issued_again(conn, [invoice.cancels_id or invoice.id])
    if not found or invoice.id == found[0].old_id:  # what was issued first stays as it was
        return None
    if invoice.cancels_id is not None:
        return Carried(found[0].new_number, Decimal(0)) if invoice.id == found[0].cancellation_id else None
    return Carried(found[0].old_number, found[0].carried)


def _party(kind: type[Party], content: Mapping[Any, Any]) -> Party:
    return kind(**{field.name: str(content[field.name]) for field in fields(kind) if content.get(field.name)})
