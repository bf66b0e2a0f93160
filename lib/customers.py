"""Customers: how a new one begins, and who may change what of its data (rows N2–N5, G3, S1).

The row in `customers` is the state now; `lib/lifecycles.py` keeps its dated history, from which rating reads the days
that count. What is done to a customer says `lib/customer_verbs.py`, what a state allows `lib/customer_states.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select, text, update

from lib import (
    audit,
    customer_fields,
    customer_states,
    fields,
    lifecycles,
    payment_methods,
    periods,
    portal_scope,
    vat,
)
from lib.auth import Permission, User, require
from lib.customer_fields import PHASES
from lib.customer_states import Action
from lib.errors import Conflict, Invalid, NotFound
from lib.lifecycles import Status
from lib.requests import once
from lib.tables import customers

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
    settled_at: datetime | None
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


def several(conn: Connection, customer_ids: Sequence[int], *, hold: bool = False) -> list[Customer]:
    """These customers in the order of their names; with `hold` other writes on them wait, as for `held`."""
    query = select(*_COLUMNS).where(customers.c.id.in_(customer_ids)).order_by(customers.c.id)
    if hold:  # in the order of ids, so that two who hold several don't wait for each other
        query = query.with_for_update(key_share=True)
    found = [Customer(**row._mapping) for row in conn.execute(query)]
    return sorted(found, key=lambda customer: (customer.name.casefold(), customer.id))


def held_for_change(conn: Connection, customer_id: int, action: Action = Action.EDIT) -> Customer:
    """`held`, for a write that the customer's state must allow: none once it is marked for deletion (row G12).

    Raises Conflict in words where it doesn't.
    """
    customer = held(conn, customer_id)
    customer_states.require(customer, action)
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
    return _create(conn, details=details, billed=billed, ends_on=ends_on, today=today, user=user)


def register(conn: Connection, *, details: Mapping[str, Any], ends_on: date, today: date) -> int:
    """Add a test customer that registers itself (row G14); who did it, and that they may, `registrations` says."""
    return _create(conn, details=details, billed=False, ends_on=ends_on, today=today, user=None)


def _create(
    conn: Connection,
    *,
    details: Mapping[str, Any],
    billed: bool,
    ends_on: date | None,
    today: date,
    user: User | None,
) -> int:
    start = max(today, periods.hold_open_month(conn))
    with fields.all_of() as check:
        values = check(customer_fields.checked, {"name": ""} | dict(details), before={}, today=today)
        check(require_end_date, ends_on, billed=billed, earliest=start)
    values |= _as_vies_said(conn, {}, values)
    values |= payment_methods.of_new(conn, values)
    values["tenant_type"] = tenant_type_of_new(values.get("tenant_type"), billed=billed)
    # Not RETURNING, which reads: who registers may read the row once its id is known (`portal_role`).
    conn.execute(
        insert(customers)
        .values(
            number=text("'C-' || nextval('customer_numbers')"),
            phase="billed" if billed else "test",
            billed_from=start if billed else None,
            ends_on=ends_on,
            **values,
        )
        .inline()
    )
    customer_id: int = conn.execute(text("SELECT currval(pg_get_serial_sequence('customers', 'id'))")).scalar_one()
    if user is None:
        portal_scope.enter(conn, customer_id)
    lifecycles.append(conn, [Status(customer_id, start, billed, True, ends_on)], user)
    audit.record(
        conn,
        "create",
        "customer",
        customer_id,
        user_id=None if user is None else user.id,
        customer_id=customer_id,
        changes=audit.difference({}, values | {"phase": PHASES["billed" if billed else "test"], "ends_on": ends_on}),
    )
    return customer_id


def edit(
    conn: Connection, customer_id: int, *, version: int, changes: Mapping[str, Any], today: date, user: User
) -> None:
    """Save the data of a customer: addresses, VAT ID, contract and licence (rows N4, N5, S1).

    `changes` maps fields to what was typed. Raises Conflict where the form is older than the row, where a
    self-service customer's own user edits the field (row G3), and for the service mode, which has verbs of its own.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    before = held_for_change(conn, customer_id)
    values = _checked_edit(conn, before, version=version, changes=changes, today=today)
    if any(values[name] != getattr(before, name) for name in customer_fields.OF_MAIN_USER if name in values):
        customer_states.require(before, Action.EDIT_ADDRESS)
    if values.get("service_mode", before.service_mode) != before.service_mode:
        raise Conflict(customer_fields.MODE_HAS_VERBS)
    _save(conn, before, values, user)


