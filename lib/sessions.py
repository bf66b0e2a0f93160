"""Signing in and staying signed in (sessions of ours in the database; a browser holds a secret, we its hash).

A person types name and password on the page: `claim` counts the attempt, `ticket` checks it. The ticket
leads through a route of the server that can set a cookie (`redeem`). Every click then asks `user_of`.
Who signs in at the company's provider (`lib/oidc.py`) gets a ticket by `provider_ticket`, and the same session.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing

from lib import audit, passwords
from lib.auth import Role, User
from lib.tables import sessions, sign_in_attempts, sign_in_tickets, staff

SESSION_COOKIE = "mandant_session"
# Set on the first page, before anybody signs in: a ticket holds only for the browser that asked for it.
NONCE_COOKIE = "mandant_nonce"
IDLE = "30 minutes"
LONGEST = "12 hours"
TICKET_LIFE = "30 seconds"
# How old a provider's word may be, and how far its clock may run ahead of ours.
PROVIDER_LIFE, PROVIDER_AHEAD = "10 minutes", "2 minutes"
# Failures that cost no waiting: for one name from one address, and for one address whatever the names.
FREE_FOR_NAME, FREE_FOR_ADDRESS = 4, 29
LONGEST_WAIT_SECONDS = 15 * 60
WRONG = "This user name and password don't fit together."


@dataclass(frozen=True)
class Claim:
    """An attempt that may be checked (`id`), or how many seconds to wait before the next (`wait_seconds`)."""

    id: int | None
    username: str
    wait_seconds: int = 0


def claim(conn: Connection, *, username: str, address: str, site: str = "staff") -> Claim:
    """Count an attempt before its password is looked at. Commit it before calling `ticket`.

    Each site counts for itself: staff, portal, and what else of the portal is not to be tried without end.

    It counts as failed until `ticket` says otherwise, so that attempts side by side don't share
    one allowance. The wait doubles with each failure, per name and address together and per address:
    by name alone anybody could lock an admin out.
    """
    username = username.replace("\x00", "").strip().lower()[:200]
    # Attempts from one address take turns, or a burst of them would all read the same count.
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:address, 0))"), {"address": address})
    found = conn.execute(
        text("""
            SELECT count(*) FILTER (WHERE mine AND (last_success IS NULL OR at > last_success)) AS for_name,
                   count(*) AS for_address,
                   extract(epoch FROM now() - max(at) FILTER (WHERE mine)) AS since_name,
                   extract(epoch FROM now() - max(at)) AS since_address
              FROM (SELECT at, username = :username AS mine,
                           (SELECT max(s.at) FROM sign_in_attempts s
                             WHERE s.username = :username AND s.address = :address AND s.site = :site
                               AND s.succeeded) AS last_success
                      FROM sign_in_attempts
                     WHERE address = :address AND site = :site AND NOT succeeded
                       AND at > now() - interval '1 hour') AS failures"""),
        {"username": username, "address": address, "site": site},
    ).one()
    wait = max(
        _wait(found.for_name - FREE_FOR_NAME, found.since_name),
        _wait(found.for_address - FREE_FOR_ADDRESS, found.since_address),
    )
    if wait > 0:
        return Claim(None, username, wait)
    values = {"site": site, "username": username, "address": address, "succeeded": False}
    attempt_id = conn.scalar(insert(sign_in_attempts).values(values).returning(sign_in_attempts.c.id))
    return Claim(attempt_id, username)


def ticket(conn: Connection, attempt: Claim, *, password: str, nonce: str) -> str | None:
    """A one-use ticket for the right password of an enabled user, else None; both take the same time.

    It holds for 30 seconds and for the browser that carries `nonce` in its cookie: a link planted by
    somebody else signs nobody in.
    """
    found = conn.execute(
        select(staff.c.id, staff.c.password_hash).where(
            staff.c.username == attempt.username, staff.c.disabled_at.is_(None)
        )
    ).one_or_none()
    right = passwords.matches(password, found.password_hash if found else None)
    if not right or found is None or attempt.id is None or not nonce:
        return None
    succeeded(conn, attempt)
    secret = secrets.token_urlsafe(32)
    conn.execute(insert(sign_in_tickets).values(ticket_hash=_hash(secret), nonce_hash=_hash(nonce), staff_id=found.id))
    return secret


def succeeded(conn: Connection, attempt: Claim) -> None:
    """Note that an attempt was right: those that failed before it cost no more waiting."""
    conn.execute(update(sign_in_attempts).where(sign_in_attempts.c.id == attempt.id).values(succeeded=True))


def is_recent(conn: Connection, issued_at: float) -> bool:
    """Whether the provider said so just now. `issued_at` is in seconds since 1970 (the claim iat)."""
    if not 0 < issued_at < 2**40:
        return False
    recent = text(f"""SELECT to_timestamp(:at) BETWEEN now() - interval '{PROVIDER_LIFE}'
                                                   AND now() + interval '{PROVIDER_AHEAD}'""")
    return bool(conn.scalar(recent, {"at": issued_at}))


def provider_ticket(conn: Connection, staff_id: int, *, identity: bytes, nonce: str) -> str | None:
    """A ticket like `ticket`'s for somebody the provider vouched for; None the second time for one `identity`."""
    secret = secrets.token_urlsafe(32)
    values = {"ticket_hash": _hash(secret), "nonce_hash": _hash(nonce), "staff_id": staff_id, "identity_hash": identity}
    made = conn.scalar(
        insert_or_nothing(sign_in_tickets)
        .values(values)
        .on_conflict_do_nothing(index_elements=["identity_hash"])
        .returning(sign_in_tickets.c.staff_id)
    )
    return None if made is None else secret


