"""The Service tab: account, service, plan, console and quotas of a customer (rows D1, D2, D5)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import streamlit as st

from lib import bookings, contacts, customer_fields, customers, plans, prices, products, quotas, terms
from lib.clock import month_of
from lib.customer_states import Action
from lib.customers import Customer
from lib.products import Product
from lib.terms import Term
from pages.shared import consoles, customer_form, customer_quotas, forms, session, ui
from pages.shared.customer_form import COUNTRIES
from pages.shared.customer_view import View

ACCOUNT_FORM, SERVICE_FORM = "account", "service"
ACCOUNT = ("account_name", "name", "phone")
# Those of a self-service customer its main user edits in the portal (row G3).
ADDRESS = ("street", "postcode", "city", "country")
SERVICE = ("tenant_type", "storage_region", "licence_expires_on", "console_url")
SHOWN_CONTACTS = 3


def draw(view: View) -> None:
    """Account and service side by side, below them the quotas."""
    with session.reading() as conn:
        people = contacts.of(conn, view.customer.id, limit=SHOWN_CONTACTS + 1)
        standing = bookings.standing(conn, view.customer.id)
        catalogue = {product.id: product for product in products.catalogue(conn)}
        given = quotas.quotas_of(conn, view.customer.id)
        prepaid = terms.plan_of(conn, view.customer.id, today=view.today)
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        _account(view, [person.name for person in people])
    with right.container(border=True, height="stretch"):
        booked = plans.plan_on(standing, view.today)
        plan = catalogue.get(booked.product_id) if booked else None
        since = f"{plan.name_en}, since {ui.day(booked.effective_on)}" if plan and booked else ""
        offered = [one for one in catalogue.values() if one.kind == "plan" and one.on_sale and one != plan]
        if not since and prepaid is not None:
            since, offered = _prepaid(prepaid, view), []
        _service(view, since, quotas.held_on(given, view.today), offered)
    customer_quotas.draw(view, given)


# ---------------------------------------------------------------------------------- account


def _account(view: View, people: list[str]) -> None:
    customer = view.customer
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Account", anchor=False)
        st.space("stretch")
        if view.may_edit and st.button("Edit", key="account_edit", icon=":material/edit:", type="tertiary"):
            forms.fill(ACCOUNT_FORM, customer_form.stored(customer, _account_names(view)), version=customer.version)
            _account_form(view)
    more = ["…"] if len(people) > SHOWN_CONTACTS else []
    ui.facts(
        {
            "Account name": customer.account_name,
            "Organization": customer.name,
            "Address": ", ".join(
                part
                for part in (
                    customer.street,
                    f"{customer.postcode} {customer.city}".strip(),
                    COUNTRIES.get(customer.country, customer.country),
                )
                if part
            ),
            "Phone": customer.phone,
            "Contact": ", ".join(part for part in (customer.contact_name, customer.contact_email) if part),
            "Contact persons": ", ".join([*people[:SHOWN_CONTACTS], *more]),
        },
        alt="Account",
    )


def _account_names(view: View) -> tuple[str, ...]:
    return (*ACCOUNT, *ADDRESS) if Action.EDIT_ADDRESS in view.offers else ACCOUNT


@st.dialog("Account", width="medium", icon=":material/domain:")
def _account_form(view: View) -> None:
    session.close_or_explain()
    form = ACCOUNT_FORM
    with st.form(form, border=False):
        forms.text(form, "account_name", "Account name", help="As the vendor's portal calls it.")
        forms.text(form, "name", "Organization")
        if Action.EDIT_ADDRESS in view.offers:
            customer_form.address(form)
        forms.text(form, "phone", "Phone (optional)")
        st.form_submit_button(
            "Save account", key="account_save", type="primary", on_click=_save,
            args=(view, form, _account_names(view), "The account is saved."),
        )  # fmt: skip


def _save(view: View, form: str, names: tuple[str, ...], success: str) -> None:
    forms.save(
        form,
        customers.edit,
        view.customer.id,
        version=forms.version(form),
        changes=forms.typed(form, names),
        today=view.today,
        success=success,
    )


# ---------------------------------------------------------------------------------- service


def _service(view: View, plan: str, held: dict[str, quotas.Quota], offered: list[Product]) -> None:
    customer = view.customer
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Service", anchor=False)
        st.space("stretch")
        if customer.console_url:
            st.link_button(
                "Open console", consoles.address(customer.id), key="console", icon=":material/open_in_new:",
                type="tertiary", help="In a new tab. The audit log notes who opened it.",
            )  # fmt: skip
        if view.may_edit and offered:
            label = "Change plan" if plan else "Choose plan"
            if st.button(label, key="plan_choose", icon=":material/swap_horiz:", type="tertiary"):
                open_plan(view, offered, plan)
        if view.may_edit and st.button("Edit", key="service_edit", icon=":material/edit:", type="tertiary"):
            _open_service(view)
    ui.facts(
        {
            "Service plan": plan or "None is booked",
            "Tenant type": customer_fields.TENANT_TYPES[customer.tenant_type],
            "Storage region": customer_fields.STORAGE_REGIONS.get(customer.storage_region, customer.storage_region),
            "Credit quota": _quota(held.get("credits")),
            "Storage quota": _quota(held.get("storage")),
            "Licence expires": ui.day(customer.licence_expires_on),
            # Not the address itself: a table would make a link of it, past the audit log.
            "Console at": urlsplit(customer.console_url).netloc.removeprefix("www."),
        },
        alt="Service",
    )


def _quota(quota: quotas.Quota | None) -> str:
    if quota is None:
        return "None today"
    return f"{ui.amount(quota.amount)} {quotas.UNITS[quota.kind]}, {customer_quotas.days(quota)}"


def _open_service(view: View) -> None:
    customer = view.customer
    # Nothing chosen is no choice of the list.
    values: dict[str, Any] = customer_form.stored(customer, SERVICE) | {
        "storage_region": customer.storage_region or None
    }
    forms.fill(SERVICE_FORM, values, version=customer.version)
    _service_form(view, customer)


@st.dialog("Service", width="medium", icon=":material/cloud:")
def _service_form(view: View, customer: Customer) -> None:
    session.close_or_explain()
    form = SERVICE_FORM
    commercial = customer.tenant_type == "commercial"
    types = ["commercial"] if commercial else list(customer_fields.TENANT_TYPES)
    with st.form(form, border=False):
        left, right = st.columns(2)
        with left:
            forms.choice(
                form, "tenant_type", "Tenant type", types, customer_fields.TENANT_TYPES.__getitem__,
                help="A commercial tenant never becomes another type again. What is charged doesn't depend on it.",
            )  # fmt: skip
            st.date_input("Licence expires (optional)", value=None, key=f"{form}_licence_expires_on",
                          format=customer_form.DAY)  # fmt: skip
            forms.error(form, "licence_expires_on")
        with right:
            forms.choice(
                form, "storage_region", "Storage region", customer_fields.STORAGE_REGIONS,
                customer_fields.STORAGE_REGIONS.__getitem__, index=None, placeholder="Choose …",
            )  # fmt: skip
        forms.text(form, "console_url", "Address of the console (optional)", placeholder="https://")
        st.caption("The expiry of the licence warns, from 30 days before. It ends nothing.")
        st.form_submit_button(
            "Save service", key="service_save", type="primary", on_click=_save,
            args=(view, form, SERVICE, "The service is saved."),
        )  # fmt: skip


# ---------------------------------------------------------------------------------- plan


@st.dialog("Service plan", icon=":material/swap_horiz:")
def _plan_form(view: View, offered: dict[int, Product], held: str, key: UUID) -> None:
    session.close_or_explain()
    if held:
        st.markdown(f"Now: **{ui.escaped(held)}**. It ends with the day before the new one begins.")
    chosen: int = st.selectbox(
        "Plan", list(offered), key="plan_product",
        format_func=lambda one: offered[one].name_en if one in offered else "",
    )  # fmt: skip
    session.field_error("product")
    plan = offered[chosen]
    if plan.description_en:
        st.caption(ui.escaped(plan.description_en))
    st.date_input("First day", value=None, key="plan_from", format=customer_form.DAY)
    session.field_error("effective_on")
    with session.reading() as conn:
        price = prices.version_in(conn, plan.id, month=month_of(view.today), customer_id=view.customer.id)
    told = f"{prices.described(price.tiers)} {view.currency} a month, net" if price else "no price yet"
    st.caption(f"Price in {ui.month(view.today)}: {told}.")
    st.button("Book plan", key="plan_go", type="primary", on_click=_book_plan, args=(view, key))


def _prepaid(plan: Term, view: View) -> str:
    """A plan that is paid in advance, in words; it is changed under Plans."""
    if plan.state == "waiting":
        return f"{plan.product}, once its invoice is paid"
    if plan.lies_ahead(view.today):
        return f"{plan.product}, from {ui.day(plan.from_day)}"
    until = "" if plan.last_day is None else f", until {ui.day(plan.last_day)}"
    return f"{plan.product}, {terms.CYCLES[plan.cycle].lower()}, since {ui.day(plan.from_day)}{until}"


def open_plan(view: View, offered: Sequence[Product], held: str) -> None:
    """Open the dialog that books a plan that is charged at the close, in place of the one that is `held`."""
    st.session_state.plan_product, st.session_state.plan_from = offered[0].id, view.today
    _plan_form(view, {one.id: one for one in offered}, held, uuid4())


def _book_plan(view: View, key: UUID) -> None:
    session.attempt(
        plans.choose,
        view.customer.id,
        st.session_state.plan_product,
        effective_on=st.session_state.plan_from,
        today=view.today,
        request_key=key,
        success="The plan is booked.",
    )
