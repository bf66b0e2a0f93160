"""Figures that take long to add up in a large company: kept for a minute there, added up anew in a small one.

The worker adds them up before they are too old, so that nobody waits for them.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

# A table with fewer rows is read anew each time: that takes some milliseconds.
LARGE = 20_000
KEPT_SECONDS = 60
# The worker adds up anew what is older than this.
RENEWED_SECONDS = 30

Figure = Callable[[], Mapping[str, Any]]


def figure(conn: Connection, name: str, added_up: Figure, *, table: str, today: date) -> Mapping[str, Any]:
    """What `added_up` gives (of JSON values), not older than KEPT_SECONDS where `table` is large."""
    rows: float = conn.scalar(text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)"), {"name": table})
    if rows < LARGE:
        return added_up()
    kept: Mapping[str, Any] | None = conn.scalar(
        text("""SELECT value FROM kept_figures
                 WHERE name = :name AND day = :day AND at > clock_timestamp() - make_interval(secs => :seconds)"""),
        {"name": name, "day": today, "seconds": KEPT_SECONDS},
    )
    return renewed(conn, name, added_up, today=today) if kept is None else kept


def renewed(conn: Connection, name: str, added_up: Figure, *, today: date) -> Mapping[str, Any]:
    """Add the figure up and keep it."""
    value = added_up()
    conn.execute(
        text("""INSERT INTO kept_figures (name, day, at, value)
                VALUES (:name, :day, clock_timestamp(), CAST(:value AS jsonb))
                ON CONFLICT (name) DO UPDATE SET day = excluded.day, at = excluded.at, value = excluded.value"""),
        {"name": name, "day": today, "value": json.dumps(value)},
    )
    return value


def ageing(conn: Connection) -> list[str]:
    """The names of what is kept and soon too old, in one order, so that nobody locks anybody who renews them, too."""
    found = conn.scalars(
        text("""SELECT name FROM kept_figures
                 WHERE at < clock_timestamp() - make_interval(secs => :seconds) ORDER BY name"""),
        {"seconds": RENEWED_SECONDS},
    )
    return list(found)
