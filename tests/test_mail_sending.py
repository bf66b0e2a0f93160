"""The outbox, sent through a real mail server: what arrives, what is tried again and when, and each mail once."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from lib import db, documents, invoice_mails, invoices, mail_sending, mail_server, mails, smtp, vault
from lib.auth import Role, User
from lib.errors import Conflict, NotAllowed
from tests import closes, mailboxes, people
from tests.mailboxes import Mailbox

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

ROOT = Path(__file__).parents[1]
TO = "ada@kunde.example"
VALUES = {"name": "Ada Müller", "customer": "Ada GmbH", "valid_from": "01.10.2026", "prices": "IP-Scans: 2,00 EUR"}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())


@pytest.fixture
def box(database: str) -> Iterator[Mailbox]:
    """A mail server, and our settings for it."""
    with mailboxes.running() as running:
        use(running.port)
        yield running


def admin() -> User:
    with db.transaction() as conn:
        return people.hire(conn)[Role.ADMIN]


def use(port: int, **changed: str) -> None:
    user = admin()
    settings = {"host": "127.0.0.1", "port": str(port), "security": "none", "sender_address": "post@muster.example"}
    with db.transaction() as conn:
        version = mail_server.server(conn).version
        mail_server.edit(conn, version=version, changes=settings | changed, user=user)


def queue(**given: Any) -> int:
    with db.transaction() as conn:
        options = {"recipient": TO, "language": "de", "values": VALUES} | given
        return mails.queue(conn, options.pop("kind", "price_notice"), **options)


def mail(mail_id: int) -> mails.Mail:
    with db.transaction() as conn:
        return mails.mail(conn, mail_id)


def run(statement: str, **values: Any) -> None:
    with db.transaction() as conn:
        conn.execute(text(statement), values)


def waits_minutes(mail_id: int) -> int:
    with db.transaction() as conn:
        query = text("SELECT round(extract(epoch FROM due_at - now()) / 60) FROM mails WHERE id = :id")
        return int(conn.execute(query, {"id": mail_id}).scalar_one())


def subjects(box: Mailbox) -> list[str]:
    return [str(found["Subject"]) for found in box.arrived]


# ---------------------------------------------------------------------------------- what arrives


def test_a_queued_mail_arrives_once(box: Mailbox) -> None:
    mail_id = queue()
    assert mail(mail_id).state == "queued"
    assert mail_sending.send_one()
    assert not mail_sending.send_one(), "there is nothing left"
    [found] = box.arrived
    assert (found["To"], found["Subject"]) == (TO, "Neue Preise ab 01.10.2026")
    assert "Guten Tag Ada Müller," in found.get_content() and "IP-Scans: 2,00 EUR" in found.get_content()
    sent = mail(mail_id)
    assert (sent.state, sent.attempts, sent.last_error) == ("sent", 1, "") and sent.sent_at is not None


def test_nothing_is_mailed_that_was_rolled_back(box: Mailbox) -> None:
    with db.engine().connect() as conn, conn.begin() as transaction:
        mails.queue(conn, "price_notice", recipient=TO, language="de", values=VALUES)
        transaction.rollback()
    assert not mail_sending.send_one() and not box.arrived


@pytest.mark.row("S3")
def test_an_invoice_arrives_with_its_stored_pdf(box: Mailbox) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        closes.approve(conn, company)
        closes.issue(conn, company)
        document = invoices.invoices_of(conn, company.with_users)[0]
        prepared = invoice_mails.prepared(conn, document.id)
        invoice_mails.send(
            conn, document.id, recipient=TO, subject=prepared.subject, body=prepared.body, user=company.finance
        )
    assert mail_sending.send_one()
    [found] = box.arrived
    assert found["Subject"] == f"Rechnung {document.number} von Muster IT GmbH"
    [attached] = found.iter_attachments()
    assert attached.get_filename() == f"{document.number}.pdf"
    with db.transaction() as conn:
        name, content = documents.pdf(conn, document.id)
        stored = conn.scalar(text("SELECT content FROM documents WHERE invoice_id = :id"), {"id": document.id})
    assert attached.get_content() == content == bytes(stored or b"") and name == attached.get_filename()


def test_a_links_secret_is_in_the_mail_alone(box: Mailbox) -> None:
    customer_id, link_id = invited()
    mail_id = queue(
        kind="invite", values={"name": "", "customer": "Ada GmbH"}, customer_id=customer_id, link_id=link_id
    )
    assert mail_sending.send_one()
    content = box.arrived[0].get_content()
    [address] = [line for line in content.splitlines() if line.startswith("https://portal.muster.example/accept?link=")]
    assert "{" not in content and "Der Link gilt bis" in content
    secret = address.partition("link=")[2]
    assert len(secret) > 40
    with db.transaction() as conn:
        for (table,) in conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")):
            holding = conn.scalar(
                text(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE :secret'), {"secret": f"%{secret}%"}
            )
            assert holding == 0, table
    assert "{link}" in mail(mail_id).body, "this is what staff see"


def test_an_invite_whose_link_is_void_is_not_sent(box: Mailbox) -> None:
    customer_id, link_id = invited()
    mail_id = queue(
        kind="invite", values={"name": "", "customer": "Ada GmbH"}, customer_id=customer_id, link_id=link_id
    )
    run("UPDATE user_links SET voided_at = now()")
    assert mail_sending.send_one()
    failed = mail(mail_id)
    assert failed.state == "failed" and "is void" in failed.last_error and not box.arrived


def test_an_invite_waits_for_the_portals_address(box: Mailbox) -> None:
    customer_id, link_id = invited()
    run("UPDATE company SET portal_url = ''")
    mail_id = queue(
        kind="invite", values={"name": "", "customer": "Ada GmbH"}, customer_id=customer_id, link_id=link_id
    )
    assert mail_sending.send_one()
    assert "portal's address is not set" in mail(mail_id).last_error and not box.arrived


def test_who_was_told_of_an_erasure_is_forgotten(box: Mailbox) -> None:
    values = {"name": "", "customer": "Ada GmbH", "date": "31.08.2026", "kept": "Nichts."}
    mail_id = queue(kind="erased", values=values)
    assert mail_sending.send_one()
    assert box.arrived[0]["To"] == TO
    assert (mail(mail_id).recipient, mail(mail_id).body) == ("", "")
    with pytest.raises(Conflict, match="was erased"), db.transaction() as conn:
        mails.resend(conn, mail_id, user=people.hire(conn)[Role.ADMIN])


def invited() -> tuple[int, int]:
    """A customer with a user who has a link, and the portal's address. Returns customer and link."""
    run("UPDATE company SET portal_url = 'https://portal.muster.example/'")
    with db.transaction() as conn:
        company = closes.company(conn)
        user_id = conn.execute(
            text("INSERT INTO customer_users (customer_id, email) VALUES (:id, :to) RETURNING id"),
            {"id": company.with_users, "to": TO},
        ).scalar_one()
        link_id: int = conn.execute(
            text("""INSERT INTO user_links (user_id, purpose, expires_at)
                    VALUES (:id, 'invite', now() + interval '7 days') RETURNING id"""),
            {"id": user_id},
        ).scalar_one()
    return company.with_users, link_id


