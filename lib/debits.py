"""Collecting by SEPA direct debit: a run is a file for the bank with a month's open invoices (row G16).

An invoice is in one run at a time, until its debit came back (or the run was withdrawn before the bank had it).
Payments are recorded once the collection day is there; a debit that came back reverses its payment.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, text, update

from lib import audit, db, debit_contents, fields, late_renewals, money, payments, vault
from lib.auth import Permission, User, require
from lib.debit_candidates import candidate, lacks, rows, why_not
from lib.errors import AlreadyDone, Conflict, Invalid, NotFound
from lib.invoices import STATES
from lib.requests import once
from lib.tables import debit_runs, debits

_ABOUT = "debit_runs.content"
_IN_RUN = "An invoice went into another run at this moment. Nothing was made: look at the list again."


@dataclass(frozen=True)
class Run:
    """A file that was made for the bank. `has_file`: it can still be downloaded."""

    id: int
    month: date
    collect_on: date
    message_id: str
    has_file: bool
    collected_at: datetime | None
    withdrawn_at: datetime | None
    recorded_at: datetime
    recorded_by: str
    debits: int
    amount: Decimal
    returned: int

    @property
    def state(self) -> str:
        """Waiting, collected or withdrawn."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "waiting" if self.collected_at is None else "collected"


@dataclass(frozen=True)
class Debit:
    """One invoice in a run. `paid`: its payment is recorded (and may have been reversed since)."""

    id: int
    run_id: int
    invoice_id: int
    number: str
    customer: str
    mandate: str
    sequence: str
    amount: Decimal
    paid: bool
    returned_at: datetime | None
    return_reason: str


@dataclass(frozen=True)
class Collected:
    """How recording a run's payments went: how many are recorded, and in words which are not."""

    recorded: int
    left: list[str]


# ---------------------------------------------------------------------------------- what there is


def runs(conn: Connection, *, limit: int = 24) -> list[Run]:
    """The newest runs first."""
    return _runs(conn, "true", limit=limit)


def run(conn: Connection, run_id: int) -> Run:
    """One run. Raises NotFound."""
    found = _runs(conn, "r.id = :id", id=run_id, limit=1)
    if not found:
        raise NotFound("This run does not exist.")
    return found[0]


def debits_of(conn: Connection, run_id: int) -> list[Debit]:
    """What a run collects, in the order of its file."""
    found = conn.execute(
        text("""SELECT d.id, d.run_id, d.invoice_id, i.number, c.name AS customer,
                       coalesce(m.reference, '') AS mandate, d.sequence, d.amount, d.payment_id IS NOT NULL AS paid,
                       d.returned_at, d.return_reason
                  FROM debits d JOIN invoices i ON i.id = d.invoice_id JOIN customers c ON c.id = i.customer_id
                  LEFT JOIN mandates m ON m.id = d.mandate_id WHERE d.run_id = :id ORDER BY d.id"""),
        {"id": run_id},
    )
    return [Debit(**row._mapping) for row in found]


# ---------------------------------------------------------------------------------- what is done


