"""What the link of a registration opens: with the password that was chosen it confirms (row G14)."""

import streamlit as st

from lib import links, registrations
from lib.errors import BillingError
from pages.portal.shared import session
from pages.shared import forms, ui

FORM = "registration"


def _save(link: str) -> None:
    forms.sent(FORM)
    password = forms.typed(FORM, ("password",))["password"]
    done = "You have registered."
    if session.attempt_as_stranger(registrations.confirm, link, password=password, success=done):
        st.session_state["registration_done"] = link


def draw(link: str) -> None:
    """The form, or why the link doesn't work, or the way to sign in."""
    st.title("Confirm your registration", anchor=False)
    if st.session_state.get("registration_done") == link:
        st.success("Welcome. Sign in with your e-mail address and your password.", icon=":material/check_circle:")
    else:
        try:
            with session.reading() as conn:
                links.require_working(conn, link, FORM)
        except BillingError as refusal:
            st.warning(ui.escaped(str(refusal)), icon=":material/link_off:")
        else:
            with st.form(FORM):
                forms.text(
                    FORM, "password", "The password that you chose", type="password", autocomplete="current-password"
                )
                st.form_submit_button(
                    "Confirm", key="registration_confirm", type="primary", on_click=_save, args=(link,)
                )
            return
    st.page_link("company.py", label="Sign in", icon=":material/login:")


_, middle, _ = st.columns([1, 2, 1])
with middle:
    draw(st.query_params.get("link", ""))
