"""Ledgers that nobody would think of, drawn at random, for the rating statement to be held against the oracle."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from sqlalchemy import Connection, text

from lib.prices import Tier
from tests import oracle
from tests.ledgers import JUNE

APRIL, MAY, JULY, AUGUST = date(2026, 4, 1), date(2026, 5, 1), date(2026, 7, 1), date(2026, 8, 1)
PRODUCTS = ("users", "ips", "option", "plan", "module")
MONTHS = [APRIL, MAY, JUNE, JULY]
days = st.dates(APRIL, date(2026, 8, 5))
firsts = st.sampled_from([*MONTHS, AUGUST])

tier_lists = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 50_000)), min_size=1, max_size=4).map(
    lambda drawn: _tiers(drawn)
)


def _tiers(drawn: list[tuple[int, int]]) -> list[Tier]:
    """Contiguous ranges from (width, price in 1/10000); the last one open."""
    found, first = [], 1
    for index, (width, price) in enumerate(drawn):
        last = None if index == len(drawn) - 1 else first + width - 1
        found.append(Tier(first, last, Decimal(price) / 10_000))
        first += width
    return found


def as_oracle(offered: list[Tier]) -> oracle.Tiers:
    return tuple((tier.first_unit, tier.last_unit, tier.unit_price) for tier in offered)


@st.composite
def ledgers_of_companies(draw: st.DrawFn) -> oracle.Ledger:
    """A few customers with bookings of products of all measures, taken back or not, and prices of both kinds."""
    ledger = oracle.Ledger()
    names = draw(st.sampled_from([("ada",), ("ada", "bob"), ("ada", "bob", "cyd")]))
    for code in PRODUCTS:
        ledger.measures[code] = draw(st.sampled_from(["peak", "daily", "end", "full"]))
        months = draw(st.lists(firsts, max_size=2, unique=True)) or ([APRIL] if draw(st.integers(0, 4)) else [])
        ledger.list_prices[code] = [oracle.Price(month, as_oracle(draw(tier_lists))) for month in months]
    for name in names:
        start = draw(days)
        ledger.statuses[name] = [oracle.Status(start, True, True, draw(st.none() | days))]
        if draw(st.booleans()):
            ledger.statuses[name].insert(0, oracle.Status(APRIL, False, True, None))
            if start == APRIL:
                ledger.statuses[name].pop(0)
        for day in draw(st.lists(days, max_size=4)):
            day = max(day, start)
            ledger.statuses[name].append(oracle.Status(day, True, draw(st.booleans()), draw(st.none() | days)))
        for code in PRODUCTS:
            highest = 120 if code in ("users", "ips") else 1
            ledger.bookings[name, code] = draw(
                st.lists(
                    st.builds(
                        oracle.Booking, days, st.integers(0, highest), st.sampled_from([False, False, False, True])
                    ),
                    max_size=4,
                )
            )
            if draw(st.integers(0, 3)) == 0:
                ledger.own_prices[name, code] = [
                    oracle.Price(month, draw(st.none() | tier_lists.map(as_oracle)))
                    for month in draw(st.lists(firsts, max_size=3, unique=True))
                ]
        for key in draw(keys):
            draw_redeemed(draw, ledger, name, key)
    return ledger


# Up to two keys of a customer, one after the other: how many days lie before each and how many it runs.
keys = st.lists(
    st.tuples(
        st.integers(0, 40), st.integers(1, 75), st.integers(1, 120), st.booleans(), st.decimals(0, 999, places=2)
    ),
    max_size=2,
)


def draw_redeemed(
    draw: st.DrawFn, ledger: oracle.Ledger, name: str, drawn: tuple[int, int, int, bool, Decimal]
) -> None:
    """A key among the bookings of IPs: its start, its end, and others before, between and after them."""
    before, runs, quantity, monthly, selling_price = drawn
    own = [key for of, key in ledger.keys.items() if of.startswith(name)]
    start = max([APRIL, *(key.until for key in own)]) + timedelta(days=before)
    key = oracle.Key(start, start + timedelta(days=runs), quantity, monthly, selling_price)
    code = f"{name}{len(own)}"
    ledger.keys[code] = key
    booked = ledger.bookings[name, "ips"]
    booked.insert(draw(st.integers(0, len(booked))), oracle.Booking(key.start, quantity, key=code))
    if moved := draw(st.none() | st.integers(0, runs - 1)):  # between internal and external
        booked.append(oracle.Booking(start + timedelta(days=moved), quantity, key=code))
    booked.insert(draw(st.integers(0, len(booked))), oracle.Booking(key.until, 0, key=code))


def store(conn: Connection, ledger: oracle.Ledger) -> dict[str, int]:
    """Write the ledger into the tables as it is: more than the pages' functions would let anybody do."""
    conn.execute(text("ALTER TABLE bookings DISABLE TRIGGER bookings_one_plan"))
    ids: dict[str, int] = {}
    for code, measure in ledger.measures.items():
        ids[code] = insert(conn, "products", code=code, kind=code, measure=measure, name_de=code, name_en=code)
    for name, statuses in ledger.statuses.items():
        start = next(status.day for status in statuses if status.billed)
        ids[name] = insert(conn, "customers", number=name, name=name, phase="billed", billed_from=start)
        for status in statuses:
            insert(
                conn,
                "lifecycle",
                customer_id=ids[name],
                effective_on=status.day,
                billed=status.billed,
                active=status.active,
                ends_on=status.ends_on,
            )
    for (name, code), booked in ledger.bookings.items():
        shared = {"customer_id": ids[name], "product_id": ids[code], "kind": code}
        keys = {key: redeemed(conn, ids[name], ledger.keys[key]) for key in {b.key for b in booked} if key}
        for booking in booked:
            split = {"internal": 0, "external": booking.quantity} if code == "ips" else {}
            if booking.key is not None:
                split["project_key_id"] = keys[booking.key]
            id_ = insert(conn, "bookings", effective_on=booking.day, quantity=booking.quantity, **shared, **split)
            if booking.voided:
                insert(conn, "bookings", effective_on=booking.day, voids=id_, **shared)
    versions = [(ids[code], None, each) for code, found in ledger.list_prices.items() for each in found]
    versions += [(ids[code], ids[name], each) for (name, code), found in ledger.own_prices.items() for each in found]
    for product_id, customer_id, price in versions:
        returns = price.tiers is None
        price_id = insert(
            conn,
            "prices",
            product_id=product_id,
            customer_id=customer_id,
            valid_from=price.month,
            returns_to_list=returns,
        )
        for first, last, unit_price in price.tiers or ():
            values = {"price_id": price_id, "first_unit": first, "last_unit": last, "unit_price": unit_price}
            insert(conn, "price_tiers", returning="price_id", **values)
    return ids


def insert(conn: Connection, table: str, *, returning: str = "id", **values: Any) -> int:
    columns, names = ", ".join(values), ", ".join(f":{name}" for name in values)
    statement = f"INSERT INTO {table} ({columns}) VALUES ({names}) RETURNING {returning}"
    return conn.execute(text(statement), values).scalar_one()


def redeemed(conn: Connection, customer_id: int, key: oracle.Key) -> int:
    """A project key as it stands in its table once a customer has it."""
    return insert(
        conn, "project_keys", digest=uuid4().bytes, sealed=b"", ending="ABCD", ips=key.quantity, months=1,
        purchase_price=0, customer_id=customer_id, redeemed_at=datetime.now(UTC), from_day=key.start,
        until_day=key.until, charging="monthly" if key.monthly else "once", selling_price=key.price,
    )  # fmt: skip
