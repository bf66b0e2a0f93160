"""The dated history of a customer's status: billed, active, end date (`docs/billing.md`).

Rows are only added; each says a whole status from a day on. The status on a day is the row with the
latest effective day ≤ it; of two on one day the later recorded. Rating reads the days that count
from it, so no job has to run for an end date to end something (row N3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from sqlalchemy import Connection, insert, select

from lib import periods
from lib.auth import User
from lib.db import conflicts
from lib.tables import lifecycle


@dataclass(frozen=True)
class Status:
    """What a customer is from a day on. `ends_on` is the last day that counts."""

    customer_id: int
    effective_on: date
    billed: bool
    active: bool
    ends_on: date | None
    id: int = field(default=0, compare=False)


def append(conn: Connection, statuses: Sequence[Status], user: User) -> None:
    """Add rows as they are. Raises Conflict for a day in a closed month."""
    with conflicts(periods.REFUSALS):
        conn.execute(
            insert(lifecycle),
            [
                {
                    "customer_id": status.customer_id,
                    "effective_on": status.effective_on,
                    "billed": status.billed,
                    "active": status.active,
                    "ends_on": status.ends_on,
                    "recorded_by": user.id,
                }
                for status in statuses
            ],
        )


def change_from(conn: Connection, customer_id: int, day: date, user: User, **change: Any) -> None:
    """Append the changed status from `day` on: on that day, and on each later day the history names."""
    history = [
        Status(row.customer_id, row.effective_on, row.billed, row.active, row.ends_on, row.id)
        for row in conn.execute(
            select(lifecycle).where(lifecycle.c.customer_id == customer_id).order_by("effective_on", "id")
        )
    ]
    # Nothing is said of the days before it was a customer: they would be charged like its first one.
    day = max(day, history[0].effective_on)
    until = [status for status in history if status.effective_on <= day]
    later = {status.effective_on: status for status in history if status.effective_on > day}
    first = replace(until[-1], effective_on=day)
    append(conn, [replace(status, **change) for status in (first, *later.values())], user)
