"""The list of customers: each filter, each status, order, pages."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text, update

from lib import bookings, customer_exports, customer_lists, customer_statuses, customer_verbs, customers, prices, tables
from lib.auth import Role
from lib.customer_filters import Filters
from lib.customer_statuses import STATUSES
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 10)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(JUNE)


def add(
    conn: Connection, people: People, name: str, *, billed: bool = True, ends_on: date | None = None, **details: Any
) -> int:
    """A customer since 1 June; a test ends in September unless told."""
    end = ends_on or (None if billed else date(2026, 9, 30))
    given = {"name": name} | details
    return customers.create(conn, details=given, billed=billed, ends_on=end, today=JUNE, user=people[Role.SALES])


def book_ips(conn: Connection, people: People, customer_id: int, product_id: int, inside: int, outside: int) -> None:
    bookings.book(
        conn, customer_id, product_id, effective_on=JUNE, quantity=inside + outside, internal=inside, external=outside,
        today=JUNE, user=people[Role.SALES],
    )  # fmt: skip


def names(conn: Connection, filters: Filters, **options: Any) -> list[str]:
    return [row.name for row in customer_lists.page(conn, filters, today=TODAY, **options)]


# ---------------------------------------------------------------------------------- one row


@pytest.mark.row("G1", "N3", "N5")
def test_a_row_says_what_the_columns_show(conn: Connection, people: People) -> None:
    ips = ledgers.product(conn, people, "ips", price=ledgers.RANGES)
    created = add(
        conn, people, "Ada GmbH", ends_on=date(2026, 12, 31), contact_email="ada@ada.example", payment_method="card",
        service_mode="self_service",
    )  # fmt: skip
    book_ips(conn, people, created, ips, 100, 200)
    row = customer_lists.page(conn, Filters("billed"), today=TODAY)[0]
    assert (row.id, row.name, row.contact_email, row.phase, row.ends_on) == (
        created, "Ada GmbH", "ada@ada.example", "billed", date(2026, 12, 31),
    )  # fmt: skip
    assert (row.status, row.service_mode, row.payment_method) == ("active", "self_service", "card")
    assert (row.ips_internal, row.ips_external) == (100, 200)
    assert (str(row.forecast), row.unpriced) == ("460.00", False)
    # 460.00 / 300, for display only
    assert f"{row.average_ip_price:.4f}" == "1.5333"


@pytest.mark.row("G1")
def test_the_average_price_of_an_ip(conn: Connection, people: People) -> None:
    ips = ledgers.product(conn, people, "ips", price=ledgers.RANGES)
    none, own, test = add(conn, people, "None"), add(conn, people, "Own"), add(conn, people, "Test", billed=False)
    for customer_id in (own, test):
        book_ips(conn, people, customer_id, ips, 50, 0)
    prices.set_individual_price(
        conn, ips, own, valid_from=JUNE, tiers=ledgers.tiers((1, None, "0.5")), user=people[Role.SALES]
    )
    rows = {row.id: row.average_ip_price for row in customer_lists.page(conn, Filters(), today=TODAY)}
    # A test customer has no charge, but its IPs have a price.
    assert rows == {none: None, own: 25 / 50, test: 2}


def test_without_a_price_there_is_neither_average_nor_forecast(conn: Connection, people: People) -> None:
    ips = ledgers.product(conn, people, "ips")
    created = add(conn, people, "Ada")
    book_ips(conn, people, created, ips, 50, 0)
    row = customer_lists.page(conn, Filters(), today=TODAY)[0]
    assert (row.average_ip_price, row.forecast, row.unpriced) == (None, None, True)


def test_a_forecast_is_000_for_a_billed_customer_with_nothing_booked_and_none_for_a_test(
    conn: Connection, people: People
) -> None:
    add(conn, people, "Billed")
    add(conn, people, "Test", billed=False)
    billed, test = customer_lists.page(conn, Filters(), today=TODAY)
    assert (str(billed.forecast), billed.unpriced) == ("0.00", False)
    assert (test.forecast, test.unpriced) == (None, False)


# ---------------------------------------------------------------------------------- statuses


def set_columns(conn: Connection, customer_id: int, **values: Any) -> None:
    conn.execute(update(tables.customers).where(tables.customers.c.id == customer_id).values(**values))


def add_main_user(conn: Connection, customer_id: int, *, registered: bool) -> None:
    values = {"customer_id": customer_id, "email": f"main-{customer_id}@people.example", "is_main": True}
    if registered:
        values |= {"registered_at": text("now()"), "password_hash": "unused"}
    conn.execute(insert(tables.customer_users).values(**values))


@pytest.fixture
def each_status(conn: Connection, people: People) -> dict[str, int]:
    """A customer of each status, with a module booked wherever it doesn't tell them apart."""
    module = ledgers.product(conn, people, "module", price="30")
    made = {status: add(conn, people, status.capitalize()) for status in STATUSES}
    for status in set(STATUSES) - {"inactive"}:
        ledgers.book(conn, people, made[status], module, 1, JUNE)
    set_columns(conn, made["erased"], marked_for_deletion_at=text("now()"), erased_at=text("now()"))
    set_columns(conn, made["marked"], marked_for_deletion_at=text("now()"), locked_at=text("now()"))
    set_columns(conn, made["locked"], locked_at=text("now()"), active=False)
    customer_verbs.deactivate(conn, made["deactivated"], today=JUNE, user=people[Role.SALES])
    add_main_user(conn, made["invited"], registered=False)
    set_columns(conn, made["ended"], ends_on=TODAY - timedelta(days=1))
    set_columns(conn, made["ending"], ends_on=TODAY + timedelta(days=28))
    set_columns(conn, made["active"], ends_on=TODAY + timedelta(days=29))
    add_main_user(conn, made["active"], registered=True)
    # What was booked and ended, or is booked for later, is nothing today.
    ledgers.book(conn, people, made["inactive"], module, 1, JUNE, until=date(2026, 6, 5))
    ledgers.book(conn, people, made["inactive"], module, 1, date(2026, 6, 20))
    return made


