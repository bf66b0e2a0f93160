"""Giving a payment by card back, on the page of its invoice (row G16)."""

from decimal import Decimal
from uuid import UUID

import streamlit as st

from lib import card_refunds, money
from lib.auth import Permission, User
from lib.card_refunds import Refundable
from lib.db import Connection
from lib.errors import BillingError
from lib.invoices import Invoice
from pages.shared import forms, session, ui

FORM = "card_refund"
SAID = "card_refund_said"


def show_said() -> None:
    """What Stripe said to the last click, where it did not do what was asked."""
    said = st.session_state.pop(SAID, None)
    if said:
        st.warning(ui.escaped(said), icon=":material/currency_exchange:")


def draw(document: Invoice, user: User) -> None:
    """A button where something that was paid by card can be given back."""
    if not user.may(Permission.RECORD_PAYMENTS):
        return
    with session.reading() as conn:
        found = card_refunds.refundable(conn, document.id)
    for one in found:
        if st.button("Refund by card …", key=f"{FORM}_{one.id}", icon=":material/currency_exchange:"):
            forms.fill(FORM, {"amount": f"{one.received:.2f}", "reason": ""})
            _ask(document, one)


@st.dialog("Refund to the card", icon=":material/currency_exchange:")
def _ask(document: Invoice, one: Refundable) -> None:
    session.close_or_explain()
    st.markdown(
        f"Stripe gives it back to the card by which {document.number} was paid, at most {ui.money(one.received)} "
        f"{one.currency}. That can’t be undone. The payment is reversed, what stays is recorded, and the invoice is "
        "open again by what goes back; cancel it if nothing is owed any more."
    )
    with st.form(FORM, border=False):
        forms.text(FORM, "amount", f"Amount ({one.currency})", help="A part, too. 1.234,56 or 1,234.56.")
        forms.text(FORM, "reason", "Reason", help="For the audit log.")
        st.form_submit_button(
            "Refund", key=f"{FORM}_go", type="primary", on_click=_refund,
            args=(one.id, one.received, forms.request_key(FORM)),
        )  # fmt: skip


def _refund(request_id: int, seen: Decimal, request_key: UUID) -> None:
    typed = forms.typed(FORM, ("amount", "reason"))

    def action(conn: Connection, *, user: User) -> card_refunds.Refund:
        amount = money.parse(typed["amount"], field="amount")
        return card_refunds.refund(
            conn, request_id, amount=amount, reason=typed["reason"], seen=seen, user=user, request_key=request_key
        )

    if forms.save(FORM, action, success="Stripe was asked for the refund. It is recorded once Stripe has done it."):
        try:
            card_refunds.carry_out(session.result())
        except BillingError as refusal:
            st.session_state[SAID] = f"The refund is not confirmed. {refusal}"
