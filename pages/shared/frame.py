"""The frame around every page: which pages there are, who is here, how the last click ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from lib.auth import Permission
from pages.shared import lost_clicks, search, session

HERE = Path(__file__).parents[1]


class Entry(NamedTuple):
    """A page: its file, its title, its icon, the section of the menu (None: not in it) and who sees it there."""

    file: str
    title: str
    icon: str
    section: str | None
    permission: Permission


PAGES = (
    Entry("overview.py", "Overview", "dashboard", "Billing", Permission.READ),
    Entry("customers.py", "Customers", "groups", "Billing", Permission.READ),
    Entry("cost_overview.py", "Cost Overview", "bar_chart", "Billing", Permission.READ),
    Entry("invoices.py", "Invoices", "receipt_long", "Billing", Permission.READ),
    Entry("month_close.py", "Month close", "event_available", "Billing", Permission.READ),
    Entry("imports.py", "Import", "upload_file", "Billing", Permission.EDIT_CUSTOMERS),
    Entry("self_service.py", "Self-Service", "storefront", "Prices", Permission.READ),
    Entry("prices.py", "Prices", "sell", "Prices", Permission.READ),
    Entry("simulation.py", "Simulation", "science", "Prices", Permission.READ),
    Entry("project_keys.py", "Project keys", "key", "Prices", Permission.EDIT_PROJECT_KEYS),
    Entry("payment_methods.py", "Payment methods", "credit_card", "Company", Permission.RECORD_PAYMENTS),
    Entry("settings.py", "Settings", "settings", "Company", Permission.EDIT_SETTINGS),
    Entry("staff.py", "Staff", "badge", "Company", Permission.EDIT_STAFF),
    Entry("audit_log.py", "Audit log", "history", "Company", Permission.READ_AUDIT),
    Entry("deletions.py", "Deletions", "auto_delete", "Company", Permission.READ),
    Entry("jobs.py", "Jobs", "pending_actions", "Company", Permission.EDIT_SETTINGS),
    Entry("account.py", "My account", "account_circle", "Company", Permission.READ),
    Entry("customer.py", "Customer", "person", None, Permission.READ),
    Entry("invoice.py", "Invoice", "receipt", None, Permission.READ),
    Entry("imported.py", "Import", "upload_file", None, Permission.EDIT_CUSTOMERS),
)


def draw(entries: Sequence[Entry]) -> None:
    """Draw menu and sidebar for whoever is signed in, then run the page that the address names."""
    st.set_page_config(page_title="Mandant", page_icon="🧾", layout="wide")
    user = session.current_user()
    menu: dict[str, list[st.Page]] = {}
    for entry in entries:
        # A page that isn't in the menu still has its address: hiding is no permission, each page asks for its own.
        listed = user is not None and entry.section is not None and user.may(entry.permission)
        page = st.Page(
            HERE / entry.file,
            title=entry.title,
            icon=f":material/{entry.icon}:",
            url_path=Path(entry.file).stem,
            default=entry is entries[0],
            visibility="visible" if listed else "hidden",
        )
        menu.setdefault(entry.section or "", []).append(page)
    chosen = st.navigation(menu, position="sidebar" if user else "hidden", expanded=True)

    if user is not None:
        if not user.unready:
            with st.sidebar.container(gap="xxsmall"):
                search.draw()
        with st.sidebar.container(gap="xsmall"):
            st.text(user.name)
            st.caption(user.role.capitalize())
            st.button("Sign out", key="sign_out", icon=":material/logout:", on_click=session.sign_out, width="stretch")
        session.forget_on_other_page(chosen.url_path)
        session.show_outcome()
    lost_clicks.draw_instead(chosen)
    chosen.run()
