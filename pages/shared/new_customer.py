"""The dialog for a new customer, whose contact may be invited at once (rows N2, N3)."""

from datetime import date
from typing import Any
from uuid import UUID

import streamlit as st

from lib import customers, invites, mail_server
from lib.auth import User
from lib.db import Connection
from pages.shared import customer_form, forms, session
from pages.shared.customer_form import PHASES

NEW = "new_customer"
# The customer to go to in the run that follows, and which one a form has made.
_GO_TO, _MADE = "customer_to_open", "customer_made"


def _create(request_key: UUID) -> None:
    made = st.session_state.get(_MADE)
    if made is not None and made[0] == request_key:
        # The second click of a double click: it comes after the page has changed, and brings us back here.
        st.session_state[_GO_TO] = made[1]
        return
    asked_of_all = ("name", "service_mode", "contact_name", "contact_email", "country", "language")
    details = forms.typed(NEW, (*asked_of_all, *customer_form.LICENCE))
    asked = forms.typed(NEW, ("phase", "ends_on", "invite"))
    saved = forms.save(
        NEW,
        _created_and_invited if asked["invite"] else customers.create,
        details=details,
        billed=asked["phase"] == "billed",
        ends_on=asked["ends_on"],
        today=session.today(),
        request_key=request_key,
        success=f"{details['name'].strip()} is added.{_told_of_invite() if asked['invite'] else ''}",
    )
    if saved:
        st.session_state[_GO_TO] = session.result()
        st.session_state[_MADE] = (request_key, st.session_state[_GO_TO])


def _created_and_invited(conn: Connection, *, user: User, **given: Any) -> int:
    """Both or nothing: a customer whose contact can't be invited is not created."""
    created = customers.create(conn, user=user, **given)
    invites.invite_contact(conn, created, user=user)
    return created


def _told_of_invite() -> str:
    with session.reading() as conn:
        return " The invite is on its way." if mail_server.ready(conn) else " The invite waits for a mail server."


def open_created() -> None:
    """Go on to the customer that was just added."""
    if _GO_TO in st.session_state:
        session.open_made("customer.py", st.session_state.pop(_GO_TO))


def open_new(today: date) -> None:
    """Fill the form of a new customer anew and open it."""
    empty = {"name": "", "contact_name": "", "contact_email": "", "max_users": "", "users_beyond_max": False}
    empty |= {"invite": False, "service_mode": "managed"}
    start = {"phase": "test", "ends_on": today + customers.FOUR_WEEKS, "country": "DE", "language": "de"}
    forms.fill(NEW, empty | start)
    with session.reading() as conn:
        ready = mail_server.ready(conn)
    _dialog(ready=ready)


@st.dialog("New customer", width="medium", icon=":material/add:")
def _dialog(*, ready: bool) -> None:
    """The form for a new customer; opens its page once it is saved."""
    open_created()
    session.close_or_explain()
    with st.form(NEW, border=False):
        forms.text(NEW, "name", "Company name")
        left, right = st.columns(2)
        with left:
            forms.choice(NEW, "phase", "Kind of customer", PHASES, _explained)
        with right:
            customer_form.choice(NEW, "service_mode")
        customer_form.contact(NEW)
        customer_form.invitation(NEW, ready=ready)
        left, middle, right = st.columns(3)
        with left:
            st.date_input("End date", value=None, key=f"{NEW}_ends_on", format=customer_form.DAY)
            forms.error(NEW, "ends_on")
        with middle:
            customer_form.choice(NEW, "country")
        with right:
            customer_form.choice(NEW, "language")
        st.caption(
            "The end date is the last day of a test, or the last charged day: a billed customer ends then, too, unless "
            "it is emptied."
        )
        customer_form.licence(NEW)
        st.form_submit_button(
            "Create customer", key="new_customer_go", type="primary", on_click=_create, args=(forms.request_key(NEW),)
        )


def _explained(phase: str) -> str:
    charged = {"billed": "charged from the current month", "test": "no charges at all"}
    return f"{PHASES[phase]}: {charged[phase]}"
