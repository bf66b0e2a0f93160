"""One change for several customers: which of them it changes, which it can't and why, and then all that it can.

Set-based: a change of hundreds of customers is a handful of statements, and one rating of them all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func

from lib import (
    audit,
    charges,
    customer_fields,
    customer_states,
    customer_verbs,
    customers,
    fields,
    lifecycles,
    payment_methods,
    periods,
    project_keys,
)
from lib.auth import Permission, User, require
from lib.customer_fields import MOST_TAGS, PAYMENT_METHODS, SERVICE_MODES
from lib.customer_states import Action
from lib.customer_verbs import MODE_VERBS
from lib.customers import Customer
from lib.errors import Conflict, Invalid
from lib.requests import once
from lib.tables import customers as table

# More at once is an import, or a price list.
MOST = 1_000


class Kind(StrEnum):
    """What can be changed for several customers."""

    PAYMENT_METHOD = "payment_method"
    SERVICE_MODE = "service_mode"
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"
    END_DATE = "ends_on"
    DEACTIVATE = "deactivate"


@dataclass(frozen=True)
class Change:
    """A kind of change and its value: a code, a tag, a day (None: no end), or the reason of a deactivation."""

    kind: Kind
    value: Any


@dataclass(frozen=True)
class Refused:
    """A customer that the change can't be made for, and why."""

    customer: Customer
    why: str


@dataclass(frozen=True)
class Plan:
    """What a change would do, or did: whom it changes, who is so already, and whom it can't change."""

    changes: list[Customer] = field(default_factory=list)
    unchanged: list[Customer] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def plan(conn: Connection, customer_ids: Sequence[int], change: Change) -> Plan:
    """What the change would do, nothing written. Raises Invalid at the field `value`."""
    wanted = _checked(conn, change)
    first_open = periods.open_month(conn)
    if first_open is None:
        raise Conflict(periods.NOT_SET_UP)
    return _plan(conn, customers.several(conn, _limited(customer_ids)), wanted, first_open=first_open)