# ---------------------------------------------------------------------------------- what is tried again


def test_without_a_mail_server_mails_wait_and_no_attempt_is_counted(database: str) -> None:
    mail_id = queue()
    assert not mail_sending.send_one()
    assert (mail(mail_id).state, mail(mail_id).attempts) == ("queued", 0)
    with mailboxes.running() as box:
        use(box.port)
        assert mail_sending.send_one() and len(box.arrived) == 1


def test_what_fails_waits_longer_each_time_and_then_has_failed(box: Mailbox) -> None:
    box.answers["RCPT"] = "451 greylisted"
    mail_id = queue()
    for attempt, minutes in enumerate(mail_sending.WAITS_MINUTES, start=1):
        assert mail_sending.send_one()
        found = mail(mail_id)
        assert (found.state, found.attempts, waits_minutes(mail_id)) == ("queued", attempt, minutes)
        assert "451 greylisted" in found.last_error
        assert not mail_sending.send_one(), "it is not due yet"
        run("UPDATE mails SET due_at = now()")
    assert mail_sending.send_one()
    assert mail(mail_id).state == "failed"
    assert not mail_sending.send_one()
    box.answers.clear()
    with db.transaction() as conn:
        assert mails.resend(conn, mail_id, user=people.hire(conn)[Role.ADMIN]) == mail_id
    assert mail_sending.send_one()
    assert (mail(mail_id).state, mail(mail_id).attempts, mail(mail_id).last_error) == ("sent", 1, "")


def test_what_is_refused_for_good_has_failed_at_once(box: Mailbox) -> None:
    box.answers["RCPT"] = "550 no such user"
    mail_id = queue()
    assert mail_sending.send_one()
    found = mail(mail_id)
    assert (found.state, found.attempts) == ("failed", 1)
    assert found.last_error == f"The mail server refuses the recipient {TO}: 550 no such user"


def test_a_wrong_password_fails_no_mail_for_good(database: str) -> None:
    with mailboxes.running(sign_in=True) as box:
        run(
            "UPDATE mail_server SET host = '127.0.0.1', port = :port, security = 'none', username = 'mandant', "
            "password = :password, sender_address = 'post@muster.example'",
            port=box.port,
            password=vault.sealed("wrong", about=mail_server.ABOUT),
        )
        mail_id = queue()
        assert mail_sending.send_one()
    assert mail(mail_id).state == "queued" and "refuses the user name or the password" in mail(mail_id).last_error


def test_a_missing_key_is_said_and_the_mail_waits(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    run("UPDATE mail_server SET username = 'x', password = :password", password=vault.sealed("x", about="y"))
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())
    mail_id = queue()
    assert mail_sending.send_one()
    assert mail(mail_id).state == "queued" and "is not in MANDANT_KEYS" in mail(mail_id).last_error


