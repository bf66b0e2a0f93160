"""The issued documents of the own company, each as PDF; open ones are paid by card."""

import streamlit as st

from lib import cards, invoices, portal, portal_payments
from lib.portal import Document
from lib.portal_payments import Payable
from pages.portal.shared import session
from pages.shared import ui

PAGE = 24
# Of an id in the address.
MOST_DIGITS = 19

user = session.require_user()


def _pay(invoice_id: int) -> None:
    session.attempt(cards.pay_link_of_customer, invoice_id, success="The payment page is being made.")


def draw(found: list[Document]) -> None:
    """A box for each document, the newest first."""
    st.title("Invoices", anchor=False)
    back = _draw_return()
    if not found:
        ui.empty("There is no invoice yet.", icon=":material/receipt_long:")
        return
    number = min(max(1, st.session_state.get("invoices_page") or 1), -(-len(found) // PAGE))
    shown = found[(number - 1) * PAGE : number * PAGE]
    with session.reading() as conn:
        payable = portal_payments.payable(conn, [one.id for one in shown], user=user)
    for document in shown:
        _document(document, payable.get(document.id), confirming=document.id == back)
    if len(found) > PAGE:
        st.pagination(-(-len(found) // PAGE), key="invoices_page")
    if back or any(one.state in ("making", "slow") for one in payable.values()):
        _watch(payable, back)


def _document(document: Document, payable: Payable | None, *, confirming: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"document_{document.id}"):
        with st.container(width=230, gap=None):
            st.markdown(f"**{ui.escaped(document.number)}**")
            month = f" for {ui.month(document.month)}" if document.month else ""
            st.caption(f"{invoices.KINDS[document.kind]}{month}")
        with st.container(width=190, gap=None):
            st.text(ui.day(document.issued_on))
            if document.due_on and document.kind == "invoice":
                st.caption(f"Due {ui.day(document.due_on)}")
        ui.badge(document.state)
        st.space("stretch")
        with st.container(width="content", gap=None):
            st.markdown(f"**{ui.money(document.gross)} {document.currency}**", text_alignment="right")
            if payable is not None and payable.open < document.gross:
                st.caption(f"{ui.money(payable.open)} {document.currency} open", text_alignment="right")
        if payable is not None:
            _draw_paying(document, payable, confirming=confirming)
        st.link_button("PDF", f"/documents/{document.id}.pdf", icon=":material/picture_as_pdf:")


def _draw_paying(document: Document, payable: Payable, *, confirming: bool) -> None:
    """The way to pay by card, or how far it is."""
    said = {
        "making": "The payment page is being made …",
        "slow": "The payment page takes longer than usual. It appears here by itself.",
        "under_way": "Your saved card is being charged.",
        "debit": "Being collected by direct debit.",
    }
    if confirming:
        st.caption("Payment is being confirmed …", width="content")
    elif payable.state == "offered":
        st.button(
            "Pay by card", key=f"pay_{document.id}", icon=":material/credit_card:", on_click=_pay, args=(document.id,),
        )  # fmt: skip
    elif payable.state == "open":
        st.link_button("Go to payment", payable.url, icon=":material/credit_card:", type="primary")
    elif payable.state:
        st.caption(said[payable.state], width="content")


# ---------------------------------------------------------------------------------- after Stripe's page


def _draw_return() -> int | None:
    """What became of the page that somebody comes back from; the invoice's id while that is not known yet."""
    paid, unpaid = _asked("paid"), _asked("unpaid")
    if paid is None and unpaid is None:
        return None
    with session.reading() as conn:
        found = portal_payments.came_back(conn, paid or unpaid or 0, user=user)
    if found is None:
        return None
    number = ui.escaped(found.number)
    if found.state == "paid":
        st.success(f"Thank you. Your payment of {number} has arrived.", icon=":material/check_circle:")
    elif paid is None:
        st.info(f"You came back without paying. {number} is still open.", icon=":material/info:")
    elif found.state == "failed":
        st.warning(f"{number} was not paid by card. Try again, or transfer the amount.", icon=":material/warning:")
    else:
        st.info(
            f"Your payment of {number} is being confirmed. This page says when it has arrived; don’t pay again.",
            icon=":material/hourglass_top:",
        )
        return paid
    return None


def _asked(name: str) -> int | None:
    value = st.query_params.get(name, "")
    return int(value) if value.isdecimal() and len(value) < MOST_DIGITS else None


@st.fragment(run_every=2)
def _watch(before: dict[int, Payable], back: int | None) -> None:
    """Draw the page anew once the page of Stripe is there, or a payment is confirmed."""
    with session.reading() as conn:
        now = portal_payments.payable(conn, list(before), user=user)
        returned = portal_payments.came_back(conn, back, user=user) if back else None
    if now != before or (returned is not None and returned.state != "waiting"):
        st.rerun()


with session.reading() as connection:
    own = portal.own_documents(connection, user=user)
draw(own)
