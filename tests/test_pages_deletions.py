"""What a customer's page offers in each state, and the pages of a deletion: notice, record, duties, settings."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, text
from streamlit.testing.v1 import AppTest

from lib import customer_verbs, db, deletions, erasures, settings, subscriptions
from lib.auth import Role
from tests import closes, ledgers
from tests.beginnings import Begin
from tests.closes import JUNE, Company

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 20)
ALL = {
    *("Project key", "Edit address", "Lock", "Deactivate", "Cancel subscription", "Withdraw a plan or module"),
    "Delete",
}


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(TODAY))


def with_module(conn: Connection) -> Company:
    """Two customers; one has users and a module."""
    made = closes.company(conn)
    module = ledgers.product(conn, made.people, "module", price="30")
    ledgers.book(conn, made.people, made.with_users, module, 1, JUNE)
    return made


@pytest.fixture
def company(begin: Begin) -> Company:
    return begin(with_module)


def do(company: Company, action: Callable[..., Any], *args: Any, **given: Any) -> Any:
    with db.transaction() as conn:
        return action(conn, *args, user=company.admin, **given)


def erase(company: Company, customer_id: int) -> None:
    do(company, deletions.mark, customer_id, today=TODAY)
    with db.transaction() as conn:
        conn.execute(text("UPDATE deletions SET due_at = now()"))
    assert deletions.erase_one()


def page_of(open_page: OpenPage, customer_id: int, role: Role = Role.SALES, **query: str) -> AppTest:
    app = open_page("customer.py", role, id=str(customer_id), **query)
    assert not app.exception
    return app


def offered(app: AppTest) -> set[str]:
    """The verbs in the menu."""
    menus = [menu for menu in app.get("menu_button") if menu.proto.label == "Actions"]
    options = menus[0].proto.options if menus else []
    return {option.split(": ")[1].removesuffix(" …") for option in options}


@pytest.mark.row("G7", "G8", "G12", "N9", "N10", "S6")
def test_the_menu_offers_what_the_state_allows(company: Company, open_page: OpenPage) -> None:
    customer_id = company.with_users
    assert offered(page_of(open_page, customer_id)) == ALL
    assert offered(page_of(open_page, customer_id, Role.VIEWER)) == set()
    do(company, customer_verbs.lock, customer_id)
    do(company, subscriptions.cancel, customer_id, today=TODAY)
    app = page_of(open_page, customer_id)
    gone = {"Lock", "Cancel subscription", "Project key"}
    assert offered(app) == ALL - gone | {"Unlock", "Take cancellation back"}
    assert "its users can't sign in" in app.warning[0].value
    assert "it ends on 30 Jun 2026" in app.info[0].value
    do(company, customer_verbs.deactivate, customer_id, reason="*unpaid*", today=TODAY)
    app = page_of(open_page, customer_id)
    # What it has booked rests, so nothing of it is ended.
    assert offered(app) == {"Edit address", "Unlock", "Activate", "Take cancellation back", "Delete"}
    assert r"\*unpaid\*" in app.warning[1].value
    assert "Deactivated from 20 Jun 2026: days from then on are not charged" in app.warning[1].value
    assert "measured by the month and not by days stays charged in June 2026" in app.warning[1].value


@pytest.mark.row("G3")
def test_only_self_service_is_converted_to_managed(company: Company, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        ledgers.serve_itself(conn, company.people, company.with_ips)
    app = page_of(open_page, company.with_ips, tab="Data")
    assert {"Convert to managed service", "Edit address"} & offered(app) == {"Convert to managed service"}
    # Its address stands there to be read; everything else of the form is there.
    fields = {one.key for one in app.text_input}
    assert fields >= {"data_name", "data_phone", "data_billing_email"}
    assert not fields & {"data_street", "data_billing_name", "data_vat_id"}
    assert r"Hauptstr\. 1, 10115 Berlin, Germany" in str(app.table[0].value)
    do(company, customer_verbs.convert_to_managed, company.with_ips)
    app = page_of(open_page, company.with_ips, tab="Data")
    assert {"Convert to managed service", "Edit address"} & offered(app) == {"Edit address"}
    assert {one.key for one in app.text_input} >= {"data_street", "data_vat_id"}


@pytest.mark.row("G8")
def test_a_cancellation_is_one_change_that_is_booked_for_later(company: Company, open_page: OpenPage) -> None:
    do(company, subscriptions.cancel, company.with_users, today=TODAY)
    app = page_of(open_page, company.with_users)
    assert any("1 Jul 2026" in one.value and "Users, Module" in one.value for one in app.markdown)
    assert [one.key for one in app.button if one.key.startswith("take")] == ["take_cancellation_back"]


@pytest.mark.row("G12")
def test_a_marked_customer_offers_its_way_back_and_nothing_else(company: Company, open_page: OpenPage) -> None:
    do(company, deletions.mark, company.with_users, today=TODAY)
    for role, keys in ((Role.SALES, {"keep"}), (Role.VIEWER, set())):
        app = page_of(open_page, company.with_users, role, tab="Overview")
        assert "Marked for deletion by Adam" in app.warning[0].value
        assert {one.key for one in app.button} - {"sign_out"} == keys
        assert offered(app) == set()
    app = page_of(open_page, company.with_users, Role.FINANCE, tab="Data")
    assert not [one for one in app.text_input if one.key.startswith("data_")]
    assert app.table


@pytest.mark.row("G12", "N10")
def test_the_record_of_an_erasure_with_our_duties(company: Company, open_page: OpenPage) -> None:
    erase(company, company.with_users)
    app = page_of(open_page, company.with_users, Role.FINANCE)
    assert [tab.label for tab in app.tabs] == [
        "Deletion", "History", "Forecast", "Statements", "Cost history", "Adjustments", "Invoices", "Change log",
    ]  # fmt: skip
    assert "its data were erased" in app.info[0].value
    assert sum(one.key.startswith("sign_off_") for one in app.button) == 2
    kept, erased = (frame.value.to_dict("records") for frame in app.dataframe)
    last = next(row for row in kept if row["what"] == erasures.LAST_INVOICE)
    assert (last["until"], last["why"]) == ("until settled", "June 2026 is not closed yet")
    assert {row["what"] for row in erased} >= {"Personal values in the audit log"}
    assert "last_invoice_edit" in {one.key for one in app.button}
    assert "last_invoice_edit" not in {one.key for one in page_of(open_page, company.with_users).button}
    viewer = page_of(open_page, company.with_users, Role.VIEWER)
    assert not any(one.key.startswith("sign_off_") for one in viewer.button)
    with db.transaction() as conn:
        duty = deletions.all_open_duties(conn)[0]
        deletions.sign_off(conn, duty.id, user=company.admin)
    app = page_of(open_page, company.with_users)
    assert any("Adam" in one.value for one in app.caption)


@pytest.mark.row("N10")
def test_open_duties_stand_on_the_customers_page_and_on_that_of_deletions(
    company: Company, open_page: OpenPage
) -> None:
    def links(app: AppTest) -> list[str]:
        return [link.label for link in app.get("page_link") if "what is left" in link.label]

    assert links(open_page("customers.py", Role.VIEWER)) == []
    erase(company, company.with_users)
    app = open_page("customers.py", Role.VIEWER)
    assert len(links(app)) == 1 and any("2 open duties" in one.value for one in app.markdown)
    app = open_page("deletions.py", Role.SALES)
    assert not app.exception
    [row] = app.dataframe[0].value.to_dict("records")
    assert (row["name"], row["state"], row["by"], row["duties"]) == ("Ada GmbH", ["Erased"], "Adam", "2")
    assert any("Drop the customer's SQL database" in one.value for one in app.markdown)
    with db.transaction() as conn:
        for duty in deletions.all_open_duties(conn):
            deletions.sign_off(conn, duty.id, user=company.admin)
    assert links(open_page("customers.py", Role.VIEWER)) == []


def test_nobody_is_deleted_yet(company: Company, open_page: OpenPage) -> None:
    app = open_page("deletions.py", Role.VIEWER)
    assert not app.exception and "No customer is deleted" in app.info[0].value


@pytest.mark.row("G12")
def test_the_delay_is_set_in_minutes(company: Company, open_page: OpenPage) -> None:
    app = open_page("settings.py", section="Deletion")
    app.session_state["section"] = "Deletion"
    app.run()
    app.text_input(key="deletion_erasure_delay_minutes").set_value("50000")
    app.button(key="deletion_save").click().run()
    assert any("between 0 and 43,200" in one.value.replace("\\", "") for one in app.markdown)
    app.text_input(key="deletion_erasure_delay_minutes").set_value("120")
    app.button(key="deletion_save").click().run()
    assert not app.exception
    with db.transaction() as conn:
        assert settings.company(conn).erasure_delay_minutes == 120
    assert any("2 hours" in one.value for one in app.caption)
