"""IPs as a customer's users see and change them in the portal (rows G2, G6, G8, G14).

By the rules of `lib/bookings.py`, which we book by, too. In self-service each user of the customer does it; they
confirm the price that they saw, and the terms. In managed service they see the same and change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection, text

from lib import (
    audit,
    bookings,
    customer_states,
    customers,
    effects,
    periods,
    prices,
    products,
    project_keys,
    settings,
)
from lib.auth import PortalUser
from lib.bookings import Booking, Holding
from lib.clock import month_of, next_month
from lib.customers import Customer
from lib.effects import Effect
from lib.errors import BillingError, Conflict, Invalid, NotFound
from lib.products import Product
from lib.quotes import Quote
from lib.requests import once

STALE = "Your IPs or their price changed after you opened this. Nothing was saved: look again, then decide."


@dataclass(frozen=True)
class Ips:
    """The own company's IPs: what it has on `held`'s day, and what is booked for later, the next one first.

    `refusal` says why they can't be changed here, if so. `quote` is a whole month at the price of today's month; None
    without one, and while a project key brings them: `by_key` says which, `key_price` what a month of it costs. `seen`
    stands for the bookings and prices that were looked at: `change` refuses when they are others.
    """

    product_id: int
    name: str
    article: str
    held: Holding
    pending: list[Booking]
    refusal: str
    billed: bool
    individual: bool
    quote: Quote | None
    terms: str
    seen: str
    by_key: str = ""
    key_price: Decimal | None = None


def ips(conn: Connection, *, user: PortalUser, today: date) -> Ips | None:
    """The own company's IPs; None where we sell none."""
    product = products.product_of_kind(conn, "ips")
    if product is None:
        return None
    customer = customers.customer(conn, user.customer_id)
    standing = bookings.standing(conn, user.customer_id, product_id=product.id)
    held = bookings.held_on(standing, today)
    quoted = quotes(conn, quantities=[held.quantity], month=month_of(today), user=user)
    price = prices.version_in(conn, product.id, month=month_of(today), customer_id=user.customer_id)
    name, article = _called(conn, product, customer)
    key = project_keys.in_force(conn, user.customer_id, today=today)
    return Ips(
        product_id=product.id,
        name=name,
        article=article,
        held=held,
        pending=[booking for booking in reversed(standing) if booking.effective_on > today],
        refusal=_refusal(customer, product, today),
        billed=customer.billed,
        individual=price is not None and price.customer_id is not None,
        quote=quoted[0] if quoted and key is None else None,
        by_key="" if key is None else project_keys.described(key),
        key_price=None if key is None else project_keys.month_price(key),
        terms=settings.company(conn).registration_terms,
        seen=_seen(conn, product, user, today),
    )


def quotes(conn: Connection, *, quantities: Sequence[int], month: date, user: PortalUser) -> list[Quote] | None:
    """What so many IPs cost the own company in a whole month, by its own price where it has one; None without one."""
    return effects.whole_months(conn, user.customer_id, _product(conn).id, quantities=quantities, month=month)


def effect(
    conn: Connection,
    *,
    quantity: int,
    internal: int,
    external: int,
    effective_on: date,
    keep_pending: bool | None,
    today: date,
    user: PortalUser,
) -> list[Effect]:
    """What a change would do to all charges of this month and the next. Writes nothing; raises what `change` would."""
    return effects.of_booking(
        conn, user.customer_id, _product(conn).id, quantity=quantity, internal=internal, external=external,
        effective_on=effective_on, keep_pending=keep_pending, today=today, user=user,
    )  # fmt: skip


def change(
    conn: Connection,
    *,
    quantity: int,
    internal: int,
    external: int,
    effective_on: date,
    keep_pending: bool | None,
    accepted: bool,
    seen: str,
    today: date,
    user: PortalUser,
    request_key: UUID | None = None,
) -> None:
    """Book the own company's IPs and their distribution from today or from the next month on (rows G2, G6).

    0 from the next month on cancels them; another number later orders them anew (row G8). `accepted`: the price and
    the terms were confirmed, which is recorded with them. Raises NotAllowed in managed service, Invalid at the field,
    Conflict where the customer's state forbids it or something else was `seen`.
    """
    once(conn, request_key)
    product = _product(conn)
    periods.hold_open_month(
        conn
    )  # first, as every booking does: two who lock in another order would wait for each other
    customer = customers.held(conn, user.customer_id)
    customer_states.require_self_service(customer, product.kind, today=today)
    if seen != _seen(conn, product, user, today):
        raise Conflict(STALE)
    if not accepted:
        raise Invalid("Confirm the price and the terms to order.", field="accepted")
    bookings.book(
        conn, user.customer_id, product.id, effective_on=effective_on, quantity=quantity, internal=internal,
        external=external, keep_pending=keep_pending, today=today, user=user,
    )  # fmt: skip
    _record_confirmation(conn, product, quantity, effective_on, user)


def take_back(conn: Connection, booking_id: int, *, today: date, user: PortalUser) -> None:
    """Take a change of the own company's IPs back before its day. Raises NotFound for anybody else's."""
    bookings.take_back(conn, booking_id, today=today, user=user)


def _product(conn: Connection) -> Product:
    product = products.product_of_kind(conn, "ips")
    if product is None:
        raise NotFound("There are no IPs to order here.")
    return product


def _called(conn: Connection, product: Product, customer: Customer) -> tuple[str, str]:
    """Name and number of the article: in self-service those that the settings give it (row G14)."""
    name, number = product.name_de if customer.language == "de" else product.name_en, product.article_number
    if customer.service_mode != "self_service":
        return name, number
    seller = settings.company(conn)
    return seller.self_service_article_name or name, seller.self_service_article_number or number


def _refusal(customer: Customer, product: Product, today: date) -> str:
    try:
        customer_states.require_self_service(customer, product.kind, today=today)
    except BillingError as refusal:
        return str(refusal)
    return ""


def _seen(conn: Connection, product: Product, user: PortalUser, today: date) -> str:
    """The newest booking and the prices of this month and the next: all that a figure in the dialog rests on."""
    newest = conn.scalar(
        text("SELECT max(id) FROM bookings WHERE customer_id = :customer AND product_id = :product"),
        {"customer": user.customer_id, "product": product.id},
    )
    this = month_of(today)
    ruling = [
        prices.version_in(conn, product.id, month=month, customer_id=user.customer_id)
        for month in (this, next_month(this))
    ]
    return f"{today}:{newest or 0}:" + ":".join(str(price.id if price else 0) for price in ruling)


def _record_confirmation(
    conn: Connection, product: Product, quantity: int, effective_on: date, user: PortalUser
) -> None:
    quoted = quotes(conn, quantities=[quantity], month=month_of(effective_on), user=user)
    changes: dict[str, audit.Change] = {
        product.name_en: (None, quantity),
        "from": (None, effective_on),
        "price_of_a_month": (None, quoted[0].amount if quoted else None),
    }
    terms = settings.company(conn).registration_terms
    if terms:
        changes["terms_sha256"] = (None, sha256(terms.encode()).hexdigest())
    audit.record(
        conn, "confirm order", "booking", product.code, customer_id=user.customer_id, changes=changes,
        **audit.actor(user),
    )  # fmt: skip
