"""The people who work with Mandant: who may sign in, and as what. For admins."""

from uuid import uuid4

import streamlit as st

from lib import oidc, second_factors, settings, staff
from lib.auth import Permission, Role
from pages.shared import session, ui

user = session.require_user(Permission.EDIT_STAFF)

MEANINGS = {
    Role.VIEWER: "Viewer – reads, without purchase prices",
    Role.SALES: "Sales – also customers, bookings and selling prices",
    Role.FINANCE: "Finance – also adjustments, invoices and the month close",
    Role.ADMIN: "Admin – everything, with staff and settings",
}


@st.dialog("Add a person", icon=":material/person_add:")
def add_person() -> None:
    """Somebody new, with a first password to change unless a provider signs them in."""
    session.close_or_explain()
    key = st.session_state.setdefault("add_person_request", uuid4())

    def save() -> None:
        values = {name: st.session_state[f"add_person_{name}"] for name in ("username", "name", "role", "email")}
        values["password"] = None if provider else st.session_state["add_person_password"]
        done = session.attempt(staff.add, request_key=key, success=f"{values['name']} can sign in.", **values)
        if done:
            del st.session_state["add_person_request"]

    with st.form("add_person", border=False):
        st.text_input("Name", key="add_person_name")
        session.field_error("name")
        st.text_input("User name", key="add_person_username", autocomplete="off")
        session.field_error("username")
        st.selectbox("Role", list(Role), key="add_person_role", format_func=MEANINGS.__getitem__)
        session.field_error("role")
        address("add_person_email")
        if provider is None:
            first_password("add_person_password")
        st.form_submit_button("Add", type="primary", on_click=save)


@st.dialog("Reset the password", icon=":material/key:")
def reset_password(person: staff.Account) -> None:
    """A new first password for somebody, who has to change it at the next sign-in."""
    session.close_or_explain()
    key = st.session_state.setdefault("reset_password_request", uuid4())
    st.text(f"{person.name} ({person.username}) is signed out everywhere.")

    def save() -> None:
        session.attempt(
            staff.reset_password,
            person.id,
            password=st.session_state["reset_password"],
            version=person.version,
            request_key=key,
            success=f"{person.name} signs in with the new password and then changes it.",
        )

    with st.form("reset_password_form", border=False):
        first_password("reset_password")
        st.form_submit_button("Reset password", type="primary", on_click=save)


@st.dialog("Change the role", icon=":material/badge:")
def change_role(person: staff.Account) -> None:
    """Another role for somebody, from their next sign-in on."""
    session.close_or_explain()
    st.text(f"{person.name} ({person.username}) signs in anew and then has the new role.")

    def save() -> None:
        role = st.session_state["new_role"]
        success = f"{person.name} has the role {role} now."
        session.attempt(staff.change_role, person.id, role=role, version=person.version, success=success)

    with st.form("change_role_form", border=False):
        roles = list(Role)
        st.selectbox("Role", roles, index=roles.index(person.role), key="new_role", format_func=MEANINGS.__getitem__)
        session.field_error("role")
        st.form_submit_button("Change role", type="primary", on_click=save)


@st.dialog("E-mail address for signing in", icon=":material/mail:")
def change_email(person: staff.Account) -> None:
    """The address by which the sign-in provider knows somebody."""
    session.close_or_explain()
    st.text(f"{person.name} ({person.username}) signs in anew, at the company's sign-in service, by this address.")

    def save() -> None:
        new = st.session_state["new_email"]
        success = (
            f"{person.name} signs in by {new.strip()} now." if new.strip() else f"{person.name} has no address now."
        )
        session.attempt(staff.set_email, person.id, email=new, version=person.version, success=success)

    with st.form("change_email_form", border=False):
        address("new_email")
        st.form_submit_button("Save", type="primary", on_click=save)
    if person.linked:
        st.caption(
            "Since the first sign-in only that person of the sign-in service gets in, even if the address is given to "
            "somebody else. Unlink when it is the same person with a new account there."
        )
        st.button(
            "Unlink",
            key="unlink",
            icon=":material/link_off:",
            on_click=session.click,
            args=(staff.unlink, person.id),
            kwargs={"version": person.version, "success": f"The next to sign in by {person.email} is linked."},
        )


@st.dialog("Disable this person?", icon=":material/block:")
def disable(person: staff.Account) -> None:
    """The last question before somebody is shut out."""
    session.close_or_explain()
    st.text(f"{person.name} ({person.username}) is signed out at once and can't sign in. You can enable them again.")
    st.button(
        "Disable",
        key="disable_confirmed",
        type="primary",
        on_click=session.click,
        args=(staff.disable, person.id),
        kwargs={"version": person.version, "success": f"{person.name} is disabled."},
    )


