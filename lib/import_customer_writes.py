"""Customers of a file, written as they were planned: set-based, with history and an audit entry each (row B11).

What a row may say, and what it means, says `lib/import_customers.py`.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql

from lib import audit, customer_verbs, customers, lifecycles, periods, tables
from lib.auth import User
from lib.customer_fields import PHASES
from lib.import_customers import ONCE
from lib.import_plans import (
    CREATED,
    UPDATED,
    Plan,
    Planned,
    copied,
    drawn,
    id_array,
    logged,
    staged,
)


def write(conn: Connection, planned: Plan, rows: Sequence[Planned], *, today: date, user: User) -> None:
    """Do these rows of a plan that was made with `hold`, set-based, with an audit entry each."""
    added = [row for row in rows if row.outcome == CREATED]
    changed = [row for row in rows if row.outcome == UPDATED]
    if added:
        _add(conn, planned, added, today=today, user=user)
    if changed:
        _change(conn, planned, changed, user=user)
        move_ends(conn, planned, changed, today=today, user=user)


def moving(planned: Plan, rows: Sequence[Planned]) -> list[Planned]:
    """Those of the rows that give a customer who is there another end date: they change charges."""
    at = planned.columns.index("ends_on")
    return [row for row in rows if row.before is not None and row.before[at] != row.after[at]]


def move_ends(conn: Connection, planned: Plan, rows: Sequence[Planned], *, today: date, user: User) -> None:
    """Write the end dates of these rows and what follows from them in the history; the caller rates the customers."""
    at, first_open = planned.columns.index("ends_on"), periods.hold_open_month(conn)
    ends = {row.customer_id: row.after[at] for row in moving(planned, rows)}
    by_day: dict[date | None, list[customers.Customer]] = {}
    for customer in customers.several(conn, sorted(ends), hold=True) if ends else ():
        by_day.setdefault(ends[customer.id], []).append(customer)
    for ends_on, several in by_day.items():
        customer_verbs.move_ends(conn, several, ends_on, first_open=first_open, today=today, user=user)


def _add(conn: Connection, planned: Plan, rows: Sequence[Planned], *, today: date, user: User) -> None:
    at = {name: planned.columns.index(name) for name in ONCE}
    ids = drawn(conn, "pg_get_serial_sequence('customers', 'id')", len(rows))
    numbers = iter(drawn(conn, "'customer_numbers'", sum(row.after[at["number"]] is None for row in rows)))
    written = []
    for row, id_ in zip(rows, ids, strict=True):
        values = list(row.after)
        if values[at["number"]] is None:
            values[at["number"]] = f"C-{next(numbers)}"
        written.append((id_, *values))
    copied(conn, "customers", ("id", *planned.columns), written)
    lifecycles.begin(conn, id_array(ids), max(today, periods.hold_open_month(conn)), user)
    _log_added(conn, planned, ids, user=user)


def _log_added(conn: Connection, planned: Plan, ids: Sequence[int], *, user: User) -> None:
    """An entry per new customer with what the file says of it, told like a change; made where the rows are."""
    personal = audit.PERSONAL["customer"]
    names = [name for name in planned.columns if name != "billed_from"]
    audit.record_all(
        conn,
        "create",
        "customer",
        query=f"""SELECT c.id AS object_id, c.id AS customer_id,
                         {_told_in_sql([name for name in names if name not in personal])} AS changes,
                         {_told_in_sql([name for name in names if name in personal])} AS personal
                    FROM customers c WHERE c.id = ANY(CAST(:ids AS bigint[])) ORDER BY c.id""",
        values={"ids": id_array(ids)},
        user_id=user.id,
        personal=True,
    )


def _told_in_sql(names: Sequence[str]) -> str:
    """What a new customer has of these columns, as an entry of the log: {"city":[null,"Kiel"],…}."""
    # Put together as text and read once: built value by value, it takes twice as long.
    pairs = []
    for name in names:
        kind, value = str(tables.customers.c[name].type), f"c.{name}"
        empty = {"INTEGER": "0", "DATE": "'-infinity'", "ARRAY": "'{}'", "BOOLEAN": "false"}.get(kind, "''")
        # A number of ours was not in the file.
        said = r"c.number !~ '^C-\d+$'" if name == "number" else f"{value} <> {empty}"
        if name == "phase":
            value = f"CASE c.phase {' '.join(f'WHEN {key!r} THEN {word!r}' for key, word in PHASES.items())} END"
        pairs.append(f"""CASE WHEN {said} THEN ',"{name}":[null,' || to_json({value})::text || ']' ELSE '' END""")
    return f"('{{' || substr({' || '.join(pairs) or repr('')}, 2) || '}}')::jsonb"


def _change(conn: Connection, planned: Plan, rows: Sequence[Planned], *, user: User) -> None:
    types = {"id": "bigint"} | {f"after_{name}": _type(name) for name in planned.columns}
    staged(conn, "import_written", types, ((row.target_id, *row.after) for row in rows))
    values = ", ".join(f"{name} = w.after_{name}" for name in planned.columns if name not in ONCE)
    conn.execute(
        text(f"UPDATE customers c SET {values}, version = c.version + 1 FROM import_written w WHERE w.id = c.id")
    )
    logged(conn, "edit", "customer", planned, ((row.target_id, row) for row in rows), user=user)


def _type(name: str) -> str:
    return tables.customers.c[name].type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
