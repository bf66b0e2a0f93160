"""The Cost Overview's rows, sums and files (row N11)."""

import json
from csv import reader
from datetime import date
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import adjustments, charges, customer_verbs, explanations, report_files, report_filters, reports
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotFound
from lib.report_filters import Filters
from tests.ledgers import JUNE, RANGES, People, book, customer, product

GOLDEN = Path(__file__).parent / "golden"
JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)
TODAY = date(2026, 7, 20)


@pytest.fixture
def people(set_up: Any) -> People:
    found: People = set_up(JUNE)
    return found


@pytest.fixture
def company(conn: Connection, people: People) -> dict[str, int]:
    """Four billed customers and a test one, in June and July 2026; Bob has nothing, Cyd lacks a price."""
    users = product(conn, people, "users", price="10")
    ips = product(conn, people, "ips", price=RANGES)
    module = product(conn, people, "module", code="crm")
    ids = {"users": users, "ips": ips, "crm": module}
    for name in ("Ähre GmbH", "Bob & Söhne AG", '=HYPERLINK("http://evil.example")', "Zoë; “Quote” GmbH"):
        ids[name[:3]] = customer(conn, people, name)
    customer(conn, people, "Test GmbH", billed=False, ends_on=date(2026, 12, 31))
    book(conn, people, ids["Ähr"], ips, 200, JUNE)
    book(conn, people, ids["Ähr"], ips, 300, date(2026, 6, 16))
    book(conn, people, ids["Ähr"], users, 5, JUNE)
    book(conn, people, ids["=HY"], users, 2, date(2026, 7, 3))
    book(conn, people, ids["=HY"], module, 1, date(2026, 7, 10))
    book(conn, people, ids["Zoë"], users, 1000, JUNE)
    book(conn, people, ids["Zoë"], users, 900, date(2026, 7, 5))
    credit: dict[str, Any] = {"text": "Credit", "reason": "agreed", "user": people[Role.FINANCE]}
    adjustments.add(conn, ids["Zoë"], amount=Decimal("-1234.5"), month_meant=JUNE, month=JULY, **credit)
    conn.execute(text("UPDATE customers SET number = 'K-' || id - (SELECT min(id) FROM customers)"))
    return ids


def both(conn: Connection, filters: Filters, **options: Any) -> bytes:
    return b"".join(report_files.export_csv(conn, filters, **options))


# ---------------------------------------------------------------- files


@pytest.mark.row("N11")
@pytest.mark.parametrize(
    ("name", "options"), [("costs.csv", {}), ("costs-german.csv", {"german": True}), ("costs.json", None)]
)
def test_golden_files(conn: Connection, company: dict[str, int], name: str, options: dict[str, bool] | None) -> None:
    """Two-decimal strings, harmless cells, and for German Excel semicolons, decimal commas and a byte-order mark."""
    filters = Filters(JUNE, JULY)
    found = b"".join(report_files.export_json(conn, filters)) if options is None else both(conn, filters, **options)
    assert found.decode() == (GOLDEN / name).read_bytes().decode()


@pytest.mark.row("N11")
@pytest.mark.parametrize("first", [JUNE, JULY])
def test_the_page_shows_the_rows_of_the_export(conn: Connection, company: dict[str, int], first: date) -> None:
    filters = Filters(first, JULY)
    pages = [reports.overview_page(conn, filters, limit=2, offset=offset).rows for offset in (0, 2)]
    shown = [
        [
            f"{row.month:%Y-%m}",
            row.number,
            row.customer,
            row.product,
            row.start,
            row.changes,
            row.end,
            row.amount,
            row.state,
        ]
        for page in pages
        for row in page.itertuples()
    ]
    exported = list(reader(StringIO(both(conn, filters).decode())))
    assert exported[0] == list(report_files.COLUMNS)
    as_text = [["" if cell is None else str(cell) for cell in row] for row in shown]
    harmless = [["'" + cell if cell.startswith("=") else cell for cell in row] for row in as_text]
    assert harmless == exported[1:]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_runs_as_a_formula(conn: Connection, company: dict[str, int], start: str) -> None:
    """A negative amount stays a number."""
    values = {"text": f"{start}1+1", "number": f"{start}N", "id": company["Zoë"]}
    conn.execute(text("UPDATE customers SET name = :text, number = :number WHERE id = :id"), values)
    conn.execute(text("UPDATE products SET name_en = :text WHERE kind = 'adjustment'"), values)
    rows = list(reader(StringIO(both(conn, Filters(JULY, JULY, customers=(company["Zoë"],))).decode(), newline="")))
    credit = next(row for row in rows if row[7] == "-1234.50")
    assert credit[1:4] == [f"'{start}N", f"'{start}1+1", f"'{start}1+1"]


