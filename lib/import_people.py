"""Contacts and users of customers from a file: added, or changed where they are known (rows B11, D4, G4)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from lib import contacts, customer_user_fields, customer_users, tables
from lib.audit import Change
from lib.auth import User
from lib.errors import Invalid
from lib.import_plans import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Named,
    Plan,
    Planned,
    copied,
    drawn,
    logged,
    merged,
    named,
    refuse_repeated,
    staged,
)
from lib.import_rows import SILENT, Rows

_OF_USER = customer_user_fields.EDITABLE
# What a user of a file is beside that; no file changes it.
_ONCE = ("is_main",)


# ---------------------------------------------------------------------------------- contacts


def plan_contacts(conn: Connection, rows: Rows, *, hold: bool) -> Plan:
    """What the rows would do. A contact is known by its name among those of its customer."""
    of = named(conn, rows, hold=hold)
    keys = [
        None if customer is None or name is SILENT else (customer.id, name.lower())
        for customer, name in zip(of, rows.column("name"), strict=True)
    ]
    refuse_repeated(rows, keys, "This contact is on line {line} already.", name="name")
    there: dict[tuple[int, str], list[Any]] = {}
    for row in _of_named(conn, "contacts", ("id", "customer_id", *contacts.FIELDS)):
        there.setdefault((row.customer_id, row.name.lower()), []).append(row)
    billing = {row.customer_id: row.name for found in there.values() for row in found if row.is_billing}
    takers = _marked(rows, of, "is_billing", "Line {line} marks another billing contact of this customer.")
    planned = []
    said = zip(*(rows.column(name) for name in contacts.FIELDS), strict=True)
    for line, customer, key, cells in zip(rows.lines, of, keys, said, strict=True):
        if customer is None or key is None:
            continue
        found = there.get(key, [])
        if len(found) > 1:
            message = (
                f"{customer.number} has {len(found)} contacts of this name. Rename one on the customer's page first."
            )
            rows.faults.add(line, message, name="name", value=cells[0])
            continue
        before = tuple(found[0]._mapping[name] for name in contacts.FIELDS) if found else None
        after = merged(cells, before or ("", "", "", False))
        if takers.get(customer.id, line) != line:  # another row takes the mark over
            after = (*after[:-1], False)
        try:
            contacts.checked(dict(zip(contacts.FIELDS, after, strict=True)))
        except Invalid as refused:
            rows.faults.add(line, str(refused), name=refused.field)
        planned.append(_planned(line, customer, found[0].id if found else None, before, after))

    def told(row: Planned) -> Mapping[str, Change]:
        name = row.after[0]
        changed = _changes(contacts.FIELDS, row)
        former = billing.get(row.customer_id)
        who = {} if "name" in changed else {"contact": (None, name)}
        return who | contacts.told(changed, former if former != name else None, name)

    return _plan(contacts.FIELDS, planned, rows, of, told)


def write_contacts(conn: Connection, planned: Plan, rows: Sequence[Planned], *, user: User) -> None:
    """Do these rows of a plan that was made with `hold`, set-based, with an audit entry each."""
    marking = ((row.customer_id, row.target_id) for row in rows if row.after[-1])
    staged(conn, "import_marking", {"customer_id": "bigint", "id": "bigint"}, marking)
    # First, or two would have the mark for a moment.
    conn.execute(
        text("""UPDATE contacts k SET is_billing = false, version = k.version + 1 FROM import_marking m
                 WHERE k.customer_id = m.customer_id AND k.is_billing AND k.id IS DISTINCT FROM m.id""")
    )
    _write(conn, "contacts", "contact", planned, rows, changed=contacts.FIELDS, user=user)


# ---------------------------------------------------------------------------------- users


def plan_users(conn: Connection, rows: Rows, *, hold: bool) -> Plan:
    """What the rows would do. A user is known by the e-mail address, which is one person's everywhere."""
    of = named(conn, rows, hold=hold)
    emails = [None if email is SILENT else email for email in rows.column("email")]
    refuse_repeated(rows, emails, "This e-mail address is on line {line} already.", name="email")
    there = _users_by_email(conn, {email for email in emails if email is not None})
    mains = {
        row.customer_id: row.email for row in _of_named(conn, "customer_users", ("customer_id", "email"), "x.is_main")
    }
    chosen = _marked(rows, of, "main", "Line {line} names another main user of this customer.")
    columns = (*_OF_USER, *_ONCE)
    planned = []
    said = zip(*(rows.column(name) for name in _OF_USER), strict=True)
    for line, customer, email, main, cells in zip(rows.lines, of, emails, rows.column("main"), said, strict=True):
        if customer is None or email is None:
            continue
        found = there.get(email)
        if found is not None and found.customer_id != customer.id:
            rows.faults.add(line, customer_users.TAKEN, name="email", value=email)
            continue
        if main is True and mains.get(customer.id, email if found is None else None) != email:
            rows.faults.add(line, _not_main(customer, mains.get(customer.id)), name="main", value="yes")
            continue
        before = None if found is None else tuple(found._mapping[name] for name in columns)
        is_main = before[-1] if before else customer.id not in mains and chosen.setdefault(customer.id, line) == line
        after = (*merged(cells, before[:-1] if before else [""] * len(_OF_USER)), is_main)
        planned.append(_planned(line, customer, None if found is None else found.id, before, after))

    def told(row: Planned) -> Mapping[str, Change]:
        changed = customer_users.told(_changes(columns, row))
        if "is_main" in changed:
            changed["main"] = changed.pop("is_main")
        return changed if "email" in changed else {"user": (None, row.after[columns.index("email")])} | changed

    return _plan(columns, planned, rows, of, told)


