"""Prices by version: list prices, individual prices, purchase prices (rows G15, B5).

A version is valid from the first of an open month until the next one starts. Versions are added,
never edited; one whose month is still open can be withdrawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, text, update

from lib import audit, charges, customers, periods, products
from lib.auth import Permission, User, require
from lib.customer_states import Action
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, shown
from lib.requests import once
from lib.tables import price_tiers, prices, purchase_prices

MOST_TIERS = 50
# Individual prices on a page.
PAGE = 50
_REFUSALS = periods.REFUSALS | {
    "prices_version_key": "There is already a price from that month. Withdraw it first, or choose another month.",
    "purchase_prices_version_key": "There is already a purchase price from that month. Withdraw it first.",
    "tiers_are_contiguous": "The ranges start at 1, leave no gap, and the last one is open.",
    "price_tiers_no_overlap": "Two ranges overlap.",
}


@dataclass(frozen=True)
class Tier:
    """A range of a price: each of its units costs `unit_price`. `last_unit` None: and above."""

    first_unit: int
    last_unit: int | None
    unit_price: Decimal


@dataclass(frozen=True)
class Version:
    """A price from its month on. An individual one that `returns_to_list` has no ranges."""

    id: int
    product_id: int
    customer_id: int | None
    customer: str
    valid_from: date
    until_month: date | None
    returns_to_list: bool
    tiers: list[Tier]
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True)
class PurchasePrice:
    """What a unit costs us from its month on."""

    id: int
    product_id: int
    valid_from: date
    unit_price: Decimal
    recorded_at: datetime
    recorded_by: str


_VERSIONS = """
SELECT s.price_id AS id, s.product_id, s.customer_id, coalesce(c.number || ' ' || c.name, '') AS customer,
       s.from_month AS valid_from, s.until_month, s.returns_to_list, p.recorded_at,
       coalesce(st.name, 'System') AS recorded_by,
       coalesce((SELECT json_agg(json_build_array(first_unit, last_unit, unit_price::text) ORDER BY first_unit)
                   FROM price_tiers t WHERE t.price_id = s.price_id), '[]') AS tiers
  FROM price_spans s
  JOIN prices p ON p.id = s.price_id
  LEFT JOIN customers c ON c.id = s.customer_id
  LEFT JOIN staff st ON st.id = p.recorded_by
 WHERE s.product_id = :product"""


def versions(conn: Connection, product_id: int, *, customer_id: int | None = None) -> list[Version]:
    """The versions of a product's list price, or of a customer's own price, the newest first."""
    of = "IS NULL" if customer_id is None else "= :customer"
    return _read(
        conn,
        f"{_VERSIONS} AND s.customer_id {of} ORDER BY s.from_month DESC",
        {"product": product_id, "customer": customer_id},
    )


def individual_versions(conn: Connection, product_id: int, *, page: int) -> tuple[list[Version], int]:
    """What customers pay of their own for a product: a page by customer, the newest first; how many versions in all.

    Pages count from 1 and have PAGE versions; where there are fewer pages, it is the last one.
    """
    total: int = conn.execute(
        text("""SELECT count(*) FROM prices
                 WHERE product_id = :product AND customer_id IS NOT NULL AND withdrawn_at IS NULL"""),
        {"product": product_id},
    ).scalar_one()
    last = max(0, total - 1) // PAGE
    listed = _read(
        conn,
        f"""{_VERSIONS} AND s.customer_id IS NOT NULL
             ORDER BY customer, s.from_month DESC, s.price_id LIMIT :limit OFFSET :offset""",
        {"product": product_id, "limit": PAGE, "offset": min(page - 1, last) * PAGE},
    )
    return listed, total


def _read(conn: Connection, statement: str, values: dict[str, Any]) -> list[Version]:
    found = conn.execute(text(statement), values)
    return [Version(**(dict(row._mapping) | {"tiers": _tiers(row.tiers)})) for row in found]


def version_in(conn: Connection, product_id: int, *, month: date, customer_id: int | None = None) -> Version | None:
    """The price that rules a month: the customer's own one where it has one, else the list price."""
    for candidates in (customer_id, None):
        for version in versions(conn, product_id, customer_id=candidates):
            started = version.valid_from <= month
            if started and (version.until_month is None or version.until_month > month) and not version.returns_to_list:
                return version
    return None


