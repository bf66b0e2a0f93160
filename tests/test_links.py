"""Links in mails: they work once, for some days, and not once a newer one was sent."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from lib import customer_users, invites, links, vault
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotFound
from tests import ledgers
from tests.ledgers import People


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def person(conn: Connection, people: People) -> int:
    """A user without any link."""
    customer_id = ledgers.customer(conn, people)
    return invites.invite(conn, customer_id, email="ada@ada.example", send=False, user=people[Role.SALES])


def made(conn: Connection, person: int, purpose: str = "invite") -> str:
    """The secret of a new link, as the sender of mails asks for it."""
    return links.secret(conn, links.create(conn, person, purpose))


def expire(conn: Connection) -> None:
    conn.execute(text("UPDATE user_links SET expires_at = now() - interval '1 second'"))


@pytest.mark.row("G4")
def test_a_link_works_once(conn: Connection, person: int) -> None:
    secret = made(conn, person)
    assert links.user_of(conn, secret, "invite") == person
    assert links.use(conn, secret, "invite") == person
    assert links.user_of(conn, secret, "invite") is None
    with pytest.raises(Conflict, match="used already; it works once"):
        links.use(conn, secret, "invite")


@pytest.mark.row("G4")
@pytest.mark.parametrize(("purpose", "what_to_do"), [("invite", "whoever invited"), ("password_reset", "Forgotten")])
def test_an_expired_link_says_what_to_do(conn: Connection, person: int, purpose: str, what_to_do: str) -> None:
    secret = made(conn, person, purpose)
    expire(conn)
    assert links.user_of(conn, secret, purpose) is None
    with pytest.raises(Conflict, match=f"has expired.*{what_to_do}"):
        links.use(conn, secret, purpose)


@pytest.mark.row("G4")
def test_a_newer_link_makes_the_older_one_void(conn: Connection, person: int) -> None:
    older, newer = made(conn, person), made(conn, person)
    assert (links.user_of(conn, older, "invite"), links.user_of(conn, newer, "invite")) == (None, person)
    with pytest.raises(Conflict, match=r"does not work any more\. Use the one in the newest mail"):
        links.use(conn, older, "invite")
    assert links.use(conn, newer, "invite") == person


def test_links_of_other_purposes_stay(conn: Connection, person: int) -> None:
    invite, reset = made(conn, person), made(conn, person, "password_reset")
    made(conn, person)
    assert links.user_of(conn, invite, "invite") is None
    assert links.user_of(conn, reset, "password_reset") == person
    links.void(conn, person)
    assert links.user_of(conn, reset, "password_reset") is None


def test_a_link_is_for_its_purpose_only(conn: Connection, person: int) -> None:
    secret = made(conn, person, "password_reset")
    assert links.user_of(conn, secret, "invite") is None
    with pytest.raises(NotFound, match="not known"):
        links.use(conn, secret, "invite")


@pytest.mark.parametrize("secret", ["", "x", "\x00", "\ud800", "' OR 1=1 --", "ä" * 10_000])
def test_what_is_no_link_is_refused_in_words(conn: Connection, person: int, secret: str) -> None:
    made(conn, person)
    assert links.user_of(conn, secret, "invite") is None
    with pytest.raises(NotFound, match="not known"):
        links.use(conn, secret, "invite")


def test_the_secret_is_the_same_each_time_and_in_no_table(conn: Connection, person: int) -> None:
    link = links.create(conn, person, "invite")
    secret = links.secret(conn, link)
    assert links.secret(conn, link) == secret
    assert len(secret) > 40
    stored = conn.execute(text("SELECT * FROM user_links WHERE id = :id"), {"id": link}).one()
    assert secret.encode() not in bytes(stored.token_hash)
    assert secret not in str(tuple(stored))
    assert secret != made(conn, person), "each link has its own"


def test_another_key_makes_another_secret(conn: Connection, person: int, monkeypatch: pytest.MonkeyPatch) -> None:
    link = links.create(conn, person, "invite")
    before = links.secret(conn, link)
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())
    assert links.secret(conn, link) != before
    assert links.user_of(conn, before, "invite") is None
    monkeypatch.delenv(vault.VARIABLE)
    with pytest.raises(Invalid, match="there is no key"):
        links.secret(conn, link)


@pytest.mark.row("G4")
def test_its_days_run_from_the_moment_the_mail_is_sent(conn: Connection, person: int) -> None:
    link = links.create(conn, person, "invite")
    expire(conn)  # it waited for a mail server all the while
    secret = links.secret(conn, link)
    left = conn.execute(text("SELECT expires_at - now() FROM user_links WHERE id = :id"), {"id": link}).scalar_one()
    assert left == timedelta(days=7)
    assert links.use(conn, secret, "invite") == person


def test_a_link_without_a_sense_is_not_sent(conn: Connection, person: int) -> None:
    used, void = links.create(conn, person, "invite"), links.create(conn, person, "password_reset")
    links.use(conn, links.secret(conn, used), "invite")
    links.void(conn, person, "password_reset")
    with pytest.raises(Conflict, match="used already"):
        links.secret(conn, used)
    with pytest.raises(Conflict, match="is void"):
        links.secret(conn, void)
    with pytest.raises(NotFound, match="does not exist any more"):
        links.secret(conn, 4_000_000)


def test_links_go_with_their_user(conn: Connection, people: People, person: int) -> None:
    link = links.create(conn, person, "invite")
    customer_id = customer_users.customer_user(conn, person).customer_id
    assert customer_users.forget(conn, customer_id) == 1
    with pytest.raises(NotFound):
        links.secret(conn, link)
