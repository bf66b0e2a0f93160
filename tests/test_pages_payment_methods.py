"""The page Payment methods (row G16)."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from lib import customers, db, payment_methods, vault
from lib.auth import Role
from tests import closes, people
from tests.beginnings import Begin
from tests.closes import TODAY, Company

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
