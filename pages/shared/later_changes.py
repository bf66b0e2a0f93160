"""What a dialog that books says of changes that are booked for later days, and what it asks about them (row G6)."""

from collections.abc import Sequence
from datetime import date

import streamlit as st

from lib.bookings import Booking, Holding
from pages.shared import session, ui

KEEP = "book_keep"
STAY, TAKEN_BACK = "They stay", "They are taken back"


def ask(later: Sequence[Booking], day: date, *, counted: bool = True) -> None:
    """Ask whether those of `later` (the next one first) that are after `day` stay; nothing where there are none."""
    after = [booking for booking in later if booking.effective_on > day]
    if not after:
        st.session_state.pop(KEEP, None)
        return
    told = "; ".join(f"{ui.day(one.effective_on)}: {shown(one, counted=counted)}" for one in after)
    st.markdown(f"Later changes are booked: {told}.")
    st.radio("Later changes", [STAY, TAKEN_BACK], index=None, key=KEEP, horizontal=True)
    session.field_error("keep_pending")


def kept() -> bool | None:
    """Whether later changes stay; None where nobody answered that (yet)."""
    answer = st.session_state.get(KEEP)
    return None if answer is None else answer == STAY


def shown(held: Booking | Holding, *, counted: bool) -> str:
    """A quantity in words; of IPs with their distribution."""
    if held.internal is not None:
        return f"{held.quantity:,} ({held.internal:,} internal, {held.external or 0:,} external)"
    if counted:
        return f"{held.quantity:,}"
    return "on" if held.quantity else "off"
