"""The month close: approve, lock, and reopen while nothing is issued (row B1).

Months close in order and only after their last day; what to look at before says `lib/close_previews.py`.
Approving is one transaction: it re-rates every customer, holds that against the charges that were kept ready
(a difference is a defect and stops it), freezes them as statements and drafts one document per customer with charges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import audit, charges, close_drafts, periods
from lib.auth import Permission, User, require
from lib.clock import next_month
from lib.errors import Conflict, NotFound

STATES = {"open": "Open", "approved": "Approved", "locked": "Locked"}


@dataclass(frozen=True)
class Month:
    """A booking month and how far its close is. `drafts` and `issued` count its documents."""

    month: date
    state: str
    approved_at: datetime | None
    approved_by: str | None
    locked_at: datetime | None
    locked_by: str | None
    net: Decimal
    customers: int
    drafts: int
    issued: int
    unbilled: int


def begin(conn: Connection, month: date) -> None:
    """Make this the first booking month, in place of one in which nothing was recorded."""
    conn.execute(text("DELETE FROM months WHERE state = 'open'"))
    conn.execute(text("INSERT INTO months (month) VALUES (:month)"), {"month": month})


def months(conn: Connection, *, today: date) -> list[Month]:
    """All months from the first closed one to today's, the newest first."""
    charges.ensure_rated(conn, *periods.open_months(conn, today=today))
    last = max(periods.open_month(conn) or today.replace(day=1), today.replace(day=1))
    found = conn.execute(
        text("""
            WITH listed AS (
                SELECT generate_series((SELECT min(month) FROM months)::timestamp, CAST(:last AS timestamp),
                                       interval '1 month')::date AS month
            ), documents AS (
                SELECT month, count(*) FILTER (WHERE state = 'draft') AS drafts,
                       count(*) FILTER (WHERE state <> 'draft') AS issued
                  FROM invoices WHERE month IS NOT NULL GROUP BY month
            ), totals AS (SELECT month, sum(amount) AS net FROM month_totals GROUP BY month),
            released AS (SELECT month, count(*) AS unbilled FROM statements
                          WHERE invoice_id IS NULL AND amount <> 0 AND month < open_month() GROUP BY month),
            stated AS (SELECT month, count(*) AS customers FROM statements GROUP BY month)
            SELECT l.month, coalesce(m.state, 'open') AS state, m.approved_at, a.name AS approved_by,
                   m.locked_at, k.name AS locked_by, coalesce(t.net, 0) AS net, coalesce(s.customers, 0) AS customers,
                   coalesce(d.drafts, 0) AS drafts, coalesce(d.issued, 0) AS issued, coalesce(r.unbilled, 0) AS unbilled
              FROM listed l
              LEFT JOIN months m USING (month) LEFT JOIN documents d USING (month) LEFT JOIN totals t USING (month)
              LEFT JOIN released r USING (month) LEFT JOIN stated s USING (month)
              LEFT JOIN staff a ON a.id = m.approved_by LEFT JOIN staff k ON k.id = m.locked_by
             ORDER BY l.month DESC"""),
        {"last": last},
    )
    return [Month(**row._mapping) for row in found]


def known(conn: Connection) -> list[date]:
    """The closed months and the first open one, the newest first."""
    return list(conn.scalars(text("SELECT month FROM months ORDER BY month DESC")))


def approve(
    conn: Connection, month: date, *, today: date, user: User, progress: Callable[[str], None] = lambda step: None
) -> int:
    """Freeze a month's charges and draft its documents; returns how many.

    Raises Conflict where it isn't the next month to close, hasn't ended, lacks a price, or where
    the charges kept ready differ from a full re-rating.
    """
    require(user, Permission.CLOSE_MONTHS)
    claimed = conn.scalar(text("SELECT month FROM months WHERE state = 'open' FOR UPDATE"))
    if claimed is None:
        current = periods.open_month(conn)
        raise Conflict("The month was closed by somebody else just now." if current else periods.NOT_SET_UP)
    if claimed != month:
        raise Conflict(f"{month:%B %Y} can't be closed: the next month to close is {claimed:%B %Y}.")
    following = next_month(month)
    if today < following:
        raise Conflict(f"{month:%B %Y} can be closed from {following:%d %b %Y} on, after its last day.")
    progress("Rating all customers")
    _rate_for_good(conn, month)
    _require_prices(conn, month)
    conn.execute(
        text("UPDATE months SET state = 'approved', approved_at = now(), approved_by = :user WHERE month = :month"),
        {"month": month, "user": user.id},
    )
    conn.execute(text("INSERT INTO months (month) VALUES (:month)"), {"month": following})
    progress("Drafting documents")
    drafted = close_drafts.from_statements(conn, month, user=user)
    if drafted > charges.MANY:
        progress("Updating statistics")
        conn.execute(text("ANALYZE invoices (id, month, state, kind, customer_id), invoice_lines (invoice_id)"))
    audit.record(conn, "approve", "month", f"{month:%Y-%m}", user_id=user.id, changes={"documents": (None, drafted)})
    return drafted


