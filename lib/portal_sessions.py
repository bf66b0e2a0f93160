"""Signing in to the portal: the rows of its site in the tables of `lib/sessions.py`, and the same rules.

A customer's user signs in with e-mail and password. Nobody does who has not registered or is deactivated, nor
while the customer is locked (row G7), marked for deletion or erased (row G12); whoever is signed in then
is out at the next click. A deactivated customer's users go on: their documents stay theirs (row N9).
"""

import secrets
from hashlib import sha256

from sqlalchemy import Connection, func, insert, text, update

from lib import audit, passwords, portal_scope
from lib import sessions as desk
from lib.auth import PortalUser
from lib.customer_states import CLOSED
from lib.errors import NotAllowed
from lib.sessions import IDLE, LONGEST, TICKET_LIFE, Claim
from lib.tables import sessions, sign_in_tickets

SITE = "portal"
WRONG = "This e-mail address and password don't fit together."
_OPEN = "c.locked_at IS NULL AND c.marked_for_deletion_at IS NULL AND c.erased_at IS NULL"
MAY_SIGN_IN = f"u.registered_at IS NOT NULL AND u.deactivated_at IS NULL AND {_OPEN}"


def claim(conn: Connection, *, username: str, address: str) -> Claim:
    """Count an attempt before its password is looked at, as `sessions.claim` does. Commit it before `ticket`."""
    return desk.claim(conn, username=username, address=address, site=SITE)


def ticket(conn: Connection, attempt: Claim, *, password: str, nonce: str) -> str | None:
    """A one-use ticket for the right password, else None; both take the same time.

    Raises NotAllowed where the password is right and the customer's access closed: who knows it may know that.
    """
    portal_scope.enter_by_email(conn, attempt.username)
    found = conn.execute(
        text(f"""SELECT u.id, u.password_hash, {_OPEN} AS open
                   FROM customer_users u JOIN customers c ON c.id = u.customer_id
                  WHERE lower(u.email) = :email AND u.registered_at IS NOT NULL AND u.deactivated_at IS NULL"""),
        {"email": attempt.username},
    ).one_or_none()
    right = passwords.matches(password, found.password_hash if found else None)
    if not right or found is None or attempt.id is None or not nonce:
        return None
    if not found.open:
        raise NotAllowed(CLOSED)
    desk.succeeded(conn, attempt)
    secret = secrets.token_urlsafe(32)
    values = {"ticket_hash": _hash(secret), "nonce_hash": _hash(nonce), "customer_user_id": found.id}
    conn.execute(insert(sign_in_tickets).values(values))
    return secret


def redeem(conn: Connection, secret: str, *, nonce: str) -> str | None:
    """Use the ticket up and start a session: its token for the cookie, or None where it doesn't hold."""
    portal_scope.enter_by(conn, "ticket", secret)
    used = conn.execute(
        text(f"""
            UPDATE sign_in_tickets t SET used_at = now()
              FROM customer_users u JOIN customers c ON c.id = u.customer_id
             WHERE t.ticket_hash = :ticket AND t.nonce_hash = :nonce AND t.used_at IS NULL
               AND t.created_at > now() - interval '{TICKET_LIFE}'
               AND u.id = t.customer_user_id AND {MAY_SIGN_IN}
            RETURNING u.id, u.customer_id"""),
        {"ticket": _hash(secret), "nonce": _hash(nonce)},
    ).one_or_none()
    if used is None:
        return None
    token = secrets.token_urlsafe(32)
    conn.execute(insert(sessions).values(token_hash=_hash(token), site=SITE, customer_user_id=used.id))
    record(conn, "signed in", used.id, used.customer_id)
    desk.tidy(conn)
    return token


def user_of(conn: Connection, token: str | None) -> PortalUser | None:
    """Who this cookie's session belongs to now, or None: ended, idle too long, too old, or the person may not.

    From then on this transaction sees that customer's rows (`portal_scope`).
    """
    portal_scope.enter_by(conn, "session", token or "")
    if not token:
        return None
    row = conn.execute(
        text(f"""
            SELECT s.id AS session_id, s.last_seen_at < now() - interval '1 minute' AS stale,
                   u.id, u.customer_id, u.email, u.is_main, c.service_mode = 'self_service' AS self_service,
                   coalesce(nullif(btrim(u.first_name || ' ' || u.surname), ''), u.email) AS name,
                   c.name AS customer_name
              FROM sessions s
              JOIN customer_users u ON u.id = s.customer_user_id
              JOIN customers c ON c.id = u.customer_id
             WHERE s.token_hash = :token AND s.site = '{SITE}' AND s.ended_at IS NULL AND {MAY_SIGN_IN}
               AND s.last_seen_at > now() - interval '{IDLE}' AND s.created_at > now() - interval '{LONGEST}'"""),
        {"token": _hash(token)},
    ).one_or_none()
    if row is None:
        return None
    if row.stale:
        conn.execute(update(sessions).where(sessions.c.id == row.session_id).values(last_seen_at=func.now()))
    known = row._mapping
    return PortalUser(**{name: known[name] for name in PortalUser.__dataclass_fields__})


def end(conn: Connection, token: str | None) -> None:
    """Sign this browser out."""
    portal_scope.enter_by(conn, "session", token or "")
    ended = conn.execute(
        text("""UPDATE sessions s SET ended_at = now() FROM customer_users u
                 WHERE s.token_hash = :token AND s.ended_at IS NULL AND u.id = s.customer_user_id
                RETURNING u.id, u.customer_id"""),
        {"token": _hash(token or "")},
    ).one_or_none()
    if ended is not None:
        record(conn, "signed out", ended.id, ended.customer_id)


def end_others(conn: Connection, user_id: int, *, keep: str | None) -> int:
    """End every session of a person but the one with the token `keep`. Returns how many ended."""
    ended = conn.execute(
        update(sessions)
        .where(
            sessions.c.customer_user_id == user_id,
            sessions.c.ended_at.is_(None),
            sessions.c.token_hash != _hash(keep or ""),
        )
        .values(ended_at=func.now())
    )
    return ended.rowcount


def record(conn: Connection, action: str, user_id: int, customer_id: int) -> None:
    """Note in the audit log what a customer's user did about signing in; of the same person, by the same person."""
    audit.record(
        conn, action, "customer user", user_id, user_id=None, customer_user_id=user_id, customer_id=customer_id
    )


def _hash(secret: str) -> bytes:
    return sha256(secret.encode(errors="replace")).digest()
