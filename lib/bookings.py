"""The ledger: from this day, this customer has this quantity of this product (`billing-rules`, Quantities).

Rows are only added. The quantity on a day is the booking with the latest effective day ≤ it; of
two on one day the later recorded. Taking one back adds a voiding row.

We book anything; in self-service a customer's users book IPs by the same rules (`lib/self_service.py`, row G2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, insert, text

from lib import audit, booking_rules, charges, customer_states, customers, fields, periods, products, project_keys
from lib.auth import Permission, PortalUser, User, require, require_own
from lib.clock import next_day
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.requests import once
from lib.tables import bookings

_REFUSALS = periods.REFUSALS | {
    "one_plan_at_a_time": "A customer has one plan at a time. End the plan it has before another one starts.",
    "recurring_or_prepaid": "It is paid in advance on these days. What is prepaid is changed under Plans or Modules.",
    "bookings_voided_once_key": "This change was already taken back.",
}


@dataclass(frozen=True)
class Booking:
    """A change that stands: from `effective_on` the quantity is `quantity`; IPs also say how they are split."""

    id: int
    customer_id: int
    product_id: int
    kind: str
    effective_on: date
    quantity: int
    internal: int | None
    external: int | None
    recorded_at: datetime
    recorded_by: str
    # Set where it was booked by cancelling the whole subscription (`lib/subscriptions.py`).
    cancellation: UUID | None = None
    # The project key that brings these IPs, also on the 0 with which it ends.
    project_key_id: int | None = None
    # Whether it is the start or the end of that key, which nobody takes back.
    of_key: bool = False


@dataclass(frozen=True)
class Holding:
    """What a customer has of a product on a day; 0 where nothing is booked."""

    quantity: int
    internal: int | None
    external: int | None


NOTHING = Holding(0, None, None)
# Of a booking b: whether it is the start or the end of a project key. Between both, its IPs may be split anew.
_OF_KEY = """b.project_key_id, b.project_key_id IS NOT NULL AND (b.quantity = 0 OR NOT EXISTS (
                   SELECT FROM bookings f WHERE f.project_key_id = b.project_key_id AND f.id < b.id)) AS of_key"""


def standing(conn: Connection, customer_id: int, *, product_id: int | None = None) -> list[Booking]:
    """All bookings of a customer that were not taken back, the latest effective day first."""
    found = conn.execute(
        text(f"""
            SELECT b.id, b.customer_id, b.product_id, b.kind, b.effective_on, b.quantity, b.internal, b.external,
                   b.recorded_at, coalesce(s.name, {audit.CUSTOMER_USER.format("r")}, 'System') AS recorded_by,
                   r.cancellation, {_OF_KEY}
              FROM standing_bookings b JOIN bookings r ON r.id = b.id LEFT JOIN staff s ON s.id = b.recorded_by
              LEFT JOIN customer_users u ON u.id = r.customer_user_id
             WHERE b.customer_id = :customer AND (CAST(:product AS bigint) IS NULL OR b.product_id = :product)
             ORDER BY b.effective_on DESC, b.product_id"""),
        {"customer": customer_id, "product": product_id},
    )
    return [Booking(**row._mapping) for row in found]


def pending(conn: Connection, customer_id: int, *, today: date, product_id: int | None = None) -> list[Booking]:
    """The changes that are booked and not yet effective, the next one first."""
    later = [b for b in standing(conn, customer_id, product_id=product_id) if b.effective_on > today]
    return later[::-1]


def holdings(conn: Connection, customer_id: int, *, on: date) -> dict[int, Holding]:
    """What a customer has on a day, by product id."""
    held: dict[int, Holding] = {}
    for booking in reversed(standing(conn, customer_id)):
        if booking.effective_on <= on:
            held[booking.product_id] = Holding(booking.quantity, booking.internal, booking.external)
    return held


def book(
    conn: Connection,
    customer_id: int,
    product_id: int,
    *,
    effective_on: date,
    quantity: int,
    ends_on: date | None = None,
    internal: int | None = None,
    external: int | None = None,
    keep_pending: bool | None = None,
    today: date,
    user: User | PortalUser,
    request_key: UUID | None = None,
) -> None:
    """Record that from `effective_on` (until `ends_on`, its last day) the customer has this quantity.

    Users, options, plans and modules start and end on any day of an open month; IPs today or with
    the next month, a decrease of IPs only with the next month (row G6). A pending change of the
    same day is replaced; where later ones are pending, `keep_pending` says whether they stay.
    While a project key runs its IPs stay as many, and it ends when it ends: only the split changes (row G9).
    Raises Invalid at the field, Conflict for a second plan. A customer's user books IPs, where it is in self-service.
    """
    _require(user, customer_id)
    once(conn, request_key)
    first_open = periods.hold_open_month(conn)
    customer, product = _held(conn, customer_id, product_id, user, today)
    quantity = fields.whole(quantity, field="quantity", label="The quantity")
    periods.require_open(first_open, effective_on, field="effective_on")
    shares = booking_rules.split(product, quantity, internal, external)
    before = standing(conn, customer_id, product_id=product_id)
    booking_rules.require_sensible(product, quantity, effective_on, ends_on, today=today)
    held = held_on(before, effective_on)
    _require_change(product, held, Holding(quantity, *shares), ends_on)
    key_id = None
    if product.kind == "ips":
        key_id = booking_rules.require_key_kept(conn, customer_id, quantity, effective_on, ends_on, today=today)
        booking_rules.require_ip_day(held.quantity, quantity, effective_on, today=today)
    later = [b for b in before if b.effective_on > effective_on and not b.of_key]
    if later and keep_pending is None:
        raise Invalid("Later changes are pending. Say whether they stay or are taken back.", field="keep_pending")
    if product.kind == "users" and quantity > min([held.quantity, *(b.quantity for b in later if not keep_pending)]):
        booking_rules.require_licence(customer, quantity)
    # A pending change of that very day is replaced: taken back later, it must not let the old one stand again.
    since = effective_on - timedelta(days=1) if effective_on > today else effective_on
    gone = all_after(conn, customer_id, product_id, since)
    void(conn, [b for b in gone if not b.of_key and (b.effective_on == effective_on or not keep_pending)], user)
    rows: list[Row] = [(effective_on, quantity, *shares)]
    if ends_on is not None:
        rows.append((next_day(ends_on), 0, *booking_rules.split_of_none(product)))
    append(conn, customer_id, product, rows, user, project_key_id=key_id)
    charges.keep(conn, customers=[customer_id])
    changes: dict[str, audit.Change] = {
        product.name_en: (held.quantity, quantity),
        "from": (None, effective_on),
    }
    if ends_on is not None:
        changes["until"] = (None, ends_on)
    audit.record(conn, "book", "booking", product.code, customer_id=customer_id, changes=changes, **audit.actor(user))


def take_back(conn: Connection, booking_id: int, *, today: date, user: User | PortalUser) -> None:
    """Take back a change that is not yet effective, by a voiding row (row G6)."""
    if isinstance(user, User):
        require(user, Permission.EDIT_CUSTOMERS)
    periods.hold_open_month(conn)
    row = conn.execute(
        text(f"""SELECT b.id, b.customer_id, b.product_id, b.kind, b.effective_on, b.quantity, b.internal, b.external,
                       b.recorded_at, '' AS recorded_by, b.cancellation, {_OF_KEY}, v.id AS voided
                  FROM bookings b LEFT JOIN bookings v ON v.voids = b.id
                 WHERE b.id = :id AND b.voids IS NULL"""),
        {"id": booking_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This change does not exist.")
    _require(user, row.customer_id, what="change")
    _, product = _held(conn, row.customer_id, row.product_id, user, today)
    if isinstance(user, PortalUser) and row.cancellation is not None:
        raise NotAllowed("We cancelled this subscription. Ask us to take that back, or order IPs anew.")
    if row.voided is not None:
        raise Conflict("This change was already taken back.")
    if row.effective_on <= today:
        raise Conflict("This change is already in effect. Book the quantity that is right instead.")
    booking = Booking(**{k: v for k, v in row._mapping.items() if k != "voided"})
    if booking.of_key:
        key = project_keys.key(conn, booking.project_key_id or 0)
        raise Conflict(f"It belongs to project key {key.masked}, which was redeemed and can't be taken back.")
    void(conn, [booking], user)
    charges.keep(conn, customers=[booking.customer_id])
    changes: dict[str, audit.Change] = {product.name_en: (booking.quantity, None), "from": (booking.effective_on, None)}
    audit.record(
        conn, "take back", "booking", product.code, customer_id=booking.customer_id, changes=changes,
        **audit.actor(user),
    )  # fmt: skip


def _require(user: User | PortalUser, customer_id: int, *, what: str = "customer") -> None:
    """Of us, who may edit customers; of a customer's users, each for their own customer."""
    if isinstance(user, PortalUser):
        require_own(user, customer_id, what=what)
    else:
        require(user, Permission.EDIT_CUSTOMERS)


