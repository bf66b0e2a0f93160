"""The portal's own database role in a test's database, and what is done as it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, make_url

from lib import db, portal_role, portal_scope
from lib.auth import PortalUser

ROLE, PASSWORD = "mandant_portal_test", "only-on-this-machine"


def give() -> None:
    """Let the role do its part in the database at hand."""
    with db.transaction() as conn:
        portal_role.make(conn, ROLE, password=PASSWORD)
        portal_role.grant(conn, ROLE)


@contextmanager
def address(database: str) -> Iterator[str]:
    """The address by which the portal connects."""
    url = make_url(database).set(username=ROLE, password=PASSWORD).render_as_string(hide_password=False)
    yield url
    db.engine(url).dispose()


@contextmanager
def acting(url: str, user: PortalUser | None = None) -> Iterator[Connection]:
    """A transaction as the portal has it."""
    with db.engine(url).begin() as conn:
        if user is not None:
            portal_scope.enter(conn, user.customer_id)
        yield conn
