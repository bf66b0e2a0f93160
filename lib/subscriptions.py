"""Ending what a customer has booked: all of it with the booking month, or one plan or module at once (rows G8, S6).

Both are bookings of quantity 0. A cancellation stays pending until the month has ended and can be taken back
until then, which restores what was booked for later, too; from then on a new booking starts anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from lib import audit, booking_rules, bookings, charges, customer_states, customers, periods, products, project_keys
from lib.auth import Permission, User, require
from lib.bookings import Booking
from lib.clock import month_of, next_month
from lib.customer_states import Action, Booked
from lib.errors import Conflict, Invalid
from lib.requests import once

# What is withdrawn: options, users and IPs are ended or lowered instead (`bookings.book`).
KINDS = ("plan", "module")


def booked(conn: Connection, customer_id: int, *, today: date) -> Booked:
    """What of a customer's bookings decides about what can be ended (`customer_states.offers`)."""
    key_until = project_keys.until(conn, [customer_id], today=today).get(customer_id)
    standing = bookings.standing(conn, customer_id)
    return _booked(standing, _first_free(periods.open_month(conn), today), today, key_until)


@dataclass(frozen=True)
class Subscription:
    """A quantity of a product that a customer has, had or will have, from a day to its last (None: no end).

    The customer's own end date ends all of them. `state` is planned, in_force or over; `key` is the ending of the
    project key that brings it, if any.
    """

    product: str
    kind: str
    quantity: int
    from_day: date
    last_day: date | None
    state: str
    key: str | None


def all_of(conn: Connection, customer_id: int, *, today: date) -> list[Subscription]:
    """All subscriptions of a customer (row G3): what runs, what is to come, and what is over; the latest first.

    What is free, tried or paid in advance is one, too.
    """
    found = conn.execute(
        text("""SELECT product, kind, quantity, from_day, last_day, key,
                       CASE WHEN from_day > :today THEN 'planned'
                            WHEN last_day < :today THEN 'over' ELSE 'in_force' END AS state
                  FROM (SELECT p.name_en AS product, p.kind, p.position, b.quantity, b.from_day,
                               least(b.until_day - 1, c.ends_on) AS last_day, k.ending AS key
                          FROM booked_spans b JOIN products p ON p.id = b.product_id
                          LEFT JOIN project_keys k ON k.id = b.project_key_id
                          JOIN customers c ON c.id = b.customer_id WHERE b.customer_id = :id
                         UNION ALL
                        SELECT p.name_en || CASE t.cycle WHEN 'free' THEN ', free' WHEN 'trial' THEN ', test time'
                                                 ELSE ', prepaid' END, p.kind, p.position, 1, t.from_day,
                               least(t.until_day - 1, c.ends_on), NULL
                          FROM terms t JOIN products p ON p.id = t.product_id JOIN customers c ON c.id = t.customer_id
                         WHERE t.customer_id = :id AND t.state = 'active') stretch
                 WHERE coalesce(last_day >= from_day, true)
                 ORDER BY coalesce(last_day < :today, false), from_day DESC, position, product"""),
        {"id": customer_id, "today": today},
    )
    return [Subscription(**row._mapping) for row in found]


def cancel(conn: Connection, customer_id: int, *, today: date, user: User) -> date:
    """Let everything that is booked end with the current booking month; returns the last day (row G8).

    Changes booked for later are taken back. Raises Conflict where nothing runs on after this month.
    """
    require(user, Permission.CANCEL_SUBSCRIPTIONS)
    first_free = _first_free(periods.hold_open_month(conn), today)
    customer = customers.held(conn, customer_id)
    standing = bookings.standing(conn, customer_id)
    key_until = project_keys.until(conn, [customer_id], today=today).get(customer_id)
    customer_states.require(customer, Action.CANCEL, _booked(standing, first_free, today, key_until))
    together = uuid4()
    changes: dict[str, audit.Change] = {"ends_on": (None, first_free - timedelta(days=1))}
    for product_id, of_product in _by_product(standing).items():
        product = products.product(conn, product_id)
        on = bookings.held_on(of_product, first_free)
        later = bookings.all_after(conn, customer_id, product_id, first_free)
        if not on.quantity and not any(booking.quantity for booking in later):
            continue
        bookings.void(conn, later, user, cancellation=together)
        rows = [(first_free, 0, *booking_rules.split_of_none(product))]
        bookings.append(conn, customer_id, product, rows, user, cancellation=together)
        changes[product.name_en] = (on.quantity, 0)
    charges.keep(conn, customers=[customer_id])
    audit.record(
        conn, "cancel subscription", "customer", customer_id, user_id=user.id, customer_id=customer_id, changes=changes
    )
    return first_free - timedelta(days=1)


