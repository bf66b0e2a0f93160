"""Invites: a user of a customer gets in by a mailed link, once."""

import re
from collections.abc import Callable
from datetime import date
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    customer_statuses,
    customer_user_fields,
    customer_users,
    customers,
    db,
    invites,
    links,
    mail_sending,
    mail_server,
    passwords,
)
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid
from tests import ledgers, mailboxes, people
from tests.invited import PASSWORD, invite, mark, newest, one, secret_of, version
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 20)


@pytest.fixture
def staff(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def customer(conn: Connection, staff: People) -> int:
    return ledgers.customer(conn, staff)


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
    assert customer_statuses.status(conn, customer, today=TODAY) == "invited"
    with pytest.raises(Conflict, match=r"has a main user already, one@ada\.example"):
        invite(conn, staff, customer, "three@ada.example", main=True)
    invites.accept(conn, secret_of(conn, first), PASSWORD)
    # The second is invited still; the customer's status follows its main user.
    assert customer_statuses.status(conn, customer, today=TODAY) == "inactive"


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
    invites.resend(conn, user_id, user=staff[Role.SALES], request_key=(again := uuid4()))
    with pytest.raises(AlreadyDone), conn.begin_nested():
        invites.resend(conn, user_id, user=staff[Role.SALES], request_key=again)
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
    person = one(conn, invites.invite_contact(conn, new, user=staff[Role.SALES]))
    assert (person.first_name, person.surname, person.email) == ("Ludwig", "van Beethoven", "l@neu.example")
    assert person.is_main and person.invite == "waiting"
    with pytest.raises(Invalid, match="already") as refused, conn.begin_nested():
        invites.invite_contact(conn, new, user=staff[Role.SALES])
    assert refused.value.field == "contact_email"


@pytest.mark.row("N2")
def test_an_invite_needs_the_contacts_address(conn: Connection, staff: People, customer: int) -> None:
    with pytest.raises(Invalid, match="enter their e-mail address: it is the login") as refused:
        invites.invite_contact(conn, customer, user=staff[Role.SALES])
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
    assert invites.accept(conn, secret, PASSWORD) == user_id
    assert (one(conn, user_id).state, one(conn, user_id).invite) == ("active", "")
    stored = conn.execute(text("SELECT password_hash FROM customer_users")).scalar_one()
    assert passwords.matches(PASSWORD, stored)
    with pytest.raises(Conflict, match="used already"):
        invites.accept(conn, secret, "another-quiet-river")
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
        invites.accept(conn, secret, password)
    assert refused.value.field == "password"
    assert one(conn, user_id).state == "invited"
    assert invites.accept(conn, secret, PASSWORD) == user_id


@pytest.mark.row("G4")
def test_a_resent_invite_makes_the_one_before_void(conn: Connection, staff: People, customer: int) -> None:
    user_id = invite(conn, staff, customer, "anke@ada.example")
    older = secret_of(conn, user_id)
    invites.resend(conn, user_id, user=staff[Role.SALES])
    assert newest(conn).action == "resend invite"
    with pytest.raises(Conflict, match="newest mail"):
        invites.accept(conn, older, PASSWORD)
    invites.accept(conn, secret_of(conn, user_id), PASSWORD)
    with pytest.raises(Conflict, match="has registered already"):
        invites.resend(conn, user_id, user=staff[Role.SALES])


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
    invites.resend(conn, user_id, user=staff[Role.SALES])
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
        assert invites.accept(conn, address, PASSWORD) == person.id
        assert customer_statuses.status(conn, customer, today=TODAY) == "inactive"


def test_an_access_that_was_closed_is_not_accepted(conn: Connection, staff: People, customer: int) -> None:
    first, second = (invite(conn, staff, customer, f"{name}@ada.example") for name in ("one", "two"))
    secret = secret_of(conn, second)
    customer_users.deactivate(conn, second, version=version(conn, second), user=staff[Role.SALES])
    with pytest.raises(Conflict, match="does not work any more"):
        invites.accept(conn, secret, PASSWORD)
    secret = secret_of(conn, first)
    mark(conn, customer)
    with pytest.raises(Conflict, match="access was closed"), conn.begin_nested():
        invites.accept(conn, secret, PASSWORD)
