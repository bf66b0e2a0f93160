"""An invoice by mail, from its page and from the list, through a real mail server; and a job that is tried again."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from lib import db, documents, invoice_mails, invoices, mail_sending, mail_server
from lib.auth import Role
from tests import closes, databases, mailboxes, people
from tests.mailboxes import Mailbox


@pytest.fixture(scope="module")
def app_database(server: str, template: str) -> Iterator[str]:
    """A company with two issued invoices: Ada GmbH and Berta AG, both without an address."""
    with databases.copy(server, template) as url, databases.in_use(url):
        with db.transaction() as conn:
            company = closes.company(conn)
            closes.approve(conn, company)
            closes.issue(conn, company)
        yield url


@pytest.fixture(scope="module")
def box(app_database: str) -> Iterator[Mailbox]:
    """The mail server that the company's settings name."""
    with mailboxes.running() as running:
        changes = {
            "host": "127.0.0.1", "port": str(running.port), "security": "none",
            "sender_address": "rechnung@muster-it.example",
        }  # fmt: skip
        with db.transaction() as conn:
            mail_server.edit(conn, version=1, changes=changes, user=people.hire(conn)[Role.ADMIN])
        yield running


def first_invoice() -> invoices.Invoice:
    with db.transaction() as conn:
        return next(one for one in invoices.page(conn, invoices.Filters(), today=closes.TODAY, order="number"))


@pytest.mark.browser
@pytest.mark.row("S3")
def test_an_invoice_is_sent_with_a_changed_text_and_read_back(box: Mailbox, sign_in: Callable[..., Page]) -> None:
    document = first_invoice()
    page = sign_in(Role.FINANCE, f"/invoice?id={document.id}")
    page.get_by_role("button", name="Send by mail").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Subject")).to_have_value(re.compile(f"Rechnung {document.number} von"))
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_text("The recipient is required.").first).to_be_visible()
    dialog.get_by_role("textbox", name="To").fill("ada@kunde.example")
    dialog.get_by_role("textbox", name="Text").fill("Schöne Grüße aus Hamburg")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Waits to be sent to")).to_be_visible()
    assert mail_sending.send_one()
    page.reload()
    expect(page.get_by_text("ada@kunde.example")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^Sent |mark_email_read"))).to_be_visible()
    [arrived] = box.arrived
    body, [attached] = arrived.get_body(("plain",)), list(arrived.iter_attachments())
    assert body is not None and body.get_content().strip() == "Schöne Grüße aus Hamburg"
    with db.transaction() as conn:
        assert attached.get_content() == documents.pdf(conn, document.id)[1]


@pytest.mark.browser
def test_a_failed_mail_is_found_among_the_jobs_and_sent_from_there(box: Mailbox, sign_in: Callable[..., Page]) -> None:
    box.arrived.clear()
    box.answers["RCPT"] = "550 no such user"
    with db.transaction() as conn:
        finance = people.hire(conn)[Role.FINANCE]
        invoice_mails.send(
            conn, first_invoice().id, recipient="berta@kunde.example", subject="Noch einmal", body="x",
            user=finance,
        )  # fmt: skip
    assert mail_sending.send_one()
    box.answers.clear()
    page = sign_in(Role.ADMIN, "/jobs")
    page.get_by_role("combobox", name="Open a job").click()
    page.get_by_role("option", name=re.compile("Noch einmal")).click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("550 no such user")).to_be_visible()
    drawer.get_by_role("button", name="Try again").click()
    expect(drawer).to_be_hidden()
    expect(page.get_by_text("The job is started again within seconds.")).to_be_visible()
    assert mail_sending.send_one()
    assert [one["To"] for one in box.arrived] == ["berta@kunde.example"]
