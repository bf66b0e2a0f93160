"""SEPA direct debits: mandates, files for the bank, what is collected and what comes back (row G16)."""

import os
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    bank_days,
    cancellations,
    checks,
    collection_notices,
    customers,
    db,
    debit_candidates,
    debits,
    deletions,
    documents,
    erasures,
    invoice_mails,
    invoices,
    mandates,
    payment_methods,
    payments,
    rendering,
    settings,
    vault,
)
from lib.auth import Role, User
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import closes
from tests.closes import JUNE, TODAY, Company
from tests.test_documents import assert_says, text_of

BEGINS_WITH = closes.company
IBAN, OURS = "DE89370400440532013000", "DE02120300000000202051"
CREDITOR = "DE98ZZZ09999999999"
NAMESPACE = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.008.001.08"}
# The due day, 14 days after TODAY: the documents announce it.
COLLECT, MADE = date(2026, 7, 17), date(2026, 7, 15)
pytestmark = pytest.mark.row("G16")


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


@pytest.fixture
def ready(conn: Connection, company: Company) -> Company:
    """Ada pays by direct debit and signed for it; June is issued; our own side is entered."""
    prepare(conn, company)
    return company


def prepare(conn: Connection, company: Company) -> None:
    payment_methods.set_creditor_id(conn, version=1, creditor_id=CREDITOR, user=company.finance)
    our_account(conn, company, OURS)
    by_debit(conn, company, company.with_users)
    sign(conn, company)
    closes.approve(conn, company)
    closes.issue(conn, company)


def our_account(conn: Connection, company: Company, iban: str) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"iban": iban}, user=company.admin)


def by_debit(conn: Connection, company: Company, customer_id: int) -> None:
    version = customers.customer(conn, customer_id).version
    changes = {"payment_method": "direct_debit"}
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=company.admin)


def sign(conn: Connection, company: Company, customer_id: int | None = None, **more: Any) -> int:
    given: dict[str, Any] = {"holder": "Ada Müller & Söhne", "iban": IBAN, "signed_on": date(2026, 1, 5)}
    given |= {"today": TODAY, "user": company.people[Role.SALES]}
    return mandates.add(conn, customer_id or company.with_users, **(given | more))


def make(conn: Connection, company: Company, **more: Any) -> int:
    given: dict[str, Any] = {"collect_on": COLLECT, "today": MADE, "user": company.finance}
    return debits.make(conn, JUNE, **(given | more))


def invoice_of(conn: Connection, customer_id: int) -> invoices.Invoice:
    return invoices.invoices_of(conn, customer_id)[0]


def found(content: bytes, path: str) -> list[str | None]:
    return [
        one.text
        for one in ET.fromstring(content).findall(f".//{'/'.join('p:' + p for p in path.split('/'))}", NAMESPACE)
    ]


# ---------------------------------------------------------------------------------- mandates


def test_a_mandate_is_kept_sealed_and_shows_four_characters(conn: Connection, company: Company) -> None:
    mandate_id = sign(conn, company, iban="de89 3704 0044 0532 0130 00")
    [kept] = mandates.mandates_of(conn, company.with_users)
    number = customers.customer(conn, company.with_users).number
    assert (kept.reference, kept.iban_ending, kept.revoked_at) == (f"{number}-M1", "3000", None)
    stored = conn.execute(text("SELECT iban FROM mandates")).scalar_one()
    assert b"3704" not in bytes(stored)
    assert mandates.accounts(conn, [mandate_id]) == {mandate_id: (IBAN, "")}
    [entry] = audit.entries(conn, object_type="mandate")[0]
    assert IBAN not in str(entry.changes)
    logged = conn.scalar(text("SELECT changes::text FROM audit_log WHERE object_type = 'mandate'"))
    assert logged == "{}"  # whose account it is stands beside the log, where erasure finds it


