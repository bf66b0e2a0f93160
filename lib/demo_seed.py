"""The demo's files in `data/seed/`, and the part of a set-up that the demo company and the load filler share."""

import csv
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection, text

from lib import prices, products, settings, staff
from lib.auth import Role, User
from lib.errors import Conflict
from lib.prices import Tier

SEED = Path(__file__).parents[1] / "data" / "seed"
# Role, user name, password. They are printed by `make run` and known to everybody: for demos only.
SIGN_INS: tuple[tuple[str, str, str], ...] = (
    ("viewer", "vera", "harbour-lamp-24"),
    ("sales", "samuel", "amber-anchor-37"),
    ("finance", "fiona", "copper-kettle-58"),
    ("admin", "adam", "silver-rudder-91"),
)
# The password of all customers' users that have registered.
PORTAL_PASSWORD = "velvet-compass-73"
_RANGE = re.compile(r"(\d+)-(\d*): ([\d.]+)")

Row = dict[str, str]
People = dict[Role, User]


def rows(name: str) -> list[Row]:
    """The rows of a file in `data/seed/`, by column; an empty cell is an empty text."""
    with (SEED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def portal_users() -> list[str]:
    """The e-mail addresses of customers' users who have registered and may sign in, as the files say."""
    gone = {row["email"] for row in rows("users") if row["state"] == "deactivated"}
    return [row["email"] for row in rows("users") if row["state"] == "active" and row["email"] not in gone]


def day(cell: str) -> date | None:
    """The day in a cell, or None where it is empty."""
    return date.fromisoformat(cell) if cell else None


def number(cell: str) -> int | None:
    """The whole number in a cell, or None where it is empty."""
    return int(cell) if cell else None


def tiers(cell: str) -> list[Tier]:
    """The ranges in a cell like `1-50: 2.00, 51-: 1.50`; none where it is empty."""
    found = [_RANGE.fullmatch(part.strip()) for part in cell.split(",")] if cell else []
    return [Tier(int(m[1]), int(m[2]) if m[2] else None, Decimal(m[3])) for m in found if m]


def require_empty(conn: Connection) -> None:
    """Refuse a database that somebody works with: nothing that was entered there may mix with invented data."""
    used = conn.scalar(
        text("""SELECT EXISTS (SELECT FROM months) OR EXISTS (SELECT FROM staff) OR EXISTS (SELECT FROM customers)
                    OR EXISTS (SELECT FROM products WHERE kind <> 'adjustment')""")
    )
    if used:
        raise Conflict(
            "This database is set up already, and the demo only goes into an empty one. Nothing was changed. "
            "Make a new database and name it in DATABASE_URL."
        )


def set_up(conn: Connection, *, first_month: date) -> tuple[People, dict[str, int]]:
    """Staff, company, first booking month and catalogue; returns the people by role, and product ids by code."""
    people = _staff(conn)
    admin = people[Role.ADMIN]
    _company(conn, admin)
    settings.set_first_month(conn, first_month, user=admin)
    # Its sign-ins are known to everybody anyway.
    settings.demand_second_factor(conn, [], user=admin)
    catalogue = {}
    for row in rows("products"):
        details = {name: value for name, value in row.items() if name not in ("code", "kind")}
        catalogue[row["code"]] = products.add(conn, kind=row["kind"], code=row["code"], details=details, user=admin)
    return people, catalogue


def price(
    conn: Connection, row: Row, *, valid_from: date, product_id: int, customer_id: int | None, people: People
) -> None:
    """Enter one row of `prices.csv`: a list price, an individual or a purchase price."""
    if row["kind"] == "purchase":
        unit_price = Decimal(row["ranges"])
        prices.set_purchase_price(
            conn, product_id, valid_from=valid_from, unit_price=unit_price, user=people[Role.ADMIN]
        )
    elif customer_id is None:
        prices.set_list_price(
            conn, product_id, valid_from=valid_from, tiers=tiers(row["ranges"]), user=people[Role.SALES]
        )
    else:
        ranges = tiers(row["ranges"])
        prices.set_individual_price(
            conn, product_id, customer_id, valid_from=valid_from, tiers=ranges, user=people[Role.SALES]
        )


def _company(conn: Connection, admin: User) -> None:
    changes: dict[str, str | bytes] = {row["field"]: row["value"] for row in rows("company")}
    article = {name: str(changes.pop(f"self_service_article_{name}")) for name in ("name", "number")}
    changes["logo"] = (SEED / "logo.png").read_bytes()
    settings.edit_company(conn, version=settings.company(conn).version, changes=changes, user=admin)
    settings.edit_article(conn, version=settings.company(conn).version, user=admin, **article)


def _staff(conn: Connection) -> People:
    passwords = {username: password for _, username, password in SIGN_INS}
    people: People = {}
    for row in sorted(rows("staff"), key=lambda row: row["role"]):  # the admin first, who adds the others
        username, name, role = row["username"], row["name"], Role(row["role"])
        password = passwords[username]
        if role == Role.ADMIN:
            people[role] = staff.create_first_admin(conn, username=username, name=name, password=password)
        else:
            people[role] = staff.add(
                conn, user=people[Role.ADMIN], username=username, name=name, role=role, password=password,
                must_change=False,
            )  # fmt: skip
    return people
