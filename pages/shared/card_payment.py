"""Paying by card on the pages of an invoice and of a customer: pay links, the saved card, charges (row G16)."""

from collections.abc import Callable
from urllib.parse import urlsplit

import streamlit as st

from lib import card_answers, cards, payment_methods, stripe_account, stripe_client
from lib.auth import Permission, User
from lib.cards import Asked, Saved
from lib.errors import BillingError
from lib.invoices import Invoice
from pages.shared import card_refund, session, ui
from pages.shared.customer_view import View

_SAID = "card_said"


# ---------------------------------------------------------------------------------- what the clicks do


def here() -> str:
    """This server's address as the browser knows it."""
    found = urlsplit(st.context.url or "")
    return f"{found.scheme}://{found.netloc}"


def _ask(action: Callable[..., int], about: int, *, success: str, back: bool) -> None:
    """Write down what Stripe is to do, then have it done while the person waits."""
    more = {"return_to": here()} if back else {}
    if session.attempt(action, about, success=success, **more):
        why = card_answers.carry_out(session.result())
        if why:
            st.session_state[_SAID] = why


def _remove(customer_id: int) -> None:
    """Have Stripe forget the card, then forget it here."""
    if not session.attempt(cards.removable, customer_id, success="Stripe was asked to forget the card."):
        return
    try:
        stripe_client.detach(*session.result())
    except BillingError as refusal:
        st.session_state[_SAID] = f"The card was not removed. {refusal}"
    else:
        session.attempt(cards.remove_card, customer_id, success="The card is removed.")


def _show_said() -> None:
    said = st.session_state.pop(_SAID, None)
    if said:
        st.warning(ui.escaped(said), icon=":material/credit_card:")


# ---------------------------------------------------------------------------------- on an invoice


def draw_on_invoice(document: Invoice, user: User, *, payable: bool) -> None:
    """What can be done by card, and what came of it; nothing where cards aren't set up."""
    with session.reading() as conn:
        ready = stripe_account.ready(conn) and "card" in payment_methods.offered(conn)
        asked = cards.asked_for_invoice(conn, document.id)
        card = cards.saved_card(conn, document.customer_id)
    _show_said()
    under_way = next((one for one in asked if one.state in cards.OPEN), None)
    card_refund.show_said()
    if ready:
        with st.container(horizontal=True, vertical_alignment="center"):
            if payable and under_way is None and user.may(Permission.RECORD_PAYMENTS):
                _draw_asking(document, card)
            card_refund.draw(document, user)
    if under_way is not None:
        _draw_under_way(under_way)
    for one in asked:
        if one.note and one is asked[0]:
            st.warning(f"{cards.KINDS[one.kind]}: {ui.escaped(one.note)}", icon=":material/credit_card_off:")


def _draw_asking(document: Invoice, card: Saved | None) -> None:
    st.button(
        "Make pay link", key="card_link", icon=":material/add_link:", on_click=_ask,
        args=(cards.pay_link, document.id),
        kwargs={"success": "The pay link is made. Send it to the customer.", "back": True},
    )  # fmt: skip
    if card is not None and st.button("Charge card …", key="card_charge", icon=":material/credit_card:"):
        _ask_charge(document, card)


def _draw_under_way(one: Asked) -> None:
    amount = f"{ui.money(one.amount)} {one.currency}"
    if one.url:
        st.markdown(f"**Pay link** for {amount}, works for a day. The payment is recorded by itself.")
        st.code(one.url, language=None, wrap_lines=True)
    else:
        why = f" {ui.escaped(one.last_error)}" if one.last_error else ""
        st.info(f"{cards.KINDS[one.kind]} of {amount} is under way.{why}", icon=":material/hourglass_top:")
    st.button("Look again", key="card_again", icon=":material/refresh:")


def _ask_charge(document: Invoice, card: Saved) -> None:
    @st.dialog("Charge the saved card?", icon=":material/credit_card:")
    def asked() -> None:
        session.close_or_explain()
        st.markdown(
            f"All that is open on {document.number} is charged to **{_named(card)}** now. Whether it is declined is "
            "said at once."
        )
        st.button(
            "Charge card", key="card_charge_go", type="primary", on_click=_ask, args=(cards.charge, document.id),
            kwargs={"success": "Stripe was asked to charge the card.", "back": False},
        )  # fmt: skip

    asked()


# ---------------------------------------------------------------------------------- on a customer


def draw_on_customer(view: View) -> None:
    """The saved card, and a page to save one on."""
    customer_id = view.customer.id
    with session.reading() as conn:
        ready = stripe_account.ready(conn) and "card" in payment_methods.offered(conn)
        card, asked = cards.saved_card(conn, customer_id), cards.asked_for_customer(conn, customer_id)
    under_way = next((one for one in asked if one.state in cards.OPEN), None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Credit card", anchor=False, width="content")
        st.space("stretch")
        if view.may_edit and card is not None and st.button("Remove card", key="card_remove", icon=":material/delete:"):
            _ask_remove(customer_id, card)
        if view.may_edit and ready and under_way is None:
            st.button(
                "Save another card" if card else "Save a card", key="card_save", icon=":material/add_card:",
                on_click=_ask, args=(cards.save_card, customer_id),
                kwargs={"success": "The page is made. Send its link to the customer.", "back": True},
            )  # fmt: skip
    _show_said()
    if card is not None:
        st.markdown(f"**{_named(card)}**, expires {card.expires}, saved {ui.day_of(card.saved_at, view.zone)}")
    elif under_way is None:
        none = "No card is saved." if ready else "No card is saved, and Stripe is not set up: see Payment methods."
        ui.empty(none, icon=":material/credit_card_off:")
    if under_way is not None and under_way.url:
        st.markdown("The customer saves its card on this page of Stripe; the link works for a day:")
        st.code(under_way.url, language=None, wrap_lines=True)
        st.button("Look again", key="card_again", icon=":material/refresh:")
    elif under_way is not None:
        st.info(f"The page is being made. {ui.escaped(under_way.last_error)}", icon=":material/hourglass_top:")
        st.button("Look again", key="card_again", icon=":material/refresh:")


def _ask_remove(customer_id: int, card: Saved) -> None:
    @st.dialog("Remove the saved card?", icon=":material/delete:")
    def asked() -> None:
        session.close_or_explain()
        st.markdown(f"**{_named(card)}** is forgotten here and at Stripe. Nothing more is charged to it.")
        st.button("Remove card", key="card_remove_go", type="primary", on_click=_remove, args=(customer_id,))

    asked()


def _named(card: Saved) -> str:
    return ui.escaped(f"{card.brand.capitalize()} … {card.ending}")
