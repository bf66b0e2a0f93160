"""Redeeming a project key for a customer: what the wizard of row G9 says before *Finish*, and what that does.

The ledger gets two bookings of IPs that name the key: its IPs from the day on which it starts, and 0 from the day after
its last one. `lib/billing.py` prices what stands between them by the key's selling price.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from lib import (
    audit,
    billing,
    booking_rules,
    bookings,
    charges,
    customer_states,
    customers,
    effects,
    fields,
    payment_methods,
    periods,
    products,
    project_key_stock,
    subscriptions,
)
from lib.auth import Permission, User, require
from lib.bookings import Holding
from lib.clock import month_of, months_between, next_month
from lib.customer_fields import PAYMENT_METHODS
from lib.customer_states import Action
from lib.customers import Customer
from lib.effects import Effect
from lib.errors import Conflict, Invalid
from lib.money import LARGEST, rounded
from lib.products import Product
from lib.project_keys import CHARGING, ProjectKey
from lib.requests import once

METHOD = "project_key"


@dataclass(frozen=True)
class Terms:
    """How a key is redeemed: its net selling price (once, or a month), the split of its IPs, at once or next month."""

    selling_price: Decimal
    charging: str
    internal: int
    external: int
    instantly: bool


@dataclass(frozen=True)
class Offer:
    """A key that this customer can redeem today, beside what it has: `decrease`, so with the next month only."""

    key: ProjectKey
    held: Holding
    decrease: bool


@dataclass(frozen=True)
class Preview:
    """What *Finish* would do. `total` is all that the key is charged over its runtime; `pending` what it takes back.

    The `effects` are on all charges of this month and the next.
    """

    from_day: date
    last_day: date
    total: Decimal
    effects: list[Effect]
    pending: int


def offered(conn: Connection, customer_id: int, typed: str, *, today: date, user: User) -> Offer:
    """Look a typed key up for a customer. Raises Invalid at `key` in words where it is unknown, used or expired."""
    require(user, Permission.EDIT_CUSTOMERS)
    customer = customers.customer(conn, customer_id)
    _require_state(conn, customer, today)
    key = _redeemable(conn, typed, today)
    standing = bookings.standing(conn, customer_id, product_id=_ips(conn).id)
    held = bookings.held_on(standing, today)
    return Offer(key, held, decrease=key.ips < held.quantity)


def preview(conn: Connection, customer_id: int, typed: str, terms: Terms, *, today: date, user: User) -> Preview:
    """What redeeming would do, said before it is done. Writes nothing. Raises what `redeem` raises."""
    key = _redeemable(conn, typed, today)
    pending = bookings.pending(conn, customer_id, today=today, product_id=_ips(conn).id)
    from_day = _start(terms.instantly, today)
    months = months_between(from_day, next_month(from_day, by=key.months + 1))
    total = Decimal("0.00")

    def write(dry: Connection) -> None:
        nonlocal total
        redeem(dry, customer_id, typed, terms, today=today, user=user)
        rated = billing.statement(select="SELECT sum(amount) FROM line WHERE project_key_id = :key", customers=True)
        values = {"months": months, "customers": [customer_id], "key": key.id}
        total = dry.scalar(text(rated), values) or total

    found = effects.of(conn, customer_id, write, today=today)
    return Preview(from_day, _last_day(from_day, key.months), total, found, len(pending))


def redeem(
    conn: Connection,
    customer_id: int,
    typed: str,
    terms: Terms,
    *,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> None:
    """Give a customer the IPs of a project key for its runtime, at the selling price, and note how it pays (row G9).

    It starts today or with the next month; with the next month where it brings fewer IPs than the customer has.
    IPs that are booked for later are taken back. Raises Invalid at the field, Conflict for what the state forbids.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    first_open = periods.hold_open_month(conn)
    customer = customers.held(conn, customer_id)
    _require_state(conn, customer, today)
    _require_terms(terms)
    payment_methods.require_offered(conn, METHOD, field="key")
    key = _redeemable(conn, typed, today)
    product = _ips(conn)
    held = bookings.held_on(bookings.standing(conn, customer_id, product_id=product.id), today)
    from_day = _require_start(customer, key, held, terms, first_open=first_open, today=today)
    split = booking_rules.split(product, key.ips, terms.internal, terms.external)
    until_day = project_key_stock.claim(
        conn, key.id, customer_id, from_day=from_day, charging=terms.charging, selling_price=terms.selling_price,
        user=user,
    )  # fmt: skip
    bookings.void(conn, bookings.all_after(conn, customer_id, product.id, today), user)
    rows = [(from_day, key.ips, *split), (until_day, 0, *booking_rules.split_of_none(product))]
    bookings.append(conn, customer_id, product, rows, user, project_key_id=key.id)
    customers.rewrite(conn, customer_id, payment_method=METHOD)
    charges.keep(conn, customers=[customer_id])
    _record(conn, customer, key, held, terms, (from_day, until_day), user)


