"""Quotas: how much storage, and how many credits, a customer may use from a day until a day (rows D2, D3).

One quota of a kind at a time, which the database sees to. Both days belong to it. Triggers keep on it
what is used of it, as usage comes in. A quota limits and ends nothing: `quota_warnings` says when
it is nearly used up, or nearly over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, text, update

from lib import audit, customers, fields
from lib.auth import Permission, User, require
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, rounded
from lib.requests import once
from lib.tables import quotas

KINDS = {"credits": "Credits", "storage": "Storage"}
UNITS = {"credits": "credits", "storage": "GB"}


@dataclass(frozen=True)
class Quota:
    """An amount (credits, or GB of storage) from `from_day` to `until_day`, both included; None: no end is known.

    `used`: of credits the sum since its first day, of storage the latest level that is known.
    """

    id: int
    customer_id: int
    kind: str
    amount: Decimal
    used: Decimal
    from_day: date
    until_day: date | None
    recorded_at: datetime
    recorded_by: str
    version: int

    def holds_on(self, day: date) -> bool:
        """Whether the day is one of its days."""
        return self.from_day <= day and (self.until_day is None or day <= self.until_day)

    @property
    def share(self) -> Decimal:
        """How much of it is used: 0.85 at 85 %, above 1 where it is exceeded."""
        return self.used / self.amount


def quotas_of(conn: Connection, customer_id: int) -> list[Quota]:
    """All quotas of a customer, the latest first."""
    found = conn.execute(
        text("""SELECT q.id, q.customer_id, q.kind, q.amount, q.used, q.from_day, q.until_day, q.recorded_at,
                       coalesce(s.name, 'System') AS recorded_by, q.version
                  FROM quotas q LEFT JOIN staff s ON s.id = q.recorded_by
                 WHERE q.customer_id = :id ORDER BY q.from_day DESC, q.kind"""),
        {"id": customer_id},
    )
    return [Quota(**row._mapping) for row in found]


def held_on(quotas: Sequence[Quota], day: date) -> dict[str, Quota]:
    """The quotas that hold on a day, by kind."""
    return {quota.kind: quota for quota in quotas if quota.holds_on(day)}


def add(
    conn: Connection,
    customer_id: int,
    *,
    kind: str,
    amount: Decimal,
    from_day: date | None,
    until_day: date | None,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Give a customer a quota and return its id. Raises Invalid at the field, Conflict where one holds already."""
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    customers.held_for_change(conn, customer_id)
    kind = fields.one_of(kind, KINDS, field="kind", label="The kind")
    values = _checked(amount=amount, from_day=from_day, until_day=until_day)
    with conflicts(_overlaps(kind)):
        quota_id: int = conn.execute(
            insert(quotas)
            .values(customer_id=customer_id, kind=kind, recorded_by=user.id, **values)
            .returning(quotas.c.id)
        ).scalar_one()
    changes = audit.difference({}, {"kind": KINDS[kind]} | values)
    audit.record(conn, "add", "quota", quota_id, user_id=user.id, customer_id=customer_id, changes=changes)
    return quota_id


def edit(
    conn: Connection,
    quota_id: int,
    *,
    version: int,
    amount: Decimal,
    from_day: date | None,
    until_day: date | None,
    user: User,
) -> None:
    """Correct amount and days of a quota. Raises Conflict where the form is older than the row."""
    require(user, Permission.EDIT_CUSTOMERS)
    before = _held(conn, quota_id, version=version)
    _save(conn, before, "edit", _checked(amount=amount, from_day=from_day, until_day=until_day), user)


def end(conn: Connection, quota_id: int, *, version: int, until_day: date | None, user: User) -> None:
    """Let a quota hold up to a day, its last one."""
    require(user, Permission.EDIT_CUSTOMERS)
    before = _held(conn, quota_id, version=version)
    last = fields.day(until_day, field="until_day", label="The last day", required=True)
    assert last is not None
    if before.until_day is not None and last > before.until_day:
        raise Invalid(
            f"It ends on {before.until_day:%d %b %Y} already. Use Edit to let it hold for longer.", field="until_day"
        )
    _save(conn, before, "end", _checked(amount=before.amount, from_day=before.from_day, until_day=last), user)


def forget(conn: Connection, customer_id: int) -> int:
    """Delete a customer's quotas, for its erasure; returns how many there were."""
    return conn.execute(delete(quotas).where(quotas.c.customer_id == customer_id)).rowcount


def _held(conn: Connection, quota_id: int, *, version: int) -> Quota:
    """The quota, locked with its customer. Raises NotFound, and Conflict where it isn't at this version any more."""
    customer_id = conn.scalar(text("SELECT customer_id FROM quotas WHERE id = :id"), {"id": quota_id})
    if customer_id is None:
        raise NotFound("This quota does not exist.")
    customers.held_for_change(conn, customer_id)
    found = next(quota for quota in quotas_of(conn, customer_id) if quota.id == quota_id)
    if found.version != version:
        raise Conflict("Somebody changed this quota meanwhile. Close the form and open it again.")
    return found


def _save(conn: Connection, before: Quota, action: str, values: Mapping[str, Any], user: User) -> None:
    changes = audit.difference(vars(before), values)
    if not changes:
        return
    with conflicts(_overlaps(before.kind)):
        conn.execute(update(quotas).where(quotas.c.id == before.id).values(version=before.version + 1, **values))
    audit.record(
        conn, action, "quota", before.id, user_id=user.id, customer_id=before.customer_id,
        changes={"kind": (KINDS[before.kind], KINDS[before.kind])} | changes,
    )  # fmt: skip


def _overlaps(kind: str) -> dict[str, str]:
    return {
        "quotas_one_at_a_time": f"A quota of {KINDS[kind].lower()} already holds in this time. End that one first, "
        "or choose days before or after it."
    }


def _checked(*, amount: Decimal, from_day: date | None, until_day: date | None) -> dict[str, Any]:
    if not amount.is_finite() or not 0 < amount <= LARGEST:
        raise Invalid(f"The amount must be more than 0 and at most {LARGEST:,}.", field="amount")
    if amount != rounded(amount):
        raise Invalid("The amount has at most 2 decimals.", field="amount")
    first = fields.day(from_day, field="from_day", label="The first day", required=True)
    last = fields.day(until_day, field="until_day", label="The last day")
    if first is not None and last is not None and last < first:
        raise Invalid(f"The last day can't be before the first one, {first:%d %b %Y}.", field="until_day")
    return {"amount": amount, "from_day": first, "until_day": last}
