"""Short words for tests of imports: a file from rows, checked, and applied as the worker does it."""

import csv
import io
from dataclasses import replace
from datetime import date

from sqlalchemy import Connection

from lib import import_applying, imports
from lib.auth import User
from lib.import_kinds import KINDS
from lib.imports import Report

TODAY = date(2026, 6, 15)


def written(header: str, *rows: str, delimiter: str = ";", encoding: str = "utf-8") -> bytes:
    """A file with these headings and rows, whose cells are separated by | here."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(row.split("|") for row in (header, *rows))
    return out.getvalue().encode(encoding)


def check(
    conn: Connection, kind: str, content: bytes, user: User, *, today: date = TODAY, empties: bool = False
) -> Report:
    """What a check of the file finds, read by its headings."""
    sheet, reading = imports.opened(content, KINDS[kind])
    return imports.check(conn, KINDS[kind], sheet, replace(reading, empties=empties), today=today, user=user)


def queue(conn: Connection, kind: str, content: bytes, user: User, *, empties: bool = False) -> int:
    """Hand the file to the worker, read by its headings."""
    sheet, reading = imports.opened(content, KINDS[kind])
    return imports.queue(
        conn, KINDS[kind], file_name="file.csv", content=content, reading=replace(reading, empties=empties),
        rows=sheet.rows, user=user,
    )  # fmt: skip


def apply(
    conn: Connection, kind: str, content: bytes, user: User, *, today: date = TODAY, empties: bool = False
) -> Report:
    """Check the file, then do what the check promises, in this transaction. Returns the check's report."""
    report = check(conn, kind, content, user, today=today, empties=empties)
    assert report.fault_count == 0, report.faults[:3]
    import_applying.apply(conn, queue(conn, kind, content, user, empties=empties), today=today)
    return report


def faults(report: Report) -> list[tuple[int, str, str]]:
    """Line, column and sentence of each fault."""
    return [(fault.line, fault.column, fault.message) for fault in report.faults]
