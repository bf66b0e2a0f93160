"""What a state offers is what `lib` accepts, and nothing else; locking; converting to managed; ends by date alone."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert, text

from lib import (
    adjustments,
    audit,
    billing,
    bulk,
    charges,
    customer_fields,
    customer_offers,
    customer_states,
    customer_statuses,
    customer_users,
    customer_verbs,
    customers,
    deletions,
    invites,
    project_key_redemptions,
    project_key_stock,
    subscriptions,
    tables,
)
from lib.auth import PERMISSIONS as ROLES
from lib.auth import Permission, Role
from lib.customer_states import PERMISSIONS, Action
from lib.errors import AlreadyDone, Conflict, NotAllowed, NotFound
from lib.project_key_redemptions import Terms
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


def hand_over(conn: Connection, customer_id: int, company: Company) -> None:
    """By the bulk change, which names whom it can't change instead of refusing."""
    change = bulk.Change(bulk.Kind.SERVICE_MODE, "self_service")
    if not bulk.apply(conn, [customer_id], change, today=TODAY, user=company.admin).changes:
        raise Conflict("not changed")


def main_of(conn: Connection, customer_id: int) -> int:
    main = customer_users.main_user(conn, customer_id)
    return main.id if main else MISSING


def change_main(conn: Connection, customer_id: int, company: Company) -> None:
    """To a second user, who has registered."""
    main_of(conn, customer_id)
    other = next((one for one in customer_users.users_of(conn, customer_id) if not one.is_main), None)
    if other is None:
        raise NotFound("nobody")
    customer_users.make_main(conn, other.id, version=other.version, user=company.admin)


def redeem_key(conn: Connection, customer_id: int, company: Company) -> None:
    """A new project key, with more IPs than anybody has."""
    key = f"PRJ-{uuid4()}"
    project_key_stock.add(
        conn, key=key, ips=9_000, months=12, purchase_price=closes.Decimal(5), redeem_until=None, today=TODAY,
        user=company.admin,
    )  # fmt: skip
    terms = Terms(closes.Decimal(10), "monthly", 9_000, 0, True)
    project_key_redemptions.redeem(conn, customer_id, key, terms, today=TODAY, user=company.admin)


