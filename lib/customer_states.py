"""What the state of a customer allows: the one place that `lib` and the pages ask (rows G3, G7, G8, G12, N6, N9, N10).

Five verbs end something, and each ends something else:

- *lock*: its users can't sign in; what is booked runs on and is charged.
- *deactivate*: no day is charged until it is activated; all bookings stay.
- *cancel the subscription*: everything booked ends with the booking month; the customer stays.
- *withdraw*: one plan or module ends at once.
- *delete*: sign-ins end at once, the subscription with the booking month; then the data are erased.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from lib.auth import Permission
from lib.errors import AlreadyDone, Conflict, NotAllowed


class Action(StrEnum):
    """Something that can be done to a customer. Its value is the sentence's verb in a refusal."""

    EDIT = "edit"
    EDIT_ADDRESS = "edit the address"
    EDIT_LAST_INVOICE = "edit what the last invoice needs"
    CHARGE = "charge"
    SET_END = "change the end date"
    CONVERT = "convert to billed"
    MANAGE = "convert to managed service"
    HAND_OVER = "hand over to self-service"
    REDEEM_KEY = "redeem a project key"
    RESEND_INVITE = "send the invite once more"
    CHANGE_MAIN = "change the main user"
    LOCK = "lock"
    UNLOCK = "unlock"
    DEACTIVATE = "deactivate"
    ACTIVATE = "activate"
    CANCEL = "cancel the subscription"
    RESUME = "take the cancellation back"
    WITHDRAW = "withdraw"
    DELETE = "delete"
    KEEP = "take the deletion back"


PERMISSIONS = {
    Action.LOCK: Permission.LOCK_CUSTOMERS,
    Action.UNLOCK: Permission.LOCK_CUSTOMERS,
    Action.DEACTIVATE: Permission.DEACTIVATE_CUSTOMERS,
    Action.ACTIVATE: Permission.DEACTIVATE_CUSTOMERS,
    Action.CANCEL: Permission.CANCEL_SUBSCRIPTIONS,
    Action.RESUME: Permission.CANCEL_SUBSCRIPTIONS,
    Action.WITHDRAW: Permission.WITHDRAW_PRODUCTS,
    Action.DELETE: Permission.DELETE_CUSTOMERS,
    Action.KEEP: Permission.DELETE_CUSTOMERS,
    Action.CHARGE: Permission.EDIT_ADJUSTMENTS,
    Action.EDIT_LAST_INVOICE: Permission.EDIT_INVOICES,
}


class State(Protocol):
    """What of a customer decides; `lib.customers.Customer` has it."""

    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def billed_from(self) -> date | None: ...
    @property
    def ends_on(self) -> date | None: ...
    @property
    def active(self) -> bool: ...
    @property
    def locked_at(self) -> datetime | None: ...
    @property
    def service_mode(self) -> str: ...
    @property
    def marked_for_deletion_at(self) -> datetime | None: ...
    @property
    def erased_at(self) -> datetime | None: ...
    @property
    def settled_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Booked:
    """What of a customer's bookings decides: what a cancellation would end, what can be withdrawn.

    `cancelled_until` is the last day of a subscription that was cancelled and hasn't ended yet, `key_until` the last
    one of the project key that runs or is to; `key_runs_on`: after this month, too.
    """

    runs_on: bool
    withdrawable: tuple[int, ...]
    cancelled_until: date | None
    key_until: date | None = None
    key_runs_on: bool = False


NOTHING = Booked(False, (), None)


def offers(customer: State, booked: Booked = NOTHING, main: str | None = None) -> frozenset[Action]:
    """What can be done to a customer now, whoever asks. What isn't in it, `require` refuses.

    `main` is the state of its main user (`customer_users.CustomerUser.state`), None where it has none.
    """
    return frozenset(action for action in Action if _refusal(customer, action, booked, main) is None)


def require(customer: State, action: Action, booked: Booked = NOTHING, main: str | None = None) -> None:
    """Raise Conflict in words where the customer's state doesn't allow it; AlreadyDone where it is so already."""
    refusal = _refusal(customer, action, booked, main)
    if refusal is not None:
        raise refusal


# What its users read who aren't let in any more.
CLOSED = "The access of your company is closed at the moment. Please ask us."


def require_self_service(customer: State, kind: str, *, today: date) -> None:
    """Refuse in words what a customer's users don't change by themselves; they do IPs in self-service (row G2)."""
    if customer.locked_at is not None or customer.marked_for_deletion_at is not None or customer.erased_at is not None:
        raise NotAllowed(CLOSED)
    if kind != "ips":
        raise NotAllowed("Only IPs are changed here. Ask us to change anything else.")
    if customer.service_mode != "self_service":
        raise NotAllowed("We change IPs and their distribution for you. Please ask us.")
    if not customer.active:
        raise Conflict("Your subscription is paused. Ask us to activate it before you change IPs.")
    if customer.ends_on is not None and customer.ends_on < today:
        raise Conflict(f"Your subscription ended on {customer.ends_on:%d %b %Y}. Ask us to prolong it.")


