"""The issued documents of the own company, each as PDF."""

import streamlit as st

from lib import invoices, portal
from lib.portal import Document
from pages.portal.shared import session
from pages.shared import ui

PAGE = 24

user = session.require_user()


def draw(found: list[Document]) -> None:
    """A box for each document, the newest first."""
    st.title("Invoices", anchor=False)
    if not found:
        ui.empty("There is no invoice yet.", icon=":material/receipt_long:")
        return
    number = min(max(1, st.session_state.get("invoices_page") or 1), -(-len(found) // PAGE))
    for document in found[(number - 1) * PAGE : number * PAGE]:
        _document(document)
    if len(found) > PAGE:
        st.pagination(-(-len(found) // PAGE), key="invoices_page")


def _document(document: Document) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"document_{document.id}"):
        with st.container(width=230, gap=None):
            st.markdown(f"**{ui.escaped(document.number)}**")
            month = f" for {ui.month(document.month)}" if document.month else ""
            st.caption(f"{invoices.KINDS[document.kind]}{month}")
        with st.container(width=190, gap=None):
            st.text(ui.day(document.issued_on))
            if document.due_on and document.kind == "invoice":
                st.caption(f"Due {ui.day(document.due_on)}")
        ui.badge(document.state)
        st.space("stretch")
        st.markdown(f"**{ui.money(document.gross)} {document.currency}**", text_alignment="right")
        st.link_button("PDF", f"/documents/{document.id}.pdf", icon=":material/picture_as_pdf:")


with session.reading() as connection:
    own = portal.own_documents(connection, user=user)
draw(own)
