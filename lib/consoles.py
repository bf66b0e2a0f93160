"""The way to a customer's console, at the vendor's site (row D5): each opening stands in the audit log."""

from sqlalchemy import Connection

from lib import audit, customers
from lib.auth import Permission, User, require
from lib.errors import NotFound


def opened(conn: Connection, customer_id: int, *, user: User) -> str:
    """Note that somebody opens the console, and return its address (https). Raises NotFound where there is none."""
    require(user, Permission.READ)
    customer = customers.customer(conn, customer_id)
    if not customer.console_url:
        raise NotFound(f"{customer.name} has no console. Its address is entered on the customer's page, under Service.")
    audit.record(conn, "open console", "customer", customer_id, user_id=user.id, customer_id=customer_id)
    return customer.console_url
