"""Usage from a file: what customers used by day (rows B11, D3). It changes no charge."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from lib import usage
from lib.audit import Change
from lib.auth import User
from lib.import_plans import CREATED, UNCHANGED, UPDATED, Plan, Planned, id_array, merged, named, refuse_repeated
from lib.import_rows import SILENT, Rows
from lib.usage import Usage

_VALUES = ("users", "storage_gb", "credits", "backups_ok", "backups_failed", "cloud_status")
_NOTHING = (None, None, None, None, None, "")
_COLUMNS = ("day", *_VALUES)


def plan(conn: Connection, rows: Rows, *, today: date, hold: bool) -> Plan:
    """What the rows would do. Notes faults in `rows`; `hold` locks the customers until the transaction ends."""
    of = named(conn, rows, hold=hold)
    days = rows.column("day")
    keys = [
        None if customer is None or day is SILENT else (customer.id, day)
        for customer, day in zip(of, days, strict=True)
    ]
    refuse_repeated(rows, keys, "This customer's day is on line {line} already.", name="day")
    there = _there(conn, {key for key in keys if key is not None})
    planned = []
    beyond: set[int] = set()
    said = zip(*(rows.column(name) for name in _VALUES), strict=True)
    for line, customer, key, cells in zip(rows.lines, of, keys, said, strict=True):
        if customer is None or key is None:
            continue
        if key[1] > today:
            rows.faults.add(line, "This day has not come yet.", name="day", value=key[1])
            continue
        before = there.get(key)
        after = merged(cells, before or _NOTHING)
        if customer.max_users is not None and not customer.users_beyond_max and (after[0] or 0) > customer.max_users:
            beyond.add(customer.id)
        outcome = CREATED if before is None else UNCHANGED if before == after else UPDATED
        old = None if before is None else (key[1], *before)
        planned.append(Planned(line, outcome, customer.id, None, old, (key[1], *after)))
    customers = {customer.id: (customer.number, customer.name) for customer in of if customer is not None}
    good = [row for row in planned if row.line not in rows.faults.lines]
    return Plan(_COLUMNS, good, _told, lambda row: customers[row.customer_id], _notes(len(beyond)))


def write(conn: Connection, rows: Sequence[Planned], *, import_id: int, user: User) -> None:
    """Record these rows, with one audit entry for all of them."""
    recorded = [Usage(row.customer_id, *row.after) for row in rows]
    usage.record(conn, recorded, import_id=import_id, user=user)


def _there(conn: Connection, keys: set[tuple[int, date]]) -> dict[tuple[int, date], tuple[Any, ...]]:
    if not keys:
        return {}
    days = [day for _, day in keys]
    found = conn.execute(
        text(f"""SELECT customer_id, day, {", ".join(_VALUES)} FROM usage
                  WHERE customer_id = ANY(CAST(:customers AS bigint[])) AND day BETWEEN :first AND :last"""),
        {"customers": id_array(customer_id for customer_id, _ in keys), "first": min(days), "last": max(days)},
    )
    return {(row[0], row[1]): tuple(row[2:]) for row in found}


def _notes(beyond: int) -> list[str]:
    if not beyond:
        return []
    many = "1 customer uses" if beyond == 1 else f"{beyond:,} customers use"
    return [f"{many} more users than the licence allows. Usage is for information: nothing is refused or charged."]


def _told(row: Planned) -> Mapping[str, Change]:
    before = row.before or (None,) * len(row.after)
    pairs = zip(_COLUMNS, before, row.after, strict=True)
    return {name: (old, new) for name, old, new in pairs if old != new and new != ""}