def _refusal(customer: State, action: Action, booked: Booked, main: str | None) -> Conflict | None:
    if customer.erased_at is not None:
        if action in (Action.CHARGE, Action.EDIT_LAST_INVOICE):
            return _when_settled(customer)
        return Conflict(f"{customer.name} was deleted and its data erased. Nothing can be changed any more.")
    if customer.marked_for_deletion_at is not None:
        if action in (Action.CHARGE, Action.KEEP):
            return None
        if action is Action.DELETE:
            return AlreadyDone(f"{customer.name} is already marked for deletion.")
        return Conflict(f"{customer.name} is marked for deletion. Take that back before you change anything.")
    done = _already(customer, action, booked)
    if done is not None:
        return AlreadyDone(done)
    why = _of_people(customer, action, main) or _by_key(customer, action, booked) or _not_now(customer, action, booked)
    return None if why is None else Conflict(why)


def _when_settled(customer: State) -> Conflict | None:
    """What belongs to the last invoice goes on until that is issued and settled, even after the erasure (row G12)."""
    if customer.settled_at is None:
        return None
    return Conflict(f"{customer.name} was deleted, and its last invoice is settled. Nothing is charged any more.")


def _already(customer: State, action: Action, booked: Booked) -> str | None:
    """Why nothing is left to do: it is so already, say after the second click of a double click."""
    name = customer.name
    match action:
        case Action.LOCK if customer.locked_at is not None:
            return f"{name} is already locked."
        case Action.UNLOCK if customer.locked_at is None:
            return f"{name} is not locked."
        case Action.ACTIVATE if customer.active:
            return f"{name} is already active."
        case Action.MANAGE if customer.service_mode == "managed":
            return f"{name} is already in managed service."
        case Action.HAND_OVER if customer.service_mode == "self_service":
            return f"{name} is already in self-service."
        case Action.CANCEL if booked.cancelled_until is not None and not booked.runs_on:
            return f"The subscription of {name} is already cancelled; it ends on {booked.cancelled_until:%d %b %Y}."
        case Action.RESUME if booked.cancelled_until is None and booked.runs_on:
            return f"The subscription of {name} is not cancelled."
        case Action.KEEP:
            return f"{name} is not marked for deletion."
    return None


def _of_people(customer: State, action: Action, main: str | None) -> str | None:
    """What its own people do, or what needs one of them (rows G3, G11)."""
    name = customer.name
    match action:
        case Action.EDIT_ADDRESS if customer.service_mode == "self_service":
            return (
                f"{name} is in self-service: its main user edits its address, billing address and VAT ID in the "
                "portal. To edit them here, convert it to managed service first."
            )
        case Action.RESEND_INVITE if main != "invited":
            return f"{name} has no main user who is invited and has not registered yet."
        case Action.CHANGE_MAIN if main is None:
            return f"{name} has no main user. Invite somebody: the first user becomes it."
    return None


def _by_key(customer: State, action: Action, booked: Booked) -> str | None:
    """Who may redeem a project key, and what waits until it has ended (row G9)."""
    name = customer.name
    ends = f"{booked.key_until:%d %b %Y}" if booked.key_until is not None else ""
    match action:
        case Action.REDEEM_KEY if customer.service_mode != "managed":
            return f"{name} is in self-service. Convert it to managed service before it gets IPs by project key."
        case Action.REDEEM_KEY if customer.phase != "billed":
            return f"{name} is a test customer. Convert it to billed before it gets IPs by project key."
        case Action.REDEEM_KEY if not customer.active:
            return f"{name} is deactivated. Activate it before it gets IPs by project key."
        case Action.REDEEM_KEY if ends:
            return f"{name} has a project key until {ends}. Redeem another one once it has ended."
        case Action.REDEEM_KEY if booked.cancelled_until is not None:
            return f"The subscription of {name} is cancelled. Take that back before it gets IPs by project key."
        case Action.HAND_OVER if ends:
            return f"{name} has a project key until {ends}, which is for managed service only."
        case Action.CANCEL if booked.key_runs_on:
            return (
                f"{name} has IPs by project key until {ends}; they end by themselves on that day. End the other "
                "products one by one, or set an end date."
            )
    return None


def _not_now(customer: State, action: Action, booked: Booked) -> str | None:
    """What has to be done first, or what makes an action senseless."""
    name = customer.name
    match action:
        case Action.EDIT_LAST_INVOICE:
            return f"{name} is not deleted. Edit its data instead."
        case Action.CONVERT if customer.billed_from is not None:
            return f"{name} is already billed, since {customer.billed_from:%d %b %Y}."
        case Action.DEACTIVATE if not customer.active:
            return f"{name} is already deactivated."
        case Action.CANCEL | Action.WITHDRAW if not customer.active:
            return f"{name} is deactivated. Activate it before you end what it has booked."
        case Action.CANCEL if not booked.runs_on:
            return f"{name} has nothing booked that runs on after this month."
        case Action.RESUME if booked.cancelled_until is None:
            return f"No cancellation of {name} is pending. Book what it is to have from now on."
        case Action.WITHDRAW if not booked.withdrawable:
            return f"{name} has no plan and no module booked today."
    return None
