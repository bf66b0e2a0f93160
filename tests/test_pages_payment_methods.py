"""The page Payment methods (row G16)."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection
from streamlit.testing.v1 import AppTest

from lib import customers, db, mandates, payment_methods, vault
from lib.auth import Role
from tests import closes, people
from tests.beginnings import Begin
from tests.closes import TODAY, Company
from tests.test_debits import COLLECT, MADE, prepare

Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())


@pytest.fixture
def company(begin: Begin) -> Company:
    return begin(closes.issued)


def said(page: AppTest) -> str:
    parts = (page.markdown, page.caption, page.info, page.warning, page.error, page.success, page.text, page.toast)
    return "\n".join(str(one.value) for kind in parts for one in kind).replace("\\", "")


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


def test_a_method_is_deactivated_unless_customers_have_it(company: Company, open_page: Open) -> None:
    page = open_page("payment_methods.py", Role.FINANCE)
    assert not page.exception
    assert "account_edit" not in keys(page)  # the account is a setting of admins
    page.button(key="deactivate_bank_transfer").click().run()
    assert "2 customers have it: Ada GmbH, Berta AG" in said(page)
    page.button(key="deactivate_card").click().run()
    assert "Credit card is not offered any more" in said(page)
    assert "activate_card" in keys(page)
    with db.transaction() as conn:
        assert "card" not in payment_methods.offered(conn)


def test_the_form_of_a_customer_offers_what_is_active(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        payment_methods.deactivate(conn, "card", user=company.finance)
        version = customers.customer(conn, company.with_ips).version
        changes = {"payment_method": "free"}
        customers.edit(conn, company.with_ips, version=version, changes=changes, today=TODAY, user=company.admin)
        payment_methods.deactivate(conn, "direct_debit", user=company.finance)
    page = open_page("customer.py", Role.SALES, id=str(company.with_ips), tab="Data")
    assert page.selectbox(key="data_payment_method").options == ["Bank transfer", "Project key", "Free"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_others_do_not_see_it(company: Company, open_page: Open, role: Role) -> None:
    page = open_page("payment_methods.py", role)
    assert "may not record and reverse payments" in said(page)
    assert people.NAMES[role] in said(page)
    assert not page.subheader


def test_a_mandate_is_entered_and_revoked_on_the_customer(company: Company, open_page: Open) -> None:
    page = open_page("customer.py", Role.SALES, id=str(company.with_users), tab="Payment")
    assert "Without one nothing is collected" in said(page)
    assert "mandate_add" in keys(page)
    with db.transaction() as conn:
        mandates.add(
            conn, company.with_users, holder="Ada GmbH", iban="DE89370400440532013000", signed_on=TODAY, today=TODAY,
            user=company.admin,
        )  # fmt: skip
    page.run()
    [kept] = [one.value for one in page.dataframe if "iban" in one.value.columns]
    assert list(kept["iban"]) == ["… 3000"]
    assert {"mandate_revoke"} <= keys(page)
    assert "mandate_revoke" not in keys(
        open_page("customer.py", Role.VIEWER, id=str(company.with_users), tab="Payment")
    )


def test_a_file_is_made_and_its_payments_recorded(
    begin: Begin, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(_with_debits)
    monkeypatch.setenv("MANDANT_TODAY", MADE.isoformat())
    page = open_page("payment_methods.py", Role.FINANCE, tab="Direct debit")
    assert not page.exception
    assert "1 of 1 invoices" in said(page)
    page.button(key="debit_make").click().run()
    assert "The file is made" in said(page)
    assert "0 of 1 invoices" in said(page)
    assert page.button(key="debit_collect").disabled
    monkeypatch.setenv("MANDANT_TODAY", COLLECT.isoformat())
    page.run()
    page.button(key="debit_collect").click().run()
    assert "The payments are recorded" in said(page)
    assert "Collected" in said(page)


def _with_debits(conn: Connection) -> Company:
    made = closes.company(conn)
    prepare(conn, made)
    return made
