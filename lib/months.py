"""The month close: preview, exceptions, approve, issue, lock, and reopen while nothing is issued (row B1).

Months close in order and only after their last day. Approving is one transaction: it re-rates
every customer, holds that against the charges that were kept ready (a difference is a defect and
stops it), freezes them as statements and drafts one document per customer with charges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import audit, charges, drafts, issuing, periods, vat
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


@dataclass(frozen=True)
class ProductTotal:
    """What a product comes to in a month and in the month before, net, over how many charges."""

    name: str
    amount: Decimal
    previous: Decimal
    charges: int


@dataclass(frozen=True)
class Preview:
    """What approving a month would do. `missing_prices` block it; `reverse_charge` counts documents of category AE."""

    month: date
    net: Decimal
    previous_net: Decimal
    documents: int
    credit_notes: int
    without_charges: int
    missing_prices: int
    reverse_charge: int
    by_product: list[ProductTotal]
    exceptions: dict[str, int]


@dataclass(frozen=True)
class ExceptionRow:
    """Something about a customer's month that a person should look at before it is approved."""

    kind: str
    customer_id: int
    number: str
    name: str
    detail: str
    amount: Decimal | None


EXCEPTIONS = {
    "no_price": "No price",
    "no_address": "Address incomplete",
    "no_vat_decision": "No VAT decision",
    "change": "Unusual change",
    "over_licence": "Users over the licence",
    "ending": "Ended or ending soon",
    "zero": "Nothing to bill",
}
# Without a price there is no amount; all others can be looked at and accepted.
BLOCKING = ("no_price",)

_STATEMENTS = """
SELECT s.customer_id, s.amount, p.amount AS previous, c.number, c.name, c.sort_name, c.ends_on,
       CASE WHEN NOT c.users_beyond_max THEN c.max_users END AS max_users, {missing} AS missing, {decision} AS category
  FROM statements s
  JOIN customers c ON c.id = s.customer_id
  LEFT JOIN statements p ON p.customer_id = s.customer_id AND p.month = :previous
 WHERE s.month = :month
"""

# Customers who have no charges in the month at all: those who had some in the month before, and
# those who are billed and have nothing booked.
_ABSENT = """
SELECT p.customer_id, 'change' AS kind, 'no charges any more; ' || p.amount || ' in the month before' AS detail
  FROM statements p
 WHERE p.month = :previous AND p.amount <> 0
   AND NOT EXISTS (SELECT FROM statements s WHERE s.month = :month AND s.customer_id = p.customer_id)
UNION ALL
SELECT c.id, 'zero', 'nothing is booked'
  FROM customers c
 WHERE c.phase = 'billed' AND c.active AND c.billed_from < :next_month AND (c.ends_on IS NULL OR c.ends_on >= :month)
   AND NOT EXISTS (SELECT FROM statements s WHERE s.month = :month AND s.customer_id = c.id)
"""

_EXCEPTIONS = """
WITH stated AS MATERIALIZED ({statements}), found AS (
    SELECT 'no_price' AS kind, s.customer_id,
           (SELECT string_agg(p.name_en, ', ' ORDER BY p.position) FROM charges h JOIN products p ON p.id = h.product_id
             WHERE h.month = :month AND h.customer_id = s.customer_id AND h.amount IS NULL) AS detail
      FROM stated s WHERE s.amount IS NULL
    UNION ALL
    SELECT 'no_address', customer_id, array_to_string(missing, ', ') || ' is missing'
      FROM stated WHERE amount <> 0 AND cardinality(missing) > 0
    UNION ALL
    SELECT 'no_vat_decision', customer_id, 'needs ' || CAST(:vat_missing AS text)
      FROM stated WHERE amount <> 0 AND category IS NULL
    UNION ALL
    SELECT 'change', s.customer_id,
           to_char((s.amount - s.previous) * 100 / abs(s.previous), 'FMSG999999990') || ' % against the month before'
      FROM stated s, company o
     WHERE s.previous <> 0 AND abs(s.amount - s.previous) * 100 > o.change_threshold_percent * abs(s.previous)
    UNION ALL
    SELECT 'over_licence', s.customer_id,
           max(b.quantity) || ' users are booked, the licence allows ' || s.max_users
      FROM stated s
      JOIN products p ON p.kind = 'users'
      JOIN charges h ON h.month = :month AND h.customer_id = s.customer_id AND h.product_id = p.id
      JOIN LATERAL (
           SELECT quantity, effective_on, lead(effective_on) OVER (ORDER BY effective_on) AS until_day
             FROM standing_bookings WHERE customer_id = s.customer_id AND product_id = p.id) b ON true
     WHERE s.max_users IS NOT NULL
       AND (h.changes <> '' OR h.start_quantity > s.max_users OR h.end_quantity > s.max_users)
       AND b.quantity > s.max_users AND b.effective_on < :next_month AND (b.until_day IS NULL OR b.until_day > :month)
     GROUP BY s.customer_id, s.max_users
    UNION ALL
    SELECT 'ending', customer_id,
           CASE WHEN ends_on < :today THEN 'ended on ' ELSE 'ends on ' END || to_char(ends_on, 'FMDD Mon YYYY')
      FROM stated WHERE ends_on >= :month AND ends_on <= :soon
    UNION ALL
    SELECT 'zero', customer_id, 'charges add up to 0.00' FROM stated WHERE amount = 0
    UNION ALL
    SELECT kind, customer_id, detail FROM ({absent}) absent
)
"""


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


