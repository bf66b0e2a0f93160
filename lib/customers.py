"""Customers: their data, and their way from test to billed, deactivated and ended (rows N2–N6, N9).

The row in `customers` is the state now; `lifecycle` is its dated history, from which rating reads
the days that count. A status on a day is the row with the latest effective day ≤ it; of two on
one day the later recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select, text, update

from lib import audit, billing, customer_fields, fields, periods
from lib.auth import Permission, User, require
from lib.customer_fields import PHASES
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.requests import once
from lib.tables import customers, lifecycle

FOUR_WEEKS = timedelta(days=28)


@dataclass(frozen=True)
class Customer:
    """A company we serve, as it is now. `ends_on` is the last charged day (row N3)."""

    id: int
    number: str
    name: str
    phase: str
    billed_from: date | None
    ends_on: date | None
    active: bool
    deactivation_reason: str
    locked_at: datetime | None
    service_mode: str
    payment_method: str
    contact_name: str
    contact_email: str
    phone: str
    street: str
    postcode: str
    city: str
    country: str
    separate_billing: bool
    billing_name: str
    billing_street: str
    billing_postcode: str
    billing_city: str
    billing_country: str
    billing_email: str
    vat_id: str
    vat_id_valid: bool
    vat_id_checked_on: date | None
    tax_number: str
    no_tax_id_reason: str
    purchase_order: str
    language: str
    payment_days: int | None
    max_users: int | None
    users_beyond_max: bool
    account_name: str
    tenant_type: str
    storage_region: str
    console_url: str
    licence_expires_on: date | None
    tags: list[str]
    marked_for_deletion_at: datetime | None
    erased_at: datetime | None
    created_at: datetime
    version: int

    @property
    def billed(self) -> bool:
        """Whether it is charged at all; a test customer never is."""
        return self.phase == "billed"


_COLUMNS = [customers.c[name] for name in Customer.__dataclass_fields__]


def customer(conn: Connection, customer_id: int) -> Customer:
    """One customer. Raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(customers.c.id == customer_id)).one_or_none()
    if row is None:
        raise NotFound("This customer does not exist.")
    return Customer(**row._mapping)


def held(conn: Connection, customer_id: int) -> Customer:
    """One customer, whose other writes wait until this transaction ends. Raises NotFound.

    Every write that changes what one customer is charged calls it, after `periods.hold_open_month`:
    two at once would each rate the month without what the other recorded.
    """
    # FOR NO KEY UPDATE: documents and bookings may go on naming the customer.
    query = select(*_COLUMNS).where(customers.c.id == customer_id).with_for_update(key_share=True)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound("This customer does not exist.")
    return Customer(**row._mapping)


def held_for_change(conn: Connection, customer_id: int) -> Customer:
    """`held`, for writes on what belongs to a customer. Raises Conflict where it is to be deleted, or was (row G12)."""
    customer = held(conn, customer_id)
    if customer.erased_at is not None:
        raise Conflict(f"{customer.name} was deleted and its data erased. Nothing can be changed any more.")
    if customer.marked_for_deletion_at is not None:
        raise Conflict(f"{customer.name} is marked for deletion. Take that back before you change anything.")
    return customer