def _held(
    conn: Connection, customer_id: int, product_id: int, user: User | PortalUser, today: date
) -> tuple[customers.Customer, products.Product]:
    """The customer, held for a booking of the product that its state allows whoever books."""
    customer = customers.held(conn, customer_id)
    product = products.product(conn, product_id)
    if isinstance(user, PortalUser):
        customer_states.require_self_service(customer, product.kind, today=today)
    customer_states.require(customer, customer_states.Action.EDIT)
    return customer, product


def _require_change(product: products.Product, held: Holding, wanted: Holding, ends_on: date | None) -> None:
    same_split = product.kind != "ips" or (held.internal or 0, held.external or 0) == (wanted.internal, wanted.external)
    if held.quantity == wanted.quantity and same_split and ends_on is None:
        raise Invalid(f"{product.name_en} is already at {held.quantity} on that day.", field="quantity")


# ---------------------------------------------------------------------------------- rows, for this and subscriptions

Row = tuple[date, int, int | None, int | None]


def held_on(standing_bookings: Sequence[Booking], day: date) -> Holding:
    """What these bookings of one product, the latest first, say for a day."""
    for booking in standing_bookings:
        if booking.effective_on <= day:
            return Holding(booking.quantity, booking.internal, booking.external)
    return NOTHING


