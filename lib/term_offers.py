"""What the state of a plan or module on a customer allows: the one place that `lib` and the cards ask (rows S4–S7).

A *slot* is what only one thing is in at a time: all plans together, each module by itself. In a slot there is at most
one term today, one that waits for its payment, and one that begins later; or a recurring booking, charged at the close.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import Connection

from lib import bookings, customer_states, customers, prices, products, terms
from lib.auth import Permission
from lib.bookings import Booking
from lib.clock import month_of
from lib.customer_states import Action
from lib.customers import Customer
from lib.errors import Conflict, NotFound
from lib.money import rounded, shown
from lib.products import Product
from lib.terms import MONTHS, Term


class TermAction(StrEnum):
    """Something that can be done about a plan or module. Its value is the verb of a refusal."""

    FREE = "activate it free"
    TRIAL = "activate its test time"
    TRIAL_AGAIN = "allow its test time again"
    MONTHLY = "make its invoice for a month"
    YEARLY = "make its invoice for a year"
    UPGRADE_MONTHLY = "upgrade to it for a month"
    UPGRADE_YEARLY = "upgrade to it for a year"
    LATER_MONTHLY = "change to it by the month"
    LATER_YEARLY = "change to it by the year"
    PERIOD = "edit its period"
    CANCEL = "cancel it"
    RESUME = "take its cancellation back"
    DROP = "withdraw its invoice"
    WITHDRAW = "withdraw it"


CYCLE = {
    TermAction.MONTHLY: "monthly",
    TermAction.YEARLY: "yearly",
    TermAction.UPGRADE_MONTHLY: "monthly",
    TermAction.UPGRADE_YEARLY: "yearly",
    TermAction.LATER_MONTHLY: "monthly",
    TermAction.LATER_YEARLY: "yearly",
}
INVOICED = (TermAction.MONTHLY, TermAction.YEARLY, TermAction.UPGRADE_MONTHLY, TermAction.UPGRADE_YEARLY)
UPGRADES = (TermAction.UPGRADE_MONTHLY, TermAction.UPGRADE_YEARLY)
LATER = (TermAction.LATER_MONTHLY, TermAction.LATER_YEARLY)
PERMISSIONS = {
    **dict.fromkeys((*INVOICED, TermAction.DROP), Permission.EDIT_INVOICES),
    TermAction.TRIAL_AGAIN: Permission.ALLOW_TRIALS,
    TermAction.CANCEL: Permission.CANCEL_SUBSCRIPTIONS,
    TermAction.RESUME: Permission.CANCEL_SUBSCRIPTIONS,
    TermAction.WITHDRAW: Permission.WITHDRAW_PRODUCTS,
}


def permission(action: TermAction) -> Permission:
    """What a person's role must allow for an action."""
    return PERMISSIONS.get(action, Permission.EDIT_CUSTOMERS)


@dataclass(frozen=True)
class Card:
    """A plan or module on a customer: what of it there is, what is in its slot, what it costs, what can be done.

    `held`, `planned` and `waiting` are the slot's terms of today, of later and without payment; `own` is the first of
    them that is of this very product. `recurring` is the product that is booked in the slot instead. `prices` has the
    net price of a cycle where there is one.
    """

    customer: Customer
    product: Product
    held: Term | None
    planned: Term | None
    waiting: Term | None
    recurring: Product | None
    tried: Term | None
    prices: dict[str, Decimal]
    actions: frozenset[TermAction] = field(default=frozenset())

    @property
    def own(self) -> Term | None:
        """The term of this product, if the slot has one: that of today, else the one to come."""
        mine = [term for term in (self.held, self.planned) if term is not None]
        return next((term for term in mine if term.product_id == self.product.id), None)

    @property
    def awaited(self) -> Term | None:
        """The term of this product that waits for its payment."""
        return self.waiting if self.waiting is not None and self.waiting.product_id == self.product.id else None

    @property
    def shown(self) -> bool:
        """Whether there is anything to see of it: it is on sale, or the customer has it."""
        mine = self.own is not None or self.awaited is not None
        return mine or self.product.on_sale or (self.recurring is not None and self.recurring.id == self.product.id)


def cards(conn: Connection, customer_id: int, kind: str, *, today: date) -> list[Card]:
    """The plans or the modules of the catalogue as they stand on a customer, in the order of documents."""
    return _cards(conn, customers.customer(conn, customer_id), kind, today)


