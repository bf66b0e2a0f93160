"""Invoices by e-mail (row S3): prepared from the template in the document's language, sent one or many.

What was issued never changes, so neither does the PDF that goes out: it is the stored one, byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from lib import audit, document_words, fields, mail_server, mail_templates, mails, requests
from lib.auth import Permission, User, require
from lib.errors import Conflict, NotFound
from lib.mail_texts import PAYMENT

# Where a customer's documents go: its billing contact, else the billing address, else the contact. Alias c.
RECIPIENT = """coalesce((SELECT b.email FROM contacts b WHERE b.customer_id = c.id AND b.is_billing),
                        nullif(c.billing_email, ''), c.contact_email)"""
_NAME = "coalesce((SELECT b.name FROM contacts b WHERE b.customer_id = c.id AND b.is_billing), c.contact_name)"


@dataclass(frozen=True)
class Prepared:
    """What would be sent; a person may change each of it before."""

    recipient: str
    subject: str
    body: str


@dataclass(frozen=True)
class Survey:
    """What of the chosen documents can be sent: how many, those already sent or under way, the customers without an
    address, and how many are drafts."""

    ready: int
    sent_before: int
    without_address: list[str]
    drafts: int


@dataclass(frozen=True)
class Sending:
    """How far a document's newest mail is. `state`: queued, sent or failed."""

    state: str
    recipient: str
    sent_at: datetime | None
    last_error: str


@dataclass(frozen=True)
class _Document:
    """What a mail says about a document."""

    id: int
    kind: str
    state: str
    number: str | None
    customer_id: int
    customer: str
    name: str
    recipient: str
    language: str
    issued_on: date | None
    due_on: date | None
    gross: Decimal
    currency: str


def prepared(conn: Connection, invoice_id: int) -> Prepared:
    """Recipient, subject and text for a document, by the template of its language. Raises NotFound or Conflict."""
    [document] = _documents(conn, [invoice_id])
    _require_issued(document)
    template = mail_templates.template(conn, "invoice", document.language)
    return Prepared(document.recipient, *_filled(conn, template, document))


def send(
    conn: Connection,
    invoice_id: int,
    *,
    recipient: str,
    subject: str,
    body: str,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Queue a document's mail with what a person made of it, and return the mail's id.

    Raises Invalid at the field, Conflict for a draft and where no mail server is set up.
    """
    require(user, Permission.EDIT_INVOICES)
    requests.once(conn, request_key)
    mail_server.require_ready(conn)
    [document] = _documents(conn, [invoice_id])
    _require_issued(document)
    mail_id = mails.add(
        conn,
        "invoice",
        recipient=recipient,
        subject=fields.line(
            subject, field="subject", label="The subject", required=True, longest=mail_templates.LONGEST_SUBJECT
        ),
        body=fields.block(body, field="body", label="The text", required=True, longest=mail_templates.LONGEST_BODY),
        customer_id=document.customer_id,
        invoice_id=invoice_id,
        user_id=user.id,
    )
    _record(conn, document, user)
    return mail_id


def send_many(conn: Connection, invoice_ids: Sequence[int], *, user: User, request_key: UUID | None = None) -> Survey:
    """Queue the mails of these documents by their templates; drafts and customers without an address are left out.

    Returns what `survey` said, as it was at this moment. Raises Conflict where no mail server is set up or nothing
    can be sent.
    """
    require(user, Permission.EDIT_INVOICES)
    requests.once(conn, request_key)
    mail_server.require_ready(conn)
    found = _documents(conn, invoice_ids)
    outcome = _surveyed(conn, found)
    if not outcome.ready:
        raise Conflict("None of these documents can be sent: each is a draft, or its customer has no e-mail address.")
    templates = {
        language: mail_templates.template(conn, "invoice", language) for language in {one.language for one in found}
    }
    for document in found:
        if document.number is None or not document.recipient:
            continue
        subject, body = _filled(conn, templates[document.language], document)
        mails.add(
            conn,
            "invoice",
            recipient=document.recipient,
            subject=subject,
            body=body,
            customer_id=document.customer_id,
            invoice_id=document.id,
            user_id=user.id,
        )
        _record(conn, document, user)
    return outcome


def survey(conn: Connection, invoice_ids: Sequence[int]) -> Survey:
    """What `send_many` would do with these documents."""
    return _surveyed(conn, _documents(conn, invoice_ids))


def sendings(conn: Connection, invoice_ids: Sequence[int]) -> dict[int, Sending]:
    """How far the newest mail of each document is; documents that were never sent are not in it."""
    found = conn.execute(
        text("""SELECT DISTINCT ON (invoice_id) invoice_id, state, recipient, sent_at, last_error
                  FROM mails WHERE invoice_id = ANY(CAST(:ids AS bigint[]))
                 ORDER BY invoice_id, id DESC"""),
        {"ids": list(invoice_ids)},
    )
    return {row.invoice_id: Sending(row.state, row.recipient, row.sent_at, row.last_error) for row in found}


def _documents(conn: Connection, invoice_ids: Sequence[int]) -> list[_Document]:
    """The documents in the order of their numbers. Raises NotFound where one is gone."""
    wanted = sorted(set(invoice_ids))
    found = conn.execute(
        text(f"""
            SELECT i.id, i.kind, i.state, i.number, i.customer_id, coalesce(i.buyer ->> 'name', c.name) AS customer,
                   {_NAME} AS name, {RECIPIENT} AS recipient, i.language, i.issued_on, i.due_on, i.gross, i.currency
              FROM invoices i JOIN customers c ON c.id = i.customer_id
             WHERE i.id = ANY(CAST(:ids AS bigint[])) ORDER BY i.number, i.id"""),
        {"ids": wanted},
    ).all()
    if len(found) < len(wanted):
        raise NotFound("A document does not exist any more. Nothing was sent: reload the page.")
    return [_Document(**row._mapping) for row in found]


def _surveyed(conn: Connection, found: Sequence[_Document]) -> Survey:
    issued = [one for one in found if one.number is not None]
    ready = [one.id for one in issued if one.recipient]
    before = sum(sending.state != "failed" for sending in sendings(conn, ready).values())
    without = sorted({one.customer for one in issued if not one.recipient})
    return Survey(len(ready), before, without, len(found) - len(issued))


def _filled(conn: Connection, template: mail_templates.Template, document: _Document) -> tuple[str, str]:
    language = document.language
    to_pay = document.kind == "invoice" and document.state == "issued" and document.gross > 0
    values: dict[str, Any] = {
        "company": mails.company_name(conn),
        "name": document.name,
        "customer": document.customer,
        "document": document_words.WORDS[language][document.kind],
        "number": document.number,
        "date": document_words.day(language, document.issued_on),
        "amount": document_words.amount(language, document.gross),
        "currency": document.currency,
        "payment": PAYMENT[language].format(due=document_words.day(language, document.due_on)) if to_pay else "",
    }
    return mail_templates.filled(template, values)


def _require_issued(document: _Document) -> None:
    if document.number is None:
        raise Conflict("A draft can't be sent. Issue it first.")


def _record(conn: Connection, document: _Document, user: User) -> None:
    """The log says that it was sent, not to whom: the address is a person's and stands in the mail, which is erased."""
    audit.record(conn, "send by mail", "invoice", document.id, user_id=user.id, customer_id=document.customer_id)
