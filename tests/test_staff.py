"""Accounts: who may change them, what a password must be, and that one admin always remains."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select, update

from lib import audit, db, passwords, sessions, staff
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.tables import staff as table
from tests import people
from tests.people import PASSWORD

NEW = "a-heron-in-june"


def account(conn: Connection, staff_id: int) -> staff.Account:
    return next(one for one in staff.accounts(conn) if one.id == staff_id)


def sign_in(conn: Connection, username: str, password: str) -> str | None:
    ticket = sessions.ticket(
        conn, sessions.claim(conn, username=username, address="test"), password=password, nonce="n"
    )
    return ticket and sessions.redeem(conn, ticket, nonce="n")


def test_the_first_admin_is_made_once(conn: Connection) -> None:
    first = staff.create_first_admin(conn, username=" Ada ", name="Ada", password=NEW, email="Ada@msp.example")
    assert account(conn, first.id).email == "ada@msp.example"
    assert (first.username, first.role, first.must_change_password) == ("ada", Role.ADMIN, False)
    with pytest.raises(Conflict, match="an admin already"):
        staff.create_first_admin(conn, username="bob", name="Bob", password=NEW)


def test_an_added_person_signs_in_and_must_change_the_password(conn: Connection, admin: User) -> None:
    added = staff.add(conn, user=admin, username="New.One", name="New One", role="sales", password=NEW)
    assert sign_in(conn, "NEW.ONE", NEW) is not None
    assert account(conn, added.id).must_change_password
    entries, _ = audit.entries(conn, object_type="staff")
    mine = next(entry for entry in entries if entry.action == "added")
    assert mine.person == "Adam"
    assert mine.changes == {"username": [None, "new.one"], "name": [None, "New One"], "role": [None, "sales"]}


def test_no_password_or_hash_reaches_the_audit_log(conn: Connection, admin: User, sales: User) -> None:
    staff.add(conn, user=admin, username="new", name="New", role="sales", password=NEW)
    staff.reset_password(conn, sales.id, user=admin, password=NEW, version=1)
    staff.change_own_password(conn, user=sales, current=NEW, new=PASSWORD, again=PASSWORD)
    entries, total = audit.entries(conn)
    assert total == 3
    assert "$2b$" not in str(entries) and NEW not in str(entries) and PASSWORD not in str(entries)


def test_a_double_click_adds_one_person(conn: Connection, admin: User) -> None:
    key = uuid4()
    staff.add(conn, user=admin, username="one", name="One", role="sales", password=NEW, request_key=key)
    with pytest.raises(Conflict, match="already saved"), conn.begin_nested():
        staff.add(conn, user=admin, username="one", name="One", role="sales", password=NEW, request_key=key)


def test_a_user_name_is_taken_once(conn: Connection, admin: User, sales: User) -> None:
    with pytest.raises(Conflict, match="taken"), conn.begin_nested():
        staff.add(conn, user=admin, username=sales.username.upper(), name="X", role="sales", password=NEW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "a"),
        ("username", "two words"),
        ("username", "x" * 65),
        ("username", "a\x00b"),
        ("username", "=cmd()"),
        ("username", "müller"),
        ("name", "  "),
        ("name", "x" * 10_000),
        ("name", "a\x00b"),
        ("name", "a\nb"),
        ("role", "owner"),
        ("role", ""),
        ("password", ""),
        ("password", "short-one"),
        ("password", "x" * 73),
        ("password", "ü" * 40),
        ("password", "Password123!"),
        ("password", "1234567890"),
        ("password", "0987654321"),
        ("password", "aaaaaaaaaabb"),
        ("password", "willkommen2026"),
        ("password", " padded-password "),
        ("password", "with\x00nul-byte"),
        ("password", "my-newone-word"),
    ],
)
def test_bad_input_gets_a_sentence_at_its_field(conn: Connection, admin: User, field: str, value: str) -> None:
    values = {"username": "newone", "name": "New One", "role": "sales", "password": NEW} | {field: value}
    with pytest.raises(Invalid) as refusal:
        staff.add(conn, user=admin, **values)
    assert refusal.value.field == field


def test_only_an_admin_manages_staff(conn: Connection, users: dict[Role, User]) -> None:
    target = users[Role.VIEWER].id
    for role in (Role.VIEWER, Role.SALES, Role.FINANCE):
        user = users[role]
        calls = (
            lambda user=user: staff.add(conn, user=user, username="n", name="N", role="admin", password=NEW),
            lambda user=user: staff.disable(conn, target, user=user, version=1),
            lambda user=user: staff.enable(conn, target, user=user, version=1),
            lambda user=user: staff.change_role(conn, target, user=user, role="admin", version=1),
            lambda user=user: staff.reset_password(conn, target, user=user, password=NEW, version=1),
            lambda user=user: staff.set_email(conn, target, user=user, email="x@msp.example", version=1),
            lambda user=user: staff.unlink(conn, target, user=user, version=1),
        )
        for call in calls:
            with pytest.raises(NotAllowed):
                call()


def test_disabling_shuts_out_and_enabling_lets_in(conn: Connection, admin: User, sales: User) -> None:
    token = sign_in(conn, "samuel", PASSWORD)
    staff.disable(conn, sales.id, user=admin, version=1)
    assert sessions.user_of(conn, token) is None
    assert sign_in(conn, "samuel", PASSWORD) is None
    with pytest.raises(Conflict, match="disabled already"):
        staff.disable(conn, sales.id, user=admin, version=2)
    staff.enable(conn, sales.id, user=admin, version=2)
    assert sessions.user_of(conn, token) is None, "an ended session stays ended"
    assert sign_in(conn, "samuel", PASSWORD) is not None


def test_a_new_role_ends_the_sessions_of_the_old(conn: Connection, admin: User, sales: User) -> None:
    token = sign_in(conn, "samuel", PASSWORD)
    staff.change_role(conn, sales.id, user=admin, role="viewer", version=1)
    assert sessions.user_of(conn, token) is None
    after = sessions.user_of(conn, sign_in(conn, "samuel", PASSWORD))
    assert after and after.role == Role.VIEWER


def test_a_reset_ends_sessions_and_asks_for_a_new_password(conn: Connection, admin: User, sales: User) -> None:
    token = sign_in(conn, "samuel", PASSWORD)
    staff.reset_password(conn, sales.id, user=admin, password=NEW, version=1)
    assert sessions.user_of(conn, token) is None
    assert sign_in(conn, "samuel", PASSWORD) is None
    after = sessions.user_of(conn, sign_in(conn, "samuel", NEW))
    assert after and after.must_change_password
    staff.change_own_password(conn, user=after, current=NEW, new=PASSWORD, again=PASSWORD)
    assert not account(conn, sales.id).must_change_password


def test_changing_ones_own_password_keeps_this_session_only(conn: Connection, sales: User) -> None:
    here, elsewhere = sign_in(conn, "samuel", PASSWORD), sign_in(conn, "samuel", PASSWORD)
    staff.change_own_password(conn, user=sales, current=PASSWORD, new=NEW, again=NEW, keep=here)
    assert sessions.user_of(conn, here) is not None
    assert sessions.user_of(conn, elsewhere) is None


@pytest.mark.parametrize(
    ("current", "new", "again", "field"),
    [
        ("wrong-password", NEW, NEW, "current"),
        ("", NEW, NEW, "current"),
        ("x" * 100, NEW, NEW, "current"),
        (PASSWORD, "short", "short", "new"),
        (PASSWORD, PASSWORD, PASSWORD, "new"),
        (PASSWORD, "samuel-and-more", "samuel-and-more", "new"),
        (PASSWORD, NEW, NEW + "x", "again"),
    ],
)
def test_a_refused_password_change(
    conn: Connection, sales: User, current: str, new: str, again: str, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        staff.change_own_password(conn, user=sales, current=current, new=new, again=again)
    assert refusal.value.field == field


def test_the_last_admin_stays(conn: Connection, admin: User) -> None:
    with pytest.raises(Conflict, match="last admin"):
        staff.disable(conn, admin.id, user=admin, version=1)
    with pytest.raises(Conflict, match="last admin"):
        staff.change_role(conn, admin.id, user=admin, role="sales", version=1)
    second = staff.add(conn, user=admin, username="second", name="Second", role="admin", password=NEW)
    staff.disable(conn, admin.id, user=second, version=1)
    with pytest.raises(Conflict, match="last admin"):
        staff.disable(conn, second.id, user=second, version=1)


def test_two_admins_who_disable_each_other_at_once_leave_one(database: str) -> None:
    with db.transaction() as conn:
        first = people.hire(conn)[Role.ADMIN]
        second = staff.add(conn, user=first, username="second", name="Second", role="admin", password=NEW)

    def shut_out(who: tuple[User, User]) -> bool:
        try:
            with db.transaction() as conn:
                staff.disable(conn, who[1].id, user=who[0], version=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(shut_out, [(first, second), (second, first)]))
    assert sorted(done) == [False, True]
    with db.transaction() as conn:
        assert sum(one.enabled and one.role == Role.ADMIN for one in staff.accounts(conn)) == 1


def test_a_stale_form_loses(conn: Connection, admin: User, sales: User) -> None:
    staff.change_role(conn, sales.id, user=admin, role="viewer", version=1)
    with pytest.raises(Conflict, match="Somebody changed"):
        staff.change_role(conn, sales.id, user=admin, role="finance", version=1)
    with pytest.raises(Conflict, match="Somebody changed"):
        staff.disable(conn, sales.id, user=admin, version=1)


def test_a_double_click_in_a_dialog_is_quiet(conn: Connection, admin: User, sales: User) -> None:
    """The second click brings the version that the first has used up, and asks for what is saved already."""
    key = uuid4()
    staff.change_role(conn, sales.id, user=admin, role="viewer", version=1)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        staff.change_role(conn, sales.id, user=admin, role="viewer", version=1)
    staff.reset_password(conn, sales.id, user=admin, password=NEW, version=2, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        staff.reset_password(conn, sales.id, user=admin, password=NEW, version=2, request_key=key)
    staff.set_email(conn, sales.id, user=admin, email="samuel@msp.example", version=3)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        staff.set_email(conn, sales.id, user=admin, email="samuel@msp.example", version=3)
    for call in (staff.disable, staff.enable):
        version = account(conn, sales.id).version
        call(conn, sales.id, user=admin, version=version)
        with pytest.raises(AlreadyDone):
            call(conn, sales.id, user=admin, version=version)


def test_a_person_of_the_provider_needs_an_address_and_no_password(conn: Connection, admin: User) -> None:
    with pytest.raises(Invalid) as refusal:
        staff.add(conn, user=admin, username="new", name="New", role="sales", password=None)
    assert refusal.value.field == "email"
    added = staff.add(
        conn, user=admin, username="new", name="New", role="sales", password=None, email=" New@MSP.example "
    )
    found = account(conn, added.id)
    assert (found.email, found.linked, found.must_change_password) == ("new@msp.example", False, False)
    with pytest.raises(Conflict, match=r"Somebody else has the e-mail address new@msp\.example"), conn.begin_nested():
        staff.add(conn, user=admin, username="two", name="Two", role="sales", password=NEW, email="NEW@msp.example")


@pytest.mark.parametrize("email", ["no address", "a@b", "a\x00b@msp.example", "=x@", "x" * 10_000, "a@b@msp.example"])
def test_a_wrong_address_is_refused_at_its_field(conn: Connection, admin: User, sales: User, email: str) -> None:
    with pytest.raises(Invalid) as refusal:
        staff.set_email(conn, sales.id, user=admin, email=email, version=1)
    assert refusal.value.field == "email"


def test_an_address_is_one_persons_and_can_be_taken_away(conn: Connection, admin: User, sales: User) -> None:
    token = sign_in(conn, "samuel", PASSWORD)
    staff.set_email(conn, sales.id, user=admin, email="Samuel@msp.example", version=1)
    assert sessions.user_of(conn, token) is None
    with pytest.raises(Conflict, match="Somebody else has"), conn.begin_nested():
        staff.set_email(conn, admin.id, user=admin, email="samuel@MSP.example", version=1)
    staff.set_email(conn, sales.id, user=admin, email="", version=2)
    staff.set_email(conn, admin.id, user=admin, email="samuel@msp.example", version=1)
    entry = audit.entries(conn, object_type="staff", object_id=sales.id)[0][0]
    assert (entry.action, entry.changes) == ("changed e-mail", {"email": ["samuel@msp.example", ""]})


def test_a_missing_person(conn: Connection, admin: User) -> None:
    with pytest.raises(NotFound):
        staff.disable(conn, -1, user=admin, version=1)


def test_passwords_are_kept_as_bcrypt(conn: Connection, admin: User, hashing: Callable[..., None]) -> None:
    hashing()
    added = staff.add(conn, user=admin, username="kept", name="Kept", role="sales", password=NEW)
    kept = conn.scalar(select(table.c.password_hash).where(table.c.id == added.id))
    assert kept and kept.startswith("$2b$12$") and NEW not in kept
    assert passwords.matches(NEW, kept) and not passwords.matches(NEW + "x", kept)
    assert not passwords.matches("", kept) and not passwords.matches("x\x00", kept)


def test_accounts_list_the_enabled_first_by_name(conn: Connection, users: dict[Role, User]) -> None:
    conn.execute(update(table).where(table.c.username == "adam").values(disabled_at="2026-01-01"))
    assert [one.name for one in staff.accounts(conn)] == ["Fiona", "Samuel", "Vera", "Adam"]
