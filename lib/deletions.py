"""Deleting a customer: marked, taken back, erased by the worker; the record of it and our own duties (rows G12, N10).

Marking shuts the customer's users out at once and lets its subscription end with the booking month. After a delay
(a setting) the worker erases (`lib/erasures.py`); until then the deletion can be taken back, and all is as it was.
"""

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, text, update

from lib import audit, charges, clock, customer_verbs, customers, db, erasures, periods, sessions
from lib.auth import Permission, User, require
from lib.clock import month_of, next_month
from lib.customer_states import Action
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotFound
from lib.tables import deletions, duties

# What has to be typed where somebody has registered: letter by letter, so that no hurried click does it.
WORD = "DELETE"
_log = logging.getLogger("mandant.worker")


@dataclass(frozen=True)
class Deletion:
    """A deletion that stands. Erased from `due_at` on; `settled_at`: nothing but the tombstone is left.

    `last_error` says why the worker's last attempt failed.
    """

    id: int
    customer_id: int
    number: str
    name: str
    requested_at: datetime
    requested_by: str
    due_at: datetime
    erased_at: datetime | None
    settled_at: datetime | None
    last_error: str
    open_duties: int

    @property
    def state(self) -> str:
        """marked, erased (what the last invoice needs is kept) or settled."""
        if self.erased_at is None:
            return "marked"
        return "erased" if self.settled_at is None else "settled"


@dataclass(frozen=True)
class Item:
    """What was erased (`count` of it, `done_at`), or is kept, until when and for which reason."""

    what: str
    treatment: str
    count: int
    kept_until: date | None
    reason: str
    done_at: datetime | None


@dataclass(frozen=True)
class Duty:
    """What we have to do ourselves after an erasure, and who signed it off."""

    id: int
    deletion_id: int
    customer_id: int
    customer: str
    what: str
    signed_off_at: datetime | None
    signed_off_by: str


@dataclass(frozen=True)
class Confirmation:
    """The mail that confirms the erasure. `state`: queued, sent or failed, then with the reason."""

    state: str
    sent_at: datetime | None
    last_error: str


# ---------------------------------------------------------------------------------- the record


_SELECT = """
SELECT d.id, d.customer_id, c.number, c.name, d.requested_at, coalesce(s.name, 'System') AS requested_by, d.due_at,
       d.erased_at, d.settled_at, d.last_error,
       (SELECT count(*) FROM duties u WHERE u.deletion_id = d.id AND u.signed_off_at IS NULL) AS open_duties
  FROM deletions d JOIN customers c ON c.id = d.customer_id LEFT JOIN staff s ON s.id = d.requested_by
 WHERE d.taken_back_at IS NULL
"""


def deletion_of(conn: Connection, customer_id: int) -> Deletion | None:
    """The deletion of a customer that stands, or None."""
    row = conn.execute(text(f"{_SELECT} AND d.customer_id = :id"), {"id": customer_id}).one_or_none()
    return None if row is None else Deletion(**row._mapping)


def page(conn: Connection, *, limit: int = 50, offset: int = 0) -> tuple[list[Deletion], int]:
    """The deletions that stand, those with open duties first, then the newest; and how many there are."""
    found = conn.execute(
        text(f"SELECT * FROM ({_SELECT}) d ORDER BY open_duties = 0, id DESC LIMIT :limit OFFSET :offset"),
        {"limit": limit, "offset": offset},
    )
    total = conn.scalar(text("SELECT count(*) FROM deletions WHERE taken_back_at IS NULL"))
    return [Deletion(**row._mapping) for row in found], total or 0


def items(conn: Connection, deletion_id: int) -> list[Item]:
    """The record of an erasure: what was erased, then what is kept; empty before it."""
    columns = ", ".join(Item.__dataclass_fields__)
    found = conn.execute(
        text(f"SELECT {columns} FROM deletion_items WHERE deletion_id = :id ORDER BY treatment, position"),
        {"id": deletion_id},
    )
    return [Item(**row._mapping) for row in found]


def confirmation(conn: Connection, customer_id: int) -> Confirmation | None:
    """How far the mail is that confirms the erasure; None where no address was known."""
    row = conn.execute(
        text("""SELECT state, sent_at, last_error FROM mails
                 WHERE customer_id = :id AND kind = 'erased' ORDER BY id DESC LIMIT 1"""),
        {"id": customer_id},
    ).one_or_none()
    return None if row is None else Confirmation(**row._mapping)


