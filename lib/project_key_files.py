"""Project keys from a CSV file: all rows are checked first, then all are entered or none (row G9).

Not one of the imports of `lib/imports.py`: those keep their file until it is applied. A file of keys is kept nowhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from lib import import_files, project_key_stock
from lib.auth import Permission, User, require
from lib.errors import Invalid
from lib.import_fields import amount, day, folded
from lib.project_key_stock import NewKey
from lib.project_keys import MASK, SHOWN, normal, plain
from lib.requests import once

MOST_KEYS = 2_000
# Its columns as a template has them, each with the headings by which it is known, too.
COLUMNS = {
    "key": ("Key", "Project key", "Schlüssel", "Projektschlüssel", "Code"),
    "ips": ("IPs", "IP count", "Anzahl IPs", "IP-Anzahl"),
    "months": ("Months", "Runtime", "Runtime (months)", "Laufzeit", "Laufzeit (Monate)", "Monate"),
    "purchase_price": ("Purchase price", "Einkaufspreis", "EK"),
    "redeem_until": ("Redeem until", "Valid until", "Einlösbar bis", "Gültig bis"),
}
OPTIONAL = ("redeem_until",)
_KNOWN = {folded(heading): name for name, headings in COLUMNS.items() for heading in headings}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file: at a line and a column of it, or (None) with all of it."""

    line: int | None
    column: str
    message: str


@dataclass(frozen=True)
class Checked:
    """What a file holds: the keys in its order, and what is wrong with it. With a fault none of them is entered."""

    keys: list[NewKey] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def masked(new: NewKey) -> str:
    """A key of a file as the list will show it."""
    return MASK + plain(new.key)[-SHOWN:]


def template() -> bytes:
    """A file with the headings alone."""
    return (";".join(headings[0] for headings in COLUMNS.values()) + "\r\n").encode("utf-8-sig")


def checked(conn: Connection, content: bytes, *, today: date, user: User) -> Checked:
    """Read a file and say what is in it, or all that is wrong with it. Writes nothing."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    found = Checked()
    try:
        form = import_files.recognise(content, lambda heading: folded(heading) in _KNOWN)
        sheet = import_files.read(content, form)
    except Invalid as refused:
        found.faults.append(Fault(None, "", str(refused)))
        return found
    places = _places(sheet.header, found)
    if found.faults:
        return found
    if sheet.rows > MOST_KEYS:
        message = f"The file has {sheet.rows:,} keys, at most {MOST_KEYS:,} are imported at once. Split it."
        found.faults.append(Fault(None, "", message))
        return found
    for line, count in sheet.torn.items():
        found.faults.append(Fault(line, "", f"There are {count} cells, and {len(sheet.header)} headings."))
    lines = _read_rows(sheet, places, found, today)
    _refuse_repeated(conn, lines, found)
    found.faults.sort(key=lambda fault: (fault.line or 0, fault.column))
    return found


def enter(conn: Connection, content: bytes, *, today: date, user: User, request_key: UUID | None = None) -> int:
    """Enter all keys of a file that `checked` finds right and return how many. Raises Invalid where it isn't."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    once(conn, request_key)
    found = checked(conn, content, today=today, user=user)
    if found.faults:
        first = found.faults[0]
        where = f"Line {first.line}: " if first.line else ""
        raise Invalid(f"{where}{first.message} Nothing was imported.", field="file")
    return len(project_key_stock.add_all(conn, found.keys, user=user))


# ------------------------------------------------------------------------------------------------ reading


def _places(header: list[str], found: Checked) -> dict[str, int]:
    """Where each column stands. Notes unknown, repeated and missing headings."""
    places: dict[str, int] = {}
    for index, heading in enumerate(header):
        name = _KNOWN.get(folded(heading))
        if name is None:
            known = ", ".join(headings[0] for headings in COLUMNS.values())
            found.faults.append(Fault(1, heading, f"“{heading[:60]}” is no column of project keys. They are: {known}."))
        elif name in places:
            found.faults.append(Fault(1, heading, f"The column {COLUMNS[name][0]} is there twice."))
        else:
            places[name] = index
    for name, headings in COLUMNS.items():
        if name not in places and name not in OPTIONAL:
            found.faults.append(Fault(1, headings[0], f"The column {headings[0]} is missing."))
    return places


_READ: dict[str, Callable[[str], Any]] = {
    "purchase_price": amount,
    "redeem_until": lambda cell: day(cell) if cell else None,
}


def _read_rows(sheet: import_files.Sheet, places: dict[str, int], found: Checked, today: date) -> list[int]:
    """Read all rows that can be read. Returns the line of each key."""
    lines = []
    for row, line in enumerate(sheet.lines):
        given: dict[str, Any] = {"redeem_until": None}
        name = ""
        try:
            for name, place in places.items():
                cell = import_files.plain(sheet.columns[place][row])
                given[name] = _READ[name](cell) if name in _READ else cell
            name = ""
            found.keys.append(project_key_stock.checked(given, today=today))
            lines.append(line)
        except Invalid as refused:
            at = refused.field or name
            found.faults.append(Fault(line, COLUMNS[at][0] if at in COLUMNS else "", str(refused)))
    return lines


def _refuse_repeated(conn: Connection, read: list[int], found: Checked) -> None:
    """A key that stands in the file twice, or is entered already."""
    known = project_key_stock.known(conn, [key.key for key in found.keys])
    lines: dict[str, int] = {}
    for line, key in zip(read, found.keys, strict=True):
        same = normal(key.key)
        if same in lines:
            found.faults.append(Fault(line, COLUMNS["key"][0], f"This key is on line {lines[same]} already."))
        elif same in known:
            found.faults.append(Fault(line, COLUMNS["key"][0], "This key is entered already."))
        lines.setdefault(same, line)
