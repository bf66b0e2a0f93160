"""The outbox: a mail is a row, written in the transaction that causes it (rows G4, S3).

The worker sends it afterwards (`mail_sending`), so that nothing waits for a mail server, and nothing is
mailed that was rolled back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, insert, text

from lib import audit, fields, mail_server, mail_templates
from lib.auth import Permission, User, require
from lib.errors import Conflict, NotFound
from lib.mail_templates import KINDS
from lib.tables import mails


@dataclass(frozen=True)
class Mail:
    """A mail as the customer's page shows it. `state`: queued, sent or failed; then `last_error` says why.

    Where the body has a link stands {link}, and {valid_until}: nobody but the recipient sees it.
    """

    id: int
    kind: str
    state: str
    customer_id: int | None
    recipient: str
    subject: str
    body: str
    invoice_id: int | None
    invoice_number: str | None
    has_link: bool
    attempts: int
    due_at: datetime
    last_error: str
    created_at: datetime
    created_by: str
    sent_at: datetime | None

    @property
    def label(self) -> str:
        """What kind of mail it is, in words."""
        return KINDS[self.kind].label


@dataclass(frozen=True)
class Letter:
    """A mail that is written and not queued yet."""

    recipient: str
    subject: str
    body: str
    customer_id: int | None
    invoice_id: int | None


def queue(
    conn: Connection,
    kind: str,
    *,
    recipient: str,
    language: str,
    values: Mapping[str, str],
    customer_id: int | None = None,
    invoice_id: int | None = None,
    link_id: int | None = None,
    user_id: int | None = None,
) -> int:
    """Queue a mail by its template and return its id; the caller checks permissions and writes the audit log.

    `values` are what `KINDS[kind].given` names, as people read them in `language`. A kind with a link needs
    its `link_id`; that stays {link} here and is filled in when the mail is sent. `user_id` is the member of
    staff who caused it. Raises Invalid at `recipient` where that is no e-mail address.
    """
    wanted = KINDS[kind]
    if set(values) != set(wanted.given) or wanted.has_link != (link_id is not None):
        raise ValueError(f"A mail of the kind {kind} takes {sorted(wanted.given)}, and link_id if it has a link.")
    template = mail_templates.template(conn, kind, language)
    subject, body = mail_templates.filled(template, {**values, "company": company_name(conn)})
    return add(
        conn,
        kind,
        recipient=recipient,
        subject=subject,
        body=body,
        customer_id=customer_id,
        invoice_id=invoice_id,
        link_id=link_id,
        user_id=user_id,
    )


def add(
    conn: Connection,
    kind: str,
    *,
    recipient: str,
    subject: str,
    body: str,
    customer_id: int | None,
    invoice_id: int | None,
    user_id: int | None,
    link_id: int | None = None,
) -> int:
    """Queue a mail whose text is written already. Returns its id."""
    letter = Letter(recipient, subject, body, customer_id, invoice_id)
    [row] = _rows(conn, kind, [letter], user_id)
    statement = insert(mails).values(**row, link_id=link_id).returning(mails.c.id)
    mail_id: int = conn.execute(statement).scalar_one()
    return mail_id


def add_all(conn: Connection, kind: str, letters: Sequence[Letter], *, user_id: int | None) -> None:
    """Queue many mails whose texts are written already."""
    if letters:
        conn.execute(insert(mails), _rows(conn, kind, letters, user_id))


def _rows(conn: Connection, kind: str, letters: Sequence[Letter], user_id: int | None) -> list[dict[str, Any]]:
    """The letters as rows of the outbox. A Message-ID is given once and stays through every attempt."""
    address = conn.scalar(
        text("SELECT coalesce(nullif(s.sender_address, ''), o.email) FROM mail_server s CROSS JOIN company o")
    )
    domain = str(address or "").rpartition("@")[2] or "localhost"
    return [
        {
            "kind": kind,
            "recipient": fields.email(letter.recipient, field="recipient", label="The recipient", required=True),
            "subject": letter.subject,
            "body": letter.body,
            "customer_id": letter.customer_id,
            "invoice_id": letter.invoice_id,
            "created_by": user_id,
            "message_id": f"<{uuid4().hex}@{domain}>",
        }
        for letter in letters
    ]


def of_customer(conn: Connection, customer_id: int, limit: int, offset: int) -> tuple[list[Mail], int]:
    """A customer's mails, the newest first, and how many there are."""
    found = conn.execute(
        text(f"{_SELECT} WHERE m.customer_id = :id ORDER BY m.id DESC LIMIT :limit OFFSET :offset"),
        {"id": customer_id, "limit": limit, "offset": offset},
    )
    total = conn.scalar(text("SELECT count(*) FROM mails WHERE customer_id = :id"), {"id": customer_id})
    return [Mail(**row._mapping) for row in found], total or 0


