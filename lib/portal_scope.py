"""Whose rows a transaction of the portal may touch: the database's part of it, which its own role can't get around.

With a role of its own (`lib/portal_role.py`) the portal sees the rows of one customer, named by a setting of the
transaction; before it is named, of none. Connected as the owner of the schema it sees all, and only `lib` keeps to one.
"""

from hashlib import sha256

from sqlalchemy import Connection, text


def enter(conn: Connection, customer_id: int | None) -> None:
    """Let the rest of this transaction see this customer's rows; None: nobody's."""
    value = "" if customer_id is None else str(customer_id)
    conn.execute(text("SELECT set_config('mandant.customer', :value, true)"), {"value": value})


def enter_by_email(conn: Connection, email: str) -> None:
    """`enter` for the customer one of whose users signs in with this address; nobody's rows where there is none."""
    _enter_by(conn, "email", email.replace("\x00", ""))


def enter_by(conn: Connection, what: str, secret: str) -> None:
    """`enter` for the customer whose user holds this secret: that of a session, a ticket or a link."""
    _enter_by(conn, what, sha256(secret.encode(errors="replace")).hexdigest())


def _enter_by(conn: Connection, what: str, value: str) -> None:
    found = "coalesce(portal_customer_by(:what, :value)::text, '')"
    conn.execute(text(f"SELECT set_config('mandant.customer', {found}, true)"), {"what": what, "value": value})
