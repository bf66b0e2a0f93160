"""The customer's VAT ID: what is known of it, and asking VIES (row G10)."""

import streamlit as st

from lib import customers, settings, vat, vat_checks, vies
from lib.customers import Customer
from pages.shared import session, ui
from pages.shared.customer_view import View


def draw(view: View) -> None:
    """Format and check digit, and where Settings ask for VIES its answers and a button that asks again."""
    customer = view.customer
    st.caption(_format(customer))
    with session.reading() as conn:
        asked, checks = vat.asks_vies(conn, country=customer.country), vat_checks.checks_of(conn, customer.id)
    if customer.vat_id and asked:
        if not checks or checks[0].vat_id != customer.vat_id:
            st.info("VIES was not asked about this VAT ID yet: it does not count as valid.", icon=":material/help:")
        if view.may_edit:
            st.button(
                "Ask VIES now", key="vies_ask", icon=":material/verified:", on_click=ask, args=(customer.id, view.today)
            )
    if checks:
        rows = [
            {
                "Asked": ui.moment(check.checked_at, view.zone),
                "VAT ID": ui.escaped(check.vat_id),
                "Answer": ui.escaped(check.answer),
                "Reference": ui.escaped(check.reference) or ui.NOTHING,
                "By": ui.escaped(check.person),
            }
            for check in checks
        ]
        st.table(rows, border="horizontal", alt="Answers of VIES, the newest first")


def ask(customer_id: int, today: object) -> None:
    """Ask VIES, then keep its answer. For `on_click`: no transaction is open while the service thinks."""
    with session.reading() as conn:
        vat_id, own = customers.customer(conn, customer_id).vat_id, settings.company(conn).vat_id
    answer = vies.ask(vat_id, own_vat_id=own)
    session.attempt(
        vat_checks.record, customer_id, vat_id=vat_id, answer=answer, today=today,
        success=f"VIES: {answer.words}" if answer.valid is not None else answer.words,
    )  # fmt: skip


def ask_if_new(customer_id: int, before: str, today: object) -> None:
    """After a save: ask about a VAT ID that was changed, where Settings want it."""
    with session.reading() as conn:
        customer = customers.customer(conn, customer_id)
        asked = vat.asks_vies(conn, country=customer.country)
    if asked and customer.vat_id and customer.vat_id != before:
        ask(customer_id, today)


def _format(customer: Customer) -> str:
    if not customer.vat_id:
        return "No VAT ID."
    if customer.vat_id_checked_on is None:
        return f"{ui.escaped(customer.vat_id)}: format and check digit are right."
    checked = f"checked {ui.day(customer.vat_id_checked_on)}"
    if customer.vat_id_valid:
        return f"{ui.escaped(customer.vat_id)} is valid, {checked}."
    if customer.country in vat.EU:
        return f"{ui.escaped(customer.vat_id)} is not registered, {checked}."
    return f"{ui.escaped(customer.vat_id)}: there is no rule to check it by, {checked}."
