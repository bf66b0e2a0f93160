"""A forgotten password: asks for the address, and says the same to everybody, after the same time."""

import time

import streamlit as st

from lib import db, portal_passwords
from lib.errors import Conflict
from pages.portal.shared import session
from pages.shared import forms, sign_in

FORM = "forgotten"
# Longer than any answer takes, so that the time tells nothing either.
SECONDS = 0.7


def _ask() -> None:
    forms.sent(FORM)
    email, since = forms.typed(FORM, ("email",))["email"], time.monotonic()

    def ask(conn: db.Connection) -> None:
        portal_passwords.forgotten(conn, email=email)

    with db.transaction() as conn:
        claim = portal_passwords.claim(conn, address=session.address())

    def refuse(_: db.Connection) -> None:
        raise Conflict(f"Too many attempts. Wait {sign_in.waiting(claim.wait_seconds)}, then try again.")

    session.attempt_as_stranger(refuse if claim.id is None else ask, success=portal_passwords.SENT)
    time.sleep(max(0.0, SECONDS - (time.monotonic() - since)))
    st.session_state["forgotten_asked"] = claim.id is not None


_, middle, _ = st.columns([1, 2, 1])
with middle:
    st.title("Forgotten password", anchor=False)
    if st.session_state.pop("forgotten_asked", False):
        st.success(portal_passwords.SENT, icon=":material/mail:")
    else:
        st.text("Enter the e-mail address that you sign in with. A link to a new password is sent to it.")
        with st.form(FORM):
            forms.text(FORM, "email", "E-mail", autocomplete="username")
            st.form_submit_button("Send link", key="forgotten_send", type="primary", on_click=_ask)
    st.page_link("company.py", label="Back to sign-in", icon=":material/login:")
