"""Quotas: one of a kind at a time, kept equal to the usage, and what they and licences warn of."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import audit, customer_lists, customers, quota_warnings, quotas, usage
from lib.auth import Role
from lib.customer_filters import Filters
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.usage import Usage
from tests import ledgers
from tests.ledgers import People

TODAY = date(2026, 6, 15)
JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
MISSING = 4_000_000
A_DAY = timedelta(days=1)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def ada(conn: Connection, people: People) -> int:
    return ledgers.customer(conn, people)


def add(conn: Connection, people: People, customer_id: int, *, role: Role = Role.SALES, **given: Any) -> int:
    """A quota of 1,000 credits from June on, unless told."""
    options = {"kind": "credits", "amount": Decimal(1000), "from_day": JUNE, "until_day": None} | given
    return quotas.add(conn, customer_id, user=people[role], **options)


def only(conn: Connection, customer_id: int) -> quotas.Quota:
    [found] = quotas.quotas_of(conn, customer_id)
    return found


def use(conn: Connection, people: People, customer_id: int, day: date, **said: Any) -> None:
    usage.record(conn, [Usage(customer_id, day, **said)], import_id=None, user=people[Role.SALES])


def warned(conn: Connection, customer_id: int, today: date = TODAY) -> list[tuple[str, str]]:
    return [(one.about, one.level) for one in quota_warnings.warnings_of(conn, customer_id, today=today)]


# ---------------------------------------------------------------------------------- adding, editing, ending


@pytest.mark.row("D2")
def test_a_quota_has_an_amount_and_its_days(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada, until_day=date(2027, 5, 31))
    quota = only(conn, ada)
    assert (quota.kind, quota.amount, quota.from_day, quota.until_day) == ("credits", 1000, JUNE, date(2027, 5, 31))
    assert (quota.used, quota.share, quota.recorded_by) == (0, 0, "Samuel")
    assert quota.holds_on(JUNE) and quota.holds_on(date(2027, 5, 31)) and not quota.holds_on(date(2027, 6, 1))
    entry = audit.entries(conn, customer_id=ada)[0][0]
    assert (entry.action, entry.object_type, entry.person) == ("add", "quota", "Samuel")
    assert entry.changes["kind"] == [None, "Credits"] and entry.changes["amount"] == [None, "1000"]


@pytest.mark.row("D2")
@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 5, 1), JUNE),
        (date(2026, 6, 30), None),
        (date(2026, 6, 10), date(2026, 6, 20)),
        (date(2026, 5, 1), None),
    ],
)
def test_two_quotas_of_a_kind_never_hold_at_once(
    conn: Connection, people: People, ada: int, first: date, last: date | None
) -> None:
    add(conn, people, ada, until_day=date(2026, 6, 30))
    with pytest.raises(Conflict, match="A quota of credits already holds"), conn.begin_nested():
        add(conn, people, ada, from_day=first, until_day=last)
    add(conn, people, ada, kind="storage", from_day=first, until_day=last)
    add(conn, people, ada, from_day=JULY)
    assert [quota.kind for quota in quotas.held_on(quotas.quotas_of(conn, ada), JULY).values()] in (
        ["credits"],
        ["credits", "storage"],
    )


def test_quotas_of_two_customers_have_nothing_to_do_with_each_other(conn: Connection, people: People, ada: int) -> None:
    other = ledgers.customer(conn, people, "Berta AG")
    add(conn, people, ada)
    add(conn, people, other)
    use(conn, people, other, TODAY, credits=Decimal(5))
    assert (only(conn, ada).used, only(conn, other).used) == (0, 5)


def test_a_double_click_adds_one_quota(conn: Connection, people: People, ada: int) -> None:
    key = uuid4()
    add(conn, people, ada, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        add(conn, people, ada, request_key=key)
    assert only(conn, ada)


@pytest.mark.row("D2")
def test_a_quota_is_corrected(conn: Connection, people: People, ada: int) -> None:
    quota_id = add(conn, people, ada)
    use(conn, people, ada, JUNE, credits=Decimal(30))
    use(conn, people, ada, TODAY, credits=Decimal(12))
    changes = {"amount": Decimal("99.5"), "from_day": TODAY, "until_day": JULY}
    quotas.edit(conn, quota_id, version=1, user=people[Role.FINANCE], **changes)
    quota = only(conn, ada)
    assert (quota.amount, quota.used, quota.version) == (Decimal("99.5"), 12, 2)
    entry = audit.entries(conn, customer_id=ada)[0][0]
    assert entry.action == "edit" and entry.changes["until_day"] == [None, "2026-07-01"]
    # What changes nothing is no change.
    quotas.edit(conn, quota_id, version=2, user=people[Role.FINANCE], **changes)
    assert only(conn, ada).version == 2


def test_a_quota_is_not_moved_onto_another(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada, until_day=date(2026, 6, 30))
    later = add(conn, people, ada, from_day=JULY)
    with pytest.raises(Conflict, match="already holds"), conn.begin_nested():
        quotas.edit(conn, later, version=1, amount=Decimal(1), from_day=TODAY, until_day=None, user=people[Role.SALES])
    assert [quota.from_day for quota in quotas.quotas_of(conn, ada)] == [JULY, JUNE]


@pytest.mark.row("D2")
def test_a_quota_is_ended(conn: Connection, people: People, ada: int) -> None:
    quota_id = add(conn, people, ada)
    quotas.end(conn, quota_id, version=1, until_day=TODAY, user=people[Role.SALES])
    assert only(conn, ada).until_day == TODAY
    with pytest.raises(Invalid, match="ends on 15 Jun 2026 already") as refused:
        quotas.end(conn, quota_id, version=2, until_day=JULY, user=people[Role.SALES])
    assert refused.value.field == "until_day"
    # Another one may follow on the day after.
    add(conn, people, ada, from_day=TODAY + A_DAY)


@pytest.mark.parametrize("last", [None, JUNE - A_DAY, date(1999, 1, 1), date(2999, 1, 1)])
def test_an_end_needs_a_sensible_day(conn: Connection, people: People, ada: int, last: date | None) -> None:
    quota_id = add(conn, people, ada)
    with pytest.raises(Invalid) as refused:
        quotas.end(conn, quota_id, version=1, until_day=last, user=people[Role.SALES])
    assert refused.value.field == "until_day"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "users"),
        ("kind", ""),
        ("kind", "\x00"),
        ("kind", "x" * 10_000),
        ("amount", Decimal(0)),
        ("amount", Decimal(-1)),
        ("amount", Decimal("0.005")),
        ("amount", Decimal("1E+30")),
        ("amount", Decimal("NaN")),
        ("amount", Decimal("Infinity")),
        ("from_day", None),
        ("from_day", date(1, 1, 1)),
        ("from_day", date(9999, 12, 31)),
        ("until_day", date(2026, 5, 31)),
        ("until_day", date(9999, 12, 31)),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(
    conn: Connection, people: People, ada: int, field: str, value: Any
) -> None:
    with pytest.raises(Invalid) as refused:
        add(conn, people, ada, **{field: value})
    assert refused.value.field == field
    assert quotas.quotas_of(conn, ada) == []


# ---------------------------------------------------------------------------------- who may, and what exists

WRITES: dict[str, Callable[..., Any]] = {
    "edit": lambda conn, id_, user, version=1: quotas.edit(
        conn, id_, version=version, amount=Decimal(5), from_day=JUNE, until_day=None, user=user
    ),
    "end": lambda conn, id_, user, version=1: quotas.end(conn, id_, version=version, until_day=TODAY, user=user),
}


def test_a_viewer_changes_nothing(conn: Connection, people: People, ada: int) -> None:
    quota_id = add(conn, people, ada)
    with pytest.raises(NotAllowed):
        add(conn, people, ada, kind="storage", role=Role.VIEWER)
    for write in WRITES.values():
        with pytest.raises(NotAllowed):
            write(conn, quota_id, people[Role.VIEWER])


def test_what_is_not_there(conn: Connection, people: People) -> None:
    with pytest.raises(NotFound):
        add(conn, people, MISSING)
    for write in WRITES.values():
        with pytest.raises(NotFound):
            write(conn, MISSING, people[Role.SALES])


@pytest.mark.parametrize("name", list(WRITES))
def test_a_stale_form_loses(conn: Connection, people: People, ada: int, name: str) -> None:
    quota_id = add(conn, people, ada)
    WRITES["edit"](conn, quota_id, people[Role.SALES])
    with pytest.raises(Conflict, match="Somebody changed this quota meanwhile"):
        WRITES[name](conn, quota_id, people[Role.FINANCE])
    # Usage that comes in makes no form stale.
    use(conn, people, ada, TODAY, credits=Decimal(1))
    WRITES[name](conn, quota_id, people[Role.FINANCE], version=2)


def test_a_customer_marked_for_deletion_keeps_the_quotas_it_has(conn: Connection, people: People, ada: int) -> None:
    quota_id = add(conn, people, ada)
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now() WHERE id = :id"), {"id": ada})
    with pytest.raises(Conflict, match="marked for deletion"):
        add(conn, people, ada, kind="storage")
    for write in WRITES.values():
        with pytest.raises(Conflict, match="marked for deletion"):
            write(conn, quota_id, people[Role.SALES])


# ---------------------------------------------------------------------------------- what is used


@pytest.mark.row("D3")
def test_credits_are_the_sum_since_the_quotas_first_day(conn: Connection, people: People, ada: int) -> None:
    use(conn, people, ada, JUNE - A_DAY, credits=Decimal(500))
    use(conn, people, ada, JUNE, credits=Decimal("10.5"))
    add(conn, people, ada, until_day=date(2026, 6, 30))
    assert only(conn, ada).used == Decimal("10.5")
    use(conn, people, ada, TODAY, credits=Decimal(20))
    use(conn, people, ada, JULY, credits=Decimal(700))
    assert only(conn, ada).used == Decimal("30.5")
    # Said anew: a correction counts once.
    use(conn, people, ada, TODAY, credits=Decimal(2))
    use(conn, people, ada, TODAY, storage_gb=Decimal(9))
    assert only(conn, ada).used == Decimal("12.5")


@pytest.mark.row("D3")
def test_storage_is_the_latest_level_that_is_known(conn: Connection, people: People, ada: int) -> None:
    use(conn, people, ada, JUNE - A_DAY, storage_gb=Decimal(40))
    add(conn, people, ada, kind="storage", amount=Decimal(100), until_day=date(2026, 6, 30))
    assert only(conn, ada).used == 40
    use(conn, people, ada, TODAY, storage_gb=Decimal(60))
    use(conn, people, ada, TODAY - A_DAY, storage_gb=Decimal(99))
    use(conn, people, ada, TODAY + A_DAY, credits=Decimal(3))
    assert only(conn, ada).used == 60
    # After its end it stays as it was then.
    use(conn, people, ada, JULY, storage_gb=Decimal(95))
    assert only(conn, ada).used == 60


def test_what_is_forgotten_is_not_used(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada)
    add(conn, people, ada, kind="storage")
    use(conn, people, ada, TODAY, credits=Decimal(7), storage_gb=Decimal(8))
    assert [quota.used for quota in quotas.quotas_of(conn, ada)] == [7, 8]
    assert usage.forget(conn, ada) == 1
    assert [quota.used for quota in quotas.quotas_of(conn, ada)] == [0, 0]
    assert usage.forget(conn, ada) == 0


# ---------------------------------------------------------------------------------- warnings


@pytest.mark.row("D3")
@pytest.mark.parametrize(
    ("used", "level"),
    [("799.999", None), ("800", "near"), ("999.999", "near"), ("1000", "reached"), ("1500", "reached")],
)
@pytest.mark.parametrize("kind", list(quotas.KINDS))
def test_a_quota_warns_from_80_and_from_100_percent(
    conn: Connection, people: People, ada: int, kind: str, used: str, level: str | None
) -> None:
    add(conn, people, ada, kind=kind)
    said = {"credits": "credits", "storage": "storage_gb"}[kind]
    use(conn, people, ada, TODAY, **{said: Decimal(used)})
    assert warned(conn, ada) == ([(kind, level)] if level else [])


def test_a_quota_that_does_not_hold_today_does_not_warn_of_its_use(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada, amount=Decimal(1), until_day=date(2026, 6, 2))
    add(conn, people, ada, amount=Decimal(1), from_day=JULY)
    for day in (JUNE, JULY):
        use(conn, people, ada, day, credits=Decimal(5))
    assert ("credits", "reached") not in warned(conn, ada)
    assert ("credits", "reached") in warned(conn, ada, JULY)


@pytest.mark.row("D3")
@pytest.mark.parametrize(
    ("days", "level"), [(31, None), (30, "ending"), (0, "ending"), (-1, "ended"), (-30, "ended"), (-31, None)]
)
def test_a_quota_warns_for_30_days_before_its_end_and_after(
    conn: Connection, people: People, ada: int, days: int, level: str | None
) -> None:
    add(conn, people, ada, from_day=date(2026, 1, 1), until_day=TODAY + timedelta(days))
    assert warned(conn, ada) == ([("credits", level)] if level else [])


def test_a_quota_that_is_followed_by_another_warns_of_no_end(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada, until_day=TODAY)
    follower = add(conn, people, ada, from_day=TODAY + A_DAY)
    assert warned(conn, ada) == warned(conn, ada, TODAY + A_DAY) == []
    # With a gap between them there is an end.
    quotas.edit(
        conn, follower, version=1, amount=Decimal(5), from_day=TODAY + 3 * A_DAY, until_day=None,
        user=people[Role.SALES],
    )  # fmt: skip
    assert warned(conn, ada) == [("credits", "ending")]
    assert warned(conn, ada, TODAY + A_DAY) == [("credits", "ended")]
    assert warned(conn, ada, TODAY + 3 * A_DAY) == []


@pytest.mark.row("D2", "D3")
@pytest.mark.parametrize(("days", "level"), [(31, None), (30, "ending"), (0, "ending"), (-1, "ended"), (-400, "ended")])
def test_a_licence_warns_from_30_days_before_and_ends_nothing(
    conn: Connection, people: People, ada: int, days: int, level: str | None
) -> None:
    changes = {"licence_expires_on": TODAY + timedelta(days)}
    customers.edit(conn, ada, version=1, changes=changes, today=TODAY, user=people[Role.SALES])
    assert warned(conn, ada) == ([("licence", level)] if level else [])
    after = customers.customer(conn, ada)
    assert after.active and after.ends_on is None


def test_the_worst_warning_comes_first(conn: Connection, people: People, ada: int) -> None:
    add(conn, people, ada, amount=Decimal(10), until_day=TODAY)
    add(conn, people, ada, amount=Decimal(10), kind="storage")
    use(conn, people, ada, TODAY, credits=Decimal(9), storage_gb=Decimal(10))
    assert warned(conn, ada) == [("storage", "reached"), ("credits", "near"), ("credits", "ending")]


@pytest.mark.row("D3", "G13")
def test_the_list_is_filtered_by_what_it_warns_of(conn: Connection, people: People, ada: int) -> None:
    names = {"near": "Berta AG", "reached": "Cora KG", "ending": "Dora GmbH", "ended": "Emil OHG"}
    ids = {level: ledgers.customer(conn, people, name) for level, name in names.items()}
    for level, used in (("near", 80), ("reached", 100)):
        add(conn, people, ids[level], amount=Decimal(100))
        use(conn, people, ids[level], TODAY, credits=Decimal(used))
    add(conn, people, ids["ending"], until_day=TODAY)
    licence = {"licence_expires_on": TODAY - A_DAY}
    customers.edit(conn, ids["ended"], version=1, changes=licence, today=TODAY, user=people[Role.SALES])

    def listed(*levels: str, search: str = "") -> list[str]:
        filters = Filters("billed", search, quota_warnings=levels)
        return [row.name for row in customer_lists.listing(conn, filters, today=TODAY).rows]

    assert {level: listed(level) for level in quota_warnings.LEVELS} == {level: [names[level]] for level in names}
    assert listed("near", "ended") == ["Berta AG", "Emil OHG"]
    assert listed("near", "reached", search="cora") == ["Cora KG"]
    assert listed("unknown", "x\x00") == []
    assert len(listed()) == 5