def edit_for_last_invoice(
    conn: Connection, customer_id: int, *, version: int, changes: Mapping[str, Any], today: date, user: User
) -> None:
    """Save what the last invoice of an erased customer needs, until that is issued and settled (row G12).

    `changes` maps some of `customer_fields.OF_LAST_INVOICE`. An invoice that lacks them could never be issued.
    """
    require(user, Permission.EDIT_INVOICES)
    before = held_for_change(conn, customer_id, Action.EDIT_LAST_INVOICE)
    for name in set(changes) - set(customer_fields.OF_LAST_INVOICE):
        raise Invalid("The last invoice doesn't need this.", field=name)
    _save(conn, before, _checked_edit(conn, before, version=version, changes=changes, today=today), user)


def _checked_edit(
    conn: Connection, before: Customer, *, version: int, changes: Mapping[str, Any], today: date
) -> dict[str, Any]:
    if before.version != version:
        raise Conflict(audit.overtaken(conn, "this customer", "customer", before.id, customer_id=before.id))
    return checked_changes(conn, before, changes, today=today)


def _save(conn: Connection, before: Customer, values: Mapping[str, Any], user: User) -> None:
    rewrite(conn, before.id, **values)
    changed = audit.difference(vars(before), values)
    if changed:
        record(conn, "edit", before, user, changed)


def checked_changes(conn: Connection, before: Customer, changes: Mapping[str, Any], *, today: date) -> dict[str, Any]:
    """What was typed over a customer's data, in the form it is stored, with what follows from it. Writes nothing.

    The tax ID that the country demands is demanded where anything of it is changed (row G10). Raises Invalid.
    """
    values = customer_fields.checked(changes, before=vars(before), today=today)
    if values.get("payment_method", before.payment_method) != before.payment_method:
        payment_methods.require_offered(conn, values["payment_method"])
    if customer_fields.TAX.intersection(changes):
        customer_fields.require_tax_id(vars(before) | values)
        values |= _as_vies_said(conn, vars(before), values)
    return values


def _as_vies_said(conn: Connection, before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    country = values.get("country", before.get("country", "DE"))
    if "vat_id" not in values or not vat.asks_vies(conn, country=country):
        return {}
    return vat.as_vies_said(before, values["vat_id"])


def set_tags(conn: Connection, customer_id: int, *, tags: Sequence[str], user: User) -> None:
    """Replace a customer's tags, by which lists are filtered. Raises Invalid at the field."""
    require(user, Permission.EDIT_CUSTOMERS)
    wanted = customer_fields.checked_tags(tags, field="tags")
    before = held_for_change(conn, customer_id)
    if before.tags != wanted:
        rewrite(conn, customer_id, tags=wanted)
        record(conn, "edit", before, user, {"tags": (before.tags, wanted)})


def rewrite(conn: Connection, customer_id: int, **values: Any) -> None:
    """Write columns of a customer's row as they are, so that forms opened before lose. Not for what was typed.

    For verbs: the caller holds the customer, and its permission and audit entry are the caller's.
    """
    rewrite_all(conn, [customer_id], **values)


def rewrite_all(conn: Connection, customer_ids: Sequence[int], **values: Any) -> None:
    """`rewrite` for many customers at once."""
    conn.execute(
        update(customers).where(customers.c.id.in_(customer_ids)).values(version=customers.c.version + 1, **values)
    )


def record(conn: Connection, action: str, before: Customer, user: User, changes: Mapping[str, audit.Change]) -> None:
    """Note in the audit log what was done to a customer. For verbs, like `rewrite`."""
    audit.record(conn, action, "customer", before.id, user_id=user.id, customer_id=before.id, changes=changes)


def tenant_type_of_new(given: str | None, *, billed: bool) -> str:
    """The tenant type of a new customer; a billed one is commercial. Raises Invalid."""
    if billed and given not in (None, "commercial"):
        raise Invalid("A billed customer is a commercial tenant.", field="tenant_type")
    return given or ("commercial" if billed else "evaluation")


def require_end_date(ends_on: date | None, *, billed: bool, earliest: date) -> None:
    """Refuse with Invalid an end date that can't be: a test needs one, and none is before `earliest` (row N3)."""
    if ends_on is None and not billed:
        raise Invalid("A test needs an end date.", field="ends_on")
    if ends_on is not None and ends_on < earliest:
        raise Invalid(f"The end date can't be before {earliest:%d %b %Y}.", field="ends_on")
    if ends_on is not None and ends_on.year > 2199:
        raise Invalid("The end date is too far in the future.", field="ends_on")
