"""The Simulation page: a question, both months side by side, and refusals in words (row B4)."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from lib.auth import Role
from tests import closes
from tests.beginnings import Begin
from tests.closes import Company

OpenPage = Callable[..., AppTest]


@pytest.fixture
def company(begin: Begin) -> Company:
    return begin(closes.company)


@pytest.fixture
def page(company: Company, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-20")
    return open_page("simulation.py", Role.VIEWER)


def totals(page: AppTest) -> list[str]:
    return [metric.value for metric in page.metric]


@pytest.mark.row("B4")
def test_next_month_beside_this_one_and_what_if(page: AppTest) -> None:
    assert not page.exception
    assert [metric.label for metric in page.metric] == [
        "June 2026 (EUR)", "July 2026, simulated (EUR)", "Difference (EUR)",
    ]  # fmt: skip
    assert totals(page) == ["505.00", "505.00", "0.00"]
    page.selectbox(key="sim_quantity").select("ips").run()
    page.radio(key="sim_way").set_value("Percent more or fewer").run()
    page.text_input(key="sim_value").set_value("-50 %").run()
    assert totals(page) == ["505.00", "295.00", "−210.00"]


def test_what_is_incomplete_or_wrong_is_said(page: AppTest) -> None:
    page.selectbox(key="sim_quantity").select("ips").run()
    assert any("Enter the quantity" in text.value for text in page.markdown)
    page.text_input(key="sim_value").set_value("many").run()
    assert any("must be a whole number" in text.value for text in page.markdown)
    page.text_input(key="sim_value").set_value("10").run()
    assert any("Choose the customers" in text.value for text in page.markdown)


def test_before_the_company_is_set_up(open_page: OpenPage) -> None:
    page = open_page("simulation.py", Role.SALES)
    assert not page.exception
    assert "first booking month is not set" in page.info[0].value
