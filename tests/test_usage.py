"""Usage: recorded set-based, said twice it changes nothing, read as what is known today and over time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import audit, db, quotas, usage
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.usage import Recorded, Usage
from tests import ledgers
from tests import people as staff
from tests.ledgers import People

TODAY = date(2026, 6, 15)
A_DAY = timedelta(days=1)
MISSING = 4_000_000


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def ada(conn: Connection, people: People) -> int:
    return ledgers.customer(conn, people)


def record(conn: Connection, people: People, *rows: Usage, role: Role = Role.SALES, **given: Any) -> Recorded:
    return usage.record(conn, rows, user=people[role], **({"import_id": None} | given))


def full(customer_id: int, day: date = TODAY, **said: Any) -> Usage:
    """A day on which everything is said."""
    known: dict[str, Any] = {
        "users": 5, "storage_gb": Decimal("12.345"), "credits": Decimal("3.5"), "backups_ok": 9, "backups_failed": 1,
        "cloud_status": "Healthy",
    }  # fmt: skip
    return Usage(customer_id, day, **(known | said))


# ---------------------------------------------------------------------------------- recording


@pytest.mark.row("D3", "D5")
def test_days_are_recorded_and_said_twice_change_nothing(conn: Connection, people: People, ada: int) -> None:
    berta = ledgers.customer(conn, people, "Berta AG")
    rows = [full(ada), full(ada, TODAY - A_DAY), full(berta)]
    assert record(conn, people, *rows) == Recorded(3, 0, 0)
    assert record(conn, people, *rows) == Recorded(0, 0, 3)
    assert record(conn, people, full(ada, users=6), full(berta)) == Recorded(0, 1, 1)
    assert record(conn, people) == Recorded(0, 0, 0)
    entries, _ = audit.entries(conn, object_type="usage")
    # What changed nothing is in no log.
    assert [(entry.changes["days_added"][1], entry.changes["days_changed"][1]) for entry in entries] == [(0, 1), (3, 0)]
    assert (entries[0].customer_id, entries[0].person) == (None, "Samuel")


def test_what_a_file_does_not_say_stays(conn: Connection, people: People, ada: int) -> None:
    record(conn, people, full(ada))
    assert record(conn, people, Usage(ada, TODAY, credits=Decimal(4))) == Recorded(0, 1, 0)
    [day] = usage.by_day(conn, ada, first_day=TODAY, last_day=TODAY)
    assert (day.users, day.storage_gb, day.credits, day.backups_ok) == (5, Decimal("12.345"), 4, 9)
    known = usage.summary(conn, ada, today=TODAY)
    assert known is not None and known.cloud_status == "Healthy"


@pytest.mark.parametrize("status", ['He said "no"', "back\\slash", "{a,b}", "NULL", "Grün, gelb", "=1+1", "<b>x</b>"])
def test_a_cloud_status_is_kept_as_the_vendor_writes_it(
    conn: Connection, people: People, ada: int, status: str
) -> None:
    record(conn, people, Usage(ada, TODAY, cloud_status=f"  {status} "))
    known = usage.summary(conn, ada, today=TODAY)
    assert known is not None and known.cloud_status == status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("users", -1),
        ("users", 10**12),
        ("backups_ok", -1),
        ("backups_ok", 10**12),
        ("backups_failed", -1),
        ("backups_failed", 10**12),
        ("storage_gb", Decimal(-1)),
        ("storage_gb", Decimal("1E+40")),
        ("storage_gb", Decimal("NaN")),
        ("storage_gb", Decimal("0.0001")),
        ("credits", Decimal("-0.001")),
        ("credits", Decimal("Infinity")),
        ("credits", Decimal("1.2345")),
        ("cloud_status", "x\x00y"),
        ("cloud_status", "x" * 10_000),
        ("day", date(1, 1, 1)),
        ("day", date(9999, 12, 31)),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        Usage(**({"customer_id": 1, "day": TODAY} | {field: value}))
    assert refused.value.field == field


def test_a_day_that_comes_twice_is_refused(conn: Connection, people: People, ada: int) -> None:
    with pytest.raises(Invalid, match="comes twice") as refused:
        record(conn, people, full(ada), full(ada, users=7))
    assert refused.value.field == "day"


def test_a_customer_that_is_not_there_stops_it_all(conn: Connection, people: People, ada: int) -> None:
    with pytest.raises(NotFound, match=f"Customer {MISSING} does not exist"):
        record(conn, people, full(ada), full(MISSING))
    assert usage.summary(conn, ada, today=TODAY) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("marked_for_deletion_at = now()", "is marked for deletion"),
        ("marked_for_deletion_at = now(), erased_at = now()", "was deleted"),
    ],
)
def test_nothing_is_recorded_of_who_is_being_deleted(
    conn: Connection, people: People, ada: int, change: str, why: str
) -> None:
    conn.execute(text(f"UPDATE customers SET {change} WHERE id = :id"), {"id": ada})
    with pytest.raises(Conflict, match=why):
        record(conn, people, full(ada))


def test_a_viewer_records_nothing(conn: Connection, people: People, ada: int) -> None:
    with pytest.raises(NotAllowed):
        record(conn, people, full(ada), role=Role.VIEWER)


def test_forgetting_takes_one_customers_days(conn: Connection, people: People, ada: int) -> None:
    berta = ledgers.customer(conn, people, "Berta AG")
    record(conn, people, full(ada), full(ada, TODAY - A_DAY), full(berta))
    assert usage.forget(conn, ada) == 2
    assert usage.summary(conn, ada, today=TODAY) is None and usage.summary(conn, berta, today=TODAY)


def test_two_files_at_once_count_both(database: str) -> None:
    with db.transaction() as conn:
        made = staff.open_company(conn)
        ada = ledgers.customer(conn, made)
        given = {"amount": Decimal(100), "from_day": TODAY - A_DAY, "until_day": None, "user": made[Role.SALES]}
        for kind in quotas.KINDS:
            quotas.add(conn, ada, kind=kind, **given)

    def bring(day: date, level: int) -> None:
        said = {"credits": Decimal(10), "storage_gb": Decimal(level)}
        with db.transaction() as conn:
            record(conn, made, Usage(ada, day, **said))
            time.sleep(0.1)  # the other one comes before this is committed

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bring, [TODAY, TODAY - A_DAY], [7, 8]))
    with db.transaction() as conn:
        assert {quota.kind: quota.used for quota in quotas.quotas_of(conn, ada)} == {"credits": 20, "storage": 7}


# ---------------------------------------------------------------------------------- reading


@pytest.mark.row("D5")
def test_the_summary_says_the_latest_of_each(conn: Connection, people: People, ada: int) -> None:
    assert usage.summary(conn, ada, today=TODAY) is None
    record(
        conn,
        people,
        Usage(ada, TODAY - 40 * A_DAY, storage_gb=Decimal(80), backups_ok=100, backups_failed=100),
        Usage(ada, TODAY - 31 * A_DAY, storage_gb=Decimal(90)),
        Usage(ada, TODAY - 30 * A_DAY, credits=Decimal(50)),
        Usage(ada, TODAY - 29 * A_DAY, credits=Decimal(7), backups_ok=10, backups_failed=1),
        Usage(ada, TODAY - A_DAY, users=8, storage_gb=Decimal(100), cloud_status="Degraded"),
        Usage(ada, TODAY, backups_ok=9, credits=Decimal("0.5")),
        # Not yet: what lies ahead is not known today.
        Usage(ada, TODAY + A_DAY, users=99, storage_gb=Decimal(999), cloud_status="Down"),
    )
    known = usage.summary(conn, ada, today=TODAY)
    assert known is not None
    assert (known.first_day, known.last_day) == (TODAY - 40 * A_DAY, TODAY)
    assert (known.users, known.users_on) == (8, TODAY - A_DAY)
    assert (known.storage_gb, known.storage_on, known.growth) == (100, TODAY - A_DAY, 10)
    assert (known.cloud_status, known.cloud_status_on) == ("Degraded", TODAY - A_DAY)
    assert (known.credits, known.backups_ok, known.backups_failed) == (Decimal("7.5"), 19, 1)
    assert known.backup_rate == Decimal("0.95")
    assert known.imported_at is None


def test_what_nobody_said_is_not_known(conn: Connection, people: People, ada: int) -> None:
    record(conn, people, Usage(ada, TODAY, users=0))
    known = usage.summary(conn, ada, today=TODAY)
    assert known is not None and known.users == 0
    assert (known.storage_gb, known.growth, known.credits, known.backup_rate) == (None, None, None, None)
    assert known.cloud_status is None


@pytest.mark.row("D5")
def test_the_last_import_is_named(conn: Connection, people: People, ada: int) -> None:
    import_id = conn.scalar(
        text("""INSERT INTO imports (kind, file_name, file_sha256, state, applied_at)
                VALUES ('usage', 'june.csv', sha256('x'), 'applied', '2026-06-15T08:00Z') RETURNING id""")
    )
    record(conn, people, full(ada), import_id=import_id)
    known = usage.summary(conn, ada, today=TODAY)
    assert known is not None and known.imported_file == "june.csv" and known.imported_at is not None


@pytest.mark.row("D3")
def test_days_and_months_over_time(conn: Connection, people: People, ada: int) -> None:
    record(
        conn,
        people,
        full(ada, date(2026, 5, 30), storage_gb=Decimal(10), users=3),
        Usage(ada, date(2026, 5, 31), credits=Decimal(1), backups_failed=2),
        full(ada, date(2026, 6, 2), storage_gb=Decimal(20)),
    )
    may = {"first_day": date(2026, 5, 1), "last_day": date(2026, 5, 31)}
    assert [point.day for point in usage.by_day(conn, ada, **may)] == [date(2026, 5, 30), date(2026, 5, 31)]
    months = usage.by_month(conn, ada, first_day=date(2026, 1, 1), last_day=TODAY)
    assert [
        (one.day, one.users, one.storage_gb, one.credits, one.backups_ok, one.backups_failed) for one in months
    ] == [
        (date(2026, 5, 1), 3, 10, Decimal("4.5"), 9, 3),
        (date(2026, 6, 1), 5, 20, Decimal("3.5"), 9, 1),
    ]
    assert usage.by_day(conn, ada, first_day=date(2025, 1, 1), last_day=date(2025, 12, 31)) == []
