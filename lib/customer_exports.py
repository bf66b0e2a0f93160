"""The customers as a file: exactly the filtered ones, streamed, however many they are (row G13).

`docs/exports.md` and `docs/customers.schema.json` describe the fields; a field that goes or changes its meaning
raises VERSION. The headings of the CSV are those that an import knows. Its texts that a spreadsheet would run as a
formula get an apostrophe in front, which an import takes away again.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from lib import charges, customer_fields, customer_lists, customer_statuses, fields
from lib.clock import month_of
from lib.customer_filters import Filters
from lib.errors import Invalid
from lib.money import rounded
from lib.report_files import BOM

VERSION = 1
# Customers are looked up so many at a time: memory stays the same, however many there are.
BATCH = 1_000
# As many as can be chosen in the list (`lib/bulk.py`).
MOST_CHOSEN = 1_000
# By which name an address or a command asks for each list of the filters.
_SEVERAL = {
    "payment_method": "payment_methods",
    "service_mode": "service_modes",
    "status": "statuses",
    "quota_warning": "quota_warnings",
    "tag": "tags",
}


@dataclass(frozen=True)
class Column:
    """A field: its name in JSON, its heading in CSV, what it says, and how a choice reads in CSV."""

    name: str
    heading: str
    meaning: str
    words: Mapping[str, str] | None = None


COLUMNS = (
    Column("number", "Number", "the customer's number"),
    Column("name", "Name", "the company's name"),
    Column("phase", "Phase", "test or billed", customer_fields.PHASES),
    Column("status", "Status", "as in the list, the first that holds: " + ", ".join(customer_statuses.STATUSES)),
    Column("billed_from", "Billed from", "the first day that can be charged; empty for a test"),
    Column("ends_on", "End date", "the last charged day, or the last day of a test"),
    Column("service_mode", "Service mode", "who changes IPs", customer_fields.SERVICE_MODES),
    Column("payment_method", "Payment method", "how it pays", customer_fields.PAYMENT_METHODS),
    Column("contact_name", "Contact name", "whom to talk to"),
    Column("contact_email", "Contact e-mail", "the contact's address"),
    Column("phone", "Phone", "the phone number"),
    Column("street", "Street", "street and number"),
    Column("postcode", "Postcode", "the postcode"),
    Column("city", "City", "the city"),
    Column("country", "Country", "ISO 3166-1, two letters"),
    Column("separate_billing", "Separate billing address", "whether documents go to another address"),
    Column("billing_name", "Billing name", "that address"),
    Column("billing_street", "Billing street", "that address"),
    Column("billing_postcode", "Billing postcode", "that address"),
    Column("billing_city", "Billing city", "that address"),
    Column("billing_country", "Billing country", "that address; ISO 3166-1, two letters"),
    Column("billing_email", "Billing e-mail", "where documents are mailed"),
    Column("vat_id", "VAT ID", "the VAT ID"),
    Column("tax_number", "Tax number", "outside the EU, in place of a VAT ID"),
    Column("no_tax_id_reason", "Why there is neither", "in words"),
    Column("purchase_order", "Purchase order", "the reference that documents carry"),
    Column("language", "Language", "of its documents", customer_fields.LANGUAGES),
    Column("payment_days", "Days to pay", "its own term; empty: the company's"),
    Column("max_users", "Maximum of users", "of its licence; empty: none"),
    Column("users_beyond_max", "Users beyond the maximum", "whether more may be booked"),
    Column("account_name", "Account name", "the name of its account"),
    Column("tenant_type", "Tenant type", "the kind of its tenant", customer_fields.TENANT_TYPES),
    Column("storage_region", "Storage region", "where its data lie", customer_fields.STORAGE_REGIONS),
    Column("console_url", "Console address", "its console"),
    Column("licence_expires_on", "Licence expires on", "the last day of its licence"),
    Column("tags", "Tags", "its tags; in CSV with commas between"),
    Column("ips_internal", "IPs internal", "today"),
    Column("ips_external", "IPs external", "today"),
    Column("average_ip_price", "Average price of an IP", "today's IPs for a whole month, by IP; empty at none"),
    Column("forecast_month", "Forecast month", "the month of the forecast"),
    Column("forecast", "Forecast, net", "what that month costs; empty for a test and without a price"),
)
# What `customers` holds as it is; the rest is looked up for the list.
_STORED = (
    *("phone", "street", "postcode", "city", "separate_billing", "billing_name", "billing_street"),
    *("billing_postcode", "billing_city", "billing_country", "billing_email", "vat_id", "tax_number"),
    *("no_tax_id_reason", "purchase_order", "language", "payment_days", "max_users", "users_beyond_max"),
    *("account_name", "tenant_type", "storage_region", "console_url", "licence_expires_on", "tags"),
)


def asked(values: Callable[[str], Sequence[str]]) -> Filters:
    """The filters that an address names: `values` gives all that it says for a name.

    Raises Invalid for a day that is none. Any other text that is no such value finds nothing.
    """
    one = {name: (values(name) or [""])[-1] for name in ("phase", "search", "ends_until")}
    until = fields.day(one["ends_until"], field="ends_until", label="The end date")
    several = {field: tuple(values(name)) for name, field in _SEVERAL.items()}
    ids = _ids((values("ids") or [""])[-1])
    return Filters(phase=one["phase"] or None, search=one["search"], ends_until=until, ids=ids, **several)


def _ids(typed: str) -> tuple[int, ...]:
    """Chosen customers, as 7,12,31; empty doesn't narrow. Raises Invalid."""
    parts = typed.split(",") if typed else []
    if len(parts) > MOST_CHOSEN or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise Invalid("The address does not name the customers to export. Choose them in the list again.", field="ids")
    return tuple(int(part) for part in parts)


