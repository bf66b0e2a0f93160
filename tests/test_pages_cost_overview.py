"""The Cost Overview page (row N11). What a click in the table opens is in the browser tests."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from streamlit.testing.v1 import AppTest

from lib import adjustments, db, report_files, sessions
from lib.auth import Role
from lib.report_filters import Filters
from lib.sessions import SESSION_COOKIE
from pages.shared import downloads, explain
from tests import closes, people
from tests.beginnings import Begin
from tests.closes import JUNE, Company

PAGE = "cost_overview.py"
Open = Callable[..., AppTest]


@pytest.fixture
def company(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> Company:
    """Users at 45.00 and IPs at 460.00 from June on; today is 3 July 2026."""
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-03")
    return begin(closes.company)


def table(page: AppTest) -> list[tuple[str, str, str]]:
    frame = page.dataframe[-1].value
    return [(row.customer, row.product, row.amount) for row in frame.itertuples()]


@pytest.mark.looks
@pytest.mark.row("N11")
def test_the_current_month_at_a_glance(company: Company, open_page: Open) -> None:
    """Figures with their change, and a row per customer and product."""
    page = open_page(PAGE, Role.VIEWER)
    assert not page.exception
    assert [(card.label, card.value) for card in page.metric] == [
        ("Total \\(EUR\\)", "505.00"),
        ("Ips", "460.00"),
        ("Users", "45.00"),
    ]
    assert {card.delta for card in page.metric} == {"unchanged"}
    assert table(page) == [("Ada GmbH", "Users", "45.00"), ("Berta AG", "Ips", "460.00")]
    assert page.dataframe[-1].value["state"].tolist() == [["Forecast"], ["Forecast"]]


@pytest.mark.looks
@pytest.mark.row("N11")
def test_a_range_search_and_product_from_the_address(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, cost_month="June 2026", cost_until="July 2026", cost_search="berta", cost_product="Ips")
    assert not page.exception
    assert table(page) == [("Berta AG", "Ips", "460.00")] * 2
    assert page.dataframe[-1].value["month"].tolist() == ["Jun 2026", "Jul 2026"]
    assert page.metric[0].value == "920.00"


@pytest.mark.looks
def test_a_month_that_is_over_is_no_forecast(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, cost_month="June 2026", cost_until="July 2026", cost_search="berta", cost_product="Ips")
    assert page.dataframe[-1].value["state"].tolist() == [["Not closed"], ["Forecast"]]


@pytest.mark.looks
def test_filters_begin_at_the_first_page(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, cost_page="7")
    assert len(table(page)) == 2  # fewer pages: the last one
    page.text_input(key="cost_search").set_value("ada").run()
    assert table(page) == [("Ada GmbH", "Users", "45.00")]
    page.text_input(key="cost_search").set_value("nobody").run()
    assert any("No billed customer matches" in info.value for info in page.info)


def test_without_a_price_the_total_says_so(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        conn.execute(text("UPDATE prices SET withdrawn_at = now() WHERE product_id = :id"), {"id": company.users})
    page = open_page(PAGE)
    assert "Charges without a price" in page.warning[0].value
    assert page.dataframe[-1].value["state"].tolist() == [["No price"], ["Forecast"]]


def test_markup_in_a_name_is_text(company: Company, open_page: Open) -> None:
    name = "<script>alert(1)</script> **b** $x$ :red[y]"
    with db.transaction() as conn:
        conn.execute(text("UPDATE customers SET name = :name WHERE id = :id"), {"name": name, "id": company.with_ips})
    page = open_page(PAGE)
    assert not page.exception and name in {row[0] for row in table(page)}


@pytest.mark.looks
def test_before_set_up_it_says_what_to_do(database: str, open_page: Open) -> None:
    page = open_page(PAGE, Role.ADMIN)
    assert not page.exception and "first booking month" in page.info[0].value


@pytest.mark.looks
@pytest.mark.parametrize(
    "query", [{"cost_month": "May 1999"}, {"cost_page": "0"}, {"cost_page": "x" * 500}, {"cost_order": "--"}]
)
def test_a_made_up_address_shows_the_page(company: Company, open_page: Open, query: dict[str, str]) -> None:
    page = open_page(PAGE, **query)
    assert not page.exception and len(table(page)) == 2


# ---------------------------------------------------------------- the files


class Browser:
    """Asks the route of the exports, without the rest of the server."""

    cookie = ""

    def sign_in(self, username: str = "vera") -> None:
        with db.transaction() as conn:
            claim = sessions.claim(conn, username=username, address="10.0.0.1")
            ticket = sessions.ticket(conn, claim, password=people.PASSWORD, nonce="nonce")
            assert ticket
            self.cookie = f"{SESSION_COOKIE}={sessions.redeem(conn, ticket, nonce='nonce')}"

    def get(self, query: str, ending: str = "csv") -> tuple[Response, bytes]:
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/exports/cost-overview.{ending}",
            "path_params": {"ending": ending},
            "query_string": query.encode(),
            "headers": [(b"cookie", self.cookie.encode())],
        }
        response = downloads.cost_overview(Request(scope))
        return response, people.awaited(self._body(response))

    async def _body(self, response: Response) -> bytes:
        if not isinstance(response, StreamingResponse):
            return bytes(response.body)
        return b"".join([block async for block in response.body_iterator])  # type: ignore[misc]


@pytest.mark.row("N11")
def test_the_download_is_what_is_filtered(company: Company) -> None:
    browser = Browser()
    browser.sign_in()
    query = "month=2026-06&until=2026-07&search=berta"
    response, csv = browser.get(query)
    assert response.status_code == 200 and response.headers["cache-control"] == "private, no-store"
    assert "cost-overview-2026-06-to-2026-07.csv" in response.headers["content-disposition"]
    filters = Filters(JUNE, date(2026, 7, 1), search="berta")
    with db.transaction() as conn:
        assert csv == b"".join(report_files.export_csv(conn, filters))
        assert browser.get(f"{query}&german=1")[1] == b"".join(report_files.export_csv(conn, filters, german=True))
        assert browser.get(query, "json")[1] == b"".join(report_files.export_json(conn, filters))


def test_the_download_asks_who_is_there(company: Company) -> None:
    browser = Browser()
    assert browser.get("month=2026-06")[0].status_code == 401
    browser.sign_in()
    assert browser.get("month=2026-06")[0].status_code == 200
    with db.transaction() as conn:
        conn.execute(text("UPDATE staff SET disabled_at = now() WHERE username = 'vera'"))
    assert browser.get("month=2026-06")[0].status_code == 401


@pytest.mark.parametrize(
    "query",
    ["", "month=x", "month=2026-06&until=2020-01", "month=2026-06&customer=%00", "month=2026-06&product=x"],
)
def test_a_made_up_download_gets_a_sentence(company: Company, query: str) -> None:
    browser = Browser()
    browser.sign_in()
    response, body = browser.get(query)
    assert response.status_code == 400 and body.endswith(b".")
    assert browser.get("month=2026-06", "exe")[0].status_code == 404


@pytest.mark.row("B2")
def test_the_panel_explains_an_amount_and_an_adjustment(company: Company, open_page: Open) -> None:
    """Opened here by what a click remembers."""
    with db.transaction() as conn:
        given: dict[str, Any] = {"text": "Workshop", "reason": "agreed", "user": company.finance}
        adjustments.add(conn, company.with_ips, amount=Decimal(100), month_meant=JUNE, month=JUNE, **given)
        kind = conn.scalar(text("SELECT id FROM products WHERE kind = 'adjustment'"))
    page = open_page(PAGE, cost_month="June 2026")
    page.session_state[explain.ASKED] = (company.with_ips, company.ips, JUNE)
    page.run()
    assert not page.exception
    lines = next(frame.value for frame in page.dataframe if "line" in frame.value.columns)
    assert lines["amount"].tolist() == ["100.00", "300.00", "60.00", "460.00"]
    booked = next(frame.value for frame in page.dataframe if "at" in frame.value.columns)
    assert booked["by"].tolist() == ["Samuel"] and booked["at"][0] != "–"
    page.session_state[explain.ASKED] = (company.with_ips, kind, JUNE)
    page.run()
    assert not page.exception and any("Workshop" in str(each.value) for each in page.table)
    page.session_state[explain.ASKED] = (company.with_users, company.ips, JUNE)
    page.run()
    assert not page.exception and any("Nothing is charged" in info.value for info in page.info)


def test_an_address_with_odd_text_is_only_text(company: Company, open_page: Open) -> None:
    page = open_page(PAGE, Role.VIEWER, cost_customer="\0", cost_search="\0 '; --")
    assert not page.exception
