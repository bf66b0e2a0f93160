"""Short words for tests that need a customer's users: invited, registered, and what became of them."""

from typing import Any

from sqlalchemy import Connection, text, update

from lib import audit, customer_users, invites, links
from lib.auth import Role
from lib.tables import customers as customers_table
from tests.ledgers import People

PASSWORD = "a-heron-in-june"


def invite(conn: Connection, staff: People, customer_id: int, email: str, **more: Any) -> int:
    return invites.invite(conn, customer_id, email=email, user=staff[Role.SALES], **more)


def secret_of(conn: Connection, user_id: int) -> str:
    """What stands in the mail that was queued last for a user."""
    link = conn.scalar(text("SELECT max(id) FROM user_links WHERE user_id = :id"), {"id": user_id})
    return links.secret(conn, link or 0)


def registered(conn: Connection, staff: People, customer_id: int, email: str, **more: Any) -> int:
    user_id = invite(conn, staff, customer_id, email, **more)
    return invites.accept(conn, secret_of(conn, user_id), PASSWORD)


def one(conn: Connection, user_id: int) -> customer_users.CustomerUser:
    return customer_users.customer_user(conn, user_id)


def version(conn: Connection, user_id: int) -> int:
    return one(conn, user_id).version


def newest(conn: Connection) -> audit.Entry:
    return audit.entries(conn, object_type="customer user", limit=1)[0][0]


def mark(conn: Connection, customer_id: int, *, erased: bool = False) -> None:
    """As the deletion does it."""
    conn.execute(
        update(customers_table)
        .where(customers_table.c.id == customer_id)
        .values(marked_for_deletion_at=text("now()"), erased_at=text("now()") if erased else None)
    )