def make(
    conn: Connection,
    month: date,
    *,
    collect_on: date,
    late: bool = False,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Make the file for all of the month's invoices that can be collected; returns the run's id.

    With `late` also of those that were announced for an earlier day: whoever says so has told the customers.
    Raises Invalid at `collect_on`, Conflict where something of ours is missing or nothing can be collected.
    """
    require(user, Permission.RECORD_PAYMENTS)
    once(conn, request_key)
    missing = lacks(conn)
    if missing:
        raise Conflict(f"Before a file can be made, enter {' and '.join(missing)}.")
    refusal = why_not(collect_on, today=today)
    if refusal:
        raise Invalid(refusal, field="collect_on")
    chosen = [row for row in rows(conn, month, hold=True) if not candidate(row, collect_on, late=late).why]
    if not chosen:
        raise Conflict(f"No invoice of {month:%B %Y} can be collected. The list says why.")
    sequences = debit_contents.sequences(chosen)
    message_id, content = debit_contents.written(conn, chosen, sequences, collect_on=collect_on)
    run_id: int = conn.execute(
        insert(debit_runs)
        .values(
            month=month, collect_on=collect_on, message_id=message_id,
            content=vault.sealed(content.decode(), about=_ABOUT), recorded_by=user.id,
        )
        .returning(debit_runs.c.id)
    ).scalar_one()  # fmt: skip
    with db.conflicts({"debits_once_key": _IN_RUN}):
        conn.execute(
            insert(debits),
            [
                {"run_id": run_id, "invoice_id": row.invoice_id, "mandate_id": row.mandate_id,
                 "sequence": sequences[row.invoice_id], "amount": row.amount}
                for row in chosen
            ],
        )  # fmt: skip
    told = f"{len(chosen)} of {money.shown(sum((row.amount for row in chosen), Decimal(0)))} EUR"
    changes = {"month": (None, month), "collect_on": (None, collect_on), "invoices": (None, told)}
    audit.record(conn, "create", "debit run", run_id, user_id=user.id, changes=changes)
    _log_invoices(conn, "collect", run_id, user, {"collected_on": [None, collect_on.isoformat()]})
    return run_id


def file(conn: Connection, run_id: int, *, user: User) -> tuple[str, bytes]:
    """A run's file by its name, for the bank; that somebody took it is in the log. Raises NotFound, Conflict."""
    require(user, Permission.RECORD_PAYMENTS)
    found = _held(conn, run_id)
    if found.content is None:
        raise Conflict("Somebody in this file was erased since, and the file with them. Its invoices are listed below.")
    audit.record(conn, "download", "debit run", run_id, user_id=user.id)
    content = vault.opened(found.content, about=_ABOUT).encode()
    return f"direct-debits-{found.month:%Y-%m}-{found.message_id}.xml", content


def withdraw(conn: Connection, run_id: int, *, user: User) -> None:
    """Take a run back whose file the bank never got: its invoices can go into another one. Raises Conflict."""
    require(user, Permission.RECORD_PAYMENTS)
    found = _held(conn, run_id)
    if found.withdrawn_at is not None:
        raise AlreadyDone("This run is withdrawn already.")
    if found.collected_at is not None:
        raise Conflict("The payments of this run are recorded. What came back is marked one by one.")
    conn.execute(update(debit_runs).where(debit_runs.c.id == run_id).values(withdrawn_at=func.now()))
    _log_invoices(conn, "withdraw collection", run_id, user, {"collected_on": [found.collect_on.isoformat(), None]})
    conn.execute(
        update(debits)
        .where(debits.c.run_id == run_id, debits.c.returned_at.is_(None))
        .values(returned_at=func.now(), return_reason="The run was withdrawn")
    )
    audit.record(conn, "withdraw", "debit run", run_id, user_id=user.id)


def collect(conn: Connection, run_id: int, *, today: date, user: User) -> Collected:
    """Record what a run collected as payments, once its day is there; what came back before is left out.

    What can't be recorded (it was paid otherwise meanwhile, say) is left, and said.
    """
    require(user, Permission.RECORD_PAYMENTS)
    found = _held(conn, run_id)
    if found.withdrawn_at is not None:
        raise Conflict("This run was withdrawn: nothing was collected by it.")
    if found.collected_at is not None:
        raise AlreadyDone("The payments of this run are recorded already.")
    if today < found.collect_on:
        raise Conflict(f"The money comes on {found.collect_on:%d %b %Y}. Record it then.")
    waiting = [one for one in debits_of(conn, run_id) if one.returned_at is None]
    left = _unrecordable(conn, waiting)
    paid = [one.invoice_id for one in waiting if one.id not in left]
    if paid:
        payments.settle(conn, paid, paid_on=found.collect_on, method="direct_debit", today=today, user=user)
        # Each is held, so its newest payment is the one just entered; it counts on a new document where a renewal was
        # paid late and issued again.
        again = {one.old_id: one.new_id for one in late_renewals.issued_again(conn, paid)}
        conn.execute(
            text("""UPDATE debits d
                       SET invoice_id = n.invoice_id,
                           payment_id = (SELECT max(p.id) FROM payments p
                                          WHERE p.invoice_id = n.invoice_id AND p.amount > 0)
                      FROM unnest(CAST(:old AS bigint[]), CAST(:new AS bigint[])) AS n(old_id, invoice_id)
                     WHERE d.run_id = :run AND d.returned_at IS NULL AND d.invoice_id = n.old_id"""),
            {"run": run_id, "old": paid, "new": [again.get(one, one) for one in paid]},
        )
    conn.execute(update(debit_runs).where(debit_runs.c.id == run_id).values(collected_at=func.now()))
    changes = {"payments": (None, len(paid)), "left": (None, "; ".join(left.values()))}
    audit.record(conn, "record collection", "debit run", run_id, user_id=user.id, changes=changes)
    return Collected(len(paid), list(left.values()))


def come_back(conn: Connection, debit_id: int, *, reason: str, today: date, user: User) -> None:
    """Note that the bank gave a debit back: its payment is reversed, and its invoice can be collected anew."""
    require(user, Permission.RECORD_PAYMENTS)
    reason = fields.line(reason, field="reason", label="The reason", required=True)
    # The run first, as who records it does.
    conn.execute(
        text("SELECT 1 FROM debit_runs WHERE id = (SELECT run_id FROM debits WHERE id = :id) FOR UPDATE"),
        {"id": debit_id},
    )
    row = conn.execute(
        text("""SELECT d.run_id, d.invoice_id, d.payment_id, d.returned_at, i.customer_id,
                       EXISTS (SELECT FROM payments p WHERE p.reverses_id = d.payment_id) AS reversed
                  FROM debits d JOIN invoices i ON i.id = d.invoice_id WHERE d.id = :id FOR UPDATE OF d"""),
        {"id": debit_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This debit does not exist.")
    if row.returned_at is not None:
        raise AlreadyDone("This debit came back already.")
    if row.payment_id is not None and not row.reversed:
        payments.reverse(conn, row.payment_id, reason=reason, today=today, user=user)
    conn.execute(update(debits).where(debits.c.id == debit_id).values(returned_at=func.now(), return_reason=reason))
    audit.record(
        conn, "return debit", "invoice", row.invoice_id, user_id=user.id, customer_id=row.customer_id,
        changes={"run": (row.run_id, None), "reason": (None, reason)},
    )  # fmt: skip


def forget_files(conn: Connection, customer_id: int) -> int:
    """Delete the files that a customer's account stands in; returns how many. For the erasure."""
    return conn.execute(
        text("""UPDATE debit_runs SET content = NULL
                 WHERE content IS NOT NULL AND id IN (
                       SELECT d.run_id FROM debits d JOIN invoices i ON i.id = d.invoice_id
                        WHERE i.customer_id = :id)"""),
        {"id": customer_id},
    ).rowcount


def reseal(conn: Connection) -> int:
    """Seal the files with the current key where they aren't; returns how many that changed."""
    changed = 0
    query = text("SELECT id, content FROM debit_runs WHERE content IS NOT NULL ORDER BY id FOR UPDATE")
    for row in conn.execute(query).all():
        anew = vault.resealed(row.content, about=_ABOUT)
        if anew is not None:
            conn.execute(update(debit_runs).where(debit_runs.c.id == row.id).values(content=anew))
            changed += 1
    return changed


# ---------------------------------------------------------------------------------- how it is done


def _unrecordable(conn: Connection, waiting: Sequence[Debit]) -> dict[int, str]:
    """What of a run's debits can't be recorded, by the debit's id, in words."""
    ids = [one.invoice_id for one in waiting]
    query = text("SELECT id, state FROM invoices WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE")
    states = {row.id: row.state for row in conn.execute(query, {"ids": ids})}
    open_now = payments.open_amounts(conn, ids)
    said = {}
    for one in waiting:
        if states[one.invoice_id] not in payments.PAYABLE:
            said[one.id] = f"{one.number} is {STATES[states[one.invoice_id]].lower()}"
        elif open_now[one.invoice_id] != one.amount:
            said[one.id] = (
                f"of {one.number} {money.shown(open_now[one.invoice_id])} is open, not {money.shown(one.amount)}"
            )
    return said


def _held(conn: Connection, run_id: int) -> Row[Any]:
    row = conn.execute(
        text("""SELECT id, month, collect_on, message_id, content, collected_at, withdrawn_at
                  FROM debit_runs WHERE id = :id FOR UPDATE"""),
        {"id": run_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This run does not exist.")
    return row


def _runs(conn: Connection, where: str, *, limit: int, **values: Any) -> list[Run]:
    found = conn.execute(
        text(f"""SELECT r.id, r.month, r.collect_on, r.message_id, r.content IS NOT NULL AS has_file, r.collected_at,
                        r.withdrawn_at, r.recorded_at, coalesce(s.name, 'System') AS recorded_by,
                        count(d.id) AS debits, coalesce(sum(d.amount), 0) AS amount, count(d.returned_at) AS returned
                   FROM debit_runs r LEFT JOIN staff s ON s.id = r.recorded_by LEFT JOIN debits d ON d.run_id = r.id
                  WHERE {where} GROUP BY r.id, s.name ORDER BY r.id DESC LIMIT :limit"""),
        values | {"limit": limit},
    )
    return [Run(**row._mapping) for row in found]


def _log_invoices(conn: Connection, action: str, run_id: int, user: User, changes: dict[str, list[Any]]) -> None:
    """An entry at each invoice of a run that did not come back."""
    audit.record_all(
        conn, action, "invoice",
        query="""SELECT i.id AS object_id, i.customer_id, CAST(:changes AS jsonb) AS changes
                   FROM debits d JOIN invoices i ON i.id = d.invoice_id
                  WHERE d.run_id = :run AND d.returned_at IS NULL""",
        values={"run": run_id, "changes": json.dumps(changes)}, user_id=user.id,
    )  # fmt: skip
