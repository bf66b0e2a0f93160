"""A customer's page: what each tab shows, for whom, and the reasons why one is empty."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection
from streamlit.testing.v1 import AppTest

from lib import adjustments, audit, bookings, customers, db, months
from lib.auth import Role
from pages.shared import explain
from tests import ledgers, people
from tests.beginnings import Begin
from tests.ledgers import JUNE

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 20)
MAY = date(2026, 5, 1)
TABS = [
    "Overview",
    "Data",
    "Payment",
    "Users",
    "Contacts",
    "Service",
    "Plans",
    "Modules",
    "Usage",
    "History",
    "Forecast",
    "Statements",
    "Cost history",
    "Adjustments",
    "Invoices",
    "Mails",
    "Notes",
    "Change log",
]


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(TODAY))


def since_may(conn: Connection) -> str:
    """A customer since May, with users, IPs that grew in June, and a decrease to come. May is closed."""
    hired = people.open_company(conn, first_month=MAY)
    users = ledgers.product(conn, hired, "users", price="5", month=MAY)
    ips = ledgers.product(conn, hired, "ips", price=ledgers.RANGES, month=MAY)
    customer_id = ledgers.customer(conn, hired, "Ada & Söhne GmbH", since=MAY)
    ledgers.book(conn, hired, customer_id, users, 10, MAY)
    for quantity, day, now in (
        (200, MAY, MAY),
        (300, date(2026, 6, 16), date(2026, 6, 16)),
        (100, date(2026, 7, 1), TODAY),
    ):
        bookings.book(
            conn, customer_id, ips, effective_on=day, quantity=quantity, internal=quantity, external=0, today=now,
            user=hired[Role.SALES],
        )  # fmt: skip
    months.approve(conn, MAY, today=date(2026, 6, 2), user=hired[Role.FINANCE])
    return str(customer_id)


@pytest.fixture
def billed(begin: Begin) -> str:
    return begin(since_may)


def on_trial(conn: Connection) -> str:
    """A test customer with users booked."""
    hired = people.open_company(conn)
    users = ledgers.product(conn, hired, "users", price="5")
    customer_id = ledgers.customer(conn, hired, "Testfall KG", billed=False, ends_on=date(2026, 7, 31))
    ledgers.book(conn, hired, customer_id, users, 10, JUNE)
    return str(customer_id)


@pytest.fixture
def test_customer(begin: Begin) -> str:
    return begin(on_trial)


def open_tab(open_page: OpenPage, customer_id: str, tab: str, role: Role = Role.ADMIN) -> AppTest:
    app = open_page("customer.py", role, id=customer_id, tab=tab)
    assert not app.exception
    return app


def table(app: AppTest, number: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.dataframe[number].value.to_dict("records")
    return found


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def change(action: Callable[..., Any], *args: Any, role: Role = Role.SALES, **kwargs: Any) -> None:
    with db.transaction() as conn:
        action(conn, *args, user=people.hire(conn)[role], **kwargs)


# ---------------------------------------------------------------------------------- the head


@pytest.mark.looks
@pytest.mark.row("N5", "S1")
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_for_every_role(billed: str, open_page: OpenPage, role: Role, tab: str) -> None:
    app = open_tab(open_page, billed, tab, role)
    assert app.title[0].value == "Ada & Söhne GmbH"
    labels = [one.label for one in app.tabs]
    assert labels == (TABS if role in (Role.FINANCE, Role.ADMIN) else TABS[:-1])


@pytest.mark.looks
@pytest.mark.parametrize("id_", ["999999", "-1", "abc", "1; DROP TABLE customers", "9" * 30, "", "²"])
def test_a_customer_that_does_not_exist(billed: str, open_page: OpenPage, id_: str) -> None:
    app = open_page("customer.py", id=id_)
    assert not app.exception
    assert "does not exist" in app.info[0].value


@pytest.mark.looks
@pytest.mark.row("N6")
def test_the_buttons_follow_state_and_role(billed: str, open_page: OpenPage) -> None:
    assert "change_end" in keys(open_tab(open_page, billed, "Overview", Role.SALES))
    # Converted once and for all: a billed customer has no button for it.
    assert "convert" not in keys(open_tab(open_page, billed, "Overview", Role.SALES))
    viewer = keys(open_tab(open_page, billed, "Overview", Role.VIEWER))
    assert not {"change_end", "contract_edit", "licence_edit", "change_users", "book"} & viewer


@pytest.mark.looks
@pytest.mark.row("N6")
def test_a_test_customer_can_be_converted(test_customer: str, open_page: OpenPage) -> None:
    assert "convert" in keys(open_tab(open_page, test_customer, "Overview", Role.SALES))
    assert "convert" not in keys(open_tab(open_page, test_customer, "Overview", Role.VIEWER))


# ---------------------------------------------------------------------------------- tabs


@pytest.mark.looks
@pytest.mark.row("N4", "N5")
def test_the_overview_shows_what_is_booked_and_what_is_pending(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Overview", Role.SALES)
    rows = {row["product"]: row for row in table(app)}
    assert rows["Users"] | {"product": ""} == {
        "product": "", "kind": "Licensed users", "quantity": "10", "since": "1 May 2026", "price": "5.00",
    }  # fmt: skip
    assert rows["Ips"]["quantity"] == "300"
    assert rows["Ips"]["price"].startswith("1–50 at 2.00, 51–250 at 1.50")
    assert any("1 Jul 2026" in one.value and "100" in one.value for one in app.markdown)
    assert any(key.startswith("take_back_") for key in keys(app))
    assert not any(key.startswith("take_back_") for key in keys(open_tab(open_page, billed, "Overview", Role.VIEWER)))


@pytest.mark.looks
@pytest.mark.row("N7")
@pytest.mark.parametrize("tab", ["History", "Forecast", "Statements", "Cost history"])
def test_a_test_customer_has_none_of_it_and_the_reason_is_said(
    test_customer: str, open_page: OpenPage, tab: str
) -> None:
    app = open_tab(open_page, test_customer, tab)
    assert "a test customer has no charges" in app.info[0].value
    assert not app.dataframe and not app.metric


@pytest.mark.looks
@pytest.mark.row("N8")
def test_the_user_history(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "History")
    assert app.get("plotly_chart")
    rows = table(app)
    assert [(row["day"], row["product"], row["before"], row["after"], row["state"]) for row in rows] == [
        ("1 Jul 2026", "Ips", "300 (300 + 0)", "100 (100 + 0)", ["Planned"]),
        ("16 Jun 2026", "Ips", "200 (200 + 0)", "300 (300 + 0)", ["In force"]),
        ("1 May 2026", "Ips", "–", "200 (200 + 0)", ["Over"]),
        ("1 May 2026", "Users", "–", "10", ["In force"]),
    ]
    assert [(row["price_before"], row["price_after"], row["difference"]) for row in rows] == [
        ("460.00", "175.00", "-285.00"),
        ("325.00", "460.00", "+135.00"),
        ("0.00", "325.00", "+325.00"),
        ("0.00", "50.00", "+50.00"),
    ]
    # What is to come can be taken back or changed from here.
    assert any(key.startswith("take_back_") for key in keys(app))
    assert any(key.startswith("change_") and key[7:].isdigit() for key in keys(app))
    assert {row["by"] for row in rows} == {"Samuel"}


@pytest.mark.looks
@pytest.mark.row("N8")
def test_the_forecast_has_a_figure_for_each_product_and_the_lines_that_explain_it(
    billed: str, open_page: OpenPage
) -> None:
    app = open_tab(open_page, billed, "Forecast")
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures == {"Total": "442.50", "Users": "50.00", "Ips": "392.50"}
    lines = table(app)
    assert [(line["product"], line["why"], line["amount"]) for line in lines] == [
        ("Users", "Highest quantity of the month", "50.00"),
        ("Ips", "1 Jun 2026 – 15 Jun 2026: 15 of 30 days, quantity 200", "162.50"),
        ("Ips", "16 Jun 2026 – 30 Jun 2026: 15 of 30 days, quantity 300", "230.00"),
        ("Total", "", "442.50"),
    ]
    exact = [Decimal(part["amount"].replace(",", "")) for part in table(app, 1)]
    assert sum(exact) == Decimal("392.5")


@pytest.mark.looks
@pytest.mark.row("B2")
def test_every_amount_of_the_forecast_says_how_it_came_about(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Forecast")
    ips = next(key for key in keys(app) if key.startswith("explain_") and key != "explain_total")
    total = app.button(key="explain_total").click().run()
    rows = table(total, -1)
    assert [(row["product"], row["amount"]) for row in rows] == [
        ("Users", "50.00"), ("Ips", "392.50"), ("Sum", "442.50"),
    ]  # fmt: skip
    app = open_tab(open_page, billed, "Forecast")
    found = []
    for key in {key for key in keys(app) if key.startswith("explain_")} - {"explain_total"}:
        app.button(key=key).click().run()
        lines = next(one.value for one in app.dataframe if "line" in one.value.columns)["amount"].tolist()
        found.append(lines)
    assert ips and sorted(found) == [["162.50", "230.00", "392.50"], ["50.00", "50.00"]]


@pytest.mark.looks
@pytest.mark.row("B2")
@pytest.mark.parametrize("tab", ["Statements", "Cost history"])
def test_an_amount_that_was_clicked_opens_what_its_month_is_the_sum_of(
    billed: str, open_page: OpenPage, tab: str
) -> None:
    """Opened here by what a click remembers."""
    app = open_tab(open_page, billed, tab)
    app.session_state[explain.ASKED] = (int(billed), None, MAY)
    app.run()
    assert not app.exception
    month = next(one.value for one in app.dataframe if list(one.value.columns) == ["product", "amount"])
    assert month["amount"].tolist() == ["50.00", "325.00", "375.00"]


@pytest.mark.looks
@pytest.mark.row("G6")
def test_the_dialog_for_ips_shows_total_shares_price_and_average(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Overview", Role.SALES)
    app.button(key="change_ips").click().run()
    assert [app.text_input(key=f"ips_{name}").value for name in ("total", "internal", "external")] == [
        "300",
        "300",
        "0",
    ]
    slider = app.slider(key="ips_slider")
    assert (slider.value, slider.max) == (300, 300)
    assert app.checkbox(key="ips_instantly").value
    assert {one.label: one.value for one in app.metric} == {
        "A month, net (EUR)": "460.00", "Average per IP (EUR)": "1.5333",
    }  # fmt: skip
    ranges = next(one.value for one in app.dataframe if "range" in one.value.columns)
    assert ranges["amount"].tolist() == ["100.00", "300.00", "60.00"]


@pytest.mark.row("G6")
@pytest.mark.parametrize(
    ("changed", "typed", "split"),
    [("internal", "250", (300, 250, 50)), ("external", "120", (300, 180, 120)), ("total", "400", (400, 300, 100))],
)
def test_of_a_share_that_is_typed_the_other_is_the_rest_and_the_total_stays(
    billed: str, open_page: OpenPage, changed: str, typed: str, split: tuple[int, int, int]
) -> None:
    app = open_tab(open_page, billed, "Overview", Role.SALES)
    app.button(key="change_ips").click().run()
    app.text_input(key=f"ips_{changed}").set_value(typed).run()
    assert not app.exception and not app.error
    # The dialog is gone with the run, as in no browser; what its fields were given is not.
    assert tuple(int(app.session_state[f"ips_{one}"]) for one in ("total", "internal", "external")) == split


@pytest.mark.row("G6")
@pytest.mark.parametrize(("changed", "typed"), [("internal", "301"), ("external", "301"), ("internal", "-1")])
def test_a_share_that_the_total_can_not_have_is_refused(
    billed: str, open_page: OpenPage, changed: str, typed: str
) -> None:
    app = open_tab(open_page, billed, "Overview", Role.SALES)
    app.button(key="change_ips").click().run()
    app.text_input(key=f"ips_{changed}").set_value(typed)
    app.button(key="book_go").click().run()
    assert f"{changed.capitalize()} must be between 0 and 300." in app.error[0].value.replace("\\", "")
    with db.transaction() as conn:
        found = bookings.holdings(conn, int(billed), on=TODAY).values()
    assert (300, 300, 0) in [(one.quantity, one.internal, one.external) for one in found]


@pytest.mark.looks
@pytest.mark.row("G6")
def test_a_pending_decrease_is_opened_to_be_changed(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Overview", Role.SALES)
    pending = next(key for key in keys(app) if key.startswith("change_") and key[7:].isdigit())
    app.button(key=pending).click().run()
    assert app.text_input(key="ips_total").value == "100"
    assert any("A decrease takes effect at the month's end: from 1 Jul 2026" in one.value for one in app.caption)
    assert not [one for one in app.checkbox if one.key == "ips_instantly"]


@pytest.mark.looks
@pytest.mark.row("N8")
def test_the_statements_say_what_is_final_and_on_which_invoice(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Statements")
    rows = table(app)
    assert [(row["month"], row["amount"], row["state"], row["invoice"]) for row in rows] == [
        ("June 2026", "442.50", ["Forecast"], "–"),
        ("May 2026", "375.00", ["Final"], "Draft"),
    ]
    app.selectbox(key="statement_month").select(MAY).run()
    assert table(app, 1)[-1]["amount"] == "375.00"
    assert app.get("page_link")[-1].label == "Draft invoice"


@pytest.mark.looks
def test_a_month_that_is_over_is_no_forecast(billed: str, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-02")
    app = open_tab(open_page, billed, "Statements")
    assert [row["state"] for row in table(app)] == [["Forecast"], ["Not closed"], ["Final"]]


@pytest.mark.looks
@pytest.mark.parametrize("tab", ["Forecast", "Statements", "Cost history"])
def test_amounts_of_the_close_say_that_they_are_without_prepaid_terms(
    billed: str, open_page: OpenPage, tab: str
) -> None:
    app = open_tab(open_page, billed, tab)
    assert any("without prepaid terms" in caption.value for caption in app.caption)


@pytest.mark.looks
@pytest.mark.row("N8")
def test_the_cost_history_is_a_chart(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Cost history")
    chart = str(app.get("plotly_chart")[0].proto)
    assert "May 2026" in chart and "Jun 2026" in chart and "392.5" in chart


def test_a_month_without_a_price_is_said_and_never_000(billed: str, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        hired = people.hire(conn)
        module = ledgers.product(conn, hired, "module")
        ledgers.book(conn, hired, int(billed), module, 1, date(2026, 6, 10))
    app = open_tab(open_page, billed, "Forecast")
    assert "no price rules June 2026" in app.warning[0].value
    assert {metric.label: metric.value for metric in app.metric}["Module"] == "no price"
    assert table(open_tab(open_page, billed, "Statements"))[0]["amount"] == "no price"


def test_adjustments_are_listed_and_added_by_finance(billed: str, open_page: OpenPage) -> None:
    given = {"text": "Setup", "amount": Decimal("-12.5"), "month_meant": MAY, "reason": "promised"}
    change(adjustments.add, int(billed), role=Role.FINANCE, **given)
    app = open_tab(open_page, billed, "Adjustments", Role.FINANCE)
    row = table(app)[0]
    assert (row["month"], row["meant"], row["text"], row["amount"]) == ("June 2026", "May 2026", "Setup", "-12.50")
    assert "adjustment_add" in keys(app)
    assert "adjustment_add" not in keys(open_tab(open_page, billed, "Adjustments", Role.SALES))
    lines = table(open_tab(open_page, billed, "Forecast"))
    assert (lines[-2]["why"], lines[-1]["amount"]) == ("Setup, for May 2026", "430.00")


@pytest.mark.looks
@pytest.mark.row("S1")
def test_the_invoices_of_the_customer(billed: str, open_page: OpenPage) -> None:
    rows = table(open_tab(open_page, billed, "Invoices"))
    assert [(row["number"], row["month"], row["net"]) for row in rows] == [("Draft", "May 2026", "375.00")]


def test_the_change_log_says_who_did_what(billed: str, open_page: OpenPage) -> None:
    change(customers.edit, int(billed), version=1, changes={"city": "Kiel"}, today=TODAY)
    newest = table(open_tab(open_page, billed, "Change log"))[0]
    assert (newest["person"], newest["action"], newest["changes"]) == ("Samuel", "Edit", "City: Berlin → Kiel")


# ---------------------------------------------------------------------------------- the Data form


def save(app: AppTest) -> AppTest:
    found: AppTest = app.button(key="data_save").click().run()
    assert not found.exception
    return found


@pytest.mark.row("S1")
def test_data_are_edited(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    app.text_input(key="data_city").set_value("Kiel")
    app.selectbox(key="data_language").select("en")
    app.text_input(key="data_payment_days").set_value("30")
    save(app)
    with db.transaction() as conn:
        saved = customers.customer(conn, int(billed))
    assert (saved.city, saved.language, saved.payment_days, saved.version) == ("Kiel", "en", 30, 2)
    # The form goes on from what was saved.
    app.text_input(key="data_city").set_value("Bonn")
    save(app)
    with db.transaction() as conn:
        assert customers.customer(conn, int(billed)).city == "Bonn"


@pytest.mark.row("S1")
def test_a_stale_form_is_refused_and_can_load_what_is_stored(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    change(customers.edit, int(billed), role=Role.FINANCE, version=1, changes={"city": "Bonn"}, today=TODAY)
    app.text_input(key="data_city").set_value("Kiel")
    save(app)
    assert "Fiona changed this customer" in app.error[0].value
    # What was typed is not lost before the person has seen why.
    assert app.text_input(key="data_city").value == "Kiel"
    app.button(key="data_reload").click().run()
    assert app.text_input(key="data_city").value == "Bonn"
    app.text_input(key="data_city").set_value("Kiel")
    save(app)
    with db.transaction() as conn:
        assert customers.customer(conn, int(billed)).city == "Kiel"


def go_to_tab(app: AppTest, tab: str) -> None:
    app.query_params["tab"] = app.session_state["tab"] = tab
    app.run()
    assert not app.exception


def type_data(app: AppTest, field: str, value: str) -> None:
    """As a browser keeps it, which tells nobody what is typed into a form before it is sent."""
    app.session_state[f"data_{field}"] = value


def test_what_is_typed_stays_while_another_tab_is_open(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    type_data(app, "city", "Kiel")
    go_to_tab(app, "Notes")
    go_to_tab(app, "Data")
    assert app.text_input(key="data_city").value == "Kiel"
    assert not any("another tab" in one.value for one in app.info)
    change(customers.edit, int(billed), role=Role.FINANCE, version=1, changes={"phone": "030 1"}, today=TODAY)
    save(app)
    assert "Fiona changed this customer" in app.error[0].value


def test_a_billing_address_is_typed_and_stored_while_its_switch_is_on(billed: str, open_page: OpenPage) -> None:
    def stored() -> tuple[bool, str]:
        with db.transaction() as conn:
            found = customers.customer(conn, int(billed))
        return found.separate_billing, found.billing_name

    app = open_tab(open_page, billed, "Data", Role.SALES)
    assert "data_billing_name" not in {one.key for one in app.text_input}
    save(app)
    app.toggle(key="data_separate_billing").set_value(True).run()
    for field, value in {"name": "Ada Einkauf", "street": "Weg 1", "postcode": "10115", "city": "Berlin"}.items():
        app.text_input(key=f"data_billing_{field}").set_value(value)
    save(app)
    assert stored() == (True, "Ada Einkauf")
    app.text_input(key="data_billing_name").set_value("Typed, then switched off").run()
    app.toggle(key="data_separate_billing").set_value(False).run()
    save(app)
    assert stored() == (False, "Ada Einkauf")
    app.toggle(key="data_separate_billing").set_value(True).run()
    assert app.text_input(key="data_billing_name").value == "Ada Einkauf"


@pytest.mark.looks
def test_forms_out_of_sight_are_in_no_other_tabs_way(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data")
    for tab in ("Notes", *TABS):
        go_to_tab(app, tab)
    assert app.text_input(key="data_city").value == "Berlin" and app.text_area(key="note_text").value == ""


def test_a_form_out_of_sight_takes_over_what_is_stored_meanwhile(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    type_data(app, "city", "Kiel")
    go_to_tab(app, "Overview")
    changes = {"phone": "030 1"}
    change(customers.edit, int(billed), role=Role.FINANCE, version=1, changes=changes, today=TODAY)
    app.run()
    go_to_tab(app, "Data")
    assert "changed while another tab was open" in app.info[0].value
    assert [app.text_input(key=f"data_{name}").value for name in ("city", "phone")] == ["Kiel", "030 1"]
    save(app)
    with db.transaction() as conn:
        saved = customers.customer(conn, int(billed))
    assert (saved.city, saved.phone) == ("Kiel", "030 1")
    assert not app.info


def test_what_is_typed_is_not_shown_at_another_customer(billed: str, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        other = ledgers.customer(conn, people.hire(conn), "Bördewerk GmbH")
    app = open_tab(open_page, billed, "Data", Role.SALES)
    type_data(app, "city", "Kiel")
    go_to_tab(app, "Notes")
    app.session_state["note_text"] = "Called them."
    app.run()
    app.query_params["id"] = str(other)
    app.run()
    assert app.text_area(key="note_text").value == ""
    go_to_tab(app, "Data")
    assert app.text_input(key="data_city").value == "Berlin"


@pytest.mark.looks
@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("name", "", "The name is required"),
        ("contact_email", "ada", "not an e-mail address"),
        ("vat_id", "DE1", "not a valid VAT ID"),
        ("payment_days", "-5", "between 0 and 365"),
        ("street", "x" * 10_000, "too long"),
        ("phone", "1\x002", "can't be printed"),
    ],
)
def test_a_refusal_stands_at_its_field(billed: str, open_page: OpenPage, field: str, typed: str, sentence: str) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    app.text_input(key=f"data_{field}").set_value(typed)
    save(app)
    assert any(sentence in one.value.replace("\\", "") and one.value.startswith(":red[") for one in app.markdown)
    assert app.text_input(key=f"data_{field}").value == typed
    with db.transaction() as conn:
        assert customers.customer(conn, int(billed)).version == 1


def test_all_refusals_of_a_form_are_told_at_once(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.SALES)
    for name, typed in (("street", "x" * 300), ("contact_email", "ada"), ("vat_id", "DE1")):
        app.text_input(key=f"data_{name}").set_value(typed)
    save(app)
    told = [one.value.replace("\\", "") for one in app.markdown if one.value.startswith(":red[")]
    for sentence in ("The street is too long: 300 characters", "“ada” is not an e-mail", "DE1 is not a valid VAT ID"):
        assert len([one for one in told if sentence in one]) == 1
        assert sentence in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("tab", "opens", "field", "saves", "typed", "sentence"),
    [
        ("Notes", "", "note_text", "note_add", "x" * 10_000, "The note is too long: 10,000 characters, at most 2,000."),
        ("Adjustments", "adjustment_add", "adjustment_text", "adjustment_go", "x" * 10_000,
         "The text is too long: 10,000 characters, at most 200."),
        ("Overview", "change_users", "book_quantity", "book_go", "9" * 10_000,
         "Users must be a whole number, for example 25."),
        ("Overview", "change_ips", "ips_total", "book_go", "9" * 10_000,
         "Total must be a whole number, for example 25."),
    ],
)  # fmt: skip
def test_what_is_too_long_is_told_and_nothing_is_written(
    billed: str, open_page: OpenPage, tab: str, opens: str, field: str, saves: str, typed: str, sentence: str
) -> None:
    app = open_tab(open_page, billed, tab)
    with db.transaction() as conn:
        before = audit.entries(conn, customer_id=int(billed), limit=1, offset=0)
    if opens:
        app.button(key=opens).click().run()
    if opens == "adjustment_add":
        app.text_input(key="adjustment_amount").set_value("5")
        app.text_input(key="adjustment_reason").set_value("promised")
    box = next(one for one in [*app.text_input, *app.text_area] if one.key == field)
    # Where the browser would drop a longer paste, what stood there before would be saved.
    assert not box.proto.max_chars
    box.set_value(typed)
    app.button(key=saves).click().run()
    assert not app.exception
    # A run of the test closes a dialog: what it refuses is then said on the page.
    said = [one.value for one in (app.error if opens else app.markdown)]
    assert any(sentence in one.replace("\\", "") for one in said)
    with db.transaction() as conn:
        assert audit.entries(conn, customer_id=int(billed), limit=1, offset=0) == before


@pytest.mark.looks
def test_a_viewer_reads_the_data_as_text(billed: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, billed, "Data", Role.VIEWER)
    assert [one.key for one in app.text_input] == ["sidebar_search"]
    assert app.table


def test_markup_in_a_name_is_shown_as_it_is(billed: str, open_page: OpenPage) -> None:
    change(customers.edit, int(billed), version=1, changes={"name": "*A* [x](http://evil.example)"}, today=TODAY)
    app = open_tab(open_page, billed, "Overview")
    assert app.title[0].value.startswith(r"\*A\* \[x\]")


@pytest.mark.looks
def test_two_people_at_once_do_not_share_what_they_typed(billed: str, open_page: OpenPage, database: str) -> None:
    first = open_tab(open_page, billed, "Data", Role.SALES)
    first.text_input(key="data_city").set_value("Kiel")
    second = open_tab(open_page, billed, "Data", Role.SALES)
    assert second.text_input(key="data_city").value == "Berlin"