def test_one_mandate_is_valid_at_a_time(conn: Connection, company: Company) -> None:
    first = sign(conn, company)
    with pytest.raises(Conflict, match="has a mandate that is valid"), conn.begin_nested():
        sign(conn, company)
    mandates.revoke(conn, first, user=company.people[Role.SALES])
    with pytest.raises(AlreadyDone, match="revoked already"):
        mandates.revoke(conn, first, user=company.people[Role.SALES])
    sign(conn, company)
    assert [one.reference[-3:] for one in mandates.mandates_of(conn, company.with_users)] == ["-M2", "-M1"]
    taken = mandates.mandates_of(conn, company.with_users)[0].reference
    with pytest.raises(Conflict, match="is taken"), conn.begin_nested():
        sign(conn, company, company.with_ips, reference=taken)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"iban": "DE89370400440532013001"}, "iban"),
        ({"iban": ""}, "iban"),
        ({"iban": "BR1800360305000010009795493C1"}, "iban"),
        ({"holder": " "}, "holder"),
        ({"signed_on": TODAY + timedelta(days=1)}, "signed_on"),
        ({"signed_on": None}, "signed_on"),
        ({"reference": "Ädas Mandat"}, "reference"),
        ({"iban": "GB29NWBK60161331926819", "bic": "nonsense"}, "bic"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    conn: Connection, company: Company, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        sign(conn, company, **given)
    assert refusal.value.field == field


def test_who_may_not_and_what_is_not_there(conn: Connection, company: Company) -> None:
    viewer = company.people[Role.VIEWER]
    for write in (lambda: sign(conn, company, user=viewer), lambda: mandates.revoke(conn, 1, user=viewer)):
        with pytest.raises(NotAllowed, match="edit customers"):
            write()
    with pytest.raises(NotFound):
        sign(conn, company, 999_999)
    with pytest.raises(NotFound):
        mandates.revoke(conn, 0, user=company.admin)


def test_another_key_seals_them_anew(conn: Connection, ready: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = make(conn, ready)
    before = debits.file(conn, run_id, user=ready.finance)
    newer, older = vault.new_key(), os.environ[vault.VARIABLE]
    monkeypatch.setenv(vault.VARIABLE, f"{newer},{older}")
    assert (mandates.reseal(conn), debits.reseal(conn)) == (1, 1)
    assert (mandates.reseal(conn), debits.reseal(conn)) == (0, 0)
    monkeypatch.setenv(vault.VARIABLE, newer)
    assert debits.file(conn, run_id, user=ready.finance) == before


# ---------------------------------------------------------------------------------- the collection day


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (date(2026, 7, 15), "too soon"),
        (date(2026, 7, 16), "too soon"),
        (date(2026, 7, 17), ""),
        (date(2026, 7, 18), r"don’t settle on 18 Jul 2026 \(Saturday\)\. Take 20 Jul 2026"),
        (date(2026, 7, 29), ""),
        (date(2026, 7, 30), "at most 14 days ahead"),
    ],
)
def test_the_collection_day_is_checked_in_words(conn: Connection, ready: Company, day: date, said: str) -> None:
    if said:
        with pytest.raises(Invalid, match=said) as refusal:
            make(conn, ready, collect_on=day)
        assert refusal.value.field == "collect_on"
    else:
        assert debit_candidates.why_not(day, today=MADE) == ""


def test_banks_have_holidays() -> None:
    holidays = ["2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25", "2027-03-26", "2027-03-29"]
    assert not any(bank_days.is_bank_day(date.fromisoformat(day)) for day in holidays)
    assert bank_days.is_bank_day(date(2026, 10, 3)) is False and bank_days.is_bank_day(date(2026, 10, 5))
    assert bank_days.after(date(2026, 12, 23), 2) == date(2026, 12, 28)


# ---------------------------------------------------------------------------------- what the document announces


def frozen(conn: Connection, customer_id: int) -> dict[str, Any]:
    found: dict[str, Any] = conn.execute(
        text("SELECT buyer FROM invoices WHERE customer_id = :id ORDER BY id LIMIT 1"), {"id": customer_id}
    ).scalar_one()
    return found


