"""The customers as a file: what is filtered and nothing else, as documented, safe in a spreadsheet, streamed."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Connection, update
from starlette.requests import Request
from starlette.responses import StreamingResponse

from lib import clock, customer_exports, customers, db, tables
from lib.auth import Role, User
from lib.customer_exports import COLUMNS, VERSION
from lib.customer_filters import Filters
from lib.errors import Invalid
from lib.sessions import SESSION_COOKIE
from pages.shared import downloads
from tests import ledgers, uploads
from tests import people as staff

TODAY = date(2026, 6, 15)
DOCS = Path(__file__).parents[1] / "docs"
People = dict[Role, User]


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def two(conn: Connection, people: People) -> tuple[int, int]:
    """A billed customer with 300 IPs and a name that looks like a formula, and a test customer."""
    ips = ledgers.product(conn, people, "ips", price=ledgers.RANGES)
    first = customers.create(
        conn,
        details={"name": "=Ada & Söhne", "contact_email": "ada@ada.example", "phone": "+49 30 1", "city": "Köln; Nord"},
        billed=True,
        ends_on=date(2026, 12, 31),
        today=ledgers.JUNE,
        user=people[Role.ADMIN],
    )
    ledgers.book(conn, people, first, ips, 300, ledgers.JUNE)
    conn.execute(update(tables.customers).values(tags=["Nord", "VIP"], payment_days=30))
    second = ledgers.customer(conn, people, "Berta", billed=False, ends_on=date(2026, 7, 1))
    return first, second


def in_json(conn: Connection, filters: Filters | None = None) -> Any:
    return json.loads(b"".join(customer_exports.export_json(conn, filters or Filters(), today=TODAY)))


def in_csv(conn: Connection, filters: Filters | None = None, *, german: bool = False) -> list[dict[str, str]]:
    content = b"".join(customer_exports.export_csv(conn, filters or Filters(), today=TODAY, german=german))
    decoded = content.decode("utf-8-sig" if german else "utf-8")
    return list(csv.DictReader(io.StringIO(decoded), delimiter=";" if german else ","))


@pytest.mark.row("G13")
def test_json_is_what_its_schema_says(conn: Connection, two: tuple[int, int]) -> None:
    exported = in_json(conn)
    schema = json.loads((DOCS / "customers.schema.json").read_text())
    jsonschema.validate(exported, schema, format_checker=jsonschema.FormatChecker())
    assert (exported["format"], exported["version"], exported["as_of"]) == ("mandant/customers", VERSION, "2026-06-15")
    ada, berta = exported["customers"]
    assert list(ada) == [column.name for column in COLUMNS] == schema["properties"]["customers"]["items"]["required"]
    said = {
        "name": "=Ada & Söhne",
        "phase": "billed",
        "status": "active",
        "billed_from": "2026-06-01",
        "ends_on": "2026-12-31",
        "contact_email": "ada@ada.example",
        "phone": "+49 30 1",
        "city": "Köln; Nord",
        "separate_billing": False,
        "payment_days": 30,
        "max_users": None,
        "tags": ["Nord", "VIP"],
        "ips_external": 300,
        "average_ip_price": "1.53",
        "forecast_month": "2026-06",
        "forecast": "460.00",
    }
    assert ada | said == ada
    assert (berta["phase"], berta["billed_from"], berta["forecast"], berta["average_ip_price"]) == (
        "test",
        None,
        None,
        None,
    )


@pytest.mark.row("G13")
def test_csv_says_the_same_and_runs_nothing(conn: Connection, two: tuple[int, int]) -> None:
    ada, berta = in_csv(conn)
    assert list(ada) == [column.heading for column in COLUMNS]
    said = {
        "Name": "'=Ada & Söhne",
        "Phase": "Billed",
        "Phone": "'+49 30 1",
        "City": "Köln; Nord",
        "Separate billing address": "no",
        "Payment method": "Bank transfer",
        "Days to pay": "30",
        "Maximum of users": "",
        "Tags": "Nord, VIP",
        "Average price of an IP": "1.53",
        "Forecast, net": "460.00",
    }
    assert ada | said == ada
    assert (berta["Phase"], berta["Billed from"], berta["Forecast, net"]) == ("Test", "", "")


def test_csv_for_a_german_excel(conn: Connection, two: tuple[int, int]) -> None:
    content = b"".join(customer_exports.export_csv(conn, Filters(), today=TODAY, german=True))
    assert content.startswith(b"\xef\xbb\xbfNumber;Name;Phase;")
    ada, _ = in_csv(conn, german=True)
    assert (ada["Average price of an IP"], ada["Forecast, net"], ada["City"]) == ("1,53", "460,00", "Köln; Nord")
    assert [row["Name"] for row in in_csv(conn, german=True)] == [row["Name"] for row in in_csv(conn)]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(conn: Connection, two: tuple[int, int], start: str) -> None:
    conn.execute(update(tables.customers).values(name=f"{start}HYPERLINK()", tags=[f"{start}x"]))
    content = b"".join(customer_exports.export_csv(conn, Filters(), today=TODAY)).decode()
    for row in csv.DictReader(io.StringIO(content, newline="")):
        assert not [cell for cell in row.values() if cell.startswith(start)]


@pytest.mark.row("G13")
@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (Filters(), ["=Ada & Söhne", "Berta"]),
        (Filters("test"), ["Berta"]),
        (Filters(search="ada"), ["=Ada & Söhne"]),
        (Filters(payment_methods=["card"]), []),
        (Filters(ends_until=date(2026, 7, 1)), ["Berta"]),
        (Filters(tags=["VIP"]), ["=Ada & Söhne"]),
        (Filters(statuses=["ending"]), ["Berta"]),
    ],
)
def test_the_files_hold_what_is_filtered(
    conn: Connection, two: tuple[int, int], filters: Filters, names: list[str]
) -> None:
    assert [one["name"] for one in in_json(conn, filters)["customers"]] == names
    assert [one["Name"].removeprefix("'") for one in in_csv(conn, filters)] == names
    # As the address that the page links to says it.
    address: dict[str, list[str]] = {}
    for name, value in customer_exports.named(filters):
        address.setdefault(name, []).append(value)
    read = customer_exports.asked(lambda name: address.get(name, []))
    assert [one["name"] for one in in_json(conn, read)["customers"]] == names


def test_a_long_file_comes_in_pieces_and_in_order(
    conn: Connection, two: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = in_json(conn), in_csv(conn)
    monkeypatch.setattr(customer_exports, "BATCH", 1)
    assert (in_json(conn), in_csv(conn)) == whole
    assert len(list(customer_exports.export_csv(conn, Filters(), today=TODAY))) == 3


def test_any_text_in_an_address_finds_nothing_or_is_told(conn: Connection, two: tuple[int, int]) -> None:
    for name in ("payment_method", "service_mode", "status", "quota_warning", "tag"):
        odd = customer_exports.asked(lambda asked, name=name: ["\x00'; --"] if asked == name else [])
        assert in_json(conn, odd)["customers"] == []
    with pytest.raises(Invalid, match="must be a day"):
        customer_exports.asked(lambda name: ["soon"])


@pytest.mark.parametrize("german", [False, True])
def test_an_import_reads_the_file_as_it_is(
    conn: Connection, people: People, two: tuple[int, int], german: bool
) -> None:
    """And finds nothing to change: what a spreadsheet must not run comes back as it was."""
    content = b"".join(customer_exports.export_csv(conn, Filters(), today=TODAY, german=german))
    report = uploads.check(conn, "customers", content, people[Role.SALES])
    assert (uploads.faults(report), report.created, report.updated, report.unchanged) == ([], 0, 0, 2)
    content = content.replace(b"Berta", b"Berta Neu")
    report = uploads.check(conn, "customers", content, people[Role.SALES])
    assert (uploads.faults(report), report.updated, report.unchanged) == ([], 1, 1)


def test_the_name_of_the_file() -> None:
    assert customer_exports.file_name(Filters("test"), TODAY, "csv") == "customers-test-2026-06-15.csv"
    assert customer_exports.file_name(Filters("../x"), TODAY, "json") == "customers-2026-06-15.json"


def test_the_page_about_exports_names_every_field() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", (DOCS / "exports.md").read_text(), re.MULTILINE)
    assert rows == [(column.name, column.heading, column.meaning) for column in COLUMNS]
    assert f"version is {VERSION}." in (DOCS / "exports.md").read_text().replace("\n", " ")


def test_every_stored_field_of_a_customer_is_exported_or_internal(conn: Connection) -> None:
    """A column that is added has to be decided on: exported, or in this list."""
    internal = {"id", "active", "deactivation_reason", "locked_at", "vat_id_valid", "vat_id_checked_on", "created_at"}
    internal |= {"version", "search", "sort_name", "marked_for_deletion_at", "erased_at", "settled_at"}
    assert set(tables.customers.c.keys()) - {column.name for column in COLUMNS} == internal


def test_the_route_asks_who_is_there(database: str) -> None:
    with db.transaction() as conn:
        ledgers.customer(conn, staff.open_company(conn), "Ada")
        token = staff.sign_in(conn, staff.hire(conn)[Role.VIEWER])
        as_json = b"".join(customer_exports.export_json(conn, Filters(search="ada"), today=clock.today(conn)))

    def get(query: str, *, ending: str = "json", cookie: str = token) -> tuple[int, bytes]:
        headers = [(b"cookie", f"{SESSION_COOKIE}={cookie}".encode())]
        params = {"path_params": {"ending": ending}, "query_string": query.encode(), "headers": headers}
        response = downloads.customers(Request({"type": "http", "method": "GET", "path": "/", **params}))
        if isinstance(response, StreamingResponse):
            return response.status_code, staff.awaited(read(response))
        return response.status_code, bytes(response.body)

    async def read(response: StreamingResponse) -> bytes:
        return b"".join([bytes(block) async for block in response.body_iterator])  # type: ignore[arg-type]

    assert get("search=ada&payment_method=bank_transfer&phase=billed") == (200, as_json)
    assert json.loads(get("status=%00&tag=%00")[1])["customers"] == []
    assert get("search=ada", ending="csv")[1].startswith(b"Number,Name")
    assert get("search=ada&german=1", ending="csv")[1].startswith(b"\xef\xbb\xbfNumber;Name")
    assert get("ends_until=soon")[0] == 400
    assert get("", ending="xml")[0] == 404
    assert get("", cookie="made-up")[0] == 401


def test_customers_chosen_one_by_one(conn: Connection, two: tuple[int, int]) -> None:
    def asked(**values: str) -> Filters:
        return customer_exports.asked(lambda name: [values[name]] if name in values else [])

    filters = asked(ids=str(two[1]))
    assert [row["name"] for row in in_json(conn, filters)["customers"]] == ["Berta"]
    assert asked(**dict(customer_exports.named(filters))) == filters
    for typed in ("1,x", "1;2", "9" * 19, ",".join("1" * 1001)):
        with pytest.raises(Invalid):
            asked(ids=typed)
