"""Short words for tests that need customers with something booked: through the functions that the pages call."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import billing, bookings, bulk, customers, prices, products
from lib.auth import Role, User
from lib.prices import Tier

People = dict[Role, User]
JUNE = date(2026, 6, 1)
# The ranges of the check row in the billing rules.
RANGES: Sequence[tuple[int, int | None, str]] = ((1, 50, "2"), (51, 250, "1.5"), (251, 500, "1.2"), (501, None, "1"))


def tiers(*ranges: tuple[int, int | None, str]) -> list[Tier]:
    """Ranges as (first, last, price)."""
    return [Tier(first, last, Decimal(price)) for first, last, price in ranges]


def product(
    conn: Connection,
    people: People,
    kind: str,
    *,
    code: str = "",
    measure: str | None = None,
    price: str | Sequence[tuple[int, int | None, str]] | None = None,
    month: date = JUNE,
) -> int:
    """A product, with a list price from `month` on where one is given."""
    code = code or kind
    details = {"name_de": f"{code} (de)", "name_en": code.capitalize()} | ({"measure": measure} if measure else {})
    product_id = products.add(conn, kind=kind, code=code, details=details, user=people[Role.ADMIN])
    if price is not None:
        ranges = [(1, None, price)] if isinstance(price, str) else price
        prices.set_list_price(conn, product_id, valid_from=month, tiers=tiers(*ranges), user=people[Role.ADMIN])
    return product_id


def customer(
    conn: Connection,
    people: People,
    name: str = "Ada GmbH",
    *,
    since: date = JUNE,
    ends_on: date | None = None,
    billed: bool = True,
) -> int:
    """A customer with a complete address, billed from `since` on."""
    details = {"name": name, "street": "Hauptstr. 1", "postcode": "10115", "city": "Berlin"}
    return customers.create(conn, details=details, billed=billed, ends_on=ends_on, today=since, user=people[Role.ADMIN])


def serve_itself(conn: Connection, people: People, customer_id: int) -> None:
    """Hand a customer over to self-service, as the list of customers does it for several."""
    change = bulk.Change(bulk.Kind.SERVICE_MODE, "self_service")
    bulk.apply(conn, [customer_id], change, today=JUNE, user=people[Role.SALES])


def book(
    conn: Connection,
    people: People,
    customer_id: int,
    product_id: int,
    quantity: int,
    day: date,
    *,
    until: date | None = None,
) -> None:
    """From `day` on this quantity, as on that day; pending changes stay."""
    bookings.book(
        conn,
        customer_id,
        product_id,
        effective_on=day,
        quantity=quantity,
        ends_on=until,
        keep_pending=True,
        today=day,
        user=people[Role.SALES],
    )


def amounts(conn: Connection, customer_id: int, month: date = JUNE) -> dict[int, Decimal | None]:
    """What each product costs the customer in the month, summed from its lines."""
    found: dict[int, Decimal | None] = {}
    for line in billing.lines(conn, months=[month], customers=[customer_id]):
        before = found.get(line.product_id, Decimal("0.00"))
        found[line.product_id] = None if line.amount is None or before is None else before + line.amount
    return found


def days_that_count(conn: Connection, customer_id: int) -> list[tuple[date, date | None]]:
    """The stretches in which the customer is charged; the second day no longer counts."""
    found = conn.execute(
        text("SELECT from_day, until_day FROM counting_spans WHERE customer_id = :id ORDER BY from_day"),
        {"id": customer_id},
    )
    return [(row.from_day, row.until_day) for row in found]