def named(filters: Filters) -> list[tuple[str, str]]:
    """What `asked` reads back: the filters by the names of an address, those that narrow alone."""
    until = filters.ends_until.isoformat() if filters.ends_until else ""
    one = [("phase", filters.phase or ""), ("search", filters.search.strip()), ("ends_until", until)]
    one.append(("ids", ",".join(str(chosen) for chosen in filters.ids)))
    several = [(name, value) for name, field in _SEVERAL.items() for value in getattr(filters, field)]
    return [(name, value) for name, value in one if value] + several


def file_name(filters: Filters, today: date, ending: str) -> str:
    """customers-billed-2026-06-30.csv."""
    phase = f"-{filters.phase}" if filters.phase in customer_fields.PHASES else ""
    return f"customers{phase}-{today}.{ending}"


def export_json(conn: Connection, filters: Filters, *, today: date) -> Iterator[bytes]:
    """An object with the format's name and version, the day, and the customers in the order of their names.

    Amounts are strings with two decimals, days are ISO 8601, what there is none of is null.
    """
    head = {"format": "mandant/customers", "version": VERSION, "as_of": today.isoformat()}
    yield (json.dumps(head)[:-1] + ', "customers": [').encode()
    separator = "\n"
    for batch in _batches(conn, filters, today):
        yield (separator + ",\n".join(_object(row) for row in batch)).encode()
        separator = ",\n"
    yield b"]}\n" if separator == "\n" else b"\n]}\n"


def export_csv(conn: Connection, filters: Filters, *, today: date, german: bool = False) -> Iterator[bytes]:
    """The same customers as CSV: UTF-8, comma, decimal point, days in ISO 8601, choices in words.

    `german` is what a German Excel opens by a double click: semicolon, decimal comma and a byte order mark.
    """
    style = _Style(";", ",") if german else _Style(",", ".")
    yield (BOM if german else b"") + _lines([[column.heading for column in COLUMNS]], style)
    for batch in _batches(conn, filters, today):
        yield _lines([[_in_csv(row[column.name], column, style) for column in COLUMNS] for row in batch], style)


def _batches(conn: Connection, filters: Filters, today: date) -> Iterator[list[dict[str, Any]]]:
    charges.ensure_rated(conn, month_of(today))
    ids = customer_lists.chosen(conn, filters, today=today, limit=None)
    columns = ", ".join(f"c.{name}" for name in ("id", *_STORED))
    statement = text(f"SELECT {columns} FROM customers c WHERE c.id = ANY(CAST(:ids AS bigint[]))")
    for start in range(0, len(ids), BATCH):
        rows = customer_lists.rows(conn, ids[start : start + BATCH], today=today)
        stored = {row.id: row._mapping for row in conn.execute(statement, {"ids": [row.id for row in rows]})}
        yield [vars(row) | dict(stored[row.id]) | {"forecast_month": f"{today:%Y-%m}"} for row in rows]


class _Style(NamedTuple):
    separator: str
    point: str


def _lines(rows: Sequence[Sequence[str]], style: _Style) -> bytes:
    out = io.StringIO()
    # With \r in the line's end, a cell that holds one is quoted, too.
    csv.writer(out, delimiter=style.separator, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _object(row: Mapping[str, Any]) -> str:
    return json.dumps({column.name: row[column.name] for column in COLUMNS}, ensure_ascii=False, default=_in_json)


def _in_json(value: date | Decimal) -> str:
    """What JSON has no type for."""
    return str(rounded(value)) if isinstance(value, Decimal) else value.isoformat()


def _in_csv(value: Any, column: Column, style: _Style) -> str:
    if value is None:
        return ""
    if column.words is not None:
        return column.words.get(value, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return str(rounded(value)).replace(".", style.point)
    if isinstance(value, list):
        value = ", ".join(value)
    cell = value.isoformat() if isinstance(value, date) else str(value)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