@pytest.mark.row("G1", "G13", "N3")
@pytest.mark.parametrize("status", STATUSES)
def test_each_status_is_shown_and_filtered(
    conn: Connection, people: People, each_status: dict[str, int], status: str
) -> None:
    filters = Filters("billed", statuses=[status])
    rows = customer_lists.page(conn, filters, today=TODAY)
    assert [(row.id, row.status) for row in rows] == [(each_status[status], status)]
    assert customer_statuses.status(conn, each_status[status], today=TODAY) == status
    assert customer_lists.count(conn, filters, today=TODAY) == 1
    assert customer_lists.listing(conn, filters, today=TODAY).counts == {"test": 0, "billed": 1}


@pytest.mark.row("G13")
def test_every_customer_has_exactly_one_status(conn: Connection, people: People, each_status: dict[str, int]) -> None:
    shown = {row.id: row.status for row in customer_lists.page(conn, Filters(statuses=STATUSES), today=TODAY)}
    assert shown == {customer_id: status for status, customer_id in each_status.items()}
    # Nobody meets the erased who doesn't look for them.
    assert customer_lists.count(conn, Filters(), today=TODAY) == len(STATUSES) - 1
    assert customer_lists.count(conn, Filters(statuses=STATUSES), today=TODAY) == len(STATUSES)
    assert customer_lists.count(conn, Filters(statuses=["gone"]), today=TODAY) == 0


# ---------------------------------------------------------------------------------- filters