def test_an_invoice_announces_its_debit_for_ever(conn: Connection, ready: Company) -> None:
    """By which mandate, by whom, from where and when; nothing asks for a transfer. A later mandate changes nothing."""
    invoice_id, [mandate] = invoice_of(conn, ready.with_users).id, mandates.mandates_of(conn, ready.with_users)
    mandates.revoke(conn, mandate.id, user=ready.admin)
    sign(conn, ready, iban="GB29NWBK60161331926819", reference="NEW-1")
    by_transfer = {"payment_method": "bank_transfer"}
    version = customers.customer(conn, ready.with_users).version
    customers.edit(conn, ready.with_users, version=version, changes=by_transfer, today=TODAY, user=ready.admin)
    content = documents.pdf(conn, invoice_id)[1]
    assert_says(
        content, "53,55 EUR ziehen wir am 17.07.2026 per SEPA-Lastschrift von Ihrem Konto ein.", "Einzug am 17.07.2026",
        f"Mandatsreferenz {mandate.reference}", f"Gläubiger-ID {CREDITOR}", "Ihr Konto IBAN … 3000",
    )  # fmt: skip
    assert "Bitte überweisen" not in text_of(content)
    assert rendering.girocode(documents.document(conn, invoice_id)) == ""
    assert IBAN not in str(frozen(conn, ready.with_users))
    assert "zum 17.07.2026 per SEPA-Lastschrift" in invoice_mails.prepared(conn, invoice_id).body
    assert "mandate" not in frozen(conn, ready.with_ips)


def test_a_cancellation_and_a_draft_announce_no_more_than_they_know(conn: Connection, ready: Company) -> None:
    cancellation = cancellations.cancel(
        conn, invoice_of(conn, ready.with_users).id, reason="wrong", today=TODAY, user=ready.finance
    )
    assert "ziehen wir" not in text_of(documents.pdf(conn, cancellation)[1])
    closes.approve(conn, ready, closes.JULY, today=closes.AUGUST)
    draft = next(one.id for one in invoices.invoices_of(conn, ready.with_users) if one.number is None)
    content = documents.pdf(conn, draft)[1]
    assert_says(content, "53,55 EUR ziehen wir per SEPA-Lastschrift von Ihrem Konto ein.", "Mandatsreferenz")
    assert "Einzug am" not in text_of(content)


@pytest.mark.parametrize(
    "spoiled",
    [
        "UPDATE mandates SET revoked_at = now()",
        "UPDATE mandates SET signed_on = '2023-06-30'",
        "UPDATE payment_methods SET creditor_id = ''",
        "UPDATE company SET iban = ''",
        "UPDATE customers SET payment_method = 'bank_transfer'",
    ],
)
def test_what_no_run_would_collect_asks_for_a_transfer(conn: Connection, company: Company, spoiled: str) -> None:
    payment_methods.set_creditor_id(conn, version=1, creditor_id=CREDITOR, user=company.finance)
    our_account(conn, company, OURS)
    by_debit(conn, company, company.with_users)
    sign(conn, company)
    closes.approve(conn, company)
    conn.execute(text(spoiled))
    closes.issue(conn, company)
    invoice_id = invoice_of(conn, company.with_users).id
    assert_says(documents.pdf(conn, invoice_id)[1], "Bitte überweisen Sie den Gesamtbetrag von 53,55 EUR")
    found = debit_candidates.candidates(conn, JUNE, collect_on=COLLECT)
    assert all(one.why for one in found)


@pytest.mark.parametrize(
    ("due_on", "day"),
    [(date(2026, 7, 17), date(2026, 7, 17)), (date(2026, 7, 18), date(2026, 7, 20)), (TODAY, date(2026, 7, 7))],
)
def test_the_day_is_when_it_is_due_or_the_next_that_a_file_reaches(due_on: date, day: date) -> None:
    assert collection_notices.collection_day(due_on, today=TODAY) == day
    assert debit_candidates.why_not(day, today=day - timedelta(days=4)) == ""


