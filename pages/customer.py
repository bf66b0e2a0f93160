"""One customer: its data, contract, bookings, costs, documents and history (rows N3–N9, S1)."""

from functools import partial

import streamlit as st

from lib.auth import Permission, User
from pages.shared import (
    customer_contacts,
    customer_costs,
    customer_data,
    customer_deletion,
    customer_header,
    customer_history,
    customer_mails,
    customer_notes,
    customer_overview,
    customer_payment,
    customer_records,
    customer_service,
    customer_terms,
    customer_usage,
    customer_users,
    customer_view,
    customer_warnings,
    session,
    tabs,
    ui,
)
from pages.shared.customer_view import View

user = session.require_user(Permission.READ)

SECTIONS = {
    "Deletion": customer_deletion.draw,
    "Overview": customer_overview.draw,
    "Data": customer_data.draw,
    "Payment": customer_payment.draw,
    "Users": customer_users.draw,
    "Contacts": customer_contacts.draw,
    "Service": customer_service.draw,
    "Plans": customer_terms.draw_plans,
    "Modules": customer_terms.draw_modules,
    "Usage": customer_usage.draw,
    "History": customer_history.draw,
    "Forecast": customer_costs.draw_forecast,
    "Statements": customer_costs.draw_statements,
    "Cost history": customer_costs.draw_history,
    "Adjustments": customer_records.draw_adjustments,
    "Invoices": customer_records.draw_invoices,
    "Mails": customer_mails.draw,
    "Notes": customer_notes.draw,
    "Change log": customer_records.draw_changes,
}
TYPED_INTO = ("Data", "Notes")
LEFT_OF_THE_ERASED = ("History", "Forecast", "Statements", "Cost history", "Adjustments", "Invoices", "Change log")


def opened(reader: User) -> View | None:
    """The customer that the address names, or None where there is none."""
    named = st.query_params.get("id", "")
    return customer_view.read(int(named), reader) if named.isascii() and named.isdigit() and len(named) <= 18 else None


def is_shown(name: str, view: View) -> bool:
    """Whether this person sees a section of this customer. Of the erased, charges and documents are left."""
    if name == "Change log" and not user.may(Permission.READ_AUDIT):
        return False
    if name == "Deletion":
        return view.customer.marked_for_deletion_at is not None
    return view.customer.erased_at is None or name in LEFT_OF_THE_ERASED


def draw() -> None:
    """The head, and the one section that is open."""
    view = opened(user)
    if view is None:
        st.title("Customer", anchor=False)
        ui.empty("This customer does not exist. Choose one from the list.", icon=":material/person_off:")
        st.page_link("customers.py", label="Customers", icon=":material/arrow_back:")
        return
    customer_header.draw(view)
    if view.customer.erased_at is None:
        customer_warnings.draw(view)
    shown = {name: partial(section, view) for name, section in SECTIONS.items() if is_shown(name, view)}
    tabs.draw(shown, key="tab", typed_into=TYPED_INTO, of=view.customer.id)


draw()
