"""The dialog that edits the address, billing address and tax IDs of a customer that we serve (rows G3, G10)."""

import streamlit as st

from lib import customers
from lib.customer_fields import OF_MAIN_USER
from pages.shared import customer_form, customer_vat, forms, session, ui
from pages.shared.customer_view import View

FORM = "own_address"


def open_dialog(view: View) -> None:
    """Fill the form with what is stored, and open it."""
    forms.fill(FORM, customer_form.stored(view.customer, OF_MAIN_USER), version=view.customer.version)
    _dialog(view)


@st.dialog("Edit address", width="medium", icon=":material/home_work:")
def _dialog(view: View) -> None:
    session.close_or_explain()
    st.markdown(f"**{ui.escaped(view.customer.name)}**")
    customer_form.address(FORM)
    customer_form.billing(FORM, on=customer_form.elsewhere(FORM))
    customer_form.tax(FORM)
    st.button("Save address", key="own_address_save", type="primary", on_click=_save, args=(view,))


def _save(view: View) -> None:
    changes = forms.typed(FORM, forms.shown(FORM, OF_MAIN_USER))
    saved = forms.save(
        FORM, customers.edit, view.customer.id, version=forms.version(FORM), changes=changes, today=view.today,
        success="The address is saved.",
    )  # fmt: skip
    if saved:
        customer_vat.ask_if_new(view.customer.id, view.customer.vat_id, view.today)
