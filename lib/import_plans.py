"""What the rows of an import would do, and the tables by which they are done set-based (row B11)."""

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from lib import audit, customer_states, customers
from lib.audit import Change
from lib.auth import User
from lib.customer_states import Action
from lib.errors import Conflict
from lib.import_rows import SILENT, Rows

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"
# So many rows are handed to COPY at a time.
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Planned:
    """What a row does. `target_id` is the row of the database that it changes; None where it adds one.

    `before` and `after` hold the values of the plan's columns, in their order; `before` is None for what is new.
    """

    line: int
    outcome: str
    customer_id: int
    target_id: int | None
    before: tuple[Any, ...] | None
    after: tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """What all rows without a fault do. `told` gives a row's changes for the audit log and the preview,
    `named` number and name of its customer. `notes` are sentences that stop nothing.
    """

    columns: tuple[str, ...]
    rows: list[Planned]
    told: Callable[[Planned], Mapping[str, Change]]
    named: Callable[[Planned], tuple[str, str]]
    notes: list[str] = field(default_factory=list)

    def changing(self) -> list[Planned]:
        """The rows that change anything."""
        return [row for row in self.rows if row.outcome != UNCHANGED]


@dataclass(frozen=True)
class Named:
    """A customer that a row names, with what decides about its row."""

    id: int
    number: str
    name: str
    marked_for_deletion_at: datetime | None
    erased_at: datetime | None
    max_users: int | None
    users_beyond_max: bool


def named(conn: Connection, rows: Rows, *, hold: bool) -> list[Named | None]:
    """The customer of each row, None where there is a fault: unknown, or deleted. `hold` locks them until the end.

    Writes on one customer take turns; in the order of ids, so that no two writes wait for each other.
    """
    numbers = rows.column("customer")
    staged(conn, "import_numbers", {"number": "text"}, ([number] for number in set(numbers) - {SILENT}))
    columns = ", ".join(f"c.{name}" for name in Named.__dataclass_fields__)
    lock = "FOR NO KEY UPDATE OF c" if hold else ""
    found = conn.execute(
        text(f"SELECT {columns} FROM customers c JOIN import_numbers n ON n.number = c.number ORDER BY c.id {lock}")
    )
    known = {row.number: Named(**row._mapping) for row in found}
    refused = {number: sentence for number, one in known.items() if (sentence := refusal(conn, one))}
    answer: list[Named | None] = []
    for line, number in zip(rows.lines, numbers, strict=True):
        one = None if number is SILENT else known.get(number)
        if number is not SILENT and one is None:
            rows.faults.add(line, f"There is no customer {number}.", name="customer", value=number)
        elif one is not None and number in refused:
            rows.faults.add(line, refused[number], name="customer", value=number)
            one = None
        answer.append(one)
    return answer


def refusal(conn: Connection, customer: Any) -> str:
    """Why the data of a customer can't be changed, or nothing. Takes any row that has its columns."""
    if customer.erased_at is None and customer.marked_for_deletion_at is None:
        return ""
    try:
        customer_states.require(customers.customer(conn, customer.id), Action.EDIT)
    except Conflict as why:
        return str(why)
    return ""


def refuse_repeated(rows: Rows, keys: Sequence[Hashable], message: str, *, name: str) -> None:
    """Note a fault for each row whose key came on an earlier one; None is no key. {line} is that row's line."""
    repeated = {key for key, times in Counter(keys).items() if times > 1 and key is not None}
    first: dict[Hashable, int] = {}
    for line, key, value in zip(rows.lines, keys, rows.column(name), strict=True):
        if key in repeated and first.setdefault(key, line) != line:
            rows.faults.add(line, message.format(line=first[key]), name=name, value="" if value is SILENT else value)


def merged(said: Sequence[Any], before: Sequence[Any]) -> tuple[Any, ...]:
    """What is stored after a row: what it says, else what was there."""
    return tuple(old if new is SILENT else new for new, old in zip(said, before, strict=True))


def logged(
    conn: Connection,
    action: str,
    object_type: str,
    plan: Plan,
    rows: Iterable[tuple[object, Planned]],
    *,
    user: User,
) -> None:
    """Write an audit entry per row, each with the id of what it changed; personal values beside the log."""
    types = {"object_id": "text", "customer_id": "bigint", "changes": "jsonb", "personal": "jsonb"}
    entries = (
        (object_id, row.customer_id or object_id, *map(_json, audit.divided(object_type, plan.told(row))))
        for object_id, row in rows
    )
    staged(conn, "import_logged", types, entries, joined=False)
    query = "SELECT object_id, customer_id, changes, personal FROM import_logged"
    audit.record_all(conn, action, object_type, query=query, values={}, user_id=user.id, personal=True)


# ---------------------------------------------------------------------------------- tables for a transaction


def staged(
    conn: Connection, name: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]], *, joined: bool = True
) -> None:
    """A table for this transaction, filled by COPY. `columns` maps names to types; one of that name goes.

    The planner knows nothing of a new table: one that is `joined` gets statistics.
    """
    definition = ", ".join(f"{column} {type_}" for column, type_ in columns.items())
    conn.execute(text(f"DROP TABLE IF EXISTS {name}"))
    conn.execute(text(f"CREATE TEMP TABLE {name} ({definition}) ON COMMIT DROP"))
    copied(conn, name, tuple(columns), rows)
    if joined:
        conn.execute(text(f"ANALYZE {name}"))


def copied(conn: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows to a table by COPY."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        left = iter(rows)
        while block := list(islice(left, _BLOCK)):
            texts = [_texts(column) for column in zip(*block, strict=True)]
            copy.write("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n")


def drawn(conn: Connection, sequence: str, count: int) -> list[int]:
    """The next numbers of a sequence, given as an SQL expression."""
    # In one value: the driver takes as long over 10,000 rows as the sequence.
    numbers = conn.scalar(
        text(
            f"""SELECT string_agg(CAST(nextval((SELECT CAST({sequence} AS regclass))) AS text), ',')
                  FROM generate_series(1, :count)"""
        ),
        {"count": count},
    )
    return sorted(map(int, numbers.split(","))) if numbers else []


def id_array(ids: Iterable[int]) -> str:
    """Ids as Postgres writes an array, each once: the driver is slow at long ones."""
    return "{" + ",".join(map(str, sorted(set(ids)))) + "}"


_json = json.JSONEncoder(ensure_ascii=False).encode


def _texts(column: Sequence[Any]) -> Sequence[str]:
    """The values of a column as COPY reads them; those that need no change are told all at once."""
    try:
        together = "".join(column)
    except TypeError:  # not all of them are texts: numbers and days repeat themselves
        if any(type(value) is list for value in column):
            return [_written(value) for value in column]
        known = {value: _written(value) for value in set(column)}
        return [known[value] for value in column]
    return column if together.isprintable() and "\\" not in together else [_written(value) for value in column]


def _written(value: Any) -> str:
    """A value as COPY reads it."""
    if value is None:
        return "\\N"
    if isinstance(value, list):
        elements = (re.sub(r'(["\\])', r"\\\1", element) for element in value)
        value = "{" + ",".join(f'"{element}"' for element in elements) + "}"
    # The characters that COPY gives a meaning.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
