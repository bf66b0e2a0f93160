"""The verbs that change what a customer is, in one menu; each says in its dialog what it does to the charges.

What is offered follows from the customer's state and the person's role (rows G3, G7, G8, G12, N9, N10, S6).
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import customer_verbs, deletions, effects, products, subscriptions
from lib.auth import Permission, User
from lib.customer_states import PERMISSIONS, Action
from lib.effects import Effect
from lib.errors import BillingError
from lib.products import Product
from pages.shared import customer_address, customer_deletion, customer_users, forms, project_key_wizard, session, ui
from pages.shared.customer_view import View

WITHDRAW = "withdraw"

# In the order of the menu: what is undone most easily stands first.
LABELS = {
    Action.EDIT_ADDRESS: ":material/home_work: Edit address …",
    Action.RESEND_INVITE: ":material/forward_to_inbox: Resend invite …",
    Action.CHANGE_MAIN: ":material/star: Change main user …",
    Action.REDEEM_KEY: ":material/key: Project key …",
    Action.LOCK: ":material/lock: Lock …",
    Action.UNLOCK: ":material/lock_open: Unlock …",
    Action.DEACTIVATE: ":material/pause: Deactivate …",
    Action.ACTIVATE: ":material/play_arrow: Activate …",
    Action.CANCEL: ":material/event_busy: Cancel subscription …",
    Action.RESUME: ":material/undo: Take cancellation back …",
    Action.WITHDRAW: ":material/remove_circle: Withdraw a plan or module …",
    Action.MANAGE: ":material/support_agent: Convert to managed service …",
    Action.DELETE: ":material/delete: Delete …",
}


def may(user: User, action: Action) -> bool:
    """Whether this person's role allows an action of the menu."""
    return user.may(PERMISSIONS.get(action, Permission.EDIT_CUSTOMERS))


def open_dialog(view: View, action: Action) -> None:
    """Open the dialog of an action, if it is offered still."""
    if action in view.offers and may(view.user, action):
        _DIALOGS[action](view)


def menu(view: View) -> None:
    """The menu of what this person may do to this customer now; nothing where that is nothing."""
    offered = [action for action in LABELS if action in view.offers and may(view.user, action)]
    if not offered:
        return
    chosen = st.menu_button(
        "Actions", offered, key="customer_actions", icon=":material/more_horiz:",
        format_func=lambda action: LABELS.get(action, ""),
    )  # fmt: skip
    if chosen is not None:
        _DIALOGS[chosen](view)


def told(view: View, write: Callable[..., Any]) -> str:
    """What a write would change of the customer's charges, in words and figures, for the dialog that asks."""
    if not view.customer.billed:
        return "A test customer has no charges, so nothing changes there."
    try:
        with session.reading() as conn:
            found = effects.of(conn, view.customer.id, lambda dry: write(dry, user=view.user), today=view.today)
    except BillingError as refusal:
        return ui.escaped(str(refusal))
    if all(effect.before == effect.after for effect in found):
        amounts = ", ".join(f"{ui.month(effect.month)} {ui.charge(effect.after)}" for effect in found)
        return f"Its charges don't change (net, {view.currency}): {amounts}."
    rows = "\n".join(f"- {ui.month(effect.month)}: {_change(effect)}" for effect in found)
    return f"Its charges, net in {view.currency}:\n{rows}"


def _change(effect: Effect) -> str:
    if effect.before == effect.after:
        return f"{ui.charge(effect.after)}, as before"
    return f"{ui.charge(effect.before)} → **{ui.charge(effect.after)}**"


def _ask(
    view: View,
    title: str,
    explanation: str,
    button: str,
    action: Callable[..., Any],
    *,
    success: str,
    reason: bool = False,
    **given: Any,
) -> None:
    """A dialog that says what a verb does, and what it does to the charges, before it does it."""
    customer_id = view.customer.id
    effect = told(view, lambda conn, user: action(conn, customer_id, user=user, **given))
    ui.confirm(
        title, f"{explanation}\n\n{effect}", button, action, customer_id, success=success, reason=reason, **given
    )


# ---------------------------------------------------------------------------------- the dialogs


def _lock(view: View) -> None:
    _ask(
        view, "Lock this customer?",
        "Its users can't sign in any more, and whoever is signed in is signed out at once. "
        "What is booked runs on. *Unlock* lets them in again.",
        "Lock", customer_verbs.lock, success=f"{view.customer.name} is locked.",
    )  # fmt: skip


def _unlock(view: View) -> None:
    _ask(
        view, "Unlock this customer?", "Its users can sign in again.", "Unlock", customer_verbs.unlock,
        success=f"{view.customer.name} is unlocked.",
    )  # fmt: skip


