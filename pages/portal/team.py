"""The own company's users: a team with equal rights, who invite and deactivate each other (row G5)."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from lib import customer_users, invites, portal
from lib.customer_user_fields import SALUTATIONS
from lib.customer_users import CustomerUser
from pages.portal.shared import session
from pages.shared import forms, ui
from pages.shared import session as outcomes

FORM = "colleague"
FIELDS = ("salutation", "first_name", "surname", "email")

user = session.require_user()


def draw(people: list[CustomerUser]) -> None:
    """Everybody who signs in for the company, and what can be done about each."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Team", anchor=False)
        st.space("stretch")
        if st.button("Invite colleague", key="team_invite", type="primary", icon=":material/person_add:"):
            forms.fill(FORM, dict.fromkeys(FIELDS, ""))
            _invite()
    st.caption("All of you see the same and may do the same; only the main user edits the address.")
    for person in people:
        _person(person)


def _person(person: CustomerUser) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"user_{person.id}"):
        with st.container(width=300, gap=None):
            st.markdown(f"**{ui.escaped(person.name)}**{' (you)' if person.id == user.id else ''}")
            if person.name != person.email:
                st.text(person.email)
        ui.badge(person.state)
        if person.is_main:
            st.badge("Main user", color="violet", icon=":material/star:")
        st.space("stretch")
        with st.container(horizontal=True, width="content"):
            _actions(person)


def _actions(person: CustomerUser) -> None:
    name = ui.escaped(person.name)
    if person.state == "invited" and st.button("Send invite again", key=f"resend_{person.id}"):
        _confirm(
            f"Send {person.name} a new invite?", "The link of the invite before it does not work any more.",
            "Send invite", invites.resend, person.id, success=f"{person.name} is invited again.",
        )  # fmt: skip
    if person.state == "deactivated":
        if st.button("Activate", key=f"activate_{person.id}"):
            _confirm(
                f"Activate {person.name}?", f"{name} can sign in again with the password they had.", "Activate",
                customer_users.activate, person.id, version=person.version, success=f"{person.name} is activated.",
            )  # fmt: skip
    elif not person.is_main and person.id != user.id and st.button("Deactivate", key=f"deactivate_{person.id}"):
        _confirm(
            f"Deactivate {person.name}?", f"{name} is signed out at once and can't sign in any more.", "Deactivate",
            customer_users.deactivate, person.id, version=person.version, success=f"{person.name} is deactivated.",
        )  # fmt: skip


def _confirm(title: str, told: str, button: str, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    @st.dialog(ui.escaped(title))
    def asked() -> None:
        outcomes.close_or_explain()
        st.markdown(told)
        st.button(button, key="confirm_go", type="primary", on_click=_go, args=(action, *args), kwargs=kwargs)

    asked()


def _go(action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    session.attempt(action, *args, **kwargs)


@st.dialog("Invite colleague")
def _invite() -> None:
    outcomes.close_or_explain()
    st.caption("A link goes to this address that works for seven days; by it your colleague sets a password.")
    forms.text(FORM, "email", "E-mail")
    forms.choice(FORM, "salutation", "Salutation", SALUTATIONS, SALUTATIONS.__getitem__)
    left, right = st.columns(2)
    with left:
        forms.text(FORM, "first_name", "First name")
    with right:
        forms.text(FORM, "surname", "Surname")
    st.button("Invite", key="colleague_save", type="primary", on_click=_save)


def _save() -> None:
    forms.sent(FORM)
    typed = forms.typed(FORM, FIELDS)
    session.attempt(
        invites.invite, user.customer_id, **typed, request_key=forms.request_key(FORM),
        success=f"{typed['email']} is invited.",
    )  # fmt: skip


with session.reading() as connection:
    team = portal.team(connection, user=user)
draw(team)
