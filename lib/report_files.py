"""The Cost Overview as a file: exactly the rows that are filtered, streamed, however many they are (row N11).

Amounts are fixed two-decimal strings. In CSV, a text that a spreadsheet would run as a formula (it
begins with = + - @, tab or carriage return) gets an apostrophe in front.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from lib import charges
from lib.report_filters import Filters
from lib.reports import rows_statement

COLUMNS = ("Month", "Number", "Customer", "Product", "Start", "Changes", "End", "Net amount", "State")
BOM = b"\xef\xbb\xbf"
# Rows are handed on in blocks of this size: memory stays the same, whatever the range.
BLOCK_BYTES = 256 * 1024

# A text column of a CSV file, {0}, that no spreadsheet runs as a formula.
HARMLESS = r"CASE WHEN strpos(E'=+-@\t\r', left({0}, 1)) > 0 AND {0} <> '' THEN '''' || {0} ELSE {0} END"
_FILE_ROW = f"""
SELECT to_char(month, 'YYYY-MM') AS "Month", {HARMLESS.format("number")} AS "Number",
       {HARMLESS.format("customer")} AS "Customer", {HARMLESS.format("product")} AS "Product", "start" AS "Start",
       changes AS "Changes", "end" AS "End", {{amount}} AS "Net amount", state AS "State" """
_JSON_ROW = """
SELECT to_char(month, 'YYYY-MM') AS month, number, customer, product, "start", changes, "end",
       amount::text AS net_amount, state"""


def file_name(filters: Filters, ending: str) -> str:
    """cost-overview-2026-06.csv, or with both ends of a range."""
    until = "" if filters.first == filters.last else f"-to-{filters.last:%Y-%m}"
    return f"cost-overview-{filters.first:%Y-%m}{until}.{ending}"


def export_csv(conn: Connection, filters: Filters, *, german: bool = False, bom: bool | None = None) -> Iterator[bytes]:
    """The filtered rows in the order of names as CSV: UTF-8, comma, decimal point.

    `german` is what a German Excel opens by a double click: semicolon, decimal comma and a byte
    order mark; `bom` asks for the mark (or its absence) apart from that.
    """
    charges.ensure_rated(conn, *filters.months)
    rows, values = rows_statement(filters)
    amount = "replace(amount::text, '.', ',')" if german else "amount"
    separator = ";" if german else ","
    statement = (
        f"COPY ({_FILE_ROW.format(amount=amount)} FROM ({rows}) found)"
        f" TO STDOUT (FORMAT csv, HEADER, DELIMITER '{separator}', ENCODING 'UTF8')"
    )
    block = bytearray(BOM if (german if bom is None else bom) else b"")
    for piece in copied(conn, statement, values):
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def export_json(conn: Connection, filters: Filters) -> Iterator[bytes]:
    """The filtered rows in the order of names as a JSON list of objects.

    Fields: month (YYYY-MM), number, customer, product, start, changes, end, net_amount (a string
    with two decimals), state (forecast, final, no price). Product, quantities and amount are null
    for a customer without charges; the amount is null, too, where there is no price.
    """
    charges.ensure_rated(conn, *filters.months)
    rows, values = rows_statement(filters)
    return json_rows(conn, f"{_JSON_ROW} FROM ({rows}) found", values)


def json_rows(conn: Connection, select: str, values: dict[str, Any]) -> Iterator[bytes]:
    """What `select` gives as a JSON list of objects, streamed in blocks."""
    # Quote and delimiter are characters that JSON always escapes, so COPY passes each object on as it is.
    statement = (
        f"COPY (SELECT row_to_json(file) FROM ({select}) file)"
        " TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"
    )
    block, separator = bytearray(b"["), b"\n"
    for piece in copied(conn, statement, values):
        block += separator
        block += piece[:-1]
        separator = b",\n"
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block) + (b"\n]\n" if separator == b",\n" else b"]\n")


def copied(conn: Connection, statement: str, values: dict[str, Any]) -> Iterator[bytes]:
    """What COPY sends, a row at a time. COPY takes no parameters by itself: psycopg puts them in, quoted."""
    conn.execute(text("SET LOCAL work_mem = '192MB'"))
    compiled = text(statement).compile(dialect=conn.dialect)
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    given = {name: values[name] for name in compiled.params}
    with driver.cursor() as cursor, cursor.copy(compiled.string, given) as copy:
        for piece in copy:
            yield bytes(piece)
