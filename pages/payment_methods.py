"""Payment methods: which customers are offered, and what ours need (row G16)."""

from functools import partial
from typing import Any

import streamlit as st

from lib import document_words, payment_methods, settings, stripe_account
from lib.auth import Permission
from lib.payment_methods import Method
from lib.settings import Company
from pages.shared import debit_runs, forms, session, stripe_settings, tabs, ui

CREDITOR, ACCOUNT = "creditor", "account"
ACCOUNT_FIELDS = ("bank_name", "iban", "bic", "payment_days")
# What each method means, in a sentence.
MEANINGS = {
    "bank_transfer": "The customer transfers what an invoice says, to the account that stands on it.",
    "direct_debit": "We collect from the customer’s account, by a mandate that it signed.",
    "card": "The customer pays by card on a page of Stripe, or we charge the card that it saved there.",
    "project_key": "A project key was redeemed for the customer; its selling price is charged.",
    "free": "Nothing is asked for, and invoices say so.",
}
ICONS = {
    "bank_transfer": "account_balance",
    "direct_debit": "sync_alt",
    "card": "credit_card",
    "project_key": "vpn_key",
    "free": "volunteer_activism",
}

user = session.require_user(Permission.RECORD_PAYMENTS)


# ---------------------------------------------------------------------------------- what the clicks do


def _save_creditor() -> None:
    typed = forms.typed(CREDITOR, ("creditor_id",))
    forms.save(
        CREDITOR, payment_methods.set_creditor_id, version=forms.version(CREDITOR),
        success="The creditor identifier is saved.", **typed,
    )  # fmt: skip


def _save_account() -> None:
    changes = forms.typed(ACCOUNT, ACCOUNT_FIELDS)
    forms.save(
        ACCOUNT, settings.edit_company, version=forms.version(ACCOUNT), changes=changes,
        success="The account is saved. Documents that are issued from now on name it.",
    )  # fmt: skip


# ---------------------------------------------------------------------------------- the methods


def draw_methods() -> None:
    """A box for each method: whether it is offered, who has it, what it needs."""
    with session.reading() as conn:
        found, company = payment_methods.methods(conn), settings.company(conn)
        mode = stripe_account.account(conn).mode
    for method in found:
        with st.container(border=True, gap="small"):
            _head(method)
            st.caption(MEANINGS[method.code])
            if method.code == "bank_transfer":
                _bank_transfer(company)
            elif method.code == "direct_debit":
                _direct_debit(method, company)
            elif method.code == "card":
                _card(mode)


def _head(method: Method) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(f":material/{ICONS[method.code]}: {method.label}", anchor=False, width="content")
        ui.badge("active" if method.active else "inactive")
        st.space("stretch")
        many = "1 customer" if method.customers == 1 else f"{method.customers:,} customers"
        if method.customers:
            st.page_link(
                "customers.py", label=many, query_params={"customer_payment": method.label}, width="content",
                help="Billed customers that have it; tests stand on their own list.",
            )  # fmt: skip
        else:
            st.caption("No customer has it", width="content")
        if user.may(Permission.EDIT_PAYMENT_METHODS):
            _switch(method)


def _switch(method: Method) -> None:
    if method.active:
        st.button(
            "Deactivate", key=f"deactivate_{method.code}", on_click=session.click,
            args=(payment_methods.deactivate, method.code),
            kwargs={"success": f"{method.label} is not offered any more."},
        )  # fmt: skip
    else:
        st.button(
            "Activate", key=f"activate_{method.code}", on_click=session.click,
            args=(payment_methods.activate, method.code), kwargs={"success": f"{method.label} is offered again."},
        )  # fmt: skip


def _bank_transfer(company: Company) -> None:
    ui.facts(
        {
            "Bank": company.bank_name,
            "IBAN": document_words.iban(company.iban) or "Not entered: invoices name no account",
            "BIC": company.bic,
            "Days to pay": f"{company.payment_days}, unless the customer has days of its own",
        },
        alt="The account that invoices name",
    )
    if user.may(Permission.EDIT_SETTINGS) and st.button("Edit account", key="account_edit", icon=":material/edit:"):
        stored: dict[str, Any] = {name: getattr(company, name) for name in ACCOUNT_FIELDS}
        forms.fill(ACCOUNT, stored | {"payment_days": str(company.payment_days)}, version=company.version)
        _ask_account()


@st.dialog("Our account", icon=":material/account_balance:")
def _ask_account() -> None:
    session.close_or_explain()
    st.markdown("Invoices name it, with a QR code to pay by. Files for direct debits collect to it.")
    with st.form(ACCOUNT, border=False):
        forms.text(ACCOUNT, "bank_name", "Bank")
        forms.text(ACCOUNT, "iban", "IBAN")
        forms.text(ACCOUNT, "bic", "BIC", placeholder="Only for banks that ask for it")
        forms.text(ACCOUNT, "payment_days", "Days to pay")
        st.form_submit_button("Save account", key="account_save", type="primary", on_click=_save_account)


def _direct_debit(method: Method, company: Company) -> None:
    ui.facts(
        {
            "Creditor identifier": method.creditor_id or "Not entered: no file for the bank can be made",
            "Collected to": document_words.iban(company.iban) or "No account: enter it under Bank transfer",
        },
        alt="What direct debits need",
    )
    if user.may(Permission.EDIT_PAYMENT_METHODS) and st.button(
        "Edit creditor identifier", key="creditor_edit", icon=":material/edit:"
    ):
        forms.fill(CREDITOR, {"creditor_id": method.creditor_id}, version=method.version)
        _ask_creditor()


@st.dialog("Creditor identifier", icon=":material/sync_alt:")
def _ask_creditor() -> None:
    session.close_or_explain()
    st.markdown("Your central bank gives it, in Germany the Bundesbank. It stands on each mandate and in each file.")
    with st.form(CREDITOR, border=False):
        forms.text(CREDITOR, "creditor_id", "Creditor identifier", placeholder="DE98ZZZ09999999999")
        st.form_submit_button("Save", key="creditor_save", type="primary", on_click=_save_creditor)


def _card(mode: str) -> None:
    said = {"live": "Set up", "test": "Set up in test mode: no real money moves"}
    ui.facts({"Stripe": said.get(mode, "Not set up: see the tab Credit card")}, alt="What cards need")


# ---------------------------------------------------------------------------------- the page

st.title("Payment methods", anchor=False)
st.caption("What is not active is offered by no form, no bulk change and no file.")
tabs.draw(
    {"Methods": draw_methods, "Direct debit": debit_runs.draw, "Credit card": partial(stripe_settings.draw, user)},
    key="tab",
    typed_into=(),  # keys are secrets, and stay nowhere longer than needed
)
