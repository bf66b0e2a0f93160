"""The page Payment methods (row G16)."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.routing import Route
from streamlit.testing.v1 import AppTest

from lib import customers, db, invoices, mandates, payment_methods, stripe_client, vault
from lib.auth import Role
from pages.shared import card_payment, stripe_routes
from tests import closes, people, stripe_server, test_cards
from tests.beginnings import Begin
from tests.closes import TODAY, Company
from tests.stripe_server import PUBLISHABLE, SECRET, Stripe
from tests.test_debits import COLLECT, MADE, prepare

Open = Callable[..., AppTest]
ROUTE = Route(stripe_routes.WEBHOOK, stripe_routes.webhook, methods=["POST"])
pytestmark = pytest.mark.row("G16")


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


# ---------------------------------------------------------------------------------- credit card


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stripe]:
    monkeypatch.setattr(card_payment, "here", lambda: "http://127.0.0.1:8501")
    with stripe_server.started() as made:
        monkeypatch.setenv(stripe_client.VARIABLE, made.url)
        yield made


def test_keys_are_entered_tested_and_shown_masked(company: Company, open_page: Open, fake: Stripe) -> None:
    page = open_page("payment_methods.py", Role.ADMIN, tab="Credit card")
    assert page.button(key="stripe_try").disabled
    for name, key in (("secret_key", SECRET), ("publishable_key", stripe_server.LIVE_PUBLISHABLE)):
        page.text_input(key=f"stripe_{name}").set_value(key)
    page.button(key="stripe_save").click().run()
    assert "One key is for tests and the other for real money" in said(page)
    page.text_input(key="stripe_publishable_key").set_value(PUBLISHABLE)
    page.button(key="stripe_save").click().run()
    assert "Test mode" in said(page)
    shown = "\n".join(str(one.value) for one in page.table)
    assert f"•••• {SECRET[-4:]}" in shown
    assert SECRET not in shown + said(page)
    assert page.text_input(key="stripe_secret_key").value == ""
    page.button(key="stripe_try").click().run()
    assert "The connection works: these are the keys of Muster IT" in said(page)
    fake.down = True
    page.button(key="stripe_try").click().run()
    assert "Stripe does not answer at the moment" in said(page)
    finance = open_page("payment_methods.py", Role.FINANCE, tab="Credit card")
    assert not {"stripe_save", "stripe_try"} & keys(finance)


def test_a_saved_card_is_charged_on_the_invoice(company: Company, open_page: Open, fake: Stripe) -> None:
    with db.transaction() as conn:
        test_cards.enter(conn, company)
        invoice_id = invoices.invoices_of(conn, company.with_users)[0].id
    page = open_page("customer.py", Role.SALES, id=str(company.with_users), tab="Payment")
    page.button(key="card_save").click().run()
    [link] = [one.value for one in page.code]
    fake.type_card(link.rpartition("/")[2], stripe_server.DECLINED)
    test_cards.look()
    assert "Visa … 0002" in said(page.run())
    page = open_page("invoice.py", Role.FINANCE, id=str(invoice_id))
    page.button(key="card_link").click().run()
    [link] = [one.value for one in page.code]
    assert "card_link" not in keys(page)
    fake.type_card(link.rpartition("/")[2], stripe_server.GOOD)
    test_cards.look()
    page.run()
    [kept] = [one.value for one in page.dataframe if "method" in one.value.columns]
    assert list(kept["method"]) == ["Credit card"]
    assert list(kept["by"]) == ["System"]


def test_stripe_that_is_down_is_said_on_the_page(company: Company, open_page: Open, fake: Stripe) -> None:
    with db.transaction() as conn:
        test_cards.enter(conn, company)
        invoice_id = invoices.invoices_of(conn, company.with_users)[0].id
    fake.down = True
    page = open_page("invoice.py", Role.FINANCE, id=str(invoice_id))
    page.button(key="card_link").click().run()
    assert "Stripe does not answer at the moment. Nothing is lost" in said(page)


def test_the_webhook_takes_what_is_signed(company: Company, fake: Stripe) -> None:
    async def posted(body: bytes, signature: str) -> int:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=[ROUTE])), base_url="http://test")
        async with client:
            answer = await client.post("/stripe/webhook", content=body, headers={"Stripe-Signature": signature})
            return answer.status_code

    event = fake.tell("customer.created", {"id": "cus_x", "object": "customer"})
    assert people.awaited(posted(*stripe_server.signed(event))) == 503  # no secret yet: Stripe sends it again later
    with db.transaction() as conn:
        test_cards.enter(conn, company)
    assert people.awaited(posted(*stripe_server.signed(event))) == 200
    assert people.awaited(posted(*stripe_server.signed(event))) == 200
    assert people.awaited(posted(*stripe_server.signed(event, secret="whsec_wrong0000"))) == 400
    assert people.awaited(posted(b"x" * 2_000_000, "")) == 413
