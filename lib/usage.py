"""What customers use, by day, as the vendor's files say it (rows D3, D5): recorded set-based, read as sums and series.

A day of a customer is one row. What a file doesn't say stays as an earlier one said it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import audit, fields
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid, NotFound

# How far back "lately" reaches: backup jobs, growth.
RECENT = timedelta(days=30)
MOST_COUNTED = 2_000_000_000
MOST_MEASURED = Decimal("999999999999.999")
LABELS = {
    "users": "Users",
    "storage_gb": "Storage (GB)",
    "credits": "Credits",
    "backups_ok": "Backups that worked",
    "backups_failed": "Backups that failed",
    "cloud_status": "The cloud status",
}


@dataclass(frozen=True)
class Usage:
    """What a customer used on a day; None is what the file does not say.

    `storage_gb` is the level on that day in GB, `credits` what was consumed on it, `users` how many
    were in use. `cloud_status` is the vendor's own word. Raises Invalid at the field.
    """

    customer_id: int
    day: date
    users: int | None = None
    storage_gb: Decimal | None = None
    credits: Decimal | None = None
    backups_ok: int | None = None
    backups_failed: int | None = None
    cloud_status: str = ""

    def __post_init__(self) -> None:
        if not fields.EARLIEST <= self.day <= fields.LATEST:
            raise Invalid(f"The day must be between {fields.EARLIEST:%Y} and {fields.LATEST:%Y}.", field="day")
        for name in ("users", "backups_ok", "backups_failed"):
            count = getattr(self, name)
            if count is not None and not 0 <= count <= MOST_COUNTED:
                raise Invalid(f"{LABELS[name]} must be between 0 and {MOST_COUNTED:,}.", field=name)
        for name in ("storage_gb", "credits"):
            amount: Decimal | None = getattr(self, name)
            if amount is None:
                continue
            if not amount.is_finite() or not 0 <= amount <= MOST_MEASURED:
                raise Invalid(f"{LABELS[name]} must be between 0 and {MOST_MEASURED:,}.", field=name)
            if amount != round(amount, 3):
                raise Invalid(f"{LABELS[name]}: at most 3 decimals.", field=name)
        status = fields.line(self.cloud_status, field="cloud_status", label=LABELS["cloud_status"], longest=60)
        object.__setattr__(self, "cloud_status", status)


@dataclass(frozen=True)
class Recorded:
    """How many days were new, how many said something else than before, and how many nothing new."""

    created: int
    updated: int
    unchanged: int


@dataclass(frozen=True)
class Summary:
    """What is known of a customer's use up to a day. Each level is the latest that any file says, with its day.

    Backups and credits are those of the last 30 days. `storage_before`: the level 30 days before that of `storage_gb`.
    """

    first_day: date
    last_day: date
    users: int | None
    users_on: date | None
    storage_gb: Decimal | None
    storage_on: date | None
    storage_before: Decimal | None
    cloud_status: str | None
    cloud_status_on: date | None
    credits: Decimal | None
    backups_ok: int | None
    backups_failed: int | None
    imported_at: datetime | None
    imported_file: str | None

    @property
    def backup_rate(self) -> Decimal | None:
        """The share of backup jobs that worked; None where there was none."""
        jobs = (self.backups_ok or 0) + (self.backups_failed or 0)
        return Decimal(self.backups_ok or 0) / jobs if jobs else None

    @property
    def growth(self) -> Decimal | None:
        """By how many GB the storage grew in 30 days; None where it isn't known for so long."""
        if self.storage_gb is None or self.storage_before is None:
            return None
        return self.storage_gb - self.storage_before


@dataclass(frozen=True)
class Point:
    """A day, or a month named by its first day: credits and backups are its sums, users and storage its last level."""

    day: date
    users: int | None
    storage_gb: Decimal | None
    credits: Decimal | None
    backups_ok: int | None
    backups_failed: int | None


_VALUES = ("users", "storage_gb", "credits", "backups_ok", "backups_failed")
# What is stored after a row came: what it says, else what was known. An empty status says nothing.
_AFTER = {name: f"coalesce(EXCLUDED.{name}, known.{name})" for name in _VALUES} | {
    "cloud_status": "coalesce(nullif(EXCLUDED.cloud_status, ''), known.cloud_status)"
}
_RECORD = f"""
WITH written AS (
    INSERT INTO usage AS known (customer_id, day, {", ".join(_AFTER)}, import_id)
    SELECT asked.*, CAST(:import_id AS bigint)
      FROM unnest(CAST(:customer_id AS bigint[]), CAST(:day AS date[]), CAST(:users AS int[]),
                  CAST(:storage_gb AS numeric[]), CAST(:credits AS numeric[]), CAST(:backups_ok AS int[]),
                  CAST(:backups_failed AS int[]), CAST(:cloud_status AS text[])) AS asked
     ORDER BY 1, 2
    ON CONFLICT (customer_id, day) DO UPDATE
       SET {", ".join(f"{name} = {after}" for name, after in _AFTER.items())}, import_id = EXCLUDED.import_id
     WHERE ({", ".join(_AFTER.values())}) IS DISTINCT FROM ({", ".join(f"known.{name}" for name in _AFTER)})
    RETURNING (xmax = 0) AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS updated FROM written"""