# How each action is done to a customer as an admin, by the function that the page calls.
ACTIONS: dict[Action, Callable[[Connection, int, Company], Any]] = {
    Action.EDIT: lambda conn, id_, c: customers.edit(
        conn, id_, version=customers.customer(conn, id_).version, changes={"phone": "1"}, today=TODAY, user=c.admin
    ),
    Action.EDIT_ADDRESS: lambda conn, id_, c: customers.edit(
        conn,
        id_,
        version=customers.customer(conn, id_).version,
        changes={"street": "Ring 1"},
        today=TODAY,
        user=c.admin,
    ),
    Action.EDIT_LAST_INVOICE: lambda conn, id_, c: customers.edit_for_last_invoice(
        conn, id_, version=customers.customer(conn, id_).version, changes={"city": "Kiel"}, today=TODAY, user=c.admin
    ),
    Action.CHARGE: lambda conn, id_, c: adjustments.add(
        conn, id_, text="x", amount=closes.Decimal(5), month_meant=JUNE, reason="x", user=c.admin
    ),
    Action.SET_END: lambda conn, id_, c: customer_verbs.set_end_date(
        conn, id_, ends_on=date(2026, 9, 9), today=TODAY, user=c.admin
    ),
    Action.CONVERT: lambda conn, id_, c: customer_verbs.convert_to_billed(
        conn, id_, ends_on=None, today=TODAY, user=c.admin
    ),
    Action.MANAGE: lambda conn, id_, c: customer_verbs.convert_to_managed(conn, id_, user=c.admin),
    Action.HAND_OVER: lambda conn, id_, c: hand_over(conn, id_, c),
    Action.REDEEM_KEY: redeem_key,
    Action.RESEND_INVITE: lambda conn, id_, c: invites.resend(conn, main_of(conn, id_), user=c.admin),
    Action.CHANGE_MAIN: lambda conn, id_, c: change_main(conn, id_, c),
    Action.LOCK: lambda conn, id_, c: customer_verbs.lock(conn, id_, user=c.admin),
    Action.UNLOCK: lambda conn, id_, c: customer_verbs.unlock(conn, id_, user=c.admin),
    Action.DEACTIVATE: lambda conn, id_, c: customer_verbs.deactivate(conn, id_, today=TODAY, user=c.admin),
    Action.ACTIVATE: lambda conn, id_, c: customer_verbs.activate(conn, id_, today=TODAY, user=c.admin),
    Action.CANCEL: lambda conn, id_, c: subscriptions.cancel(conn, id_, today=TODAY, user=c.admin),
    Action.RESUME: lambda conn, id_, c: subscriptions.take_back(conn, id_, today=TODAY, user=c.admin),
    Action.WITHDRAW: lambda conn, id_, c: (
        subscriptions.withdraw(
            conn, id_, subscriptions.booked(conn, id_, today=TODAY).withdrawable[0], today=TODAY, user=c.admin
        )
        if subscriptions.booked(conn, id_, today=TODAY).withdrawable
        else subscriptions.withdraw(conn, id_, None, today=TODAY, user=c.admin)
    ),
    Action.DELETE: lambda conn, id_, c: deletions.mark(conn, id_, typed=deletions.WORD, today=TODAY, user=c.admin),
    Action.KEEP: lambda conn, id_, c: deletions.take_back(conn, id_, today=TODAY, user=c.admin),
}
# How a customer comes into each state, and what it offers there beside what is always there.
STATES: dict[str, tuple[list[Action], set[Action]]] = {
    "active": ([], {Action.LOCK, Action.DEACTIVATE, Action.CANCEL, Action.WITHDRAW, Action.REDEEM_KEY}),
    "locked": ([Action.LOCK], {Action.UNLOCK, Action.DEACTIVATE, Action.CANCEL, Action.WITHDRAW, Action.REDEEM_KEY}),
    "by key": ([Action.REDEEM_KEY], {Action.LOCK, Action.DEACTIVATE, Action.WITHDRAW}),
    "deactivated": ([Action.DEACTIVATE], {Action.LOCK, Action.ACTIVATE}),
    "cancelled": ([Action.CANCEL], {Action.LOCK, Action.DEACTIVATE, Action.RESUME, Action.WITHDRAW}),
    "withdrawn": ([Action.WITHDRAW], {Action.LOCK, Action.DEACTIVATE, Action.CANCEL, Action.REDEEM_KEY}),
    "all at once": (
        [Action.CANCEL, Action.LOCK, Action.DEACTIVATE],
        {Action.UNLOCK, Action.ACTIVATE, Action.RESUME},
    ),
}
ALWAYS = {Action.EDIT, Action.EDIT_ADDRESS, Action.HAND_OVER, Action.CHARGE, Action.SET_END, Action.DELETE}


def offered(conn: Connection, customer_id: int) -> set[Action]:
    booked, main = subscriptions.booked(conn, customer_id, today=TODAY), customer_users.main_user(conn, customer_id)
    return set(customer_states.offers(customers.customer(conn, customer_id), booked, main.state if main else None))


def accepted(conn: Connection, company: Company, customer_id: int) -> set[Action]:
    """The actions that lib does; each is undone."""
    done = set()
    for action, do in ACTIONS.items():
        attempt = conn.begin_nested()
        try:
            do(conn, customer_id, company)
            done.add(action)
        except (Conflict, NotFound):
            pass
        attempt.rollback()
    return done


@pytest.mark.row("G7", "G8", "N9", "N10", "S6")
@pytest.mark.parametrize("state", STATES)
def test_what_is_not_offered_is_refused(conn: Connection, company: Company, state: str) -> None:
    way, here = STATES[state]
    for action in way:
        ACTIONS[action](conn, company.with_users, company)
    expected = (ALWAYS | here) - ({Action.HAND_OVER} if state == "by key" else set())
    assert offered(conn, company.with_users) == expected
    assert accepted(conn, company, company.with_users) == expected


