"""What may be booked, and from which day on: one set of rules for us, a customer's users and files (rows G2, G6, B11).

Each raises Invalid at the field. What the ledger itself refuses, like a second plan, its triggers say.
"""

from datetime import date
from typing import Protocol

from sqlalchemy import Connection

from lib import fields, products, project_keys
from lib.clock import month_of, next_day, next_month
from lib.errors import Invalid


class Licence(Protocol):
    """How many users a customer may have; `lib.customers.Customer` says it."""

    @property
    def max_users(self) -> int | None: ...
    @property
    def users_beyond_max(self) -> bool: ...


def split(
    product: products.Product, quantity: int, internal: int | None, external: int | None
) -> tuple[int | None, int | None]:
    """Internal and external IPs, which add up to the quantity; None for anything else. Raises Invalid."""
    if product.kind != "ips":
        return None, None
    inside = fields.whole(internal or 0, field="internal", label="Internal IPs")
    outside = fields.whole(
        external if external is not None else quantity - inside, field="external", label="External IPs"
    )
    if inside + outside != quantity:
        raise Invalid(f"Internal and external add up to {inside + outside}, not to {quantity}.", field="internal")
    return inside, outside


def split_of_none(product: products.Product) -> tuple[int | None, int | None]:
    """How a quantity of 0 is split."""
    return (0, 0) if product.kind == "ips" else (None, None)


def require_sensible(
    product: products.Product, quantity: int, effective_on: date, ends_on: date | None, *, today: date
) -> None:
    """Refuse with Invalid what can't be booked of a product, and days that make no sense."""
    if product.kind == "adjustment":
        raise Invalid("Adjustments are not booked; add one on the customer's page.", field="product")
    if not product.counted and quantity not in (0, 1):
        raise Invalid(f"{product.name_en} is either on or off.", field="quantity")
    if not product.on_sale and quantity:
        raise Invalid(f"{product.name_en} is withdrawn from sale.", field="product")
    if effective_on > next_month(month_of(today), by=24):
        raise Invalid("The day is more than two years ahead.", field="effective_on")
    if ends_on is not None and ends_on < effective_on:
        raise Invalid("The last day is before the first one.", field="ends_on")
    if ends_on is not None and ends_on.year > 2199:
        raise Invalid("The last day is too far in the future.", field="ends_on")
    if ends_on is not None and quantity == 0:
        raise Invalid("An end needs a quantity that ends.", field="ends_on")


def require_licence(customer: Licence, quantity: int) -> None:
    """More users than the licence's maximum only where it lets them in; fewer may always be booked (row N4)."""
    if customer.max_users is not None and not customer.users_beyond_max and quantity > customer.max_users:
        raise Invalid(
            f"The licence allows {customer.max_users:,} users at most. Raise its maximum, or allow users beyond it, "
            "first.",
            field="quantity",
        )


def require_ip_day(held: int, wanted: int, effective_on: date, *, today: date) -> None:
    """IPs change today or with the next month, a decrease only with the next month (row G6). Raises Invalid."""
    following = next_month(month_of(today))
    if wanted < held and effective_on != following:
        raise Invalid(f"A decrease takes effect with the next month, on {following:%d %b %Y}.", field="effective_on")
    if effective_on not in (today, following):
        raise Invalid(f"IPs change today or on {following:%d %b %Y}.", field="effective_on")


def require_key_kept(
    conn: Connection, customer_id: int, quantity: int, effective_on: date, ends_on: date | None, *, today: date
) -> int | None:
    """The project key that runs on a day, if one does: it brings as many IPs until it ends (row G9). Raises Invalid."""
    for key in project_keys.of_customer(conn, customer_id, today=today):
        assert key.from_day is not None and key.until_day is not None
        fixed = f"Project key {key.masked} brings {key.ips:,} IPs until {key.last_day:%d %b %Y}"
        if ends_on is not None and effective_on < key.until_day and key.from_day <= next_day(ends_on) < key.until_day:
            raise Invalid(f"{fixed}, which end with it.", field="ends_on")
        if key.from_day <= effective_on < key.until_day:
            if quantity != key.ips:
                raise Invalid(f"{fixed}. Until then only their distribution changes.", field="quantity")
            return key.id
    return None