def create(
    conn: Connection,
    *,
    details: Mapping[str, Any],
    billed: bool,
    ends_on: date | None,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Add a test or a billed customer and return its id (rows N2, N3).

    `details` needs a name. A billed customer is charged from today. Raises Invalid at the field.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    start = max(today, periods.hold_open_month(conn))
    values = customer_fields.checked({"name": ""} | dict(details), before={}, today=today)
    _require_end_date(ends_on, billed=billed, earliest=start)
    customer_id: int = conn.execute(
        insert(customers)
        .values(
            number=text("'C-' || nextval('customer_numbers')"),
            phase="billed" if billed else "test",
            billed_from=start if billed else None,
            ends_on=ends_on,
            tenant_type="commercial" if billed else "evaluation",
            **values,
        )
        .returning(customers.c.id)
    ).scalar_one()
    _append(conn, [_Status(customer_id, start, billed, True, ends_on)], user)
    audit.record(
        conn,
        "create",
        "customer",
        customer_id,
        user_id=user.id,
        customer_id=customer_id,
        changes=audit.difference({}, values | {"phase": PHASES["billed" if billed else "test"], "ends_on": ends_on}),
    )
    return customer_id


def edit(
    conn: Connection, customer_id: int, *, version: int, changes: Mapping[str, Any], today: date, user: User
) -> None:
    """Save the data of a customer: addresses, VAT ID, contract and licence (rows N4, N5, S1).

    `changes` maps fields to what was typed. Raises Conflict where the form is older than the row.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    before = held(conn, customer_id)
    if before.version != version:
        raise Conflict(_stale(conn, customer_id))
    values = customer_fields.checked(changes, before=vars(before), today=today)
    conn.execute(update(customers).where(customers.c.id == customer_id).values(version=version + 1, **values))
    changed = audit.difference(vars(before), values)
    if changed:
        audit.record(conn, "edit", "customer", customer_id, user_id=user.id, customer_id=customer_id, changes=changed)


def convert_to_billed(conn: Connection, customer_id: int, *, ends_on: date | None, today: date, user: User) -> None:
    """Make a test customer a billed one, charged from today; there is no way back (row N6)."""
    require(user, Permission.EDIT_CUSTOMERS)
    start = max(today, periods.hold_open_month(conn))
    before = held(conn, customer_id)
    if before.billed:
        raise Conflict(f"{before.name} is already billed, since {before.billed_from:%d %b %Y}.")
    _require_end_date(ends_on, billed=True, earliest=start)
    conn.execute(
        update(customers)
        .where(customers.c.id == customer_id)
        .values(
            phase="billed",
            billed_from=start,
            ends_on=ends_on,
            tenant_type="commercial",
            version=before.version + 1,
        )
    )
    _change_from(conn, customer_id, start, user, billed=True, ends_on=ends_on)
    _done(conn, "convert to billed", before, user, phase=PHASES["billed"], billed_from=start, ends_on=ends_on)


def set_end_date(conn: Connection, customer_id: int, *, ends_on: date | None, today: date, user: User) -> None:
    """Change the last charged day, or empty it for a billed customer (row N3).

    A customer that had ended before today is charged again from today on, never for the days between.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    first_open = periods.hold_open_month(conn)
    before = held(conn, customer_id)
    if ends_on == before.ends_on:
        return
    _require_end_date(ends_on, billed=before.billed, earliest=max(first_open, before.billed_from or first_open))
    resumes = before.ends_on is not None and before.ends_on < today and (ends_on is None or ends_on >= today)
    conn.execute(
        update(customers).where(customers.c.id == customer_id).values(ends_on=ends_on, version=before.version + 1)
    )
    _change_from(conn, customer_id, max(today, first_open) if resumes else first_open, user, ends_on=ends_on)
    _done(conn, "change end date", before, user, ends_on=ends_on)


def deactivate(conn: Connection, customer_id: int, *, reason: str = "", today: date, user: User) -> None:
    """Stop a customer from today on, keeping all its data (row N9). Days that follow are not charged."""
    require(user, Permission.EDIT_CUSTOMERS)
    reason = fields.block(reason, field="reason", label="The reason", longest=500)
    _switch(conn, customer_id, active=False, reason=reason, today=today, user=user)


def activate(conn: Connection, customer_id: int, *, today: date, user: User) -> None:
    """Restore a deactivated customer completely, charged from today on (row N9)."""
    require(user, Permission.EDIT_CUSTOMERS)
    _switch(conn, customer_id, active=True, reason="", today=today, user=user)


@dataclass(frozen=True)
class _Status:
    customer_id: int
    effective_on: date
    billed: bool
    active: bool
    ends_on: date | None
    id: int = field(default=0, compare=False)


def _switch(conn: Connection, customer_id: int, *, active: bool, reason: str, today: date, user: User) -> None:
    start = max(today, periods.hold_open_month(conn))
    before = held(conn, customer_id)
    if before.active == active:
        raise Conflict(f"{before.name} is already {'active' if active else 'deactivated'}.")
    conn.execute(
        update(customers)
        .where(customers.c.id == customer_id)
        .values(active=active, deactivation_reason=reason, version=before.version + 1)
    )
    _change_from(conn, customer_id, start, user, active=active)
    _done(conn, "activate" if active else "deactivate", before, user, active=active, deactivation_reason=reason)


def _change_from(conn: Connection, customer_id: int, day: date, user: User, **change: Any) -> None:
    """Append the changed status from `day` on: on that day, and on each later day the history names."""
    history = [
        _Status(row.customer_id, row.effective_on, row.billed, row.active, row.ends_on, row.id)
        for row in conn.execute(
            select(lifecycle).where(lifecycle.c.customer_id == customer_id).order_by("effective_on", "id")
        )
    ]
    # Nothing is said of the days before it was a customer: they would be charged like its first one.
    day = max(day, history[0].effective_on)
    until = [status for status in history if status.effective_on <= day]
    later = {status.effective_on: status for status in history if status.effective_on > day}
    first = replace(until[-1], effective_on=day)
    _append(conn, [replace(status, **change) for status in (first, *later.values())], user)


def _append(conn: Connection, statuses: list[_Status], user: User) -> None:
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


def _done(conn: Connection, action: str, before: Customer, user: User, **after: Any) -> None:
    billing.keep(conn, customers=[before.id])
    shown = vars(before) | {"phase": PHASES[before.phase]}
    changes = audit.difference(shown, after)
    audit.record(conn, action, "customer", before.id, user_id=user.id, customer_id=before.id, changes=changes)


def _require_end_date(ends_on: date | None, *, billed: bool, earliest: date) -> None:
    if ends_on is None and not billed:
        raise Invalid("A test needs an end date.", field="ends_on")
    if ends_on is not None and ends_on < earliest:
        raise Invalid(f"The end date can't be before {earliest:%d %b %Y}.", field="ends_on")
    if ends_on is not None and ends_on.year > 2199:
        raise Invalid("The end date is too far in the future.", field="ends_on")


def _stale(conn: Connection, customer_id: int) -> str:
    last = conn.execute(
        text("""SELECT coalesce(s.name, 'The system') AS person,
                       to_char(a.at AT TIME ZONE (SELECT timezone FROM company), 'HH24:MI') AS time
                  FROM audit_log a LEFT JOIN staff s ON s.id = a.staff_id
                 WHERE a.object_type = 'customer' AND a.object_id = :id ORDER BY a.id DESC LIMIT 1"""),
        {"id": str(customer_id)},
    ).one_or_none()
    who = f"{last.person} changed this customer at {last.time}" if last else "Somebody changed this customer"
    return f"{who}, after you opened it. Nothing was saved: reload, look at the change, and enter yours again."
