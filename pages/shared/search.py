"""The search in the sidebar of every page: customers and documents, found while somebody types."""

import streamlit as st

from lib import search
from pages.shared import session
from pages.shared.markdown import escaped

_PAGES = {"customer": ("customer.py", ":material/person:"), "document": ("invoice.py", ":material/receipt:")}


def draw() -> None:
    """The field, and below it what was found."""
    typed = st.text_input(
        "Search", type="search", key="sidebar_search", placeholder="Customer, e-mail, VAT ID, invoice number",
        label_visibility="collapsed", live="300ms",
    )  # fmt: skip
    if not typed or not typed.strip():
        return
    with session.reading() as conn:
        hits = search.hits(conn, typed)
    for hit in hits:
        file, icon = _PAGES[hit.kind]
        detail = escaped(hit.detail) or None
        st.page_link(file, label=escaped(hit.title), icon=icon, query_params={"id": str(hit.id)}, help=detail)
    if not hits:
        longer = len(typed.strip()) >= search.SHORTEST
        st.caption("Nothing found." if longer else f"Type at least {search.SHORTEST} characters.")
