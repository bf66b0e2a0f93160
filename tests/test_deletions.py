"""Deleting a customer: marked, taken back, erased in two steps; nothing personal stays; our duties are signed off."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import DBAPIError

from lib import (
    adjustments,
    audit,
    billing,
    bookings,
    charges,
    checks,
    close_drafts,
    contacts,
    customer_filters,
    customer_lists,
    customer_statuses,
    customer_users,
    customer_verbs,
    customers,
    db,
    deletions,
    drafts,
    erasures,
    invites,
    invoice_mails,
    invoices,
    issuing,
    jobs,
    links,
    mails,
    quotas,
    settings,
    statements,
    subscriptions,
    tables,
    usage,
)
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.tables import company as company_table
from tests import closes, ledgers, people
from tests.closes import JULY, JUNE, Company

ROOT = Path(__file__).parents[1]
TODAY = date(2026, 6, 20)
END_OF_JUNE = date(2026, 6, 30)
MISSING = 4_000_000
# Each is found nowhere else: whatever holds one of them after the erasure kept something personal.
PERSONAL = {
    "contact_name": "Zacharias Qwertz",
    "contact_email": "zacharias@qwertz-kontakt.example",
    "phone": "+49 30 87654321",
    "street": "Quittenallee 77",
    "postcode": "98765",
    "city": "Xanthopolis",
    "billing_name": "Quarz Rechnungsstelle",
    "billing_street": "Postschließfach 4711",
    "billing_postcode": "87654",
    "billing_city": "Ypsilonstadt",
    "billing_email": "rechnung@qwertz.example",
    "vat_id": "DE444444443",
    "tax_number": "21/815/08150",
    "purchase_order": "BESTELLUNG-ZQ-1",
    "account_name": "qwertz-konto",
    "console_url": "https://console.qwertz.example/start",
}
NAME = "Qwertz Zacharias e.K."


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(TODAY))
    monkeypatch.setenv("MANDANT_KEYS", "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")


@pytest.fixture
def company(conn: Connection) -> Company:
    return closes.company(conn)


def add(conn: Connection, company: Company, *, billed: bool = True, **details: Any) -> int:
    given = {"name": NAME} | PERSONAL | details
    return customers.create(
        conn, details=given, billed=billed, ends_on=None if billed else date(2026, 7, 31), today=JUNE,
        user=company.admin,
    )  # fmt: skip


def mark(conn: Connection, company: Company, customer_id: int, typed: str = "", today: date = TODAY) -> None:
    deletions.mark(conn, customer_id, typed=typed, today=today, user=company.admin)


def take_back(conn: Connection, company: Company, customer_id: int, today: date = TODAY) -> None:
    deletions.take_back(conn, customer_id, today=today, user=company.admin)


def due(conn: Connection) -> None:
    """The delay has passed."""
    conn.execute(text("UPDATE deletions SET due_at = now() - interval '1 second'"))


def erase(conn: Connection, company: Company, customer_id: int) -> deletions.Deletion:
    mark(conn, company, customer_id, deletions.WORD)
    due(conn)
    assert deletions.erase_next(conn)
    return record(conn, customer_id)


def record(conn: Connection, customer_id: int) -> deletions.Deletion:
    found = deletions.deletion_of(conn, customer_id)
    assert found is not None
    return found


def register(conn: Connection, company: Company, customer_id: int, email: str, **given: Any) -> int:
    """A user of the customer who accepted the invite."""
    user_id = invites.invite(conn, customer_id, email=email, user=company.admin, **given)
    link_id = conn.execute(text("SELECT max(id) FROM user_links WHERE user_id = :id"), {"id": user_id}).scalar_one()
    invites.accept(conn, links.secret(conn, link_id), "nine-green-bottles")
    return user_id


def state(conn: Connection, customer_id: int) -> dict[str, Any]:
    """All that makes a customer what it is, without the version of its row."""
    days = conn.execute(
        text("SELECT from_day, until_day FROM counting_spans WHERE customer_id = :id ORDER BY 1"), {"id": customer_id}
    )
    charged = billing.lines(conn, months=[JUNE, JULY], customers=[customer_id])
    return vars(customers.customer(conn, customer_id)) | {
        "version": 0,
        "days": [tuple(row) for row in days],
        "booked": bookings.standing(conn, customer_id),
        "charged": charged,
        "users": [vars(one) for one in customer_users.users_of(conn, customer_id)],
        "contacts": contacts.of(conn, customer_id),
        "mails": mails.of_customer(conn, customer_id, 100, 0),
    }


# ---------------------------------------------------------------------------------- marking


@pytest.mark.row("G12")
def test_marked_its_users_are_out_and_its_subscription_ends_with_the_month(conn: Connection, company: Company) -> None:
    user_id = register(conn, company, company.with_users, "ada@ada.example")
    values = {"token_hash": b"x", "site": "portal", "customer_user_id": user_id}
    conn.execute(insert(tables.sessions).values(values))
    mark(conn, company, company.with_users, "DELETE")
    customer = customers.customer(conn, company.with_users)
    assert customer.marked_for_deletion_at is not None and customer.ends_on == END_OF_JUNE
    assert conn.scalar(text("SELECT count(*) FROM sessions WHERE site = 'portal' AND ended_at IS NULL")) == 0
    assert customer_statuses.status(conn, company.with_users, today=TODAY) == "marked"
    assert [str(one.amount) for one in statements_of(conn, company.with_users)] == ["45.00", "0.00"]
    found = record(conn, company.with_users)
    assert (found.state, found.requested_by, found.open_duties) == ("marked", "Adam", 0)
    assert found.due_at - found.requested_at == timedelta(minutes=30)
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == ("mark for deletion", {"ends_on": [None, "2026-06-30"]})


def statements_of(conn: Connection, customer_id: int) -> list[Any]:
    charges.ensure_rated(conn, JUNE, JULY)
    return conn.execute(
        text("SELECT month, amount FROM statements WHERE customer_id = :id ORDER BY month"), {"id": customer_id}
    ).all()


@pytest.mark.row("G12")
def test_where_somebody_has_registered_the_word_is_typed(conn: Connection, company: Company) -> None:
    register(conn, company, company.with_users, "ada@ada.example")
    for typed in ("", "delete", "DELETE!", "yes"):
        with pytest.raises(Invalid, match="type DELETE") as refused:
            mark(conn, company, company.with_users, typed)
        assert refused.value.field == "typed"
    mark(conn, company, company.with_users, " DELETE ")
    assert record(conn, company.with_users).state == "marked"


@pytest.mark.row("G12", "N10")
def test_an_invited_one_and_one_without_users_only_confirm(conn: Connection, company: Company) -> None:
    invites.invite(conn, company.with_users, email="ada@ada.example", user=company.admin)
    for customer_id in (company.with_users, company.with_ips):
        assert not deletions.needs_word(conn, customer_id)
        mark(conn, company, customer_id)
        assert record(conn, customer_id).state == "marked"


@pytest.mark.row("N10")
def test_a_deactivated_customer_and_a_test_are_deleted_too(conn: Connection, company: Company) -> None:
    customer_verbs.deactivate(conn, company.with_users, today=TODAY, user=company.admin)
    test = add(conn, company, billed=False)
    for customer_id in (company.with_users, test):
        assert erase(conn, company, customer_id).erased_at is not None


def test_an_end_that_comes_earlier_stays(conn: Connection, company: Company) -> None:
    early = date(2026, 6, 25)
    customer_verbs.set_end_date(conn, company.with_users, ends_on=early, today=TODAY, user=company.admin)
    mark(conn, company, company.with_users)
    assert customers.customer(conn, company.with_users).ends_on == early


def test_the_second_click_marks_nothing_twice(conn: Connection, company: Company) -> None:
    mark(conn, company, company.with_users)
    with pytest.raises(AlreadyDone, match="already marked"):
        mark(conn, company, company.with_users)
    assert closes.count(conn, "deletions") == 1


@pytest.mark.row("G12")
def test_the_delay_is_a_setting(conn: Connection, company: Company) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"erasure_delay_minutes": "1440"}, user=company.admin)
    mark(conn, company, company.with_users)
    found = record(conn, company.with_users)
    assert found.due_at - found.requested_at == timedelta(days=1)
    assert deletions.delay_minutes(conn) == 1440
    for typed in ("-1", "43201", "soon"):
        with pytest.raises(Invalid) as refused:
            settings.edit_company(
                conn, version=version + 1, changes={"erasure_delay_minutes": typed}, user=company.admin
            )
        assert refused.value.field == "erasure_delay_minutes"


# ---------------------------------------------------------------------------------- what a marked one refuses


REFUSED: dict[str, Callable[..., Any]] = {
    "edit": lambda conn, c, id_, **_: customers.edit(
        conn, id_, version=customers.customer(conn, id_).version, changes={"city": "Kiel"}, today=TODAY, user=c.admin
    ),
    "end": lambda conn, c, id_, **_: customer_verbs.set_end_date(conn, id_, ends_on=None, today=TODAY, user=c.admin),
    "convert": lambda conn, c, id_, **_: customer_verbs.convert_to_billed(
        conn, id_, ends_on=None, today=TODAY, user=c.admin
    ),
    "manage": lambda conn, c, id_, **_: customer_verbs.convert_to_managed(conn, id_, user=c.admin),
    "lock": lambda conn, c, id_, **_: customer_verbs.lock(conn, id_, user=c.admin),
    "unlock": lambda conn, c, id_, **_: customer_verbs.unlock(conn, id_, user=c.admin),
    "deactivate": lambda conn, c, id_, **_: customer_verbs.deactivate(conn, id_, today=TODAY, user=c.admin),
    "activate": lambda conn, c, id_, **_: customer_verbs.activate(conn, id_, today=TODAY, user=c.admin),
    "cancel": lambda conn, c, id_, **_: subscriptions.cancel(conn, id_, today=TODAY, user=c.admin),
    "resume": lambda conn, c, id_, **_: subscriptions.take_back(conn, id_, today=TODAY, user=c.admin),
    "withdraw": lambda conn, c, id_, **_: subscriptions.withdraw(conn, id_, c.users, today=TODAY, user=c.admin),
    "book": lambda conn, c, id_, **_: bookings.book(
        conn, id_, c.users, effective_on=TODAY, quantity=20, today=TODAY, user=c.admin
    ),
    "take a booking back": lambda conn, c, id_, pending, **_: bookings.take_back(
        conn, pending, today=TODAY, user=c.admin
    ),
    "invite": lambda conn, c, id_, **_: invites.invite(conn, id_, email="new@new.example", user=c.admin),
    "contact": lambda conn, c, id_, **_: contacts.add(conn, id_, name="Nora", user=c.admin),
    "quota": lambda conn, c, id_, **_: quotas.add(
        conn, id_, kind="storage", amount=Decimal(5), from_day=TODAY, until_day=None, user=c.admin
    ),
    "usage": lambda conn, c, id_, **_: usage.record(
        conn, [usage.Usage(id_, TODAY, users=3)], import_id=None, user=c.admin
    ),
}


@pytest.mark.row("G12")
@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED)
def test_nothing_else_is_changed_once_it_is_marked_or_erased(
    conn: Connection, company: Company, write: Callable[..., Any]
) -> None:
    ledgers.book(conn, company.people, company.with_users, company.users, 5, date(2026, 6, 28))
    pending = bookings.pending(conn, company.with_users, today=TODAY)[0].id
    mark(conn, company, company.with_users)
    with pytest.raises(Conflict, match=r"Ada GmbH is marked for deletion|is being deleted"), conn.begin_nested():
        write(conn, company, company.with_users, pending=pending)
    due(conn)
    deletions.erase_next(conn)
    with pytest.raises(Conflict, match=r"Ada GmbH was (deleted|erased)|being deleted"), conn.begin_nested():
        write(conn, company, company.with_users, pending=pending)
    with pytest.raises(Conflict, match="was deleted"):
        mark(conn, company, company.with_users)


@pytest.mark.parametrize("table", ["customer_users", "contacts", "notes", "quotas", "usage"])
def test_the_database_stores_nothing_about_the_erased(conn: Connection, company: Company, table: str) -> None:
    erase(conn, company, company.with_users)
    values = {
        "customer_users": "(customer_id, email) VALUES (:id, 'x@x.example')",
        "contacts": "(customer_id, name) VALUES (:id, 'X')",
        "notes": "(customer_id, text) VALUES (:id, 'X')",
        "quotas": "(customer_id, kind, amount, from_day) VALUES (:id, 'storage', 1, '2026-06-01')",
        "usage": "(customer_id, day) VALUES (:id, '2026-06-01')",
    }
    with pytest.raises(DBAPIError, match="were erased"), conn.begin_nested():
        conn.execute(text(f"INSERT INTO {table} {values[table]}"), {"id": company.with_users})


# ---------------------------------------------------------------------------------- taking back


@pytest.mark.row("G12", "N10")
def test_taken_back_everything_is_as_it_was(conn: Connection, company: Company) -> None:
    customer_id = company.with_users
    register(conn, company, customer_id, "ada@ada.example", first_name="Ada")
    invites.invite(conn, customer_id, email="bo@ada.example", user=company.admin)
    contacts.add(conn, customer_id, name="Cleo", email="cleo@ada.example", is_billing=True, user=company.admin)
    ledgers.book(conn, company.people, customer_id, company.users, 25, date(2026, 9, 1))
    customer_verbs.lock(conn, customer_id, user=company.admin)
    before = state(conn, customer_id)
    mark(conn, company, customer_id, "DELETE")
    assert state(conn, customer_id) != before
    take_back(conn, company, customer_id)
    assert state(conn, customer_id) == before
    assert deletions.deletion_of(conn, customer_id) is None
    assert not deletions.erase_next(conn)
    assert [entry.action for entry in audit.entries(conn, customer_id=customer_id)[0]][:2] == [
        "take deletion back", "mark for deletion",
    ]  # fmt: skip
    with pytest.raises(AlreadyDone, match="is not marked"):
        take_back(conn, company, customer_id)
    # A second deletion is another one.
    mark(conn, company, customer_id, "DELETE")
    assert closes.count(conn, "deletions") == 2


def test_an_end_date_of_its_own_comes_back(conn: Connection, company: Company) -> None:
    customer_verbs.set_end_date(conn, company.with_users, ends_on=date(2026, 8, 15), today=TODAY, user=company.admin)
    before = state(conn, company.with_users)
    mark(conn, company, company.with_users)
    take_back(conn, company, company.with_users)
    assert state(conn, company.with_users) == before


def test_after_the_month_it_is_charged_from_the_day_on_which_it_was_taken_back(
    conn: Connection, company: Company
) -> None:
    mark(conn, company, company.with_ips)
    take_back(conn, company, company.with_ips, today=date(2026, 7, 11))
    days = state(conn, company.with_ips)["days"]
    assert days == [(JUNE, JULY), (date(2026, 7, 11), None)]


@pytest.mark.row("G12")
def test_what_is_erased_is_not_taken_back(conn: Connection, company: Company) -> None:
    erase(conn, company, company.with_users)
    with pytest.raises(Conflict, match="was deleted and its data erased"):
        take_back(conn, company, company.with_users)


def test_what_is_not_due_is_not_erased(conn: Connection, company: Company) -> None:
    mark(conn, company, company.with_users)
    assert not deletions.erase_next(conn)
    assert customers.customer(conn, company.with_users).erased_at is None


# ---------------------------------------------------------------------------------- erasing


def complete(conn: Connection, company: Company) -> int:
    """A customer about whom every module knows something."""
    conn.execute(company_table.update().values(portal_url="https://portal.muster.example"))
    conn.execute(tables.mail_server.update().values(host="mail.example", sender_address="us@muster.example"))
    customer_id = add(conn, company, separate_billing=True)
    ledgers.book(conn, company.people, customer_id, company.users, 10, JUNE)
    register(
        conn, company, customer_id, "Zenobia@qwertz-login.example", salutation="ms", first_name="Zenobia",
        surname="Qwertzky",
    )  # fmt: skip
    invites.invite(conn, customer_id, email="zweite@qwertz-login.example", user=company.admin)
    contacts.add(conn, customer_id, name="Xaver Qwertzmann", phone="0815-4711", email="xaver@qwertz.example",
                 is_billing=True, user=company.admin)  # fmt: skip
    quotas.add(conn, customer_id, kind="storage", amount=Decimal(5), from_day=JUNE, until_day=None, user=company.admin)
    usage.record(conn, [usage.Usage(customer_id, JUNE, users=3)], import_id=None, user=company.admin)
    conn.execute(insert(tables.notes).values(customer_id=customer_id, text="Zacharias mag keine Anrufe"))
    conn.execute(insert(tables.vat_checks).values(customer_id=customer_id, vat_id="DE444444443", answer="Qwertz"))
    conn.execute(
        insert(tables.sign_in_attempts).values(
            site="portal", username="zenobia@qwertz-login.example", address="::1", succeeded=False
        )
    )
    version = customers.customer(conn, customer_id).version
    changes = {"city": "Alt-Xanthopolis", "contact_name": "Yolanda Qwertz"}
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=company.admin)
    customer_verbs.deactivate(conn, customer_id, reason="Zacharias zahlt nicht", today=TODAY, user=company.admin)
    customer_verbs.activate(conn, customer_id, today=TODAY, user=company.admin)
    return customer_id


WORDS = (
    *("Qwertz", "qwertz", "Zacharias", "Zenobia", "zenobia", "Xaver", "Yolanda", "87654321", "Quittenallee"),
    *("98765", "Xanthopolis", "Quarz", "Postschließfach", "Ypsilonstadt", "444444443", "08150", "BESTELLUNG-ZQ"),
    *("0815-4711", "zweite@", "87654"),
)


def traces(conn: Connection) -> list[str]:
    """Where in the database any of WORDS stands: table, column, word."""
    columns = conn.execute(
        text("""SELECT c.table_name, c.column_name FROM information_schema.columns c
                  JOIN information_schema.tables t USING (table_schema, table_name)
                 WHERE t.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
                   AND c.data_type IN ('text', 'jsonb', 'ARRAY', 'character varying')""")
    ).all()
    assert len(columns) > 100
    found = []
    for table, column in columns:
        for word in WORDS:
            query = text(f'SELECT count(*) FROM {table} WHERE "{column}"::text ILIKE :word')
            if conn.scalar(query, {"word": f"%{word}%"}):
                found.append(f"{table}.{column}: {word}")
    return found


@pytest.mark.row("G12")
def test_nothing_personal_is_left_but_on_issued_documents(conn: Connection, company: Company) -> None:
    customer_id = complete(conn, company)
    mark(conn, company, customer_id, "DELETE")
    due(conn)
    assert deletions.erase_next(conn)
    # The first step: what the last invoice needs is still there, and the confirmation waits for its mail server.
    kept = {"Quarz", "Postschließfach", "87654", "Ypsilonstadt", "444444443", "08150", "BESTELLUNG-ZQ"}
    allowed = {f"customers.{column}" for column in ("name", "search", "sort_name", "billing_email", "billing_name",
               "billing_street", "billing_postcode", "billing_city", "vat_id", "tax_number",
               "purchase_order")} | {"vat_checks.vat_id", "vat_checks.answer"}  # fmt: skip
    allowed |= {f"mails.{column}" for column in ("recipient", "subject", "body")}
    left = traces(conn)
    assert {one.split(":")[0] for one in left} <= allowed
    assert {word for word in kept if any(one.endswith(word) for one in left)} == kept
    on_customer = [one for one in left if not one.startswith("mails.")]
    assert not [one for one in on_customer if "Xanthopolis" in one or "Quittenallee" in one or "Zenobia" in one]
    kept_email = customers.customer(conn, customer_id).billing_email
    assert kept_email == "xaver@qwertz.example", "the billing contact's: that is where its invoices went"

    closes.approve(conn, company)
    assert not deletions.erase_next(conn)
    issued = issuing.issue_month(conn, JUNE, today=closes.TODAY, user=company.finance)
    assert not [one for one in issued.blocked if "Qwertz" in one.customer]
    document = invoices.invoices_of(conn, customer_id)[0]
    invoice_mails.send_many(conn, [document.id], user=company.finance)
    assert not deletions.erase_next(conn)
    pay(conn, customer_id)
    assert deletions.erase_next(conn)
    assert not deletions.erase_next(conn)
    # As B's worker leaves it: the confirmation loses recipient and text once it is sent.
    conn.execute(text("UPDATE mails SET state = 'sent', sent_at = now(), recipient = '', body = ''"))
    documents = {"invoices.buyer", "invoices.vat_evidence", "invoices.purchase_order"}
    tombstone = {"customers.name", "customers.search", "customers.sort_name"}
    assert {one.split(":")[0] for one in traces(conn)} == documents | tombstone
    found = customers.customer(conn, customer_id)
    # As on the documents, on which it had another name.
    assert (found.name, found.number) == ("Quarz Rechnungsstelle", document.customer_number)
    assert record(conn, customer_id).state == "settled"
    assert checks.findings(conn) == []


def pay(conn: Connection, customer_id: int) -> None:
    conn.execute(
        text("""WITH due AS (UPDATE invoices SET state = 'paid' WHERE customer_id = :id AND state = 'issued'
                             RETURNING id, gross)
                INSERT INTO payments (invoice_id, amount, paid_on, method)
                SELECT id, gross, '2026-07-03', 'cash' FROM due"""),
        {"id": customer_id},
    )


def test_every_table_with_a_customer_is_decided_about() -> None:
    """A new table fails here until somebody says whether the erasure deletes its rows or keeps them, and why."""
    erased = {"customer_users", "contacts", "notes", "quotas", "usage", "vat_checks", "mails", "audit_personal"}
    # customer_tags goes with the tags of the customer's own row, by a trigger.
    erased |= {"mandates", "stripe_cards", "customer_tags"}
    # The ledger, what was charged and billed by it, and the record itself: nothing personal, or kept by law.
    kept = {"bookings", "lifecycle", "prices", "charges", "statements", "adjustments", "invoices"}
    kept |= {"audit_log", "deletions", "stripe_requests", "price_notices", "terms", "project_keys"}
    by_customer = {name for name, table in tables.metadata.tables.items() if "customer_id" in table.columns}
    assert by_customer == erased | kept


@pytest.mark.row("G12", "N10")
def test_the_record_says_what_was_erased_and_what_is_kept_until_when_and_why(
    conn: Connection, company: Company
) -> None:
    customer_id = complete(conn, company)
    closes.approve(conn, company)
    issuing.issue_month(conn, JUNE, today=closes.TODAY, user=company.finance)
    mark(conn, company, customer_id, "DELETE", today=closes.TODAY)
    due(conn)
    deletions.erase_next(conn)
    found = deletions.items(conn, record(conn, customer_id).id)
    erased = {item.what: item.count for item in found if item.treatment == "erased"}
    assert erased == {
        "Users, with their invites and sessions": 2,
        "Attempts to sign in to the portal": 1,
        "Mails, with their recipients and texts": 2,
        "Contacts": 1,
        "Days of usage": 1,
        "Notes": 1,
        "Quotas": 1,
        "Contact, console and addresses that no document needs": 8,
        "Personal values in the audit log": erased["Personal values in the audit log"],
    }
    assert erased["Personal values in the audit log"] >= 6
    assert all(item.done_at is not None for item in found if item.treatment == "erased")
    kept = {item.what: item for item in found if item.treatment == "kept"}
    assert set(kept) == {erasures.LAST_INVOICE, erasures.DOCUMENTS, "Bookings, with their charges",
                         "Customer number and name"}  # fmt: skip
    assert (kept[erasures.DOCUMENTS].count, kept[erasures.DOCUMENTS].kept_until) == (1, date(2034, 12, 31))
    assert "§ 147" in kept[erasures.DOCUMENTS].reason
    assert all(item.reason for item in kept.values())
    assert erasures.waits_for(conn, customer_id) == ["July 2026 is not closed yet", "RE-2026-00003 is not settled"]


@pytest.mark.row("G12")
def test_what_the_last_invoice_needs_goes_once_that_is_settled(conn: Connection, company: Company) -> None:
    customer_id = company.with_users
    erase(conn, company, customer_id)
    assert erasures.waits_for(conn, customer_id) == ["June 2026 is not closed yet"]
    # A correction on the last invoice is still possible, and billed.
    adjustments.add(
        conn, customer_id, text="Credit", amount=Decimal("-5"), month_meant=JUNE, reason="agreed", user=company.finance
    )
    assert "an adjustment of June 2026 is not billed yet" in erasures.waits_for(conn, customer_id)
    closes.approve(conn, company)
    assert erasures.waits_for(conn, customer_id) == ["a draft is not issued"]
    draft = invoices.invoices_of(conn, customer_id)[0]
    drafts.remove(conn, draft.id, user=company.finance)
    assert erasures.waits_for(conn, customer_id) == ["charges of June 2026 are on no document"]
    again = close_drafts.draft_unbilled(conn, customer_id, JUNE, user=company.finance)
    issuing.issue(conn, [again], today=closes.TODAY, user=company.finance)
    number = invoices.invoice(conn, again).number
    assert erasures.waits_for(conn, customer_id) == [f"{number} is not settled"]
    assert not deletions.erase_next(conn)
    pay(conn, customer_id)
    assert deletions.erase_next(conn)
    customer = customers.customer(conn, customer_id)
    assert (customer.name, customer.street, customer.postcode, customer.city) == ("Ada GmbH", "", "", "")
    last = next(one for one in deletions.items(conn, record(conn, customer_id).id) if one.what == erasures.LAST_INVOICE)
    assert (last.treatment, last.reason) == ("erased", "") and last.done_at is not None
    with pytest.raises(Conflict, match="its last invoice is settled"):
        adjustments.add(
            conn, customer_id, text="x", amount=Decimal(1), month_meant=JUNE, reason="x", user=company.finance
        )
    with pytest.raises(Conflict, match="its last invoice is settled"):
        drafts.create(
            conn, customer_id, service_from=JUNE, service_until=JUNE, lines=[closes.line("5")], user=company.finance
        )


@pytest.mark.row("G12")
def test_a_missing_address_is_completed_for_the_last_invoice(conn: Connection, company: Company) -> None:
    bare = customers.create(
        conn, details={"name": "Ohne Adresse"}, billed=True, ends_on=None, today=JUNE, user=company.admin
    )
    ledgers.book(conn, company.people, bare, company.users, 4, JUNE)
    erase(conn, company, bare)
    closes.approve(conn, company)
    assert [one.customer for one in closes.issue(conn, company).blocked] == [
        f"{customers.customer(conn, bare).number} Ohne Adresse"
    ]
    version = customers.customer(conn, bare).version
    given = {"street": "Weg 1", "postcode": "10115", "city": "Berlin"}
    with pytest.raises(Invalid, match="doesn't need this"):
        customers.edit_for_last_invoice(
            conn, bare, version=version, changes={"contact_name": "X"}, today=TODAY, user=company.finance
        )
    with pytest.raises(NotAllowed):
        customers.edit_for_last_invoice(
            conn, bare, version=version, changes=given, today=TODAY, user=company.people[Role.SALES]
        )
    customers.edit_for_last_invoice(conn, bare, version=version, changes=given, today=TODAY, user=company.finance)
    assert closes.issue(conn, company).count == 1
    pay(conn, bare)
    assert deletions.erase_next(conn)
    version = customers.customer(conn, bare).version
    with pytest.raises(Conflict, match="its last invoice is settled"):
        customers.edit_for_last_invoice(conn, bare, version=version, changes=given, today=TODAY, user=company.finance)
    assert audit_personal_of(conn, bare) == 0
    with pytest.raises(Conflict, match="is not deleted"):
        customers.edit_for_last_invoice(
            conn, company.with_ips, version=1, changes=given, today=TODAY, user=company.finance
        )


def audit_personal_of(conn: Connection, customer_id: int) -> int:
    return closes.count(conn, "audit_personal", f"customer_id = {customer_id}")


@pytest.mark.row("G12")
def test_of_a_test_customer_all_is_erased_at_once(conn: Connection, company: Company) -> None:
    test = add(conn, company, billed=False)
    found = erase(conn, company, test)
    assert found.state == "settled"
    assert erasures.waits_for(conn, test) == []
    customer = customers.customer(conn, test)
    assert (customer.name, customer.vat_id, customer.billing_email, customer.street) == (NAME, "", "", "")
    assert not deletions.erase_next(conn)


@pytest.mark.row("G12")
@pytest.mark.parametrize("language", ["de", "en"])
def test_the_erasure_is_confirmed_by_mail(conn: Connection, company: Company, language: str) -> None:
    billed, test = add(conn, company, language=language), add(conn, company, billed=False, language=language)
    erase(conn, company, billed)
    erase(conn, company, test)
    for customer_id, kept in ((billed, ("letzte Rechnung", "last invoice")), (test, ("nur Ihre", "only your"))):
        [mail], _ = mails.of_customer(conn, customer_id, 10, 0)
        assert (mail.kind, mail.recipient, mail.state) == ("erased", PERSONAL["contact_email"], "queued")
        assert NAME in mail.body and kept[language == "en"] in mail.body
        found = deletions.confirmation(conn, customer_id)
        assert found is not None and found.state == "queued"
    assert deletions.confirmation(conn, company.with_ips) is None


def test_without_an_address_nothing_is_mailed(conn: Connection, company: Company) -> None:
    erase(conn, company, company.with_users)
    assert closes.count(conn, "mails") == 0


def test_an_invoice_that_waits_for_its_mail_still_goes_out(conn: Connection, company: Company) -> None:
    conn.execute(tables.mail_server.update().values(host="mail.example", sender_address="us@muster.example"))
    customer_id = add(conn, company)
    ledgers.book(conn, company.people, customer_id, company.users, 10, JUNE)
    closes.approve(conn, company)
    closes.issue(conn, company)
    document = invoices.invoices_of(conn, customer_id)[0]
    invoice_mails.send_many(conn, [document.id], user=company.finance)
    mark(conn, company, customer_id, today=closes.TODAY)
    due(conn)
    deletions.erase_next(conn)
    assert {mail.kind for mail in mails.of_customer(conn, customer_id, 10, 0)[0]} == {"invoice", "erased"}


@pytest.mark.row("G12")
def test_the_erased_leave_the_list_and_are_found_by_their_filter(conn: Connection, company: Company) -> None:
    erase(conn, company, company.with_users)

    def listed(**given: Any) -> list[int]:
        found = customer_lists.listing(conn, customer_filters.Filters(**given), today=TODAY)
        assert sum(found.counts.values()) == len(found.rows)
        return [row.id for row in found.rows]

    assert listed(phase="billed") == [company.with_ips]
    assert listed(search="ada gmbh") == []
    assert listed(statuses=("active",)) == [company.with_ips]
    assert listed(statuses=("erased",)) == [company.with_users]
    assert listed(statuses=("erased",), search="ada") == [company.with_users]
    assert set(listed(statuses=("erased", "active"))) == {company.with_users, company.with_ips}
    assert [one.id for one in customer_lists.find(conn, "gmbh")] == []
    assert customer_statuses.status(conn, company.with_users, today=TODAY) == "erased"


@pytest.mark.row("G12")
def test_statements_and_documents_of_the_erased_stay_readable(conn: Connection, company: Company) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    document = invoices.invoices_of(conn, company.with_users)[0]
    mark(conn, company, company.with_users, today=closes.TODAY)
    due(conn)
    deletions.erase_next(conn)
    frozen = conn.scalar(text("SELECT buyer FROM invoices WHERE id = :id"), {"id": document.id})
    assert (frozen["street"], frozen["city"]) == ("Hauptstr. 1", "Berlin")
    assert invoices.invoices_of(conn, company.with_users)[0] == document
    assert [one.month for one in statements.statements_of(conn, company.with_users, today=closes.TODAY)][-1] == JUNE


# ---------------------------------------------------------------------------------- our duties


@pytest.mark.row("N10")
def test_our_duties_stay_open_until_somebody_signs_them_off(conn: Connection, company: Company) -> None:
    assert deletions.open_duties(conn) == 0
    found = erase(conn, company, company.with_users)
    first, second = deletions.duties_of(conn, found.id)
    assert (first.what, second.what) == erasures.DUTIES
    assert (deletions.open_duties(conn), found.open_duties) == (2, 2)
    deletions.sign_off(conn, first.id, user=company.people[Role.SALES])
    done = deletions.duties_of(conn, found.id)[0]
    assert done.signed_off_by == "Samuel" and done.signed_off_at is not None
    assert deletions.open_duties(conn) == 1
    entry = audit.entries(conn, customer_id=company.with_users)[0][0]
    assert (entry.action, entry.changes) == ("sign off", {"duty": [None, first.what]})
    with pytest.raises(AlreadyDone, match="Samuel has signed this off"):
        deletions.sign_off(conn, first.id, user=company.admin)
    with pytest.raises(NotFound):
        deletions.sign_off(conn, MISSING, user=company.admin)
    with pytest.raises(DBAPIError, match="stays signed off"), conn.begin_nested():
        conn.execute(text("UPDATE duties SET signed_off_at = NULL, signed_off_by = NULL"))
    listed, total = deletions.page(conn)
    assert ([one.id for one in listed], total) == ([found.id], 1)


@pytest.mark.parametrize(
    "write",
    [
        lambda conn, id_, user: deletions.mark(conn, id_, today=TODAY, user=user),
        lambda conn, id_, user: deletions.take_back(conn, id_, today=TODAY, user=user),
        lambda conn, id_, user: deletions.sign_off(conn, id_, user=user),
        lambda conn, id_, user: deletions.retry(conn, id_, user=user),
    ],
    ids=["mark", "take back", "sign off", "retry"],
)
def test_who_may_not_and_what_is_not_there(conn: Connection, company: Company, write: Callable[..., Any]) -> None:
    with pytest.raises(NotAllowed):
        write(conn, company.with_users, company.people[Role.VIEWER])
    with pytest.raises((NotFound, Conflict)):
        write(conn, MISSING, company.admin)


# ---------------------------------------------------------------------------------- the worker


ERASER = """
import sys, time
from lib import db, deletions, {module}

