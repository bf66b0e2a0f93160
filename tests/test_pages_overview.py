"""The first page (row G17): what each role sees, where its links lead, and its export."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from streamlit.testing.v1 import AppTest

from lib import db, overviews, prices
from lib.auth import Role
from lib.sessions import SESSION_COOKIE
from pages.shared import attention, downloads
from tests import closes, ledgers, people
from tests.closes import JUNE, Company

PAGE = "overview.py"
MAY = date(2026, 5, 1)
Open = Callable[..., AppTest]


@pytest.fixture
def company(database: str, monkeypatch: pytest.MonkeyPatch) -> Company:
    """May is issued; today is 20 June 2026. Users at 45.00 cost us 20.00; 300 IPs at 460.00 who knows."""
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-20")
    with db.transaction() as conn:
        made = closes.company(conn, first_month=MAY)
        prices.set_purchase_price(conn, made.users, valid_from=MAY, unit_price=Decimal(2), user=made.admin)
    with db.transaction() as conn:
        closes.approve(conn, made, MAY, today=date(2026, 6, 3))
        closes.issue(conn, made, MAY, today=date(2026, 6, 3))
    return made


def months(page: AppTest) -> dict[str, list[str]]:
    return {row[1].strip(): list(row[2:]) for row in page.dataframe[0].value.itertuples()}


@pytest.mark.row("G17")
def test_finance_sees_three_months_with_margin(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, Role.FINANCE)
    assert not page.exception
    assert [(card.label, card.value) for card in page.metric] == [
        ("Income June 2026", "505.00"),
        ("Forecast July 2026", "505.00"),
        ("Margin June 2026", "25.00"),
        ("Open invoices", "600.95"),
        ("Overdue", "600.95"),
    ]
    shown = months(page)
    assert shown["Income, net"] == ["505.00"] * 3 and shown["Purchase"] == ["20.00"] * 3
    assert shown["Margin"] == ["25.00"] * 3 and shown["Margin in %"] == ["55.6 %"] * 3
    assert any(
        "without 1 product that has no purchase price, and without its income: Ips" in one.value for one in page.caption
    )
    assert shown["Subscriptions"] == ["2"] * 3 == shown["Managed"]
    assert (shown["IPs at the end"], shown["Internal"], shown["External"]) == (["300"] * 3, ["300"] * 3, ["0"] * 3)
    assert shown["Average price per IP"] == ["1.53"] * 3
    table = page.dataframe[1].value
    assert sorted(zip(table["product"], table["income"], table["purchase"], table["margin"], strict=True)) == [
        ("Ips", "460.00", "–", "–"), ("Users", "45.00", "20.00", "25.00"),
    ]  # fmt: skip
    assert len(page.get("plotly_chart")) == 2


@pytest.mark.row("G17")
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_others_see_income_and_nothing_of_what_we_pay(company: Company, open_page: Open, role: Role) -> None:
    page = open_page(PAGE, role, overview_view="In detail", overview_span="24 months")
    assert not page.exception
    assert not [label for label in months(page) if "urchase" in label or "argin" in label]
    assert [card.label for card in page.metric if "Margin" in card.label] == []
    table = page.dataframe[1].value
    assert list(table.columns) == ["customer", "number", "product", "quantity", "income"]
    assert list(table["customer"]) == ["Ada GmbH", "Berta AG"]


def test_a_page_beyond_the_last_is_the_last(company: Company, open_page: Open) -> None:
    for view in ("By price", "In detail"):
        page = open_page(PAGE, Role.VIEWER, overview_page="7", overview_view=view, overview_month="July 2026")
        assert not page.exception and len(page.dataframe[-1].value) == 2


@pytest.mark.row("G17")
def test_a_new_company_is_told_what_to_do_first(
    database: str, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-20")
    page = open_page(PAGE, Role.ADMIN)
    assert not page.exception and not page.metric
    labels = [link.proto.label for link in page.get("page_link")]
    assert labels[:2] == ["Enter your company", "Set the first booking month"]
    viewer = open_page(PAGE, Role.VIEWER)
    assert not viewer.exception and not viewer.get("page_link")
    with db.transaction() as conn:
        people.open_company(conn)
    page = open_page(PAGE, Role.SALES)
    assert not page.exception
    assert [card.value for card in page.metric][:2] == ["–", "–"]
    assert [link.proto.label for link in page.get("page_link")][:2] == [
        "Add a product and its price", "Add a customer, or import yours",
    ]  # fmt: skip


@pytest.mark.row("G17")
def test_each_notice_leads_to_the_page_that_lists_it(company: Company, open_page: Open) -> None:
    """Two overdue invoices, a test and a billed customer that end soon, one of them with a warning."""
    with db.transaction() as conn:
        soon = date(2026, 6, 30)
        ledgers.customer(conn, company.people, "Carla Test", since=JUNE, ends_on=soon, billed=False)
        leaving = ledgers.customer(conn, company.people, "Dora Leaving", since=JUNE, ends_on=soon)
        conn.execute(
            text("UPDATE customers SET licence_expires_on = :day WHERE id = :id"), {"day": soon, "id": leaving}
        )
    page = open_page(PAGE, Role.FINANCE)
    words = [link.proto.label for link in page.get("page_link")]
    assert {"2 invoices are overdue", "1 test ends within 28 days", "1 customer has a quota warning"} <= set(words)
    listed = {"overdue": 2, "ending_tests": 1, "ending_billed": 1, "quota_warnings": 1}
    for name, count in listed.items():
        shown = attention.SHOWN[name]
        filters = {key: value for key, value in shown.filters.items() if isinstance(value, str)}
        if name == "quota_warnings":
            filters = {"customer_warning": shown.filters["customer_warning"][2]}
        target = open_page(shown.page, Role.FINANCE, **filters)
        assert not target.exception and len(target.dataframe[0].value) == count, name


@pytest.mark.row("G17")
def test_a_month_leads_to_what_it_is_made_of(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, Role.VIEWER)
    links = {link.proto.label for link in page.get("page_link")}
    assert {"How May 2026 comes about", "How June 2026 comes about", "Simulate July 2026"} <= links
    costs = open_page("cost_overview.py", Role.VIEWER, cost_month="May 2026")
    assert costs.selectbox(key="cost_month").value == "2026-05" and costs.metric[0].value == "505.00"
    simulated = open_page("simulation.py", Role.VIEWER, sim_month="July 2026")
    assert not simulated.exception and "July 2026" in simulated.metric[1].label


def test_every_notice_has_its_words() -> None:
    assert set(attention.SHOWN) == set(overviews.NOTICES)
    more = overviews.Notice("overdue", overviews.MOST_COUNTED + 1)
    assert attention.words(more) == "More than 1,000 invoices are overdue"


def test_addresses_of_the_list_from_before_still_open_it(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, Role.VIEWER, customer_search="berta")
    assert not page.exception and page.title[0].value == "Customers"
    assert list(page.dataframe[0].value["name"]) == ["Berta AG"]


def exported(query: str, role: Role | None) -> tuple[Response, bytes]:
    """What the route answers somebody of this role, or a stranger."""
    cookie = ""
    if role is not None:
        with db.transaction() as conn:
            cookie = f"{SESSION_COOKIE}={people.sign_in(conn, people.hire(conn)[role])}"
    scope = {
        "type": "http", "method": "GET", "path": "/exports/overview.json", "query_string": query.encode(),
        "headers": [(b"cookie", cookie.encode())],
    }  # fmt: skip
    response = downloads.overview(Request(scope))

    async def body() -> bytes:
        if not isinstance(response, StreamingResponse):
            return bytes(response.body)
        return b"".join([block async for block in response.body_iterator])  # type: ignore[misc]

    return response, people.awaited(body())


@pytest.mark.row("G17")
def test_the_export_is_for_who_is_signed_in_and_as_much_as_the_role_may_see(company: Company) -> None:
    query = "month=2026-06&view=price"
    assert exported(query, None)[0].status_code == 401
    for wrong in ("month=2026-06", "month=2026-01&view=price", "view=detail", "month=x&view=y"):
        assert exported(wrong, Role.ADMIN)[0].status_code == 400
    response, content = exported(query, Role.FINANCE)
    assert "overview-2026-06-by-price.json" in response.headers["content-disposition"]
    users = next(row for row in json.loads(content) if row["product"] == "Users")
    assert (users["income"], users["purchase"], users["margin"]) == ("45.00", "20.00", "25.00")
    for view in ("price", "detail"):
        rows = json.loads(exported(f"month=2026-07&view={view}", Role.VIEWER)[1])
        assert len(rows) == 2 and not {"purchase", "margin"} & set(rows[0])


@pytest.mark.row("G17")
def test_the_worker_rates_the_forecast_before_anybody_waits(company: Company) -> None:
    assert overviews.keep_ready() is False
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM rated_months WHERE month = '2026-07-01'")) == 1
