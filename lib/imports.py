"""Imports by CSV: a file is checked and previewed, queued, applied by the worker, and looked up later (row B11).

Checking writes nothing. Applying checks all rows anew and does all of them or none
(`lib/import_applying.py`); the file itself is dropped then, its SHA-256 stays.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection, insert, text

from lib import audit, fields, import_effects, import_files, import_rows, import_writes
from lib.audit import Change
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid, NotFound
from lib.import_effects import Effect
from lib.import_fields import Kind
from lib.import_files import Form, Sheet
from lib.import_kinds import BOOKINGS, CUSTOMERS, KINDS
from lib.import_plans import UNCHANGED, Plan
from lib.import_rows import Fault, Reading, Rows
from lib.requests import once
from lib.tables import imports

# So many rows of a preview are listed; how many there are in all is said.
MOST_SHOWN = 1_000


@dataclass(frozen=True)
class Preview:
    """What one row would do, to which customer: each field with its value before and after."""

    line: int
    outcome: str
    number: str
    name: str
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class Report:
    """What a check found. `created`, `updated` and `unchanged` count the rows without a fault.

    `changes` are the first MOST_SHOWN rows that would change something; `effect` is that of bookings
    and end dates on the charges, None where there are none: nothing else changes any.
    """

    rows: int
    created: int
    updated: int
    unchanged: int
    faults: list[Fault]
    fault_count: int
    faulty_rows: int
    changes: list[Preview]
    effect: Effect | None
    notes: list[str]

    @property
    def changing(self) -> int:
        """How many rows would change something."""
        return self.created + self.updated


@dataclass(frozen=True)
class Import:
    """An import as it is looked up: queued, running, applied, failed (`last_error` says why) or withdrawn.

    `done_rows` of `rows` are done; `waiting` says whether it is due and no worker has taken it up
    since `due_at`.
    """

    id: int
    kind: str
    file_name: str
    file_sha256: bytes
    state: str
    rows: int
    created: int
    updated: int
    unchanged: int
    done_rows: int
    attempts: int
    last_error: str
    created_at: datetime
    created_by: str
    applied_at: datetime | None
    due_at: datetime
    waiting: bool

    @property
    def label(self) -> str:
        """What was imported, in words."""
        return KINDS[self.kind].label

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ("applied", "failed", "withdrawn")


# ---------------------------------------------------------------------------------- checking


def opened(content: bytes, kind: Kind, *, form: Form | None = None) -> tuple[Sheet, Reading]:
    """Read a file, with the columns that its headings name; its form is recognised unless given.

    Raises Invalid in words where it can't be read.
    """
    sheet = import_files.read(content, form or import_files.recognise(content, kind.is_heading))
    return sheet, Reading(sheet.form, kind.matched(sheet.header))


def check(conn: Connection, kind: Kind, sheet: Sheet, reading: Reading, *, today: date, user: User) -> Report:
    """Check all rows, and say what they would change. Writes nothing.

    Raises Invalid where the columns don't suffice, Conflict before the company is set up.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    rows = import_rows.read(sheet, kind, reading)
    plan = import_writes.planned(conn, kind, rows, today=today, hold=False)
    effect = None
    if kind is BOOKINGS and plan.changing():
        effect = import_effects.of_bookings(conn, plan, today=today, user=user)
        import_writes.refuse_second_plans(rows, plan, effect.second_plans)
    elif kind is CUSTOMERS:
        effect = import_effects.of_ends(conn, plan, today=today, user=user)
    counts = Counter(row.outcome for row in plan.rows)
    return Report(
        rows=sheet.rows,
        created=counts["created"],
        updated=counts["updated"],
        unchanged=counts["unchanged"],
        faults=rows.faults.sorted(),
        fault_count=rows.faults.count,
        faulty_rows=len(rows.faults.lines),
        changes=_previews(plan),
        effect=effect,
        notes=plan.notes,
    )


def _previews(plan: Plan) -> list[Preview]:
    found = []
    for row in plan.rows:
        if row.outcome == UNCHANGED:
            continue
        number, name = plan.named(row)
        found.append(Preview(row.line, row.outcome, number, name, plan.told(row)))
        if len(found) == MOST_SHOWN:
            break
    return found


# ---------------------------------------------------------------------------------- queueing


