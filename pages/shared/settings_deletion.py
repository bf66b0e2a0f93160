"""Settings → Deletion: how long after it was marked a customer is erased (row G12)."""

import streamlit as st

from lib import settings
from lib.settings import Company
from pages.shared import forms, session, ui

FORM, FIELD = "deletion", "erasure_delay_minutes"


def draw(company: Company) -> None:
    """The delay, and what happens in it."""
    st.caption(
        "A customer that is deleted is marked first: its users can't sign in at once, and it can be taken back. "
        "After this delay its personal data are erased for good, and that is confirmed by mail."
    )
    forms.begin(FORM, {FIELD: str(company.erasure_delay_minutes)}, version=company.version)
    with st.form("deletion_form"):
        forms.text(FORM, FIELD, "Minutes between marking and erasing", width=260, placeholder="30")
        st.caption(f"Now {ui.duration(company.erasure_delay_minutes)}. A day has 1440 minutes; 30 days at most.")
        st.form_submit_button("Save", key="deletion_save", type="primary", on_click=_save)


def _save() -> None:
    changes = forms.typed(FORM, (FIELD,))
    if forms.save(FORM, settings.edit_company, version=forms.version(FORM), changes=changes, success="Saved."):
        with session.reading() as conn:
            company = settings.company(conn)
        forms.fill(FORM, {FIELD: str(company.erasure_delay_minutes)}, version=company.version)
