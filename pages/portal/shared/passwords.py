"""The form that a mailed link opens: a password, twice; then the way to sign in."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from lib import customer_users, links
from lib.errors import BillingError
from pages.portal.shared import session
from pages.shared import forms, ui

RULE = "At least 10 characters; not your e-mail address, not a word that everybody tries."


def draw(title: str, purpose: str, action: Callable[..., Any], *, button: str, done: str) -> None:
    """The page for a link of this purpose; `action(conn, link, password=…, again=…)` uses it up."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title(title, anchor=False)
        link = st.query_params.get("link", "")
        if st.session_state.get(f"{purpose}_done") == link:
            st.success(done, icon=":material/check_circle:")
            st.page_link("company.py", label="Sign in", icon=":material/login:")
            return
        try:
            with session.reading() as conn:
                person = customer_users.customer_user(conn, links.require_working(conn, link, purpose))
        except BillingError as refusal:
            st.warning(ui.escaped(str(refusal)), icon=":material/link_off:")
            st.page_link("company.py", label="Sign in", icon=":material/login:")
            return
        st.text(f"For {person.name}, who signs in as {person.email}.")
        _form(purpose, action, link=link, button=button)


def _form(purpose: str, action: Callable[..., Any], *, link: str, button: str) -> None:
    with st.form(purpose):
        for name, label in (("password", "New password"), ("again", "New password again")):
            forms.text(purpose, name, label, type="password", autocomplete="new-password")
        st.caption(RULE)
        st.form_submit_button(
            button, key=f"{purpose}_save", type="primary", on_click=_save, args=(purpose, action, link)
        )


def _save(purpose: str, action: Callable[..., Any], link: str) -> None:
    forms.sent(purpose)
    typed = forms.typed(purpose, ("password", "again"))
    if session.attempt_as_stranger(action, link, success="Your password is set.", **typed):
        st.session_state[f"{purpose}_done"] = link
