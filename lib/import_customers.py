"""Customers from a file, planned: added, or changed by number (row B11). `lib/import_customer_writes.py` writes them.

What a row may say is what the forms of a customer may: the same checks decide. A file adds customers,
edits data, tags and end dates; converting and deactivating what is there keep their own buttons.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, cast

from sqlalchemy import ARRAY, Boolean, Connection, Row, text

from lib import (
    customer_fields,
    customer_states,
    customers,
    payment_methods,
    periods,
    tables,
    vat,
)
from lib.audit import Change
from lib.customer_fields import LINKED, OF_MAIN_USER, PHASES, TAX
from lib.customer_states import Action, State
from lib.errors import Conflict, Invalid
from lib.import_plans import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Plan,
    Planned,
    merged,
    refusal,
    refuse_repeated,
    staged,
)
from lib.import_rows import SILENT, Rows

# What a file says of a new customer alone.
ONCE = ("number", "phase", "ends_on", "billed_from")
_CHECK = ("vat_id", "vat_id_valid", "vat_id_checked_on")
# What decides about a customer that is there, beside the fields that the file fills.
_STATE = (
    *("id", "number", "name", "phase", "billed_from", "ends_on", "service_mode", "marked_for_deletion_at", "erased_at"),
    *(*LINKED, *_CHECK, *TAX),
)
_Known = Mapping[str, Row[Any]]


def plan(conn: Connection, rows: Rows, *, today: date, hold: bool) -> Plan:
    """What the rows would do. Notes faults in `rows`; `hold` locks whom they name until the transaction ends.

    A number that is known names the customer to change; any other, and none, is that of a new one.
    Raises Conflict before the company is set up.
    """
    first_open = periods.hold_open_month(conn) if hold else periods.open_month(conn)
    if first_open is None:
        raise Conflict(periods.NOT_SET_UP)
    if not {"number", "name"} & set(rows.values):
        raise Invalid("No column is matched to Number or to Name. Choose one of them below.")
    fields = tuple(name for name in rows.values if name not in ONCE)
    checks = _CHECK if {"vat_id", "country"} & set(fields) else ()
    active = payment_methods.hold(conn)
    usual = payment_methods.of_new(conn, {})
    columns = tuple(dict.fromkeys((*fields, *checks, *usual, "tenant_type", *ONCE)))
    known = _known(conn, rows, columns, hold=hold)
    _refuse_confusion(conn, rows, known)
    refused = {row.id: sentence for row in known.values() if (sentence := refusal(conn, row))}
    asks = cache(lambda country: vat.asks_vies(conn, country=country))
    planner = _Planner(columns, known, refused, asks, active, first_open=first_open, today=today)
    planner.empty |= usual
    names = tuple(rows.values)
    planned = []
    for line, *cells in zip(rows.lines, *rows.values.values(), strict=True):
        said = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not SILENT}
        try:
            planned.append(planner.planned(line, said))
        except Invalid as refused_row:
            faulty = line in rows.faults.lines
            for name, sentence in refused_row.at.items():
                if not faulty or name not in LINKED:  # else it may follow from a faulty cell
                    rows.faults.add(line, sentence, name=name, value=said.get(name, ""))
    numbers = {row.id: (row.number, row.name) for row in known.values()}
    at = {name: columns.index(name) for name in ("number", "name") if name in columns}

    def named(row: Planned) -> tuple[str, str]:
        if row.target_id is not None:
            return numbers[row.target_id]
        return row.after[at["number"]] or "", row.after[at["name"]]

    good = [row for row in planned if row.line not in rows.faults.lines]
    return Plan(columns, good, lambda row: _told(columns, row), named)


class _Planner:
    """Turns what a row says into what is stored after it; remembers what it has checked."""

    def __init__(
        self,
        columns: tuple[str, ...],
        known: _Known,
        refused: Mapping[int, str],
        asks_vies: Callable[[str], bool],
        active_methods: set[str],
        *,
        first_open: date,
        today: date,
    ) -> None:
        self.columns, self.known, self.refused, self.today = columns, known, refused, today
        self.first_open, self.start = first_open, max(today, first_open)
        self.active_methods, self.asks_vies = active_methods, asks_vies
        self.linked = [name for name in LINKED if name in columns]
        self.empty = {name: _default(name) for name in columns}
        self.combined: dict[tuple[Any, ...], dict[str, Any]] = {}

    def planned(self, line: int, said: dict[str, Any]) -> Planned:
        """What one row does. Raises Invalid at the field."""
        before = self.known.get(said.get("number", ""))
        if before is None:
            return Planned(line, CREATED, 0, None, None, self._new(said))
        if before.id in self.refused:
            raise Invalid(self.refused[before.id], field="number")
        _require_same_phase(said, before)
        self._require_end(said, before)
        old = tuple(before._mapping[name] for name in self.columns)
        self._require_offered(said, before._mapping.get("payment_method"))
        said |= self._together(said, before)
        _require_editable(said, before)
        after = merged([said.get(name, SILENT) for name in self.columns], old)
        outcome = UNCHANGED if after == old else UPDATED
        return Planned(line, outcome, before.id, before.id, old, after)

    def _new(self, said: dict[str, Any]) -> tuple[Any, ...]:
        number = said.get("number")
        if number is not None and re.fullmatch(r"(?i)c-\d+", number):
            raise Invalid(
                f"There is no customer {number}. Correct the number, or leave it empty to add a customer.",
                field="number",
            )
        if "name" not in said:
            raise Invalid("A new customer needs a name.", field="name")
        self._require_offered(said, None)
        billed = said.get("phase") == "billed"
        ends_on = said.get("ends_on", None if billed else self.start + customers.FOUR_WEEKS)
        customers.require_end_date(ends_on, billed=billed, earliest=self.start)
        key = tuple([said.get(name, SILENT) for name in self.linked])
        if key not in self.combined:
            self.combined[key] = self._linked({name: said[name] for name in self.linked if name in said}, before={})
        values = self.empty | said | self.combined[key]
        values["tenant_type"] = customers.tenant_type_of_new(said.get("tenant_type"), billed=billed)
        values["phase"], values["ends_on"] = "billed" if billed else "test", ends_on
        values["billed_from"] = self.start if billed else None
        return tuple(values[name] for name in self.columns)

    def _require_offered(self, said: Mapping[str, Any], before: str | None) -> None:
        chosen = said.get("payment_method", before)
        if chosen != before and chosen not in self.active_methods:
            raise Invalid(payment_methods.not_offered(chosen), field="payment_method")

    def _require_end(self, said: Mapping[str, Any], before: Row[Any]) -> None:
        ends_on = said.get("ends_on", before.ends_on)
        if ends_on != before.ends_on:
            earliest = max(self.first_open, before.billed_from or self.first_open)
            customers.require_end_date(ends_on, billed=before.phase == "billed", earliest=earliest)

    def _together(self, said: dict[str, Any], before: Row[Any]) -> dict[str, Any]:
        """What the linked fields say together, where the row says anything new of them."""
        linked = {name: said[name] for name in LINKED if name in said}
        if all(before._mapping[name] == value for name, value in linked.items()):
            return {}
        known = {name: before._mapping[name] for name in LINKED}
        found = self._linked(linked, before=known | {name: before._mapping[name] for name in _CHECK})
        if all(before._mapping[name] == found.get(name) for name in ("vat_id", "vat_id_valid")):
            found.pop("vat_id_checked_on", None)  # the same as when it was checked
        return found

    def _linked(self, linked: Mapping[str, Any], *, before: Mapping[str, Any]) -> dict[str, Any]:
        found = customer_fields.together(linked, before=before, today=self.today)
        if "vat_id" in found and self.asks_vies(linked.get("country", before.get("country", "DE"))):
            found |= vat.as_vies_said(before, found["vat_id"])
        return found


def _require_editable(said: Mapping[str, Any], before: Row[Any]) -> None:
    """What the form asks, too: whose the address is to edit (row G3), and the tax ID of the country (row G10)."""
    changed = [name for name in (*OF_MAIN_USER, "service_mode") if name in said and said[name] != before._mapping[name]]
    for name in changed:
        if name == "service_mode":
            raise Invalid(f"{before.number}: {customer_fields.MODE_HAS_VERBS}", field=name)
        try:
            customer_states.require(cast(State, before), Action.EDIT_ADDRESS)
        except Conflict as refusal:
            raise Invalid(str(refusal), field=name) from refusal
    if TAX.intersection(changed):
        customer_fields.require_tax_id(dict(before._mapping) | dict(said))


def _require_same_phase(said: Mapping[str, Any], before: Row[Any]) -> None:
    if said.get("phase", before.phase) != before.phase:
        way = (
            "is a test customer. Convert it to billed on its own page; a file doesn't."
            if before.phase == "test"
            else "is billed and never becomes a test customer again."
        )
        raise Invalid(f"{before.number} {way}", field="phase")


def _known(conn: Connection, rows: Rows, columns: Sequence[str], *, hold: bool) -> _Known:
    numbers = set(rows.column("number")) - {SILENT}
    staged(conn, "import_numbers", {"number": "text"}, ([number] for number in numbers))
    wanted = ", ".join(f"c.{name}" for name in dict.fromkeys((*_STATE, *columns)))
    lock = "FOR NO KEY UPDATE OF c" if hold else ""
    found = conn.execute(
        text(f"SELECT {wanted} FROM customers c JOIN import_numbers n ON n.number = c.number ORDER BY c.id {lock}")
    )
    return {row.number: row for row in found}


def _refuse_confusion(conn: Connection, rows: Rows, known: _Known) -> None:
    """A number twice; and a name without a number that is there already, or twice: was that customer meant?"""
    numbers, names = rows.column("number"), rows.column("name")
    keys = [None if number is SILENT else number for number in numbers]
    refuse_repeated(rows, keys, "This number is on line {line} already.", name="number")
    new = [
        None if name is SILENT or number is not SILENT else name for name, number in zip(names, numbers, strict=True)
    ]
    refuse_repeated(
        rows, new, "This name is on line {line} already. Give both rows a number, or leave one out.", name="name"
    )
    staged(conn, "import_names", {"name": "text"}, ([name] for name in set(new) if name is not None))
    there = conn.execute(
        text("""SELECT c.name, min(c.number) AS number FROM customers c JOIN import_names n ON n.name = c.name
                 WHERE c.erased_at IS NULL GROUP BY c.name""")
    )
    number_of = {row.name: row.number for row in there}
    if number_of:
        for line, name in zip(rows.lines, new, strict=True):
            if name in number_of:
                message = (
                    f"This customer is there already, as {number_of[name]}. Put that number into the row to change it; "
                    "for another customer of the same name, a number of its own."
                )
                rows.faults.add(line, message, name="name", value=name)


def _default(name: str) -> Any:
    column = tables.customers.c[name]
    if isinstance(column.type, ARRAY):
        return []
    stated = getattr(column.server_default, "arg", None)
    return stated == "true" if isinstance(column.type, Boolean) else stated


def _told(columns: Sequence[str], row: Planned) -> dict[str, Change]:
    before = row.before or (None,) * len(columns)
    told: dict[str, Change] = {
        name: (old, new)
        for name, old, new in zip(columns, before, row.after, strict=True)
        if old != new and (row.before is not None or new not in ("", False, [])) and name != "billed_from"
    }
    if "phase" in told:
        told["phase"] = (None, PHASES[told["phase"][1]])
    return told
