"""The mail server's settings: the password goes in and never comes out, and what doesn't fit is said at its field."""

import pytest
from sqlalchemy import Connection, select, text

from lib import audit, mail_server, vault
from lib.auth import User
from lib.errors import Conflict, Invalid, NotAllowed
from lib.smtp import Undelivered
from lib.tables import mail_server as table
from tests import mailboxes
from tests.mailboxes import Mailbox

SECRET = "sesam-öffne-dich"
OLD, NEW = vault.new_key(), vault.new_key()
SETTINGS = {
    "host": "mail.muster-it.example",
    "port": "587",
    "security": "starttls",
    "username": "mandant",
    "sender_address": "rechnung@muster-it.example",
    "sender_name": "Muster IT GmbH",
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vault.VARIABLE, OLD)


def save(conn: Connection, user: User, password: str = "", **changed: object) -> None:
    version = mail_server.server(conn).version
    mail_server.edit(conn, version=version, changes=SETTINGS | changed, password=password, user=user)


def stored(conn: Connection) -> bytes | None:
    return conn.scalar(select(table.c.password))


def test_before_set_up_nothing_can_be_sent(conn: Connection, admin: User) -> None:
    assert not mail_server.ready(conn)
    with pytest.raises(Conflict, match="Settings → Mail server"):
        mail_server.account(conn)
    with pytest.raises(Conflict, match="Settings → Mail server"):
        mail_server.trial(conn, recipient="ada@kunde.example", user=admin)


def test_what_was_saved_is_there_and_the_password_is_not_shown(conn: Connection, admin: User) -> None:
    save(conn, admin, SECRET, host=" Mail.Muster-IT.example ")
    found = mail_server.server(conn)
    assert mail_server.ready(conn) and found.has_password
    assert (found.host, found.port, found.security) == ("mail.muster-it.example", 587, "starttls")
    assert mail_server.account(conn).password == SECRET
    sealed = stored(conn)
    assert sealed is not None and SECRET.encode() not in bytes(sealed)
    trial = mail_server.trial(conn, recipient="ada@kunde.example", user=admin)
    seen = f"{found} {mail_server.account(conn)} {trial} {trial.message} {audit.entries(conn)}"
    assert SECRET not in seen
    entry = audit.entries(conn, object_type="mail server")[0][-1]
    assert entry.changes["password"] == ["none", "set anew"] and entry.changes["host"][1] == "mail.muster-it.example"


def test_an_empty_password_keeps_the_stored_one(conn: Connection, admin: User) -> None:
    save(conn, admin, SECRET)
    before = stored(conn)
    save(conn, admin, port="2525")
    assert stored(conn) == before and mail_server.server(conn).port == 2525
    assert "password" not in audit.entries(conn, object_type="mail server")[0][0].changes


def test_the_password_goes_to_no_other_server(conn: Connection, admin: User) -> None:
    save(conn, admin, SECRET)
    with pytest.raises(Invalid, match=r"was entered for mail\.muster-it\.example") as refusal:
        save(conn, admin, host="mail.elsewhere.example")
    assert refusal.value.field == "password"
    save(conn, admin, "another", host="mail.elsewhere.example")
    assert mail_server.account(conn).password == "another"


@pytest.mark.parametrize("emptied", ["host", "username"])
def test_without_server_or_user_name_the_password_goes(conn: Connection, admin: User, emptied: str) -> None:
    save(conn, admin, SECRET)
    save(conn, admin, **{emptied: ""})
    assert stored(conn) is None
    assert audit.entries(conn, object_type="mail server")[0][0].changes["password"] == ["set", "none"]


