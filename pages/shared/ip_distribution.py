"""IPs changed by us, for a customer: the dialog of `ip_dialog.py` on a customer's page (row G6)."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from lib import bookings, effects, project_keys
from lib.bookings import Booking, Holding
from lib.effects import Effect
from lib.products import Product
from lib.quotes import Quote
from pages.shared import customer_bookings, ip_dialog, session, ui
from pages.shared.customer_view import View

WORDS = ip_dialog.Words(
    unchanged="This is what the customer has today.",
    listed="Until then it is listed under *Booked for later* and can be changed or taken back.",
    not_charged="A test customer has no charges yet.",
    all_charges="All charges of the customer",
    button="Book IPs",
)


def open_dialog(view: View, product: Product, held: Holding, *, pending: Booking | None = None) -> None:
    """Open it at what the customer has today, or at a pending change that is to become another one."""
    ip_dialog.open_dialog(_desk(view, product, held), start=pending, instantly=pending is None)


def _desk(view: View, product: Product, held: Holding) -> ip_dialog.Desk:
    def later() -> list[Booking]:
        with session.reading() as conn:
            found = bookings.pending(conn, view.customer.id, today=view.today, product_id=product.id)
        # Start and end of a project key stay whatever is answered.
        return [booking for booking in found if not booking.of_key]

    def quotes(quantities: Sequence[int], month: date) -> list[Quote] | None:
        with session.reading() as conn:
            return effects.whole_months(conn, view.customer.id, product.id, quantities=quantities, month=month)

    def of_change(**change: Any) -> list[Effect]:
        with session.reading() as conn:
            return effects.of_booking(conn, view.customer.id, product.id, today=view.today, user=view.user, **change)

    def book(day: date, read: Callable[[], dict[str, Any]], key: UUID) -> None:
        customer_bookings.book(view, product, key, day, read)

    return ip_dialog.Desk(
        customer=f"{view.customer.number} {view.customer.name}",
        product=product.name_en,
        held=held,
        later=later,
        today=view.today,
        currency=view.currency,
        billed=view.customer.billed,
        words=WORDS,
        quotes=quotes,
        effects=of_change,
        confirm=lambda: None,
        book=book,
        fixed=_fixed(view),
    )


def _fixed(view: View) -> str:
    """Why the total stays, while a project key runs (row G9)."""
    if view.booked.key_until is None:
        return ""
    with session.reading() as conn:
        key = project_keys.in_force(conn, view.customer.id, today=view.today)
    if key is None:
        return ""
    return (
        f"Project key {key.masked} brings {key.ips:,} IPs until {ui.day(key.last_day)}. Until then only their "
        "distribution changes."
    )