def lock(conn: Connection, month: date, *, user: User) -> None:
    """End a month's close: all its drafts are issued or deleted, and it is never reopened."""
    require(user, Permission.CLOSE_MONTHS)
    if not _claim(conn, month, "locked", "locked_at = now(), locked_by = :user", user):
        raise Conflict(_state_message(conn, month, "locked"))
    left = conn.scalar(text("SELECT count(*) FROM invoices WHERE month = :month AND state = 'draft'"), {"month": month})
    if left:
        raise Conflict(f"{left} drafts of {month:%B %Y} are not issued yet. Issue or delete them first.")
    audit.record(conn, "lock", "month", f"{month:%Y-%m}", user_id=user.id)


def reopen(conn: Connection, month: date, *, user: User) -> int:
    """Open the month closed last again, dropping its drafts; returns how many. Only while none is issued."""
    require(user, Permission.CLOSE_MONTHS)
    successor = conn.scalar(text("SELECT month FROM months WHERE state = 'open' FOR UPDATE"))
    if successor != next_month(month):
        raise Conflict(_state_message(conn, month, "reopened"))
    # Drafting again and issuing wait for this row: neither slips in between our look and our deletion.
    conn.execute(text("SELECT 1 FROM months WHERE month = :month FOR UPDATE"), {"month": month})
    conn.execute(text("SELECT 1 FROM invoices WHERE month = :month ORDER BY id FOR UPDATE"), {"month": month})
    issued = conn.scalar(
        text("SELECT count(*) FROM invoices WHERE month = :month AND state <> 'draft'"), {"month": month}
    )
    if issued:
        raise Conflict(f"{month:%B %Y} has {issued} issued documents, so its figures stay. Correct by adjustments.")
    dropped = close_drafts.remove_month(conn, month, user=user)
    conn.execute(text("DELETE FROM months WHERE month = :month"), {"month": successor})
    if not _claim(conn, month, "open", "approved_at = NULL, approved_by = NULL", user):
        raise Conflict(_state_message(conn, month, "reopened"))
    audit.record(conn, "reopen", "month", f"{month:%Y-%m}", user_id=user.id, changes={"drafts": (dropped, 0)})
    return dropped


def _claim(conn: Connection, month: date, state: str, stamps: str, user: User) -> bool:
    changed = conn.execute(
        text(f"UPDATE months SET state = :state, {stamps} WHERE month = :month AND state = 'approved'"),
        {"month": month, "state": state, "user": user.id},
    )
    return bool(changed.rowcount)


def _state_message(conn: Connection, month: date, wanted: str) -> str:
    state = conn.scalar(text("SELECT state FROM months WHERE month = :month"), {"month": month})
    if state is None:
        raise NotFound(f"{month:%B %Y} was never closed.")
    if state == "approved":
        return f"{month:%B %Y} can't be {wanted}: a later month is already closed."
    return f"{month:%B %Y} is {STATES[state].lower()} and can't be {wanted}."


def _rate_for_good(conn: Connection, month: date) -> None:
    """Store the month's charges, or hold those kept ready against a full re-rating."""
    if conn.scalar(text("SELECT true FROM rated_months WHERE month = :month"), {"month": month}) is None:
        charges.rate_to_close(conn, month)
        return
    differences = charges.differences(conn, months=[month])
    if differences:
        shown = "; ".join(differences[:3])
        raise Conflict(
            f"The close was stopped: {len(differences)} charges kept for {month:%B %Y} differ from a full rating "
            f"({shown}). This is a defect in the app; report it. Nothing was changed."
        )


def _require_prices(conn: Connection, month: date) -> None:
    found = conn.scalars(
        text("""SELECT c.number || ' ' || c.name FROM statements s JOIN customers c ON c.id = s.customer_id
                 WHERE s.month = :month AND s.amount IS NULL ORDER BY c.sort_name LIMIT 6"""),
        {"month": month},
    ).all()
    if found:
        more = " and others" if len(found) > 5 else ""
        raise Conflict(
            f"No price is valid in {month:%B %Y} for what {', '.join(found[:5])}{more} booked. Set it first."
        )