def apply(
    conn: Connection,
    customer_ids: Sequence[int],
    change: Change,
    *,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> Plan:
    """Make the change for all customers that it can be made for, each with its audit entry; returns what was done."""
    permission = Permission.DEACTIVATE_CUSTOMERS if change.kind is Kind.DEACTIVATE else Permission.EDIT_CUSTOMERS
    require(user, permission)
    once(conn, request_key)
    wanted = _checked(conn, change)
    first_open = periods.hold_open_month(conn)
    found = _plan(conn, customers.several(conn, _limited(customer_ids), hold=True), wanted, first_open=first_open)
    if found.changes:
        _write(conn, found.changes, wanted, first_open=first_open, today=today, user=user)
        _record(conn, found.changes, wanted, user)
    return found


def _plan(conn: Connection, chosen: list[Customer], change: Change, *, first_open: date) -> Plan:
    found = Plan()
    # Whose project key ran in a month that is open still.
    keys = project_keys.until(conn, [customer.id for customer in chosen], today=first_open)
    for customer in chosen:
        if _value(customer, change) == _after(customer, change):
            found.unchanged.append(customer)
        elif (why := _refusal(customer, change, keys.get(customer.id), first_open=first_open)) is not None:
            found.refused.append(Refused(customer, why))
        else:
            found.changes.append(customer)
    return found


_ACTIONS = {Kind.END_DATE: Action.SET_END, Kind.DEACTIVATE: Action.DEACTIVATE}
_MODES = {"managed": Action.MANAGE, "self_service": Action.HAND_OVER}


def _action(change: Change) -> Action:
    return _MODES[change.value] if change.kind is Kind.SERVICE_MODE else _ACTIONS.get(change.kind, Action.EDIT)


def _refusal(customer: Customer, change: Change, key_until: date | None, *, first_open: date) -> str | None:
    """Why the change can't be made for this customer: the same sentences as for one customer alone."""
    try:
        last_day = None if key_until is None else key_until - timedelta(days=1)
        customer_states.require(customer, _action(change), replace(customer_states.NOTHING, key_until=last_day))
        if change.kind is Kind.END_DATE and change.value != customer.ends_on:
            earliest = max(first_open, customer.billed_from or first_open)
            customers.require_end_date(change.value, billed=customer.billed, earliest=earliest)
    except (Conflict, Invalid) as refusal:
        return str(refusal)
    if change.kind is Kind.ADD_TAG and len(customer.tags) >= MOST_TAGS and change.value not in customer.tags:
        return f"{customer.name} has {MOST_TAGS} tags, which is the most."
    return None


def _value(customer: Customer, change: Change) -> Any:
    match change.kind:
        case Kind.ADD_TAG | Kind.REMOVE_TAG:
            return customer.tags
        case Kind.DEACTIVATE:
            return customer.active
    return getattr(customer, change.kind)


def _after(customer: Customer, change: Change) -> Any:
    match change.kind:
        case Kind.ADD_TAG:
            return customer.tags if change.value in customer.tags else [*customer.tags, change.value]
        case Kind.REMOVE_TAG:
            return [tag for tag in customer.tags if tag != change.value]
        case Kind.DEACTIVATE:
            return False
    return change.value


def _write(
    conn: Connection, chosen: list[Customer], change: Change, *, first_open: date, today: date, user: User
) -> None:
    ids = [customer.id for customer in chosen]
    match change.kind:
        case Kind.ADD_TAG:
            customers.rewrite_all(conn, ids, tags=func.array_append(table.c.tags, change.value))
        case Kind.REMOVE_TAG:
            customers.rewrite_all(conn, ids, tags=func.array_remove(table.c.tags, change.value))
        case Kind.END_DATE:
            customer_verbs.move_ends(conn, chosen, change.value, first_open=first_open, today=today, user=user)
            charges.keep(conn, customers=ids)
        case Kind.DEACTIVATE:
            customers.rewrite_all(conn, ids, active=False, deactivation_reason=change.value)
            lifecycles.change_from(conn, ids, max(today, first_open), user, active=False)
            charges.keep(conn, customers=ids)
        case _:
            customers.rewrite_all(conn, ids, **{str(change.kind): change.value})


_VERBS = {Kind.END_DATE: "change end date", Kind.DEACTIVATE: "deactivate"}
_FIELDS = {Kind.ADD_TAG: "tags", Kind.REMOVE_TAG: "tags", Kind.DEACTIVATE: "active"}
_WORDS = {Kind.PAYMENT_METHOD: PAYMENT_METHODS, Kind.SERVICE_MODE: SERVICE_MODES}


def _record(conn: Connection, chosen: list[Customer], change: Change, user: User) -> None:
    """An entry for each customer, as if it had been changed alone."""
    name = _FIELDS.get(change.kind, str(change.kind))
    entries = []
    for customer in chosen:
        changes = {name: [_logged(change, _value(customer, change)), _logged(change, _after(customer, change))]}
        if change.kind is Kind.DEACTIVATE and change.value:
            changes["deactivation_reason"] = ["", change.value]
        entries.append({"id": customer.id, "changes": changes})
    audit.record_all(
        conn,
        MODE_VERBS[change.value] if change.kind is Kind.SERVICE_MODE else _VERBS.get(change.kind, "edit"),
        "customer",
        query="""SELECT CAST(e ->> 'id' AS bigint) AS object_id, CAST(e ->> 'id' AS bigint) AS customer_id,
                        e -> 'changes' AS changes
                   FROM jsonb_array_elements(CAST(:entries AS jsonb)) e""",
        values={"entries": json.dumps(entries)},
        user_id=user.id,
    )


def _logged(change: Change, value: Any) -> Any:
    if change.kind is Kind.SERVICE_MODE:
        return SERVICE_MODES[value]
    return value.isoformat() if isinstance(value, date) else value


def _checked(conn: Connection, change: Change) -> Change:
    """The change with its value in the form it is stored."""
    value = change.value
    match change.kind:
        case Kind.PAYMENT_METHOD | Kind.SERVICE_MODE:
            label = str(change.kind).replace("_", " ").capitalize()
            value = fields.one_of(value, _WORDS[change.kind], field="value", label=label)
            if change.kind is Kind.PAYMENT_METHOD:
                payment_methods.require_offered(conn, value, field="value")
        case Kind.ADD_TAG | Kind.REMOVE_TAG:
            value = customer_fields.checked_tag(value, field="value")
        case Kind.END_DATE:
            value = fields.day(value, field="value", label="The end date")
        case Kind.DEACTIVATE:
            value = fields.block(value, field="value", label="The reason", longest=500)
    return Change(change.kind, value)


def _limited(customer_ids: Sequence[int]) -> Sequence[int]:
    if not customer_ids:
        raise Invalid("Choose at least one customer.")
    if len(customer_ids) > MOST:
        raise Invalid(f"Choose at most {MOST:,} customers at once: these are {len(customer_ids):,}.")
    return customer_ids
