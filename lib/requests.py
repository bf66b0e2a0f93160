"""A form that is sent twice saves once: a double click reaches the server as two requests."""

from uuid import UUID

from sqlalchemy import Connection, insert

from lib.db import conflicts
from lib.errors import AlreadyDone, Conflict
from lib.tables import requests


def once(conn: Connection, key: UUID | None) -> None:
    """Use up the key that was made when the form was drawn. Raises AlreadyDone the second time."""
    if key is None:
        return
    try:
        with conflicts({"requests_pkey": "This was already saved; the second click changed nothing."}):
            conn.execute(insert(requests).values(key=key))
    except Conflict as again:
        raise AlreadyDone(str(again)) from again
