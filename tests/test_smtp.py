"""Talking to a real mail server on loopback: what arrives is what was sent, and every failure has its sentence."""

from contextlib import closing
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from socket import socket
from threading import Thread

import pytest

from lib import smtp
from lib.smtp import Account, Undelivered
from tests import mailboxes
from tests.mailboxes import PASSWORD, USER, Certificate, Mailbox

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

AT = datetime(2026, 8, 31, 12, 30, tzinfo=UTC)
# How long we wait where nothing comes; elsewhere as long as a busy machine may need to answer.
QUICK, PATIENT = 0.5, 60


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return mailboxes.certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    return certificate


def account(port: int, **changed: object) -> Account:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "username": "",
        "password": "",
        "sender_address": "billing@muster-it.example",
        "sender_name": "Müller & Söhne GmbH",
    }
    return Account(**(values | changed))  # type: ignore[arg-type]


def letter(sender: Account, **changed: object) -> EmailMessage:
    values: dict[str, object] = {
        "recipient": "ada@kunde.example",
        "subject": "Ihre Rechnung über 1.234,56 €",
        "body": "Guten Tag,\n\nschöne Grüße aus Köln: 1.234,56 €\n.\nEnde",
        "message_id": "<1@muster-it.example>",
        "at": AT,
    }
    return smtp.message(sender, **(values | changed))  # type: ignore[arg-type]


def refused(sender: Account, *, timeout: float = PATIENT, **changed: object) -> Undelivered:
    with pytest.raises(Undelivered) as failure:
        smtp.deliver(sender, letter(sender, **changed), timeout=timeout)
    return failure.value


def test_what_arrives_is_what_was_sent() -> None:
    pdf = b"%PDF-1.7 " + bytes(range(256)) * 40
    with mailboxes.running() as box:
        smtp.deliver(account(box.port), letter(account(box.port), attachment=("RE-2026-00001.pdf", pdf)))
    [found] = box.arrived
    assert box.envelopes == [("billing@muster-it.example", ["ada@kunde.example"])]
    assert found["From"] == "Müller & Söhne GmbH <billing@muster-it.example>"
    assert (found["To"], found["Subject"]) == ("ada@kunde.example", "Ihre Rechnung über 1.234,56 €")
    assert (found["Message-ID"], found["Auto-Submitted"]) == ("<1@muster-it.example>", "auto-generated")
    assert found["Date"].datetime == AT
    body = found.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == "Guten Tag,\n\nschöne Grüße aus Köln: 1.234,56 €\n.\nEnde\n"
    assert (body.get_content_type(), body.get_content_charset()) == ("text/plain", "utf-8")
    [attached] = found.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("RE-2026-00001.pdf", "application/pdf")
    assert attached.get_content() == pdf


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_both_encryptions_and_the_sign_in(trusted: Certificate, security: str) -> None:
    with mailboxes.running(**{security: trusted.context}, sign_in=True) as box:  # type: ignore[arg-type]
        sender = account(box.port, security=security, username=USER, password=PASSWORD)
        smtp.deliver(sender, letter(sender))
    assert len(box.arrived) == 1


@pytest.mark.parametrize("name", ["subject", "recipient", "message_id"])
def test_no_value_makes_a_header_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match=r"linefeed|CR|carriage|invalid"):
        letter(account(25), **{name: "a@b.example\r\nBcc: all@kunde.example"})


def test_a_senders_name_makes_no_header_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"linefeed|CR|carriage|invalid"):
        letter(account(25, sender_name="Us\r\nBcc: all@kunde.example"))


def test_odd_names_and_addresses_keep_to_their_header() -> None:
    with mailboxes.running() as box:
        sender = account(box.port, sender_name='Müller, "Söhne" <x@y.example>')
        smtp.deliver(sender, letter(sender, recipient="ada(home)@kunde.example"))
    [found] = box.arrived
    [writer] = found["From"].addresses
    assert (writer.display_name, writer.addr_spec) == ('Müller, "Söhne" <x@y.example>', "billing@muster-it.example")
    assert found["To"].addresses[0].domain == "kunde.example" and len(found["To"].addresses) == 1


# ---------------------------------------------------------------------------------- failures in words


def test_a_name_that_is_not_found() -> None:
    failure = refused(account(25, host="mail.there-is-no-such.example"))
    assert str(failure).startswith("The name mail.there-is-no-such.example was not found.")
    assert not failure.permanent