real = {module}.{function}
def reached(*args, **kwargs):
    if {after}:
        real(*args, **kwargs)
    print("reached", flush=True)
    time.sleep(600)
{module}.{function} = reached
deletions.erase_one()
"""


@pytest.fixture
def doomed(database: str) -> Iterator[int]:
    """A committed customer whose time has come."""
    with db.transaction() as conn:
        company = closes.company(conn)
        customer_id = complete(conn, company)
        mark(conn, company, customer_id, "DELETE")
        due(conn)
    return customer_id


def everything(conn: Connection) -> dict[str, list[Any]]:
    """All rows of all tables that an erasure writes."""
    names = ("customers", "customer_users", "user_links", "contacts", "notes", "quotas", "usage", "mails", "deletions",
             "deletion_items", "duties", "audit_log", "audit_personal", "vat_checks")  # fmt: skip
    return {name: sorted(map(repr, conn.execute(text(f"SELECT * FROM {name}")))) for name in names}


@pytest.mark.row("G12")
@pytest.mark.parametrize(
    ("module", "function", "after"),
    [("customer_users", "forget", True), ("audit", "forget", True), ("mails", "queue", True)],
)
def test_a_worker_killed_in_mid_erasure_leaves_nothing_half_done(
    database: str, doomed: int, module: str, function: str, after: bool
) -> None:
    with db.transaction() as conn:
        before = everything(conn)
    script = ERASER.format(module=module, function=function, after=after)
    environment = os.environ | {"DATABASE_URL": database, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"reached\n"
        # While one worker has it, another finds nothing to do, and does not wait for it.
        assert not deletions.erase_one()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with db.transaction() as conn:
        wait_until_free(conn)
        assert everything(conn) == before
    assert deletions.erase_one()
    assert not deletions.erase_one()
    with db.transaction() as conn:
        assert record(conn, doomed).state == "erased"
        assert closes.count(conn, "duties") == 2
        assert closes.count(conn, "mails", "kind = 'erased'") == 1


def wait_until_free(conn: Connection) -> None:
    """The killed worker's locks are gone."""
    conn.execute(text("SET LOCAL lock_timeout = '20s'"))
    conn.execute(text("SELECT 1 FROM deletions FOR UPDATE"))


def test_an_erasure_that_fails_says_so_and_is_tried_again(doomed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(contacts, "forget", lambda *_: 1 / 0)
        assert deletions.erase_one()
    with db.transaction() as conn:
        found = record(conn, doomed)
        assert found.state == "marked" and "unexpected error" in found.last_error
        assert customer_users.users_of(conn, doomed)
        [job] = jobs.page(conn, jobs.Filters(kinds=("erasure",)))
        assert (job.state, job.attempts) == ("failed", 1)
    # It rests first.
    assert not deletions.erase_one()
    with db.transaction() as conn:
        jobs.retry(conn, "erasure", found.id, user=people.hire(conn)[Role.ADMIN])
        with pytest.raises(Conflict, match="has not failed"):
            deletions.retry(conn, found.id, user=people.hire(conn)[Role.ADMIN])
    assert deletions.erase_one()
    with db.transaction() as conn:
        assert record(conn, doomed).state == "erased"
        assert [job.state for job in jobs.page(conn, jobs.Filters(kinds=("erasure",), states=()))] == ["done"]