@pytest.mark.row("G12", "N6")
def test_a_test_a_self_service_a_marked_an_erased_and_a_settled_customer(conn: Connection, company: Company) -> None:
    test = ledgers.customer(conn, company.people, "Test KG", billed=False, ends_on=date(2026, 7, 31))
    nothing_booked = ALWAYS - {Action.CHARGE} | {Action.LOCK, Action.DEACTIVATE}
    # It is asked by another check why a test is not charged.
    assert offered(conn, test) - {Action.CHARGE} == nothing_booked | {Action.CONVERT}
    assert accepted(conn, company, test) == nothing_booked | {Action.CONVERT}

    managed = offered(conn, company.with_ips)
    ledgers.serve_itself(conn, company.people, company.with_ips)
    own = managed - {Action.EDIT_ADDRESS, Action.HAND_OVER, Action.REDEEM_KEY} | {Action.MANAGE}
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == own

    deletions.mark(conn, company.with_ips, today=TODAY, user=company.admin)
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == {Action.KEEP, Action.CHARGE}
    conn.execute(text("UPDATE deletions SET due_at = now()"))
    assert deletions.erase_next(conn)
    left = {Action.CHARGE, Action.EDIT_LAST_INVOICE}
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == left
    customers.rewrite(conn, company.with_ips, settled_at=text("now()"))
    assert offered(conn, company.with_ips) == accepted(conn, company, company.with_ips) == set()


def test_each_verb_has_a_permission_of_its_own() -> None:
    data = {Action.EDIT, Action.EDIT_ADDRESS, Action.SET_END, Action.CONVERT, Action.MANAGE, Action.HAND_OVER}
    data |= {Action.RESEND_INVITE, Action.CHANGE_MAIN, Action.REDEEM_KEY}
    assert set(PERMISSIONS) >= set(Action) - data
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
    charges.ensure_rated(conn, JUNE)
    theirs, others = portal_session(conn, company.with_users), portal_session(conn, company.with_ips)
    before = billing.lines(conn, months=[JUNE, JULY], customers=[company.with_users])
    customer_verbs.lock(conn, company.with_users, user=company.admin)
    assert (is_open(conn, theirs), is_open(conn, others)) == (False, True)
    assert billing.lines(conn, months=[JUNE, JULY], customers=[company.with_users]) == before
    assert customers.customer(conn, company.with_users).locked_at is not None
    assert customer_statuses.status(conn, company.with_users, today=TODAY) == "locked"
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == ("lock", {"locked": [False, True], "sessions_ended": [None, 1]})


@pytest.mark.row("G7")
def test_unlocked_they_sign_in_anew(conn: Connection, company: Company) -> None:
    before = customers.customer(conn, company.with_users)
    session_id = portal_session(conn, company.with_users)
    customer_verbs.lock(conn, company.with_users, user=company.admin)
    with pytest.raises(AlreadyDone, match="already locked"):
        customer_verbs.lock(conn, company.with_users, user=company.admin)
    customer_verbs.unlock(conn, company.with_users, user=company.admin)
    with pytest.raises(AlreadyDone, match="is not locked"):
        customer_verbs.unlock(conn, company.with_users, user=company.admin)
    assert not is_open(conn, session_id)
    after = customers.customer(conn, company.with_users)
    assert vars(after) | {"version": 0} == vars(before) | {"version": 0}
    # A form that was opened before it was locked loses.
    assert after.version > before.version


@pytest.mark.parametrize("verb", [customer_verbs.lock, customer_verbs.unlock, customer_verbs.convert_to_managed])
def test_who_may_not_and_what_is_not_there(conn: Connection, company: Company, verb: Callable[..., Any]) -> None:
    with pytest.raises(NotAllowed):
        verb(conn, company.with_users, user=company.people[Role.VIEWER])
    with pytest.raises(NotFound):
        verb(conn, MISSING, user=company.admin)


# ---------------------------------------------------------------------------------- self-service to managed


@pytest.mark.row("G3")
def test_self_service_becomes_managed_once(conn: Connection, company: Company) -> None:
    ledgers.serve_itself(conn, company.people, company.with_users)
    customer_verbs.convert_to_managed(conn, company.with_users, user=company.admin)
    assert customers.customer(conn, company.with_users).service_mode == "managed"
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == (
        "convert to managed", {"service_mode": ["Self-service", "Managed service"]},
    )  # fmt: skip
    with pytest.raises(AlreadyDone, match="already in managed service"):
        customer_verbs.convert_to_managed(conn, company.with_users, user=company.admin)