# ------------------------------------------------------------------------------------------------ what is refused


def _require_state(conn: Connection, customer: Customer, today: date) -> None:
    booked = subscriptions.booked(conn, customer.id, today=today)
    customer_states.require(customer, Action.REDEEM_KEY, booked)


def _redeemable(conn: Connection, typed: str, today: date) -> ProjectKey:
    """The key that was typed, held until this transaction ends. Raises Invalid: unknown, used or expired."""
    key = project_key_stock.typed(conn, typed, today=today)
    if key.redeemed_at is not None:
        by = f"{key.customer} ({key.customer_number})"
        raise Invalid(f"This project key is used: {by} redeemed it. A key is redeemed once.", field="key")
    if key.state == "expired":
        raise Invalid(
            f"This project key has expired: it could be redeemed until {key.redeem_until:%d %b %Y}.", field="key"
        )
    return key


def _ips(conn: Connection) -> Product:
    product = products.product_of_kind(conn, "ips")
    if product is None:
        raise Conflict("There is no product for IPs yet. An admin adds one under Prices.")
    if not product.on_sale:
        raise Conflict(f"{product.name_en} is withdrawn from sale.")
    return product


def _require_terms(terms: Terms) -> None:
    price = terms.selling_price
    if price != rounded(price) or not 0 <= price <= LARGEST:
        raise Invalid("The selling price is an amount of 0.00 or more, to the cent.", field="selling_price")
    fields.one_of(terms.charging, CHARGING, field="charging", label="Charged")


def _require_start(
    customer: Customer, key: ProjectKey, held: Holding, terms: Terms, *, first_open: date, today: date
) -> date:
    """The day on which it starts: a decrease with the next month only, as always (row G6)."""
    from_day = _start(terms.instantly, today)
    if terms.instantly and key.ips < held.quantity:
        raise Invalid(
            f"The key brings fewer IPs than the {held.quantity:,} of today. A decrease takes effect with the next "
            f"month, on {next_month(month_of(today)):%d %b %Y}.",
            field="instantly",
        )
    periods.require_open(first_open, from_day, field="instantly")
    if customer.ends_on is not None and customer.ends_on < from_day:
        raise Conflict(
            f"{customer.name} ends on {customer.ends_on:%d %b %Y}, before the key would start. Change the end date."
        )
    return from_day


def _start(instantly: bool, today: date) -> date:
    return today if instantly else next_month(month_of(today))


def _last_day(from_day: date, months: int) -> date:
    """The day before the same day of the month, so many months later; of a month that has no such day its last one."""
    first = next_month(month_of(from_day), by=months)
    until = min(first + timedelta(days=from_day.day - 1), next_month(first) - timedelta(days=1))
    return until - timedelta(days=1)


def _record(
    conn: Connection,
    customer: Customer,
    key: ProjectKey,
    held: Holding,
    terms: Terms,
    days: tuple[date, date],
    user: User,
) -> None:
    """In the customer's change log; what the key costs us is not in it."""
    changes: dict[str, audit.Change] = {
        "project_key": (None, key.masked),
        "IPs": (held.quantity, key.ips),
        "from": (None, days[0]),
        "until": (None, days[1] - timedelta(days=1)),
        "selling_price": (None, terms.selling_price),
        "charged": (None, CHARGING[terms.charging]),
    }
    if customer.payment_method != METHOD:
        changes["payment_method"] = (PAYMENT_METHODS[customer.payment_method], PAYMENT_METHODS[METHOD])
    audit.record(conn, "redeem", "project key", key.id, user_id=user.id, customer_id=customer.id, changes=changes)
