"""Payments on the page of an invoice: what is open, what came in, a new one, and taking one back (row B9)."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import streamlit as st

from lib import money, payments
from lib.auth import Permission, User
from lib.db import Connection
from lib.invoices import Invoice
from lib.payments import METHODS, Payment
from pages.shared import card_payment, customer_form, forms, late_renewals, session, ui

FORM = "payment"


def draw(document: Invoice, today: date, user: User) -> None:
    """The section; nothing for documents that nobody pays."""
    with session.reading() as conn:
        found = payments.payments_of(conn, document.id)
        left = payments.open_amount(conn, document.id)
    payable = document.kind == "invoice" and document.gross > 0 and document.state in payments.PAYABLE
    if not payable and not found:
        return
    may_write = user.may(Permission.RECORD_PAYMENTS)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Payments", anchor=False, width="content")
        st.markdown(f"{ui.money(left)} {document.currency} open", width="content")
        st.space("stretch")
        if may_write and payable and st.button("Record payment", key="payment_add", icon=":material/add:"):
            method = "bank_transfer"
            forms.fill(FORM, {"amount": f"{left:.2f}", "paid_on": today, "method": method, "reference": ""})
            _new(document, today)
    card_payment.draw_on_invoice(document, user, payable=payable)
    if not found:
        ui.empty("No payment yet.", icon=":material/payments:")
        return
    columns = {
        "day": ui.text_column("Day", width=110, pinned=True),
        "amount": ui.figure_column(document.currency, width=110),
        "method": ui.text_column("Method", width=140),
        "note": ui.text_column("Reference or reason", width=260),
        "by": ui.text_column("Recorded by", width=130),
    }
    ui.table([_row(one) for one in found], columns, key="payments", alt="Payments in the order of their entry")
    standing = {one.id: one for one in found if one.reverses_id is None and not one.reversed}
    if may_write and standing and document.state in ("partly_paid", "paid"):
        chosen = st.menu_button(
            "Reverse …", list(standing), key="payment_reverse", icon=":material/undo:",
            format_func=lambda one: _told(standing[one], document) if one in standing else "",
        )  # fmt: skip
        if chosen is not None:
            _ask_reverse(standing[chosen], document, today)


def _told(one: Payment, document: Invoice) -> str:
    return f"{ui.money(one.amount)} {document.currency} of {ui.day(one.paid_on)}"


def _row(one: Payment) -> dict[str, str]:
    kind = "Reversal" if one.reverses_id is not None else METHODS[one.method]
    return {
        "day": ui.day(one.paid_on),
        "amount": ui.money(one.amount),
        "method": f"{kind} (reversed)" if one.reversed else kind,
        "note": one.reason or one.reference,
        "by": one.recorded_by,
    }


@st.dialog("Record payment", icon=":material/payments:")
def _new(document: Invoice, today: date) -> None:
    session.close_or_explain()
    st.markdown(f"What came in on {document.number}. A payment is never changed afterwards, only reversed.")
    with st.form(FORM, border=False):
        forms.text(FORM, "amount", f"Amount ({document.currency})", help="A part, too. 1.234,56 or 1,234.56.")
        st.date_input("Day of the payment", key=f"{FORM}_paid_on", max_value=today, format=customer_form.DAY)
        forms.error(FORM, "paid_on")
        forms.choice(FORM, "method", "Method", METHODS, METHODS.__getitem__)
        forms.text(FORM, "reference", "Reference", help="The bank statement, say.")
        st.form_submit_button(
            "Record payment", key="payment_go", type="primary", on_click=_record,
            args=(document.id, today, forms.request_key(FORM)),
        )  # fmt: skip


def _record(invoice_id: int, today: date, request_key: UUID) -> None:
    typed = forms.typed(FORM, ("amount", "paid_on", "method", "reference"))

    def action(conn: Connection, **given: Any) -> int:
        amount = money.parse(typed["amount"], field="amount")
        return payments.record(conn, invoice_id, **(typed | given | {"amount": amount}))

    forms.save(FORM, action, today=today, request_key=request_key, success="The payment is recorded.")


def ask_settle(chosen: list[Invoice], today: date, currency: str) -> None:
    """The dialog that records all that is open on several invoices as paid."""

    @st.dialog("Record as paid", icon=":material/payments:")
    def asked() -> None:
        session.close_or_explain()
        with session.reading() as conn:
            total = sum(payments.open_amounts(conn, [one.id for one in chosen]).values(), Decimal(0))
        many = "1 invoice" if len(chosen) == 1 else f"{len(chosen)} invoices"
        st.markdown(
            f"**{many}, {ui.money(total)} {currency} open in all.** Each gets a payment of all that is open on it. "
            "A payment is never changed afterwards, only reversed on the invoice's page."
        )
        st.date_input("Day of the payment", today, key="settle_paid_on", max_value=today, format=customer_form.DAY)
        session.field_error("paid_on")
        st.selectbox("Method", list(METHODS), key="settle_method", format_func=METHODS.__getitem__)
        ids = [one.id for one in chosen]
        st.button("Record as paid", key="settle_go", type="primary", on_click=_settle, args=(ids, today, many))

    asked()


def _settle(invoice_ids: list[int], today: date, many: str) -> None:
    settled = session.attempt(
        payments.settle,
        invoice_ids,
        paid_on=st.session_state.settle_paid_on,
        method=st.session_state.settle_method,
        today=today,
        success=f"{many} recorded as paid.",
    )
    if settled:
        late_renewals.tell(invoice_ids)


def _ask_reverse(one: Payment, document: Invoice, today: date) -> None:
    @st.dialog("Reverse this payment?", icon=":material/undo:")
    def asked() -> None:
        session.close_or_explain()
        st.markdown(
            f"{_told(one, document)} is taken back by an entry of today. {document.number} is open by it again."
        )
        st.text_input("Reason", key="payment_reason", help="For the list of payments and the audit log.")
        session.field_error("reason")
        st.button("Reverse payment", key="payment_reverse_go", type="primary", on_click=_reverse, args=(one, today))

    asked()


def _reverse(one: Payment, today: date) -> None:
    reason = st.session_state.get("payment_reason", "")
    session.attempt(payments.reverse, one.id, reason=reason, today=today, success="The payment is reversed.")
