"""The pages of mail: server and templates in the settings, a customer's mails, the jobs, and how far an invoice is."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from lib import db, invoice_mails, invoices, mail_sending, mail_server, mail_templates, mails, vault
from lib.auth import Role
from tests import closes, mailboxes, people
from tests.beginnings import Begin
from tests.closes import TODAY, Company

Open = Callable[..., AppTest]
SECRET = "sesam-öffne-dich"
VALUES = {"name": "", "customer": "Ada GmbH", "valid_from": "01.10.2026", "prices": "IP-Scans: 2,00 EUR"}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())


@pytest.fixture
def company(begin: Begin) -> Company:
    return begin(closes.issued)


def section(page: AppTest, name: str) -> AppTest:
    page.query_params["section"] = page.session_state["section"] = name
    return page.run()


def said(page: AppTest) -> str:
    parts = (page.markdown, page.caption, page.info, page.warning, page.error, page.success, page.text, page.toast)
    return "\n".join(str(one.value) for kind in parts for one in kind).replace("\\", "")


def table(page: AppTest, column: str) -> list[Any]:
    frame = next(one.value for one in page.dataframe if column in one.value.columns)
    return list(frame[column])


def with_server(port: int = 9, **changed: str) -> None:
    with db.transaction() as conn:
        changes = {"host": "127.0.0.1", "port": str(port), "security": "none", "sender_address": "post@muster.example"}
        version = mail_server.server(conn).version
        mail_server.edit(conn, version=version, changes=changes | changed, user=people.hire(conn)[Role.ADMIN])


def queue(customer_id: int | None = None) -> int:
    with db.transaction() as conn:
        return mails.queue(
            conn, "price_notice", recipient="ada@kunde.example", language="de", values=VALUES, customer_id=customer_id
        )


# ---------------------------------------------------------------------------------- settings


def test_the_password_is_saved_and_never_shown_again(database: str, open_page: Open) -> None:
    page = section(open_page("settings.py"), "Mail server")
    assert not page.exception
    for name, value in (("host", "mail.muster.example"), ("username", "mandant"), ("password", SECRET)):
        page.text_input(key=f"mail_server_{name}").set_value(value)
    page.text_input(key="mail_server_sender_address").set_value("post@muster.example")
    page.button(key="mail_server_save").click().run()
    assert "The mail server is saved" in said(page)
    assert page.text_input(key="mail_server_password").value == ""
    assert page.text_input(key="mail_server_password").proto.placeholder == "Stored. Leave empty to keep it"
    again = section(open_page("settings.py"), "Mail server")
    for shown in (page, again):
        assert SECRET not in said(shown) and SECRET not in repr(shown.session_state)
    with db.transaction() as conn:
        assert mail_server.account(conn).password == SECRET


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"host": "http://x"}, "host", "is not a server's name"),
        ({"sender_address": ""}, "sender_address", "The sender's address is required"),
        ({"port": "smtp"}, "port", "whole number"),
    ],
)
def test_what_does_not_fit_is_said_and_what_was_typed_stays(
    database: str, open_page: Open, typed: dict[str, str], field: str, words: str
) -> None:
    page = section(open_page("settings.py"), "Mail server")
    for name, value in ({"host": "mail.muster.example", "sender_address": "post@muster.example"} | typed).items():
        page.text_input(key=f"mail_server_{name}").set_value(value)
    page.button(key="mail_server_save").click().run()
    assert said(page).count(words) == 2, "above the page and at the field"
    assert page.text_input(key=f"mail_server_{field}").value == typed[field]


def test_without_a_key_the_page_says_what_to_do(
    database: str, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(vault.VARIABLE)
    page = section(open_page("settings.py"), "Mail server")
    assert "python -m lib new-key" in said(page)
    for name, value in (("host", "mail.muster.example"), ("username", "mandant"), ("password", SECRET)):
        page.text_input(key=f"mail_server_{name}").set_value(value)
    page.text_input(key="mail_server_sender_address").set_value("post@muster.example")
    page.button(key="mail_server_save").click().run()
    assert page.error and "there is no key for that yet" in page.error[0].value.replace("\\", "")


def test_a_test_mail_says_how_it_went(database: str, open_page: Open) -> None:
    with mailboxes.running() as box:
        with_server(box.port)
        page = section(open_page("settings.py"), "Mail server")
        page.text_input(key="trial_test_recipient").set_value("me@muster.example")
        page.button(key="trial_go").click().run()
        assert "took the test mail to me@muster.example" in said(page)
        assert [one["To"] for one in box.arrived] == ["me@muster.example"]
        box.answers["RCPT"] = "550 no such user"
        page.button(key="trial_go").click().run()
        assert "refuses the recipient me@muster.example: 550 no such user" in said(page)
        page.text_input(key="trial_test_recipient").set_value("me")
        page.button(key="trial_go").click().run()
        assert "is not an e-mail address" in said(page) and "550" not in said(page)


def test_a_template_is_changed_with_a_preview(database: str, open_page: Open) -> None:
    page = section(open_page("settings.py"), "Mail templates")
    page.selectbox(key="template_kind").set_value("invoice").run()
    assert "im Anhang finden Sie die Rechnung RE-2026-00042" in said(page)
    page.text_area(key="template_invoice_de_body").set_value("{greeting} {betrag}").run()
    assert "{betrag} is nothing that is filled in here" in said(page), "the preview says so at once"
    page.button(key="template_save").click().run()
    assert "{betrag} is nothing that is filled in here" in page.error[0].value.replace("\\", "")
    page.text_area(key="template_invoice_de_body").set_value("{greeting} {amount}").run()
    page.button(key="template_save").click().run()
    assert "The template is saved" in said(page) and "Guten Tag Erika Beispiel, 1.234,56" in said(page)
    with db.transaction() as conn:
        assert mail_templates.template(conn, "invoice", "de").body == "{greeting} {amount}"
        assert mail_templates.template(conn, "invoice", "en").version == 0


def test_a_stale_template_is_not_saved(database: str, open_page: Open) -> None:
    page = section(open_page("settings.py"), "Mail templates")
    with db.transaction() as conn:
        mail_templates.edit(
            conn, "invite", "de", subject="Anders", body="{link}", version=0, user=people.hire(conn)[Role.ADMIN]
        )
    page.text_input(key="template_invite_de_subject").set_value("Meins")
    page.button(key="template_save").click().run()
    assert "after you opened it" in said(page)
    assert page.text_input(key="template_invite_de_subject").value == "Meins"


# ---------------------------------------------------------------------------------- a customer's mails, invoices


def test_a_customers_mails_with_state_and_reason(company: Company, open_page: Open) -> None:
    page = open_page("customer.py", Role.VIEWER, id=str(company.with_ips), tab="Mails")
    assert not page.exception and "No mail was sent yet" in said(page)
    queue(company.with_users)
    page = open_page("customer.py", Role.VIEWER, id=str(company.with_users), tab="Mails")
    assert "No mail server is set up yet" in said(page) and table(page, "state") == [["Waiting"]]
    with mailboxes.running(mailboxes.Mailbox(answers={"RCPT": "550 no such user"})) as box:
        with_server(box.port)
        mail_sending.send_one()
    page = open_page("customer.py", Role.VIEWER, id=str(company.with_users), tab="Mails")
    assert not page.exception
    assert table(page, "state") == [["Failed"]] and "550 no such user" in table(page, "reason")[0]


@pytest.mark.row("S3")
def test_the_list_and_the_page_say_when_an_invoice_was_mailed(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        document = invoices.invoices_of(conn, company.with_users)[0]
    with mailboxes.running() as box:
        with_server(box.port)
        with db.transaction() as conn:
            invoice_mails.send(
                conn, document.id, recipient="ada@kunde.example", subject="s", body="b", user=company.finance
            )
        waiting = open_page("invoices.py", Role.FINANCE)
        assert table(waiting, "mailed") == ["–", "Waiting"]
        assert mail_sending.send_one()
    with db.transaction() as conn:
        conn.execute(text("UPDATE mails SET sent_at = '2026-08-02 22:30+00'"))
    assert table(open_page("invoices.py", Role.VIEWER), "mailed") == ["–", "3 Aug 2026"], "in the company's time zone"
    page = open_page("invoice.py", Role.VIEWER, id=str(document.id))
    assert "Sent 3 Aug 2026 to ada@kunde.example" in said(page)
    assert "Send by mail" not in {one.label for one in page.button}, "a viewer may not"
    tab = open_page("customer.py", Role.VIEWER, id=str(company.with_users), tab="Invoices")
    assert table(tab, "mailed") == ["3 Aug 2026"]


def test_a_mail_that_failed_is_said_on_the_invoice(company: Company, open_page: Open) -> None:
    with_server()
    with db.transaction() as conn:
        document = invoices.invoices_of(conn, company.with_users)[0]
        invoice_mails.send(
            conn, document.id, recipient="ada@kunde.example", subject="s", body="b", user=company.finance
        )
    assert mail_sending.send_one()
    page = open_page("invoice.py", Role.FINANCE, id=str(document.id))
    assert "It waits to be sent again to ada@kunde.example. 127.0.0.1 refuses connections on port 9" in said(page)


# ---------------------------------------------------------------------------------- the jobs


def test_without_jobs_the_page_says_so(database: str, open_page: Open) -> None:
    page = open_page("jobs.py")
    assert not page.exception and "Nothing waits, nothing runs, and nothing has failed" in said(page)
    assert "No job matches" in said(open_page("jobs.py", job_state="Done"))


def test_failed_jobs_are_tried_again_by_an_admin(database: str, open_page: Open) -> None:
    with_server()
    queue()
    with db.transaction() as conn:
        conn.execute(text("UPDATE mails SET state = 'failed', last_error = 'no such user'"))
    page = open_page("jobs.py", job_kind="Mail")
    assert table(page, "reason") == ["no such user"] and table(page, "state") == [["Failed"]]
    assert "No job matches" in said(open_page("jobs.py", job_state="Waiting"))
    page.button(key="retry_mail").click().run()
    assert not page.exception and table(page, "state") == [["Waiting"]]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_the_jobs_are_for_admins(database: str, open_page: Open, role: Role) -> None:
    page = open_page("jobs.py", role)
    assert page.title[0].value == "Not for your role" and not page.dataframe
