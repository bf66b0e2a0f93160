"""A small company for the tests of the price pages: IP scans at the ranges of the billing rules."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection

from lib import bookings, customers, prices, products
from lib.auth import Role, User
from lib.prices import Tier
from tests import people

TODAY = date(2026, 6, 15)
JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
RANGES = [
    Tier(1, 50, Decimal("2.00")),
    Tier(51, 250, Decimal("1.50")),
    Tier(251, 500, Decimal("1.20")),
    Tier(501, None, Decimal("1.00")),
]


@dataclass(frozen=True)
class Shop:
    """What was made: the people, the product, and a customer with 300 IPs, one with 40 and one with its own price."""

    people: dict[Role, User]
    product_id: int
    large: int
    small: int
    apart: int


def opened(conn: Connection) -> Shop:
    """The company in June 2026."""
    staff = people.open_company(conn, first_month=JUNE)
    admin = staff[Role.ADMIN]
    names = {"name_de": "IP-Scans", "name_en": "IP scans", "unit_de": "IP", "unit_en": "IP"}
    product_id = products.add(conn, kind="ips", code="ips", details=names, user=admin)
    prices.set_list_price(conn, product_id, valid_from=JUNE, tiers=RANGES, user=admin)
    ids = []
    for name, ips in (("Groß *AG*", 300), ("Klein GmbH", 40), ("Eigen KG", 60)):
        customer_id = customers.create(conn, details={"name": name}, billed=True, ends_on=None, today=JUNE, user=admin)
        split = {"quantity": ips, "internal": ips, "external": 0}
        bookings.book(conn, customer_id, product_id, effective_on=JUNE, today=JUNE, user=admin, **split)
        ids.append(customer_id)
    own = [Tier(1, None, Decimal("1.00"))]
    prices.set_individual_price(conn, product_id, ids[2], valid_from=JUNE, tiers=own, user=admin)
    return Shop(staff, product_id, *ids)