def require(conn: Connection, customer_id: int, product_id: int, action: TermAction, *, today: date) -> Card:
    """The card, if its state allows the action; holds the customer until the transaction ends.

    Raises NotFound for what is no plan and no module, Conflict in words for what is not offered.
    """
    kind = products.product(conn, product_id).kind
    if kind not in products.IN_ADVANCE:
        raise NotFound("This is no plan and no module.")
    customer = customers.held_for_change(conn, customer_id)
    card = next(card for card in _cards(conn, customer, kind, today) if card.product.id == product_id)
    why = _refusal(card, action, today)
    if why is not None:
        raise Conflict(why)
    return card


def monthly_share(cycle: str, price: Decimal) -> Decimal:
    """What a month of a cycle costs, exactly; only to compare with."""
    return price / MONTHS[cycle]


def _cards(conn: Connection, customer: Customer, kind: str, today: date) -> list[Card]:
    catalogue = {product.id: product for product in products.catalogue(conn, kinds=(kind,))}
    found = [term for term in terms.terms_of(conn, customer.id) if term.kind == kind]
    standing = [booking for booking in bookings.standing(conn, customer.id) if booking.kind == kind]
    cards = []
    for product in catalogue.values():
        slot = found if kind == "plan" else [term for term in found if term.product_id == product.id]
        booked = standing if kind == "plan" else [b for b in standing if b.product_id == product.id]
        recurring = _recurring(booked, today)
        held = next((term for term in slot if term.covers(today)), None)
        card = Card(
            customer=customer,
            product=product,
            held=held,
            planned=next((term for term in slot if term.lies_ahead(today)), None),
            waiting=next((term for term in slot if term.state == "waiting"), None),
            recurring=None if recurring is None else catalogue[recurring],
            tried=next((term for term in found if term.product_id == product.id and _tried(term)), None),
            prices=_prices(conn, customer.id, product, today),
        )
        actions = frozenset(action for action in TermAction if _refusal(card, action, today) is None)
        cards.append(Card(**(vars(card) | {"actions": actions})))
    return cards


def _tried(term: Term) -> bool:
    return term.cycle == "trial" and not term.trial_allowed_again


def _recurring(booked: Sequence[Booking], today: date) -> int | None:
    """The product that the ledger has in a slot today or later."""
    latest: set[int] = set()
    for booking in booked:  # the latest effective day first
        if booking.effective_on > today:
            if booking.quantity:
                return booking.product_id
        elif booking.product_id not in latest:
            latest.add(booking.product_id)
            if booking.quantity:
                return booking.product_id
    return None


def _prices(conn: Connection, customer_id: int, product: Product, today: date) -> dict[str, Decimal]:
    """A month costs what one unit costs, by the customer's own price where it has one; a year its list price."""
    found: dict[str, Decimal] = {}
    version = prices.version_in(conn, product.id, month=month_of(today), customer_id=customer_id)
    if version is not None and version.tiers:
        found["monthly"] = rounded(version.tiers[0].unit_price)
    if product.yearly_price is not None:
        found["yearly"] = product.yearly_price
    return found


# ---------------------------------------------------------------------------------- what is refused, and why


def _refusal(card: Card, action: TermAction, today: date) -> str | None:
    name = card.product.name_en
    gone = _customer_refusal(card.customer, action, today)
    if gone is not None:
        return gone
    if action in (TermAction.FREE, TermAction.TRIAL, TermAction.TRIAL_AGAIN):
        return _of_unpaid(card, action)
    if action in CYCLE:
        return _of_paid(card, action, today)
    own = card.own
    if action is TermAction.DROP:
        if card.awaited is None:
            return f"No invoice for {name} waits for its payment."
        if card.awaited.invoice_state != "draft":
            return f"{card.awaited.invoice_number} is issued. Cancel that document instead."
        return None
    if own is None:
        return f"{name} is not active."
    return _of_active(card, own, action)


def _customer_refusal(customer: Customer, action: TermAction, today: date) -> str | None:
    if Action.EDIT not in customer_states.offers(customer):
        return f"{customer.name} can't be changed any more."
    begins = action in CYCLE or action in (TermAction.FREE, TermAction.TRIAL)
    if not begins:
        return None
    if not customer.active:
        return f"{customer.name} is deactivated. Activate it first."
    if customer.ends_on is not None and customer.ends_on < today:
        return f"{customer.name} ended on {customer.ends_on:%d %b %Y}. Change its end date first."
    if action in CYCLE and not customer.billed:
        return f"{customer.name} is a test customer and gets no invoices. Convert it to billed first."
    return None


