"""The Simulation page: a question, both months side by side, and refusals in words (row B4)."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from streamlit.testing.v1 import AppTest

from lib.auth import Role
from lib.simulations import Compared
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
    assert totals(page) == ["505.00", "295.00", "-210.00"]


@pytest.mark.row("B2", "B4")
def test_a_simulated_amount_says_how_it_comes_about(page: AppTest, company: Company) -> None:
    page.selectbox(key="sim_quantity").select("ips").run()
    page.radio(key="sim_way").set_value("Percent more or fewer").run()
    page.text_input(key="sim_value").set_value("-50 %").run()
    # What a click on the first row leaves for the run that follows.
    page.session_state["simulated_customer"] = Compared(company.with_ips, "C-2 Berta AG", Decimal(460), Decimal(250))
    page.run()
    assert not page.exception
    assert (page.metric[-1].label, page.metric[-1].value) == ("Net amount (EUR)", "250.00")
    lines = next(frame.value for frame in page.dataframe if "line" in frame.value)
    assert lines[["line", "amount"]].to_numpy().tolist() == [
        ["1–50 of 150", "100.00"], ["51–250 of 150", "150.00"], ["Sum", "250.00"],
    ]  # fmt: skip
    told = [caption.value.replace("\\", "") for caption in page.caption]
    assert any("Another quantity of Ips: -50 %." in one for one in told)
    assert any(one.startswith("List price from June 2026: 1–50 at 2.00") for one in told)


def test_amounts_say_that_they_are_without_prepaid_terms(page: AppTest) -> None:
    assert any("without prepaid terms" in caption.value for caption in page.caption)


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