def preview(conn: Connection, month: date, *, today: date) -> Preview:
    """What approving the month would bill, by product, with the number of exceptions by kind. Writes nothing."""
    charges.ensure_rated(conn, month)
    values = _values(month, today)
    found = conn.execute(
        text("""SELECT p.name_en AS name, coalesce(sum(t.amount) FILTER (WHERE t.month = :month), 0) AS amount,
                       coalesce(sum(t.amount) FILTER (WHERE t.month = :previous), 0) AS previous,
                       coalesce(sum(t.charges) FILTER (WHERE t.month = :month), 0)::int AS charges
                  FROM month_totals t JOIN products p ON p.id = t.product_id
                 WHERE t.month IN (:month, :previous) AND t.charges > 0
                 GROUP BY p.id ORDER BY p.position, p.id"""),
        values,
    )
    by_product = [ProductTotal(**row._mapping) for row in found]
    counted = conn.execute(
        text(f"""SELECT count(*) FILTER (WHERE s.amount <> 0) AS documents,
                        count(*) FILTER (WHERE s.amount < 0) AS credit_notes,
                        count(*) FILTER (WHERE s.amount IS NULL) AS missing,
                        count(*) FILTER (WHERE s.amount <> 0 AND {vat.DECISION} = 'AE') AS reverse_charge
                   FROM statements s JOIN customers c ON c.id = s.customer_id WHERE s.month = :month"""),
        values,
    ).one()
    counts = f"{_exceptions_sql()} SELECT kind, count(*) AS found FROM found GROUP BY kind"
    kinds = {row.kind: row.found for row in conn.execute(text(counts), values)}
    return Preview(
        month=month,
        net=sum((one.amount for one in by_product), Decimal("0.00")),
        previous_net=sum((one.previous for one in by_product), Decimal("0.00")),
        documents=counted.documents,
        credit_notes=counted.credit_notes,
        without_charges=kinds.get("zero", 0),
        missing_prices=counted.missing,
        reverse_charge=counted.reverse_charge,
        by_product=by_product,
        exceptions=kinds,
    )


def exceptions(
    conn: Connection, month: date, *, today: date, kind: str | None = None, limit: int = 50, offset: int = 0
) -> list[ExceptionRow]:
    """The exceptions of a month by kind and name, to be looked at before it is approved."""
    charges.ensure_rated(conn, month)
    found = conn.execute(
        text(f"""{_exceptions_sql()}
            SELECT f.kind, f.customer_id, c.number, c.name, f.detail, s.amount
              FROM found f JOIN customers c ON c.id = f.customer_id LEFT JOIN stated s ON s.customer_id = f.customer_id
             WHERE CAST(:kind AS text) IS NULL OR f.kind = :kind
             ORDER BY array_position(CAST(:kinds AS text[]), f.kind), c.sort_name, f.customer_id
             LIMIT :limit OFFSET :offset"""),
        _values(month, today) | {"kind": kind, "kinds": list(EXCEPTIONS), "limit": limit, "offset": offset},
    )
    return [ExceptionRow(**row._mapping) for row in found]


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
    drafted = drafts.from_statements(conn, month, user=user)
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
    dropped = drafts.remove_month(conn, month, user=user)
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


def _exceptions_sql() -> str:
    statements = _STATEMENTS.format(missing=issuing.MISSING_OF_BUYER, decision=vat.DECISION)
    return _EXCEPTIONS.format(statements=statements, absent=_ABSENT)


def _values(month: date, today: date) -> dict[str, Any]:
    return {
        "month": month,
        "previous": next_month(month, by=-1),
        "next_month": next_month(month),
        "today": today,
        "soon": max(next_month(month), today) + timedelta(days=28),
        "vat_missing": vat.MISSING,
    }
