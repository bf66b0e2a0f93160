"""The Data tab, and the dialogs that edit a customer's contract and licence (rows N4, N5, S1)."""

from collections.abc import Sequence

import streamlit as st

from lib import contacts, customers
from lib.customers import Customer
from pages.shared import customer_form, customer_vat, forms, session, ui
from pages.shared.customer_form import CONTRACT, COUNTRIES, DATA, LICENCE, OURS
from pages.shared.customer_view import View

DATA_FORM, CONTRACT_FORM, LICENCE_FORM = "data", "contract", "licence"


def draw(view: View) -> None:
    """The data: a form for those who may write, else the same as text.

    Out of sight the form takes over what is stored elsewhere; in sight it stays as it was opened, and saving it says
    who was faster.
    """
    if not view.may_edit:
        _facts(view.customer)
        return
    customer, form, names = view.customer, DATA_FORM, _names(view.customer)
    stored = customer_form.stored(customer, names)
    if st.session_state.get("data_of") != (customer.id, names):
        st.session_state.data_of = (customer.id, names)
        forms.fill(form, stored, version=customer.version)
    forms.begin(form, stored, version=customer.version)
    elsewhere = names == DATA and customer_form.elsewhere(form)
    with st.form(form, border=False):
        if names == DATA:
            _fields(form, elsewhere=elsewhere)
        else:
            _fields_of_self_service(form, customer)
        st.markdown("**Contract and documents**")
        customer_form.contract(form)
        with st.container(horizontal=True):
            st.form_submit_button("Save data", key="data_save", type="primary", on_click=_save_data, args=(view,))
            st.form_submit_button(
                "Load what is stored", key="data_reload", on_click=_refill, args=(customer.id, DATA_FORM),
                help="Drops what you typed and shows the data as it is stored now.",
            )  # fmt: skip
    customer_vat.draw(view)


def _names(customer: Customer) -> tuple[str, ...]:
    """The fields of the form: those that its main user edits in the portal are not in it (row G3)."""
    return OURS if customer.service_mode == "self_service" else DATA


def _fields(form: str, *, elsewhere: bool) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Company**")
        forms.text(form, "name", "Company name")
        customer_form.address(form)
        _contact(form)
    with right:
        st.markdown("**Invoices go to**")
        customer_form.billing(form, on=elsewhere)
        _invoice_mail(form)
    st.markdown("**Tax**")
    customer_form.tax(form)


def _fields_of_self_service(form: str, customer: Customer) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Company**")
        forms.text(form, "name", "Company name")
        _contact(form)
        _invoice_mail(form)
    with right:
        st.markdown("**Edited in the portal**")
        st.caption(
            "The main user of a self-service customer edits its address, billing address and VAT ID there. To edit "
            "them here, convert it to managed service first: *Actions*."
        )
        ui.facts(
            {
                "Address": _address(customer.street, customer.postcode, customer.city, customer.country),
                "Invoices go to": _invoices_to(customer),
                "VAT ID": customer.vat_id,
                "Tax number": customer.tax_number,
            }
            | ({"Why there is neither": customer.no_tax_id_reason} if customer.no_tax_id_reason else {}),
            alt="Address and tax",
        )


def _contact(form: str) -> None:
    st.markdown("**Contact**")
    customer_form.contact(form, required=True)
    forms.text(form, "phone", "Phone")


def _invoice_mail(form: str) -> None:
    forms.text(
        form, "billing_email", "E-mail for invoices", placeholder="The contact's",
        help="A billing contact goes first: see the tab Contacts.",
    )  # fmt: skip


def _save_data(view: View) -> None:
    _save(view, DATA_FORM, forms.shown(DATA_FORM, _names(view.customer)))
    if session.succeeded():
        customer_vat.ask_if_new(view.customer.id, view.customer.vat_id, view.today)
        _refill(view.customer.id, DATA_FORM)


def _refill(customer_id: int, form: str) -> None:
    with session.reading() as conn:
        now = customers.customer(conn, customer_id)
    forms.fill(form, customer_form.stored(now, _names(now)), version=now.version)


def _save(view: View, form: str, names: Sequence[str]) -> None:
    forms.save(
        form,
        customers.edit,
        view.customer.id,
        version=forms.version(form),
        changes=forms.typed(form, names),
        today=view.today,
        success="The customer's data is saved.",
    )


def _facts(customer: Customer) -> None:
    with session.reading() as conn:
        documents_to = contacts.document_email(conn, customer.id)
    left, right = st.columns(2, gap="large")
    with left:
        ui.facts(
            {
                "Company name": customer.name,
                "Address": _address(customer.street, customer.postcode, customer.city, customer.country),
                "Contact": customer.contact_name,
                "Contact e-mail": customer.contact_email,
                "Phone": customer.phone,
            },
            alt="Company and contact",
        )
    with right:
        ui.facts(
            {
                "Invoices go to": _invoices_to(customer),
                "E-mail for invoices": documents_to,
                "VAT ID": customer.vat_id
                and f"{customer.vat_id} ({'checked' if customer.vat_id_valid else 'unchecked'})",
                "Tax number": customer.tax_number,
            },
            alt="Billing address and tax",
        )


def _invoices_to(customer: Customer) -> str:
    if not customer.separate_billing:
        return "The company"
    street, postcode, city = customer.billing_street, customer.billing_postcode, customer.billing_city
    return f"{customer.billing_name}, {_address(street, postcode, city, customer.billing_country)}"


def _address(street: str, postcode: str, city: str, country: str) -> str:
    return ", ".join(part for part in (street, f"{postcode} {city}".strip(), COUNTRIES.get(country, country)) if part)


# ---------------------------------------------------------------------------------- dialogs of the Overview


def open_contract(view: View) -> None:
    """Open the dialog for how the customer is served and pays."""
    forms.fill(CONTRACT_FORM, customer_form.stored(view.customer, CONTRACT), version=view.customer.version)
    _contract(view)


def open_licence(view: View) -> None:
    """Open the dialog for the maximum number of users."""
    forms.fill(LICENCE_FORM, customer_form.stored(view.customer, LICENCE), version=view.customer.version)
    _licence(view)


@st.dialog("Contract", width="medium", icon=":material/contract:")
def _contract(view: View) -> None:
    session.close_or_explain()
    with st.form(CONTRACT_FORM, border=False):
        customer_form.contract(CONTRACT_FORM)
        st.form_submit_button(
            "Save contract", key="contract_save", type="primary", on_click=_save, args=(view, CONTRACT_FORM, CONTRACT)
        )


@st.dialog("Licence", icon=":material/badge:")
def _licence(view: View) -> None:
    session.close_or_explain()
    with st.form(LICENCE_FORM, border=False):
        customer_form.licence(LICENCE_FORM)
        st.form_submit_button(
            "Save licence", key="licence_save", type="primary", on_click=_save, args=(view, LICENCE_FORM, LICENCE)
        )