@pytest.mark.parametrize(
    ("changed", "password", "field", "words"),
    [
        ({"host": "http://mail.example"}, SECRET, "host", "is not a server's name"),
        ({"host": "a b"}, SECRET, "host", "is not a server's name"),
        ({"host": ""}, SECRET, "host", "the server that this password is for"),
        ({"port": "0"}, SECRET, "port", "between 1 and 65,535"),
        ({"port": "smtp"}, SECRET, "port", "whole number"),
        ({"security": "ssl"}, SECRET, "security", "choose one of"),
        ({"security": "none"}, SECRET, "security", "cross the network for all to read"),
        ({"username": ""}, SECRET, "username", "needs its user name"),
        ({}, "", "password", "Enter the password of mandant"),
        ({}, "a\nb", "password", "can't be printed"),
        ({"sender_address": ""}, SECRET, "sender_address", "required"),
        ({"sender_address": "a@b"}, SECRET, "sender_address", "not an e-mail address"),
        ({"sender_name": "Us\r\nBcc: all@kunde.example"}, SECRET, "sender_name", "can't be printed"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(
    conn: Connection, admin: User, changed: dict[str, str], password: str, field: str, words: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        save(conn, admin, password, **changed)
    assert refusal.value.field == field and words in str(refusal.value)
    assert not mail_server.ready(conn)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_on_this_machine_no_encryption_is_needed(conn: Connection, admin: User, host: str) -> None:
    save(conn, admin, SECRET, host=host, security="none")
    assert mail_server.ready(conn)


def test_without_a_key_no_password_is_saved(conn: Connection, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vault.VARIABLE)
    with pytest.raises(Invalid, match="there is no key for that yet"):
        save(conn, admin, SECRET)
    assert stored(conn) is None


def test_an_old_form_is_refused(conn: Connection, admin: User) -> None:
    save(conn, admin, SECRET)
    with pytest.raises(Conflict, match="after you opened it"):
        mail_server.edit(conn, version=1, changes=SETTINGS, user=admin)


def test_only_an_admin_changes_or_tries_it(conn: Connection, admin: User, finance: User) -> None:
    with pytest.raises(NotAllowed):
        save(conn, finance, SECRET)
    save(conn, admin, SECRET)
    with pytest.raises(NotAllowed):
        mail_server.trial(conn, recipient="ada@kunde.example", user=finance)


def test_a_test_mail_arrives_and_is_in_the_log(conn: Connection, admin: User) -> None:
    with mailboxes.running() as box:
        save(conn, admin, host="127.0.0.1", port=str(box.port), security="none", username="")
        mail_server.send_trial(mail_server.trial(conn, recipient="ada@kunde.example", user=admin))
    [found] = box.arrived
    assert found["To"] == "ada@kunde.example" and "This mail server works." in found.get_content()
    entry = audit.entries(conn, object_type="mail server")[0][0]
    assert entry.action == "send a test mail" and "ada@" not in str(entry)


def test_a_test_mail_that_is_refused_says_why(conn: Connection, admin: User) -> None:
    with mailboxes.running(Mailbox(answers={"RCPT": "550 no such user"})) as box:
        save(conn, admin, host="127.0.0.1", port=str(box.port), security="none", username="")
        trial = mail_server.trial(conn, recipient="ada@kunde.example", user=admin)
        with pytest.raises(Undelivered, match=r"refuses the recipient ada@kunde\.example: 550 no such user"):
            mail_server.send_trial(trial)
    with pytest.raises(Invalid, match="is not an e-mail address") as refusal:
        mail_server.trial(conn, recipient="ada", user=admin)
    assert refusal.value.field == "test_recipient"


def test_rotation_seals_the_password_anew(conn: Connection, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mail_server.reseal(conn) == 0, "there is no password"
    save(conn, admin, SECRET)
    assert mail_server.reseal(conn) == 0, "it is sealed with the current key"
    monkeypatch.setenv(vault.VARIABLE, f"{NEW},{OLD}")
    assert mail_server.reseal(conn) == 1
    monkeypatch.setenv(vault.VARIABLE, NEW)
    assert mail_server.account(conn).password == SECRET


def test_a_password_in_another_column_does_not_open(conn: Connection, admin: User) -> None:
    save(conn, admin, SECRET)
    conn.execute(text("UPDATE mail_server SET password = :other"), {"other": vault.sealed(SECRET, about="other")})
    with pytest.raises(Invalid, match="Enter the secret anew"):
        mail_server.account(conn)