def take_back(conn: Connection, customer_id: int, *, today: date, user: User) -> None:
    """Take a cancellation back that hasn't ended anything yet: all goes on as it was booked before (row G8)."""
    require(user, Permission.CANCEL_SUBSCRIPTIONS)
    first_free = _first_free(periods.hold_open_month(conn), today)
    customer = customers.held(conn, customer_id)
    standing = bookings.standing(conn, customer_id)
    customer_states.require(customer, Action.RESUME, _booked(standing, first_free, today))
    pending = _pending(standing, today)
    bookings.void(conn, pending, user)
    changes: dict[str, audit.Change] = {"ends_on": (pending[0].effective_on - timedelta(days=1), None)}
    for ended in pending:
        product = products.product(conn, ended.product_id)
        assert ended.cancellation is not None
        again = _taken_back_by(conn, ended.cancellation, customer_id, product.id)
        if again:
            bookings.append(conn, customer_id, product, again, user)
        before = bookings.held_on(bookings.standing(conn, customer_id, product_id=product.id), ended.effective_on)
        changes[product.name_en] = (0, before.quantity)
    charges.keep(conn, customers=[customer_id])
    audit.record(
        conn, "take cancellation back", "customer", customer_id, user_id=user.id, customer_id=customer_id,
        changes=changes,
    )  # fmt: skip


def withdraw(
    conn: Connection,
    customer_id: int,
    product_id: int | None,
    *,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> None:
    """End a plan or module at once: today isn't charged any more (row S6). What was charged is not reimbursed.

    Changes of it that are booked for later are taken back. Raises Invalid at `product`.
    """
    require(user, Permission.WITHDRAW_PRODUCTS)
    once(conn, request_key)
    first_open = periods.hold_open_month(conn)
    customer = customers.held(conn, customer_id)
    standing = bookings.standing(conn, customer_id)
    state = _booked(standing, _first_free(first_open, today), today)
    customer_states.require(customer, Action.WITHDRAW, state)
    if product_id is None:
        raise Invalid("Choose what is withdrawn.", field="product")
    product = products.product(conn, product_id)
    if product.kind not in KINDS:
        raise Invalid(f"{product.name_en} is no plan and no module. Book another quantity instead.", field="product")
    if product_id not in state.withdrawable:
        raise Conflict(f"{product.name_en} is not booked today, so there is nothing to withdraw.")
    periods.require_open(first_open, today, field="product")
    bookings.void(conn, bookings.all_after(conn, customer_id, product_id, today), user)
    bookings.append(conn, customer_id, product, [(today, 0, *booking_rules.split_of_none(product))], user)
    charges.keep(conn, customers=[customer_id])
    changes: dict[str, audit.Change] = {product.name_en: (1, 0), "from": (None, today)}
    audit.record(conn, "withdraw", "booking", product.code, user_id=user.id, customer_id=customer_id, changes=changes)


def _first_free(first_open: date | None, today: date) -> date:
    """The first day after the current booking month, or after the first one that billing knows."""
    return next_month(month_of(max(today, first_open or today)))


def _booked(standing: Sequence[Booking], first_free: date, today: date, key_until: date | None = None) -> Booked:
    products_of = _by_product(standing)
    runs_on = any(
        bookings.held_on(of_product, first_free).quantity
        or any(booking.effective_on > first_free and booking.quantity for booking in of_product)
        for of_product in products_of.values()
    )
    withdrawable = tuple(
        product_id
        for product_id, of_product in products_of.items()
        if of_product[0].kind in KINDS and bookings.held_on(of_product, today).quantity
    )
    pending = _pending(standing, today)
    return Booked(
        runs_on,
        withdrawable,
        cancelled_until=pending[0].effective_on - timedelta(days=1) if pending else None,
        key_until=None if key_until is None else key_until - timedelta(days=1),
        key_runs_on=key_until is not None and key_until > first_free,
    )


def _by_product(standing: Sequence[Booking]) -> dict[int, list[Booking]]:
    """The bookings of each product, the latest effective day first."""
    found: dict[int, list[Booking]] = {}
    for booking in standing:
        found.setdefault(booking.product_id, []).append(booking)
    return found


def _pending(standing: Sequence[Booking], today: date) -> list[Booking]:
    """The ends that a cancellation booked and that lie ahead."""
    return [booking for booking in standing if booking.cancellation is not None and booking.effective_on > today]


def _taken_back_by(conn: Connection, cancellation: UUID, customer_id: int, product_id: int) -> list[bookings.Row]:
    """What was booked for later, and a cancellation took back."""
    found = conn.execute(
        text("""SELECT b.effective_on, b.quantity, b.internal, b.external
                  FROM bookings v JOIN bookings b ON b.id = v.voids
                 WHERE v.customer_id = :customer AND v.product_id = :product AND v.cancellation = :cancellation
                 ORDER BY b.id"""),
        {"customer": customer_id, "product": product_id, "cancellation": cancellation},
    )
    return [(row.effective_on, row.quantity, row.internal, row.external) for row in found]
