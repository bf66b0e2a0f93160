"""The Contacts tab: whom to talk to at a customer, and who gets its documents (row D4)."""

from uuid import UUID

import streamlit as st

from lib import contacts
from lib.contacts import FIELDS, Contact
from pages.shared import forms, session, ui
from pages.shared.customer_view import View

PAGE = 20
FORM = "contact"


def draw(view: View) -> None:
    """Search, the contacts, and a new one."""
    heading = st.container(horizontal=True, vertical_alignment="center")
    where = st.container()
    search = st.text_input(
        "Search contacts", key="contacts_search", type="search", live="300ms", max_chars=200, width=280,
        placeholder="Name, phone or e-mail", on_change=_first_page, label_visibility="collapsed",
    )  # fmt: skip
    with session.reading() as conn:
        found = contacts.of(conn, view.customer.id, search or "")
        documents_to = contacts.document_email(conn, view.customer.id)
    with heading:
        st.subheader("Contacts", anchor=False)
        st.space("stretch")
        if view.may_edit and st.button("Add contact", key="contact_add", icon=":material/add:"):
            _open(view, None)
    where.text(
        f"Documents go to {documents_to}." if documents_to
        else "There is no e-mail address that documents go to: mark a billing contact, or enter one under Data."
    )  # fmt: skip
    if not found:
        ui.empty(
            f"No contact matches “{ui.escaped(search)}”." if search else "No contact yet.", icon=":material/contacts:"
        )
        return
    pages = -(-len(found) // PAGE)
    number = min(max(1, st.session_state.get("contacts_page") or 1), pages)
    for one in found[(number - 1) * PAGE : number * PAGE]:
        _contact(view, one)
    if pages > 1:
        st.pagination(pages, key="contacts_page")


def _first_page() -> None:
    st.session_state.contacts_page = 1


def _contact(view: View, one: Contact) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"contact_{one.id}"):
        with st.container(width=420, gap=None):
            st.markdown(f"**{ui.escaped(one.name)}**")
            # Not markdown: it would make a link of the address.
            st.text(" · ".join(known for known in (one.phone, one.email) if known) or "No phone, no e-mail")
        if one.is_billing:
            st.badge("Billing contact", color="green", icon=":material/receipt_long:")
        if not view.may_edit:
            return
        st.space("stretch")
        if st.button("Edit", key=f"contact_edit_{one.id}", icon=":material/edit:", help=f"Edit {ui.escaped(one.name)}"):
            _open(view, one)
        if st.button(
            "Remove", key=f"contact_remove_{one.id}", icon=":material/delete:", help=f"Remove {ui.escaped(one.name)}"
        ):
            back = " Documents go to the address in the customer's data again." if one.is_billing else ""
            ui.confirm(
                f"Remove {ui.escaped(one.name)}?", f"The contact is deleted.{back}", "Remove", contacts.remove, one.id,
                version=one.version, success=f"{one.name} is removed.",
            )  # fmt: skip


def _open(view: View, one: Contact | None) -> None:
    if one is None:
        forms.fill(FORM, {"name": "", "phone": "", "email": "", "is_billing": False})
    else:
        forms.fill(FORM, {name: getattr(one, name) for name in FIELDS}, version=one.version)
    (_add if one is None else _edit)(view.customer.id if one is None else one.id)


@st.dialog("Add contact", icon=":material/add:")
def _add(customer_id: int) -> None:
    session.close_or_explain()
    with st.form(FORM, border=False):
        _fields()
        st.form_submit_button(
            "Add contact", key="contact_go", type="primary", on_click=_save_new,
            args=(customer_id, forms.request_key(FORM)),
        )  # fmt: skip


@st.dialog("Edit contact", icon=":material/edit:")
def _edit(contact_id: int) -> None:
    session.close_or_explain()
    with st.form(FORM, border=False):
        _fields()
        st.form_submit_button("Save contact", key="contact_go", type="primary", on_click=_save, args=(contact_id,))


def _fields() -> None:
    forms.text(FORM, "name", "Name")
    forms.text(FORM, "email", "E-mail")
    forms.text(FORM, "phone", "Phone")
    st.toggle(
        "Billing contact: documents go to this address", key=f"{FORM}_is_billing",
        help="One contact is it. Who was it before stays a contact.",
    )  # fmt: skip


def _save_new(customer_id: int, request_key: UUID) -> None:
    typed = forms.typed(FORM, FIELDS)
    success = f"{typed['name'].strip()} is added."
    forms.save(FORM, contacts.add, customer_id, request_key=request_key, success=success, **typed)


def _save(contact_id: int) -> None:
    forms.save(
        FORM, contacts.edit, contact_id, version=forms.version(FORM), changes=forms.typed(FORM, FIELDS),
        success="The contact is saved.",
    )  # fmt: skip