def _occupied(card: Card) -> str | None:
    """Why nothing new can begin in the slot, whatever is there today."""
    if card.recurring is not None:
        return f"{card.recurring.name_en} is booked and charged at the month close. End or withdraw it first."
    if card.waiting is not None:
        return f"An invoice for {card.waiting.product} waits for its payment already."
    if card.planned is not None:
        return f"{card.planned.product} begins on {card.planned.from_day:%d %b %Y} already."
    return None


def _of_unpaid(card: Card, action: TermAction) -> str | None:
    name = card.product.name_en
    if action is TermAction.TRIAL_AGAIN:
        if card.tried is None or card.product.test_days is None:
            return f"The test time of {name} was not used."
        return f"{name} is active." if card.own is not None else None
    if not card.product.on_sale:
        return f"{name} is withdrawn from sale."
    why = _occupied(card)
    if why is not None:
        return why
    if card.held is not None:
        return f"{card.held.product} is active. Withdraw it first."
    if action is TermAction.TRIAL and card.product.test_days is None:
        return f"{name} has no test time."
    if action is TermAction.TRIAL and card.tried is not None:
        return f"The test time of {name} was used already. Only an admin can allow it again."
    return None


def _of_paid(card: Card, action: TermAction, today: date) -> str | None:
    name, cycle, held = card.product.name_en, CYCLE[action], card.held
    if not card.product.on_sale:
        return f"{name} is withdrawn from sale."
    if cycle not in card.prices:
        return f"{name} has no price for a {'year' if cycle == 'yearly' else 'month'}. Set one under Prices."
    why = _occupied(card)
    if why is not None:
        return why
    if action in (TermAction.MONTHLY, TermAction.YEARLY):
        if held is None or not held.paid:
            return None
        return f"{held.product} is paid until {held.last_day:%d %b %Y}."
    if held is None or not held.paid:
        return "There is no paid period to change."
    dearer = monthly_share(cycle, card.prices[cycle]) > monthly_share(held.cycle, held.price or Decimal(0))
    if action in UPGRADES:
        if held.product_id == card.product.id or card.product.kind != "plan":
            return f"{name} is no other plan."
        if not dearer:
            return f"{name} costs no more than {held.product}. Change to it at the end of the period."
        unused = held.worth(today)
        if unused < card.prices[cycle]:
            return None
        return (  # it is not paid out
            f"The unused days of {held.product} are worth {shown(unused)}, and {name} costs "
            f"{shown(card.prices[cycle])}. Choose the other cycle."
        )
    return _at_the_end(card, held, cycle, dearer=dearer)


def _at_the_end(card: Card, held: Term, cycle: str, *, dearer: bool) -> str | None:
    name, same = card.product.name_en, card.product.id == held.product_id
    if dearer and not same:
        return f"{name} costs more than {held.product}. Upgrade to it now."
    if held.cancelled_at is not None:
        return f"{held.product} is cancelled. Take that back first."
    if same and cycle == held.cycle:
        return f"{name} goes on {terms.CYCLES[cycle].lower()} anyway."
    if (held.next_product_id, held.next_cycle) == (card.product.id, cycle):
        return f"The change to {name} is chosen already."
    return None


def _of_active(card: Card, own: Term, action: TermAction) -> str | None:
    name, changed = own.product, own.cancelled_at is not None or own.next_product_id is not None
    issued = card.waiting is not None and card.waiting.invoice_state != "draft"
    if action is TermAction.PERIOD:
        return None
    if action is TermAction.RESUME:
        return None if changed else f"{name} is not cancelled."
    if action is TermAction.CANCEL and not own.paid:
        return f"{name} is not renewed, so there is nothing to cancel. Edit its period instead."
    if action is TermAction.CANCEL and own.cancelled_at is not None:
        return f"{name} is already cancelled; it ends on {own.last_day:%d %b %Y}."
    if action is TermAction.CANCEL and card.planned is not None and card.planned is not own:
        return f"Its next period from {card.planned.from_day:%d %b %Y} is paid already. Cancel that one when it began."
    if issued and card.waiting is not None:
        return f"{card.waiting.invoice_number} waits for its payment. Cancel that document first."
    return None