def redeem(conn: Connection, secret: str, *, nonce: str) -> str | None:
    """Use the ticket up and start a session: its token for the cookie, or None where it doesn't hold."""
    used = conn.execute(
        text(f"""
            UPDATE sign_in_tickets t SET used_at = now()
              FROM staff s
             WHERE t.ticket_hash = :ticket AND t.nonce_hash = :nonce AND t.used_at IS NULL
               AND t.created_at > now() - interval '{TICKET_LIFE}'
               AND s.id = t.staff_id AND s.disabled_at IS NULL
            RETURNING t.staff_id, t.identity_hash IS NOT NULL AS by_provider"""),
        {"ticket": _hash(secret), "nonce": _hash(nonce)},
    ).one_or_none()
    if used is None:
        return None
    token = secrets.token_urlsafe(32)
    conn.execute(insert(sessions).values(token_hash=_hash(token), **used._mapping))
    audit.record(conn, "signed in", "staff", used.staff_id, user_id=used.staff_id)
    tidy(conn)
    return token


def user_of(conn: Connection, token: str | None) -> User | None:
    """Who this cookie's session belongs to now, or None: ended, idle too long, too old, or the person disabled.

    None, too, while the second factor of a person who has one was not given (`waiting_user`). Notes that
    the person is here, at most once a minute so that reading a page rarely writes.
    """
    return _user_of(conn, token, waiting=False)


def waiting_user(conn: Connection, token: str | None) -> User | None:
    """Who has given the password, but not yet the second factor. Good for asking for it, and for nothing else."""
    return _user_of(conn, token, waiting=True)


def pass_second_factor(conn: Connection, token: str | None, *, staff_id: int) -> None:
    """Note that the second factor was given in this session."""
    conn.execute(
        update(sessions)
        .where(sessions.c.token_hash == _hash(token or ""), sessions.c.staff_id == staff_id)
        .values(second_factor_at=func.now())
    )


