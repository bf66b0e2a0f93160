"""The Users tab: who signs in to the portal for a customer (rows G4, G11, S1, S2)."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import streamlit as st

from lib import customer_users, invites, mail_server
from lib.customer_user_fields import EDITABLE, SALUTATIONS
from lib.customer_users import CustomerUser
from pages.shared import forms, session, ui
from pages.shared.customer_view import View

PAGE = 20
INVITE, EDIT, MAIN = "user_invite", "user_edit", "user_main"
NOT_READY = (
    "There is no mail server yet, so invites wait. They are sent once an admin enters one under Settings → Mail server."
)


def draw(view: View) -> None:
    """Search, the people with their states, and what can be done about each."""
    number = max(1, st.session_state.get("users_page") or 1)
    heading = st.container(horizontal=True, vertical_alignment="center")
    st.caption("People who sign in to the portal. They are not the licensed users, and never change a charge.")
    search = st.text_input(
        "Search users", key="users_search", type="search", live="300ms", max_chars=200, width=280,
        placeholder="Name or e-mail", on_change=_first_page, label_visibility="collapsed",
    )  # fmt: skip
    with session.reading() as conn:
        total = customer_users.count_of(conn, view.customer.id, search or "")
        number = min(number, max(1, -(-total // PAGE)))
        found = customer_users.users_of(conn, view.customer.id, search or "", limit=PAGE, offset=(number - 1) * PAGE)
        main, ready = customer_users.main_user(conn, view.customer.id), mail_server.ready(conn)
    with heading:
        _heading(view, main, ready=ready)
    if any(person.invite == "waiting" for person in found) and not ready:
        st.warning(NOT_READY, icon=":material/schedule_send:")
    if not found:
        ui.empty(
            f"Nobody matches “{ui.escaped(search)}”."
            if search
            else "Nobody signs in for this customer yet. Invite somebody."
        )
        return
    for person in found:
        _person(view, person, ready=ready)
    if total > PAGE:
        st.pagination(-(-total // PAGE), key="users_page")


def _first_page() -> None:
    st.session_state.users_page = 1


def _heading(view: View, main: CustomerUser | None, *, ready: bool) -> None:
    st.subheader("Portal users", anchor=False)
    st.space("stretch")
    if not view.may_edit:
        return
    if main is not None and st.button("Change main user", key="users_main", icon=":material/star:"):
        open_main(view)
    if st.button("Invite user", key="users_invite", icon=":material/person_add:"):
        forms.fill(INVITE, dict.fromkeys(EDITABLE, ""))
        _invite(view, first=main is None, ready=ready)


def open_main(view: View) -> None:
    """Open the dialog that makes somebody else the main user, for a customer that has one (rows G3, G11)."""
    st.session_state.pop(MAIN, None)
    with session.reading() as conn:
        main, people = customer_users.main_user(conn, view.customer.id), customer_users.users_of(conn, view.customer.id)
    if main is not None:
        _main(main, [person for person in people if person.state == "active" and not person.is_main])


def open_resend(view: View) -> None:
    """Open the dialog that invites the main user once more, for a customer that is invited (row G3)."""
    with session.reading() as conn:
        main, ready = customer_users.main_user(conn, view.customer.id), mail_server.ready(conn)
    if main is not None and main.state == "invited":
        _confirm_invite(main, ready=ready)


# ---------------------------------------------------------------------------------- one person


def _person(view: View, person: CustomerUser, *, ready: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"user_{person.id}"):
        with st.container(width=300, gap=None):
            st.markdown(f"**{ui.escaped(_named(person))}**")
            if person.name != person.email:
                st.text(person.email)
        ui.badge(person.state)
        if person.is_main:
            st.badge("Main user", color="violet", icon=":material/star:")
        with st.container(width=300):
            st.caption(ui.escaped(_told(view, person)))
        if view.may_edit:
            st.space("stretch")
            _actions(view, person, ready=ready)


def _named(person: CustomerUser) -> str:
    salutation = f"{SALUTATIONS[person.salutation]} " if person.salutation and person.surname else ""
    return f"{salutation}{person.name}"


def _told(view: View, person: CustomerUser) -> str:
    """What else there is to know: the last sign-in, or how far the invite is."""
    if person.state == "deactivated":
        return f"Since {ui.moment(person.deactivated_at, view.zone)}"
    if person.state == "active":
        seen = person.last_seen_at
        return f"Last seen {ui.moment(seen, view.zone)}" if seen else "Never signed in"
    until = ui.moment(person.link_expires_at, view.zone)
    return {
        "none": "No invite that works: send one",
        "waiting": "The invite waits to be sent",
        "failed": f"The invite was not sent. {person.mail_error}",
        "sent": f"The invite works until {until}",
        "expired": f"The invite expired on {until}",
    }[person.invite]


def _actions(view: View, person: CustomerUser, *, ready: bool) -> None:
    actions = {
        "Edit": True,
        "Resend invite": person.state == "invited",
        "Make main user": person.state == "active" and not person.is_main,
        "Deactivate": person.state != "deactivated" and not person.is_main,
        "Activate": person.state == "deactivated",
    }
    chosen = st.menu_button(
        "Actions", [name for name, offered in actions.items() if offered], key=f"user_actions_{person.id}",
        help=f"What can be done about {ui.escaped(person.name)}",
    )  # fmt: skip
    if chosen == "Edit":
        forms.fill(EDIT, {name: getattr(person, name) for name in EDITABLE}, version=person.version)
        _edit(person)
    elif chosen == "Resend invite":
        _confirm_invite(person, ready=ready)
    elif chosen == "Make main user":
        _confirm_main(person)
    elif chosen == "Deactivate":
        ui.confirm(
            f"Deactivate {ui.escaped(person.name)}?",
            "They are signed out at once and can't sign in; links that were mailed to them stop working. "
            "*Activate* lets them in again.",
            "Deactivate", customer_users.deactivate, person.id, version=person.version,
            success=f"{person.name} is deactivated.",
        )  # fmt: skip
    elif chosen == "Activate":
        ui.confirm(
            f"Activate {ui.escaped(person.name)}?",
            "They can sign in again with the password they had." if person.registered_at
            else "They never registered: send an invite afterwards.",
            "Activate", customer_users.activate, person.id, version=person.version,
            success=f"{person.name} is active again." if person.registered_at else "Send them an invite now.",
        )  # fmt: skip


def _confirm_invite(person: CustomerUser, *, ready: bool) -> None:
    works = "The link that was mailed before stops working. " if person.link_expires_at else ""
    ui.confirm(
        f"Send an invite to {ui.escaped(person.name)}?",
        f"A new link goes to **{ui.escaped(person.email)}**. {works}It works once, for seven days."
        + ("" if ready else f"\n\n{NOT_READY}"),
        "Send invite", invites.resend, person.id, request_key=uuid4(),
        success=sent(person.email, ready=ready),
    )  # fmt: skip


def _confirm_main(person: CustomerUser) -> None:
    ui.confirm(
        f"Make {ui.escaped(person.name)} the main user?",
        "The main user before stays a user of the team.",
        "Make main user", customer_users.make_main, person.id, version=person.version,
        success=f"{person.name} is the main user.",
    )  # fmt: skip


# ---------------------------------------------------------------------------------- dialogs


def sent(email: str, *, ready: bool) -> str:
    """What is said once an invite was queued."""
    return f"The invite to {email} is on its way." if ready else f"{email}: the invite waits for a mail server."


@st.dialog("Invite user", icon=":material/person_add:")
def _invite(view: View, *, first: bool, ready: bool) -> None:
    session.close_or_explain()
    if not ready:
        st.warning(NOT_READY, icon=":material/schedule_send:")
    with st.form(INVITE, border=False):
        _fields(INVITE)
        main = "The first user becomes the main user. " if first else ""
        st.caption(f"{main}The e-mail is the login. The invite's link works once, for seven days.")
        st.form_submit_button(
            "Invite", key="user_invite_go", type="primary", on_click=_send,
            args=(view.customer.id, forms.request_key(INVITE), ready),
        )  # fmt: skip


def _send(customer_id: int, request_key: UUID, ready: bool) -> None:
    typed = forms.typed(INVITE, EDITABLE)
    forms.save(
        INVITE, invites.invite, customer_id, request_key=request_key,
        success=sent(typed["email"].strip(), ready=ready), **typed,
    )  # fmt: skip


@st.dialog("Edit user", icon=":material/edit:")
def _edit(person: CustomerUser) -> None:
    session.close_or_explain()
    with st.form(EDIT, border=False):
        _fields(EDIT)
        st.info(
            "A changed e-mail is the new login, and nothing is sent to it. Tell the person, or they are locked out. "
            "Links that were mailed to the old address stop working.",
            icon=":material/info:",
        )
        st.form_submit_button("Save user", key="user_edit_go", type="primary", on_click=_save, args=(person,))


def _save(person: CustomerUser) -> None:
    typed = forms.typed(EDIT, EDITABLE)
    email = typed["email"].strip().lower()
    moved = f"Saved. {email} is the login now; nothing was sent, so tell the person."
    forms.save(
        EDIT, customer_users.edit, person.id, version=forms.version(EDIT), changes=typed,
        success="The user is saved." if email == person.email else moved,
    )  # fmt: skip


def _fields(form: str) -> None:
    forms.choice(form, "salutation", "Salutation", SALUTATIONS, SALUTATIONS.__getitem__)
    left, right = st.columns(2)
    with left:
        forms.text(form, "first_name", "First name")
    with right:
        forms.text(form, "surname", "Surname")
    forms.text(form, "email", "E-mail")


@st.dialog("Change main user", icon=":material/star:")
def _main(main: CustomerUser, others: Sequence[CustomerUser]) -> None:
    session.close_or_explain()
    if not others:
        ui.empty(
            f"{ui.escaped(main.name)} is the only active user. Only who has accepted an invite can be the main user."
        )
        return
    st.markdown(f"**{ui.escaped(main.name)}** is the main user now, and stays a user of the team.")
    names = {person.id: f"{person.name} · {person.email}" for person in others}
    chosen = st.selectbox(
        "New main user", list(names), index=0 if len(names) == 1 else None, key=MAIN, placeholder="Choose …",
        format_func=lambda one: names.get(one, ""),
    )  # fmt: skip
    person = next((person for person in others if person.id == chosen), main)
    st.button(
        "Change main user", key="user_main_go", type="primary", disabled=chosen is None, on_click=session.click,
        args=(customer_users.make_main, person.id),
        kwargs={"version": person.version, "success": f"{person.name} is the main user."},
    )  # fmt: skip
