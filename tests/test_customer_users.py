"""A customer's users: invited by mail, edited within limits, shut out, and one of them the main user."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text, update

from lib import (
    audit,
    customer_lists,
    customer_user_fields,
    customer_users,
    customers,
    db,
    links,
    mail_sending,
    mail_server,
    passwords,
    sessions,
)
from lib.auth import Role
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from lib.tables import customers as customers_table
from tests import ledgers, mailboxes, people
from tests.ledgers import JUNE, People

MISSING = 4_000_000
PASSWORD = "a-heron-in-june"
TODAY = date(2026, 6, 20)


@pytest.fixture
def staff(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def customer(conn: Connection, staff: People) -> int:
    return ledgers.customer(conn, staff)


def invite(conn: Connection, staff: People, customer_id: int, email: str, **more: Any) -> int:
    return customer_users.invite(conn, customer_id, email=email, user=staff[Role.SALES], **more)


def secret_of(conn: Connection, user_id: int) -> str:
    """What stands in the mail that was queued last for a user."""
    link = conn.scalar(text("SELECT max(id) FROM user_links WHERE user_id = :id"), {"id": user_id})
    return links.secret(conn, link or 0)


def registered(conn: Connection, staff: People, customer_id: int, email: str, **more: Any) -> int:
    user_id = invite(conn, staff, customer_id, email, **more)
    return customer_users.accept(conn, secret_of(conn, user_id), PASSWORD)


def one(conn: Connection, user_id: int) -> customer_users.CustomerUser:
    return customer_users.customer_user(conn, user_id)


def version(conn: Connection, user_id: int) -> int:
    return one(conn, user_id).version


def newest(conn: Connection) -> audit.Entry:
    return audit.entries(conn, object_type="customer user", limit=1)[0][0]


def signed_in(conn: Connection, user_id: int) -> None:
    conn.execute(
        text("INSERT INTO sessions (token_hash, customer_user_id, site) VALUES (:hash, :id, 'portal')"),
        {"hash": uuid4().bytes, "id": user_id},
    )


def open_sessions(conn: Connection, user_id: int) -> int:
    query = "SELECT count(*) FROM sessions WHERE customer_user_id = :id AND ended_at IS NULL"
    return conn.execute(text(query), {"id": user_id}).scalar_one()


def mark(conn: Connection, customer_id: int, *, erased: bool = False) -> None:
    """As the deletion does it."""
    conn.execute(
        update(customers_table)
        .where(customers_table.c.id == customer_id)
        .values(marked_for_deletion_at=text("now()"), erased_at=text("now()") if erased else None)
    )


# ---------------------------------------------------------------------------------- inviting


@pytest.mark.row("G4", "N2")
def test_an_invited_user_gets_a_mail_with_a_link(conn: Connection, staff: People, customer: int) -> None:
    names = {"salutation": "ms", "first_name": "Anke", "surname": "Ahlbeck"}
    user_id = invite(conn, staff, customer, " Anke@Ada.example ", **names)
    person = one(conn, user_id)
    assert (person.email, person.name, person.state, person.invite) == (
        "anke@ada.example", "Anke Ahlbeck", "invited", "waiting",
    )  # fmt: skip
    mail = conn.execute(text("SELECT * FROM mails")).one()
    assert (mail.kind, mail.recipient, mail.customer_id, mail.state) == (
        "invite", "anke@ada.example", customer, "queued",
    )  # fmt: skip
    assert "Frau Ahlbeck" in mail.body and "{link}" in mail.body
    assert mail.link_id is not None and mail.created_by == staff[Role.SALES].id
    conn.execute(text("UPDATE mails SET state = 'sent', sent_at = now()"))
    assert one(conn, user_id).invite == "sent"


def test_the_log_names_the_person_apart_so_that_it_can_be_erased(
    conn: Connection, staff: People, customer: int
) -> None:
    invite(conn, staff, customer, "anke@ada.example", salutation="ms", first_name="Anke", surname="Ahlbeck")
    entry = newest(conn)
    assert (entry.action, entry.person, entry.customer_id) == ("invite", "Samuel", customer)
    assert entry.changes == {
        "salutation": [None, "Ms"], "first_name": [None, "Anke"], "surname": [None, "Ahlbeck"],
        "email": [None, "anke@ada.example"], "main": [None, True],
    }  # fmt: skip
    in_the_log = conn.execute(text("SELECT changes FROM audit_log WHERE id = :id"), {"id": entry.id}).scalar_one()
    assert in_the_log == {"main": [None, True]}
    conn.execute(text("DELETE FROM audit_personal WHERE customer_id = :id"), {"id": customer})
    assert newest(conn).changes == {"main": [None, True]}


@pytest.mark.row("G4")
def test_the_first_user_is_the_main_user_and_makes_the_customer_invited(
    conn: Connection, staff: People, customer: int
) -> None:
    assert customer_users.main_user(conn, customer) is None
    first, second = (invite(conn, staff, customer, f"{name}@ada.example") for name in ("one", "two"))
    assert (one(conn, first).is_main, one(conn, second).is_main) == (True, False)
    main = customer_users.main_user(conn, customer)
    assert main is not None and main.id == first
    assert customer_lists.status(conn, customer, today=TODAY) == "invited"
    with pytest.raises(Conflict, match=r"has a main user already, one@ada\.example"):
        invite(conn, staff, customer, "three@ada.example", main=True)
    customer_users.accept(conn, secret_of(conn, first), PASSWORD)
    # The second is invited still; the customer's status follows its main user.
    assert customer_lists.status(conn, customer, today=TODAY) == "inactive"


@pytest.mark.row("G4")
def test_an_address_signs_in_once_however_it_is_written(conn: Connection, staff: People, customer: int) -> None:
    other = ledgers.customer(conn, staff, "Berta AG")
    invite(conn, staff, customer, "anke@ada.example")
    with pytest.raises(Invalid, match="signs in with this e-mail address already") as refused, conn.begin_nested():
        invite(conn, staff, other, "ANKE@ada.example")
    assert refused.value.field == "email"
    assert "Ada" not in str(refused.value), "whose it is, is nobody's business"
    assert customer_users.count_of(conn, other) == 0


def test_a_double_click_invites_once(conn: Connection, staff: People, customer: int) -> None:
    key = uuid4()
    user_id = invite(conn, staff, customer, "anke@ada.example", request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        invite(conn, staff, customer, "anke@ada.example", request_key=key)
    customer_users.resend_invite(conn, user_id, user=staff[Role.SALES], request_key=(again := uuid4()))
    with pytest.raises(AlreadyDone), conn.begin_nested():
        customer_users.resend_invite(conn, user_id, user=staff[Role.SALES], request_key=again)
    assert conn.scalar(text("SELECT count(*) FROM mails")) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", ""),
        ("email", "no address"),
        ("email", "a@b"),
        ("email", "a@b.example\nBcc: c@d.example"),
        ("email", "x" * 300 + "@b.example"),
        ("email", "a\x00@b.example"),
        ("first_name", "x" * 101),
        ("first_name", "a\x00b"),
        ("surname", "two\nlines"),
        ("salutation", "Sir"),
    ],
)
def test_bad_input_gets_a_sentence_at_its_field(
    conn: Connection, staff: People, customer: int, field: str, value: str
) -> None:
    with pytest.raises(Invalid) as refused:
        invite(conn, staff, customer, **{"email": "anke@ada.example", field: value})
    assert refused.value.field == field


@pytest.mark.row("N2", "G4")
def test_the_contact_of_a_new_customer_is_invited(conn: Connection, staff: People) -> None:
    details = {"name": "Neu GmbH", "contact_name": "Ludwig van Beethoven", "contact_email": "l@neu.example"}
    new = customers.create(conn, details=details, billed=True, ends_on=None, today=JUNE, user=staff[Role.SALES])
    person = one(conn, customer_users.invite_contact(conn, new, user=staff[Role.SALES]))
    assert (person.first_name, person.surname, person.email) == ("Ludwig", "van Beethoven", "l@neu.example")
    assert person.is_main and person.invite == "waiting"
    with pytest.raises(Invalid, match="already") as refused, conn.begin_nested():
        customer_users.invite_contact(conn, new, user=staff[Role.SALES])
    assert refused.value.field == "contact_email"


@pytest.mark.row("N2")
def test_an_invite_needs_the_contacts_address(conn: Connection, staff: People, customer: int) -> None:
    with pytest.raises(Invalid, match="enter their e-mail address: it is the login") as refused:
        customer_users.invite_contact(conn, customer, user=staff[Role.SALES])
    assert refused.value.field == "contact_email"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Anke Ahlbeck", ("Anke", "Ahlbeck")),
        ("Anna Maria Schmidt", ("Anna Maria", "Schmidt")),
        ("Ludwig van Beethoven", ("Ludwig", "van Beethoven")),
        ("Anne von der Heide", ("Anne", "von der Heide")),
        ("Ägidius Über", ("Ägidius", "Über")),
        ("Cher", ("", "Cher")),
        ("  ", ("", "")),
    ],
)
def test_a_name_is_split_as_far_as_it_tells(name: str, parts: tuple[str, str]) -> None:
    assert customer_user_fields.split_name(name) == parts


@pytest.mark.parametrize(
    ("salutation", "surname", "language", "expected"),
    [
        ("ms", "Ahlbeck", "de", "Frau Ahlbeck"),
        ("mr", "Ahlbeck", "en", "Mr Ahlbeck"),
        ("", "Ahlbeck", "de", "Anke Ahlbeck"),
        ("ms", "", "de", "Anke"),
    ],
)
def test_a_mail_addresses_the_person(salutation: str, surname: str, language: str, expected: str) -> None:
    found = customer_user_fields.addressed(salutation=salutation, first_name="Anke", surname=surname, language=language)
    assert found == expected


# ---------------------------------------------------------------------------------- accepting


@pytest.mark.row("G4")
def test_accepting_sets_the_password_once(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    secret = secret_of(conn, user_id)
    assert customer_users.accept(conn, secret, PASSWORD) == user_id
    assert (one(conn, user_id).state, one(conn, user_id).invite) == ("active", "")
    stored = conn.execute(text("SELECT password_hash FROM customer_users")).scalar_one()
    assert passwords.matches(PASSWORD, stored)
    with pytest.raises(Conflict, match="used already"):
        customer_users.accept(conn, secret, "another-quiet-river")
    entry = newest(conn)
    assert (entry.action, entry.person) == ("accept invite", "anke@ada.example")
    assert PASSWORD not in str(audit.entries(conn)) and stored not in str(audit.entries(conn))
    customer_users.forget(conn, customer)
    assert newest(conn).person == "A customer's user"


@pytest.mark.row("G4")
@pytest.mark.parametrize(
    "password", ["", "short-one", "Password123!", "1234567890", "aaaaaaaaaabb", "x" * 73, "i-am-anke", "7-anke.a-7777"]
)
def test_a_bad_password_uses_nothing_up(conn: Connection, staff: People, customer: int, password: str) -> None:
    user_id = invite(conn, staff, customer, "anke.a@ada.example")
    secret = secret_of(conn, user_id)
    with pytest.raises(Invalid) as refused, conn.begin_nested():
        customer_users.accept(conn, secret, password)
    assert refused.value.field == "password"
    assert one(conn, user_id).state == "invited"
    assert customer_users.accept(conn, secret, PASSWORD) == user_id


@pytest.mark.row("G4")
def test_a_resent_invite_makes_the_one_before_void(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    older = secret_of(conn, user_id)
    customer_users.resend_invite(conn, user_id, user=staff[Role.SALES])
    assert newest(conn).action == "resend invite"
    with pytest.raises(Conflict, match="newest mail"):
        customer_users.accept(conn, older, PASSWORD)
    customer_users.accept(conn, secret_of(conn, user_id), PASSWORD)
    with pytest.raises(Conflict, match="has registered already"):
        customer_users.resend_invite(conn, user_id, user=staff[Role.SALES])


@pytest.mark.row("G4")
def test_an_expired_or_failed_invite_can_be_seen(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    conn.execute(text("UPDATE mails SET state = 'failed', last_error = 'No such mailbox.'"))
    assert (one(conn, user_id).invite, one(conn, user_id).mail_error) == ("failed", "No such mailbox.")
    conn.execute(text("UPDATE mails SET state = 'sent', sent_at = now()"))
    conn.execute(text("UPDATE user_links SET expires_at = now()"))
    assert one(conn, user_id).invite == "expired"
    links.void(conn, user_id)
    assert one(conn, user_id).invite == "none"


def test_who_is_added_without_an_invite_is_invited_later(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example", send=False)
    assert (one(conn, user_id).invite, newest(conn).action) == ("none", "add")
    assert conn.scalar(text("SELECT count(*) FROM mails")) == 0
    customer_users.resend_invite(conn, user_id, user=staff[Role.SALES])
    assert (one(conn, user_id).invite, newest(conn).action) == ("waiting", "invite")


@pytest.mark.row("G4")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_the_link_that_arrives_by_mail_registers_the_person(database: str) -> None:
    with mailboxes.running() as box:
        with db.transaction() as conn:
            staff = people.open_company(conn)
            server = {
                "host": "127.0.0.1",
                "port": str(box.port),
                "security": "none",
                "sender_address": "post@m.example",
            }
            mail_server.edit(conn, version=1, changes=server, user=staff[Role.ADMIN])
            conn.execute(text("UPDATE company SET portal_url = 'https://portal.m.example/'"))
            customer = ledgers.customer(conn, staff)
            invite(conn, staff, customer, "anke@ada.example", salutation="ms", surname="Ahlbeck")
        assert mail_sending.send_one()
    [mail] = box.arrived
    assert mail["To"] == "anke@ada.example" and "Guten Tag Frau Ahlbeck," in mail.get_content()
    [address] = re.findall(r"https://portal\.m\.example/accept\?link=(\S+)", mail.get_content())
    with db.transaction() as conn:
        [person] = customer_users.users_of(conn, customer)
        assert person.invite == "sent"
        assert customer_users.accept(conn, address, PASSWORD) == person.id
        assert customer_lists.status(conn, customer, today=TODAY) == "inactive"


def test_an_access_that_was_closed_is_not_accepted(conn: Connection, staff: People, customer: int) -> None:
    first, second = (invite(conn, staff, customer, f"{name}@ada.example") for name in ("one", "two"))
    secret = secret_of(conn, second)
    customer_users.deactivate(conn, second, version=version(conn, second), user=staff[Role.SALES])
    with pytest.raises(Conflict, match="does not work any more"):
        customer_users.accept(conn, secret, PASSWORD)
    secret = secret_of(conn, first)
    mark(conn, customer)
    with pytest.raises(Conflict, match="access was closed"), conn.begin_nested():
        customer_users.accept(conn, secret, PASSWORD)


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
    assert customer_users.accept(conn, secret_of(conn, user_id), PASSWORD) == user_id


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
        customer_users.accept(conn, secret, PASSWORD)


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
        customer_users.resend_invite(conn, other, user=staff[Role.SALES])
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
    "resend": lambda conn, id_, user: customer_users.resend_invite(conn, id_, user=user),
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
        customer_users.invite(conn, customer, email="a@ada.example", user=viewer)
    with pytest.raises(NotAllowed):
        customer_users.invite_contact(conn, customer, user=viewer)
    with pytest.raises(NotFound):
        customer_users.invite(conn, MISSING, email="a@ada.example", user=sales)
    with pytest.raises(NotFound):
        customer_users.invite_contact(conn, MISSING, user=sales)


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
