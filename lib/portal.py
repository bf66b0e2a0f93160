"""What a customer's user reads and writes in the portal: their own company, what it has booked, its documents.

Every function takes the person and answers for their customer alone. What belongs to another one does not
exist here, in the same words as what doesn't exist at all. The team is `lib/customer_users.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import (
    audit,
    bookings,
    customer_users,
    customers,
    documents,
    invoices,
    prices,
    products,
    project_keys,
    settings,
)
from lib.auth import PortalUser
from lib.clock import month_of
from lib.customer_users import CustomerUser
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.prices import Tier

# What the main user of a self-service customer edits (row G3). Not the country: VAT depends on it.
ADDRESS = ("street", "postcode", "city", "phone")
BILLING = ("separate_billing", "billing_name", "billing_street", "billing_postcode", "billing_city", "billing_email")
TAX = ("vat_id", "tax_number", "no_tax_id_reason")
STALE = "Somebody changed your company's data after you opened them. Nothing was saved: reload, then enter yours again."


@dataclass(frozen=True)
class Company:
    """The own company as its users see it; nothing of what we note about it."""

    number: str
    name: str
    phase: str
    active: bool
    ends_on: date | None
    service_mode: str
    payment_method: str
    street: str
    postcode: str
    city: str
    country: str
    phone: str
    separate_billing: bool
    billing_name: str
    billing_street: str
    billing_postcode: str
    billing_city: str
    billing_country: str
    billing_email: str
    vat_id: str
    tax_number: str
    no_tax_id_reason: str
    purchase_order: str
    version: int


@dataclass(frozen=True)
class Booked:
    """What is booked of a product today: the quantity (1 where it is on or off), since when, at which price.

    `tiers` is empty where there is no price; `by_key` says by which project key it is there, if by one.
    `changes_on` and `changes_to`: what is booked for next, if anything.
    """

    name: str
    article: str
    kind: str
    counted: bool
    quantity: int
    since: date
    individual: bool
    tiers: list[Tier]
    changes_on: date | None
    changes_to: int | None
    by_key: str


@dataclass(frozen=True)
class Document:
    """An issued document of the own company; `gross` in `currency`."""

    id: int
    kind: str
    state: str
    number: str
    month: date | None
    issued_on: date
    due_on: date | None
    gross: Decimal
    currency: str


def company(conn: Connection, *, user: PortalUser) -> Company:
    """The person's own company, as it is now."""
    found = customers.customer(conn, user.customer_id)
    return Company(**{name: getattr(found, name) for name in Company.__dataclass_fields__})


def subscription(conn: Connection, *, user: PortalUser, today: date) -> list[Booked]:
    """What the own company has booked today, with the price of the month: its own one, else the list price.

    In self-service IPs have the name and number of the article that the settings give them (row G14).
    """
    seller = settings.company(conn)
    standing = bookings.standing(conn, user.customer_id)
    german = conn.scalar(text("SELECT language = 'de' FROM customers WHERE id = :id"), {"id": user.customer_id})
    key = project_keys.in_force(conn, user.customer_id, today=today)
    found = []
    for product in products.catalogue(conn):
        mine = [booking for booking in standing if booking.product_id == product.id]
        now = next((booking for booking in mine if booking.effective_on <= today), None)
        later = next((booking for booking in reversed(mine) if booking.effective_on > today), None)
        if now is None or not now.quantity:
            continue
        price = prices.version_in(conn, product.id, month=month_of(today), customer_id=user.customer_id)
        own_article = product.kind == "ips" and user.self_service
        found.append(
            Booked(
                name=(own_article and seller.self_service_article_name)
                or (product.name_de if german else product.name_en),
                article=(own_article and seller.self_service_article_number) or product.article_number,
                kind=product.kind,
                counted=product.counted,
                quantity=now.quantity,
                since=now.effective_on,
                individual=price is not None and price.customer_id is not None,
                tiers=price.tiers if price else [],
                changes_on=later.effective_on if later else None,
                changes_to=later.quantity if later else None,
                by_key=project_keys.described(key) if key is not None and product.kind == "ips" else "",
            )
        )
    return found


def team(conn: Connection, *, user: PortalUser) -> list[CustomerUser]:
    """All who sign in for the own company (row G5)."""
    return customer_users.users_of(conn, user.customer_id)


def currency(conn: Connection) -> str:
    """The currency of all prices here."""
    return settings.company(conn).currency


def own_documents(conn: Connection, *, user: PortalUser) -> list[Document]:
    """The issued documents of the own company, the newest first; a draft is nobody's business yet."""
    fields = Document.__dataclass_fields__
    return [
        Document(**{name: getattr(invoice, name) for name in fields})
        for invoice in invoices.invoices_of(conn, user.customer_id)
        if invoice.number is not None
    ]


def pdf(conn: Connection, invoice_id: int, *, user: PortalUser) -> tuple[str, bytes]:
    """File name and bytes of an issued document of the own company. Raises NotFound for anything else."""
    own = conn.scalar(
        text("SELECT true FROM invoices WHERE id = :id AND customer_id = :customer AND number IS NOT NULL"),
        {"id": invoice_id, "customer": user.customer_id},
    )
    if not own:
        raise NotFound("This document does not exist.")
    return documents.pdf(conn, invoice_id)


def edit_address(conn: Connection, *, version: int, changes: Mapping[str, Any], today: date, user: PortalUser) -> None:
    """Save the own company's address and tax IDs: its main user does, where the customer is in self-service (row G3).

    Raises NotAllowed for anybody else, Invalid at the field, Conflict where the form is older than the row.
    """
    before = customers.held_for_change(conn, user.customer_id)
    if not user.is_main or before.service_mode != "self_service":
        why = "Ask your main user." if before.service_mode == "self_service" else "Please tell us what has changed."
        raise NotAllowed(f"You can't edit your company's address. {why}")
    for name in changes:
        if name not in (*ADDRESS, *BILLING, *TAX):
            raise Invalid("This can't be changed here. Please ask us.", field=name)
    if before.version != version:
        raise Conflict(STALE)
    values = customers.checked_changes(conn, before, changes, today=today)
    for name, label in (("street", "The street"), ("postcode", "The postcode"), ("city", "The city")):
        if not values.get(name, getattr(before, name)):
            raise Invalid(f"{label} is required.", field=name)
    changed = audit.difference(vars(before), values)
    if not changed:
        return
    customers.rewrite(conn, before.id, **values)
    audit.record(
        conn, "edit", "customer", before.id, user_id=None, customer_user_id=user.id, customer_id=before.id,
        changes=changed,
    )  # fmt: skip
