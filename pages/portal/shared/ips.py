"""The own company's IPs on the subscription's page: what it has, what is booked for later, and the change (row G2)."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import streamlit as st

from lib import money, self_service
from lib.auth import PortalUser
from lib.bookings import Booking, Holding
from lib.db import Connection
from lib.effects import Effect
from lib.quotes import Quote
from lib.self_service import Ips
from pages.portal.shared import session
from pages.shared import ip_dialog, later_changes, ui
from pages.shared import session as outcomes

ACCEPTED = "ips_accepted"
WORDS = ip_dialog.Words(
    unchanged="This is what you have today.",
    listed="Until then it is listed under *Booked for later* and can be changed or taken back.",
    not_charged="A trial costs nothing.",
    all_charges="All your charges",
    button="Order",
)


def draw(user: PortalUser, ips: Ips, *, today: date, currency: str) -> None:
    """Distribution and price, then the changes to come."""
    with st.container(border=True):
        _heading(user, ips, today, currency)
        held = ips.held
        with st.grid(4, gap="small", min_column_width=130):
            st.metric("IPs", ui.number(held.quantity), border=True)
            st.metric("Internal", ui.number(held.internal or 0), border=True)
            st.metric("External", ui.number(held.external or 0), border=True)
            month = ips.key_price if ips.quote is None else ips.quote.amount
            if month is not None:
                st.metric(f"A month, net ({currency})", ui.money(month), border=True)
        if ips.by_key:
            st.caption(ui.escaped(ips.by_key))
        elif ips.quote is None:
            st.warning(f"There is no price in {ui.month(today)} yet.", icon=":material/sell:")
        elif ips.quote.lines:
            average = (
                ""
                if ips.quote.average is None
                else f" {money.shown(ips.quote.average, decimals=4)} {currency} per IP on average."
            )
            st.caption(("Your own price." if ips.individual else "The list price.") + average)
            ip_dialog.draw_ranges(ips.quote, key="own_ranges")
        if ips.refusal:
            st.caption(f":material/info: {ui.escaped(ips.refusal)}")
    _pending(user, ips, today, currency)


def _heading(user: PortalUser, ips: Ips, today: date, currency: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        number = f" ({ips.article})" if ips.article else ""
        st.subheader(ui.escaped(f"{ips.name}{number}"), anchor=False)
        st.space("stretch")
        if ips.refusal:
            return
        ends = bool(ips.held.quantity) and not any(one.quantity == 0 for one in ips.pending)
        if ends and st.button("Cancel at month's end", key="ips_cancel", icon=":material/event_busy:"):
            open_dialog(user, ips, today, currency, start=Holding(0, 0, 0))
        label = "Change IPs" if ips.held.quantity else "Order IPs"
        if st.button(label, key="ips_change", type="primary", icon=":material/lan:"):
            open_dialog(user, ips, today, currency)


def _pending(user: PortalUser, ips: Ips, today: date, currency: str) -> None:
    if not ips.pending:
        return
    st.subheader("Booked for later", anchor=False)
    for booking in ips.pending:
        ended = "the project key ends" if booking.of_key else "cancelled"
        told = later_changes.shown(booking, counted=True) if booking.quantity else ended
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{ui.day(booking.effective_on)}** · {ui.escaped(f'{ips.name}: {told}')}")
            st.space("stretch")
            if ips.refusal:
                continue
            if st.button("Change", key=f"change_{booking.id}", icon=":material/edit:"):
                open_dialog(user, ips, today, currency, start=booking)
            if booking.cancellation is None and st.button(
                "Take back", key=f"take_back_{booking.id}", icon=":material/undo:"
            ):
                _ask_take_back(booking, f"{told} from {ui.day(booking.effective_on)}")


@st.dialog("Take this change back?")
def _ask_take_back(booking: Booking, told: str) -> None:
    outcomes.close_or_explain()
    st.markdown(f"{ui.escaped(told)} won't happen.")
    st.button("Take back", key="confirm_go", type="primary", on_click=_take_back, args=(booking.id,))


def _take_back(booking_id: int) -> None:
    session.attempt(
        self_service.take_back, booking_id, today=session.today(), success="The change is taken back."
    )  # fmt: skip


# ---------------------------------------------------------------------------------- the dialog


def open_dialog(
    user: PortalUser, ips: Ips, today: date, currency: str, *, start: Booking | Holding | None = None
) -> None:
    """Open it at what the company has, at a pending change, or at none to cancel."""
    st.session_state[ACCEPTED] = False
    ip_dialog.open_dialog(_desk(user, ips, today, currency), start=start, instantly=start is None)


def _desk(user: PortalUser, ips: Ips, today: date, currency: str) -> ip_dialog.Desk:
    def quotes(quantities: Sequence[int], month: date) -> list[Quote] | None:
        with session.reading() as conn:
            return self_service.quotes(conn, quantities=quantities, month=month, user=user)

    def effects(**change: Any) -> list[Effect]:
        with session.reading() as conn:
            return self_service.effect(conn, today=today, user=user, **change)

    def book(day: date, read: Callable[[], dict[str, Any]], key: UUID) -> None:
        def order(conn: Connection, **given: Any) -> None:
            self_service.change(conn, **read(), **given)

        session.attempt(
            order, effective_on=day, keep_pending=later_changes.kept(), accepted=bool(st.session_state.get(ACCEPTED)),
            seen=ips.seen, today=session.today(), request_key=key, success=f"{ips.name}: the change is booked.",
        )  # fmt: skip

    return ip_dialog.Desk(
        customer="",
        product=ips.name,
        held=ips.held,
        later=lambda: [booking for booking in ips.pending if not booking.of_key],
        today=today,
        currency=currency,
        billed=ips.billed,
        words=WORDS,
        quotes=quotes,
        effects=effects,
        confirm=lambda: _confirm(ips.terms),
        book=book,
    )


def _confirm(terms: str) -> None:
    """The tick without which nothing is ordered, below the terms that it accepts."""
    if terms:
        with st.expander("Terms"):
            st.text(terms)
    label = "I order this at the price shown" + (", and accept the terms" if terms else "")
    st.checkbox(label, key=ACCEPTED)
    outcomes.field_error("accepted")
