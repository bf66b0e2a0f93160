"""Invoices by e-mail: prepared in the document's language, to the right address, one or many, drafts never (S3)."""

from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import audit, cancellations, customers, drafts, invoice_mails, invoices, mail_server, mails
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from tests import closes
from tests.closes import TODAY, Company

TO = "buchhaltung@ada.example"


BEGINS_WITH = closes.company


@pytest.fixture
def company(conn: Connection, begun: Company) -> Company:
    closes.approve(conn, begun)
    return begun


def with_server(conn: Connection, admin: User) -> None:
    changes = {"host": "127.0.0.1", "security": "none", "sender_address": "rechnung@muster-it.example"}
    mail_server.edit(conn, version=mail_server.server(conn).version, changes=changes, user=admin)


def address(conn: Connection, customer_id: int, user: User, **changes: str) -> None:
    version = customers.customer(conn, customer_id).version
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=user)


def document_of(conn: Connection, customer_id: int) -> int:
    return invoices.invoices_of(conn, customer_id)[0].id


@pytest.fixture
def issued(conn: Connection, company: Company) -> int:
    """The invoice of Ada GmbH, with a server to send it by and an address to send it to."""
    closes.issue(conn, company)
    with_server(conn, company.admin)
    address(conn, company.with_users, company.admin, contact_name="Ada Müller", contact_email=TO)
    return document_of(conn, company.with_users)


def texts(conn: Connection) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in conn.execute(text("SELECT recipient, subject, body FROM mails ORDER BY id"))]


@pytest.mark.row("S3")
def test_a_mail_is_prepared_in_the_documents_language(conn: Connection, issued: int) -> None:
    found = invoice_mails.prepared(conn, issued)
    assert (found.recipient, found.subject) == (TO, "Rechnung RE-2026-00001 von Muster IT GmbH")
    assert found.body.startswith("Guten Tag Ada Müller,\n\nim Anhang finden Sie die Rechnung RE-2026-00001 vom")
    assert "vom 03.07.2026 über 53,55 EUR für Ada GmbH." in found.body
    assert "Bitte überweisen Sie den Betrag bis zum 17.07.2026." in found.body


@pytest.mark.row("S3")
def test_a_mail_asks_for_no_transfer_where_the_document_does_not(conn: Connection, company: Company) -> None:
    address(conn, company.with_users, company.admin, payment_method="free")
    closes.issue(conn, company)
    body = invoice_mails.prepared(conn, document_of(conn, company.with_users)).body
    assert "überweisen" not in body
    assert "keine Zahlung vereinbart" in body


def test_an_english_document_is_written_to_in_english(conn: Connection, begun: Company) -> None:
    customer_id = closes.abroad(conn, begun, "Ada Ltd", "GB")
    closes.approve(conn, begun)
    closes.issue(conn, begun)
    found = invoice_mails.prepared(conn, document_of(conn, customer_id))
    assert found.recipient == "", "there is none to propose"
    assert found.subject.startswith("Invoice RE-2026-0000") and found.subject.endswith(" from Muster IT GmbH")
    assert found.body.startswith("Hello,\n\nplease find attached Invoice RE-2026-0000")
    assert "of 3 July 2026 for Ada Ltd, 45.00 EUR in total." in found.body
    assert "Please transfer the amount by 17 July 2026." in found.body


def test_a_cancellation_asks_for_no_money(conn: Connection, company: Company, issued: int) -> None:
    other = cancellations.cancel(conn, issued, reason="x", today=TODAY, user=company.finance)
    found = invoice_mails.prepared(conn, other)
    assert found.subject == "Stornorechnung ST-2026-00001 von Muster IT GmbH"
    assert "über −53,55 EUR" in found.body and "überweisen" not in found.body
    assert "überweisen" not in invoice_mails.prepared(conn, issued).body, "the cancelled invoice neither"


def test_the_billing_contact_comes_before_the_billing_address_and_that_before_the_contact(
    conn: Connection, company: Company, issued: int
) -> None:
    address(conn, company.with_users, company.admin, billing_email="rechnungen@ada.example")
    found = invoice_mails.prepared(conn, issued)
    assert found.recipient == "rechnungen@ada.example" and found.body.startswith("Guten Tag,")
    conn.execute(
        text("""INSERT INTO contacts (customer_id, name, email, is_billing)
                VALUES (:id, 'Bea Beispiel', 'bea@ada.example', true), (:id, 'Carl', 'carl@ada.example', false)"""),
        {"id": company.with_users},
    )
    found = invoice_mails.prepared(conn, issued)
    assert found.recipient == "bea@ada.example" and found.body.startswith("Guten Tag Bea Beispiel,")