@pytest.fixture
def five(conn: Connection, people: People) -> None:
    """Five customers that differ in what can be filtered."""
    add(conn, people, "Ährenfeld AG", contact_name="Zoe Zander", payment_method="card")
    add(conn, people, "Bergkiefer GmbH", contact_email="info@bergkiefer.example", service_mode="self_service")
    add(conn, people, "Cirrus 100% KG", payment_method="card", service_mode="self_service")
    add(conn, people, "Distel_fink", vat_id="DE136695976", payment_method="free")
    add(conn, people, "Entwurf UG", billed=False, payment_method="card")


@pytest.mark.row("G13")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "ABCDE"),
        (Filters("billed"), "ABCD"),
        (Filters("test"), "E"),
        (Filters(payment_methods=["card"]), "ACE"),
        (Filters(payment_methods=["card", "free"]), "ACDE"),
        (Filters(service_modes=["self_service"]), "BC"),
        (Filters(statuses=["inactive"]), "ABCDE"),
        (Filters(statuses=["active"]), ""),
        (Filters("billed", payment_methods=["card"], service_modes=["self_service"], statuses=["inactive"]), "C"),
        (Filters("billed", search="kiefer", service_modes=["self_service"]), "B"),
        (Filters("billed", search="kiefer", service_modes=["managed"]), ""),
    ],
)
def test_filters_alone_and_combined(
    conn: Connection, people: People, five: None, filters: Filters, expected: str
) -> None:
    found = names(conn, filters)
    assert "".join(name[0].replace("Ä", "A") for name in found) == expected
    assert customer_lists.count(conn, filters, today=TODAY) == len(expected)
    listing = customer_lists.listing(conn, filters, today=TODAY)
    assert [row.name for row in listing.rows] == found
    assert listing.counts == customer_lists.counts(conn, filters, today=TODAY)
    # G13: the export is exactly what is filtered.
    exported = json.loads(b"".join(customer_exports.export_json(conn, filters, today=TODAY)))
    assert [one["name"] for one in exported["customers"]] == found


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("ÄHREN", "A"),
        ("zander", "A"),
        ("zoe ährenfeld", "A"),
        ("info@berg", "B"),
        ("de136695", "D"),
        ("C-1", "ABCDE"),
        ("100%", "C"),
        ("distel_", "D"),
        ("l_f", "D"),
        # Fewer than three letters are looked for where a word begins.
        ("zo", "A"),
        ("ki", ""),
        ("b", "B"),
        ("   ", "ABCDE"),
        ("%%%", ""),
        ("___", ""),
        ("\\", ""),
        ("'; DROP TABLE customers; --", ""),
        ("\x00", "ABCDE"),
        ("x" * 10_000, ""),
    ],
)
def test_searching(conn: Connection, people: People, five: None, search: str, expected: str) -> None:
    found = names(conn, Filters(search=search))
    assert "".join(name[0].replace("Ä", "A") for name in found) == expected
    assert [one.name for one in customer_lists.find(conn, search)] == found


@pytest.mark.parametrize("name", ["payment_methods", "service_modes", "statuses"])
@pytest.mark.parametrize("typed", ["\x00", "card\x00", "", "none of them", "'); --", "x" * 10_000])
def test_a_filter_that_knows_no_such_value_finds_nothing(
    conn: Connection, people: People, five: None, name: str, typed: str
) -> None:
    assert names(conn, Filters(**{name: [typed]})) == []
    assert customer_lists.counts(conn, Filters(**{name: [typed]}), today=TODAY) == {"test": 0, "billed": 0}


def test_the_tabs_count_what_is_filtered(conn: Connection, people: People, five: None) -> None:
    for filters in (Filters("test", payment_methods=["card"]), Filters("billed", payment_methods=["card"])):
        assert customer_lists.counts(conn, filters, today=TODAY) == {"test": 1, "billed": 2}


def test_counting_stops_at_its_bound(
    conn: Connection, people: People, five: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_lists, "MOST_COUNTED", 2)
    assert customer_lists.count(conn, Filters("billed"), today=TODAY) == 3
    # Too many hits to look at all of them: the page is right nevertheless.
    listing = customer_lists.listing(conn, Filters("billed", search="C-1"), today=TODAY, limit=2, offset=2)
    assert [row.name for row in listing.rows] == ["Cirrus 100% KG", "Distel_fink"]
    assert listing.counts == {"test": 1, "billed": 3}


