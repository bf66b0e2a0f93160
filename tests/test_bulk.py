"""One change for several customers: as if each were changed alone, and no surprise before it runs."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import audit, bulk, charges, customer_verbs, customers, lifecycles
from lib.auth import Role
from lib.bulk import Change, Kind
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 16)
END = date(2026, 9, 30)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def three(conn: Connection, people: People) -> list[int]:
    """Ada, Berta and Cleo, each with a module at 30.00."""
    module = ledgers.product(conn, people, "module", price="30")
    made = [ledgers.customer(conn, people, name) for name in ("Ada", "Berta", "Cleo")]
    for customer_id in made:
        ledgers.book(conn, people, customer_id, module, 1, JUNE)
    charges.ensure_rated(conn, JUNE)
    return made


def apply(
    conn: Connection, people: People, ids: list[int], kind: Kind, value: Any, role: Role = Role.SALES
) -> bulk.Plan:
    return bulk.apply(conn, ids, Change(kind, value), today=TODAY, user=people[role])


def names(chosen: list[customers.Customer]) -> list[str]:
    return [customer.name for customer in chosen]


def june(conn: Connection, customer_id: int) -> Decimal | None:
    amount: Decimal | None = conn.scalar(
        text("SELECT amount FROM charges WHERE month = :month AND customer_id = :id"),
        {"month": JUNE, "id": customer_id},
    )
    return amount


def test_the_plan_says_what_happens_and_writes_nothing(conn: Connection, people: People, three: list[int]) -> None:
    apply(conn, people, three[:1], Kind.PAYMENT_METHOD, "card")
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now() WHERE id = :id"), {"id": three[2]})
    before = conn.execute(text("SELECT * FROM customers ORDER BY id")).all()
    found = bulk.plan(conn, three, Change(Kind.PAYMENT_METHOD, "card"))
    assert (names(found.changes), names(found.unchanged)) == (["Berta"], ["Ada"])
    assert [(one.customer.name, "marked for deletion" in one.why) for one in found.refused] == [("Cleo", True)]
    assert conn.execute(text("SELECT * FROM customers ORDER BY id")).all() == before
    done = apply(conn, people, three, Kind.PAYMENT_METHOD, "card")
    assert names(done.changes) == ["Berta"]
    methods = conn.scalars(text("SELECT payment_method FROM customers ORDER BY id")).all()
    assert methods == ["card", "card", "bank_transfer"]


def test_service_mode_and_tags(conn: Connection, people: People, three: list[int]) -> None:
    apply(conn, people, three, Kind.SERVICE_MODE, "self_service")
    apply(conn, people, three[:2], Kind.ADD_TAG, " Key account ")
    assert names(apply(conn, people, three, Kind.ADD_TAG, "Key account").unchanged) == ["Ada", "Berta"]
    apply(conn, people, three[1:], Kind.REMOVE_TAG, "Key account")
    found = [customers.customer(conn, one) for one in three]
    assert [one.tags for one in found] == [["Key account"], [], []]
    assert {one.service_mode for one in found} == {"self_service"}
    again = apply(conn, people, three[:1], Kind.SERVICE_MODE, "managed")
    assert names(again.changes) == ["Ada"]
    modes = [entry for entry in audit.entries(conn, customer_id=three[0])[0] if "service_mode" in entry.changes]
    assert [(entry.action, entry.changes["service_mode"]) for entry in modes[:2]] == [
        ("convert to managed", ["Self-service", "Managed service"]),
        ("hand over to self-service", ["Managed service", "Self-service"]),
    ]


def test_an_end_date_is_charged_as_if_set_alone(conn: Connection, people: People, three: list[int]) -> None:
    alone, together = three[0], three[1:]
    middle = date(2026, 6, 15)
    customer_verbs.set_end_date(conn, alone, ends_on=middle, today=TODAY, user=people[Role.SALES])
    apply(conn, people, together, Kind.END_DATE, middle)
    assert [june(conn, one) for one in three] == [Decimal("15.00")] * 3
    # Who had ended is charged again from today, not for the days between; others as before.
    customer_verbs.set_end_date(conn, alone, ends_on=END, today=date(2026, 6, 21), user=people[Role.SALES])
    bulk.apply(conn, together, Change(Kind.END_DATE, END), today=date(2026, 6, 21), user=people[Role.SALES])
    assert [june(conn, one) for one in three] == [Decimal("25.00")] * 3
    histories = [
        conn.execute(
            text("SELECT effective_on, billed, active, ends_on FROM lifecycle WHERE customer_id = :id ORDER BY id"),
            {"id": one},
        ).all()
        for one in three
    ]
    assert histories[0] == histories[1] == histories[2]


def test_who_may_end_on_a_day_and_who_not(conn: Connection, people: People, three: list[int]) -> None:
    test = ledgers.customer(conn, people, "Dora", billed=False, ends_on=date(2026, 6, 29))
    found = bulk.plan(conn, [*three, test], Change(Kind.END_DATE, None))
    assert names(found.unchanged) == ["Ada", "Berta", "Cleo"]
    assert [one.why for one in found.refused] == ["A test needs an end date."]
    found = bulk.plan(conn, [*three, test], Change(Kind.END_DATE, date(2026, 5, 31)))
    assert len(found.refused) == 4 and not found.changes


def test_deactivating_several(conn: Connection, people: People, three: list[int]) -> None:
    customer_verbs.deactivate(conn, three[0], today=TODAY, user=people[Role.SALES])
    done = apply(conn, people, three, Kind.DEACTIVATE, "Moved away")
    assert (names(done.changes), names(done.unchanged)) == (["Berta", "Cleo"], ["Ada"])
    assert [june(conn, one) for one in three] == [Decimal("15.00")] * 3
    assert customers.customer(conn, three[1]).deactivation_reason == "Moved away"


def test_each_has_its_entry_in_the_log(conn: Connection, people: People, three: list[int]) -> None:
    apply(conn, people, three, Kind.END_DATE, END)
    entries, _ = audit.entries(conn, object_type="customer", customer_id=three[1])
    assert (entries[0].action, entries[0].person) == ("change end date", "Samuel")
    assert entries[0].changes == {"ends_on": [None, "2026-09-30"]}


def test_who_may_and_a_double_click(conn: Connection, people: People, three: list[int]) -> None:
    for kind, value in ((Kind.ADD_TAG, "x1"), (Kind.DEACTIVATE, "")):
        with pytest.raises(NotAllowed):
            apply(conn, people, three, kind, value, Role.VIEWER)
    key = uuid4()
    change = Change(Kind.ADD_TAG, "Once")
    bulk.apply(conn, three, change, today=TODAY, user=people[Role.SALES], request_key=key)
    with pytest.raises(AlreadyDone):
        bulk.apply(conn, three, change, today=TODAY, user=people[Role.SALES], request_key=key)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.PAYMENT_METHOD, "cash"),
        (Kind.SERVICE_MODE, None),
        (Kind.ADD_TAG, ""),
        (Kind.ADD_TAG, "=cmd"),
        (Kind.ADD_TAG, "x" * 31),
        (Kind.REMOVE_TAG, "\x00"),
        (Kind.END_DATE, "tomorrow"),
        (Kind.END_DATE, date(2999, 1, 1)),
        (Kind.DEACTIVATE, "x" * 501),
    ],
)
def test_what_is_no_value(conn: Connection, people: People, three: list[int], kind: Kind, value: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        bulk.plan(conn, three, Change(kind, value))
    assert refusal.value.field == "value"


def test_how_many(conn: Connection, people: People) -> None:
    for ids in ([], list(range(bulk.MOST + 1))):
        with pytest.raises(Invalid):
            bulk.plan(conn, ids, Change(Kind.ADD_TAG, "Many"))
    assert bulk.plan(conn, [10**9], Change(Kind.ADD_TAG, "Many")) == bulk.Plan()


def test_before_the_company_is_set_up(conn: Connection) -> None:
    with pytest.raises(Conflict, match="not set"):
        bulk.plan(conn, [1], Change(Kind.ADD_TAG, "Early"))


def test_a_change_keeps_what_the_history_says_of_later_days(conn: Connection, people: People, three: list[int]) -> None:
    customer_verbs.deactivate(conn, three[0], today=date(2026, 6, 20), user=people[Role.SALES])
    lifecycles.change_from(conn, three[:2], TODAY, people[Role.SALES], ends_on=END)
    rows = conn.execute(
        text("SELECT effective_on, active, ends_on FROM lifecycle WHERE customer_id = :id ORDER BY id"),
        {"id": three[0]},
    ).all()
    assert [tuple(row) for row in rows[-2:]] == [(TODAY, True, END), (date(2026, 6, 20), False, END)]
