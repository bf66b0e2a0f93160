"""A customer's service plan: the one product of kind plan that is booked for it (rows D2, S4)."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import Connection

from lib import bookings, customers, fields, periods, products
from lib.auth import Permission, User, require
from lib.bookings import Booking
from lib.errors import Conflict, Invalid
from lib.requests import once


def plan_on(standing: Sequence[Booking], day: date) -> Booking | None:
    """The booking of the plan that holds on a day; `standing` as `bookings.standing` gives it."""
    latest: dict[int, Booking] = {}
    for booking in standing:
        if booking.kind == "plan" and booking.effective_on <= day:
            latest.setdefault(booking.product_id, booking)
    return next((booking for booking in latest.values() if booking.quantity), None)


def choose(
    conn: Connection,
    customer_id: int,
    product_id: int | None,
    *,
    effective_on: date | None,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> None:
    """Book a plan of the catalogue from a day on; the one that holds on that day ends with the day before.

    A planned end of the plan that holds is taken back. Raises Invalid at the field, Conflict where
    another change of plan is already booked for later.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    periods.hold_open_month(conn)
    customers.held_for_change(conn, customer_id)
    if product_id is None or (plan := products.product(conn, product_id)).kind != "plan":
        raise Invalid("Choose a plan.", field="product")
    first = fields.day(effective_on, field="effective_on", label="The first day", required=True)
    assert first is not None
    standing = [booking for booking in bookings.standing(conn, customer_id) if booking.kind == "plan"]
    held = plan_on(standing, first)
    if held is not None and held.product_id == product_id:
        raise Invalid(f"{plan.name_en} is the plan on {first:%d %b %Y} already.", field="product")
    later = [b for b in standing if b.effective_on > first and (held is None or b.product_id != held.product_id)]
    if later and later[-1].effective_on <= today:
        raise Invalid(
            f"The plan changed on {later[-1].effective_on:%d %b %Y}. Choose that day or a later one.",
            field="effective_on",
        )
    if later:
        raise Conflict(
            f"Another change of plan is booked for {later[-1].effective_on:%d %b %Y}. "
            "Take it back first, in the Overview under “Booked for later”."
        )
    if held is not None:
        bookings.book(
            conn, customer_id, held.product_id, effective_on=first, quantity=0, keep_pending=False, today=today,
            user=user,
        )  # fmt: skip
    bookings.book(conn, customer_id, product_id, effective_on=first, quantity=1, today=today, user=user)