def write_users(conn: Connection, planned: Plan, rows: Sequence[Planned], *, user: User) -> None:
    """Do these rows of a plan that was made with `hold`, set-based, with an audit entry each; nobody is mailed."""
    _write(conn, "customer_users", "customer user", planned, rows, changed=_OF_USER, user=user)


def _users_by_email(conn: Connection, emails: set[str]) -> dict[str, Any]:
    staged(conn, "import_emails", {"email": "text"}, ([email] for email in emails))
    columns = ", ".join(f"u.{name}" for name in ("id", "customer_id", *_OF_USER, *_ONCE) if name != "email")
    found = conn.execute(
        text(f"""SELECT {columns}, e.email FROM customer_users u JOIN import_emails e ON e.email = lower(u.email)""")
    )
    return {row.email: row for row in found}


def _not_main(customer: Named, main: str | None) -> str:
    if main is None:
        return f"This person is a user of {customer.number} already. Make them the main user on its Users tab."
    return (
        f"{customer.number} has a main user already, {main}. Leave this empty; change the main user on its Users tab "
        "once this person has registered."
    )


# ---------------------------------------------------------------------------------- what both share


def _of_named(conn: Connection, table: str, columns: Sequence[str], condition: str = "true") -> list[Any]:
    """Rows of the customers that the file names (`named` staged their numbers)."""
    wanted = ", ".join(f"x.{name}" for name in columns)
    found = conn.execute(
        text(f"""SELECT {wanted} FROM {table} x JOIN customers c ON c.id = x.customer_id
                   JOIN import_numbers n ON n.number = c.number WHERE {condition}""")
    )
    return list(found)


def _marked(rows: Rows, of: Sequence[Named | None], name: str, message: str) -> dict[int, int]:
    """The line by customer that says yes in this column; a second one is a fault."""
    first: dict[int, int] = {}
    for line, customer, said in zip(rows.lines, of, rows.column(name), strict=True):
        if customer is not None and said is True and first.setdefault(customer.id, line) != line:
            rows.faults.add(line, message.format(line=first[customer.id]), name=name, value="yes")
    return first


def _planned(
    line: int, customer: Named, target_id: int | None, before: tuple[Any, ...] | None, after: tuple[Any, ...]
) -> Planned:
    outcome = CREATED if before is None else UNCHANGED if before == after else UPDATED
    return Planned(line, outcome, customer.id, target_id, before, after)


def _changes(columns: Sequence[str], row: Planned) -> dict[str, Change]:
    if row.before is None:
        return {name: (None, value) for name, value in zip(columns, row.after, strict=True) if value}
    pairs = zip(columns, row.before, row.after, strict=True)
    return {name: (old, new) for name, old, new in pairs if old != new}


def _plan(
    columns: Sequence[str], planned: Sequence[Planned], rows: Rows, of: Sequence[Named | None], told: Any
) -> Plan:
    customers = {customer.id: (customer.number, customer.name) for customer in of if customer is not None}
    good = [row for row in planned if row.line not in rows.faults.lines]
    return Plan(tuple(columns), good, told, lambda row: customers[row.customer_id])


def _write(
    conn: Connection,
    table: str,
    object_type: str,
    planned: Plan,
    rows: Sequence[Planned],
    *,
    changed: Sequence[str],
    user: User,
) -> None:
    added = [row for row in rows if row.outcome == CREATED]
    ids = drawn(conn, f"pg_get_serial_sequence('{table}', 'id')", len(added))
    written = ((id_, row.customer_id, *row.after) for id_, row in zip(ids, added, strict=True))
    copied(conn, table, ("id", "customer_id", *planned.columns), written)
    logged(conn, "add", object_type, planned, zip(ids, added, strict=True), user=user)
    edited = [row for row in rows if row.outcome == UPDATED]
    types = {"id": "bigint"} | {
        f"after_{name}": str(tables.metadata.tables[table].c[name].type) for name in planned.columns
    }
    staged(conn, "import_written", types, ((row.target_id, *row.after) for row in edited))
    values = ", ".join(f"{name} = w.after_{name}" for name in changed)
    conn.execute(
        text(f"UPDATE {table} x SET {values}, version = x.version + 1 FROM import_written w WHERE w.id = x.id")
    )
    logged(conn, "edit", object_type, planned, ((row.target_id, row) for row in edited), user=user)
