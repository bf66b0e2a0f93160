"""The head of a customer's page: who it is, in which state, and what changes that (rows N3, N6)."""

from datetime import date
from typing import Any

import streamlit as st

from lib import clock, customers, lifecycles
from lib.customer_states import Action
from lib.customer_verbs import convert_to_billed, set_end_date
from pages.shared import customer_deletion, customer_form, customer_verbs, session, ui
from pages.shared.customer_view import View

END = "customer_end"


def draw(view: View) -> None:
    """Name, states, buttons, and what is out of the ordinary."""
    customer = view.customer
    st.page_link("customers.py", label="Customers", icon=":material/arrow_back:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(ui.escaped(customer.name), anchor=False)
        st.space("stretch")
        customer_deletion.take_back_button(view)
        if view.may_edit:
            _buttons(view)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        ui.badge(customer.phase)
        ui.badge(view.status)
        facts = [customer.number, customer.contact_email]
        if customer.billed_from:
            facts.append(f"billed from {ui.day(customer.billed_from)}")
        if customer.ends_on:
            facts.append(f"{'ended' if customer.ends_on < view.today else 'ends'} {ui.day(customer.ends_on)}")
        # Not markdown: it would make a link of the address.
        st.text(" · ".join(fact for fact in facts if fact), width="content")
    _notices(view)


def _notices(view: View) -> None:
    customer = view.customer
    if customer.marked_for_deletion_at is not None:
        customer_deletion.notice(view)
        if customer.erased_at is not None:
            return
    if customer.locked_at is not None:
        st.warning(
            f"Locked on {ui.moment(customer.locked_at, view.zone)}: its users can't sign in. What is booked runs on.",
            icon=":material/lock:",
        )
    if not customer.active:
        st.warning(_deactivated(view), icon=":material/pause_circle:")
    if view.booked.cancelled_until is not None:
        st.info(
            f"The subscription is cancelled: it ends on {ui.day(view.booked.cancelled_until)}. Until then that can be "
            "taken back by *Actions*.",
            icon=":material/event_busy:",
        )


def _deactivated(view: View) -> str:
    """Since when, and what of its last month is charged all the same, in the words of the dialog that did it."""
    with session.reading() as conn:
        first = lifecycles.deactivated_from(conn, view.customer.id) or view.today
    told = f"Deactivated from {ui.day(first)}: "
    if view.customer.billed:
        told += "days from then on are not charged until it is activated."
        if first.day > 1:
            told += (
                f" What is measured by the month and not by days stays charged in {ui.month(first)}, if a day before "
                "counts."
            )
    else:
        told += "the test stops until it is activated."
    reason = view.customer.deactivation_reason
    return f"{told} Reason: {ui.escaped(reason)}" if reason else told


def _buttons(view: View) -> None:
    if Action.SET_END in view.offers and st.button("Change end date", key="change_end", icon=":material/event:"):
        _open_end_date(view, converting=False)
    customer_verbs.menu(view)
    if Action.CONVERT in view.offers and st.button(
        "Convert to billed", key="convert", type="primary", icon=":material/credit_score:"
    ):
        _open_end_date(view, converting=True)


# ---------------------------------------------------------------------------------- end date, conversion


def _open_end_date(view: View, *, converting: bool) -> None:
    st.session_state[END] = view.today + customers.FOUR_WEEKS if converting else view.customer.ends_on
    (_convert if converting else _end_date)(view)


def _save(action: Any, customer_id: int, today: date, success: str) -> None:
    session.attempt(action, customer_id, ends_on=st.session_state[END], today=today, success=success)


def _field(label: str) -> None:
    st.date_input(label, value=None, key=END, format=customer_form.DAY)
    session.field_error("ends_on")


@st.dialog("Convert to billed", icon=":material/credit_score:")
def _convert(view: View) -> None:
    session.close_or_explain()
    month = clock.month_of(view.today)
    st.markdown(
        f"From today, {ui.day(view.today)}, **{ui.escaped(view.customer.name)}** is charged. What is measured by days "
        f"counts from today; users, and what is charged for the whole month, count for all of {ui.month(month)}. "
        "A billed customer never becomes a test customer again."
    )
    _field("Last charged day (empty: none)")
    st.button(
        "Convert to billed", key="convert_go", type="primary", on_click=_save,
        args=(convert_to_billed, view.customer.id, view.today, f"{view.customer.name} is billed from today."),
    )  # fmt: skip


@st.dialog("Change end date", icon=":material/event:")
def _end_date(view: View) -> None:
    session.close_or_explain()
    customer = view.customer
    if customer.billed:
        st.markdown("The end date is the last charged day. Later days cost nothing; empty means no end.")
    else:
        st.markdown("The end date is the last day of the test.")
    if customer.billed and customer.ends_on and customer.ends_on < view.today:
        st.markdown(
            "This customer has ended. With a later date it is charged again from today, not for the days between."
        )
    _field("End date")
    st.button(
        "Save end date", key="end_go", type="primary", on_click=_save,
        args=(set_end_date, customer.id, view.today, "The end date is saved."),
    )  # fmt: skip
