"""The page of the list: what each role sees, filters from the address, paging, empty states."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib import customer_lists, customers, db, invites, periods
from lib.auth import Role
from tests import ledgers, people
from tests.ledgers import JUNE

OpenPage = Callable[..., AppTest]
PAGE = "customers.py"


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-10")


def fill(names: list[str], **details: Any) -> None:
    with db.transaction() as conn:
        sales = (people.hire(conn) if periods.open_month(conn) else people.open_company(conn))[Role.SALES]
        for name in names:
            given = {"name": name} | details
            customers.create(conn, details=given, billed=True, ends_on=None, today=JUNE, user=sales)


def shown(app: AppTest) -> list[str]:
    assert not app.exception
    return list(app.dataframe[0].value["name"]) if app.dataframe else []


@pytest.mark.row("N5", "G1")
def test_the_list_shows_billed_customers_first_and_tests_on_their_tab(open_page: OpenPage) -> None:
    fill(["Ada GmbH"])
    with db.transaction() as conn:
        hired = people.hire(conn)
        test = ledgers.customer(conn, hired, "Testfall KG", billed=False, ends_on=date(2026, 7, 1))
        customers.edit(
            conn, test, version=1, changes={"contact_email": "t@t.example"}, today=JUNE, user=hired[Role.SALES]
        )
    app = open_page(PAGE, Role.VIEWER)
    assert shown(app) == ["Ada GmbH"]
    # AppTest knows a segmented control by its options.
    assert [option.content for option in app.get("segmented_control")[0].proto.options] == ["Billed 1", "Test 1"]
    app = open_page(PAGE, Role.VIEWER, phase="test")
    assert shown(app) == ["Testfall KG"]
    row = app.dataframe[0].value.iloc[0]
    assert (row["email"], row["status"], row["ends_on"], row["price"]) == ("t@t.example", ["Ending"], "1 Jul 2026", "–")


@pytest.mark.row("G3")
def test_each_row_offers_what_its_state_and_the_role_allow(open_page: OpenPage) -> None:
    fill(["Ada GmbH"])
    fill(["Bea AG"], service_mode="self_service")
    with db.transaction() as conn:
        hired = people.hire(conn)
        ids = {row.name: row.id for row in customer_lists.rows(conn, [1, 2], today=JUNE)}
        invites.invite(conn, ids["Bea AG"], email="bea@bea.example", user=hired[Role.SALES])

    def menus(role: Role) -> list[list[str]]:
        app = open_page(PAGE, role)
        assert shown(app) == ["Ada GmbH", "Bea AG"]
        labels = app.dataframe[0].value["actions"]
        return [[label.split(": ")[1].removesuffix(" …") for label in menu] for menu in labels]

    assert menus(Role.SALES) == [
        ["Details", "IP distribution", "Project key", "Edit address", "Delete"],
        ["Details", "IP distribution", "Resend invite", "Change main user", "Convert to managed service", "Delete"],
    ]
    assert menus(Role.VIEWER) == [["Details"], ["Details"]]


def test_who_may_add_a_customer(open_page: OpenPage) -> None:
    fill(["Ada GmbH"])
    for role, may in ((Role.VIEWER, False), (Role.SALES, True), (Role.FINANCE, True), (Role.ADMIN, True)):
        app = open_page(PAGE, role)
        assert not app.exception
        assert ("new" in [button.key for button in app.button]) is may


@pytest.mark.row("G13")
def test_filters_come_from_the_address(open_page: OpenPage) -> None:
    fill(["Ada GmbH", "Berta GmbH"])
    fill(["Cora GmbH"], payment_method="card", service_mode="self_service")
    assert shown(open_page(PAGE, customer_search="berta")) == ["Berta GmbH"]
    filtered = {"customer_payment": "Credit card", "customer_mode": "Self-service", "customer_status": "Inactive"}
    assert shown(open_page(PAGE, **filtered)) == ["Cora GmbH"]
    assert shown(open_page(PAGE, customer_order="Name Z–A")) == ["Cora GmbH", "Berta GmbH", "Ada GmbH"]


def test_searching_while_typing(open_page: OpenPage) -> None:
    fill(["Ada GmbH", "Berta GmbH"])
    app = open_page(PAGE)
    app.text_input(key="customer_search").set_value("ber").run()
    assert shown(app) == ["Berta GmbH"]
    app.text_input(key="customer_search").set_value("nobody").run()
    assert shown(app) == []
    assert "No billed customer matches" in app.info[0].value
    app.button(key="clear").click().run()
    assert shown(app) == ["Ada GmbH", "Berta GmbH"]


def test_the_forecast_says_that_it_is_without_prepaid_terms(open_page: OpenPage) -> None:
    fill(["Ada GmbH"])
    app = open_page(PAGE)
    assert ", without prepaid terms." in app.dataframe[0].proto.columns


@pytest.mark.parametrize("typed", ["%", "\\", "'", "x" * 200, "<script>", "=1+1"])
def test_odd_searches_find_nothing_and_break_nothing(open_page: OpenPage, typed: str) -> None:
    fill(["Ada GmbH"])
    app = open_page(PAGE)
    app.text_input(key="customer_search").set_value(typed).run()
    assert shown(app) == []


def test_a_filter_that_hides_all_says_what_the_other_tab_has(open_page: OpenPage) -> None:
    fill(["Ada GmbH"])
    app = open_page(PAGE, phase="test", customer_search="ada")
    assert "1 match under Billed" in " ".join(caption.value for caption in app.caption)


def test_paging(open_page: OpenPage) -> None:
    fill([f"Firma {number:02}" for number in range(30)])
    app = open_page(PAGE)
    assert len(shown(app)) == 25
    assert "1–25 of 30 customers" in [caption.value for caption in app.caption]
    app = open_page(PAGE, customer_page="2")
    assert shown(app) == [f"Firma {number:02}" for number in range(25, 30)]
    assert "26–30 of 30 customers" in [caption.value for caption in app.caption]
    # A page of the address that is no more.
    assert len(shown(open_page(PAGE, customer_page="2", customer_search="firma"))) == 5


def test_the_first_run_says_how_to_begin(open_page: OpenPage) -> None:
    app = open_page(PAGE)
    assert "first booking month is not set" in app.info[0].value
    assert app.button(key="new").disabled


def test_an_empty_company_says_what_a_customer_is(open_page: OpenPage) -> None:
    fill([])
    assert "No billed customer yet" in open_page(PAGE).info[0].value
    assert "no charges" in open_page(PAGE, phase="test").info[0].value


def test_names_are_text_and_never_markup(open_page: OpenPage) -> None:
    fill(["**Fett** [x](http://evil.example) <b>"])
    assert shown(open_page(PAGE)) == ["**Fett** [x](http://evil.example) <b>"]


def test_choosing_several_and_all_that_match(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        staff = people.open_company(conn)
        for number in range(30):
            ledgers.customer(conn, staff, f"Kunde {number:02}")
    page = open_page("customers.py", Role.SALES)
    page.toggle(key="customer_several").set_value(True).run()
    assert page.button(key="bulk_continue").disabled
    page.button(key="several_all").click().run()
    assert not page.exception
    assert "30 customers are chosen." in [text.value for text in page.text]
    assert not page.button(key="bulk_continue").disabled
    page.button(key="several_anew").click().run()
    assert page.button(key="bulk_continue").disabled
    viewer = open_page("customers.py", Role.VIEWER)
    assert not viewer.toggle


@pytest.mark.row("N3")
def test_the_end_is_prefilled_four_weeks_ahead_and_says_what_it_does_to_a_contract(open_page: OpenPage) -> None:
    with db.transaction() as conn:
        people.open_company(conn)
    app = open_page(PAGE, Role.SALES)
    app.button(key="new").click().run()
    assert app.date_input(key="new_customer_ends_on").value == date(2026, 6, 10) + customers.FOUR_WEEKS
    assert any("a billed customer ends then, too, unless it is emptied" in one.value for one in app.caption)
