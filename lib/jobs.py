"""The work that the worker does, as an admin sees it: what waits, runs, failed and why (view `jobs`)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lib import deletions, imports, mails
from lib.auth import Permission, User, require
from lib.errors import Conflict

KINDS = {"mail": "Mail", "erasure": "Erasure", "import": "Import"}
STATES = {"waiting": "Waiting", "running": "Running", "failed": "Failed", "done": "Done"}
# What an admin looks after: everything that is not done.
OPEN = ("waiting", "running", "failed")
MOST_COUNTED = 10_000
# A due job that waits longer than this is a sign that no worker runs: longer than any lease of a worker that died.
LATE_MINUTES = 15
# How a job of each kind is started again; called with the connection, the job's id and the user.
RETRIES: dict[str, Callable[..., Any]] = {"mail": mails.resend, "erasure": deletions.retry, "import": imports.retry}


@dataclass(frozen=True)
class Job:
    """One job. `subject` says what it is about: the mail's subject and recipient, the customer, the file."""

    kind: str
    id: int
    customer_id: int | None
    subject: str
    state: str
    due_at: datetime
    attempts: int
    last_error: str
    created_at: datetime
    done_at: datetime | None


@dataclass(frozen=True)
class Filters:
    """What the list is narrowed to."""

    kinds: tuple[str, ...] = ()
    states: tuple[str, ...] = OPEN


_SUBJECT = """CASE j.kind
    WHEN 'mail' THEN (SELECT m.subject || CASE WHEN m.recipient <> '' THEN ' → ' || m.recipient ELSE '' END
                        FROM mails m WHERE m.id = j.id)
    WHEN 'import' THEN (SELECT i.file_name FROM imports i WHERE i.id = j.id)
    ELSE (SELECT c.number || ' ' || c.name FROM customers c WHERE c.id = j.customer_id) END"""
_WHERE = """(cardinality(CAST(:kinds AS text[])) = 0 OR j.kind = ANY(CAST(:kinds AS text[])))
        AND (cardinality(CAST(:states AS text[])) = 0 OR j.state = ANY(CAST(:states AS text[])))"""


def page(conn: Connection, filters: Filters, *, limit: int = 50, offset: int = 0) -> list[Job]:
    """The jobs that match: failed ones first, then the newest."""
    found = conn.execute(
        text(f"""
            SELECT j.kind, j.id, j.customer_id, coalesce({_SUBJECT}, '') AS subject, j.state, j.due_at, j.attempts,
                   j.last_error, j.created_at, j.done_at
              FROM (SELECT * FROM jobs j WHERE {_WHERE}
                     ORDER BY j.state <> 'failed', j.created_at DESC, j.kind, j.id DESC
                     LIMIT :limit OFFSET :offset) j
             ORDER BY j.state <> 'failed', j.created_at DESC, j.kind, j.id DESC"""),
        _values(filters) | {"limit": limit, "offset": offset},
    )
    return [Job(**row._mapping) for row in found]


def total(conn: Connection, filters: Filters) -> int:
    """How many jobs match, counted up to one more than MOST_COUNTED."""
    counted = f"SELECT count(*) FROM (SELECT FROM jobs j WHERE {_WHERE} LIMIT {MOST_COUNTED + 1}) found"
    return conn.scalar(text(counted), _values(filters)) or 0


def counts(conn: Connection) -> dict[str, int]:
    """How many jobs are in each state that is not done."""
    found = conn.execute(
        text("SELECT state, count(*) AS jobs FROM jobs WHERE state = ANY(:states) GROUP BY state"),
        {"states": list(OPEN)},
    )
    return dict.fromkeys(OPEN, 0) | {row.state: row.jobs for row in found}


def late_minutes(conn: Connection) -> int:
    """How long the oldest due job has waited, in minutes, where nothing is done meanwhile, as without a worker; else 0.

    Mails wait without blame while no mail server is set up.
    """
    waited = conn.scalar(
        text("""SELECT CAST(extract(epoch FROM now() - min(due_at)) / 60 AS int) FROM jobs
                 WHERE state = 'waiting' AND due_at < now()
                   AND (kind <> 'mail'
                        OR EXISTS (SELECT FROM mail_server WHERE host <> '' AND sender_address <> ''))""")
    )
    if waited is None or waited < LATE_MINUTES:
        return 0
    # A long queue is no sign of a worker that is missing.
    at_work = """SELECT EXISTS (SELECT FROM jobs WHERE state = 'running'
                                    OR done_at > now() - make_interval(mins => :late))"""
    return 0 if conn.scalar(text(at_work), {"late": LATE_MINUTES}) else waited


def retry(conn: Connection, kind: str, job_id: int, *, user: User) -> None:
    """Have a job done again, or at once where it waits. Raises Conflict in words where that makes no sense."""
    require(user, Permission.EDIT_SETTINGS)
    state = conn.scalar(text("SELECT state FROM jobs WHERE kind = :kind AND id = :id"), {"kind": kind, "id": job_id})
    if state not in ("waiting", "failed"):
        said = {"running": "is running at this moment", "done": "is done"}.get(state, "does not exist any more")
        raise Conflict(f"This job {said}, so it is not started again. Reload the page.")
    RETRIES[kind](conn, job_id, user=user)


def retry_failed(conn: Connection, kind: str, *, user: User) -> int:
    """Have all failed jobs of a kind done again; returns how many."""
    require(user, Permission.EDIT_SETTINGS)
    failed = conn.scalars(
        text("SELECT id FROM jobs WHERE kind = :kind AND state = 'failed' ORDER BY id"), {"kind": kind}
    )
    ids = failed.all()
    for job_id in ids:
        retry(conn, kind, job_id, user=user)
    return len(ids)


def _values(filters: Filters) -> dict[str, Any]:
    given = {"kinds": filters.kinds, "states": filters.states}
    return {name: [one.replace("\x00", "") for one in chosen] for name, chosen in given.items()}
