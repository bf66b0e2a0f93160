"""What an action on a plan or module does, in words and in money, before it is confirmed (rows S4–S7)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import term_actions, term_invoices
from lib.errors import BillingError
from lib.term_offers import CYCLE, INVOICED, LATER, UPGRADES, Card, TermAction
from lib.terms import CYCLES, Term
from pages.shared import customer_form, forms, session, ui
from pages.shared.customer_view import View

PERIOD = "term_period"

# In the order of the menu.
LABELS = {
    TermAction.FREE: ":material/redeem: Activate free …",
    TermAction.TRIAL: ":material/science: Activate test time …",
    TermAction.TRIAL_AGAIN: ":material/replay: Allow test time again …",
    TermAction.MONTHLY: ":material/receipt: Make invoice for a month …",
    TermAction.YEARLY: ":material/receipt_long: Make invoice for a year …",
    TermAction.UPGRADE_MONTHLY: ":material/upgrade: Upgrade, invoice for a month …",
    TermAction.UPGRADE_YEARLY: ":material/upgrade: Upgrade, invoice for a year …",
    TermAction.LATER_MONTHLY: ":material/schedule: At the end of the period, monthly …",
    TermAction.LATER_YEARLY: ":material/schedule: At the end of the period, yearly …",
    TermAction.PERIOD: ":material/date_range: Edit period …",
    TermAction.CANCEL: ":material/event_busy: Cancel at expiry …",
    TermAction.RESUME: ":material/undo: Take cancellation back …",
    TermAction.DROP: ":material/delete: Withdraw the draft invoice …",
    TermAction.WITHDRAW: ":material/remove_circle: Withdraw …",
}


@dataclass(frozen=True)
class Asked:
    """What a dialog asks: its title, what will happen, the button, and the write behind it."""

    title: str
    explanation: str
    button: str
    write: Callable[..., Any]
    success: str
    more: tuple[Any, ...] = ()


def open_dialog(view: View, card: Card, action: TermAction) -> None:
    """Open the dialog of an action that the card offers."""
    if action is TermAction.PERIOD:
        _open_period(view, card)
        return
    try:
        asked = _asked(view, card, action)
    except BillingError as refusal:
        _refused(str(refusal))
        return
    ui.confirm(
        asked.title, asked.explanation, asked.button, asked.write, view.customer.id, card.product.id, *asked.more,
        today=view.today, request_key=uuid4(), success=asked.success,
    )  # fmt: skip


@st.dialog("Not possible now", icon=":material/block:")
def _refused(why: str) -> None:
    st.markdown(ui.escaped(why))


def _asked(view: View, card: Card, action: TermAction) -> Asked:
    if action in INVOICED:
        return _invoice(view, card, action)
    if action in LATER:
        return _later(view, card, action)
    if action is TermAction.DROP:
        return _drop(view, card)
    if card.own is not None and action in _OF_ACTIVE:
        return _OF_ACTIVE[action](view, card, card.own)
    return _UNPAID[action](view, card)


# ---------------------------------------------------------------------------------- without an invoice


def _free(view: View, card: Card) -> Asked:
    name = card.product.name_en
    return Asked(
        f"Activate {name} free?",
        f"It begins today, {ui.day(view.today)}, and goes on until it is withdrawn or its period is edited. "
        f"It costs **0.00 {view.currency}**: nothing is invoiced, now or at the month close.",
        "Activate free", term_actions.activate_free, f"{name} is active.",
    )  # fmt: skip


def _trial(view: View, card: Card) -> Asked:
    name, days = card.product.name_en, card.product.test_days or 0
    last = view.today + timedelta(days=days - 1)
    return Asked(
        f"Activate the test time of {name}?",
        f"It begins today, {ui.day(view.today)}, and ends by itself after {ui.count(days, 'day')}, with "
        f"{ui.day(last)}. It costs **0.00 {view.currency}**. A customer has it once.",
        "Activate test time", term_actions.activate_trial, f"The test time of {name} has begun.",
    )  # fmt: skip


def _trial_again(view: View, card: Card) -> Asked:
    name = card.product.name_en
    return Asked(
        f"Allow the test time of {name} again?",
        f"It was used already. Once you allow it, it can be activated one more time, for **0.00 {view.currency}**.",
        "Allow it again", term_actions.allow_trial_again, f"The test time of {name} can be activated once more.",
    )  # fmt: skip


_UNPAID: dict[TermAction, Callable[[View, Card], Asked]] = {
    TermAction.FREE: _free,
    TermAction.TRIAL: _trial,
    TermAction.TRIAL_AGAIN: _trial_again,
}


# ---------------------------------------------------------------------------------- by an invoice


def _invoice(view: View, card: Card, action: TermAction) -> Asked:
    name, held = card.product.name_en, card.held
    with session.reading() as conn:
        seen = term_invoices.preview(conn, view.customer.id, card.product.id, action, today=view.today, user=view.user)
    cycle = "year" if CYCLE[action] == "yearly" else "month"
    sums = [(f"{name}, a {cycle}", seen.price)]
    if held is not None and action in UPGRADES:
        sums.append((f"{held.unused_days(view.today)} unused days of {held.product}", seen.credit))
    sums.append(("Net", seen.net))
    if seen.category is not None:
        sums += [("VAT", seen.vat), ("**To pay**", seen.gross)]
    table = "\n".join(f"| {_cell(label)} | {ui.money(amount)} |" for label, amount in sums)
    meanwhile = ""
    if held is not None and action in UPGRADES:
        meanwhile = (
            f" {ui.escaped(held.product)} goes on until then. Its unused days are counted from the day on which the "
            "invoice is issued; these are today's."
        )
    elif held is not None:
        meanwhile = f" Until then {ui.escaped(held.product)} goes on as it is."
    return Asked(
        f"{'Upgrade to' if action in UPGRADES else 'Invoice for'} {name}?",
        f"An advance invoice is **drafted**, for finance to issue. {ui.escaped(name)} begins on the day on which it is "
        f"paid in full, for {'12 months' if cycle == 'year' else 'one month'}.{meanwhile}\n\n"
        f"| | {view.currency} |\n|---|---:|\n{table}",
        "Draft the invoice", term_invoices.make, f"The invoice for {name} is drafted.", (action,),
    )  # fmt: skip


def _cell(label: str) -> str:
    return label if label.startswith("**") else ui.escaped(label)


def _later(view: View, card: Card, action: TermAction) -> Asked:
    name, held, cycle = card.product.name_en, card.held, CYCLE[action]
    assert held is not None
    return Asked(
        f"Change to {name} at the end of the period?",
        f"{ui.escaped(held.product)} stays until {ui.day(held.last_day)}. Its renewal is then for "
        f"**{ui.escaped(name)}, {CYCLES[cycle].lower()}: {ui.money(card.prices[cycle])} {view.currency}** net, instead "
        f"of {ui.money(held.price)} {CYCLES[held.cycle].lower()}. Nothing is invoiced now, and it can be taken back "
        "until the renewal is drafted.",
        "Change at the end", term_actions.change_later, f"{name} follows {held.product}.", (action,),
    )  # fmt: skip


def _drop(view: View, card: Card) -> Asked:
    waiting = card.awaited
    assert waiting is not None
    then = ""
    if waiting.follows_id is not None:
        then = " It was the renewal: what is active now then ends with its last day, unless that is taken back."
    return Asked(
        "Withdraw the draft invoice?",
        f"The draft of **{ui.money(waiting.price)} {view.currency}** net for {ui.escaped(waiting.product)} is deleted; "
        f"nothing is invoiced.{then}",
        "Delete the draft", term_actions.drop, "The draft is deleted.",
    )  # fmt: skip


# ---------------------------------------------------------------------------------- what is active


def _cancel(view: View, card: Card, own: Term) -> Asked:
    draft = " The renewal that is drafted is deleted." if card.waiting is not None else ""
    return Asked(
        f"Cancel {own.product} at its expiry?",
        f"It stays until {ui.day(own.last_day)} and ends then. Its renewal of {ui.money(own.price)} {view.currency} "
        f"net is not invoiced.{draft} Until then the cancellation can be taken back.",
        "Cancel at expiry", term_actions.cancel, f"{own.product} ends with {ui.day(own.last_day)}.",
    )  # fmt: skip


def _resume(view: View, card: Card, own: Term) -> Asked:
    return Asked(
        "Let it go on as it is?",
        f"{ui.escaped(own.product)} is renewed after {ui.day(own.last_day)}, {CYCLES[own.cycle].lower()}, for "
        f"{ui.money(own.price)} {view.currency} net as today.",
        "Let it go on", term_actions.resume, f"{own.product} goes on.",
    )  # fmt: skip


def _withdraw(view: View, card: Card, own: Term) -> Asked:
    lost = "It cost nothing, so nothing is lost."
    if own.paid:
        left = own.unused_days(view.today)
        worth = ui.money(own.worth(view.today))
        lost = (
            f"{ui.count(left, 'day')} of {own.days} are not used; they are worth **{worth} {view.currency}** net, "
            "which is **not reimbursed**."
        )
    draft = " The invoice that is drafted is deleted." if card.waiting is not None else ""
    return Asked(
        f"Withdraw {own.product}?",
        f"It ends at once: today, {ui.day(view.today)}, no longer belongs to it. {lost}{draft} To let it end with its "
        "last day, cancel it at expiry instead.",
        "Withdraw", term_actions.withdraw, f"{own.product} is withdrawn.",
    )  # fmt: skip


_OF_ACTIVE: dict[TermAction, Callable[[View, Card, Term], Asked]] = {
    TermAction.CANCEL: _cancel,
    TermAction.RESUME: _resume,
    TermAction.WITHDRAW: _withdraw,
}


def _open_period(view: View, card: Card) -> None:
    own = card.own
    if own is not None:
        forms.fill(PERIOD, {"from_day": own.from_day, "last_day": own.last_day}, version=own.version)
        _period(view, card, own, uuid4())


@st.dialog("Edit period", icon=":material/date_range:")
def _period(view: View, card: Card, own: Term, key: UUID) -> None:
    session.close_or_explain()
    begun = not own.lies_ahead(view.today)
    with st.form(PERIOD, border=False):
        st.markdown(
            f"**{ui.escaped(own.product)}**, {CYCLES[own.cycle].lower()}. Days that are added or taken off cost "
            f"**0.00 {view.currency}**: what was invoiced stays as it is."
        )
        st.date_input(
            "First day", value=None, key=f"{PERIOD}_from_day", format=customer_form.DAY, disabled=begun,
            help="It has begun, so its first day stays." if begun else None,
        )  # fmt: skip
        forms.error(PERIOD, "from_day")
        label = "Last day (empty: no end)" if own.cycle == "free" else "Last day"
        st.date_input(label, value=None, key=f"{PERIOD}_last_day", format=customer_form.DAY)
        forms.error(PERIOD, "last_day")
        st.form_submit_button(
            "Save period", key="term_period_save", type="primary", on_click=_save_period, args=(view, card, key)
        )


def _save_period(view: View, card: Card, key: UUID) -> None:
    typed = forms.typed(PERIOD, ("from_day", "last_day"))
    forms.save(
        PERIOD, term_actions.edit_period, view.customer.id, card.product.id, version=forms.version(PERIOD),
        today=view.today, request_key=key, success="The period is saved.", **typed,
    )  # fmt: skip
