"""Passwords of customers' users: a forgotten one by a link that is mailed, and one's own changed (row G4).

Who asks is told the same whether the address signs in here or not, so that nobody learns who our customers are.
"""

from sqlalchemy import Connection, text

from lib import (
    customer_user_fields,
    customer_users,
    customers,
    invites,
    links,
    mails,
    passwords,
    portal_scope,
    portal_sessions,
    sessions,
)
from lib.auth import PortalUser
from lib.errors import Conflict, Invalid
from lib.sessions import Claim

# What is said to everybody.
SENT = "If this address signs in here, a mail with a link is on its way to it. The link works for one day."
# Whoever asks again gets no second mail so soon: nobody's mailbox is filled by a stranger.
AGAIN_AFTER = "5 minutes"


def claim(conn: Connection, *, address: str) -> Claim:
    """Count somebody's asking; how long to wait where one address asks too often. Commit it before `forgotten`."""
    return sessions.claim(conn, username="", address=address, site="portal password")


def forgotten(conn: Connection, *, email: str) -> None:
    """Queue the mail with a link to a new password, for who may sign in by this address; else do nothing."""
    address = email.replace("\x00", "").strip().lower()[:254]
    portal_scope.enter_by_email(conn, address)
    found = conn.execute(
        text(f"""
            SELECT u.id, c.id AS customer_id, c.language
              FROM customer_users u JOIN customers c ON c.id = u.customer_id
             WHERE lower(u.email) = :email AND {portal_sessions.MAY_SIGN_IN}
               AND NOT EXISTS (SELECT FROM user_links l
                                WHERE l.user_id = u.id AND l.purpose = 'password_reset' AND l.used_at IS NULL
                                  AND l.voided_at IS NULL AND l.created_at > now() - interval '{AGAIN_AFTER}')"""),
        {"email": address},
    ).one_or_none()
    if found is None:
        return
    customers.held(conn, found.customer_id)
    person = customer_users.customer_user(conn, found.id)
    mails.queue(
        conn, "password_reset", recipient=person.email, language=found.language,
        values={"name": customer_users.addressed(person, found.language)},
        customer_id=found.customer_id, link_id=links.create(conn, found.id, "password_reset"),
    )  # fmt: skip
    portal_sessions.record(conn, "ask for new password", found.id, found.customer_id)


def accept(conn: Connection, secret: str, *, password: str, again: str) -> int:
    """`invites.accept` for a form that asks for the password twice. Raises Invalid at `again`, too."""
    _require_same(password, again)
    return invites.accept(conn, secret, password)


def reset(conn: Connection, secret: str, *, password: str, again: str) -> int:
    """Set a new password by the link that was mailed; returns whose. Every session of theirs ends.

    Raises Invalid at `password` or `again`, and in words why the link or the access doesn't work any more.
    """
    user_id = links.use(conn, secret, "password_reset")
    person = customer_users.customer_user(conn, user_id)
    customer = customers.customer(conn, person.customer_id)
    if person.state != "active" or customer.marked_for_deletion_at is not None:
        raise Conflict("This access was closed. Ask whoever invited you.")
    customer_user_fields.require_good_password(password, email=person.email)
    _require_same(password, again)
    customer_users.rewrite(conn, user_id, {"password_hash": passwords.hashed(password)})
    sessions.end_portal(conn, person.customer_id, customer_user_id=user_id)
    portal_sessions.record(conn, "set new password", user_id, person.customer_id)
    return user_id


def change_own(
    conn: Connection, *, current: str, password: str, again: str, keep: str | None = None, user: PortalUser
) -> None:
    """Change one's own password. Ends one's sessions but the one with the token `keep`, and voids mailed links."""
    customers.held_for_change(conn, user.customer_id)
    stored = conn.scalar(text("SELECT password_hash FROM customer_users WHERE id = :id"), {"id": user.id})
    if not passwords.matches(current, stored):
        raise Invalid("This is not your current password.", field="current")
    customer_user_fields.require_good_password(password, email=user.email)
    _require_same(password, again)
    if password == current:
        raise Invalid("The new password is the current one. Choose another.", field="password")
    customer_users.rewrite(conn, user.id, {"password_hash": passwords.hashed(password)})
    links.void(conn, user.id, "password_reset")
    portal_sessions.end_others(conn, user.id, keep=keep)
    portal_sessions.record(conn, "changed own password", user.id, user.customer_id)


def _require_same(password: str, again: str) -> None:
    if password != again:
        raise Invalid("The two passwords differ. Type the same one twice.", field="again")