def test_a_run_collects_on_the_announced_day_by_the_announced_mandate(conn: Connection, ready: Company) -> None:
    later = date(2026, 7, 20)
    assert debit_candidates.usual_day(conn, JUNE, today=MADE) == COLLECT
    assert debit_candidates.usual_day(conn, JUNE, today=later) == date(2026, 7, 22)
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=later)
    assert one.announced == COLLECT
    assert one.why == "It was announced for 17 Jul 2026: tell the customer the new day first"
    with pytest.raises(Conflict, match="can be collected"):
        make(conn, ready, collect_on=later)
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=later, late=True)
    assert one.why == ""
    [mandate] = mandates.mandates_of(conn, ready.with_users)
    mandates.revoke(conn, mandate.id, user=ready.admin)
    sign(conn, ready, reference="NEW-1")
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=COLLECT)
    assert one.why == f"The document announces the mandate {mandate.reference}, which is revoked"


# ---------------------------------------------------------------------------------- a run


def test_the_file_says_what_is_collected_and_fits_its_schema(conn: Connection, ready: Company) -> None:
    run_id = make(conn, ready)
    name, content = debits.file(conn, run_id, user=ready.finance)
    assert name.startswith("direct-debits-2026-06-")
    assert name.endswith(".xml")
    assert found(content, "InstdAmt") == ["53.55"]
    assert found(content, "GrpHdr/CtrlSum") == ["53.55"]
    assert found(content, "DbtrAcct/Id/IBAN") == [IBAN]
    assert found(content, "CdtrAcct/Id/IBAN") == [OURS]
    assert found(content, "Dbtr/Nm") == ["Ada Muller + Sohne"]
    assert found(content, "SeqTp") == ["FRST"]
    assert found(content, "ReqdColltnDt") == ["2026-07-17"]
    assert found(content, "MndtRltdInf/DtOfSgntr") == ["2026-01-05"]
    assert found(content, "RmtInf/Ustrd") == ["RE-2026-00001"]
    assert found(content, "CdtrSchmeId/Id/PrvtId/Othr/Id") == [CREDITOR]
    # Kept sealed: a backup shows no account of anybody.
    stored = bytes(conn.execute(text("SELECT content FROM debit_runs")).scalar_one())
    assert IBAN.encode() not in stored
    run = debits.run(conn, run_id)
    assert (run.state, run.debits, run.amount, run.message_id) == (
        "waiting",
        1,
        Decimal("53.55"),
        found(content, "MsgId")[0],
    )
    actions = [one.action for one in audit.entries(conn, object_type="debit run")[0]]
    assert actions == ["download", "create"]
    [at_invoice, *_] = audit.entries(conn, object_type="invoice", object_id=invoice_of(conn, ready.with_users).id)[0]
    assert (at_invoice.action, at_invoice.changes) == ("collect", {"collected_on": [None, "2026-07-17"]})


def test_what_is_not_collected_says_why_before(conn: Connection, company: Company) -> None:
    """Ada pays by debit without a mandate, Berta by transfer when her document was issued, Cora's is not due yet."""
    cora = closes.abroad(conn, company, "Cora GmbH", "AT", "ATU13585627")
    for customer_id in (company.with_users, cora):
        by_debit(conn, company, customer_id)
    sign(conn, company, cora)
    prepare_less = {"creditor_id": CREDITOR, "version": 1, "user": company.finance}
    payment_methods.set_creditor_id(conn, **prepare_less)
    our_account(conn, company, OURS)
    closes.approve(conn, company)
    closes.issue(conn, company)
    our_account(conn, company, "")
    by_debit(conn, company, company.with_ips)
    sign(conn, company, company.with_ips, reference="B-1")

    def said(day: date) -> dict[str, str]:
        return {one.customer: one.why for one in debit_candidates.candidates(conn, JUNE, collect_on=day)}

    assert said(COLLECT) == {
        "Ada GmbH": "The customer has no valid mandate", "Berta AG": "The document asks for: Bank transfer",
        "Cora GmbH": "",
    }  # fmt: skip
    assert said(date(2026, 7, 14))["Cora GmbH"].startswith("It is due on")
    with pytest.raises(Conflict, match="our account"):
        make(conn, company)
    assert debit_candidates.candidates(conn, closes.JULY, collect_on=COLLECT) == []


