"""Settings → Portal: its address, and whether people may register themselves, on which terms (row G14)."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lib import mail_server, settings
from lib.settings import Company
from pages.shared import forms, session

FORM, FIELDS = "portal", ("portal_url", "self_registration", "registration_terms")


def draw(company: Company) -> None:
    """The form, and what registering needs beside it."""
    st.caption(
        "Customers' users sign in to the portal, a site with a host name of its own. "
        "The links in invites and in mails about passwords lead to this address."
    )
    with session.reading() as conn:
        ready = mail_server.ready(conn)
    if company.self_registration and not ready:
        st.warning(
            "There is no mail server yet: who registers can't confirm before an admin enters one.",
            icon=":material/schedule_send:",
        )
    forms.begin(FORM, _stored(company), version=company.version)
    with st.form("portal_form"):
        forms.text(FORM, "portal_url", "Address of the portal", placeholder="https://portal.company.example", width=420)
        st.toggle(
            "Enable users to register themselves",
            key=f"{FORM}_self_registration",
            help="Who registers confirms by mail and starts as a test customer in self-service, for 28 days.",
        )
        forms.error(FORM, "self_registration")
        forms.block(
            FORM, "registration_terms", "Terms that customers accept", height=220,
            help="Shown as text to who registers, and to who orders IPs in self-service. Each acceptance stands in the "
            "audit log, with the terms as they were.",
        )  # fmt: skip
        st.form_submit_button("Save", key="portal_save", type="primary", on_click=_save)


def _stored(company: Company) -> Mapping[str, Any]:
    return {name: getattr(company, name) for name in FIELDS}


def _save() -> None:
    changes = forms.typed(FORM, FIELDS)
    if forms.save(FORM, settings.edit_company, version=forms.version(FORM), changes=changes, success="Saved."):
        with session.reading() as conn:
            company = settings.company(conn)
        forms.fill(FORM, _stored(company), version=company.version)