@pytest.mark.row("G3", "G10")
@pytest.mark.parametrize("field", customer_fields.OF_MAIN_USER)
def test_a_self_service_customers_address_is_not_ours_to_edit(conn: Connection, company: Company, field: str) -> None:
    id_ = company.with_users
    values = {"country": "US", "separate_billing": False, "billing_country": "FR", "vat_id": "DE136695976"}
    typed = {field: values.get(field, "Other 1")} | ({"tax_number": "1"} if field == "country" else {})
    if field == "separate_billing":
        for name in ("billing_name", "billing_street", "billing_postcode", "billing_city"):
            customers.rewrite(conn, id_, **{name: "x"})
        customers.rewrite(conn, id_, separate_billing=True)

    def edit(**changes: Any) -> None:
        version = customers.customer(conn, id_).version
        customers.edit(conn, id_, version=version, changes=changes, today=TODAY, user=company.admin)

    ledgers.serve_itself(conn, company.people, id_)
    before = customers.customer(conn, id_)
    with pytest.raises(Conflict, match=r"its main user edits its address.*convert it to managed service first"):
        edit(**typed)
    # What is ours, and an address that says what is stored, are saved.
    edit(phone="+49 30 5", street=before.street, vat_id=before.vat_id)
    assert vars(customers.customer(conn, id_)) | {"version": 0} == vars(before) | {"phone": "+49 30 5", "version": 0}
    customer_verbs.convert_to_managed(conn, id_, user=company.admin)
    edit(**typed)
    assert getattr(customers.customer(conn, id_), field) == typed[field]


@pytest.mark.row("G3")
def test_the_service_mode_is_no_field_of_the_form(conn: Connection, company: Company) -> None:
    def edit(mode: str) -> None:
        version = customers.customer(conn, company.with_users).version
        changes = {"service_mode": mode}
        customers.edit(conn, company.with_users, version=version, changes=changes, today=TODAY, user=company.admin)

    edit("managed")
    with pytest.raises(Conflict, match="The service mode isn't edited"):
        edit("self_service")
    ledgers.serve_itself(conn, company.people, company.with_users)
    with pytest.raises(Conflict, match="Convert to managed service does the one"):
        edit("managed")


@pytest.mark.row("G3", "G11")
def test_an_invite_and_another_main_user_are_offered_as_the_people_are(conn: Connection, company: Company) -> None:
    id_, of_people = company.with_users, {Action.RESEND_INVITE, Action.CHANGE_MAIN}
    assert offered(conn, id_) & of_people == set()
    for email in ("ada@ada.example", "bea@ada.example"):
        invites.invite(conn, id_, email=email, user=company.admin)
    assert offered(conn, id_) & of_people == of_people
    # Nobody has registered, so nobody can become it; who has is not invited any more.
    assert accepted(conn, company, id_) & of_people == {Action.RESEND_INVITE}
    conn.execute(text("UPDATE customer_users SET password_hash = 'x', registered_at = now()"))
    assert offered(conn, id_) & of_people == accepted(conn, company, id_) & of_people == {Action.CHANGE_MAIN}
    assert customer_offers.of_several(conn, [id_, company.with_ips], today=TODAY) == {
        id_: offered(conn, id_) - {Action.CANCEL, Action.WITHDRAW},
        company.with_ips: offered(conn, company.with_ips) - {Action.CANCEL, Action.WITHDRAW},
    }


# ---------------------------------------------------------------------------------- ends by date alone


@pytest.mark.row("N3")
def test_an_end_date_needs_nothing_to_run(conn: Connection, company: Company) -> None:
    """Not a row is written after the end was entered: another day is another answer."""
    test = ledgers.customer(conn, company.people, "Test KG", billed=False, ends_on=date(2026, 7, 5))
    customer_verbs.set_end_date(conn, company.with_users, ends_on=date(2026, 7, 5), today=TODAY, user=company.admin)
    rows = text("SELECT (SELECT count(*) FROM lifecycle), (SELECT max(version) FROM customers)")
    before = conn.execute(rows).one()
    for customer_id in (company.with_users, test):
        said = [
            customer_statuses.status(conn, customer_id, today=date(2026, 7, 5) + timedelta(days=days))
            for days in (-28, 0, 1, 100)
        ]
        assert said == ["ending", "ending", "ended", "ended"]
    charged = ledgers.amounts(conn, company.with_users, JULY)
    assert sum(amount for amount in charged.values() if amount) == closes.Decimal("49.84")
    assert ledgers.amounts(conn, company.with_users, date(2026, 8, 1)) == {}
    assert conn.execute(rows).one() == before
