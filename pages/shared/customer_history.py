"""The History tab: users over time, and every change of a quantity (row N8)."""

from collections.abc import Sequence
from datetime import date

import streamlit as st

from lib import bookings, clock, products
from lib.bookings import Booking
from lib.products import Product
from pages.shared import customer_bookings, figures, session, ui
from pages.shared.customer_view import View, not_charged

MONTHS = 24


def draw(view: View) -> None:
    """The chart of users, then the ledger as a table, the newest change first."""
    if not_charged(view, "User history"):
        return
    with session.reading() as conn:
        catalogue = {product.id: product for product in products.catalogue(conn)}
        standing = bookings.standing(conn, view.customer.id)
    users = next((product for product in catalogue.values() if product.kind == "users"), None)
    if users is not None:
        _chart(view, users, [booking for booking in standing if booking.product_id == users.id])
    st.subheader("Every change", anchor=False)
    if not standing:
        ui.empty("Nothing was ever booked.")
        return
    _table(view, catalogue, standing)


def _chart(view: View, users: Product, booked: Sequence[Booking]) -> None:
    st.subheader("Licensed users", anchor=False)
    if not booked:
        ui.empty("No users were ever booked.")
        return
    first = clock.next_month(clock.month_of(view.today), by=1 - MONTHS)
    days: list[date] = [max(first, min(booking.effective_on for booking in booked))]
    days += sorted(booking.effective_on for booking in booked if days[0] < booking.effective_on <= view.today)
    days.append(view.today)
    quantities = [customer_bookings.held_on(booked, users.id, day).quantity for day in days]
    st.plotly_chart(
        figures.steps(days, quantities, y_title=users.name_en), key="users_chart", config=figures.CONFIG,
        alt=f"Licensed users from {ui.day(days[0])} to today, now {quantities[-1]:,}",
    )  # fmt: skip


def _table(view: View, catalogue: dict[int, Product], standing: Sequence[Booking]) -> None:
    rows = []
    for position, booking in enumerate(standing):
        product = catalogue.get(booking.product_id)
        if product is None:
            continue
        before = next((b for b in standing[position + 1 :] if b.product_id == booking.product_id), None)
        rows.append(
            {
                "day": ui.day(booking.effective_on),
                "product": product.name_en,
                "before": customer_bookings.shown(product, before) if before else ui.NOTHING,
                "after": customer_bookings.shown(product, booking),
                "state": "Pending" if booking.effective_on > view.today else "In effect",
                "by": booking.recorded_by,
                "at": ui.moment(booking.recorded_at, view.zone),
            }
        )
    columns = {
        "day": ui.figure_column("From", width=95, pinned=True),
        "product": ui.text_column("Product", width=190),
        "before": ui.figure_column("Before", width=180),
        "after": ui.figure_column("After", width=180),
        "state": ui.text_column("State", width=85),
        "by": ui.text_column("Booked by", width=120),
        "at": ui.figure_column("Booked at", width=140),
    }
    ui.table(rows, columns, key="history_table", alt="Every change of a quantity, the newest first")