def all_after(conn: Connection, customer_id: int, product_id: int, day: date) -> list[Booking]:
    """All bookings after a day that were not taken back: of two on one day also the one that doesn't rule."""
    found = conn.execute(
        text(f"""SELECT b.id, b.customer_id, b.product_id, b.kind, b.effective_on, b.quantity, b.internal, b.external,
                       b.recorded_at, '' AS recorded_by, b.cancellation, {_OF_KEY}
                  FROM bookings b
                 WHERE b.customer_id = :customer AND b.product_id = :product AND b.effective_on > :day
                   AND b.voids IS NULL
                   AND NOT EXISTS (SELECT FROM bookings v WHERE v.voids = b.id AND v.voids IS NOT NULL)
                 ORDER BY b.id"""),
        {"customer": customer_id, "product": product_id, "day": day},
    )
    return [Booking(**row._mapping) for row in found]


def append(
    conn: Connection,
    customer_id: int,
    product: products.Product,
    rows: Sequence[Row],
    user: User | PortalUser,
    *,
    cancellation: UUID | None = None,
    project_key_id: int | None = None,
) -> None:
    """Add rows (day, quantity, internal, external) to the ledger as they are. Raises Conflict where a rule forbids."""
    with conflicts(_REFUSALS):
        conn.execute(
            insert(bookings),
            [
                {
                    "customer_id": customer_id,
                    "product_id": product.id,
                    "kind": product.kind,
                    "effective_on": day,
                    "quantity": quantity,
                    "internal": internal,
                    "external": external,
                    "cancellation": cancellation,
                    "project_key_id": project_key_id,
                    **_recorder(user),
                }
                for day, quantity, internal, external in rows
            ],
        )
        if product.kind in products.IN_ADVANCE:  # now rather than at the commit, where nobody could name the field
            conn.execute(text("SET CONSTRAINTS bookings_one_plan, bookings_beside_terms IMMEDIATE"))
            conn.execute(text("SET CONSTRAINTS bookings_one_plan, bookings_beside_terms DEFERRED"))


def void(
    conn: Connection, booked: Sequence[Booking], user: User | PortalUser, *, cancellation: UUID | None = None
) -> None:
    """Take these bookings back, each by a voiding row."""
    if not booked:
        return
    with conflicts(_REFUSALS):
        conn.execute(
            insert(bookings),
            [
                {
                    "customer_id": b.customer_id,
                    "product_id": b.product_id,
                    "kind": b.kind,
                    "effective_on": b.effective_on,
                    "voids": b.id,
                    "cancellation": cancellation,
                    **_recorder(user),
                }
                for b in booked
            ],
        )


def _recorder(user: User | PortalUser) -> dict[str, int | None]:
    who = audit.actor(user)
    return {"recorded_by": who["user_id"], "customer_user_id": who["customer_user_id"]}
