"""The worker's part of an import: one transaction that checks all rows anew and does all of them or none (row B11).

Who applies an import holds its row FOR KEY SHARE: no other worker can claim it (FOR UPDATE SKIP LOCKED),
and yet the progress can be written from a connection beside it. A killed worker's lock goes with it, so the
next one takes the import up as soon as the short lease has run out; what was half done was never committed.
"""

import logging
import secrets
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text

from lib import audit, clock, db, import_writes, imports, staff
from lib.auth import Permission, require
from lib.db import conflicts
from lib.errors import BillingError, Conflict, Invalid
from lib.import_kinds import KINDS
from lib.import_plans import CREATED, UNCHANGED, UPDATED
from lib.import_rows import Fault

# Renewed with each step of the progress. It only bridges the moment before the row is held.
LEASE = "30 seconds"
MOST_ATTEMPTS = 5
# So long a file that could not be applied is kept, to be tried again.
KEPT = "7 days"
_log = logging.getLogger("mandant.import")


class _Claimed(NamedTuple):
    """An import that is ours: `attempts` counts the claims, and the latest one counts."""

    id: int
    attempts: int


def apply_one() -> bool:
    """Apply the import that has waited longest, if one is due. Whether there was one."""
    with db.transaction() as conn:
        _drop_old_files(conn)
        claimed = _claim(conn)
    if claimed is None:
        return False
    try:
        if claimed.attempts > MOST_ATTEMPTS:
            raise Conflict("The worker ended each time it tried to apply this file. Its log says why.")
        with db.transaction() as conn:
            apply(
                conn,
                claimed.id,
                today=clock.today(conn),
                attempts=claimed.attempts,
                progress=lambda done: _note_progress(claimed, done),
            )
    except BillingError as refusal:
        _note_failure(claimed, str(refusal), for_good=True)
    except Exception:
        reference = secrets.token_hex(4).upper()
        _log.exception("Import %s was not applied, reference %s", claimed.id, reference)
        message = f"An unexpected error; the log has it under the reference {reference}."
        _note_failure(claimed, message, for_good=claimed.attempts >= MOST_ATTEMPTS)
    return True


def apply(
    conn: Connection,
    import_id: int,
    *,
    today: date,
    attempts: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Apply a queued import in the caller's transaction; of one that is not queued any more, nothing.

    `attempts` is that of the claim, where there was one. `progress` hears how many rows are done.
    Raises a BillingError in words where anything in it can't be done.
    """
    found = conn.execute(
        text("""SELECT kind, file_name, mapping, content, created_by FROM imports
                 WHERE id = :id AND state = 'queued' AND attempts = coalesce(CAST(:attempts AS int), attempts)
                   FOR KEY SHARE"""),
        {"id": import_id, "attempts": attempts},
    ).one_or_none()
    # Waited for, not skipped: another worker that looked for one to claim may hold the row for a moment.
    if found is None:  # somebody else has it by now, or took it back
        return
    # Looked up now: who may not do it any more, for whom it isn't done.
    user = staff.user(conn, found.created_by)
    require(user, Permission.EDIT_CUSTOMERS)
    kind = KINDS[found.kind]
    rows, count = imports.loaded(bytes(found.content), kind, found.mapping)
    plan = import_writes.planned(conn, kind, rows, today=today, hold=True)
    if rows.faults.count:
        raise Invalid(_faulty(rows.faults.count, rows.faults.sorted()[0]))
    import_writes.write(conn, kind, plan, import_id=import_id, today=today, user=user, progress=progress)
    outcomes = {name: sum(row.outcome == name for row in plan.rows) for name in (CREATED, UPDATED, UNCHANGED)}
    told = {"file": found.file_name, **outcomes}
    audit.record(conn, "apply", "import", import_id, user_id=user.id, changes=audit.difference({}, told))
    with conflicts({"imports_applied_once_key": "This very file was imported meanwhile. It changes nothing twice."}):
        conn.execute(
            text("""UPDATE imports SET state = 'applied', applied_at = now(), content = NULL, leased_until = NULL,
                           last_error = '', rows = :rows, done_rows = :rows, created = :created, updated = :updated,
                           unchanged = :unchanged
                     WHERE id = :id"""),
            {"id": import_id, "rows": count, **outcomes},
        )


def _claim(conn: Connection) -> _Claimed | None:
    row = conn.execute(
        text(f"""
            UPDATE imports SET leased_until = now() + interval '{LEASE}', attempts = attempts + 1, done_rows = 0
             WHERE id = (SELECT id FROM imports
                          WHERE state = 'queued' AND due_at <= now() AND coalesce(leased_until <= now(), true)
                          ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING id, attempts""")
    ).one_or_none()
    return None if row is None else _Claimed(*row)


def _faulty(count: int, first: Fault) -> str:
    where = f"line {first.line}" + (f", {first.column}" if first.column else "")
    more = "" if count == 1 else f" {count - 1:,} more rows or cells are wrong, too."
    return (
        f"Since it was checked, something changed: {where}: {first.message}{more} Nothing was imported; "
        "upload the file again to see what."
    )


def _note_progress(claimed: _Claimed, done: int) -> None:
    """From a connection beside the one that applies: what that does is seen only once it is done."""
    with db.transaction() as conn:
        conn.execute(
            text(f"""UPDATE imports SET done_rows = :done, leased_until = now() + interval '{LEASE}'
                      WHERE id = :id AND attempts = :attempts AND state = 'queued'"""),
            {"id": claimed.id, "attempts": claimed.attempts, "done": done},
        )


def _note_failure(claimed: _Claimed, message: str, *, for_good: bool) -> None:
    with db.transaction() as conn:
        conn.execute(
            text("""UPDATE imports SET state = CASE WHEN :for_good THEN 'failed' ELSE state END, last_error = :message,
                           leased_until = NULL, done_rows = 0,
                           due_at = now() + make_interval(secs => least(600, 5 * power(4, attempts - 1)))
                     WHERE id = :id AND attempts = :attempts AND state = 'queued'"""),
            {"id": claimed.id, "attempts": claimed.attempts, "message": message, "for_good": for_good},
        )


def _drop_old_files(conn: Connection) -> None:
    """A file holds personal data: one that failed and that nobody asked for again is not kept."""
    conn.execute(
        text(f"""UPDATE imports SET content = NULL
                  WHERE state = 'failed' AND content IS NOT NULL AND due_at < now() - interval '{KEPT}'""")
    )