def queue(
    conn: Connection,
    kind: Kind,
    *,
    file_name: str,
    content: bytes,
    reading: Reading,
    rows: int,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Hand a file to the worker and return the import's id.

    Raises Conflict for a file that was imported, or waits: the same file changes nothing twice.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    import_files.require_text(content)
    name = fields.line(file_name[-fields.LONGEST :], field="file", label="The file's name", required=True)
    digest = sha256(content).digest()
    earlier = same_file(conn, kind, content)
    if earlier is not None:
        raise Conflict(already(earlier))
    import_id: int = conn.execute(
        insert(imports)
        .values(
            kind=kind.name,
            file_name=name,
            file_sha256=digest,
            mapping=reading.stored(),
            content=content,
            rows=rows,
            created_by=user.id,
        )
        .returning(imports.c.id)
    ).scalar_one()
    changes = {"kind": (None, kind.label), "file": (None, name), "rows": (None, rows)}
    audit.record(conn, "queue", "import", import_id, user_id=user.id, changes=changes)
    return import_id


def same_file(conn: Connection, kind: Kind, content: bytes) -> Import | None:
    """The import of this very file that was applied, or is about to be."""
    found = conn.execute(
        text(f"""{_SELECT} WHERE i.kind = :kind AND i.file_sha256 = :digest AND i.state IN ('queued', 'applied')
                 ORDER BY i.id DESC LIMIT 1"""),
        {"kind": kind.name, "digest": sha256(content).digest()},
    ).one_or_none()
    return None if found is None else Import(**found._mapping)


def already(earlier: Import) -> str:
    """Why a file is not imported once more."""
    if earlier.applied_at is None:
        return f"This file waits to be imported already; {earlier.created_by} uploaded it as {earlier.file_name}."
    return (
        f"{earlier.created_by} imported this very file on {earlier.applied_at:%d %b %Y}. The same file changes nothing "
        "twice; a changed one can be imported."
    )


def discard(conn: Connection, import_id: int, *, user: User) -> None:
    """Take back an import that waits or has failed, and drop its file."""
    require(user, Permission.EDIT_CUSTOMERS)
    # Skipped where the worker is at it: it must not be waited for.
    row = conn.execute(
        text("""UPDATE imports SET state = 'withdrawn', content = NULL
                 WHERE id = (SELECT id FROM imports WHERE id = :id AND state IN ('queued', 'failed')
                                AND coalesce(leased_until <= now(), true) FOR UPDATE SKIP LOCKED)
                RETURNING file_name"""),
        {"id": import_id},
    ).one_or_none()
    if row is None:
        _refuse(import_(conn, import_id))
    audit.record(conn, "discard", "import", import_id, user_id=user.id, changes={"file": (row and row.file_name, None)})


def retry(conn: Connection, import_id: int, *, user: User) -> None:
    """Let the worker try an import again that has failed, or at once where it waits."""
    require(user, Permission.EDIT_CUSTOMERS)
    row = conn.execute(
        text("""UPDATE imports SET state = 'queued', due_at = now(), attempts = 0, last_error = '', done_rows = 0
                 WHERE id = (SELECT id FROM imports WHERE id = :id AND state IN ('queued', 'failed')
                                AND content IS NOT NULL AND coalesce(leased_until <= now(), true)
                                FOR UPDATE SKIP LOCKED)
                RETURNING id"""),
        {"id": import_id},
    ).one_or_none()
    if row is None:
        _refuse(import_(conn, import_id))
    audit.record(conn, "retry", "import", import_id, user_id=user.id)


def _refuse(found: Import) -> None:
    said = {
        "applied": "was applied; it can't be taken back as a whole. Import a file that says what is right",
        "withdrawn": "was taken back, and its file is dropped. Upload it again",
        "failed": "has failed, and its file is dropped by now. Upload it again",
    }.get(found.state, "is being applied at this moment. Look again in a minute")
    raise Conflict(f"This import {said}.")


# ---------------------------------------------------------------------------------- looking up

_SELECT = """
SELECT i.id, i.kind, i.file_name, i.file_sha256,
       CASE WHEN i.state = 'queued' AND i.leased_until > now() THEN 'running' ELSE i.state END AS state,
       i.rows, i.created, i.updated, i.unchanged, i.done_rows, i.attempts, i.last_error, i.created_at,
       coalesce(s.name, 'System') AS created_by, i.applied_at, i.due_at,
       i.state = 'queued' AND i.due_at < now() - interval '10 seconds' AND coalesce(i.leased_until <= now(), true)
         AS waiting
  FROM imports i LEFT JOIN staff s ON s.id = i.created_by"""


def import_(conn: Connection, import_id: int) -> Import:
    """One import. Raises NotFound."""
    row = conn.execute(text(f"{_SELECT} WHERE i.id = :id"), {"id": import_id}).one_or_none()
    if row is None:
        raise NotFound("This import does not exist.")
    return Import(**row._mapping)


def page(conn: Connection, *, kind: str = "", limit: int = 25, offset: int = 0) -> tuple[list[Import], int]:
    """The imports, the newest first, and how many there are; of one kind where it is given."""
    found = conn.execute(
        text(f"{_SELECT} WHERE :kind IN ('', i.kind) ORDER BY i.id DESC LIMIT :limit OFFSET :offset"),
        {"kind": kind, "limit": limit, "offset": offset},
    )
    total = conn.scalar(text("SELECT count(*) FROM imports i WHERE :kind IN ('', i.kind)"), {"kind": kind})
    return [Import(**row._mapping) for row in found], total or 0


def kind(name: str) -> Kind:
    """A kind by its name. Raises Invalid."""
    if name not in KINDS:
        raise Invalid(f"Choose what the file holds: {', '.join(one.label for one in KINDS.values())}.", field="kind")
    return KINDS[name]


def loaded(content: bytes, kind: Kind, stored: Mapping[str, object]) -> tuple[Rows, int]:
    """The rows of a queued file, read as it was asked for, and how many there are."""
    reading = Reading.loaded(stored)
    sheet = import_files.read(content, reading.form)
    return import_rows.read(sheet, kind, reading), sheet.rows
