"""The fields of a customer, as the dialogs and the Data tab draw them."""

from collections.abc import Mapping
from typing import Any

import pycountry
import streamlit as st

from lib import customer_fields, payment_methods
from lib.customers import Customer
from pages.shared import forms, session

COUNTRIES = {country.alpha_2: country.name for country in sorted(pycountry.countries, key=lambda one: one.name)}
DAY = "DD.MM.YYYY"
# In the order of the tabs; `customer_fields.PHASES` is that of a customer's life.
PHASES = {"billed": "Billed", "test": "Test"}

CONTRACT = ("payment_method", "payment_days", "purchase_order", "language")
BILLING = ("billing_name", "billing_street", "billing_postcode", "billing_city", "billing_country")
LICENCE = ("max_users", "users_beyond_max")
# What is ours to edit of every customer; the address and tax IDs only of those that we serve (row G3).
OURS = ("name", "contact_name", "contact_email", "phone", "billing_email", *CONTRACT)
DATA = (*OURS, *customer_fields.OF_MAIN_USER)

_CHOICES: dict[str, tuple[str, Mapping[str, str]]] = {
    "service_mode": ("Service mode", customer_fields.SERVICE_MODES),
    "payment_method": ("Payment method", customer_fields.PAYMENT_METHODS),
    "language": ("Language of documents", customer_fields.LANGUAGES),
    "country": ("Country", COUNTRIES),
}


def stored(customer: Customer, names: tuple[str, ...]) -> dict[str, Any]:
    """The values of these fields as their widgets hold them."""
    values = {name: getattr(customer, name) for name in names}
    for name in ("payment_days", "max_users"):
        if name in values:
            values[name] = "" if values[name] is None else str(values[name])
    if "billing_country" in values:
        values["billing_country"] = values["billing_country"] or None
    return values


def choice(form: str, name: str) -> None:
    """A field with few values."""
    label, names = _CHOICES[name]
    if name == "payment_method":
        # Of those that are not offered any more only the one that the customer has.
        with session.reading() as conn:
            names = payment_methods.offered(conn, beside=st.session_state.get(f"{form}_{name}") or "")
    forms.choice(form, name, label, names, lambda value: names.get(value, str(value)))


def contact(form: str, *, required: bool = False) -> None:
    """Whom we write to."""
    left, right = st.columns(2)
    with left:
        forms.text(form, "contact_name", "Contact name" if required else "Contact name (optional)")
    with right:
        forms.text(form, "contact_email", "Contact e-mail" if required else "Contact e-mail (optional)")


def invitation(form: str, *, ready: bool) -> None:
    """The tick that invites the contact to the portal; `ready` says whether mails can be sent (rows N2, G4)."""
    st.checkbox(
        "Invite the contact to the portal",
        key=f"{form}_invite",
        help="The e-mail is the login. A link goes to it that works for seven days; by it the person sets a password.",
    )
    if not ready:
        st.caption("There is no mail server yet: an invite is kept, and sent once an admin enters one in the settings.")


def address(form: str, prefix: str = "") -> None:
    """Street, postcode, city and country, of the company or with `billing_` of where its invoices go."""
    forms.text(form, f"{prefix}street", "Street and number")
    left, middle, right = st.columns([1, 2, 2])
    with left:
        forms.text(form, f"{prefix}postcode", "Postcode")
    with middle:
        forms.text(form, f"{prefix}city", "City")
    with right:
        if prefix:
            forms.choice(form, f"{prefix}country", "Country", COUNTRIES, COUNTRIES.__getitem__, index=None)
        else:
            choice(form, "country")


def elsewhere(form: str) -> bool:
    """The switch for a billing address of its own, and whether it is on (row G10). An `st.form` would hold it back."""
    on: bool = st.toggle("Invoices go to a different name and address", key=f"{form}_separate_billing")
    return on


def billing(form: str, *, on: bool) -> None:
    """Name and address of where invoices go: fields while the switch is on, else what is stored stays."""
    if not on:
        forms.hide(form, BILLING)
        return
    forms.show(form, BILLING)
    forms.text(form, "billing_name", "Billing name")
    address(form, "billing_")


def tax(form: str) -> None:
    """What decides about VAT."""
    left, middle, right = st.columns(3)
    with left:
        forms.text(form, "vat_id", "VAT ID", help="Checked when it is saved: format and check digit of the country.")
    with middle:
        forms.text(form, "tax_number", "Tax number")
    with right:
        forms.text(form, "no_tax_id_reason", "Why there is neither", help="For the file; printed nowhere.")


def contract(form: str) -> None:
    """How the customer is served, pays, and reads its documents."""
    left, right = st.columns(2)
    with left:
        choice(form, "language")
        forms.text(form, "purchase_order", "Purchase-order reference", help="Printed on every invoice.")
    with right:
        choice(form, "payment_method")
        forms.text(form, "payment_days", "Days to pay", placeholder="As in the company's settings")


def licence(form: str) -> None:
    """How many users may be booked, and whether more may be (row N4)."""
    forms.text(form, "max_users", "Maximum number of licensed users", placeholder="No maximum")
    st.toggle(
        "Users beyond the maximum may be created",
        key=f"{form}_users_beyond_max",
        help="Off: a booking beyond the maximum is refused. On: it is booked and charged.",
    )
