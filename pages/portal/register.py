"""Registering: a company, a person, a password, the terms; a mail confirms it (row G14)."""

import time
from typing import Any

import streamlit as st

from lib import customer_fields, db, registrations, settings
from lib.customer_user_fields import SALUTATIONS
from lib.errors import Conflict
from pages.portal.shared import passwords, session
from pages.shared import forms, sign_in, ui
from pages.shared.customer_form import COUNTRIES

FORM = "register"
EMPTY = dict.fromkeys((*registrations.COMPANY, *registrations.PERSON, "password", "again"), "") | {
    "country": "DE", "language": "de", "accepted": False,
}  # fmt: skip
# Longer than any answer takes, so that the time doesn't tell who is known here either.
SECONDS = 1.2


def _save() -> None:
    forms.sent(FORM)
    typed, since = forms.typed(FORM, EMPTY), time.monotonic()
    given: dict[str, Any] = {name: typed[name] for name in ("password", "again", "accepted")}
    given["company"] = {name: typed[name] for name in registrations.COMPANY}
    given["person"] = {name: typed[name] for name in registrations.PERSON}
    with db.transaction() as conn:
        claim = registrations.claim(conn, address=session.address())

    def refuse(_: db.Connection) -> None:
        raise Conflict(f"Too many attempts. Wait {sign_in.waiting(claim.wait_seconds)}, then try again.")

    if claim.id is None:
        session.attempt_as_stranger(refuse, success="")
    elif session.attempt_as_stranger(
        registrations.register, today=session.today(), success=registrations.SENT, **given
    ):
        st.session_state["register_done"] = True
    time.sleep(max(0.0, SECONDS - (time.monotonic() - since)))


def draw_form(terms: str) -> None:
    """The company, the person, the password, the terms."""
    forms.begin(FORM, EMPTY)
    with st.form(FORM):
        st.subheader("Your company", anchor=False)
        forms.text(FORM, "name", "Company name", autocomplete="organization")
        forms.text(FORM, "street", "Street and number", autocomplete="street-address")
        left, middle, right = st.columns([1, 2, 2])
        with left:
            forms.text(FORM, "postcode", "Postcode", autocomplete="postal-code")
        with middle:
            forms.text(FORM, "city", "City", autocomplete="address-level2")
        with right:
            forms.choice(FORM, "country", "Country", COUNTRIES, COUNTRIES.__getitem__)
        names = customer_fields.LANGUAGES
        forms.choice(FORM, "language", "Language of mails and documents", names, names.__getitem__)
        st.subheader("You", anchor=False)
        left, middle, right = st.columns([1, 2, 2])
        with left:
            forms.choice(FORM, "salutation", "Salutation", SALUTATIONS, SALUTATIONS.__getitem__)
        with middle:
            forms.text(FORM, "first_name", "First name", autocomplete="given-name")
        with right:
            forms.text(FORM, "surname", "Surname", autocomplete="family-name")
        forms.text(FORM, "email", "E-mail", autocomplete="username")
        left, right = st.columns(2)
        with left:
            forms.text(FORM, "password", "Password", type="password", autocomplete="new-password")
        with right:
            forms.text(FORM, "again", "Password again", type="password", autocomplete="new-password")
        st.caption(passwords.RULE)
        with st.expander("Terms"):
            st.text(terms)
        st.checkbox("I accept the terms", key=f"{FORM}_accepted")
        forms.error(FORM, "accepted")
        st.form_submit_button("Register", key="register_save", type="primary", on_click=_save)


with session.reading() as connection:
    company = settings.company(connection)
_, middle_column, _ = st.columns([1, 3, 1])
with middle_column:
    st.title("Register", anchor=False)
    if not company.self_registration:
        ui.empty("Nobody can register here at the moment. Please ask us for an account.", icon=":material/block:")
    elif st.session_state.get("register_done"):
        st.success(registrations.SENT, icon=":material/mail:")
    else:
        st.text(f"A free trial at {company.name}, for 28 days. It ends by itself.")
        draw_form(company.registration_terms)
    st.page_link("company.py", label="Back to sign-in", icon=":material/login:")
