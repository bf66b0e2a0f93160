"""A customer's users: the people who sign in to the portal (rows G4, G11, S1, S2).

They are something else than licensed users, which are a booked quantity, and never change a charge.
A customer has at most one main user. Whoever was invited and has not set a password is *invited*.

Inviting, deactivating and activating is also done in the portal, by the customer's users among themselves: they are
a team with equal rights (row G5). Of another customer's users these functions know nothing then.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, update

from lib import audit, customer_user_fields, customers, links, passwords, sessions
from lib.auth import Permission, PortalUser, User, require, require_own
from lib.customers import Customer
from lib.db import conflicts
from lib.errors import AlreadyDone, Conflict, Invalid, NotFound
from lib.tables import customer_users

TAKEN = "Somebody signs in with this e-mail address already. Each user needs an address of their own."
_MAIN_STAYS = "{} is the main user. {} somebody else the main user first."


@dataclass(frozen=True)
class CustomerUser:
    """A person who signs in to the portal, or was invited to.

    `mail_state` and `mail_error` are those of the last invite's mail; `link_expires_at` is set while
    the person has an invite that was neither used nor made void.
    """

    id: int
    customer_id: int
    salutation: str
    first_name: str
    surname: str
    email: str
    is_main: bool
    invited_at: datetime | None
    registered_at: datetime | None
    deactivated_at: datetime | None
    version: int
    last_seen_at: datetime | None
    link_expires_at: datetime | None
    link_expired: bool
    mail_state: str | None
    mail_error: str

    @property
    def state(self) -> str:
        """active, invited or deactivated."""
        if self.deactivated_at is not None:
            return "deactivated"
        return "invited" if self.registered_at is None else "active"

    @property
    def invite(self) -> str:
        """How far the invite of an invited user is: none, waiting, failed, sent, expired; else nothing."""
        if self.state != "invited":
            return ""
        if self.link_expires_at is None:
            return "none"
        if self.mail_state in ("queued", "failed"):
            return "waiting" if self.mail_state == "queued" else "failed"
        return "expired" if self.link_expired else "sent"

    @property
    def name(self) -> str:
        """First name and surname, or the e-mail address where there is none."""
        return f"{self.first_name} {self.surname}".strip() or self.email


_USERS = """
SELECT u.id, u.customer_id, u.salutation, u.first_name, u.surname, u.email, u.is_main, u.invited_at, u.registered_at,
       u.deactivated_at, u.version, (SELECT max(s.last_seen_at) FROM sessions s WHERE s.customer_user_id = u.id)
         AS last_seen_at,
       l.expires_at AS link_expires_at, coalesce(l.expires_at <= now(), false) AS link_expired,
       m.state AS mail_state, coalesce(m.last_error, '') AS mail_error
  FROM customer_users u
  LEFT JOIN user_links l ON l.user_id = u.id AND l.purpose = 'invite' AND l.used_at IS NULL AND l.voided_at IS NULL
  LEFT JOIN LATERAL (SELECT state, last_error FROM mails
                      WHERE customer_id = u.customer_id AND link_id = l.id ORDER BY id DESC LIMIT 1) m ON true
"""
_FOUND = """u.customer_id = :customer
   AND folded(u.first_name || ' ' || u.surname || ' ' || u.email) LIKE '%' || :search || '%'"""


def users_of(
    conn: Connection, customer_id: int, search: str = "", *, limit: int | None = None, offset: int = 0
) -> list[CustomerUser]:
    """A customer's users by name or e-mail: the main user, then the active, the invited, the deactivated ones."""
    found = conn.execute(
        text(f"""{_USERS} WHERE {_FOUND}
                  ORDER BY u.is_main DESC, u.deactivated_at IS NOT NULL, u.registered_at IS NULL,
                           lower(u.surname), lower(u.first_name), u.email, u.id
                  LIMIT :limit OFFSET :offset"""),
        {"customer": customer_id, "search": _searched(search), "limit": limit, "offset": offset},
    )
    return [CustomerUser(**row._mapping) for row in found]


def count_of(conn: Connection, customer_id: int, search: str = "") -> int:
    """How many users a customer has, by name or e-mail."""
    values = {"customer": customer_id, "search": _searched(search)}
    return conn.scalar(text(f"SELECT count(*) FROM customer_users u WHERE {_FOUND}"), values) or 0