def set_list_price(
    conn: Connection,
    product_id: int,
    *,
    valid_from: date,
    tiers: Sequence[Tier],
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Add a list price version from the first of an open month and return its id."""
    return _add(conn, product_id, None, valid_from=valid_from, tiers=tiers, user=user, request_key=request_key)


def set_individual_price(
    conn: Connection,
    product_id: int,
    customer_id: int,
    *,
    valid_from: date,
    tiers: Sequence[Tier],
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Add a price that wins over the list price for one customer and return its id.

    Without `tiers` the list price rules again from that month on.
    """
    return _add(conn, product_id, customer_id, valid_from=valid_from, tiers=tiers, user=user, request_key=request_key)


def withdraw(conn: Connection, price_id: int, *, user: User) -> None:
    """Take back a version whose month is still open; a month already closed was billed by it."""
    require(user, Permission.EDIT_PRICES)
    ruled = conn.execute(text("SELECT customer_id FROM prices WHERE id = :id"), {"id": price_id}).one_or_none()
    if ruled is None:
        raise NotFound("This price does not exist.")
    first_open = _hold(conn, ruled.customer_id)
    row = conn.execute(
        text("SELECT product_id, customer_id, valid_from, withdrawn_at FROM prices WHERE id = :id FOR UPDATE"),
        {"id": price_id},
    ).one()
    if row.withdrawn_at is not None:
        raise Conflict("This price was already withdrawn.")
    if row.valid_from < first_open:
        raise Conflict("A closed month was billed at this price, so it stays. Add a new version instead.")
    conn.execute(update(prices).where(prices.c.id == price_id).values(withdrawn_at=func.now()))
    charges.keep(conn, customers=_touched(row.customer_id), first_month=row.valid_from)
    audit.record(
        conn,
        "withdraw",
        "price",
        price_id,
        user_id=user.id,
        customer_id=row.customer_id,
        changes={"valid_from": (row.valid_from, None)},
    )


def set_purchase_price(
    conn: Connection,
    product_id: int,
    *,
    valid_from: date,
    unit_price: Decimal,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Add what a unit costs us from the first of an open month."""
    require(user, Permission.EDIT_PURCHASE_PRICES)
    once(conn, request_key)
    _require_month(periods.hold_open_month(conn, alone=True), valid_from)
    product = products.product(conn, product_id)
    _require_price(unit_price, field="unit_price")
    with conflicts(_REFUSALS):
        price_id: int = conn.execute(
            insert(purchase_prices)
            .values(product_id=product_id, valid_from=valid_from, unit_price=unit_price, recorded_by=user.id)
            .returning(purchase_prices.c.id)
        ).scalar_one()
    charges.keep(conn, customers=None, first_month=valid_from)
    changes = {product.name_en: (None, unit_price), "valid_from": (None, valid_from)}
    audit.record(conn, "set", "purchase price", price_id, user_id=user.id, changes=changes)
    return price_id


def withdraw_purchase_price(conn: Connection, price_id: int, *, user: User) -> None:
    """Take back a purchase price whose month is still open."""
    require(user, Permission.EDIT_PURCHASE_PRICES)
    first_open = periods.hold_open_month(conn, alone=True)
    row = conn.execute(
        text("SELECT valid_from, withdrawn_at FROM purchase_prices WHERE id = :id FOR UPDATE"), {"id": price_id}
    ).one_or_none()
    if row is None:
        raise NotFound("This purchase price does not exist.")
    if row.withdrawn_at is not None:
        raise Conflict("This purchase price was already withdrawn.")
    if row.valid_from < first_open:
        raise Conflict("Its month is closed, so it stays. Add a new one instead.")
    conn.execute(update(purchase_prices).where(purchase_prices.c.id == price_id).values(withdrawn_at=func.now()))
    charges.keep(conn, customers=None, first_month=row.valid_from)
    changes = {"valid_from": (row.valid_from, None)}
    audit.record(conn, "withdraw", "purchase price", price_id, user_id=user.id, changes=changes)


def purchase_versions(conn: Connection, product_id: int, *, user: User) -> list[PurchasePrice]:
    """The purchase prices of a product, the newest first. Only for roles that may see them."""
    require(user, Permission.SEE_PURCHASE_PRICES)
    found = conn.execute(
        text("""SELECT p.id, p.product_id, p.valid_from, p.unit_price, p.recorded_at,
                       coalesce(s.name, 'System') AS recorded_by
                  FROM purchase_prices p LEFT JOIN staff s ON s.id = p.recorded_by
                 WHERE p.product_id = :id AND p.withdrawn_at IS NULL ORDER BY p.valid_from DESC"""),
        {"id": product_id},
    )
    return [PurchasePrice(**row._mapping) for row in found]


def require_tiers(tiers: Sequence[Tier]) -> None:
    """Refuse ranges with gaps or overlaps, negative prices, more than 4 decimals (`billing-rules`, Prices).

    The field of the refusal is `row.column`, rows counted from 1.
    """
    if not tiers:
        raise Invalid("Enter at least one range.", field="1.first_unit")
    if len(tiers) > MOST_TIERS:
        raise Invalid(f"A price has at most {MOST_TIERS} ranges.", field=f"{MOST_TIERS + 1}.first_unit")
    expected = 1
    for row, tier in enumerate(tiers, start=1):
        if tier.first_unit != expected:
            problem = "overlaps the one before" if tier.first_unit < expected else "leaves a gap"
            if row == 1:
                problem = "doesn't start at 1"
            raise Invalid(f"Range {row} {problem}: it must start at {expected}.", field=f"{row}.first_unit")
        last = row == len(tiers)
        if last != (tier.last_unit is None):
            message = (
                "The last range is open: leave its upper bound empty." if last else f"Range {row} needs an upper bound."
            )
            raise Invalid(message, field=f"{row}.last_unit")
        if tier.last_unit is not None and not tier.first_unit <= tier.last_unit <= 10_000_000:
            wrong = "ends before it starts" if tier.last_unit < tier.first_unit else "ends beyond 10,000,000"
            raise Invalid(f"Range {row} {wrong}.", field=f"{row}.last_unit")
        _require_price(tier.unit_price, field=f"{row}.unit_price")
        expected = (tier.last_unit or 0) + 1


def _add(
    conn: Connection,
    product_id: int,
    customer_id: int | None,
    *,
    valid_from: date,
    tiers: Sequence[Tier],
    user: User,
    request_key: UUID | None,
) -> int:
    require(user, Permission.EDIT_PRICES)
    once(conn, request_key)
    product = products.product(conn, product_id)
    if product.kind == "adjustment":
        raise Invalid("Adjustments have no price.", field="product")
    _require_month(_hold(conn, customer_id), valid_from)
    returns = customer_id is not None and not tiers
    if not returns:
        require_tiers(tiers)
    values = {"product_id": product_id, "customer_id": customer_id, "valid_from": valid_from, "recorded_by": user.id}
    with conflicts(_REFUSALS):
        price_id: int = conn.execute(
            insert(prices).values(returns_to_list=returns, **values).returning(prices.c.id)
        ).scalar_one()
        if tiers:
            conn.execute(insert(price_tiers), [vars(tier) | {"price_id": price_id} for tier in tiers])
    charges.keep(conn, customers=_touched(customer_id), first_month=valid_from)
    changes = {product.name_en: (None, described(tiers) if tiers else "list price"), "valid_from": (None, valid_from)}
    audit.record(conn, "set", "price", price_id, user_id=user.id, customer_id=customer_id, changes=changes)
    return price_id


def described(tiers: Sequence[Tier]) -> str:
    """Ranges in one line: 1–50 at 2.00, from 51 at 1.50."""
    if len(tiers) == 1:
        return price_shown(tiers[0].unit_price)
    return ", ".join(
        f"{tier.first_unit}–{tier.last_unit} at {price_shown(tier.unit_price)}"
        if tier.last_unit
        else f"from {tier.first_unit} at {price_shown(tier.unit_price)}"
        for tier in tiers
    )


def price_shown(price: Decimal) -> str:
    """A unit price with two decimals, or as many as it has up to four."""
    return shown(price, decimals=2 if price == price.quantize(Decimal("0.01")) else 4)


def _touched(customer_id: int | None) -> list[int] | None:
    return None if customer_id is None else [customer_id]


def _hold(conn: Connection, customer_id: int | None) -> date:
    """The first open month, held against other writes on the one customer's charges, or on anybody's."""
    first_open = periods.hold_open_month(conn, alone=customer_id is None)
    if customer_id is not None:
        customers.held_for_change(conn, customer_id, Action.CHARGE)
    return first_open


def _require_month(first_open: date, valid_from: date) -> None:
    periods.require_first_of_month(valid_from, field="valid_from")
    periods.require_open(first_open, valid_from, field="valid_from")


def _require_price(price: Decimal, *, field: str) -> None:
    if not price.is_finite() or price < 0:
        raise Invalid("A price can't be negative or endless.", field=field)
    exponent = price.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > 4:
        raise Invalid(f"{price} has more than 4 decimals.", field=field)
    if price > LARGEST:
        raise Invalid("The price is too large.", field=field)


def _tiers(stored: list[Any]) -> list[Tier]:
    return [Tier(first, last, Decimal(price)) for first, last, price in stored]