_DUTIES = """
SELECT u.id, u.deletion_id, d.customer_id, c.number || ' ' || c.name AS customer, u.what, u.signed_off_at,
       coalesce(s.name, '') AS signed_off_by
  FROM duties u JOIN deletions d ON d.id = u.deletion_id JOIN customers c ON c.id = d.customer_id
  LEFT JOIN staff s ON s.id = u.signed_off_by
"""


def duties_of(conn: Connection, deletion_id: int) -> list[Duty]:
    """Our duties after an erasure, open and signed off."""
    found = conn.execute(text(f"{_DUTIES} WHERE u.deletion_id = :id ORDER BY u.id"), {"id": deletion_id})
    return [Duty(**row._mapping) for row in found]


def all_open_duties(conn: Connection, *, limit: int = 200) -> list[Duty]:
    """The duties of all erasures that nobody has signed off, the oldest first."""
    found = conn.execute(text(f"{_DUTIES} WHERE u.signed_off_at IS NULL ORDER BY u.id LIMIT :limit"), {"limit": limit})
    return [Duty(**row._mapping) for row in found]


def open_duties(conn: Connection) -> int:
    """How many duties of all erasures nobody has signed off yet."""
    return conn.scalar(text("SELECT count(*) FROM duties WHERE signed_off_at IS NULL")) or 0


def delay_minutes(conn: Connection) -> int:
    """How long after it was marked a customer is erased (Settings → Deletion)."""
    minutes: int = conn.execute(text("SELECT erasure_delay_minutes FROM company")).scalar_one()
    return minutes


def needs_word(conn: Connection, customer_id: int) -> bool:
    """Whether DELETE has to be typed: a user of the customer has registered (row G12)."""
    query = "SELECT EXISTS (SELECT FROM customer_users WHERE customer_id = :id AND registered_at IS NOT NULL)"
    return bool(conn.scalar(text(query), {"id": customer_id}))


# ---------------------------------------------------------------------------------- marking, taking back


def mark(conn: Connection, customer_id: int, *, typed: str = "", today: date, user: User) -> None:
    """Mark a customer for deletion: its users are out at once, it is erased after the delay (row G12).

    Its subscription ends with the booking month. Raises Invalid at `typed` where DELETE must be typed.
    """
    require(user, Permission.DELETE_CUSTOMERS)
    first_open = periods.hold_open_month(conn)
    before = customers.held_for_change(conn, customer_id, Action.DELETE)
    if needs_word(conn, customer_id) and typed.strip() != WORD:
        raise Invalid(f"Somebody of {before.name} has registered: type {WORD}, in capitals.", field="typed")
    last = next_month(month_of(max(today, first_open))) - timedelta(days=1)
    ends_on = last if before.ends_on is None else min(before.ends_on, last)
    if ends_on != before.ends_on:
        customer_verbs.move_end(conn, before, ends_on, first_open=first_open, today=today, user=user)
    customers.rewrite(conn, customer_id, marked_for_deletion_at=func.now())
    sessions.end_portal(conn, customer_id)
    conn.execute(
        insert(deletions).values(
            customer_id=customer_id,
            requested_by=user.id,
            due_at=text("now() + make_interval(mins => (SELECT erasure_delay_minutes FROM company))"),
            ends_on_before=before.ends_on,
        )
    )
    charges.keep(conn, customers=[customer_id])
    changes = audit.difference({"ends_on": before.ends_on}, {"ends_on": ends_on})
    audit.record(conn, "mark for deletion", "customer", customer_id, user_id=user.id, customer_id=customer_id,
                 changes=changes)  # fmt: skip


def take_back(conn: Connection, customer_id: int, *, today: date, user: User) -> None:
    """Take a deletion back that is not done yet: the customer is as it was, its users sign in again (row G12).

    Where its subscription ended meanwhile, it is charged again from today on, not for the days between.
    """
    require(user, Permission.DELETE_CUSTOMERS)
    # The worker's order: the deletion first, then the customer. It may be erasing at this moment, and then wins.
    standing = conn.execute(
        text("""SELECT id, ends_on_before, erased_at FROM deletions
                 WHERE customer_id = :id AND taken_back_at IS NULL FOR UPDATE"""),
        {"id": customer_id},
    ).one_or_none()
    first_open = periods.hold_open_month(conn)
    before = customers.held_for_change(conn, customer_id, Action.KEEP)
    if standing is None:
        raise Conflict(f"{before.name} was marked for deletion at this very moment. Reload the page and look again.")
    if standing.ends_on_before != before.ends_on:
        customer_verbs.move_end(conn, before, standing.ends_on_before, first_open=first_open, today=today, user=user)
    customers.rewrite(conn, customer_id, marked_for_deletion_at=None)
    conn.execute(
        update(deletions)
        .where(deletions.c.id == standing.id)
        .values(taken_back_at=func.now(), taken_back_by=user.id, last_error="")
    )
    charges.keep(conn, customers=[customer_id])
    changes = audit.difference({"ends_on": before.ends_on}, {"ends_on": standing.ends_on_before})
    audit.record(conn, "take deletion back", "customer", customer_id, user_id=user.id, customer_id=customer_id,
                 changes=changes)  # fmt: skip