def test_a_refused_connection() -> None:
    port = mailboxes.free_port()
    assert str(refused(account(port))) == (
        f"127.0.0.1 refuses connections on port {port}. Check the port, and that the server runs."
    )


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_server_that_says_nothing(security: str) -> None:
    with mailboxes.silent() as port:
        failure = refused(account(port, security=security), timeout=QUICK)
    assert str(failure).startswith(f"127.0.0.1, port {port}, does not answer in time.")
    assert not failure.permanent


def test_a_server_that_falls_silent_in_the_middle() -> None:
    with mailboxes.running(Mailbox(go_on=mailboxes.Event())) as box:
        assert "does not answer in time" in str(refused(account(box.port), timeout=QUICK))


def test_a_connection_that_is_closed_at_once() -> None:
    with closing(socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        said = str(refused(account(listening.getsockname()[1])))
    assert "closed the connection in the middle of the conversation" in said and "port 465" in said


def test_no_tls_where_tls_was_expected() -> None:
    with mailboxes.running() as box:
        said = str(refused(account(box.port, security="tls")))
    assert said.startswith(f"127.0.0.1 does not speak TLS on port {box.port} as expected.")


def test_no_starttls_where_it_was_expected() -> None:
    with mailboxes.running() as box:
        said = str(refused(account(box.port, security="starttls")))
    assert said.startswith(f"127.0.0.1 offers no STARTTLS on port {box.port}.")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_nobody_known(certificate: Certificate, security: str) -> None:
    with mailboxes.running(**{security: certificate.context}) as box:  # type: ignore[arg-type]
        said = str(refused(account(box.port, security=security)))
    assert said.startswith("The certificate of 127.0.0.1 is not to be trusted: self-signed certificate")
    assert not box.arrived


def test_a_certificate_for_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = mailboxes.certificate(tmp_path, host="mail.other.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.authority))
    with mailboxes.running(tls=other.context) as box:
        said = str(refused(account(box.port, security="tls")))
    assert "IP address mismatch" in said and not box.arrived


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong-äöü"), ("nobody", PASSWORD)])
def test_a_wrong_password_is_said_and_not_shown(user: str, password: str) -> None:
    with mailboxes.running(sign_in=True) as box:
        failure = refused(account(box.port, username=user, password=password))
    assert str(failure).startswith(f"127.0.0.1 refuses the user name or the password of “{user}”: 535")
    assert password not in str(failure) and not failure.permanent


def test_a_server_without_a_sign_in() -> None:
    with mailboxes.running() as box:
        failure = refused(account(box.port, username=USER, password=PASSWORD))
    assert str(failure).startswith(f"127.0.0.1 offers no sign-in on port {box.port}.")


@pytest.mark.parametrize(
    ("step", "answer", "words", "permanent"),
    [
        ("MAIL", "550 not one of ours", "refuses the sender billing@muster-it.example: 550 not one of ours", False),
        ("MAIL", "552 too big", "refuses a message of this size: 552 too big", True),
        ("RCPT", "550 no such user", "refuses the recipient ada@kunde.example: 550 no such user", True),
        ("RCPT", "451 greylisted", "refuses the recipient ada@kunde.example: 451 greylisted", False),
        ("DATA", "554 spam", "refuses the message: 554 spam", True),
        ("DATA", "452 disk full", "refuses the message: 452 disk full", False),
    ],
)
def test_what_the_server_refuses_and_whether_for_good(step: str, answer: str, words: str, permanent: bool) -> None:
    with mailboxes.running(Mailbox(answers={step: answer})) as box:
        failure = refused(account(box.port))
    assert words in str(failure)
    assert failure.permanent is permanent
    assert not box.arrived


def test_an_address_that_the_server_can_not_deliver_to() -> None:
    with mailboxes.running() as box:
        failure = refused(account(box.port), recipient="jürgen@kunde.example")
    assert failure.permanent and "letters other than a–z" in str(failure)


def test_a_servers_answer_is_one_short_line_without_the_password() -> None:
    with mailboxes.running(Mailbox(answers={"RCPT": f"550 {PASSWORD}\x07 {'x' * 400}"})) as box:
        said = str(refused(account(box.port, password=PASSWORD)))
    assert PASSWORD not in said and "\x07" not in said and len(said) < 400


def test_an_account_shows_no_password() -> None:
    assert PASSWORD not in repr(account(25, password=PASSWORD))