def mail(conn: Connection, mail_id: int) -> Mail:
    """One mail. Raises NotFound."""
    row = conn.execute(text(f"{_SELECT} WHERE m.id = :id"), {"id": mail_id}).one_or_none()
    if row is None:
        raise NotFound("This mail does not exist any more: its customer's data were erased.")
    return Mail(**row._mapping)


def resend(conn: Connection, mail_id: int, *, user: User) -> int:
    """Send a mail again, or at once where it waits; returns the id of the mail that goes out.

    One that failed or waits goes out itself, under its old Message-ID; of one that was sent a copy does,
    under a new one, or the receiving side would drop it as known. Raises Conflict where that makes no
    sense: a sent link works once, so its user is invited anew instead.
    """
    conn.execute(text("SELECT id FROM mails WHERE id = :id FOR UPDATE"), {"id": mail_id})
    found = mail(conn, mail_id)
    require(user, Permission.EDIT_INVOICES if found.invoice_id else Permission.EDIT_CUSTOMERS)
    mail_server.require_ready(conn)
    if found.state == "sent":
        sent_id = _copy(conn, found, user)
    else:
        sent_id = mail_id
        again = conn.execute(
            text("""UPDATE mails SET due_at = now(), leased_until = NULL,
                           attempts = CASE WHEN state = 'failed' THEN 0 ELSE attempts END,
                           last_error = CASE WHEN state = 'failed' THEN '' ELSE last_error END, state = 'queued'
                     WHERE id = :id AND coalesce(leased_until <= now(), true) RETURNING id"""),
            {"id": mail_id},
        ).one_or_none()
        if again is None:
            raise Conflict("This mail is being sent at this very moment. Look again in a minute.")
    audit.record(conn, "send again", "mail", mail_id, user_id=user.id, customer_id=found.customer_id)
    return sent_id


def _copy(conn: Connection, sent: Mail, user: User) -> int:
    if KINDS[sent.kind].has_link:
        raise Conflict("A link works once. Send the invite anew from the Users tab: it then carries a link of its own.")
    if not sent.recipient:
        raise Conflict("Whom this mail went to was erased with the customer's data.")
    return add(
        conn,
        sent.kind,
        recipient=sent.recipient,
        subject=sent.subject,
        body=sent.body,
        customer_id=sent.customer_id,
        invoice_id=sent.invoice_id,
        user_id=user.id,
    )


def forget(conn: Connection, customer_id: int, *, unsent_invoices: bool = True) -> int:
    """Delete a customer's mails, which name persons, and return how many there were. For the erasure.

    The confirmation of the erasure stays; it loses recipient and text once it is sent. Invoices that were not
    sent yet go, too, unless told otherwise: they are sent while what the last invoice needs is kept.
    """
    doomed = (mails.c.customer_id == customer_id) & (mails.c.kind != "erased")
    if not unsent_invoices:
        doomed &= (mails.c.kind != "invoice") | (mails.c.state == "sent")
    return conn.execute(delete(mails).where(doomed)).rowcount


def company_name(conn: Connection) -> str:
    """Our company's name, as every mail may name it."""
    return str(conn.scalar(text("SELECT name FROM company")) or "")


_SELECT = """
SELECT m.id, m.kind, m.state, m.customer_id, m.recipient, m.subject, m.body, m.invoice_id, i.number AS invoice_number,
       m.link_id IS NOT NULL AS has_link, m.attempts, m.due_at, m.last_error, m.created_at,
       coalesce(s.name, 'System') AS created_by, m.sent_at
  FROM mails m
  LEFT JOIN invoices i ON i.id = m.invoice_id
  LEFT JOIN staff s ON s.id = m.created_by
"""
