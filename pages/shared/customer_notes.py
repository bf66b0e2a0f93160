"""The Notes tab of a customer: its tags, and what staff should know, the newest first."""

import streamlit as st

from lib import customer_lists, customers, notes
from pages.shared import forms, session, ui
from pages.shared.customer_view import View

FORM = "note"


def draw(view: View) -> None:
    """A field for a new note, and those that are there."""
    _draw_tags(view)
    if view.may_edit:
        if st.session_state.get("note_of") != view.customer.id:
            st.session_state.note_of = view.customer.id
            forms.fill(FORM, {"text": ""})  # what was typed is of another customer
        with st.form(FORM, border=False):
            forms.block(FORM, "text", "New note", height=100)
            st.form_submit_button("Add note", key="note_add", type="primary", on_click=_add, args=(view.customer.id,))
    with session.reading() as conn:
        found = notes.notes_of(conn, view.customer.id)
    if not found:
        ui.empty("No notes yet.", icon=":material/sticky_note_2:")
    for note in found:
        with st.container(border=True, horizontal=True, vertical_alignment="top"):
            with st.container(gap="xxsmall"):
                st.text(note.text)
                st.caption(f"{ui.escaped(note.person)}, {ui.moment(note.created_at, view.zone)}")
            if view.may_edit and st.button(
                "Remove", key=f"note_remove_{note.id}", icon=":material/delete:", type="tertiary"
            ):
                ui.confirm(
                    "Remove this note?", "It is deleted for good.", "Remove note", notes.remove, note.id,
                    success="The note is removed.",
                )  # fmt: skip


def _draw_tags(view: View) -> None:
    """The customer's tags; who may edit types new ones or takes them away."""
    tags = view.customer.tags
    if not view.may_edit:
        with st.container(horizontal=True):
            for tag in tags:
                st.badge(ui.escaped(tag), color="violet")
        return
    with session.reading() as conn:
        known = sorted({*customer_lists.tags(conn), *tags})
    key = f"customer_tags_{view.customer.id}_{view.customer.version}"
    st.multiselect(
        "Tags", known, default=tags, key=key, accept_new_options=True, placeholder="Type a tag", select_all=False,
        on_change=_save_tags, args=(view.customer.id, key), help="The list of customers can be filtered by them.",
    )  # fmt: skip
    session.field_error("tags")


def _save_tags(customer_id: int, key: str) -> None:
    session.attempt(customers.set_tags, customer_id, tags=st.session_state[key], success="The tags are saved.")


def _add(customer_id: int) -> None:
    typed = forms.typed(FORM, ("text",))
    key = forms.request_key(FORM)
    if forms.save(FORM, notes.add, customer_id, **typed, request_key=key, success="The note is added."):
        forms.fill(FORM, {"text": ""})