def record(conn: Connection, rows: Sequence[Usage], *, import_id: int | None, user: User) -> Recorded:
    """Write what was used, one row per customer and day: new days are added, known ones completed and corrected.

    The same rows twice change nothing the second time. Raises Invalid where a day of a customer
    comes twice, NotFound for a customer that is not there, Conflict for one that is being deleted.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    if not rows:
        return Recorded(0, 0, 0)
    if len({(row.customer_id, row.day) for row in rows}) < len(rows):
        raise Invalid("A day of a customer comes twice. Leave one of the two out.", field="day")
    customer_ids = sorted({row.customer_id for row in rows})
    _require_alive(conn, customer_ids)
    names = ("customer_id", "day", *_AFTER)
    values: dict[str, Any] = {name: _array([getattr(row, name) for row in rows]) for name in names}
    written = conn.execute(text(_RECORD), values | {"import_id": import_id}).one()
    recorded = Recorded(written.created, written.updated, len(rows) - written.created - written.updated)
    if recorded.unchanged < len(rows):
        audit.record(
            conn, "record", "usage", "" if import_id is None else import_id, user_id=user.id,
            customer_id=customer_ids[0] if len(customer_ids) == 1 else None,
            changes=audit.difference(
                {},
                {
                    "customers": len(customer_ids), "from": min(row.day for row in rows),
                    "until": max(row.day for row in rows), "days_added": recorded.created,
                    "days_changed": recorded.updated,
                },
            ),
        )  # fmt: skip
    return recorded


def summary(conn: Connection, customer_id: int, *, today: date) -> Summary | None:
    """What is known of a customer's use up to today; None where nothing is."""
    row = conn.execute(
        text(f"""
            WITH known AS (SELECT * FROM usage WHERE customer_id = :id AND day <= :today),
                 latest AS (SELECT max(day) FILTER (WHERE users IS NOT NULL) AS users_on,
                                   max(day) FILTER (WHERE storage_gb IS NOT NULL) AS storage_on,
                                   max(day) FILTER (WHERE cloud_status <> '') AS cloud_status_on,
                                   min(day) AS first_day, max(day) AS last_day, max(import_id) AS import_id,
                                   {_recent("credits")}, {_recent("backups_ok")}, {_recent("backups_failed")}
                              FROM known)
            SELECT l.first_day, l.last_day, l.users_on, l.storage_on, l.cloud_status_on,
                   l.credits, l.backups_ok, l.backups_failed,
                   (SELECT users FROM known WHERE day = l.users_on) AS users,
                   (SELECT storage_gb FROM known WHERE day = l.storage_on) AS storage_gb,
                   (SELECT cloud_status FROM known WHERE day = l.cloud_status_on) AS cloud_status,
                   (SELECT storage_gb FROM known WHERE day <= l.storage_on - :recent AND storage_gb IS NOT NULL
                     ORDER BY day DESC LIMIT 1) AS storage_before,
                   i.applied_at AS imported_at, i.file_name AS imported_file
              FROM latest l LEFT JOIN imports i ON i.id = l.import_id
             WHERE l.first_day IS NOT NULL"""),
        {"id": customer_id, "today": today, "recent": RECENT.days},
    ).one_or_none()
    return Summary(**row._mapping) if row else None


def by_day(conn: Connection, customer_id: int, *, first_day: date, last_day: date) -> list[Point]:
    """The days of a stretch of which something is known, in order."""
    found = conn.execute(
        text(f"""SELECT day, {", ".join(_VALUES)} FROM usage
                  WHERE customer_id = :id AND day BETWEEN :first AND :last ORDER BY day"""),
        {"id": customer_id, "first": first_day, "last": last_day},
    )
    return [Point(**row._mapping) for row in found]


def by_month(conn: Connection, customer_id: int, *, first_day: date, last_day: date) -> list[Point]:
    """The months of a stretch of which something is known, in order; each of what is known of its days."""
    found = conn.execute(
        text(f"""
            SELECT CAST(date_trunc('month', CAST(day AS timestamp)) AS date) AS day,
                   {_last("users")}, {_last("storage_gb")},
                   sum(credits) AS credits, sum(backups_ok) AS backups_ok, sum(backups_failed) AS backups_failed
              FROM usage WHERE customer_id = :id AND day BETWEEN :first AND :last GROUP BY 1 ORDER BY 1"""),
        {"id": customer_id, "first": first_day, "last": last_day},
    )
    return [Point(**row._mapping) for row in found]


def forget(conn: Connection, customer_id: int) -> int:
    """Delete all that is known of a customer's use, for its erasure; returns how many days that was."""
    return conn.execute(text("DELETE FROM usage WHERE customer_id = :id"), {"id": customer_id}).rowcount


def _recent(name: str) -> str:
    return f"sum({name}) FILTER (WHERE day > CAST(:today AS date) - :recent) AS {name}"


def _last(name: str) -> str:
    return f"(array_agg({name} ORDER BY day DESC) FILTER (WHERE {name} IS NOT NULL))[1] AS {name}"


def _array(values: Sequence[object]) -> str:
    """An array as Postgres writes it: the driver takes five times as long for a long one."""
    return "{" + ",".join("NULL" if value is None else f'"{_quoted(str(value))}"' for value in values) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"') if '"' in value or "\\" in value else value


def _require_alive(conn: Connection, customer_ids: Sequence[int]) -> None:
    """Hold the customers, as any write does: none is erased, and no quota changes, while its usage comes in."""
    found = conn.execute(
        text("""SELECT id, name, marked_for_deletion_at, erased_at FROM customers
                 WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE"""),
        {"ids": customer_ids},
    ).all()
    if len(found) < len(customer_ids):
        missing = min(set(customer_ids) - {row.id for row in found})
        raise NotFound(f"Customer {missing} does not exist.")
    for row in found:
        if row.erased_at is not None:
            raise Conflict(f"{row.name} was deleted and its data erased. Leave it out.")
        if row.marked_for_deletion_at is not None:
            raise Conflict(f"{row.name} is marked for deletion. Leave it out, or take the deletion back.")
