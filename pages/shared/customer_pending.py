"""What is booked for a customer and not yet effective, each with its way back (rows N4, G6, G8)."""

from collections.abc import Mapping, Sequence

import streamlit as st

from lib import bookings
from lib.auth import Permission
from lib.bookings import Booking
from lib.customer_states import Action
from lib.products import Product
from pages.shared import customer_bookings, customer_verbs, ip_distribution, ui
from pages.shared.customer_view import View


def draw(view: View, catalogue: Mapping[int, Product], standing: Sequence[Booking]) -> None:
    """The changes to come, the next one first; nothing where there are none."""
    later = [booking for booking in standing if booking.effective_on > view.today and booking.product_id in catalogue]
    if not later:
        return
    st.subheader("Booked for later", anchor=False)
    _cancelled(view, catalogue, [booking for booking in later if booking.cancellation is not None])
    for booking in reversed(later):
        if booking.cancellation is None:
            _change(view, catalogue[booking.product_id], booking, standing)


def _change(view: View, product: Product, booking: Booking, standing: Sequence[Booking]) -> None:
    by_key = "the project key ends" if not booking.quantity else "by project key"
    told = f"{product.name_en}: {customer_bookings.shown(product, booking)}"
    told += f", {by_key}" if booking.project_key_id is not None else ""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{ui.day(booking.effective_on)}** · {ui.escaped(told)}")
        st.space("stretch")
        st.caption(
            ui.escaped(f"booked by {booking.recorded_by}, {ui.day_of(booking.recorded_at, view.zone)}"), width="content"
        )
        if not view.may_edit or booking.of_key:
            return
        if product.kind == "ips" and st.button("Change", key=f"change_{booking.id}", icon=":material/edit:"):
            held = customer_bookings.held_on(standing, product.id, view.today)
            ip_distribution.open_dialog(view, product, held, pending=booking)
        if st.button("Take back", key=f"take_back_{booking.id}", icon=":material/undo:"):
            ui.confirm(
                "Take this change back?", f"{ui.escaped(told)} from {ui.day(booking.effective_on)} won't happen.",
                "Take back", bookings.take_back, booking.id, success="The change is taken back.", today=view.today,
            )  # fmt: skip


def _cancelled(view: View, catalogue: Mapping[int, Product], ends: Sequence[Booking]) -> None:
    """The ends that a cancellation of the whole subscription booked: one change, taken back as one."""
    if not ends:
        return
    names = ", ".join(catalogue[booking.product_id].name_en for booking in ends)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{ui.day(ends[0].effective_on)}** · The subscription has ended: {ui.escaped(names)}")
        st.space("stretch")
        when = ui.day_of(ends[0].recorded_at, view.zone)
        st.caption(ui.escaped(f"cancelled by {ends[0].recorded_by}, {when}"), width="content")
        if (
            Action.RESUME in view.offers
            and view.user.may(Permission.CANCEL_SUBSCRIPTIONS)
            and st.button("Take back", key="take_cancellation_back", icon=":material/undo:")
        ):
            customer_verbs.resume(view)
