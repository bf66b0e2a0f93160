"""The dated history of a customer's status: billed, active, end date (`docs/billing.md`).

Rows are only added; each says a whole status from a day on. The status on a day is the row with the
latest effective day ≤ it; of two on one day the later recorded. Rating reads the days that count
from it, so no job has to run for an end date to end something (row N3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, insert, text

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


def append(conn: Connection, statuses: Sequence[Status], user: User | None) -> None:
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
                    "recorded_by": None if user is None else user.id,
                }
                for status in statuses
            ],
        )


def begin(conn: Connection, customer_ids: Any, day: date, user: User) -> None:
    """Add the first status of customers just made, as their rows say it: from their first billed day, else `day`.

    `customer_ids` is what stands for a bigint[] (`import_plans.id_array` for many).
    """
    conn.execute(
        text("""INSERT INTO lifecycle (customer_id, effective_on, billed, active, ends_on, recorded_by)
                SELECT id, coalesce(billed_from, :day), phase = 'billed', active, ends_on, :user
                  FROM customers WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id"""),
        {"day": day, "user": user.id, "ids": customer_ids},
    )


def change_from(conn: Connection, customer_ids: Sequence[int], day: date, user: User, **change: Any) -> None:
    """Append the changed status from `day` on: on that day, and on each later day the history names.

    Set-based, for one customer or for many. `change` gives active, billed or ends_on.
    """
    columns = ", ".join(
        f"CAST(:{name} AS {kind})" if name in change else name
        for name, kind in (("billed", "boolean"), ("active", "boolean"), ("ends_on", "date"))
    )
    # Nothing is said of the days before it was a customer: they would be charged like its first one.
    statement = f"""
        WITH begin AS (
            SELECT customer_id, greatest(min(effective_on), CAST(:day AS date)) AS day
              FROM lifecycle WHERE customer_id = ANY(CAST(:ids AS bigint[])) GROUP BY customer_id
        ), standing AS (
            SELECT DISTINCT ON (b.customer_id) b.customer_id, b.day AS effective_on, l.billed, l.active, l.ends_on
              FROM begin b JOIN lifecycle l ON l.customer_id = b.customer_id AND l.effective_on <= b.day
             ORDER BY b.customer_id, l.effective_on DESC, l.id DESC
        ), later AS (
            SELECT DISTINCT ON (b.customer_id, l.effective_on)
                   b.customer_id, l.effective_on, l.billed, l.active, l.ends_on
              FROM begin b JOIN lifecycle l ON l.customer_id = b.customer_id AND l.effective_on > b.day
             ORDER BY b.customer_id, l.effective_on, l.id DESC
        )
        INSERT INTO lifecycle (customer_id, effective_on, billed, active, ends_on, recorded_by)
        SELECT customer_id, effective_on, {columns}, :user_id
          FROM (SELECT * FROM standing UNION ALL SELECT * FROM later) status ORDER BY customer_id, effective_on"""
    with conflicts(periods.REFUSALS):
        conn.execute(text(statement), {"ids": list(customer_ids), "day": day, "user_id": user.id, **change})


def deactivated_from(conn: Connection, customer_id: int) -> date | None:
    """The first of the days since which a customer has been deactivated; None for an active one."""
    found: date | None = conn.scalar(
        text("""WITH days AS (
                    SELECT DISTINCT ON (effective_on) effective_on, active
                      FROM lifecycle WHERE customer_id = :id ORDER BY effective_on, id DESC
                )
                SELECT min(effective_on) FROM days
                 WHERE effective_on > coalesce((SELECT max(effective_on) FROM days WHERE active), '-infinity')"""),
        {"id": customer_id},
    )
    return found