def customer_user(conn: Connection, user_id: int) -> CustomerUser:
    """One user of a customer. Raises NotFound."""
    row = conn.execute(text(f"{_USERS} WHERE u.id = :id"), {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound("This user does not exist.")
    return CustomerUser(**row._mapping)


def main_user(conn: Connection, customer_id: int) -> CustomerUser | None:
    """The customer's main user, or None before one was invited."""
    row = conn.execute(text(f"{_USERS} WHERE u.customer_id = :id AND u.is_main"), {"id": customer_id}).one_or_none()
    return None if row is None else CustomerUser(**row._mapping)


def by_email(conn: Connection, email: str) -> CustomerUser | None:
    """The user who signs in with this address, or was invited to; None where nobody does."""
    row = conn.execute(text(f"{_USERS} WHERE lower(u.email) = lower(:email)"), {"email": email}).one_or_none()
    return None if row is None else CustomerUser(**row._mapping)


# ---------------------------------------------------------------------------------- adding


def add(
    conn: Connection,
    customer: Customer,
    given: Mapping[str, Any],
    *,
    main: bool,
    user: User | PortalUser | None,
    action: str,
) -> int:
    """Add a user who can't sign in yet; returns the id. Whether they are invited or register is the caller's to do.

    The first user of a customer becomes its main user. Raises Invalid at the field.
    """
    values = customer_user_fields.checked(given)
    present = main_user(conn, customer.id)
    if main and present is not None:
        raise Conflict(
            f"{customer.name} has a main user already, {present.name}. Invite this person without that, then change "
            "the main user once they have registered."
        )
    values["is_main"] = present is None
    with _own_email():
        new_id: int = conn.execute(
            insert(customer_users).values(customer_id=customer.id, **values).returning(customer_users.c.id)
        ).scalar_one()
    changes = told(audit.difference({}, {name: value for name, value in values.items() if value}))
    if "is_main" in changes:
        changes["main"] = changes.pop("is_main")
    audit.record(conn, action, "customer user", new_id, customer_id=customer.id, changes=changes, **audit.actor(user))
    return new_id


def add_registering(conn: Connection, customer_id: int, *, password: str, **details: str) -> int:
    """Add the first user of a customer that registers itself, who has to confirm yet; returns the id (row G14).

    `details` are the fields of a user. Until they have confirmed nobody signs in by this password.
    """
    customer = customers.held_for_change(conn, customer_id)
    user_id = add(conn, customer, details, main=True, user=None, action="register")
    rewrite(conn, user_id, {"password_hash": passwords.hashed(password)})
    return user_id


# ---------------------------------------------------------------------------------- changing


def edit(conn: Connection, user_id: int, *, version: int, changes: Mapping[str, Any], user: User) -> None:
    """Change salutation, first name, surname or e-mail of a user, and nothing else (row S2).

    A changed e-mail is the new login. Nothing is sent to it, and links mailed to the old one are void.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    _, before = _held(conn, user_id)
    values = customer_user_fields.checked(changes)
    changed = audit.difference(vars(before), values)
    if not changed:  # the second click of a double click, too
        return
    _require_version(before, version)
    with _own_email():
        rewrite(conn, user_id, values)
    if "email" in changed:
        links.void(conn, user_id)
    who = {} if "email" in changed else {"user": (None, before.email)}
    record(conn, "edit", before, user, **who, **told(changed))


def deactivate(conn: Connection, user_id: int, *, version: int, user: User | PortalUser) -> None:
    """Shut a user out at once: sessions end, links are void. Not the main user (row G11), nor in the portal oneself."""
    _, person = held_by(conn, user_id, user)
    if person.deactivated_at is not None:
        raise AlreadyDone(f"{person.name} is deactivated already.")
    if person.is_main:
        raise Conflict(_MAIN_STAYS.format(person.name, "Ask us to make" if isinstance(user, PortalUser) else "Make"))
    if isinstance(user, PortalUser) and user.id == user_id:
        raise Conflict("You can't deactivate yourself. Ask a colleague to do it.")
    _require_version(person, version)
    rewrite(conn, user_id, {"deactivated_at": func.now()})
    links.void(conn, user_id)
    sessions.end_portal(conn, person.customer_id, customer_user_id=user_id)
    record(conn, "deactivate", person, user, user=(None, person.email), active=(True, False))


def activate(conn: Connection, user_id: int, *, version: int, user: User | PortalUser) -> None:
    """Let a deactivated user sign in again with the password they had; who had none is invited anew."""
    _, person = held_by(conn, user_id, user)
    if person.deactivated_at is None:
        raise AlreadyDone(f"{person.name} is not deactivated.")
    _require_version(person, version)
    rewrite(conn, user_id, {"deactivated_at": None})
    record(conn, "activate", person, user, user=(None, person.email), active=(False, True))


def make_main(conn: Connection, user_id: int, *, version: int, user: User) -> None:
    """Make a user the customer's main user in place of the one before; only an active one (row G11)."""
    require(user, Permission.EDIT_CUSTOMERS)
    _, person = _held(conn, user_id)
    if person.is_main:
        raise AlreadyDone(f"{person.name} is the main user already.")
    if person.state != "active":
        why = "is deactivated" if person.state == "deactivated" else "has not accepted the invite yet"
        raise Conflict(f"{person.name} {why}. Only an active user can be the main user.")
    _require_version(person, version)
    former = main_user(conn, person.customer_id)
    if former is not None:
        rewrite(conn, former.id, {"is_main": False})
    rewrite(conn, user_id, {"is_main": True})
    record(conn, "change main user", person, user, main_user=(former and former.email, person.email))


def forget(conn: Connection, customer_id: int) -> int:
    """Delete a customer's users with their links and sessions; returns how many there were. For the erasure."""
    return conn.execute(delete(customer_users).where(customer_users.c.customer_id == customer_id)).rowcount


# ---------------------------------------------------------------------------------- what the writes share


def held_by(conn: Connection, user_id: int, user: User | PortalUser) -> tuple[Customer, CustomerUser]:
    """A user whose customer's row is held, for somebody who may change this customer's users. Raises NotFound."""
    customer_id = conn.scalar(select(customer_users.c.customer_id).where(customer_users.c.id == user_id))
    require_may_change(user, customer_id)
    return _held(conn, user_id)


def require_may_change(user: User | PortalUser, customer_id: int | None) -> None:
    """Refuse who may not change a customer's users: of us who edit customers may, of its users each for their own."""
    if isinstance(user, PortalUser):
        require_own(user, customer_id, what="user")
    else:
        require(user, Permission.EDIT_CUSTOMERS)


def _held(conn: Connection, user_id: int) -> tuple[Customer, CustomerUser]:
    """A user whose customer's row is held: writes on one customer's people take turns."""
    customer_id = conn.scalar(select(customer_users.c.customer_id).where(customer_users.c.id == user_id))
    if customer_id is None:
        raise NotFound("This user does not exist.")
    customer = customers.held_for_change(conn, customer_id)
    return customer, customer_user(conn, user_id)


def _require_version(person: CustomerUser, version: int) -> None:
    if person.version != version:
        raise Conflict(
            "Somebody changed this user after you opened the list. Nothing was saved: look again, then decide."
        )


def rewrite(conn: Connection, user_id: int, values: Mapping[str, Any]) -> None:
    """Write columns of a user's row as they are, so that lists drawn before lose. For verbs, which check and record."""
    conn.execute(
        update(customer_users)
        .where(customer_users.c.id == user_id)
        .values(**values, version=customer_users.c.version + 1)
    )


@contextmanager
def _own_email() -> Iterator[None]:
    try:
        with conflicts({"customer_users_email_key": TAKEN}):
            yield
    except Conflict as taken:
        raise Invalid(str(taken), field="email") from taken


def record(conn: Connection, action: str, person: CustomerUser, by: User | PortalUser, **changes: audit.Change) -> None:
    """Note in the audit log what was done to a user, by one of us or in the portal."""
    audit.record(
        conn, action, "customer user", person.id, customer_id=person.customer_id,
        changes=changes or {"user": (None, person.email)}, **audit.actor(by),
    )  # fmt: skip


def told(changes: Mapping[str, audit.Change]) -> dict[str, audit.Change]:
    """Changes of a user as the log tells them."""
    shown = customer_user_fields.shown
    return {name: (shown(name, before), shown(name, after)) for name, (before, after) in changes.items()}


def addressed(person: CustomerUser, language: str) -> str:
    """How a mail in this language addresses the person."""
    return customer_user_fields.addressed(
        salutation=person.salutation, first_name=person.first_name, surname=person.surname, language=language
    )


def _searched(search: str) -> str:
    return audit.like_escaped(search.replace("\x00", "").strip()[:200].lower())