def _deactivate(view: View) -> None:
    kept = "All data and bookings are kept, and *Activate* restores the customer completely."
    stops = "Its days are not charged" if view.customer.billed else "The test stops"
    _ask(
        view, "Deactivate this customer?",
        f"{stops} from today, {ui.day(view.today)}, until it is activated. What is measured by the month and not by "
        f"days stays charged, if a day before today counts. {kept}",
        "Deactivate", customer_verbs.deactivate, success=f"{view.customer.name} is deactivated.", reason=True,
        today=view.today,
    )  # fmt: skip


def _activate(view: View) -> None:
    goes_on = "It is charged again" if view.customer.billed else "The test goes on"
    _ask(
        view, "Activate this customer?",
        f"Everything is as it was before. {goes_on} from today, {ui.day(view.today)}, with what is booked on each day; "
        "the days in between stay uncharged.",
        "Activate", customer_verbs.activate, success=f"{view.customer.name} is active again.", today=view.today,
    )  # fmt: skip


def _cancel(view: View) -> None:
    _ask(
        view, "Cancel the subscription?",
        "All that is booked ends with the current booking month, and changes that are booked for later don't happen. "
        "Until then the cancellation can be taken back. The customer stays: booking something again reactivates it.",
        "Cancel subscription", subscriptions.cancel, success="The subscription is cancelled.", today=view.today,
    )  # fmt: skip


def resume(view: View) -> None:
    """Ask whether a cancellation is taken back."""
    _ask(
        view, "Take the cancellation back?",
        "The subscription goes on as it was booked before, with the changes that were booked for later.",
        "Take back", subscriptions.take_back, success="The subscription goes on.", today=view.today,
    )  # fmt: skip


def _manage(view: View) -> None:
    _ask(
        view, "Convert to managed service?",
        f"**{ui.escaped(view.customer.name)}**: from now on only we edit its address, billing address and VAT ID, and "
        "change its IPs and their distribution. Its users still sign in and read.",
        "Convert", customer_verbs.convert_to_managed, success=f"{view.customer.name} is in managed service.",
    )  # fmt: skip


def _withdraw(view: View) -> None:
    with session.reading() as conn:
        offered = [products.product(conn, product_id) for product_id in view.booked.withdrawable]
    forms.fill(WITHDRAW, {"product": offered[0].id})
    _withdrawal(view, {product.id: product for product in offered}, uuid4())


@st.dialog("Withdraw", icon=":material/remove_circle:")
def _withdrawal(view: View, offered: dict[int, Product], key: UUID) -> None:
    session.close_or_explain()
    chosen = forms.choice(
        WITHDRAW, "product", "Plan or module", offered, lambda one: offered[one].name_en if one in offered else ""
    )
    st.markdown(
        f"It ends at once: today, {ui.day(view.today)}, is not charged any more. What was charged before is not "
        "reimbursed. To end it with a last day, use *End* beside what is booked."
    )

    def write(conn: Any, user: Any) -> None:
        subscriptions.withdraw(conn, view.customer.id, chosen, today=view.today, user=user)

    st.markdown(told(view, write))
    st.button("Withdraw", key="withdraw_go", type="primary", on_click=_save_withdrawal, args=(view, offered, key))


def _save_withdrawal(view: View, offered: dict[int, Product], key: UUID) -> None:
    product_id = forms.typed(WITHDRAW, ("product",))["product"]
    name = offered[product_id].name_en if product_id in offered else "It"
    forms.save(
        WITHDRAW, subscriptions.withdraw, view.customer.id, product_id, today=view.today, request_key=key,
        success=f"{name} is withdrawn.",
    )  # fmt: skip


def _delete(view: View) -> None:
    customer_id = view.customer.id

    def write(conn: Any, user: Any) -> None:
        deletions.mark(conn, customer_id, typed=deletions.WORD, today=view.today, user=user)

    customer_deletion.ask(view, told(view, write))


_DIALOGS: dict[Action, Callable[[View], None]] = {
    Action.EDIT_ADDRESS: customer_address.open_dialog,
    Action.RESEND_INVITE: customer_users.open_resend,
    Action.CHANGE_MAIN: customer_users.open_main,
    Action.REDEEM_KEY: project_key_wizard.open_dialog,
    Action.LOCK: _lock,
    Action.UNLOCK: _unlock,
    Action.DEACTIVATE: _deactivate,
    Action.ACTIVATE: _activate,
    Action.CANCEL: _cancel,
    Action.RESUME: resume,
    Action.WITHDRAW: _withdraw,
    Action.MANAGE: _manage,
    Action.DELETE: _delete,
}
