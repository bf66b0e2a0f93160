"""The Plans and Modules tabs: a card for each, with the menu of what its state allows (rows S4–S7)."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib import bookings, subscriptions, term_offers
from lib.bookings import Booking
from lib.customer_states import Action
from lib.term_offers import Card, TermAction
from lib.terms import CYCLES, Term
from pages.shared import (
    customer_bookings,
    customer_service,
    customer_verbs,
    late_renewals,
    session,
    term_dialogs,
    ui,
)
from pages.shared.customer_view import View

# What is charged at the close instead of in advance has actions of its own: the ledger's.
BOOK, CHANGE, END, WITHDRAW = "book", "change", "end", "withdraw"
RECURRING = {
    BOOK: ":material/event_repeat: Book, charged at the close …",
    CHANGE: ":material/swap_horiz: Change to it, charged at the close …",
    END: ":material/event_busy: End with a last day …",
    WITHDRAW: ":material/remove_circle: Withdraw …",
}


def draw_plans(view: View) -> None:
    """The plans: one at a time."""
    _draw(view, "plan", "One plan at a time: charged at the month close, or paid in advance.")


def draw_modules(view: View) -> None:
    """The modules: any number of them."""
    _draw(view, "module", "Each by itself: charged at the month close, or paid in advance.")


def _draw(view: View, kind: str, caption: str) -> None:
    with session.reading() as conn:
        cards = [card for card in term_offers.cards(conn, view.customer.id, kind, today=view.today) if card.shown]
        standing = bookings.standing(conn, view.customer.id)
    if not cards:
        ui.empty(f"There is no {kind} in the catalogue. An admin adds one under Prices.")
        return
    st.caption(f"{caption} Net prices in {view.currency}.")
    with st.grid("auto", min_column_width=300):
        for card in cards:
            with st.container(border=True, height="stretch"):
                _card(view, card, standing)


def _card(view: View, card: Card, standing: Sequence[Booking]) -> None:
    product = card.product
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{ui.escaped(product.name_en)}**", width="content")
        st.space("stretch")
        for state in _states(card):
            ui.badge(state)
    if product.description_en:
        st.caption(ui.escaped(product.description_en))
    st.text(_price(card))
    said = _said(view, card, standing)
    if said:
        st.markdown(said)
    waiting = card.awaited
    if waiting is not None and waiting.invoice_id is not None:
        st.page_link(
            "invoice.py", label=f"Invoice {waiting.invoice_number}" if waiting.invoice_number else "Draft invoice",
            icon=":material/receipt:", query_params={"id": str(waiting.invoice_id)},
        )  # fmt: skip
    st.space("stretch")
    _menu(view, card)


def _states(card: Card) -> list[str]:
    own = card.own
    found = []
    if card.recurring is not None and card.recurring.id == card.product.id:
        found.append("recurring")
    if own is not None:
        begins_later = own is card.planned
        found.append("planned" if begins_later else {"free": "free", "trial": "trial"}.get(own.cycle, "prepaid"))
        if own.cancelled_at is not None:
            found.append("cancelled_term")
    if card.awaited is not None:
        found.append("unpaid")
    if not card.product.on_sale:
        found.append("not_on_sale")
    return found or ["not_booked"]


def _price(card: Card) -> str:
    parts = [
        f"{ui.money(card.prices[cycle])} a {name}"
        for cycle, name in (("monthly", "month"), ("yearly", "year")) if cycle in card.prices
    ]  # fmt: skip
    return " · ".join(parts) or "No price"


def _said(view: View, card: Card, standing: Sequence[Booking]) -> str:
    """In words: since when, until when, and what comes then."""
    told = []
    if card.recurring is not None and card.recurring.id == card.product.id:
        told.append(_recurring(view, card, standing))
    if card.held is not None and card.held.product_id == card.product.id:
        told.append(_active(card.held))
        if card.held.follows_id is not None:
            told += late_renewals.said_of(card.held.invoice_id)
        ends_on = card.customer.ends_on
        if ends_on is not None and (card.held.last_day is None or ends_on < card.held.last_day):
            told.append(f"The customer itself ends on {ui.day(ends_on)}, and with it this.")
    if card.planned is not None and card.planned.product_id == card.product.id:
        told.append(f"Begins on {ui.day(card.planned.from_day)}, until {ui.day(card.planned.last_day)}.")
    if card.awaited is not None:
        told.append("It begins with the full payment of its invoice.")
        told += late_renewals.said_of(card.awaited.invoice_id)
    chosen_later = card.held is not None and card.held.next_product_id == card.product.id
    if card.held is not None and chosen_later and card.held.product_id != card.product.id:
        cycle = CYCLES[card.held.next_cycle or "monthly"].lower()
        told.append(f"Chosen {cycle} from {ui.day(card.held.until_day)} on, in place of "
                    f"{ui.escaped(card.held.product)}.")  # fmt: skip
    return "  \n".join(told)


def _recurring(view: View, card: Card, standing: Sequence[Booking]) -> str:
    mine = [booking for booking in standing if booking.product_id == card.product.id]
    later = next((b for b in mine[::-1] if b.effective_on > view.today), None)
    held = bookings.held_on(mine, view.today)
    if held.quantity:
        since = next(b for b in mine if b.effective_on <= view.today)
        ends = f", ends before {ui.day(later.effective_on)}" if later is not None and not later.quantity else ""
        return f"Since {ui.day(since.effective_on)}, charged at the month close{ends}."
    return f"Begins on {ui.day(later.effective_on)}, charged at the month close." if later else ""


def _active(own: Term) -> str:
    until = f"until {ui.day(own.last_day)}" if own.last_day is not None else "without an end"
    said = f"{CYCLES[own.cycle]}, since {ui.day(own.from_day)}, {until}."
    if own.cancelled_at is not None:
        return f"{said} It is not renewed."
    if own.next_product is not None and own.next_cycle is not None:
        return f"{said} Then {ui.escaped(own.next_product)}, {CYCLES[own.next_cycle].lower()}."
    if own.renewal_refusal:
        return f"{said}  \n:red[:material/error: Not renewed yet: {ui.escaped(own.renewal_refusal)}]"
    return f"{said} It is renewed then." if own.paid else said


# ---------------------------------------------------------------------------------- the menu


def _menu(view: View, card: Card) -> None:
    offered: list[str] = [
        action.name for action in TermAction
        if action in card.actions and view.first_open is not None and view.user.may(term_offers.permission(action))
    ]  # fmt: skip
    offered += _of_recurring(view, card)
    if not offered:
        return
    labels = {action.name: label for action, label in term_dialogs.LABELS.items()} | RECURRING
    chosen = st.menu_button(
        "Action", offered, key=f"term_{card.product.id}", format_func=lambda name: labels.get(name, ""),
    )  # fmt: skip
    if chosen in RECURRING:
        _RECURRING[chosen](view, card)
    elif chosen is not None:
        term_dialogs.open_dialog(view, card, TermAction[chosen])


def _of_recurring(view: View, card: Card) -> list[str]:
    if not view.may_edit:
        return []
    recurring = card.recurring
    if recurring is None:
        empty = card.held is None and card.planned is None and card.waiting is None
        return [BOOK] if empty and card.product.on_sale else []
    if recurring.id != card.product.id:
        return [CHANGE] if card.product.on_sale else []
    withdrawable = Action.WITHDRAW in view.offers and card.product.id in view.booked.withdrawable
    may = customer_verbs.may(view.user, Action.WITHDRAW)
    return [END, WITHDRAW] if withdrawable and may else [END]


def _withdraw(view: View, card: Card) -> None:
    def write(conn: Any, user: Any) -> None:
        subscriptions.withdraw(conn, view.customer.id, card.product.id, today=view.today, user=user)

    name = card.product.name_en
    ui.confirm(
        f"Withdraw {name}?",
        f"It ends at once: today, {ui.day(view.today)}, is not charged any more. What was charged before is not "
        f"reimbursed.\n\n{customer_verbs.told(view, write)}",
        "Withdraw", subscriptions.withdraw, view.customer.id, card.product.id, today=view.today,
        success=f"{name} is withdrawn.",
    )  # fmt: skip


_RECURRING: dict[str, Callable[[View, Card], None]] = {
    BOOK: lambda view, card: customer_bookings.open_start(view, [card.product]),
    CHANGE: lambda view, card: customer_service.open_plan(
        view, [card.product], card.recurring.name_en if card.recurring else ""
    ),
    END: lambda view, card: customer_bookings.open_end(view, card.product),
    WITHDRAW: _withdraw,
}