@pytest.mark.row("S3")
def test_what_a_person_changed_is_what_is_queued(conn: Connection, company: Company, issued: int) -> None:
    mail_id = invoice_mails.send(
        conn, issued, recipient="chef@ada.example", subject="Anders", body="Hallo\n\nAda", user=company.finance
    )
    found = mails.mail(conn, mail_id)
    assert (found.recipient, found.subject, found.body) == ("chef@ada.example", "Anders", "Hallo\n\nAda")
    assert (found.state, found.invoice_number, found.created_by) == ("queued", "RE-2026-00001", "Fiona")
    assert invoice_mails.sendings(conn, [issued])[issued].state == "queued"
    entry = audit.entries(conn, object_type="invoice", object_id=issued)[0][0]
    assert entry.action == "send by mail" and "ada.example" not in str(entry)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"recipient": ""}, "recipient"),
        ({"recipient": "a@b.example, c@d.example"}, "recipient"),
        ({"recipient": "a@b.example\nBcc: c@d.example"}, "recipient"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\nBcc: c@d.example"}, "subject"),
        ({"body": " "}, "body"),
        ({"body": "x" * 10_001}, "body"),
    ],
)
def test_what_can_not_be_sent_is_said_at_its_field(
    conn: Connection, company: Company, issued: int, changed: dict[str, str], field: str
) -> None:
    typed = {"recipient": TO, "subject": "s", "body": "b"} | changed
    with pytest.raises(Invalid) as refusal:
        invoice_mails.send(conn, issued, user=company.finance, **typed)
    assert refusal.value.field == field and texts(conn) == []


@pytest.mark.row("S3")
def test_a_draft_is_not_sent(conn: Connection, company: Company) -> None:
    with_server(conn, company.admin)
    draft = document_of(conn, company.with_users)
    with pytest.raises(Conflict, match="A draft can't be sent"):
        invoice_mails.prepared(conn, draft)
    with pytest.raises(Conflict, match="A draft can't be sent"):
        invoice_mails.send(conn, draft, recipient=TO, subject="s", body="b", user=company.finance)
    with pytest.raises(Conflict, match="None of these documents can be sent"):
        invoice_mails.send_many(conn, [draft], user=company.finance)
    assert texts(conn) == []


def test_without_a_mail_server_nothing_is_queued(conn: Connection, company: Company) -> None:
    closes.issue(conn, company)
    document = document_of(conn, company.with_users)
    with pytest.raises(Conflict, match="No mail server is set up yet"):
        invoice_mails.send(conn, document, recipient=TO, subject="s", body="b", user=company.finance)
    with pytest.raises(Conflict, match="No mail server is set up yet"):
        invoice_mails.send_many(conn, [document], user=company.finance)


@pytest.mark.row("S3")
def test_many_are_sent_and_those_without_an_address_are_named(conn: Connection, company: Company, issued: int) -> None:
    other = document_of(conn, company.with_ips)
    draft_id = drafts.create(
        conn, company.with_users, service_from=closes.JUNE, service_until=closes.END_OF_JUNE,
        lines=[closes.line("1")], user=company.finance,
    )  # fmt: skip
    chosen = [issued, other, draft_id, issued]
    expected = invoice_mails.Survey(ready=1, sent_before=0, without_address=["Berta AG"], drafts=1)
    assert invoice_mails.survey(conn, chosen) == expected
    assert invoice_mails.send_many(conn, chosen, user=company.finance) == expected
    [(recipient, subject, _)] = texts(conn)
    assert (recipient, subject) == (TO, "Rechnung RE-2026-00001 von Muster IT GmbH")
    assert invoice_mails.survey(conn, chosen).sent_before == 1, "the next one is told that it was sent already"


