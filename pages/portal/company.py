"""The own company: its data, and its address, which the main user edits where the company serves itself (row G3)."""

from typing import Any

import streamlit as st

from lib import customer_fields, portal
from lib.portal import Company
from pages.portal.shared import session
from pages.shared import forms, ui
from pages.shared import session as outcomes
from pages.shared.customer_form import COUNTRIES

FORM = "address"

user = session.require_user()


def draw(company: Company) -> None:
    """What we know of the company, in three boxes."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(ui.escaped(company.name), anchor=False)
        st.space("stretch")
        if user.may_edit_address and st.button("Edit address", key="address_edit", icon=":material/edit:"):
            forms.fill(FORM, _stored(company), version=company.version)
            _edit(company.country)
    _banner(company)
    with st.grid(2, gap="small", min_column_width=300):
        with st.container(border=True):
            st.subheader("Address", anchor=False)
            ui.facts(
                {
                    "Street": company.street,
                    "Postcode and city": f"{company.postcode} {company.city}".strip(),
                    "Country": COUNTRIES.get(company.country, company.country),
                    "Phone": company.phone,
                },
                alt="Address",
            )
        with st.container(border=True):
            st.subheader("Invoices", anchor=False)
            ui.facts(_billing(company), alt="Where invoices go")
        with st.container(border=True):
            st.subheader("Contract", anchor=False)
            ui.facts(
                {
                    "Customer number": company.number,
                    "Service": customer_fields.SERVICE_MODES[company.service_mode],
                    "Payment": customer_fields.PAYMENT_METHODS[company.payment_method],
                    "VAT ID": company.vat_id,
                },
                alt="Contract",
            )
    if not user.may_edit_address:
        st.caption(
            "Your main user edits the address."
            if user.self_service
            else "Has the address changed? Please tell us: we keep it for you."
        )


def _banner(company: Company) -> None:
    if not company.active:
        st.warning("Your subscription is paused; nothing is charged.", icon=":material/pause_circle:")
    elif company.phase == "test" and company.ends_on is not None:
        over = company.ends_on < session.today()
        told = f"Your free trial {'ended on' if over else 'runs until'} {ui.day(company.ends_on)}."
        st.info(told, icon=":material/hourglass_top:")
    elif company.ends_on is not None:
        st.info(f"The last day of your subscription is {ui.day(company.ends_on)}.", icon=":material/event:")


def _billing(company: Company) -> dict[str, str]:
    facts = {"Sent to": company.billing_email or "Your contact's address", "Your reference": company.purchase_order}
    if not company.separate_billing:
        return {"Addressed to": "The company's address"} | facts
    return {
        "Addressed to": company.billing_name,
        "Street": company.billing_street,
        "Postcode and city": f"{company.billing_postcode} {company.billing_city}".strip(),
        "Country": COUNTRIES.get(company.billing_country or company.country, ""),
    } | facts


# ---------------------------------------------------------------------------------- the dialog


def _stored(company: Company) -> dict[str, Any]:
    return {name: getattr(company, name) for name in (*portal.ADDRESS, *portal.BILLING, *portal.TAX)}


@st.dialog("Edit address", width="medium")
def _edit(country: str) -> None:
    outcomes.close_or_explain()
    forms.text(FORM, "street", "Street and number")
    left, right = st.columns([1, 2])
    with left:
        forms.text(FORM, "postcode", "Postcode")
    with right:
        forms.text(FORM, "city", "City")
    forms.text(FORM, "phone", "Phone")
    st.caption("VAT depends on the country. Please tell us if it changes.")
    left, right = st.columns(2)
    with left:
        forms.text(FORM, "vat_id", "VAT ID")
    with right:
        forms.text(FORM, "tax_number", "Tax number")
    if country != "DE":
        forms.text(
            FORM, "no_tax_id_reason", "Why there is neither",
            help="Outside Germany we need a VAT ID, in the EU always; elsewhere a tax number will do, or the reason.",
        )  # fmt: skip
    forms.text(FORM, "billing_email", "E-mail for invoices")
    if st.toggle("Invoices are addressed elsewhere", key=f"{FORM}_separate_billing"):
        forms.text(FORM, "billing_name", "Name")
        forms.text(FORM, "billing_street", "Street and number of the billing address")
        left, right = st.columns([1, 2])
        with left:
            forms.text(FORM, "billing_postcode", "Postcode of the billing address")
        with right:
            forms.text(FORM, "billing_city", "City of the billing address")
    st.button("Save address", key="address_save", type="primary", on_click=_save)


def _save() -> None:
    forms.sent(FORM)
    known = (*portal.ADDRESS, *portal.BILLING, *portal.TAX)
    shown = [name for name in known if f"{FORM}_{name}" in st.session_state]
    session.attempt(
        portal.edit_address, version=forms.version(FORM), changes=forms.typed(FORM, shown), today=session.today(),
        success="Your address is saved.",
    )  # fmt: skip


with session.reading() as connection:
    own = portal.company(connection, user=user)
draw(own)
