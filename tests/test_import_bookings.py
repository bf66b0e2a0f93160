"""Bookings are imported by the rules of a booking by hand, with their effect on the charges said before."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lib import audit, bookings, charges, customer_verbs, periods, project_key_redemptions, project_key_stock
from lib.auth import Role, User
from tests import ledgers
from tests.ledgers import JUNE
from tests.uploads import TODAY, apply, check, faults, written

pytestmark = pytest.mark.row("B11")
SetUp = Callable[..., dict[Role, User]]
JULY = date(2026, 7, 1)
HEADER = "Kundennummer|Produkt|Ab|Menge|Bis"


class Shop:
    """Two billed customers, K-1 and K-2; users at 5.00, IPs at the ranges of the rules, an option and two plans."""

    def __init__(self, conn: Connection, people: dict[Role, User]) -> None:
        self.conn, self.people, self.sales = conn, people, people[Role.SALES]
        self.users = ledgers.product(conn, people, "users", price="5")
        self.ips = ledgers.product(conn, people, "ips", price=ledgers.RANGES)
        self.option = ledgers.product(conn, people, "option", code="archive", price="50")
        self.plans = [ledgers.product(conn, people, "plan", code=code, price="100") for code in ("basic", "plus")]
        apply(
            conn, "customers", written("Number|Name|Phase", "K-1|Ada|billed", "K-2|Bea|billed"), self.sales, today=JUNE
        )
        found = conn.execute(text("SELECT number, id FROM customers"))
        self.id = {row.number: row.id for row in found}

    def held(self, number: str, product: int, day: date) -> int:
        """How many of a product on a day."""
        return bookings.holdings(self.conn, self.id[number], on=day).get(product, bookings.NOTHING).quantity

    def faults(self, *rows: str, header: str = HEADER) -> list[tuple[int, str, str]]:
        """What a check of these rows finds wrong."""
        return faults(check(self.conn, "bookings", written(header, *rows), self.sales))


@pytest.fixture
def shop(conn: Connection, set_up: SetUp) -> Shop:
    return Shop(conn, set_up())


def ledger(conn: Connection) -> int:
    return conn.scalar(text("SELECT count(*) FROM bookings")) or 0


def test_a_file_is_booked_rated_and_logged(shop: Shop) -> None:
    content = written(
        HEADER, "K-1|users|01.06.2026|10|", "K-2|Users (de)|2026-06-10|1.200|", "K-1|Archive|2026-06-15|1|"
    )
    report = apply(shop.conn, "bookings", content, shop.sales)
    assert (report.created, report.updated, report.unchanged) == (3, 0, 0)
    assert shop.held("K-2", shop.users, date(2026, 6, 9)) == 0
    assert shop.held("K-2", shop.users, date(2026, 6, 10)) == 1200
    assert ledgers.amounts(shop.conn, shop.id["K-1"]) == {
        shop.users: Decimal("50.00"),
        shop.option: Decimal("26.67"),  # 50.00 × 16/30
    }
    assert charges.differences(shop.conn, months=[JUNE]) == []
    newest = audit.entries(shop.conn, customer_id=shop.id["K-2"])[0][0]
    assert (newest.action, newest.object_type, newest.object_id) == ("book", "booking", "users")
    assert newest.changes == {"Users": [0, 1200], "from": [None, "2026-06-10"]}


def test_a_booking_by_hand_and_one_by_file_are_the_same(shop: Shop) -> None:
    ledgers.book(shop.conn, shop.people, shop.id["K-1"], shop.users, 7, date(2026, 6, 12), until=date(2026, 6, 20))
    apply(shop.conn, "bookings", written(HEADER, "K-2|users|12.06.2026|7|20.06.2026"), shop.sales)
    columns = "product_id, kind, effective_on, quantity, internal, external, voids, recorded_by"
    rows = [
        shop.conn.execute(
            text(f"SELECT {columns} FROM bookings WHERE customer_id = :id ORDER BY id"), {"id": shop.id[number]}
        ).all()
        for number in ("K-1", "K-2")
    ]
    assert rows[0] == rows[1]
    logs = [
        audit.entries(shop.conn, customer_id=shop.id[number], object_type="booking")[0] for number in ("K-1", "K-2")
    ]
    assert [entry.changes for entry in logs[0]] == [entry.changes for entry in logs[1]]


def test_the_effect_on_the_charges_is_said_and_comes_true(shop: Shop) -> None:
    ledgers.book(shop.conn, shop.people, shop.id["K-1"], shop.users, 10, JUNE)
    content = written(HEADER, "K-1|users|2026-06-10|30|", "K-2|users|2026-06-10|2|")
    before = ledger(shop.conn)
    effect = check(shop.conn, "bookings", content, shop.sales).effect
    assert effect is not None
    assert ledger(shop.conn) == before
    [month] = effect.months
    assert (month.month, month.before, month.after) == (JUNE, Decimal("50.00"), Decimal("160.00"))
    assert (month.all_before, month.all_after, month.unpriced) == (Decimal("50.00"), Decimal("160.00"), 0)
    assert [(one.number, one.before, one.after) for one in effect.customers] == [
        ("K-1", Decimal("50.00"), Decimal("150.00")),
        ("K-2", Decimal("0.00"), Decimal("10.00")),
    ]
    apply(shop.conn, "bookings", content, shop.sales)
    total = shop.conn.scalar(text("SELECT sum(amount) FROM month_totals WHERE month = :month"), {"month": JUNE})
    assert total == month.all_after


def test_what_has_no_price_is_said(shop: Shop) -> None:
    ledgers.product(shop.conn, shop.people, "module", code="mfa")
    effect = check(shop.conn, "bookings", written(HEADER, "K-1|mfa|2026-06-10|1|"), shop.sales).effect
    assert effect is not None
    assert (effect.months[0].unpriced, effect.customers[0].after) == (1, None)


def test_what_the_ledger_says_already_is_unchanged(shop: Shop) -> None:
    content = written(
        HEADER, "K-1|users|2026-06-10|5|2026-07-31", "K-1|ips|2026-06-15|300|", "K-2|archive|2026-06-01|1|"
    )
    apply(shop.conn, "bookings", content, shop.sales)
    rows = ledger(shop.conn)
    again = written(HEADER, "K-2|archive|2026-06-01|1|", "K-1|users|2026-06-10|5|2026-07-31", "K-1|ips|2026-06-15|300|")
    assert apply(shop.conn, "bookings", again, shop.sales).unchanged == 3
    assert ledger(shop.conn) == rows


def test_rows_follow_each_other_in_any_order(shop: Shop) -> None:
    content = written(
        HEADER,
        "K-1|users|2026-07-01|8|",
        "K-1|users|2026-06-10|5|2026-06-30",  # ends where the next one starts
        "K-1|users|2026-08-01|8|",  # says nothing new
        "K-2|users|2026-06-20|9|",
    )
    report = apply(shop.conn, "bookings", content, shop.sales)
    assert (report.created, report.unchanged) == (3, 1)
    held = [shop.held("K-1", shop.users, day) for day in (date(2026, 6, 9), date(2026, 6, 30), JULY, date(2026, 9, 1))]
    assert held == [0, 5, 8, 8]


def test_the_same_day_is_replaced(shop: Shop) -> None:
    ledgers.book(shop.conn, shop.people, shop.id["K-1"], shop.users, 10, date(2026, 6, 10))
    report = apply(shop.conn, "bookings", written(HEADER, "K-1|users|2026-06-10|12|"), shop.sales)
    assert (report.updated, report.changes[0].changes["Users"]) == (1, (10, 12))
    assert shop.held("K-1", shop.users, date(2026, 6, 10)) == 12


def test_a_pending_change_of_that_day_is_replaced_as_by_hand(shop: Shop) -> None:
    for number, quantity in (("K-1", 20), ("K-2", 20), ("K-1", 30)):
        bookings.book(
            shop.conn, shop.id[number], shop.users, effective_on=JULY, quantity=quantity, keep_pending=True,
            today=TODAY, user=shop.sales,
        )  # fmt: skip
    apply(shop.conn, "bookings", written(HEADER, "K-2|users|2026-07-01|30|"), shop.sales)
    by_hand, by_file = (
        shop.conn.execute(
            text("SELECT quantity, voids IS NOT NULL FROM bookings WHERE customer_id = :id ORDER BY id"),
            {"id": shop.id[number]},
        ).all()
        for number in ("K-1", "K-2")
    )
    assert by_hand == by_file == [(20, False), (None, True), (30, False)]


def test_later_changes_stay(shop: Shop) -> None:
    ledgers.book(shop.conn, shop.people, shop.id["K-1"], shop.users, 3, JULY)
    apply(shop.conn, "bookings", written(HEADER, "K-1|users|2026-06-10|12|"), shop.sales)
    assert [shop.held("K-1", shop.users, day) for day in (date(2026, 6, 30), JULY)] == [12, 3]


def test_ips_have_a_split_and_their_days(shop: Shop) -> None:
    header = "Customer|Product|From|Quantity|Internal|External"
    apply(shop.conn, "bookings", written(header, "K-1|ips|2026-06-15|300|200|"), shop.sales)
    found = bookings.holdings(shop.conn, shop.id["K-1"], on=TODAY)[shop.ips]
    assert (found.internal, found.external) == (200, 100)
    # The total alone, without a split, moves nothing.
    assert check(shop.conn, "bookings", written(HEADER, "K-1|ips|2026-07-01|300|"), shop.sales).unchanged == 1
    said = shop.faults(
        "K-1|ips|2026-06-15|100|50|60", "K-1|ips|2026-06-20|400||", "K-2|ips|2026-07-01|0||", header=header
    )
    assert [(line, column) for line, column, _ in said] == [(2, "Internal"), (3, "From")]
    said = shop.faults("K-1|ips|2026-06-16|100||", header=header)
    assert "A decrease takes effect with the next month, on 01 Jul 2026." in said[0][2]


@pytest.mark.row("N4")
def test_the_licence_bounds_imported_users_as_its_switch_says(shop: Shop) -> None:
    apply(
        shop.conn,
        "customers",
        written("Number|Max users|Users beyond the maximum", "K-1|10|no", "K-2|10|yes"),
        shop.sales,
    )
    rows = ("K-1|users|2026-06-10|11|", "K-2|users|2026-06-10|11|")
    [(line, column, message)] = shop.faults(*rows)
    assert (line, column) == (2, "Menge")
    assert message.startswith("The licence allows 10 users at most.")
    assert shop.faults("K-1|users|2026-06-10|10|", rows[1]) == []


def test_closed_months_are_refused_by_row(shop: Shop) -> None:
    apply(shop.conn, "bookings", written(HEADER, "K-1|users|2026-06-10|5|"), shop.sales)
    shop.conn.execute(text("UPDATE months SET state = 'approved'"))
    shop.conn.execute(text("INSERT INTO months (month) VALUES ('2026-07-01')"))
    assert periods.open_month(shop.conn) == JULY
    said = shop.faults("K-1|users|2026-06-10|5|", "K-1|users|2026-06-20|6|", "K-2|users|2026-07-02|5|")
    assert [(line, column) for line, column, _ in said] == [(3, "Ab")]
    assert said[0][2].startswith("20 Jun 2026 is in a closed month. The first open month is July 2026")


def test_bookings_that_can_not_be_are_named_by_line_and_column(shop: Shop) -> None:
    said = shop.faults(
        "K-9|users|2026-06-10|5|",
        "K-1|telephones|2026-06-10|5|",
        "K-1|archive|2026-06-10|2|",
        "K-1|adjustment|2026-06-10|1|",
        "K-1|users|2029-06-10|5|",
        "K-1|users|2026-06-10|5|2026-06-01",
        "K-2|users|2026-06-10|5|2026-06-30",
        "K-2|users|2026-06-15|6|",
        "K-2|users|2026-06-15|7|",
        "K-2|users||7|",
        "K-2|users|2026-06-15|viele|",
    )
    assert [(line, column) for line, column, _ in said] == [
        (2, "Kundennummer"), (3, "Produkt"), (4, "Menge"), (5, "Produkt"), (6, "Ab"), (7, "Bis"), (9, "Ab"), (10, "Ab"),
        (11, "Ab"), (12, "Ab"), (12, "Menge"),
    ]  # fmt: skip
    by_line = {line: message for line, _, message in said}
    assert by_line[3].startswith("There is no product telephones.")
    assert by_line[4] == "Archive is either on or off."
    assert by_line[9] == "Line 8 books this until 30 Jun 2026. Let this row start later."
    assert by_line[10] == "This product and day are on line 9 already."


def test_two_plans_at_a_time_are_refused_before_anything_is_written(shop: Shop) -> None:
    ledgers.book(shop.conn, shop.people, shop.id["K-1"], shop.plans[0], 1, JUNE)
    said = shop.faults("K-1|plus|2026-06-15|1|", "K-2|plus|2026-06-15|1|")
    assert said == [(2, "Produkt", "The customer would have two plans at a time. End the one before the other starts.")]
    follows = written(HEADER, "K-1|basic|2026-06-15|0|", "K-1|plus|2026-06-15|1|")
    apply(shop.conn, "bookings", follows, shop.sales)
    assert [shop.held("K-1", plan, TODAY) for plan in shop.plans] == [0, 1]


def test_a_customer_made_by_a_file_is_charged_like_any_other(shop: Shop) -> None:
    apply(shop.conn, "bookings", written(HEADER, "K-1|users|2026-06-10|5|"), shop.sales)
    charges.ensure_rated(shop.conn, JUNE)
    customer_verbs.set_end_date(shop.conn, shop.id["K-1"], ends_on=date(2026, 6, 20), today=TODAY, user=shop.sales)
    assert charges.differences(shop.conn, months=[JUNE]) == []


@pytest.mark.row("G9")
def test_a_file_books_nothing_over_a_project_key(shop: Shop) -> None:
    conn, boss, key = shop.conn, shop.people[Role.ADMIN], "PRJ-FILE-0001-ABCD"
    project_key_stock.add(
        conn, key=key, ips=500, months=3, purchase_price=Decimal(9), redeem_until=None, today=TODAY, user=boss
    )
    terms = project_key_redemptions.Terms(Decimal(400), "monthly", 500, 0, True)
    project_key_redemptions.redeem(conn, shop.id["K-1"], key, terms, today=TODAY, user=shop.sales)
    header = "Kundennummer|Produkt|Ab|Menge|Intern"
    for row in (f"K-1|ips|{TODAY}|600|", "K-1|ips|2026-07-01|700|", f"K-1|ips|{TODAY}|500|1"):
        [(line, column, message)] = shop.faults(row, header=header)
        assert (line, column) == (2, "Ab")
        assert "Project key ·····ABCD brings 500 IPs" in message
    assert shop.faults(f"K-1|ips|{TODAY}|500|500", f"K-2|ips|{TODAY}|600|", header=header) == []