def test_paid_meanwhile_or_a_stale_mandate_is_an_exception(conn: Connection, ready: Company) -> None:
    invoice = invoice_of(conn, ready.with_users)
    conn.execute(text("UPDATE mandates SET signed_on = '2020-01-01'"))
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=COLLECT)
    assert "not used for three years" in one.why
    payments.settle(conn, [invoice.id], paid_on=TODAY, method="bank_transfer", today=TODAY, user=ready.finance)
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=COLLECT)
    assert one.why == "Nothing is open"
    with pytest.raises(Conflict, match="No invoice of June 2026 can be collected"):
        make(conn, ready)


def test_an_invoice_is_in_one_run_until_it_came_back(conn: Connection, ready: Company) -> None:
    key = uuid4()
    run_id = make(conn, ready, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        make(conn, ready, request_key=key)
    [one] = debit_candidates.candidates(conn, JUNE, collect_on=COLLECT)
    assert one.why == "It is in the run of 17 Jul 2026"
    with pytest.raises(Conflict, match="can be collected"):
        make(conn, ready)
    [debit] = debits.debits_of(conn, run_id)
    debits.come_back(conn, debit.id, reason="AC04", today=COLLECT, user=ready.finance)
    again = make(conn, ready)
    # The first one did not stand, so this is the first by its mandate.
    assert [one.sequence for one in debits.debits_of(conn, again)] == ["FRST"]


def test_payments_are_recorded_in_one_click_and_a_return_reverses_one(conn: Connection, ready: Company) -> None:
    invoice, finance = invoice_of(conn, ready.with_users), ready.finance
    run_id = make(conn, ready)
    with pytest.raises(Conflict, match="The money comes on 17 Jul 2026"):
        debits.collect(conn, run_id, today=MADE, user=finance)
    assert debits.collect(conn, run_id, today=COLLECT, user=finance) == debits.Collected(1, [])
    assert invoice_of(conn, ready.with_users).state == "paid"
    [paid] = payments.payments_of(conn, invoice.id)
    assert (paid.amount, paid.paid_on, paid.method) == (Decimal("53.55"), COLLECT, "direct_debit")
    with pytest.raises(AlreadyDone, match="recorded already"):
        debits.collect(conn, run_id, today=COLLECT, user=finance)
    with pytest.raises(Conflict, match="are recorded"):
        debits.withdraw(conn, run_id, user=finance)
    [debit] = debits.debits_of(conn, run_id)
    debits.come_back(conn, debit.id, reason="MD06 refund asked for", today=COLLECT, user=finance)
    assert invoice_of(conn, ready.with_users).state == "issued"
    assert payments.payments_of(conn, invoice.id)[1].reason == "MD06 refund asked for"
    with pytest.raises(AlreadyDone, match="came back already"):
        debits.come_back(conn, debit.id, reason="again", today=COLLECT, user=finance)
    assert debits.run(conn, run_id).returned == 1
    assert checks.findings(conn) == []


def test_the_second_debit_of_a_mandate_is_recurring(conn: Connection, ready: Company) -> None:
    run_id = make(conn, ready)
    debits.collect(conn, run_id, today=COLLECT, user=ready.finance)
    closes.approve(conn, ready, closes.JULY, today=closes.AUGUST)
    closes.issue(conn, ready, closes.JULY, today=closes.AUGUST)
    second = debits.make(conn, closes.JULY, collect_on=date(2026, 8, 17), today=date(2026, 8, 12), user=ready.finance)
    assert [one.sequence for one in debits.debits_of(conn, second)] == ["RCUR"]


def test_what_was_paid_otherwise_meanwhile_is_left_and_said(conn: Connection, ready: Company) -> None:
    invoice = invoice_of(conn, ready.with_users)
    run_id = make(conn, ready)
    payments.record(
        conn, invoice.id, amount=Decimal("3.55"), paid_on=MADE, method="cash", today=MADE, user=ready.finance
    )
    assert debits.collect(conn, run_id, today=COLLECT, user=ready.finance) == debits.Collected(
        0, ["of RE-2026-00001 50.00 is open, not 53.55"]
    )


def test_a_cancelled_invoice_is_left_and_said(conn: Connection, ready: Company) -> None:
    run_id = make(conn, ready)
    cancellations.cancel(conn, invoice_of(conn, ready.with_users).id, reason="Wrong", today=MADE, user=ready.finance)
    assert debits.collect(conn, run_id, today=COLLECT, user=ready.finance).left == ["RE-2026-00001 is cancelled"]


def test_a_withdrawn_run_frees_its_invoices(conn: Connection, ready: Company) -> None:
    run_id = make(conn, ready)
    debits.withdraw(conn, run_id, user=ready.finance)
    with pytest.raises(AlreadyDone, match="withdrawn already"):
        debits.withdraw(conn, run_id, user=ready.finance)
    with pytest.raises(Conflict, match="was withdrawn"):
        debits.collect(conn, run_id, today=COLLECT, user=ready.finance)
    assert debits.run(conn, run_id).state == "withdrawn"
    make(conn, ready)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_collect_nothing(conn: Connection, ready: Company, role: Role) -> None:
    run_id, user = make(conn, ready), ready.people[role]
    for write in (
        lambda: make(conn, ready, user=user),
        lambda: debits.file(conn, run_id, user=user),
        lambda: debits.withdraw(conn, run_id, user=user),
        lambda: debits.collect(conn, run_id, today=COLLECT, user=user),
        lambda: debits.come_back(conn, 1, reason="x", today=COLLECT, user=user),
    ):
        with pytest.raises(NotAllowed, match="record and reverse payments"):
            write()


def test_what_is_missing_is_not_found(conn: Connection, ready: Company) -> None:
    user: User = ready.finance
    for write in (
        lambda: debits.file(conn, 0, user=user),
        lambda: debits.withdraw(conn, 0, user=user),
        lambda: debits.collect(conn, 0, today=COLLECT, user=user),
        lambda: debits.come_back(conn, 0, reason="x", today=COLLECT, user=user),
        lambda: debits.run(conn, 0),
    ):
        with pytest.raises(NotFound):
            write()


def test_erasure_takes_mandates_and_the_files_they_stand_in(conn: Connection, ready: Company) -> None:
    run_id = make(conn, ready)
    deletions.mark(conn, ready.with_users, today=MADE, user=ready.admin)
    conn.execute(text("UPDATE deletions SET due_at = now()"))
    deletions.erase_next(conn)
    assert len(mandates.mandates_of(conn, ready.with_users)) == 1  # the last invoice is collected by it
    debits.collect(conn, run_id, today=COLLECT, user=ready.finance)
    erasures.settle(conn, conn.execute(text("SELECT id FROM deletions")).scalar_one(), ready.with_users)
    assert mandates.mandates_of(conn, ready.with_users) == []
    with pytest.raises(Conflict, match="erased since"):
        debits.file(conn, run_id, user=ready.finance)
    [kept] = debits.debits_of(conn, run_id)
    assert (kept.mandate, kept.amount, kept.paid) == ("", Decimal("53.55"), True)
    assert IBAN[-4:] not in str(conn.execute(text("SELECT changes FROM audit_personal")).all())


def test_two_who_make_the_file_at_once_make_one(begin: Any) -> None:
    company = begin(_committed)

    def attempt(_: int) -> str:
        try:
            with db.transaction() as conn:
                make(conn, company)
        except BillingError as refusal:
            return type(refusal).__name__
        return "made"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == ["Conflict", "made"]
    with db.transaction() as conn:
        assert len(debits.runs(conn)) == 1


def _committed(conn: Connection) -> Company:
    made = closes.company(conn)
    prepare(conn, made)
    return made
