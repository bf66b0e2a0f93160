"""A form that is sent twice saves once: a double click reaches the server as two requests."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert

from lib.db import conflicts
from lib.errors import AlreadyDone, Conflict
from lib.tables import requests


def once(conn: Connection, key: UUID | None) -> None:
    """Use up the key that was made when the form was drawn. Raises AlreadyDone the second time."""
    if key is None:
        return
    # A form that was drawn yesterday is no double click: the table stays as small as a day's work.
    conn.execute(delete(requests).where(requests.c.at < func.now() - timedelta(days=1)))
    try:
        with conflicts({"requests_pkey": "This was already saved; the second click changed nothing."}):
            conn.execute(insert(requests).values(key=key))
    except Conflict as again:
        raise AlreadyDone(str(again)) from again