def test_a_double_click_sends_once(conn: Connection, company: Company, issued: int) -> None:
    key = uuid4()
    invoice_mails.send_many(conn, [issued], user=company.finance, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        invoice_mails.send_many(conn, [issued], user=company.finance, request_key=key)
    typed = {"recipient": TO, "subject": "s", "body": "b", "request_key": uuid4()}
    invoice_mails.send(conn, issued, user=company.finance, **typed)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        invoice_mails.send(conn, issued, user=company.finance, **typed)
    assert len(texts(conn)) == 2


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_only_who_writes_invoices_sends_them(conn: Connection, company: Company, issued: int, role: Role) -> None:
    user = company.people[role]
    with pytest.raises(NotAllowed):
        invoice_mails.send(conn, issued, recipient=TO, subject="s", body="b", user=user)
    with pytest.raises(NotAllowed):
        invoice_mails.send_many(conn, [issued], user=user)


def test_a_document_that_is_gone_says_so(conn: Connection, company: Company, issued: int) -> None:
    with pytest.raises(NotFound):
        invoice_mails.send_many(conn, [issued, 10**9], user=company.finance)
    with pytest.raises(NotFound):
        invoice_mails.prepared(conn, 10**9)
    assert texts(conn) == []


def test_the_newest_mail_says_how_far_it_is(conn: Connection, company: Company, issued: int) -> None:
    invoice_mails.send_many(conn, [issued], user=company.finance)
    conn.execute(text("UPDATE mails SET state = 'failed', last_error = 'no such user'"))
    assert invoice_mails.sendings(conn, [issued])[issued].last_error == "no such user"
    assert invoice_mails.survey(conn, [issued]).sent_before == 0
    invoice_mails.send_many(conn, [issued], user=company.finance)
    assert invoice_mails.sendings(conn, [issued])[issued].state == "queued"
    assert invoice_mails.sendings(conn, [document_of(conn, company.with_ips)]) == {}


# ---------------------------------------------------------------------------------- a month


@pytest.mark.row("S3", "B1")
def test_a_months_documents_are_sent_once(conn: Connection, company: Company, issued: int) -> None:
    surveyed = invoice_mails.month_survey(conn, closes.JUNE)
    assert surveyed == invoice_mails.MonthSurvey(to_send=1, without_address=1, sent=0, waiting=0, failed=0)
    assert invoice_mails.send_month(conn, closes.JUNE, user=company.finance) == 1
    assert [(to, subject) for to, subject, _ in texts(conn)] == [(TO, "Rechnung RE-2026-00001 von Muster IT GmbH")]
    entry = audit.entries(conn, object_type="invoice", object_id=issued)[0][0]
    assert (entry.action, entry.person) == ("send by mail", "Fiona")
    with pytest.raises(Conflict, match="Nothing of June 2026 is left to send"):
        invoice_mails.send_month(conn, closes.JUNE, user=company.finance)
    conn.execute(text("UPDATE mails SET state = 'failed'"))
    surveyed = invoice_mails.month_survey(conn, closes.JUNE)
    assert surveyed == invoice_mails.MonthSurvey(to_send=1, without_address=1, sent=0, waiting=0, failed=1)
    assert invoice_mails.send_month(conn, closes.JUNE, user=company.finance) == 1
    conn.execute(text("UPDATE mails SET state = 'sent', sent_at = now()"))
    address(conn, company.with_ips, company.admin, contact_email="berta@kunde.example")
    surveyed = invoice_mails.month_survey(conn, closes.JUNE)
    assert surveyed == invoice_mails.MonthSurvey(to_send=1, without_address=0, sent=1, waiting=0, failed=0)
    assert invoice_mails.send_month(conn, closes.JUNE, user=company.finance) == 1
    assert len(texts(conn)) == 3


def test_a_month_in_many_parts_says_how_far_it_is(
    conn: Connection, company: Company, issued: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address(conn, company.with_ips, company.admin, contact_email="berta@kunde.example")
    monkeypatch.setattr(invoice_mails, "CHUNK", 1)
    steps: list[str] = []
    assert invoice_mails.send_month(conn, closes.JUNE, user=company.finance, progress=steps.append) == 2
    assert steps == ["1 of 2 mails are written"] and len(texts(conn)) == 2


def test_cancelled_documents_are_left_out_of_a_month(conn: Connection, company: Company, issued: int) -> None:
    cancellations.cancel(conn, issued, reason="x", today=TODAY, user=company.finance)
    assert invoice_mails.month_survey(conn, closes.JUNE).to_send == 0


def test_a_month_is_sent_by_who_writes_invoices_and_by_a_server(
    conn: Connection, company: Company, issued: int, sales: User
) -> None:
    with pytest.raises(NotAllowed):
        invoice_mails.send_month(conn, closes.JUNE, user=sales)
    conn.execute(text("UPDATE mail_server SET host = ''"))
    with pytest.raises(Conflict, match="No mail server is set up"):
        invoice_mails.send_month(conn, closes.JUNE, user=company.finance)
