"""Payments by hand: counted once and right, reversed by rows of their own, the invoice's state follows (row B9)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from streamlit.testing.v1 import AppTest

from lib import audit, cancellations, checks, db, invoices, payments
from lib.auth import Role, User
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import closes
from tests.beginnings import Begin
from tests.closes import TODAY, Company

# 10 users at 4.50 with 19 % VAT.
GROSS = Decimal("53.55")


BEGINS_WITH = closes.approved


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


@pytest.fixture
def issued(conn: Connection, company: Company) -> int:
    closes.issue(conn, company)
    return invoices.invoices_of(conn, company.with_users)[0].id


def pay(conn: Connection, invoice_id: int, amount: Decimal, user: User, **more: Any) -> int:
    given: dict[str, Any] = {"paid_on": TODAY, "method": "bank_transfer", "today": TODAY} | more
    return payments.record(conn, invoice_id, amount=amount, user=user, **given)


def state(conn: Connection, invoice_id: int) -> tuple[str, Decimal]:
    return invoices.invoice(conn, invoice_id).state, payments.open_amount(conn, invoice_id)


def test_a_payment_in_full_pays_the_invoice(conn: Connection, company: Company, issued: int) -> None:
    assert state(conn, issued) == ("issued", GROSS)
    pay(conn, issued, GROSS, company.finance, paid_on=date(2026, 7, 2), reference="Statement 7/2026")
    assert state(conn, issued) == ("paid", 0)
    kept = payments.payments_of(conn, issued)[0]
    assert (kept.amount, kept.paid_on, kept.reference, kept.reversed) == (
        GROSS, date(2026, 7, 2), "Statement 7/2026", False
    )  # fmt: skip
    entry = audit.entries(conn, object_type="invoice", object_id=issued)[0][0]
    assert entry.action == "pay"
    assert entry.changes == {"payment": [None, "53.55 EUR of 2026-07-02"], "state": ["Issued", "Paid"]}
    assert checks.findings(conn) == []


def test_parts_add_up_and_a_reversal_takes_one_back(conn: Connection, company: Company, issued: int) -> None:
    first = pay(conn, issued, Decimal(20), company.finance)
    assert state(conn, issued) == ("partly_paid", Decimal("33.55"))
    second = pay(conn, issued, Decimal("33.55"), company.finance)
    assert state(conn, issued) == ("paid", 0)
    payments.reverse(conn, second, reason="Returned by the bank", today=TODAY, user=company.finance)
    assert state(conn, issued) == ("partly_paid", Decimal("33.55"))
    payments.reverse(conn, first, reason="Another customer's", today=TODAY, user=company.finance)
    assert state(conn, issued) == ("issued", GROSS)
    found = payments.payments_of(conn, issued)
    assert [(one.amount, one.reversed, one.reverses_id) for one in found] == [
        (Decimal(20), True, None), (Decimal("33.55"), True, None),
        (Decimal("-33.55"), False, second), (Decimal(-20), False, first),
    ]  # fmt: skip
    with pytest.raises(AlreadyDone, match="already reversed"):
        payments.reverse(conn, first, reason="Again", today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="not reversed"):
        payments.reverse(conn, found[-1].id, reason="Back", today=TODAY, user=company.finance)
    assert checks.findings(conn) == []


def test_a_form_sent_twice_is_one_payment(conn: Connection, company: Company, issued: int) -> None:
    key = uuid4()
    pay(conn, issued, Decimal(20), company.finance, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        pay(conn, issued, Decimal(20), company.finance, request_key=key)
    assert len(payments.payments_of(conn, issued)) == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_record_and_reverse_nothing(conn: Connection, company: Company, issued: int, role: Role) -> None:
    with pytest.raises(NotAllowed, match="record and reverse payments"):
        pay(conn, issued, GROSS, company.people[role])
    with pytest.raises(NotAllowed, match="record and reverse payments"):
        payments.reverse(conn, 1, reason="x", today=TODAY, user=company.people[role])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": GROSS + Decimal("0.01")}, "amount"),
        ({"amount": Decimal(0)}, "amount"),
        ({"amount": Decimal("-1")}, "amount"),
        ({"amount": Decimal("1.005")}, "amount"),
        ({"paid_on": TODAY + timedelta(days=1)}, "paid_on"),
        ({"method": "shells"}, "method"),
        ({"reference": "x" * 5000}, "reference"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    conn: Connection, company: Company, issued: int, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        pay(conn, issued, **({"amount": GROSS, "user": company.finance} | given))
    assert refusal.value.field == field
    assert payments.payments_of(conn, issued) == []


def test_more_than_is_open_is_refused_with_what_is_open(conn: Connection, company: Company, issued: int) -> None:
    pay(conn, issued, Decimal(50), company.finance)
    with pytest.raises(Invalid, match=r"Only 3\.55 EUR is open on RE-2026-00001"):
        pay(conn, issued, Decimal(4), company.finance)


def test_what_is_missing_is_not_found(conn: Connection, company: Company, issued: int) -> None:
    with pytest.raises(NotFound):
        pay(conn, 0, GROSS, company.finance)
    with pytest.raises(NotFound):
        payments.reverse(conn, 0, reason="x", today=TODAY, user=company.finance)
    one = pay(conn, issued, GROSS, company.finance)
    with pytest.raises(Invalid, match="reason"):
        payments.reverse(conn, one, reason=" ", today=TODAY, user=company.finance)


def test_drafts_paid_written_off_and_cancelled_documents_take_none(conn: Connection, company: Company) -> None:
    draft = invoices.invoices_of(conn, company.with_users)[0].id
    with pytest.raises(Conflict, match="draft"):
        pay(conn, draft, GROSS, company.finance)
    closes.issue(conn, company)
    cancellation = cancellations.cancel(conn, draft, reason="Wrong", today=TODAY, user=company.finance)
    with pytest.raises(Conflict, match="cancelled"):
        pay(conn, draft, GROSS, company.finance)
    with pytest.raises(Conflict, match="Nothing is to be paid"):
        pay(conn, cancellation, GROSS, company.finance)
    other = invoices.invoices_of(conn, company.with_ips)[0].id
    conn.execute(text("UPDATE invoices SET state = 'written_off' WHERE id = :id"), {"id": other})
    with pytest.raises(Conflict, match="written off"):
        pay(conn, other, GROSS, company.finance)


def test_a_document_with_payments_is_cancelled_after_their_reversal(
    conn: Connection, company: Company, issued: int
) -> None:
    one = pay(conn, issued, Decimal(20), company.finance)
    with pytest.raises(Conflict, match=r"has payments\. Reverse them first"):
        cancellations.cancel(conn, issued, reason="Wrong", today=TODAY, user=company.finance)
    payments.reverse(conn, one, reason="Paid back", today=TODAY, user=company.finance)
    cancellations.cancel(conn, issued, reason="Wrong", today=TODAY, user=company.finance)
    assert state(conn, issued) == ("cancelled", 0)
    assert checks.findings(conn) == []


def settle(conn: Connection, invoice_ids: list[int], user: User, **more: Any) -> int:
    given: dict[str, Any] = {"paid_on": TODAY, "method": "direct_debit", "today": TODAY} | more
    return payments.settle(conn, invoice_ids, user=user, **given)


def test_several_are_paid_at_once_each_with_what_is_open(conn: Connection, company: Company, issued: int) -> None:
    other = invoices.invoices_of(conn, company.with_ips)[0].id
    pay(conn, issued, Decimal(20), company.finance)
    gross = payments.open_amount(conn, other)
    assert settle(conn, [issued, other, issued], company.finance, paid_on=date(2026, 7, 2)) == 2
    assert [state(conn, one) for one in (issued, other)] == [("paid", 0), ("paid", 0)]
    assert [one.amount for one in payments.payments_of(conn, issued)] == [Decimal(20), Decimal("33.55")]
    kept = payments.payments_of(conn, other)[0]
    assert (kept.amount, kept.paid_on, kept.method) == (gross, date(2026, 7, 2), "direct_debit")
    entry = audit.entries(conn, object_type="invoice", object_id=issued)[0][0]
    assert (entry.action, entry.person) == ("pay", company.finance.name)
    assert entry.changes == {"payment": [None, "33.55 EUR of 2026-07-02"], "state": ["Partly paid", "Paid"]}
    assert checks.findings(conn) == []
    with pytest.raises(Conflict, match="is paid and takes no payment"):
        settle(conn, [issued], company.finance)


def test_of_several_none_is_paid_where_one_can_not_be(conn: Connection, company: Company, issued: int) -> None:
    other = invoices.invoices_of(conn, company.with_ips)[0].id
    cancellations.cancel(conn, other, reason="Wrong", today=TODAY, user=company.finance)
    for ids, refusal in (([issued, other], Conflict), ([issued, 0], NotFound)):
        with pytest.raises(refusal):
            settle(conn, ids, company.finance)
    for given in ({"paid_on": TODAY + timedelta(days=1)}, {"method": "shells"}):
        with pytest.raises(Invalid):
            settle(conn, [issued], company.finance, **given)
    for role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed, match="record and reverse payments"):
            settle(conn, [issued], company.people[role])
    assert (payments.payments_of(conn, issued), state(conn, issued)) == ([], ("issued", GROSS))


@pytest.mark.parametrize(
    "statement", ["UPDATE payments SET amount = 1", "DELETE FROM payments", "TRUNCATE payments CASCADE"]
)
def test_rows_are_never_changed(conn: Connection, company: Company, issued: int, statement: str) -> None:
    pay(conn, issued, GROSS, company.finance)
    with pytest.raises(DBAPIError, match="never changed"), conn.begin_nested():
        conn.execute(text(statement))


@pytest.mark.parametrize("damage", ["issued", "partly_paid"])
def test_the_check_finds_a_state_that_the_payments_do_not_make(
    conn: Connection, company: Company, issued: int, damage: str
) -> None:
    pay(conn, issued, GROSS, company.finance)
    conn.execute(text("UPDATE invoices SET state = :state WHERE id = :id"), {"state": damage, "id": issued})
    assert ["payments add up" in one.rule for one in checks.findings(conn)] == [True]


@pytest.fixture
def committed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> tuple[Company, int]:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    made = begin(closes.issued)
    with db.transaction() as conn:
        return made, invoices.invoices_of(conn, made.with_users)[0].id


def test_of_two_at_once_the_second_counts_what_the_first_paid(committed: tuple[Company, int]) -> None:
    company, invoice_id = committed

    def attempt(_: int) -> str:
        try:
            with db.transaction() as conn:
                pay(conn, invoice_id, Decimal(40), company.finance)
        except BillingError as refusal:
            return str(refusal)
        return "paid"

    with ThreadPoolExecutor(2) as desks:
        ended = sorted(desks.map(attempt, range(2)))
    assert ended == ["Only 13.55 EUR is open on RE-2026-00001. Enter that or less.", "paid"]
    with db.transaction() as conn:
        assert state(conn, invoice_id) == ("partly_paid", Decimal("13.55"))


def test_the_page_records_what_is_open_and_reverses_it(
    committed: tuple[Company, int], open_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, invoice_id = committed
    page: AppTest = open_page("invoice.py", Role.FINANCE, id=str(invoice_id))
    page.button(key="payment_add").click().run()
    assert page.text_input(key="payment_amount").value == "53.55"
    page.text_input(key="payment_amount").set_value("50")
    page.button(key="payment_go").click().run()
    assert not page.exception
    with db.transaction() as conn:
        assert state(conn, invoice_id) == ("partly_paid", Decimal("3.55"))
    cancel = page.button(key="issued_cancel")
    assert cancel.disabled and "Reverse them" in cancel.help
    page = open_page("invoice.py", Role.VIEWER, id=str(invoice_id))
    assert not [one for one in page.button if one.key == "payment_add"]
    assert "3.55 EUR open" in "\n".join(one.value for one in page.markdown)
    # AppTest can't open a menu: it answers with its first entry.
    monkeypatch.setattr("streamlit.menu_button", lambda label, options, **more: options[0])
    page = open_page("invoice.py", Role.FINANCE, id=str(invoice_id))
    page.text_input(key="payment_reason").set_value("Returned by the bank")
    page.button(key="payment_reverse_go").click().run()
    with db.transaction() as conn:
        assert state(conn, invoice_id) == ("issued", GROSS)


def test_the_list_settles_what_was_ticked(committed: tuple[Company, int], open_page: Any) -> None:
    company, invoice_id = committed
    page: AppTest = open_page("invoices.py", Role.FINANCE)
    table = next(key for key in list(page.session_state) if key.startswith("documents_"))
    page.session_state["invoices_chosen"] = (table, [invoice_id])
    page.run()
    button = page.button(key="settle_selected")
    assert button.label == "Record as paid (1)"
    button.click().run()
    assert "1 invoice, 53.55 EUR open in all" in "\n".join(one.value for one in page.markdown)
    page.button(key="settle_go").click().run()
    assert not page.exception
    with db.transaction() as conn:
        assert state(conn, invoice_id) == ("paid", 0)
        assert state(conn, invoices.invoices_of(conn, company.with_ips)[0].id)[0] == "issued"
