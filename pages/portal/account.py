"""One's own account: the password."""

import streamlit as st

from lib import portal_passwords
from pages.portal.shared import passwords, session
from pages.shared import forms

FORM = "own_password"
FIELDS = {"current": "Current password", "password": "New password", "again": "New password again"}

user = session.require_user()


def _save() -> None:
    forms.sent(FORM)
    session.attempt(
        portal_passwords.change_own, **forms.typed(FORM, FIELDS), keep=session.token(),
        success="Your password is changed.",
    )  # fmt: skip


st.title("My account", anchor=False)
st.text(f"{user.name}, signed in as {user.email} for {user.customer_name}")
st.subheader("Password", anchor=False)
with st.form(FORM, width=420, clear_on_submit=True):
    for name, label in FIELDS.items():
        kind = "current-password" if name == "current" else "new-password"
        forms.text(FORM, name, label, type="password", autocomplete=kind)
    st.caption(passwords.RULE)
    st.form_submit_button("Change password", key="own_password_save", type="primary", on_click=_save)
