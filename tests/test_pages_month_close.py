"""The cockpit of the month close: its steps by role and day, its exceptions, its history (row B1)."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from streamlit.testing.v1 import AppTest

from lib import customers, db, issuing, months, prices
from lib.auth import Role
from pages.shared import documents, work
from tests import closes, ledgers
from tests.beginnings import Begin
from tests.closes import JUNE, TODAY, Company
from tests.test_pages_invoices import buttons, said, table

Open = Callable[..., AppTest]


@pytest.fixture
def company(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    return begin(closes.company)


def badges(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in page.markdown)


@pytest.mark.row("B1")
def test_the_next_month_to_close_is_previewed(company: Company, open_page: Open) -> None:
    page = open_page("month_close.py", Role.FINANCE)
    assert not page.exception
    assert page.title[0].value == "Month close: June 2026"
    assert {one.label: one.value for one in page.metric} == {
        "Net (EUR)": "505.00", "Documents": "2", "Credit notes": "0", "Nothing to bill": "0"
    }  # fmt: skip
    assert table(page, "product") == ["Users", "Ips"]
    assert "Nothing unusual was found" in said(page)
    assert not page.button(key="month_approve").disabled
    assert table(page, "month") == ["July 2026", "June 2026"]


def test_a_month_that_has_not_ended_says_when_it_can_be_closed(
    company: Company, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-20")
    page = open_page("month_close.py", Role.FINANCE)
    assert "June 2026 can be closed from 1 Jul 2026 on, after its last day" in said(page)
    assert page.button(key="month_approve").disabled


def test_the_address_names_a_month(company: Company, open_page: Open) -> None:
    page = open_page("month_close.py", Role.FINANCE, month="2026-07")
    assert page.title[0].value == "Month close: July 2026"
    assert "Months close in order: June 2026 comes first" in said(page)
    for wrong in ("2031-01", "June", "2026-13"):
        assert open_page("month_close.py", Role.FINANCE, month=wrong).title[0].value == "Month close: June 2026"


def test_exceptions_are_listed_by_kind_and_a_missing_price_blocks(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        option = ledgers.product(conn, company.people, "option", code="sso")
        ledgers.book(conn, company.people, company.with_users, option, 1, JUNE)
        homeless = customers.create(
            conn, details={"name": "Ohne <b>Anschrift</b>"}, billed=True, ends_on=None, today=JUNE, user=company.admin
        )
        ledgers.book(conn, company.people, homeless, company.users, 1, JUNE)
    page = open_page("month_close.py", Role.FINANCE)
    assert not page.exception
    assert "Something is booked without a price (1 customer)" in said(page)
    assert page.button(key="month_approve").disabled
    assert table(page, "kind") == ["['No price']", "['Address incomplete']"]
    assert table(page, "detail")[0] == "Sso: blocks the close until it has a price"
    assert "Ohne <b>Anschrift</b>" in table(page, "name")
    by_product = dict(
        zip(table(page, "product"), zip(table(page, "amount"), table(page, "change"), strict=False), strict=True)
    )
    assert by_product["Sso"] == ("–", "–")
    with db.transaction() as conn:
        prices.set_list_price(conn, option, valid_from=JUNE, tiers=ledgers.tiers((1, None, "9")), user=company.admin)
    page.run()
    assert not page.button(key="month_approve").disabled


def test_reverse_charge_has_its_deadline(company: Company, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.transaction() as conn:
        closes.abroad(conn, company, "Lumière SARL", "FR", "FR40303265045")
    assert "1 document of this month is under reverse charge and must be issued by **15 Jul 2026**" in said(
        open_page("month_close.py", Role.FINANCE)
    )
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-16")
    assert "That day has passed" in said(open_page("month_close.py", Role.FINANCE))
    with db.transaction() as conn:
        closes.approve(conn, company)
    assert "under reverse charge" in said(open_page("month_close.py", Role.FINANCE, month="2026-06"))
    with db.transaction() as conn:
        closes.issue(conn, company)
    assert "under reverse charge" not in said(open_page("month_close.py", Role.FINANCE, month="2026-06"))


@pytest.mark.row("B1")
def test_approve_issue_and_lock_run_in_the_pages_body_once(company: Company, open_page: Open) -> None:
    page = open_page("month_close.py", Role.FINANCE, month="2026-06")

    def have_done(job: work.Job) -> None:
        page.session_state["work_wanted"] = (uuid4(), job)
        page.run()
        assert not page.exception

    have_done(work.Job("approve", "Closing …", "Approved.", months.approve, (JUNE,), {"today": TODAY}, steps=True))
    assert "Approved." in said(page)
    assert {"Issue all (2)", "Reopen"} <= buttons(page)
    have_done(work.Job(documents.ISSUE, "Issuing …", "Issued.", issuing.issue_month, (JUNE,), {"today": TODAY}))
    assert "Issued 2 documents: RE-2026-00001 – RE-2026-00002." in said(page)
    assert "Lock June 2026" in buttons(page)
    assert "Reopen" not in buttons(page)
    have_done(work.Job("lock", "Locking …", "Locked.", months.lock, (JUNE,)))
    assert "4 Lock: done" in badges(page)
    assert not buttons(page) & {"Lock June 2026", "Reopen", "Issue all (0)"}
    assert table(page, "approved")[-1].startswith("Fiona, ")


def test_a_refused_close_says_why(company: Company, open_page: Open) -> None:
    page = open_page("month_close.py", Role.FINANCE)
    with db.transaction() as conn:
        closes.approve(conn, company)
    job = work.Job("approve", "Closing …", "Approved.", months.approve, (JUNE,), {"today": TODAY}, steps=True)
    page.session_state["work_wanted"] = (uuid4(), job)
    page.run()
    assert "June 2026 can't be closed: the next month to close is July 2026" in said(page)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_look_and_find_no_buttons(company: Company, open_page: Open, role: Role) -> None:
    page = open_page("month_close.py", role)
    assert not page.exception
    assert buttons(page) == set()
    assert "Finance and admins close months" in said(page)
    with db.transaction() as conn:
        closes.approve(conn, company)
    assert buttons(open_page("month_close.py", role, month="2026-06")) == set()


def test_drafts_that_lack_something_are_listed_before_the_issue(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        closes.abroad(conn, company, "Alpenhof", "AT")
        closes.approve(conn, company)
    page = open_page("month_close.py", Role.FINANCE, month="2026-06")
    assert table(page, "missing")[0].startswith("a valid VAT ID")
    assert "Issue 2 of 3" in buttons(page)
    assert not page.button(key="month_issue").disabled
    with db.transaction() as conn:
        closes.issue(conn, company)
    page = open_page("month_close.py", Role.FINANCE, month="2026-06")
    assert "Issue 0 of 1" in buttons(page)
    assert page.button(key="month_issue").disabled


@pytest.mark.row("B1")
def test_a_closed_month_stays_until_its_drafts_are_issued_or_the_next_has_ended(
    company: Company, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("month_close.py", Role.FINANCE)
    page.button(key="month_approve").click().run()
    assert page.query_params["month"] == "2026-06"
    with db.transaction() as conn:
        closes.approve(conn, company)
    assert open_page("month_close.py", Role.FINANCE).title[0].value == "Month close: June 2026"
    monkeypatch.setenv("MANDANT_TODAY", "2026-08-01")
    assert open_page("month_close.py", Role.FINANCE).title[0].value == "Month close: July 2026"
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    with db.transaction() as conn:
        closes.issue(conn, company)
    assert open_page("month_close.py", Role.FINANCE).title[0].value == "Month close: July 2026"


def test_before_set_up_the_page_says_what_to_do(open_page: Open) -> None:
    page = open_page("month_close.py", Role.ADMIN)
    assert not page.exception
    assert "The first booking month is not set" in said(page)