def sign_off(conn: Connection, duty_id: int, *, user: User) -> None:
    """Say that one of our duties is done. It stays signed off, with name and time (row N10)."""
    require(user, Permission.DELETE_CUSTOMERS)
    signed = conn.execute(
        update(duties)
        .where(duties.c.id == duty_id, duties.c.signed_off_at.is_(None))
        .values(signed_off_at=func.now(), signed_off_by=user.id)
    )
    row = conn.execute(text(f"{_DUTIES} WHERE u.id = :id"), {"id": duty_id}).one_or_none()
    if row is None:
        raise NotFound("This duty does not exist.")
    if not signed.rowcount:
        raise AlreadyDone(f"{row.signed_off_by} has signed this off already.")
    audit.record(conn, "sign off", "duty", duty_id, user_id=user.id, customer_id=row.customer_id,
                 changes={"duty": (None, row.what)})  # fmt: skip


# ---------------------------------------------------------------------------------- the worker's part


def erase_one() -> bool:
    """Erase one customer whose time has come, or what its last invoice no longer needs; False: nothing is due.

    All of it in one transaction: a worker that is killed leaves nothing half done, and the next one does it.
    """
    with db.transaction() as conn:
        return erase_next(conn)


def erase_next(conn: Connection) -> bool:
    """`erase_one` in the caller's transaction. What fails is tried again, after a while that grows."""
    claimed = _claim(conn)
    if claimed is None:
        return False
    failure = _tried(conn, claimed)
    if failure is not None:
        conn.execute(
            text("""UPDATE deletions SET attempts = attempts + 1, last_error = :why,
                           due_at = now() + make_interval(mins => least(60, power(2, attempts)::int))
                     WHERE id = :id"""),
            {"id": claimed.id, "why": failure},
        )
    return True


def retry(conn: Connection, deletion_id: int, *, user: User) -> None:
    """Let the worker try an erasure that failed at once."""
    require(user, Permission.DELETE_CUSTOMERS)
    again = conn.execute(
        text("""UPDATE deletions SET due_at = now(), last_error = ''
                 WHERE id = :id AND last_error <> '' AND taken_back_at IS NULL RETURNING customer_id"""),
        {"id": deletion_id},
    ).one_or_none()
    if again is None:
        raise Conflict("This erasure has not failed: it waits for its time, or is done.")
    audit.record(conn, "retry erasure", "customer", again.customer_id, user_id=user.id, customer_id=again.customer_id)


def _claim(conn: Connection) -> Any:
    """A deletion that is due, or whose last invoice is settled, and that no other worker has."""
    return conn.execute(
        text(f"""
            SELECT d.id, d.customer_id, d.erased_at FROM deletions d JOIN customers c ON c.id = d.customer_id
             WHERE d.taken_back_at IS NULL AND d.settled_at IS NULL AND d.due_at <= now()
               AND (d.erased_at IS NULL OR NOT EXISTS ({erasures.WAITS}))
             ORDER BY d.due_at, d.id LIMIT 1 FOR UPDATE OF d SKIP LOCKED""")
    ).one_or_none()


def _step(conn: Connection, claimed: Any) -> None:
    if claimed.erased_at is None:
        erasures.erase(conn, claimed.id, claimed.customer_id, today=clock.today(conn))
    else:
        erasures.settle(conn, claimed.id, claimed.customer_id)


def _tried(conn: Connection, claimed: Any) -> str | None:
    """The step, undone where it fails; then why, in words that name nobody: they stay."""
    try:
        with conn.begin_nested():
            _step(conn, claimed)
    except BillingError as refusal:
        return str(refusal)
    except Exception:
        _log.exception("The erasure of deletion %s failed.", claimed.id)
        return "An unexpected error; the worker's log has it. Nothing was erased."
    return None