def test_what_nobody_foresaw_is_in_the_log_by_its_reference(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(smtp, "deliver", lambda *_: 1 / 0)
    mail_id = queue()
    assert mail_sending.send_one()
    said = mail(mail_id).last_error
    assert mail(mail_id).state == "queued" and "under the reference" in said
    assert said.rstrip(".").rpartition(" ")[2] in caplog.text


# ---------------------------------------------------------------------------------- again, by a person


def test_a_sent_mail_goes_out_again_as_another_one(box: Mailbox) -> None:
    mail_id = queue()
    mail_sending.send_one()
    with db.transaction() as conn:
        again = mails.resend(conn, mail_id, user=people.hire(conn)[Role.SALES])
    assert again != mail_id and mail_sending.send_one()
    first, second = box.arrived
    assert first["Message-ID"] != second["Message-ID"] and first.get_content() == second.get_content()


def test_a_waiting_mail_goes_out_now(box: Mailbox) -> None:
    mail_id = queue()
    run("UPDATE mails SET due_at = now() + interval '1 hour', attempts = 4")
    assert not mail_sending.send_one()
    with db.transaction() as conn:
        mails.resend(conn, mail_id, user=people.hire(conn)[Role.SALES])
    assert mail_sending.send_one() and mail(mail_id).attempts == 5


def test_not_everybody_sends_again_and_not_everything_is(box: Mailbox) -> None:
    mail_id = queue()
    with db.transaction() as conn:
        hired = people.hire(conn)
    with pytest.raises(NotAllowed), db.transaction() as conn:
        mails.resend(conn, mail_id, user=hired[Role.VIEWER])
    run("UPDATE mails SET leased_until = now() + interval '1 minute'")
    with pytest.raises(Conflict, match="being sent at this very moment"), db.transaction() as conn:
        mails.resend(conn, mail_id, user=hired[Role.ADMIN])
    run("UPDATE mails SET kind = 'invite', state = 'sent', sent_at = now(), leased_until = NULL")
    with pytest.raises(Conflict, match="A link works once"), db.transaction() as conn:
        mails.resend(conn, mail_id, user=hired[Role.ADMIN])
    run("UPDATE mail_server SET host = ''")
    with pytest.raises(Conflict, match="No mail server is set up"), db.transaction() as conn:
        mails.resend(conn, mail_id, user=hired[Role.ADMIN])


# ---------------------------------------------------------------------------------- once, whatever happens


def test_several_workers_send_each_mail_once(box: Mailbox) -> None:
    wanted = {queue(values=VALUES | {"valid_from": f"{day}.10.2026"}) for day in range(1, 31)}

    def work(_: int) -> int:
        sent = 0
        while mail_sending.send_one():
            sent += 1
        return sent

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(4)))
    assert sum(done) == len(wanted) and len(set(subjects(box))) == len(box.arrived) == len(wanted)


def test_a_killed_workers_mail_is_sent_by_another_and_once(box: Mailbox, database: str) -> None:
    box.go_on = Event()
    mail_id = queue()
    worker = subprocess.Popen([sys.executable, "-c", "from lib import mail_sending; mail_sending.send_one()"], cwd=ROOT)
    assert box.reading.wait(60), "the message is on its way"
    worker.kill()
    worker.wait()
    assert (mail(mail_id).state, mail(mail_id).attempts) == ("queued", 1)
    assert not mail_sending.send_one(), "nobody else takes it while the dead one's lease holds"
    run("UPDATE mails SET leased_until = now()")
    box.arrived.clear()
    box.go_on.set()
    assert mail_sending.send_one() and not mail_sending.send_one()
    assert (mail(mail_id).state, mail(mail_id).attempts) == ("sent", 2)
    identities = {str(found["Message-ID"]) for found in box.arrived}
    with db.transaction() as conn:
        assert identities == {conn.scalar(text("SELECT message_id FROM mails"))}, "the receiving side sees one message"


def test_a_late_failure_does_not_undo_what_another_worker_did(box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mail_id = queue()

    def too_slow(*_: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setenv(vault.VARIABLE, vault.new_key())
        run("UPDATE mails SET leased_until = now()")
        assert mail_sending.send_one()
        raise smtp.Undelivered("too late")

    monkeypatch.setattr(smtp, "deliver", too_slow)
    assert mail_sending.send_one()
    assert (mail(mail_id).state, mail(mail_id).last_error) == ("sent", "") and len(box.arrived) == 1


def test_a_mail_that_kills_its_workers_fails_in_the_end(box: Mailbox) -> None:
    mail_id = queue()
    run("UPDATE mails SET attempts = :most", most=mail_sending.MOST_ATTEMPTS)
    assert mail_sending.send_one()
    assert mail(mail_id).state == "failed" and "The worker ended each time" in mail(mail_id).last_error
    assert not box.arrived