def _user_of(conn: Connection, token: str | None, *, waiting: bool) -> User | None:
    if not token:
        return None
    row = conn.execute(
        text(f"""
            SELECT s.id AS session_id, s.last_seen_at < now() - interval '1 minute' AS stale,
                   p.id, p.username, p.name, p.role,
                   p.must_change_password AND NOT s.by_provider AS must_change_password,
                   f.staff_id IS NULL AND NOT s.by_provider AND p.role = ANY(c.second_factor_roles) AS must_set_up,
                   f.staff_id IS NOT NULL AND NOT s.by_provider AND s.second_factor_at IS NULL AS waits
              FROM sessions s JOIN staff p ON p.id = s.staff_id CROSS JOIN company c
              LEFT JOIN second_factors f ON f.staff_id = p.id AND f.confirmed_at IS NOT NULL
             WHERE s.token_hash = :token AND s.site = 'staff' AND s.ended_at IS NULL AND p.disabled_at IS NULL
               AND s.last_seen_at > now() - interval '{IDLE}' AND s.created_at > now() - interval '{LONGEST}'"""),
        {"token": _hash(token)},
    ).one_or_none()
    if row is None or row.waits != waiting:
        return None
    if row.stale:
        conn.execute(update(sessions).where(sessions.c.id == row.session_id).values(last_seen_at=func.now()))
    return User(row.id, row.username, row.name, Role(row.role), row.must_change_password, row.must_set_up)


def end(conn: Connection, token: str | None) -> None:
    """Sign this browser out."""
    ended = conn.scalar(
        update(sessions)
        .where(sessions.c.token_hash == _hash(token or ""), sessions.c.ended_at.is_(None))
        .values(ended_at=func.now())
        .returning(sessions.c.staff_id)
    )
    if ended is not None:
        audit.record(conn, "signed out", "staff", ended, user_id=ended)


def end_all(conn: Connection, staff_id: int, *, keep: str | None = None) -> int:
    """End every session of a person but the one with the token `keep`. Returns how many ended."""
    ended = conn.execute(
        update(sessions)
        .where(
            sessions.c.staff_id == staff_id,
            sessions.c.ended_at.is_(None),
            sessions.c.token_hash != _hash(keep or ""),
        )
        .values(ended_at=func.now())
    )
    return ended.rowcount


def end_portal(conn: Connection, customer_id: int, *, customer_user_id: int | None = None) -> int:
    """End the portal's sessions of a customer's users, or of one of them. Returns how many ended."""
    ended = conn.execute(
        text("""
            UPDATE sessions s SET ended_at = now() FROM customer_users u
             WHERE u.id = s.customer_user_id AND u.customer_id = :customer AND s.ended_at IS NULL
               AND (CAST(:one AS bigint) IS NULL OR u.id = :one)"""),
        {"customer": customer_id, "one": customer_user_id},
    )
    return ended.rowcount


def forget_attempts(conn: Connection, customer_id: int) -> int:
    """Delete the attempts of a customer's users to sign in to the portal; returns how many. For the erasure."""
    deleted = conn.execute(
        text("""DELETE FROM sign_in_attempts a USING customer_users u
                 WHERE u.customer_id = :customer AND a.site <> 'staff' AND a.username = lower(u.email)"""),
        {"customer": customer_id},
    )
    return deleted.rowcount


def sign_out_elsewhere(conn: Connection, *, user: User, keep: str | None) -> int:
    """End the person's own other sessions. Returns how many there were. Needs no permission: they are one's own."""
    ended = end_all(conn, user.id, keep=keep)
    audit.record(conn, "signed out elsewhere", "staff", user.id, user_id=user.id)
    return ended


def open_count(conn: Connection, staff_id: int) -> int:
    """How many browsers a person is signed in with now."""
    count = conn.scalar(
        text(f"""
            SELECT count(*) FROM sessions
             WHERE staff_id = :staff_id AND ended_at IS NULL
               AND last_seen_at > now() - interval '{IDLE}' AND created_at > now() - interval '{LONGEST}'"""),
        {"staff_id": staff_id},
    )
    return count or 0


def _wait(beyond: int, since: float | None) -> int:
    """Seconds still to wait after `beyond` failures too many, the last of them `since` seconds ago."""
    if beyond <= 0 or since is None:
        return 0
    delay = min(LONGEST_WAIT_SECONDS, 2 ** min(beyond, 20))
    return max(0, int(delay - float(since) + 0.999))


def tidy(conn: Connection) -> None:
    """Drop what no longer counts, so that the tables stay as small as what is current."""
    conn.execute(text("DELETE FROM sign_in_tickets WHERE created_at < now() - interval '1 day'"))
    conn.execute(text("DELETE FROM sign_in_attempts WHERE at < now() - interval '30 days'"))
    conn.execute(text("DELETE FROM sessions WHERE created_at < now() - interval '30 days'"))


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
