"""What a state offers is what `lib` accepts, and nothing else; locking; converting to managed; ends by date alone."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from lib import (
    adjustments,
    audit,
    billing,
    customer_lists,
    customer_states,
    customers,
    deletions,
    subscriptions,
    tables,
)
from lib.auth import PERMISSIONS as ROLES
from lib.auth import Permission, Role
from lib.customer_states import PERMISSIONS, Action
from lib.errors import AlreadyDone, Conflict, NotAllowed, NotFound
from tests import closes, ledgers
from tests.closes import JULY, JUNE, Company

TODAY = date(2026, 6, 20)
MISSING = 4_000_000


@pytest.fixture
def company(conn: Connection) -> Company:
    """A company whose first customer has a module beside its users."""
    made = closes.company(conn)
    module = ledgers.product(conn, made.people, "module", price="30")
    ledgers.book(conn, made.people, made.with_users, module, 1, JUNE)
    return made


# How each action is done to a customer as an admin, by the function that the page calls.
ACTIONS: dict[Action, Callable[[Connection, int, Company], Any]] = {
    Action.EDIT: lambda conn, id_, c: customers.edit(
        conn, id_, version=customers.customer(conn, id_).version, changes={"city": "Kiel"}, today=TODAY, user=c.admin
    ),
    Action.EDIT_LAST_INVOICE: lambda conn, id_, c: customers.edit_for_last_invoice(
        conn, id_, version=customers.customer(conn, id_).version, changes={"city": "Kiel"}, today=TODAY, user=c.admin
    ),
    Action.CHARGE: lambda conn, id_, c: adjustments.add(
        conn, id_, text="x", amount=closes.Decimal(5), month_meant=JUNE, reason="x", user=c.admin
    ),
    Action.SET_END: lambda conn, id_, c: customers.set_end_date(
        conn, id_, ends_on=date(2026, 9, 9), today=TODAY, user=c.admin
    ),
    Action.CONVERT: lambda conn, id_, c: customers.convert_to_billed(
        conn, id_, ends_on=None, today=TODAY, user=c.admin
    ),
    Action.MANAGE: lambda conn, id_, c: customers.convert_to_managed(conn, id_, user=c.admin),
    Action.LOCK: lambda conn, id_, c: customers.lock(conn, id_, user=c.admin),
    Action.UNLOCK: lambda conn, id_, c: customers.unlock(conn, id_, user=c.admin),
    Action.DEACTIVATE: lambda conn, id_, c: customers.deactivate(conn, id_, today=TODAY, user=c.admin),
    Action.ACTIVATE: lambda conn, id_, c: customers.activate(conn, id_, today=TODAY, user=c.admin),
    Action.CANCEL: lambda conn, id_, c: subscriptions.cancel(conn, id_, today=TODAY, user=c.admin),
    Action.RESUME: lambda conn, id_, c: subscriptions.take_back(conn, id_, today=TODAY, user=c.admin),
    Action.WITHDRAW: lambda conn, id_, c: (
        subscriptions.withdraw(
            conn, id_, subscriptions.booked(conn, id_, today=TODAY).withdrawable[0], today=TODAY, user=c.admin
        )
        if subscriptions.booked(conn, id_, today=TODAY).withdrawable
        else subscriptions.withdraw(conn, id_, None, today=TODAY, user=c.admin)
    ),
    Action.DELETE: lambda conn, id_, c: deletions.mark(conn, id_, today=TODAY, user=c.admin),
    Action.KEEP: lambda conn, id_, c: deletions.take_back(conn, id_, today=TODAY, user=c.admin),
}
# How a customer comes into each state, and what it offers there beside what is always there.
STATES: dict[str, tuple[list[Action], set[Action]]] = {
    "active": ([], {Action.LOCK, Action.DEACTIVATE, Action.CANCEL, Action.WITHDRAW}),
    "locked": ([Action.LOCK], {Action.UNLOCK, Action.DEACTIVATE, Action.CANCEL, Action.WITHDRAW}),
    "deactivated": ([Action.DEACTIVATE], {Action.LOCK, Action.ACTIVATE}),
    "cancelled": ([Action.CANCEL], {Action.LOCK, Action.DEACTIVATE, Action.RESUME, Action.WITHDRAW}),
    "withdrawn": ([Action.WITHDRAW], {Action.LOCK, Action.DEACTIVATE, Action.CANCEL}),
    "all at once": (
        [Action.CANCEL, Action.LOCK, Action.DEACTIVATE],
        {Action.UNLOCK, Action.ACTIVATE, Action.RESUME},
    ),
}
ALWAYS = {Action.EDIT, Action.CHARGE, Action.SET_END, Action.DELETE}


def offered(conn: Connection, customer_id: int) -> set[Action]:
    booked = subscriptions.booked(conn, customer_id, today=TODAY)
    return set(customer_states.offers(customers.customer(conn, customer_id), booked))


def accepted(conn: Connection, company: Company, customer_id: int) -> set[Action]:
    """The actions that lib does; each is undone."""
    done = set()
    for action, do in ACTIONS.items():
        attempt = conn.begin_nested()
        try:
            do(conn, customer_id, company)
            done.add(action)
        except Conflict:
            pass
        attempt.rollback()
    return done


@pytest.mark.row("G7", "G8", "N9", "N10", "S6")
@pytest.mark.parametrize("state", STATES)
def test_what_is_not_offered_is_refused(conn: Connection, company: Company, state: str) -> None:
    way, here = STATES[state]
    for action in way:
        ACTIONS[action](conn, company.with_users, company)
    assert offered(conn, company.with_users) == ALWAYS | here
    assert accepted(conn, company, company.with_users) == ALWAYS | here


@pytest.mark.row("G12", "N6")
def test_a_test_a_self_service_a_marked_an_erased_and_a_settled_customer(conn: Connection, company: Company) -> None:
    test = ledgers.customer(conn, company.people, "Test KG", billed=False, ends_on=date(2026, 7, 31))
    nothing_booked = {Action.EDIT, Action.SET_END, Action.LOCK, Action.DEACTIVATE, Action.DELETE}
    # It is asked by another check why a test is not charged.
    assert offered(conn, test) - {Action.CHARGE} == nothing_booked | {Action.CONVERT}
    assert accepted(conn, company, test) == nothing_booked | {Action.CONVERT}

    changes = {"service_mode": "self_service"}
    customers.edit(conn, company.with_ips, version=1, changes=changes, today=TODAY, user=company.admin)
    assert Action.MANAGE in offered(conn, company.with_ips) & accepted(conn, company, company.with_ips)

    deletions.mark(conn, company.with_ips, today=TODAY, user=company.admin)
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == {Action.KEEP, Action.CHARGE}
    conn.execute(text("UPDATE deletions SET due_at = now()"))
    assert deletions.erase_next(conn)
    left = {Action.CHARGE, Action.EDIT_LAST_INVOICE}
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == left
    customers.rewrite(conn, company.with_ips, settled_at=text("now()"))
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == set()


def test_each_verb_has_a_permission_of_its_own() -> None:
    assert set(PERMISSIONS) >= set(Action) - {Action.EDIT, Action.SET_END, Action.CONVERT, Action.MANAGE}
    verbs = [Action.LOCK, Action.DEACTIVATE, Action.CANCEL, Action.WITHDRAW, Action.DELETE]
    assert len({PERMISSIONS[verb] for verb in verbs}) == len(verbs)
    for role in (Role.SALES, Role.FINANCE, Role.ADMIN):
        assert {PERMISSIONS[verb] for verb in verbs} <= ROLES[role]
    assert ROLES[Role.VIEWER] == {Permission.READ}


def test_nothing_is_offered_that_lib_does_not_know() -> None:
    assert set(ACTIONS) == set(Action)


# ---------------------------------------------------------------------------------- locking


def portal_session(conn: Connection, customer_id: int) -> int:
    """Somebody of the customer is signed in to the portal."""
    values = {"customer_id": customer_id, "email": f"u{customer_id}@ada.example", "is_main": True}
    registered = {"registered_at": text("now()"), "password_hash": "x"}
    user_id = conn.execute(
        insert(tables.customer_users).values(values | registered).returning(tables.customer_users.c.id)
    ).scalar_one()
    row = {"token_hash": str(customer_id).encode(), "site": "portal", "customer_user_id": user_id}
    session_id: int = conn.execute(insert(tables.sessions).values(row).returning(tables.sessions.c.id)).scalar_one()
    return session_id


def is_open(conn: Connection, session_id: int) -> bool:
    return conn.scalar(text("SELECT ended_at IS NULL FROM sessions WHERE id = :id"), {"id": session_id}) is True


@pytest.mark.row("G7")
def test_a_locked_customers_users_are_out_at_once_and_its_subscription_runs_on(
    conn: Connection, company: Company
) -> None:
    billing.ensure_rated(conn, JUNE)
    theirs, others = portal_session(conn, company.with_users), portal_session(conn, company.with_ips)
    before = billing.lines(conn, months=[JUNE, JULY], customers=[company.with_users])
    customers.lock(conn, company.with_users, user=company.admin)
    assert (is_open(conn, theirs), is_open(conn, others)) == (False, True)
    assert billing.lines(conn, months=[JUNE, JULY], customers=[company.with_users]) == before
    assert customers.customer(conn, company.with_users).locked_at is not None
    assert customer_lists.status(conn, company.with_users, today=TODAY) == "locked"
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == ("lock", {"locked": [False, True], "sessions_ended": [None, 1]})


@pytest.mark.row("G7")
def test_unlocked_they_sign_in_anew(conn: Connection, company: Company) -> None:
    before = customers.customer(conn, company.with_users)
    session_id = portal_session(conn, company.with_users)
    customers.lock(conn, company.with_users, user=company.admin)
    with pytest.raises(AlreadyDone, match="already locked"):
        customers.lock(conn, company.with_users, user=company.admin)
    customers.unlock(conn, company.with_users, user=company.admin)
    with pytest.raises(AlreadyDone, match="is not locked"):
        customers.unlock(conn, company.with_users, user=company.admin)
    assert not is_open(conn, session_id)
    after = customers.customer(conn, company.with_users)
    assert vars(after) | {"version": 0} == vars(before) | {"version": 0}
    # A form that was opened before it was locked loses.
    assert after.version > before.version


@pytest.mark.parametrize("verb", [customers.lock, customers.unlock, customers.convert_to_managed])
def test_who_may_not_and_what_is_not_there(conn: Connection, company: Company, verb: Callable[..., Any]) -> None:
    with pytest.raises(NotAllowed):
        verb(conn, company.with_users, user=company.people[Role.VIEWER])
    with pytest.raises(NotFound):
        verb(conn, MISSING, user=company.admin)


# ---------------------------------------------------------------------------------- self-service to managed


def test_self_service_becomes_managed_once(conn: Connection, company: Company) -> None:
    changes = {"service_mode": "self_service"}
    customers.edit(conn, company.with_users, version=1, changes=changes, today=TODAY, user=company.admin)
    customers.convert_to_managed(conn, company.with_users, user=company.admin)
    assert customers.customer(conn, company.with_users).service_mode == "managed"
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == (
        "convert to managed", {"service_mode": ["Self-service", "Managed service"]},
    )  # fmt: skip
    with pytest.raises(AlreadyDone, match="already in managed service"):
        customers.convert_to_managed(conn, company.with_users, user=company.admin)


# ---------------------------------------------------------------------------------- ends by date alone


@pytest.mark.row("N3")
def test_an_end_date_needs_nothing_to_run(conn: Connection, company: Company) -> None:
    """Not a row is written after the end was entered: another day is another answer."""
    test = ledgers.customer(conn, company.people, "Test KG", billed=False, ends_on=date(2026, 7, 5))
    customers.set_end_date(conn, company.with_users, ends_on=date(2026, 7, 5), today=TODAY, user=company.admin)
    rows = text("SELECT (SELECT count(*) FROM lifecycle), (SELECT max(version) FROM customers)")
    before = conn.execute(rows).one()
    for customer_id in (company.with_users, test):
        said = [
            customer_lists.status(conn, customer_id, today=date(2026, 7, 5) + timedelta(days=days))
            for days in (-28, 0, 1, 100)
        ]
        assert said == ["ending", "ending", "ended", "ended"]
    charged = ledgers.amounts(conn, company.with_users, JULY)
    assert sum(amount for amount in charged.values() if amount) == closes.Decimal("49.84")
    assert ledgers.amounts(conn, company.with_users, date(2026, 8, 1)) == {}
    assert conn.execute(rows).one() == before