def test_quoting_survives_a_reader(conn: Connection, company: dict[str, int]) -> None:
    name = 'A "quoted", comma; and\nline \\ \u0001 € 😀'
    conn.execute(text("UPDATE customers SET name = :name WHERE id = :id"), {"name": name, "id": company["Ähr"]})
    filters = Filters(JUNE, JUNE, customers=(company["Ähr"],))
    rows = list(reader(StringIO(both(conn, filters).decode(), newline="")))
    assert {row[2] for row in rows[1:]} == {name}
    assert {row["customer"] for row in json.loads(b"".join(report_files.export_json(conn, filters)))} == {name}


def test_an_empty_export_has_its_head(conn: Connection, company: dict[str, int]) -> None:
    nobody = Filters(JUNE, JUNE, search="nobody at all")
    assert both(conn, nobody).decode() == ",".join(report_files.COLUMNS) + "\n"
    assert json.loads(b"".join(report_files.export_json(conn, nobody))) == []


def test_file_names() -> None:
    assert report_files.file_name(Filters(JUNE, JUNE), "csv") == "cost-overview-2026-06.csv"
    assert report_files.file_name(Filters(JUNE, JULY), "json") == "cost-overview-2026-06-to-2026-07.json"


def test_whole_ranges_come_in_blocks(
    conn: Connection, company: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = Filters(JUNE, JULY)
    whole = both(conn, filters)
    monkeypatch.setattr(report_files, "BLOCK_BYTES", 100)
    blocks = list(report_files.export_csv(conn, filters))
    assert b"".join(blocks) == whole and len(blocks) > 3 and max(map(len, blocks)) < 400


# ---------------------------------------------------------------- rows


def rows(conn: Connection, filters: Filters, **options: Any) -> list[tuple[Any, ...]]:
    found = reports.overview_page(conn, filters, **options).rows
    return [(row.customer[:3], row.product, row.start, row.end, row.amount, row.state) for row in found.itertuples()]


@pytest.mark.row("N11")
def test_all_billed_customers_are_shown(conn: Connection, company: dict[str, int]) -> None:
    """With what began, changed and ended; one without charges has a row without product, a test customer none."""
    assert rows(conn, Filters(JUNE, JUNE)) == [
        ("=HY", None, None, None, None, "forecast"),
        ("Ähr", "Users", 0, 5, Decimal("50.00"), "forecast"),
        ("Ähr", "Ips", 0, 300, Decimal("392.50"), "forecast"),
        ("Bob", None, None, None, None, "forecast"),
        ("Zoë", "Users", 0, 1000, Decimal("10000.00"), "forecast"),
    ]
    changes = reports.overview_page(conn, Filters(JUNE, JUNE)).rows["changes"].tolist()
    assert changes[2] == "2026-06-01 +200; 2026-06-16 +100"


def test_closed_months_are_final_and_what_has_no_price_says_so(conn: Connection, company: dict[str, int]) -> None:
    charges.ensure_rated(conn, JUNE)
    conn.execute(text("UPDATE months SET state = 'approved' WHERE month = :month"), {"month": JUNE})
    conn.execute(text("INSERT INTO months (month) VALUES (:month)"), {"month": JULY})
    assert {row[-1] for row in rows(conn, Filters(JUNE, JUNE))} == {"final"}
    found = {row[1]: row for row in rows(conn, Filters(JULY, JULY, customers=(company["=HY"],)))}
    assert found["Users"][-2:] == (Decimal("20.00"), "forecast")
    assert found["Crm"][-2:] == (None, "no price")


def test_filters_combine(conn: Connection, company: dict[str, int]) -> None:
    users = (company["users"],)
    assert [row[0] for row in rows(conn, Filters(JUNE, JUNE, products=users))] == ["Ähr", "Zoë"]
    assert [row[0] for row in rows(conn, Filters(JUNE, JULY, products=users))] == ["=HY", "Ähr", "Ähr", "Zoë", "Zoë"]
    assert [row[0] for row in rows(conn, Filters(JULY, JULY, search="  SÖHNE bob "))] == ["Bob"]
    assert rows(conn, Filters(JULY, JULY, search="100%")) == []
    assert rows(conn, Filters(JULY, JULY, search="zoë", products=(company["ips"],))) == []
    assert {row[0] for row in rows(conn, Filters(JULY, JULY, customers=(company["Zoë"], company["Bob"])))} == {
        "Bob",
        "Zoë",
    }


def test_orders_and_pages(conn: Connection, company: dict[str, int]) -> None:
    """By amount, what lacks a price comes first and who has no charges last."""

    def order(filters: Filters, by: str) -> list[str]:
        names: list[str] = []
        for offset in range(4):
            page = reports.overview_page(conn, filters, limit=1, offset=offset, order=by)
            names += dict.fromkeys(page.rows["customer"].str[:3])
            assert page.customers == (2 if filters.products else 4)
        return names

    assert order(Filters(JUNE, JUNE), "name") == ["=HY", "Ähr", "Bob", "Zoë"]
    assert order(Filters(JUNE, JUNE), "number") == ["Ähr", "Bob", "=HY", "Zoë"]
    assert order(Filters(JUNE, JUNE), "amount") == ["Zoë", "Ähr", "=HY", "Bob"]
    assert order(Filters(JUNE, JULY), "amount") == ["=HY", "Zoë", "Ähr", "Bob"]
    assert order(Filters(JUNE, JUNE, products=(company["users"],)), "amount") == ["Zoë", "Ähr"]


def test_who_ended_before_the_month_is_gone_unless_something_is_charged(
    conn: Connection, people: People, company: dict[str, int]
) -> None:
    finance = people[Role.FINANCE]
    customer_verbs.set_end_date(conn, company["Zoë"], ends_on=date(2026, 6, 30), today=date(2026, 6, 20), user=finance)
    # July: what ended on its eve still shows; the adjustment is charged all the same.
    assert [row[1:5] for row in rows(conn, Filters(JULY, JULY, search="zoë"))] == [
        ("Users", 1000, 0, Decimal("0.00")),
        ("Adjustments", 0, 0, Decimal("-1234.50")),
    ]
    assert rows(conn, Filters(AUGUST, AUGUST, search="zoë")) == []
    adjustments.add(
        conn, company["Zoë"], text="Late", amount=Decimal(5), month_meant=JUNE, month=AUGUST, reason="x", user=finance
    )
    assert [row[4] for row in rows(conn, Filters(AUGUST, AUGUST, search="zoë"))] == [Decimal("5.00")]


# ---------------------------------------------------------------- sums


@pytest.mark.row("N11")
def test_totals_and_what_changed(conn: Connection, company: dict[str, int]) -> None:
    found = reports.summary(conn, Filters(JULY, JULY))
    assert found.total == reports.Total(Decimal("9295.50"), Decimal("10442.50"))
    assert found.products[company["ips"]].change == Decimal("67.50")
    assert found.products[company["users"]].amount == Decimal("10070.00")
    assert found.unpriced == 1
    assert found.series.shape[0] == 24 and found.series.index[-1] == JULY
    assert found.series[company["ips"]].iloc[-2:].tolist() == [Decimal("392.50"), Decimal("460.00")]


def test_the_first_month_has_nothing_to_be_compared_with(conn: Connection, company: dict[str, int]) -> None:
    total = reports.summary(conn, Filters(JUNE, JUNE)).total
    assert (total.before, total.change, total.percent) == (None, None, None)


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("span", [(JUNE, JUNE), (JULY, JULY), (JUNE, JULY)])
def test_sums_of_all_customers_are_those_of_the_kept_totals(
    conn: Connection, company: dict[str, int], span: tuple[date, date], products: bool
) -> None:
    """month_totals and the charges themselves say the same, and so do the rows."""
    chosen = (company["users"], company["ips"]) if products else ()
    everybody = tuple(company[name] for name in ("Ähr", "Bob", "=HY", "Zoë"))
    kept, counted = (reports.summary(conn, Filters(*span, customers=some, products=chosen)) for some in ((), everybody))
    assert kept.total == counted.total and kept.products == counted.products
    assert kept.series.equals(counted.series)
    amounts = reports.overview_page(conn, Filters(*span, products=chosen)).rows["amount"].dropna()
    assert sum(amounts, Decimal(0)) == kept.total.amount


# ---------------------------------------------------------------- what is asked for


def test_filters_from_an_address(conn: Connection, company: dict[str, int]) -> None:
    number = conn.scalar(text("SELECT number FROM customers WHERE id = :id"), {"id": company["Zoë"]})
    found = report_filters.chosen(
        conn, today=TODAY, month="2026-06", until="2026-07", search="x", customers=[number], products=["ips"]
    )
    assert found == Filters(JUNE, JULY, "x", (company["Zoë"],), (company["ips"],))
    assert found.months_before == [date(2026, 4, 1), date(2026, 5, 1)]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"month": ""}, "month"),
        ({"month": "June"}, "month"),
        ({"month": "2026-13"}, "month"),
        ({"month": "2026-05"}, "month"),
        ({"month": "2199-01"}, "month"),
        ({"month": "2026-07", "until": "2026-06"}, "until"),
        ({"month": "2026-06", "until": "x"}, "until"),
        ({"month": "2026-06", "customers": ["\x00'; --"]}, "customer"),
        ({"month": "2026-06", "products": ["nothing"]}, "product"),
    ],
)
def test_what_does_not_exist_is_refused_at_its_field(
    conn: Connection, company: dict[str, int], asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        report_filters.chosen(conn, today=TODAY, **asked)
    assert refusal.value.field == field


def test_before_set_up_there_is_nothing_to_choose(conn: Connection) -> None:
    assert report_filters.months(conn, today=TODAY) == []
    with pytest.raises(Conflict, match="first booking month"):
        report_filters.chosen(conn, today=TODAY, month="2026-06")


def test_customers_to_pick_from(conn: Connection, company: dict[str, int]) -> None:
    numbers = report_filters.pickable(conn, "söhne")
    assert list(numbers.values()) == ["Bob & Söhne AG"]
    kept = report_filters.pickable(conn, "nobody", kept=[*numbers, "made up"])
    assert kept == numbers
    assert "Test GmbH" not in report_filters.pickable(conn, "").values()


# ---------------------------------------------------------------- explained


@pytest.mark.row("N11")
def test_an_amount_is_explained(conn: Connection, company: dict[str, int]) -> None:
    found = explanations.explanation(conn, company["Ähr"], company["ips"], month=JUNE)
    assert (found.amount, found.start, found.end, found.final) == (Decimal("392.50"), 0, 300, False)
    assert sum((line.amount or Decimal(0) for line in found.lines), Decimal(0)) == found.amount
    assert [part.days for part in found.parts] == [15] * 5
    assert found.price is not None and found.price.valid_from == JUNE
    assert [booking.quantity for booking in found.bookings] == [200, 300]
    july = explanations.explanation(conn, company["Ähr"], company["ips"], month=JULY)
    assert [booking.quantity for booking in july.bookings] == [300]  # the one that stood when it began


def test_an_adjustment_is_explained_by_its_entries(conn: Connection, company: dict[str, int]) -> None:
    charges.ensure_rated(conn, JULY)
    kind = conn.scalar(text("SELECT id FROM products WHERE kind = 'adjustment'"))
    found = explanations.explanation(conn, company["Zoë"], kind, month=JULY)
    assert [entry.text for entry in found.adjustments] == ["Credit"]
    assert (found.lines, found.price, found.amount) == ([], None, Decimal("-1234.50"))


def test_what_is_not_charged_is_not_found(conn: Connection, company: dict[str, int]) -> None:
    with pytest.raises(NotFound):
        explanations.explanation(conn, company["Bob"], company["ips"], month=JUNE)
