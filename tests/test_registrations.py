"""Self-registration: confirmed by link and password, a trial of 28 days, and no way to learn who is known (row G14)."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import customer_users, customers, invites, portal_sessions, registrations, settings
from lib.errors import Conflict, Invalid, NotAllowed
from tests import portals
from tests.portals import PASSWORD, Portal

pytestmark = pytest.mark.row("G14")
TODAY = date(2026, 7, 3)
COMPANY = {
    "name": "Neu GmbH",
    "street": "Weg 1",
    "postcode": "10115",
    "city": "Berlin",
    "country": "DE",
    "language": "de",
}
PERSON = {"salutation": "ms", "first_name": "Nina", "surname": "Neu", "email": "Nina@ada.example"}


def enable(conn: Connection, made: Portal, **changes: Any) -> None:
    wanted = {"portal_url": "https://portal.m.example", "self_registration": True, "registration_terms": "Be kind."}
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes=wanted | changes, user=made.company.admin)


def open_to_all(conn: Connection) -> Portal:
    """Registering is switched on."""
    filled = portals.filled(conn)
    enable(conn, filled)
    return filled


BEGINS_WITH = open_to_all


@pytest.fixture
def made(begun: Portal) -> Portal:
    return begun


def register(conn: Connection, **changes: Any) -> None:
    given: dict[str, Any] = {"password": PASSWORD, "again": PASSWORD, "accepted": True} | {
        name: value for name, value in changes.items() if name in ("password", "again", "accepted")
    }
    company = COMPANY | {name: value for name, value in changes.items() if name in COMPANY}
    person = PERSON | {name: value for name, value in changes.items() if name in PERSON}
    registrations.register(conn, company=company, person=person, today=TODAY, **given)


def nina(conn: Connection) -> customer_users.CustomerUser:
    found = customer_users.by_email(conn, "nina@ada.example")
    assert found
    return found


def mails(conn: Connection, kind: str) -> list[str]:
    return list(conn.scalars(text("SELECT recipient FROM mails WHERE kind = :kind"), {"kind": kind}))


def test_from_the_form_to_the_first_sign_in(conn: Connection, made: Portal) -> None:
    register(conn)
    person = nina(conn)
    customer = customers.customer(conn, person.customer_id)
    assert (customer.phase, customer.service_mode, customer.ends_on) == ("test", "self_service", date(2026, 7, 31))
    assert (customer.street, customer.contact_name) == ("Weg 1", "Nina Neu")
    assert person.is_main and person.state == "invited" and mails(conn, "registration") == ["nina@ada.example"]
    assert portals.ticket(conn, "nina") is None, "not before it is confirmed"
    assert registrations.confirm(conn, portals.link(conn, person.id, "registration"), password=PASSWORD) == person.id
    user = portals.user(conn, "nina")
    assert user.may_edit_address and user.customer_name == "Neu GmbH"
    terms = conn.scalar(text("SELECT changes ->> 'terms_sha256' FROM audit_log WHERE action = 'accept terms'"))
    assert terms and terms != "null"


def test_a_stranger_who_registers_an_address_gets_nowhere_by_its_owners_click(conn: Connection, made: Portal) -> None:
    register(conn, password="the-strangers-secret", again="the-strangers-secret")
    secret = portals.link(conn, nina(conn).id, "registration")
    with pytest.raises(Invalid, match="not the password that you chose"), conn.begin_nested():
        registrations.confirm(conn, secret, password="what-nina-would-type")
    assert nina(conn).state == "invited"
    register(conn, name="Ninas GmbH")  # Nina herself
    registrations.confirm(conn, portals.link(conn, nina(conn).id, "registration"), password=PASSWORD)
    assert portals.user(conn, "nina").customer_name == "Ninas GmbH"
    assert portals.ticket(conn, "nina", password="the-strangers-secret") is None


def test_a_known_address_is_told_by_mail_alone(conn: Connection, made: Portal) -> None:
    before = conn.scalar(text("SELECT count(*) FROM customers"))
    for _ in range(3):
        register(conn, email="olga@ada.example")
    assert mails(conn, "registration_known") == ["olga@ada.example"]
    assert conn.scalar(text("SELECT count(*) FROM customers")) == before
    assert portals.sign_in(conn, "olga"), "her password is what it was"


def test_an_invited_persons_invite_is_not_taken_over(conn: Connection, made: Portal) -> None:
    rosa = invites.invite(conn, made.ada, email="rosa@ada.example", user=made.sales)
    register(conn, email="rosa@ada.example")
    assert mails(conn, "registration") == [] and mails(conn, "registration_known") == ["rosa@ada.example"]
    assert customer_users.customer_user(conn, rosa).customer_id == made.ada


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("street", " "), ("postcode", ""), ("city", ""), ("country", "XX"), ("language", "fr"),
        ("salutation", "x"), ("surname", ""), ("first_name", ""), ("email", "nobody"), ("email", ""),
        ("password", "short"), ("again", "another one"), ("accepted", False),
    ],
)  # fmt: skip
def test_a_refusal_stands_at_its_field(conn: Connection, made: Portal, field: str, value: Any) -> None:
    before = conn.scalar(text("SELECT count(*) FROM customers"))
    with pytest.raises(Invalid) as refusal, conn.begin_nested():
        register(conn, **{field: value})
    assert refusal.value.field == field
    assert conn.scalar(text("SELECT count(*) FROM customers")) == before


def test_it_is_off_unless_a_setting_says_so(conn: Connection, made: Portal) -> None:
    enable(conn, made, self_registration=False)
    with pytest.raises(NotAllowed, match="Nobody can register"):
        register(conn)


@pytest.mark.parametrize("field", ["portal_url", "registration_terms"])
def test_it_needs_terms_and_the_portals_address(conn: Connection, made: Portal, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        enable(conn, made, **{field: ""})
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "address",
    [
        "http://portal.m.example",
        "portal.m.example",
        "https://portal.m.example/x",
        "https://a@b.example",
        "javascript:x",
    ],
)
def test_the_portals_address_is_https_and_a_host_of_its_own(conn: Connection, made: Portal, address: str) -> None:
    with pytest.raises(Invalid) as refusal:
        enable(conn, made, portal_url=address)
    assert refusal.value.field == "portal_url"


def test_a_try_on_this_machine_needs_no_tls(conn: Connection, made: Portal) -> None:
    enable(conn, made, portal_url="http://127.0.0.1:8502/")
    assert settings.company(conn).portal_url == "http://127.0.0.1:8502"


def test_a_confirmed_or_closed_registration_is_not_confirmed_again(conn: Connection, made: Portal) -> None:
    register(conn)
    secret = portals.link(conn, nina(conn).id, "registration")
    registrations.confirm(conn, secret, password=PASSWORD)
    with pytest.raises(Conflict, match="used already"):
        registrations.confirm(conn, secret, password=PASSWORD)


def test_registering_again_and_again_makes_wait(conn: Connection, made: Portal) -> None:
    waits = [registrations.claim(conn, address="10.0.0.9").wait_seconds for _ in range(6)]
    assert waits[:5] == [0] * 5 and waits[5] > 0
    assert portal_sessions.claim(conn, username="olga@ada.example", address="10.0.0.9").id is not None
