"""Drafts: written, changed and deleted by hand; what came from the close stays (row S3)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from lib import audit, close_drafts, customers, db, drafts, invoices, issuing, settings, vat_rates
from lib.auth import Role
from lib.drafts import DraftLine
from lib.errors import BillingError, Conflict, Invalid, NotAllowed, NotFound
from lib.money import LARGEST
from tests import closes, ledgers
from tests.closes import END_OF_JUNE, JULY, JUNE, TODAY, Company, line

BEGINS_WITH = closes.company


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


def create(conn: Connection, company: Company, *lines: DraftLine, **other: Any) -> int:
    given: dict[str, Any] = {"service_from": JUNE, "service_until": END_OF_JUNE, "user": company.finance} | other
    return drafts.create(conn, company.with_users, lines=lines, **given)


def edit(conn: Connection, company: Company, draft_id: int, *lines: DraftLine, **other: Any) -> None:
    stored = invoices.invoice(conn, draft_id)
    names = ("version", "intro", "closing", "purchase_order", "due_on", "service_from", "service_until")
    given: dict[str, Any] = {name: getattr(stored, name) for name in names} | {"user": company.finance} | other
    drafts.edit(conn, draft_id, lines=lines, **given)


def closed_draft(conn: Connection, company: Company) -> int:
    closes.approve(conn, company)
    return invoices.invoices_of(conn, company.with_users)[0].id


# ---------------------------------------------------------------------------------- writing one


@pytest.mark.row("S3")
def test_a_draft_is_written_by_hand_with_the_customers_language_and_texts(conn: Connection, company: Company) -> None:
    settings.edit_company(
        conn, version=settings.company(conn).version, changes={"intro_de": "Wir berechnen:"}, user=company.admin
    )
    draft_id = create(conn, company, line("950", quantity="2"), line("100", quantity="-1", name="Credit"))
    draft = invoices.invoice(conn, draft_id)
    assert (draft.state, draft.kind, draft.number, draft.month) == ("draft", "invoice", None, None)
    assert (draft.net, draft.vat, draft.gross) == (Decimal("1800.00"), Decimal("342.00"), Decimal("2142.00"))
    assert (draft.intro, draft.language, draft.currency) == ("Wir berechnen:", "de", "EUR")
    assert [(one.position, one.amount, one.from_close) for one in invoices.lines(conn, draft_id)] == [
        (1, Decimal("1900.00"), False), (2, Decimal("-100.00"), False)
    ]  # fmt: skip


def test_a_form_that_is_sent_twice_writes_one_draft(conn: Connection, company: Company) -> None:
    key = uuid4()
    create(conn, company, request_key=key)
    with pytest.raises(Conflict, match="the second click changed nothing"), conn.begin_nested():
        create(conn, company, request_key=key)
    assert closes.count(conn, "invoices") == 1


def test_a_double_click_from_two_connections_writes_one_draft(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
    key, together = uuid4(), threading.Barrier(2)

    def click(_: int) -> bool:
        together.wait()
        try:
            with db.transaction() as own:
                create(own, company, request_key=key)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(click, range(2))) == [False, True]
    with db.transaction() as conn:
        assert closes.count(conn, "invoices") == 1


def test_a_test_customer_gets_no_invoice(conn: Connection, company: Company) -> None:
    test = ledgers.customer(conn, company.people, "Probe GmbH", billed=False, ends_on=JULY)
    with pytest.raises(Conflict, match="Probe GmbH is a test customer and gets no invoices"):
        drafts.create(conn, test, service_from=JUNE, service_until=JUNE, lines=[], user=company.finance)


def test_a_service_period_ends_after_it_starts(conn: Connection, company: Company) -> None:
    with pytest.raises(Invalid) as refusal:
        create(conn, company, service_from=END_OF_JUNE, service_until=JUNE)
    assert refusal.value.field == "service_until"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "2.name", "text of line 2 is required"),
        ({"name": "x" * 10_000}, "2.name", "too long"),
        ({"name": "a\x00b"}, "2.name", "can't be printed"),
        ({"detail": "a\nb"}, "2.detail", "can't be printed"),
        ({"unit": "u" * 31}, "2.unit", "too long"),
        ({"quantity": Decimal(0)}, "2.quantity", "is 0"),
        ({"quantity": Decimal("NaN")}, "2.quantity", "not a number"),
        ({"quantity": Decimal("1.00001")}, "2.quantity", "more than 4 decimals"),
        ({"quantity": LARGEST * 10}, "2.quantity", "too large"),
        ({"unit_price": Decimal("-1")}, "2.unit_price", "make the quantity negative"),
        ({"unit_price": Decimal("0.00001")}, "2.unit_price", "more than 4 decimals"),
        ({"unit_price": LARGEST, "quantity": Decimal(2)}, "2.quantity", "amount of line 2 is too large"),
    ],
)
def test_a_bad_line_is_refused_at_its_cell(
    conn: Connection, company: Company, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Invalid, match=words) as refusal:
        create(conn, company, line("1"), replace(line("1"), **changes))
    assert refusal.value.field == field
    assert closes.count(conn, "invoices") == 0


def test_markup_and_formulas_are_kept_as_they_are(conn: Connection, company: Company) -> None:
    name = '=HYPERLINK("x") <b>*bold*</b> #typst $x$'
    draft_id = create(conn, company, line("1", name=name))
    assert invoices.lines(conn, draft_id)[0].name == name


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_write_nothing(conn: Connection, company: Company, role: Role) -> None:
    draft_id = create(conn, company)
    with pytest.raises(NotAllowed):
        create(conn, company, user=company.people[role])
    with pytest.raises(NotAllowed):
        edit(conn, company, draft_id, user=company.people[role])
    with pytest.raises(NotAllowed):
        drafts.remove(conn, draft_id, user=company.people[role])
    with pytest.raises(NotAllowed):
        close_drafts.draft_unbilled(conn, company.with_users, JUNE, user=company.people[role])


# ---------------------------------------------------------------------------------- changing one


@pytest.mark.row("S3")
def test_texts_dates_and_lines_of_a_draft_are_changed(conn: Connection, company: Company) -> None:
    draft_id = create(conn, company, line("950"))
    edit(
        conn, company, draft_id, line("10", quantity="3"), intro="Hello\nthere", closing="Bye", purchase_order="PO 7",
        due_on=date(2026, 8, 1), service_until=date(2026, 7, 2),
    )  # fmt: skip
    draft = invoices.invoice(conn, draft_id)
    assert (draft.net, draft.intro, draft.closing, draft.purchase_order, draft.due_on, draft.service_until) == (
        Decimal("30.00"), "Hello\nthere", "Bye", "PO 7", date(2026, 8, 1), date(2026, 7, 2)
    )  # fmt: skip
    assert draft.version == 2
    entries, _ = audit.entries(conn, object_type="invoice", object_id=draft_id)
    assert [one.action for one in entries] == ["edit draft", "create draft"]
    assert entries[0].changes["net"] == ["950.00", "30.00"]


def test_a_stale_form_loses_and_says_who_was_faster(conn: Connection, company: Company) -> None:
    draft_id = create(conn, company, line("950"))
    edit(conn, company, draft_id, line("10"), user=company.admin)
    with pytest.raises(Conflict, match=r"Adam changed this draft at \d\d:\d\d, after you opened it"):
        edit(conn, company, draft_id, line("20"), version=1)
    assert invoices.invoice(conn, draft_id).net == Decimal("10.00")


def test_lines_and_period_of_the_close_stay(conn: Connection, company: Company) -> None:
    draft_id = closed_draft(conn, company)
    edit(conn, company, draft_id, line("5", quantity="-1", name="Goodwill"), service_from=JULY, service_until=JULY)
    draft = invoices.invoice(conn, draft_id)
    assert (draft.net, draft.service_from, draft.service_until) == (Decimal("40.00"), JUNE, END_OF_JUNE)
    assert [(one.from_close, one.amount) for one in invoices.lines(conn, draft_id)] == [
        (True, Decimal("45.00")), (False, Decimal("-5.00"))
    ]  # fmt: skip
    edit(conn, company, draft_id)
    assert [one.from_close for one in invoices.lines(conn, draft_id)] == [True]


def test_a_total_below_zero_makes_it_a_credit_note_and_back(conn: Connection, company: Company) -> None:
    draft_id = create(conn, company, line("10", quantity="-2"))
    assert invoices.invoice(conn, draft_id).kind == "credit_note"
    edit(conn, company, draft_id, line("10"))
    assert invoices.invoice(conn, draft_id).kind == "invoice"


@pytest.mark.parametrize(("kept", "sign"), [(None, "-2"), ("Ours", "-2"), ("Wir berechnen:", "2")])
def test_a_credit_note_opens_with_a_sentence_of_its_own_unless_somebody_wrote_one(
    conn: Connection, company: Company, kept: str | None, sign: str
) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"intro_de": "Wir berechnen:"}, user=company.admin)
    draft_id = create(conn, company)
    given = {} if kept is None else {"intro": kept}
    edit(conn, company, draft_id, line("10", quantity=sign), **given)
    opening = kept or "Den Gesamtbetrag der folgenden Positionen schreiben wir Ihnen gut:"
    assert invoices.invoice(conn, draft_id).intro == opening
    edit(conn, company, draft_id, line("10"))
    assert invoices.invoice(conn, draft_id).intro == (kept or "Wir berechnen:")


def test_too_many_lines_are_refused(conn: Connection, company: Company) -> None:
    draft_id = create(conn, company)
    with pytest.raises(Invalid, match="at most 500 lines"):
        edit(conn, company, draft_id, *[line("1")] * 501)
    with pytest.raises(Invalid, match="The text above the lines is too long") as refusal:
        edit(conn, company, draft_id, intro="x" * 10_000)
    assert refusal.value.field == "intro"


def test_vat_follows_the_rate_of_the_day_on_which_the_service_ends(conn: Connection, company: Company) -> None:
    vat_rates.set_rate(conn, valid_from=date(2026, 7, 1), rate=Decimal(21), user=company.admin)
    old = create(conn, company, line("100"))
    new = create(conn, company, line("100"), service_until=date(2026, 7, 1))
    assert (invoices.invoice(conn, old).vat, invoices.invoice(conn, new).vat) == (Decimal("19.00"), Decimal("21.00"))


# ---------------------------------------------------------------------------------- deleting one


@pytest.mark.row("S3")
def test_deleting_a_draft_of_the_close_leaves_its_charges_unbilled(conn: Connection, company: Company) -> None:
    draft_id = closed_draft(conn, company)
    assert invoices.unbilled(conn) == []
    drafts.remove(conn, draft_id, user=company.finance)
    with pytest.raises(NotFound):
        invoices.invoice(conn, draft_id)
    released = invoices.unbilled(conn)
    assert [(one.customer_id, one.month, one.amount) for one in released] == [
        (company.with_users, JUNE, Decimal("45.00"))
    ]
    entries, _ = audit.entries(conn, object_type="invoice", object_id=draft_id)
    assert entries[0].action == "delete draft"
    with pytest.raises(NotFound, match="does not exist"):
        drafts.remove(conn, draft_id, user=company.finance)


@pytest.mark.row("S3")
def test_unbilled_charges_are_drafted_again_once(conn: Connection, company: Company) -> None:
    drafts.remove(conn, closed_draft(conn, company), user=company.finance)
    again = close_drafts.draft_unbilled(conn, company.with_users, JUNE, user=company.finance)
    draft = invoices.invoice(conn, again)
    assert (draft.net, draft.month, draft.customer_id) == (Decimal("45.00"), JUNE, company.with_users)
    assert all(one.from_close for one in invoices.lines(conn, again))
    assert invoices.unbilled(conn) == []
    with pytest.raises(Conflict, match="already on a document"):
        close_drafts.draft_unbilled(conn, company.with_users, JUNE, user=company.finance)
    with pytest.raises(Conflict, match="their month is not closed"):
        close_drafts.draft_unbilled(conn, company.with_users, JULY, user=company.finance)


def test_two_who_draft_again_at_once_write_one_draft(database: str) -> None:
    with db.transaction() as conn:
        company = closes.company(conn)
        drafts.remove(conn, closed_draft(conn, company), user=company.finance)
    together = threading.Barrier(2)

    def click(_: int) -> bool:
        try:
            with db.transaction() as own:
                together.wait()
                close_drafts.draft_unbilled(own, company.with_users, JUNE, user=company.finance)
        except BillingError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(click, range(2))) == [False, True]
    with db.transaction() as conn:
        assert closes.count(conn, "invoices", f"customer_id = {company.with_users}") == 1


def test_an_issued_document_is_neither_edited_nor_deleted(conn: Connection, company: Company) -> None:
    draft_id = closed_draft(conn, company)
    version = invoices.invoice(conn, draft_id).version
    issuing.issue(conn, [draft_id], today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="was issued and never changes"):
        edit(conn, company, draft_id, line("1"), version=version)
    with pytest.raises(Conflict, match="was issued and never changes"):
        drafts.remove(conn, draft_id, user=company.finance)


def test_a_draft_keeps_todays_customer_until_it_is_issued(conn: Connection, company: Company) -> None:
    draft_id = create(conn, company, line("1"))
    before = customers.customer(conn, company.with_users)
    customers.edit(conn, before.id, version=before.version, changes={"name": "Ada AG"}, today=TODAY, user=company.admin)
    assert invoices.invoice(conn, draft_id).customer_name == "Ada AG"