@st.dialog("Reset the second factor?", icon=":material/phonelink_erase:")
def reset_second_factor(person: staff.Account) -> None:
    """The last question before somebody's second factor is forgotten."""
    session.close_or_explain()
    st.text(
        f"For a lost device. {person.name} ({person.username}) is signed out everywhere, and signs in with the "
        "password alone until a new one is set up. Make sure that it is really them who asks."
    )
    st.button(
        "Reset second factor",
        key="reset_second_factor_confirmed",
        type="primary",
        on_click=session.click,
        args=(second_factors.reset, person.id),
        kwargs={"success": f"{person.name} has no second factor now."},
    )


def save_demanded() -> None:
    """For `on_click`: the roles that need a second factor."""
    session.attempt(settings.demand_second_factor, st.session_state["second_factor_roles"], success="Saved.")


def first_password(key: str) -> None:
    """The input for a password that the person must change at the first sign-in."""
    st.text_input(
        "First password",
        type="password",
        key=key,
        autocomplete="new-password",
        help="At least 10 characters. Tell it to them; they must choose their own at the first sign-in.",
    )
    session.field_error("password")


def address(key: str) -> None:
    """The input for the address by which the sign-in service knows a person."""
    label = "E-mail" if provider else "E-mail (for a sign-in service; optional)"
    st.text_input(label, key=key, autocomplete="off")
    session.field_error("email")


def draw_person(person: staff.Account) -> None:
    """One person with what can be done about them."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(width=280, gap=None):
            st.text(person.name + (" (you)" if person.id == user.id else ""))
            seen = f"seen {ui.moment(person.last_seen_at, zone)}" if person.last_seen_at else "never signed in"
            st.caption(session.escaped(f"{person.username} · {seen}"))
            if person.email:
                st.text(person.email)  # not in the caption: markdown would make a link of it
        st.badge(person.role.capitalize(), color="blue" if person.role == Role.ADMIN else "gray")
        if not person.enabled:
            st.badge("Disabled", color="red", icon=":material/block:")
        elif provider and not person.email:
            st.badge("No e-mail", color="orange", icon=":material/mail:")
        elif person.must_change_password and not provider:
            st.badge("First password", color="orange", icon=":material/key:")
        else:
            st.badge("Enabled", color="green", icon=":material/check:")
        if person.id in with_second_factor:
            st.badge("Second factor", color="green", icon=":material/phonelink_lock:")
        st.space("stretch")
        if person.id in with_second_factor and st.button(
            "Second factor", key=f"second_factor_{person.id}", icon=":material/phonelink_erase:"
        ):
            reset_second_factor(person)
        if st.button("Role", key=f"role_{person.id}", icon=":material/badge:"):
            change_role(person)
        if st.button("E-mail", key=f"email_{person.id}", icon=":material/mail:"):
            st.session_state["new_email"] = person.email
            change_email(person)
        if provider is None and st.button("Password", key=f"password_{person.id}", icon=":material/key:"):
            st.session_state.pop("reset_password_request", None)
            reset_password(person)
        if not person.enabled:
            st.button(
                "Enable",
                key=f"enable_{person.id}",
                icon=":material/check:",
                on_click=session.click,
                args=(staff.enable, person.id),
                kwargs={"version": person.version, "success": f"{person.name} can sign in again."},
            )
        elif st.button("Disable", key=f"disable_{person.id}", icon=":material/block:"):
            disable(person)


provider = oidc.provider()
with session.reading() as conn:
    people, zone = staff.accounts(conn), settings.company(conn).timezone
    with_second_factor, demanded = second_factors.holders(conn), second_factors.demanded(conn)

with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Staff", anchor=False)
    st.space("stretch")
    if st.button("Add a person", key="add", type="primary", icon=":material/person_add:"):
        st.session_state.pop("add_person_request", None)
        add_person()
for one in people:
    draw_person(one)
if provider is None:
    with st.form("second_factor_form"):
        st.multiselect(
            "Roles that sign in with a second factor",
            list(Role),
            default=demanded,
            format_func=lambda role: role.capitalize(),
            key="second_factor_roles",
            placeholder="None: everybody may set one up",
            help="Who has none yet sets it up at the next click, with an authenticator app.",
        )
        st.form_submit_button("Save", key="second_factor_save", on_click=save_demanded)
