"""What is done to a customer beside editing it: converted, ended, deactivated, locked, and back (rows N3, N6, N9, G7).

Each verb asks `lib/customer_states.py` whether the customer's state allows it, and counts from a day on: what was
charged before that day stays.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, func

from lib import audit, charges, customers, fields, lifecycles, periods, sessions
from lib.auth import Permission, User, require
from lib.customer_fields import PHASES, SERVICE_MODES
from lib.customer_states import Action
from lib.customers import Customer

# What changing to a service mode is called in the audit log, for one customer or for many.
MODE_VERBS = {"managed": "convert to managed", "self_service": "hand over to self-service"}


def convert_to_billed(conn: Connection, customer_id: int, *, ends_on: date | None, today: date, user: User) -> None:
    """Make a test customer a billed one, charged from today; there is no way back (row N6)."""
    require(user, Permission.EDIT_CUSTOMERS)
    start = max(today, periods.hold_open_month(conn))
    before = customers.held_for_change(conn, customer_id, Action.CONVERT)
    customers.require_end_date(ends_on, billed=True, earliest=start)
    customers.rewrite(conn, customer_id, phase="billed", billed_from=start, ends_on=ends_on, tenant_type="commercial")
    lifecycles.change_from(conn, [customer_id], start, user, billed=True, ends_on=ends_on)
    after = {"phase": PHASES["billed"], "billed_from": start, "ends_on": ends_on, "tenant_type": "commercial"}
    _done(conn, "convert to billed", before, user, **after)


def convert_to_managed(conn: Connection, customer_id: int, *, user: User) -> None:
    """From now on only we change what a self-service customer has, and its address (rows G2, G3).

    The way back, for one or many, is a bulk change (`lib/bulk.py`).
    """
    require(user, Permission.EDIT_CUSTOMERS)
    before = customers.held_for_change(conn, customer_id, Action.MANAGE)
    customers.rewrite(conn, customer_id, service_mode="managed")
    modes = (SERVICE_MODES[before.service_mode], SERVICE_MODES["managed"])
    customers.record(conn, MODE_VERBS["managed"], before, user, {"service_mode": modes})


def set_end_date(conn: Connection, customer_id: int, *, ends_on: date | None, today: date, user: User) -> None:
    """Change the last charged day, or empty it for a billed customer (row N3).

    A customer that had ended before today is charged again from today on, never for the days between.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    first_open = periods.hold_open_month(conn)
    before = customers.held_for_change(conn, customer_id, Action.SET_END)
    if ends_on == before.ends_on:
        return
    earliest = max(first_open, before.billed_from or first_open)
    customers.require_end_date(ends_on, billed=before.billed, earliest=earliest)
    move_end(conn, before, ends_on, first_open=first_open, today=today, user=user)
    _done(conn, "change end date", before, user, ends_on=ends_on)


def move_end(
    conn: Connection, before: Customer, ends_on: date | None, *, first_open: date, today: date, user: User
) -> None:
    """Write another last charged day; for `set_end_date`, and for a deletion and its way back.

    The caller holds the open month and the customer, and records and rates what it did.
    """
    move_ends(conn, [before], ends_on, first_open=first_open, today=today, user=user)


def move_ends(
    conn: Connection, several: Sequence[Customer], ends_on: date | None, *, first_open: date, today: date, user: User
) -> None:
    """`move_end` for many customers at once."""
    customers.rewrite_all(conn, [before.id for before in several], ends_on=ends_on)
    past = [before.id for before in several if before.ends_on is not None and before.ends_on < today]
    resumed = past if ends_on is None or ends_on >= today else []
    others = [before.id for before in several if before.id not in set(resumed)]
    # Who had ended is charged again from today on, never for the days between.
    for ids, day in ((resumed, max(today, first_open)), (others, first_open)):
        if ids:
            lifecycles.change_from(conn, ids, day, user, ends_on=ends_on)


def deactivate(conn: Connection, customer_id: int, *, reason: str = "", today: date, user: User) -> None:
    """Stop a customer from today on, keeping all its data (row N9). Days that follow are not charged."""
    require(user, Permission.DEACTIVATE_CUSTOMERS)
    reason = fields.block(reason, field="reason", label="The reason", longest=500)
    _switch(conn, customer_id, Action.DEACTIVATE, reason=reason, today=today, user=user)


def activate(conn: Connection, customer_id: int, *, today: date, user: User) -> None:
    """Restore a deactivated customer completely, charged from today on (row N9)."""
    require(user, Permission.DEACTIVATE_CUSTOMERS)
    _switch(conn, customer_id, Action.ACTIVATE, reason="", today=today, user=user)


def _switch(conn: Connection, customer_id: int, action: Action, *, reason: str, today: date, user: User) -> None:
    start = max(today, periods.hold_open_month(conn))
    before = customers.held_for_change(conn, customer_id, action)
    active = action is Action.ACTIVATE
    customers.rewrite(conn, customer_id, active=active, deactivation_reason=reason)
    lifecycles.change_from(conn, [customer_id], start, user, active=active)
    _done(conn, str(action), before, user, active=active, deactivation_reason=reason)


def lock(conn: Connection, customer_id: int, *, user: User) -> None:
    """Keep a customer's users out: whoever is signed in is signed out, what is booked runs on (row G7)."""
    require(user, Permission.LOCK_CUSTOMERS)
    before = customers.held_for_change(conn, customer_id, Action.LOCK)
    customers.rewrite(conn, customer_id, locked_at=func.now())
    ended = sessions.end_portal(conn, customer_id)
    customers.record(conn, "lock", before, user, {"locked": (False, True), "sessions_ended": (None, ended)})


def unlock(conn: Connection, customer_id: int, *, user: User) -> None:
    """Let a customer's users sign in again (row G7)."""
    require(user, Permission.LOCK_CUSTOMERS)
    before = customers.held_for_change(conn, customer_id, Action.UNLOCK)
    customers.rewrite(conn, customer_id, locked_at=None)
    customers.record(conn, "unlock", before, user, {"locked": (True, False)})


def _done(conn: Connection, action: str, before: Customer, user: User, **after: Any) -> None:
    charges.keep(conn, customers=[before.id])
    shown = vars(before) | {"phase": PHASES[before.phase]}
    customers.record(conn, action, before, user, audit.difference(shown, after))
