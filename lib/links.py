"""Links that are mailed to a customer's user: an invite, a forgotten password, a registration (row G4).

A link's secret is computed from its row and the server's key at the moment its mail is sent. So no
table holds it and nobody reads it there; what is kept is its hash, by which it is recognised.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, text, update

from lib import customers, portal_scope, vault
from lib.db import conflicts
from lib.errors import Conflict, NotFound
from lib.tables import customer_users, user_links

# How many days a link works, from the moment its mail is sent; one that waits for a mail server doesn't age.
DAYS = {"invite": 7, "registration": 7, "password_reset": 1}
_ABOUT = "user_links.secret"
_ALIVE = (user_links.c.used_at.is_(None), user_links.c.voided_at.is_(None))
_LINKS = select(
    user_links, customer_users.c.customer_id, (user_links.c.expires_at <= func.now()).label("expired")
).join(customer_users, customer_users.c.id == user_links.c.user_id)
_ASK = {
    "invite": "Ask whoever invited you to send a new invite.",
    "registration": "Register again.",
    "password_reset": "Ask for a new one by “Forgotten password”.",
}


def create(conn: Connection, user_id: int, purpose: str) -> int:
    """A new link for a user, whose older one of this purpose is void from now on. `purpose` is one of DAYS."""
    void(conn, user_id, purpose)
    with conflicts({"user_links_one_alive_key": "A link was sent to this user at this very moment. Look at it first."}):
        link_id: int = conn.execute(
            insert(user_links)
            .values(user_id=user_id, purpose=purpose, expires_at=text(f"now() + interval '{DAYS[purpose]} days'"))
            .returning(user_links.c.id)
        ).scalar_one()
    return link_id


def secret(conn: Connection, link_id: int) -> str:
    """What stands in the link's address, the same each time; its days run from now. Only for the sender of mails.

    Raises NotFound where its user was erased meanwhile, Conflict where the link was used or is void.
    """
    link = conn.execute(select(user_links).where(user_links.c.id == link_id).with_for_update()).one_or_none()
    if link is None:
        raise NotFound("The user this link was for does not exist any more.")
    if link.used_at is not None:
        raise Conflict("The link of this mail was used already, so it is not sent again.")
    if link.voided_at is not None:
        raise Conflict("The link of this mail is void: a newer one was sent, or the user was changed since.")
    content = f"{link.id} {link.user_id} {link.purpose} {link.created_at.timestamp():.6f}"
    made = urlsafe_b64encode(vault.digest(content, about=_ABOUT)).decode().rstrip("=")
    conn.execute(
        update(user_links)
        .where(user_links.c.id == link_id)
        .values(token_hash=_hash(made), expires_at=text(f"now() + interval '{DAYS[link.purpose]} days'"))
    )
    return made


def user_of(conn: Connection, given: str, purpose: str) -> int | None:
    """Whose link this is, if it works now; None otherwise. Uses nothing up: for the page that it opens."""
    portal_scope.enter_by(conn, "link", given)
    user_id: int | None = conn.scalar(
        select(user_links.c.user_id).where(
            user_links.c.token_hash == _hash(given),
            user_links.c.purpose == purpose,
            *_ALIVE,
            user_links.c.expires_at > func.now(),
        )
    )
    return user_id


def require_working(conn: Connection, given: str, purpose: str) -> int:
    """Whose link this is; raises in words why it doesn't work (any more). Uses nothing up: for the page it opens."""
    link = _known(conn, given, purpose)
    _require_alive(link)
    user_id: int = link.user_id
    return user_id


def use(conn: Connection, given: str, purpose: str) -> int:
    """Use a link up and return whose it is. Works once; raises in words why it doesn't work (any more)."""
    known = _known(conn, given, purpose)
    # The customer first, then the link: in this order every write on a customer's people takes them.
    customers.held(conn, known.customer_id)
    link = conn.execute(_LINKS.where(user_links.c.id == known.id).with_for_update(of=user_links)).one()
    _require_alive(link)
    conn.execute(update(user_links).where(user_links.c.id == link.id).values(used_at=func.now()))
    user_id: int = link.user_id
    return user_id


def _known(conn: Connection, given: str, purpose: str) -> Row[Any]:
    portal_scope.enter_by(conn, "link", given)
    query = _LINKS.where(user_links.c.token_hash == _hash(given), user_links.c.purpose == purpose)
    link = conn.execute(query).one_or_none()
    if link is None:
        raise NotFound("This link is not known. Open it from the mail once more, or copy all of it.")
    return link


def _require_alive(link: Row[Any]) -> None:
    if link.used_at is not None:
        raise Conflict("This link was used already; it works once. Sign in with the password that was set by it.")
    if link.voided_at is not None:
        raise Conflict(
            f"This link does not work any more. Use the one in the newest mail, if there is one. {_ASK[link.purpose]}"
        )
    if link.expired:
        raise Conflict(f"This link has expired. {_ASK[link.purpose]}")


def void(conn: Connection, user_id: int, *purposes: str) -> None:
    """Make a user's unused links of these purposes worthless; of all purposes where none is named."""
    wanted = user_links.c.purpose.in_(purposes or DAYS)
    conn.execute(
        update(user_links).where(user_links.c.user_id == user_id, wanted, *_ALIVE).values(voided_at=func.now())
    )


def _hash(given: str) -> bytes:
    return sha256(given.encode(errors="replace")).digest()
