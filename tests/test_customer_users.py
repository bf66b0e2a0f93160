"""A customer's users: edited within limits, shut out, and one of them the main user."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    customer_users,
    db,
    invites,
    links,
    sessions,
)
from lib.auth import Role
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers, people
from tests.invited import PASSWORD, invite, mark, newest, one, registered, secret_of, version
from tests.ledgers import People

MISSING = 4_000_000


@pytest.fixture
def staff(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def customer(conn: Connection, staff: People) -> int:
    return ledgers.customer(conn, staff)


def signed_in(conn: Connection, user_id: int) -> None:
    conn.execute(
        text("INSERT INTO sessions (token_hash, customer_user_id, site) VALUES (:hash, :id, 'portal')"),
        {"hash": uuid4().bytes, "id": user_id},
    )


def open_sessions(conn: Connection, user_id: int) -> int:
    query = "SELECT count(*) FROM sessions WHERE customer_user_id = :id AND ended_at IS NULL"
    return conn.execute(text(query), {"id": user_id}).scalar_one()


# ---------------------------------------------------------------------------------- editing


@pytest.mark.row("S2")
def test_names_are_edited(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example", surname="Ahlbeck")
    changes = {"salutation": "Frau", "first_name": " Anke ", "surname": "Ahlbeck", "email": "anke@ada.example"}
    customer_users.edit(conn, user_id, version=version(conn, user_id), changes=changes, user=staff[Role.SALES])
    assert (one(conn, user_id).salutation, one(conn, user_id).first_name) == ("ms", "Anke")
    assert newest(conn).changes == {
        "user": [None, "anke@ada.example"], "salutation": ["", "Ms"], "first_name": ["", "Anke"],
    }  # fmt: skip
    # The link that was sent goes on working.
    assert invites.accept(conn, secret_of(conn, user_id), PASSWORD) == user_id


@pytest.mark.row("S2")
def test_a_changed_address_sends_nothing_and_voids_what_was_sent_to_the_old_one(
    conn: Connection, staff: People, customer: int
) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    secret = secret_of(conn, user_id)
    customer_users.edit(
        conn, user_id, version=version(conn, user_id), changes={"email": "Neu@ada.example"}, user=staff[Role.SALES]
    )
    assert (one(conn, user_id).email, one(conn, user_id).invite) == ("neu@ada.example", "none")
    assert conn.scalar(text("SELECT count(*) FROM mails")) == 1
    assert newest(conn).changes == {"email": ["anke@ada.example", "neu@ada.example"]}
    with pytest.raises(Conflict, match="does not work any more"):
        invites.accept(conn, secret, PASSWORD)


@pytest.mark.row("S2")
@pytest.mark.parametrize("field", ["is_main", "customer_id", "password_hash", "registered_at", "nothing"])
def test_nothing_else_is_edited(conn: Connection, staff: People, customer: int, field: str) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    with pytest.raises(Invalid, match="only salutation, first name, surname and e-mail"):
        customer_users.edit(conn, user_id, version=2, changes={field: True}, user=staff[Role.SALES])


def test_an_address_in_use_is_refused_at_its_field(conn: Connection, staff: People, customer: int) -> None:
    invite(conn, staff, customer, "one@ada.example")
    two = invite(conn, staff, customer, "two@ada.example")
    with pytest.raises(Invalid, match="already") as refused, conn.begin_nested():
        customer_users.edit(
            conn, two, version=version(conn, two), changes={"email": "One@ada.example"}, user=staff[Role.SALES]
        )
    assert refused.value.field == "email"


def test_a_stale_form_loses_and_a_double_click_does_not(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    seen = version(conn, user_id)
    for _ in range(2):
        customer_users.edit(conn, user_id, version=seen, changes={"surname": "Berg"}, user=staff[Role.SALES])
    assert version(conn, user_id) == seen + 1
    with pytest.raises(Conflict, match="Somebody changed this user"):
        customer_users.edit(conn, user_id, version=seen, changes={"surname": "Tal"}, user=staff[Role.ADMIN])
    for change in (customer_users.deactivate, customer_users.make_main):
        other = registered(conn, staff, customer, f"{change.__name__}@ada.example")
        with pytest.raises(Conflict, match="Somebody changed this user"):
            change(conn, other, version=1, user=staff[Role.SALES])
    customer_users.deactivate(conn, other, version=version(conn, other), user=staff[Role.SALES])
    with pytest.raises(Conflict, match="Somebody changed this user"):
        customer_users.activate(conn, other, version=1, user=staff[Role.SALES])


# ---------------------------------------------------------------------------------- shutting out, main user


@pytest.mark.row("G11")
def test_a_deactivated_user_is_signed_out_and_comes_back(conn: Connection, staff: People, customer: int) -> None:
    main, other = (registered(conn, staff, customer, f"{name}@ada.example") for name in ("main", "other"))
    signed_in(conn, main)
    signed_in(conn, other)
    links.create(conn, other, "password_reset")
    customer_users.deactivate(conn, other, version=version(conn, other), user=staff[Role.SALES])
    assert (one(conn, other).state, open_sessions(conn, other), open_sessions(conn, main)) == ("deactivated", 0, 1)
    assert conn.scalar(text("SELECT count(*) FROM user_links WHERE used_at IS NULL AND voided_at IS NULL")) == 0
    with pytest.raises(AlreadyDone):
        customer_users.deactivate(conn, other, version=version(conn, other), user=staff[Role.SALES])
    with pytest.raises(Conflict, match="is deactivated"):
        invites.resend(conn, other, user=staff[Role.SALES])
    customer_users.activate(conn, other, version=version(conn, other), user=staff[Role.SALES])
    assert one(conn, other).state == "active"
    with pytest.raises(AlreadyDone):
        customer_users.activate(conn, other, version=version(conn, other), user=staff[Role.SALES])
    assert [entry.action for entry in audit.entries(conn, object_type="customer user", limit=2)[0]] == [
        "activate", "deactivate",
    ]  # fmt: skip


@pytest.mark.row("G11")
def test_the_main_user_changes_to_an_active_one(conn: Connection, staff: People, customer: int) -> None:
    main, other = (registered(conn, staff, customer, f"{name}@ada.example") for name in ("main", "other"))
    with pytest.raises(Conflict, match=r"is the main user\. Make somebody else"):
        customer_users.deactivate(conn, main, version=version(conn, main), user=staff[Role.SALES])
    customer_users.make_main(conn, other, version=version(conn, other), user=staff[Role.SALES])
    assert (one(conn, main).is_main, one(conn, other).is_main) == (False, True)
    assert newest(conn).changes == {"main_user": ["main@ada.example", "other@ada.example"]}
    with pytest.raises(AlreadyDone):
        customer_users.make_main(conn, other, version=version(conn, other), user=staff[Role.SALES])
    customer_users.deactivate(conn, main, version=version(conn, main), user=staff[Role.SALES])


@pytest.mark.row("G11")
def test_only_an_active_user_becomes_the_main_user(conn: Connection, staff: People, customer: int) -> None:
    registered(conn, staff, customer, "main@ada.example")
    invited = invite(conn, staff, customer, "invited@ada.example")
    with pytest.raises(Conflict, match=r"has not accepted the invite yet\. Only an active user"):
        customer_users.make_main(conn, invited, version=version(conn, invited), user=staff[Role.SALES])
    customer_users.deactivate(conn, invited, version=version(conn, invited), user=staff[Role.SALES])
    with pytest.raises(Conflict, match=r"is deactivated\. Only an active user"):
        customer_users.make_main(conn, invited, version=version(conn, invited), user=staff[Role.SALES])


def test_two_who_change_the_main_user_at_once_leave_one(database: str) -> None:
    with db.transaction() as conn:
        staff = people.open_company(conn)
        customer = ledgers.customer(conn, staff)
        users = [registered(conn, staff, customer, f"{name}@ada.example") for name in ("main", "one", "two")]
        seen = {user_id: version(conn, user_id) for user_id in users}
    together = threading.Barrier(2)

    def attempt(user_id: int) -> None:
        with db.transaction() as own:
            together.wait()
            customer_users.make_main(own, user_id, version=seen[user_id], user=staff[Role.SALES])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, users[1:]))
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM customer_users WHERE is_main")) == 1


# ---------------------------------------------------------------------------------- who may, and what exists

WRITES: dict[str, Callable[..., Any]] = {
    "edit": lambda conn, id_, user: customer_users.edit(conn, id_, version=1, changes={"surname": "X"}, user=user),
    "resend": lambda conn, id_, user: invites.resend(conn, id_, user=user),
    "deactivate": lambda conn, id_, user: customer_users.deactivate(conn, id_, version=1, user=user),
    "activate": lambda conn, id_, user: customer_users.activate(conn, id_, version=1, user=user),
    "main": lambda conn, id_, user: customer_users.make_main(conn, id_, version=1, user=user),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_a_viewer_changes_nothing_and_a_missing_user_is_said(
    conn: Connection, staff: People, write: Callable[..., Any]
) -> None:
    with pytest.raises(NotAllowed):
        write(conn, MISSING, staff[Role.VIEWER])
    with pytest.raises(NotFound, match="This user does not exist"):
        write(conn, MISSING, staff[Role.SALES])


def test_a_viewer_invites_nobody_and_nobody_is_invited_to_nothing(
    conn: Connection, staff: People, customer: int
) -> None:
    viewer, sales = staff[Role.VIEWER], staff[Role.SALES]
    with pytest.raises(NotAllowed):
        invites.invite(conn, customer, email="a@ada.example", user=viewer)
    with pytest.raises(NotAllowed):
        invites.invite_contact(conn, customer, user=viewer)
    with pytest.raises(NotFound):
        invites.invite(conn, MISSING, email="a@ada.example", user=sales)
    with pytest.raises(NotFound):
        invites.invite_contact(conn, MISSING, user=sales)


@pytest.mark.parametrize("erased", [False, True])
def test_the_people_of_a_customer_that_is_deleted_stay_as_they_are(
    conn: Connection, staff: People, customer: int, erased: bool
) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    mark(conn, customer, erased=erased)
    for write in WRITES.values():
        with pytest.raises(Conflict, match="erased" if erased else "marked for deletion"):
            write(conn, user_id, staff[Role.SALES])
    with pytest.raises(Conflict):
        invite(conn, staff, customer, "other@ada.example")


# ---------------------------------------------------------------------------------- lists, erasure


@pytest.mark.row("S1")
def test_users_are_listed_and_searched(conn: Connection, staff: People, customer: int) -> None:
    registered(conn, staff, customer, "main@ada.example", first_name="Zoe", surname="Zander")
    invite(conn, staff, customer, "i@ada.example", first_name="Ida", surname="Ahlbeck")
    gone = registered(conn, staff, customer, "g@ada.example", surname="Aas")
    customer_users.deactivate(conn, gone, version=version(conn, gone), user=staff[Role.SALES])
    active = registered(conn, staff, customer, "a_b@ada.example", surname="Ähren")
    invite(conn, staff, ledgers.customer(conn, staff, "Berta AG"), "b@berta.example")
    names = [person.name for person in customer_users.users_of(conn, customer)]
    assert names == ["Zoe Zander", "Ähren", "Ida Ahlbeck", "Aas"]
    assert customer_users.count_of(conn, customer) == 4
    assert [p.name for p in customer_users.users_of(conn, customer, limit=2, offset=1)] == ["Ähren", "Ida Ahlbeck"]
    for search in ("ÄHREN", " a_b@ ", "ähren a_b"):
        assert [p.id for p in customer_users.users_of(conn, customer, search)] == [active], search
    for search in ("%", "berta", "\x00%", "x" * 10_000):
        assert customer_users.users_of(conn, customer, search) == []
        assert customer_users.count_of(conn, customer, search) == 0


def test_the_last_sign_in_is_shown(conn: Connection, staff: People, customer: int) -> None:
    user_id = registered(conn, staff, customer, "anke@ada.example")
    assert one(conn, user_id).last_seen_at is None
    signed_in(conn, user_id)
    assert one(conn, user_id).last_seen_at is not None


def test_an_erasure_leaves_nobody(conn: Connection, staff: People, customer: int) -> None:
    user_id = registered(conn, staff, customer, "anke@ada.example")
    signed_in(conn, user_id)
    invite(conn, staff, customer, "other@ada.example")
    assert customer_users.forget(conn, customer) == 2
    for table in ("customer_users", "user_links", "sessions"):
        assert conn.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    with pytest.raises(BillingError):
        customer_users.customer_user(conn, user_id)


def test_all_sessions_of_a_customers_users_end_at_once(conn: Connection, staff: People, customer: int) -> None:
    users = [registered(conn, staff, customer, f"{name}@ada.example") for name in ("one", "two")]
    elsewhere = registered(conn, staff, ledgers.customer(conn, staff, "Berta AG"), "b@berta.example")
    for user_id in (*users, elsewhere):
        signed_in(conn, user_id)
    assert sessions.end_portal(conn, customer) == 2
    assert open_sessions(conn, elsewhere) == 1
