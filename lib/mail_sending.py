"""Sending what waits in the outbox: claim a row, talk to the server, note how it ended.

No transaction is open while the server is talked to. A claim is a lease on the row: a worker that dies
while it sends leaves a row that another one takes once the lease has run out. Whether the dead worker's
message had been taken nobody can know then (no mail server can tell), so it is sent once more with the
same Message-ID, by which the receiving side recognises the second copy. In the database there is one
mail, sent once.
"""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from lib import db, document_words, documents, links, mail_server, smtp
from lib.errors import BillingError, Conflict, NotFound
from lib.mail_templates import LINK, VALID_UNTIL
from lib.smtp import Undelivered

# Longer than a conversation can take: some twelve steps of smtp.TIMEOUT_SECONDS.
LEASE = "10 minutes"
# How long a mail waits after each failed attempt; after the last one it has failed for good.
WAITS_MINUTES = (1, 5, 30, 2 * 60, 12 * 60)
MOST_ATTEMPTS = len(WAITS_MINUTES) + 1
# The portal's page that a link opens, by what it is for.
LINK_PAGES = {"invite": "accept", "password_reset": "reset", "registration": "confirm"}
# Nothing about the recipient is kept once these are sent: they tell somebody that their data are erased.
FORGOTTEN_ONCE_SENT = ("erased",)
_log = logging.getLogger("mandant.mail")


@dataclass(frozen=True)
class _Claimed:
    """A mail that is ours until `leased_until`."""

    id: int
    kind: str
    recipient: str
    subject: str
    body: str
    invoice_id: int | None
    link_id: int | None
    message_id: str
    attempts: int
    leased_until: datetime
    at: datetime


def send_one() -> bool:
    """Send the mail that has waited longest, if one is due. Whether there was one."""
    with db.transaction() as conn:
        mail = _claim(conn)
    if mail is None:
        return False
    try:
        # What it needs is read, and an invoice's PDF stored, before the server is talked to.
        with db.transaction() as conn:
            account, message = _prepared(conn, mail)
        smtp.deliver(account, message)
    except Undelivered as refusal:
        _note_failure(mail, str(refusal), for_good=refusal.permanent)
    except (Conflict, NotFound) as refusal:
        _note_failure(mail, str(refusal), for_good=True)
    except BillingError as refusal:
        _note_failure(mail, str(refusal), for_good=False)
    except Exception:
        reference = secrets.token_hex(4).upper()
        _log.exception("Mail %s was not sent, reference %s", mail.id, reference)
        _note_failure(mail, f"An unexpected error; the log has it under the reference {reference}.", for_good=False)
    else:
        _note_sent(mail)
    return True


def _claim(conn: Connection) -> _Claimed | None:
    """Lease the oldest due mail, while there is a server to send it by. Counts the attempt before it is made."""
    row = conn.execute(
        text(f"""
            UPDATE mails SET leased_until = now() + interval '{LEASE}', attempts = attempts + 1
             WHERE id = (SELECT id FROM mails
                          WHERE state = 'queued' AND due_at <= now() AND coalesce(leased_until <= now(), true)
                            AND EXISTS (SELECT FROM mail_server WHERE host <> '' AND sender_address <> '')
                          ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING id, kind, recipient, subject, body, invoice_id, link_id, message_id, attempts, leased_until,
                      now() AS at""")
    ).one_or_none()
    return None if row is None else _Claimed(**row._mapping)


def _prepared(conn: Connection, mail: _Claimed) -> tuple[smtp.Account, EmailMessage]:
    """The server, and the message with its link or its PDF. Raises Conflict or NotFound where it has no sense now."""
    if mail.attempts > MOST_ATTEMPTS:
        raise Conflict("The worker ended each time it tried to send this. Its log says why.")
    if not mail_server.ready(conn):
        raise Undelivered(mail_server.NOT_READY)
    account = mail_server.account(conn)
    body = mail.body
    if mail.kind in LINK_PAGES:
        for name, value in _link(conn, mail).items():
            body = body.replace(f"{{{name}}}", value)
    attachment = None if mail.invoice_id is None else documents.pdf(conn, mail.invoice_id)
    message = smtp.message(
        account,
        recipient=mail.recipient,
        subject=mail.subject,
        body=body,
        message_id=mail.message_id,
        at=mail.at,
        attachment=attachment,
    )
    return account, message


def _link(conn: Connection, mail: _Claimed) -> Mapping[str, str]:
    """The link's address and until when it works, for the mail's text alone: neither is stored or logged."""
    if mail.link_id is None:
        raise NotFound("The user this link was for does not exist any more.")
    company: Any = conn.execute(text("SELECT portal_url, timezone FROM company")).one()
    if not company.portal_url:
        raise Conflict("The portal's address is not set, so the link would lead nowhere. Set it, then send again.")
    secret = links.secret(conn, mail.link_id)
    found: Any = conn.execute(
        text("""SELECT l.expires_at, c.language FROM user_links l
                  JOIN customer_users u ON u.id = l.user_id JOIN customers c ON c.id = u.customer_id
                 WHERE l.id = :id"""),
        {"id": mail.link_id},
    ).one()
    local = found.expires_at.astimezone(ZoneInfo(company.timezone))
    clock = f"{local:%H:%M}{' Uhr' if found.language == 'de' else ''}"
    return {
        LINK: f"{company.portal_url.rstrip('/')}/{LINK_PAGES[mail.kind]}?link={quote(secret)}",
        VALID_UNTIL: f"{document_words.day(found.language, local.date())}, {clock}",
    }


def _note_sent(mail: _Claimed) -> None:
    """Whoever holds the lease by now: the server took it, and nothing is sent again."""
    with db.transaction() as conn:
        conn.execute(
            text("""
                UPDATE mails SET state = 'sent', sent_at = now(), leased_until = NULL, last_error = '',
                       recipient = CASE WHEN kind = ANY(:forgotten) THEN '' ELSE recipient END,
                       body = CASE WHEN kind = ANY(:forgotten) THEN '' ELSE body END
                 WHERE id = :id AND state <> 'sent'"""),
            {"id": mail.id, "forgotten": list(FORGOTTEN_ONCE_SENT)},
        )


def _note_failure(mail: _Claimed, reason: str, *, for_good: bool) -> None:
    """Let it wait for the next attempt, or be failed; unless the lease ran out and another worker has it."""
    failed = for_good or mail.attempts >= MOST_ATTEMPTS
    wait = 0 if failed else WAITS_MINUTES[mail.attempts - 1]
    with db.transaction() as conn:
        conn.execute(
            text("""
                UPDATE mails SET state = :state, last_error = :reason, leased_until = NULL,
                       due_at = now() + make_interval(mins => :wait)
                 WHERE id = :id AND state = 'queued' AND leased_until = :leased_until"""),
            {
                "id": mail.id,
                "leased_until": mail.leased_until,
                "state": "failed" if failed else "queued",
                "reason": reason,
                "wait": wait,
            },
        )
