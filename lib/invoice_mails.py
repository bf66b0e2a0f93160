"""Invoices by e-mail (row S3): prepared from the template in the document's language, sent one or many.

What was issued never changes, so neither does the PDF that goes out: it is the stored one, byte for byte.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from lib import audit, document_words, fields, mail_server, mail_templates, mails, requests
from lib.auth import Permission, User, require
from lib.contacts import DOCUMENT_EMAIL
from lib.errors import Conflict, NotFound
from lib.mail_texts import PAYMENT, PAYMENT_OTHERWISE

# How many mails are written in one statement.
CHUNK = 5_000
# Whose address DOCUMENT_EMAIL is, by name; that of an address for invoices is nobody's. Alias c is customers.
_NAME = """coalesce((SELECT b.name FROM contacts b WHERE b.customer_id = c.id AND b.is_billing),
                    CASE WHEN c.billing_email = '' THEN c.contact_name ELSE '' END)"""
# Issued documents of a month that no mail carries or carried, unless it failed.
_LEFT = """
  FROM invoices i JOIN customers c ON c.id = i.customer_id
 WHERE i.month = :month AND i.number IS NOT NULL AND i.state <> 'cancelled'
   AND NOT EXISTS (SELECT FROM mails m WHERE m.invoice_id = i.id AND m.state <> 'failed')"""


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
class MonthSurvey:
    """How far the mails of a month's documents are; `to_send` were not mailed yet or failed, and have an address."""

    to_send: int
    without_address: int
    sent: int
    waiting: int
    failed: int


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
    payment_method: str
    collect_on: str


def prepared(conn: Connection, invoice_id: int) -> Prepared:
    """Recipient, subject and text for a document, by the template of its language. Raises NotFound or Conflict."""
    [document] = _documents(conn, [invoice_id])
    _require_issued(document)
    template = mail_templates.template(conn, "invoice", document.language)
    return Prepared(document.recipient, *_filled(template, document, mails.company_name(conn)))


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
    _record(conn, [document], user)
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
    _queue(conn, found, user)
    return outcome


def send_month(conn: Connection, month: date, *, user: User, progress: Callable[[str], None] = lambda _: None) -> int:
    """Queue the mails of a month's documents that have an address and were not mailed yet; returns how many.

    Those whose mail failed are among them, cancelled documents are not. Raises Conflict where no mail server
    is set up or nothing is left to send.
    """
    require(user, Permission.EDIT_INVOICES)
    mail_server.require_ready(conn)
    # Two at once take turns: the second finds the mails of the first.
    conn.execute(text("SELECT FROM months WHERE month = :month FOR UPDATE"), {"month": month})
    ids = conn.scalars(text(f"SELECT i.id {_LEFT} AND ({DOCUMENT_EMAIL}) <> '' ORDER BY i.id"), {"month": month}).all()
    if not ids:
        raise Conflict(f"Nothing of {month:%B %Y} is left to send by mail.")
    for first in range(0, len(ids), CHUNK):
        if first:
            progress(f"{first:,} of {len(ids):,} mails are written")
        _queue(conn, _documents(conn, ids[first : first + CHUNK]), user)
    return len(ids)


def month_survey(conn: Connection, month: date) -> MonthSurvey:
    """How far the mails of a month's documents are. Reads one row a document."""
    row = conn.execute(
        text(f"""
            WITH newest AS (
                SELECT DISTINCT ON (m.invoice_id) m.invoice_id, m.state
                  FROM mails m JOIN invoices i ON i.id = m.invoice_id
                 WHERE i.month = :month ORDER BY m.invoice_id, m.id DESC)
            SELECT (SELECT count(*) {_LEFT} AND ({DOCUMENT_EMAIL}) <> '') AS to_send,
                   (SELECT count(*) {_LEFT} AND ({DOCUMENT_EMAIL}) = '') AS without_address,
                   count(*) FILTER (WHERE state = 'sent') AS sent, count(*) FILTER (WHERE state = 'queued') AS waiting,
                   count(*) FILTER (WHERE state = 'failed') AS failed
              FROM newest"""),
        {"month": month},
    ).one()
    return MonthSurvey(**row._mapping)


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
                   {_NAME} AS name, ({DOCUMENT_EMAIL}) AS recipient, i.language, i.issued_on, i.due_on, i.gross,
                   i.currency, coalesce(i.buyer ->> 'payment_method', '') AS payment_method,
                   coalesce(i.buyer ->> 'collect_on', '') AS collect_on
              FROM invoices i JOIN customers c ON c.id = i.customer_id
             WHERE i.id = ANY(CAST(:ids AS bigint[])) ORDER BY i.number, i.id"""),
        {"ids": wanted},
    ).all()
    if len(found) < len(wanted):
        raise NotFound("A document does not exist any more. Nothing was sent: reload the page.")
    return [_Document(**row._mapping) for row in found]


def _queue(conn: Connection, found: Sequence[_Document], user: User) -> None:
    """Queue the mails of those that are issued and have an address, each by the template of its language."""
    company = mails.company_name(conn)
    templates = {
        language: mail_templates.template(conn, "invoice", language) for language in {one.language for one in found}
    }
    sent = [one for one in found if one.number is not None and one.recipient]
    letters = [
        mails.Letter(one.recipient, *_filled(templates[one.language], one, company), one.customer_id, one.id)
        for one in sent
    ]
    mails.add_all(conn, "invoice", letters, user_id=user.id)
    _record(conn, sent, user)


def _surveyed(conn: Connection, found: Sequence[_Document]) -> Survey:
    issued = [one for one in found if one.number is not None]
    ready = [one.id for one in issued if one.recipient]
    before = sum(sending.state != "failed" for sending in sendings(conn, ready).values())
    without = sorted({one.customer for one in issued if not one.recipient})
    return Survey(len(ready), before, without, len(found) - len(issued))


def _filled(template: mail_templates.Template, document: _Document, company: str) -> tuple[str, str]:
    language = document.language
    payment = PAYMENT_OTHERWISE.get((language, document.payment_method), PAYMENT[language])
    to_pay = document.kind == "invoice" and document.state == "issued" and document.gross > 0
    paid_on = date.fromisoformat(document.collect_on) if document.collect_on else document.due_on
    values: dict[str, Any] = {
        "company": company,
        "name": document.name,
        "customer": document.customer,
        "document": document_words.WORDS[language][document.kind],
        "number": document.number,
        "date": document_words.day(language, document.issued_on),
        "amount": document_words.amount(language, document.gross),
        "currency": document.currency,
        "payment": payment.format(due=document_words.day(language, paid_on)) if to_pay else "",
    }
    return mail_templates.filled(template, values)


def _require_issued(document: _Document) -> None:
    if document.number is None:
        raise Conflict("A draft can't be sent. Issue it first.")


def _record(conn: Connection, sent: Sequence[_Document], user: User) -> None:
    """The log says that they were sent, not to whom: the address is a person's and goes when that is erased."""
    audit.record_all(
        conn,
        "send by mail",
        "invoice",
        query="""SELECT i.id AS object_id, i.customer_id, '{}'::jsonb AS changes
                   FROM invoices i WHERE i.id = ANY(CAST(:ids AS bigint[])) ORDER BY i.id""",
        values={"ids": [one.id for one in sent]},
        user_id=user.id,
    )