# ---------------------------------------------------------------------------------- order, pages, picking


@pytest.mark.parametrize(
    ("order", "descending", "expected"),
    [
        ("name", False, "ABÖZ"),
        ("name", True, "ZÖBA"),
        ("number", False, "ZBAÖ"),
        ("number", True, "ÖABZ"),
        ("created", False, "ZBAÖ"),
        ("created", True, "ÖABZ"),
        ("ends_on", False, "BAZÖ"),
        ("ends_on", True, "ABÖZ"),
        ("forecast", False, "ABZÖ"),
        ("forecast", True, "BAÖZ"),
    ],
)
@pytest.mark.parametrize("search", ["", "C-1"], ids=["all", "searched"])
def test_each_order_both_ways(
    conn: Connection, people: People, order: str, descending: bool, expected: str, search: str
) -> None:
    users = ledgers.product(conn, people, "users", price="1")
    ends = {"Z": None, "B": date(2026, 8, 1), "A": date(2026, 9, 1), "Ö": None}
    made = {name: add(conn, people, name, ends_on=end) for name, end in ends.items()}
    for name, quantity in (("B", 20), ("A", 10)):
        ledgers.book(conn, people, made[name], users, quantity, JUNE)
    wanted: dict[str, Any] = {"order": order, "descending": descending}
    assert "".join(names(conn, Filters("billed", search), **wanted)) == expected
    listed = customer_lists.listing(conn, Filters("billed", search), today=TODAY, **wanted)
    assert "".join(row.name for row in listed.rows) == expected


def test_pages_neither_repeat_nor_skip(conn: Connection, people: People) -> None:
    made = [add(conn, people, "The same name") for _ in range(7)]
    for search in ("", "same"):
        seen = [
            row.id
            for offset in range(0, 8, 2)
            for row in customer_lists.listing(
                conn, Filters("billed", search), today=TODAY, order="ends_on", limit=2, offset=offset
            ).rows
        ]
        assert seen == made


def test_picking_is_bounded(conn: Connection, people: People, five: None) -> None:
    assert [one.name for one in customer_lists.find(conn, "", limit=2)] == ["Ährenfeld AG", "Bergkiefer GmbH"]


def test_filters_by_tag_and_by_the_day_of_the_end(conn: Connection, people: People) -> None:
    ids = {name: add(conn, people, name) for name in ("Ada", "Berta", "Cleo")}
    set_columns(conn, ids["Ada"], tags=["north", "key account"])
    set_columns(conn, ids["Berta"], tags=["south"], ends_on=TODAY + timedelta(days=40))
    set_columns(conn, ids["Cleo"], ends_on=TODAY + timedelta(days=41))

    def found(**filters: Any) -> list[int]:
        return customer_lists.chosen(conn, Filters(**filters), today=TODAY, limit=10)

    assert found(tags=["north", "south"]) == [ids["Ada"], ids["Berta"]]
    assert found(tags=["east\x00"]) == []
    assert found(ends_until=TODAY + timedelta(days=40)) == [ids["Berta"]]
    assert found(ends_until=TODAY + timedelta(days=41), tags=["south"]) == [ids["Berta"]]
    assert customer_lists.tags(conn) == ["key account", "north", "south"]
    set_columns(conn, ids["Cleo"], tags=["south", "west"])
    set_columns(conn, ids["Ada"], tags=["key account"])
    set_columns(conn, ids["Berta"], tags=[])
    assert customer_lists.tags(conn) == ["key account", "south", "west"]
    assert customer_lists.tags(conn, limit=2) == ["key account", "south"]
    assert customer_lists.chosen(conn, Filters(), today=TODAY, limit=2) == [ids["Ada"], ids["Berta"]]
