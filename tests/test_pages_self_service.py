"""The Self-Service page: ranges that are checked cell by cell, the calculator, the preview, the save."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib import customers, db, mail_server, prices, settings
from lib.auth import Role
from lib.prices import Tier
from pages.shared import tier_editor
from tests import shops
from tests.beginnings import Begin
from tests.shops import JULY, Shop

OpenPage = Callable[..., AppTest]
GRID = "ranges_grid_0"
SEPTEMBER = date(2026, 9, 1)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", shops.TODAY.isoformat())


@pytest.fixture
def shop(begin: Begin) -> Shop:
    return begin(shops.opened)


def type_into(page: AppTest, edited: dict[int, dict[str, Any]], added: list[dict[str, Any]] | None = None) -> AppTest:
    """Commit cells of the ranges, as a person does."""
    page.session_state[GRID] = {"edited_rows": edited, "added_rows": added or [], "deleted_rows": []}
    return page.run()


def problems(page: AppTest) -> list[str]:
    return [element.value for element in page.markdown if ":red[" in element.value]


def review(page: AppTest) -> AppTest:
    page.button(key="ranges_review").click()
    return page.run()


def saved_versions(shop: Shop) -> list[prices.Version]:
    with db.transaction() as conn:
        return prices.versions(conn, shop.product_id)


def test_before_set_up_the_page_says_what_to_do(open_page: OpenPage, database: str) -> None:
    page = open_page("self_service.py")
    assert not page.exception
    assert "first booking month" in page.warning[0].value
    assert "no product of the kind IP scans" in page.info[0].value


@pytest.mark.looks
@pytest.mark.row("G15")
def test_the_calculator_shows_the_lines_of_300_ips(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("self_service.py", Role.VIEWER)
    assert not page.exception
    assert [metric.value for metric in page.metric] == ["460.00", "1.5333"]
    lines = next(frame.value for frame in page.dataframe if "range" in frame.value)
    assert lines.to_numpy().tolist() == [
        ["1–50", "50", "2.00", "100.00"],
        ["51–250", "200", "1.50", "300.00"],
        ["251–500", "50", "1.20", "60.00"],
    ]
    assert len(page.get("plotly_chart")) == 2


@pytest.mark.looks
def test_a_quantity_of_nothing_has_no_average(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("self_service.py", ips="0")
    assert [metric.value for metric in page.metric] == ["0.00", "–"]
    assert not page.exception


@pytest.mark.looks
def test_the_slider_and_the_number_move_together(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("self_service.py")
    page.slider(key="ips_slider").set_value(51).run()
    assert page.text_input(key="ips").value == "51"
    assert page.metric[0].value == "101.50"
    page.text_input(key="ips").set_value("501").run()
    assert (page.slider(key="ips_slider").value, page.metric[0].value) == (501, "701.00")


@pytest.mark.looks
@pytest.mark.parametrize("typed", ["ten", "1,5", "-", "1e3", "=1+1", "<b>", "1\0", "٣"])
def test_a_quantity_that_is_no_whole_number_is_told_at_its_field(shop: Shop, open_page: OpenPage, typed: str) -> None:
    page = open_page("self_service.py")
    page.text_input(key="ips").set_value(typed).run()
    assert not page.exception
    assert [found.replace("\\", "") for found in problems(page)] == [
        ":red[:material/error: IPs must be a whole number, for example 25.]"
    ]
    assert not page.metric
    page.text_input(key="ips").set_value("-3").run()
    assert "between 0 and 10,000,000" in problems(page)[0].replace("\\", "")
    page.text_input(key="ips").set_value("1.200").run()
    assert (page.metric[0].value, problems(page)) == ("1,400.00", [])


@pytest.mark.looks
@pytest.mark.parametrize("ips", ["many", "9" * 10_000, "-1", "1\0"])
def test_a_quantity_in_the_address_may_be_anything(shop: Shop, open_page: OpenPage, ips: str) -> None:
    page = open_page("self_service.py", ips=ips)
    assert not page.exception
    assert len(problems(page)) == 1


@pytest.mark.looks
@pytest.mark.row("G15")
def test_edited_ranges_are_calculated_before_they_are_saved(shop: Shop, open_page: OpenPage) -> None:
    page = type_into(open_page("self_service.py", Role.SALES), {2: {"unit_price": "1,10"}})
    page.segmented_control(key="calculator_source").set_value("Edited").run()
    assert page.metric[0].value == "455.00"
    assert saved_versions(shop)[0].tiers == shops.RANGES


@pytest.mark.looks
@pytest.mark.row("G15")
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({1: {"unit_price": "abc"}}, "Row 2, Unit price: “abc” is not an amount"),
        ({1: {"unit_price": "-1"}}, "Row 2, Unit price: The amount can't be negative"),
        ({1: {"unit_price": "1.23456"}}, "Row 2, Unit price: 1.23456 has more than 4 decimals"),
        ({1: {"unit_price": "9999999999"}}, "Row 2, Unit price: 9999999999 is too large"),
        ({1: {"unit_price": ""}}, "Row 2, Unit price: Enter a price"),
        ({1: {"unit_price": "1\0"}}, "Row 2, Unit price: “1"),
        ({1: {"unit_price": "=1+1"}}, "Row 2, Unit price: “=1+1” is not an amount"),
        ({1: {"unit_price": "9" * 10_000}}, "Row 2, Unit price: “999"),
        ({1: {"first_unit": "52"}}, "Row 2, From: Range 2 leaves a gap: it must start at 51"),
        ({1: {"first_unit": "50"}}, "Row 2, From: Range 2 overlaps the one before"),
        ({1: {"first_unit": "<b>"}}, "Row 2, From: “<b>” is not a whole number"),
        ({1: {"last_unit": "1,5"}}, "Row 2, To: “1,5” is not a whole number"),
        ({3: {"last_unit": "900"}}, "Row 4, To: The last range is open"),
        ({0: {"last_unit": ""}}, "Row 1, To: Range 1 needs an upper bound"),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(
    shop: Shop, open_page: OpenPage, cells: dict[int, dict[str, str]], message: str
) -> None:
    page = type_into(open_page("self_service.py", Role.SALES), cells)
    assert not page.exception
    (found,) = problems(page)
    assert message in found.replace("\\", "")
    assert len(found) < 400
    assert page.button(key="ranges_review").disabled
    # What was typed is still there.
    assert page.session_state[GRID]["edited_rows"] == cells


@pytest.mark.looks
def test_all_unreadable_cells_are_named_at_once(shop: Shop, open_page: OpenPage) -> None:
    page = type_into(open_page("self_service.py"), {0: {"unit_price": "x", "last_unit": "y"}, 2: {"first_unit": ""}})
    assert len(problems(page)) == 3


@pytest.mark.looks
def test_a_row_left_empty_does_not_count(shop: Shop, open_page: OpenPage) -> None:
    page = type_into(open_page("self_service.py"), {0: {"unit_price": "1.90"}}, [{}])
    assert not problems(page)
    assert not page.button(key="ranges_review").disabled


def cells(page: AppTest) -> list[str]:
    """The unit prices that the table was filled with."""
    return [row[2] for row in page.session_state["ranges_start"]]


@pytest.mark.row("G15")
def test_the_table_is_filled_with_what_rules_the_chosen_month(shop: Shop, open_page: OpenPage) -> None:
    dearer = [replace(tier, unit_price=tier.unit_price + 1) for tier in shops.RANGES]
    with db.transaction() as conn:
        prices.set_list_price(conn, shop.product_id, valid_from=SEPTEMBER, tiers=dearer, user=shop.people[Role.SALES])
    page = open_page("self_service.py", Role.SALES)
    assert page.selectbox(key="ranges_from").value == JULY
    assert cells(page) == ["2.00", "1.50", "1.20", "1.00"]
    assert page.button(key="ranges_review").disabled
    assert "Nothing differs from the price that rules July 2026" in page.button(key="ranges_review").help
    page.selectbox(key="ranges_from").set_value(SEPTEMBER).run()
    assert cells(page) == ["3.00", "2.50", "2.20", "2.00"]
    # What was typed stays, whatever month is chosen.
    type_into(page, {0: {"unit_price": "9"}}).selectbox(key="ranges_from").set_value(JULY).run()
    assert cells(page) == ["3.00", "2.50", "2.20", "2.00"]
    assert not page.button(key="ranges_review").disabled


def test_a_reader_sees_what_rules_today(shop: Shop, open_page: OpenPage) -> None:
    dearer = [replace(tier, unit_price=tier.unit_price + 1) for tier in shops.RANGES]
    with db.transaction() as conn:
        prices.set_list_price(conn, shop.product_id, valid_from=SEPTEMBER, tiers=dearer, user=shop.people[Role.SALES])
    page = open_page("self_service.py", Role.FINANCE)
    assert cells(page) == ["2.00", "1.50", "1.20", "1.00"]
    assert any("These prices rule June 2026" in one.value for one in page.caption)


@pytest.mark.looks
def test_a_row_can_be_added_at_the_end(shop: Shop, open_page: OpenPage) -> None:
    row = {"first_unit": "1.001", "unit_price": "0,9"}
    page = type_into(open_page("self_service.py"), {3: {"last_unit": "1.000"}}, [row])
    assert not problems(page)


@pytest.mark.row("G15", "B5")
def test_the_review_lists_who_changes_and_the_save_keeps_it(shop: Shop, open_page: OpenPage) -> None:
    page = review(type_into(open_page("self_service.py", Role.SALES), {2: {"unit_price": "1.00"}}))
    assert not page.exception
    totals = [metric.value for metric in page.metric][-4:]
    assert totals == ["1", "460.00", "450.00", "-10.00"]
    table = next(frame.value for frame in page.dataframe if "difference" in frame.value)
    assert table[["before", "after", "difference"]].to_numpy().tolist() == [
        ["460.00", "450.00", "-10.00"],
        ["60.00", "60.00", "own price, not touched"],
    ]
    assert any("1 more customer of this product: the same amount" in caption.value for caption in page.caption)
    assert len(saved_versions(shop)) == 1
    page.button(key="review_save").click().run()
    assert "rules from July 2026" in page.toast[0].value
    newest = saved_versions(shop)[0]
    assert (newest.valid_from, newest.recorded_by) == (JULY, "Samuel")
    assert newest.tiers[2] == Tier(251, 500, Decimal("1.00"))


@pytest.mark.row("B5")
def test_notices_are_prepared_with_the_price_and_go_out_once_approved(shop: Shop, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        server = {"host": "127.0.0.1", "security": "none", "sender_address": "preise@muster-it.example"}
        version = mail_server.server(conn).version
        mail_server.edit(conn, version=version, changes=server, user=shop.people[Role.ADMIN])
        version = customers.customer(conn, shop.large).version
        contact = {"contact_email": "ada@kunde.example"}
        customers.edit(
            conn, shop.large, version=version, changes=contact, today=shops.TODAY, user=shop.people[Role.SALES]
        )
    page = review(type_into(open_page("self_service.py", Role.SALES), {2: {"unit_price": "1.00"}}))
    page.checkbox(key="review_notices").check()
    page.button(key="review_save").click().run()
    assert "The notices wait for approval" in page.toast[0].value
    newest = saved_versions(shop)[0]
    page.button(key=f"notices_{newest.id}").click().run()
    assert not page.exception
    table = next(frame.value for frame in page.dataframe if "to" in frame.value)
    assert table[["to", "difference"]].to_numpy().tolist() == [["ada@kunde.example", "-10.00"]]
    assert any("ab 01.07.2026 gelten für Beispiel GmbH" in element.value for element in page.text)
    page.button(key="notices_send").click().run()
    assert page.toast[0].value.replace("\\", "") == "1 notice: on the way."
    assert page.button(key=f"notices_{newest.id}").label == "Notices July 2026: 1 sent"


def test_a_second_save_from_the_same_month_is_refused_and_nothing_is_lost(shop: Shop, open_page: OpenPage) -> None:
    page = review(type_into(open_page("self_service.py"), {2: {"unit_price": "1.00"}}))
    with db.transaction() as conn:
        prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=shops.RANGES, user=shop.people[Role.SALES])
    page.button(key="review_save").click().run()
    assert "already a price from that month" in page.error[0].value
    assert page.session_state[GRID]["edited_rows"] == {2: {"unit_price": "1.00"}}


@pytest.mark.looks
def test_discard_brings_back_what_is_saved(shop: Shop, open_page: OpenPage) -> None:
    page = type_into(open_page("self_service.py"), {1: {"unit_price": "abc"}})
    page.button(key="ranges_discard").click().run()
    assert not problems(page)


def test_a_colleagues_save_does_not_lose_an_edit(shop: Shop, open_page: OpenPage) -> None:
    page = type_into(open_page("self_service.py"), {1: {"unit_price": "1,45"}})
    with db.transaction() as conn:
        prices.set_list_price(
            conn, shop.product_id, valid_from=JULY, tiers=[Tier(1, None, Decimal(9))], user=shop.people[Role.SALES]
        )
    page.segmented_control(key="calculator_source").set_value("Edited").run()
    assert page.metric[0].value == "450.00"


@pytest.mark.looks
@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE])
def test_who_may_not_change_prices_reads_them(shop: Shop, open_page: OpenPage, role: Role) -> None:
    page = open_page("self_service.py", role)
    assert not page.exception
    keys = [button.key for button in page.button]
    assert not [key for key in keys if key and ("review" in key or "withdraw" in key or "article" in key)]
    assert page.table[0].value["Valid"].tolist() == ["from June 2026"]


def test_a_version_is_withdrawn_after_a_question(shop: Shop, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        price_id = prices.set_list_price(
            conn, shop.product_id, valid_from=JULY, tiers=shops.RANGES, user=shop.people[Role.SALES]
        )
    page = open_page("self_service.py", Role.SALES)
    page.button(key=f"ranges_withdraw_{price_id}").click().run()
    assert len(saved_versions(shop)) == 2
    page.button(key="confirm_go").click().run()
    assert len(saved_versions(shop)) == 1


def test_the_article_is_saved_as_customers_see_it(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("self_service.py", Role.SALES)
    page.text_input(key="article_name").set_value("Security scan")
    page.text_input(key="article_number").set_value("IP-100")
    page.button(key="article_save").click().run()
    assert not page.exception and not page.error
    with db.transaction() as conn:
        assert settings.company(conn).self_service_article_name == "Security scan"


@pytest.mark.looks
def test_a_bad_article_is_refused_at_its_field(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("self_service.py", Role.SALES)
    page.text_input(key="article_name").set_value("x" * 10_000)
    page.button(key="article_save").click().run()
    assert "at most 120" in page.error[0].value
    assert any("at most 120" in text for text in problems(page))


def test_cells_read_back_as_they_are_written() -> None:
    rows = [dict(zip(tier_editor.COLUMNS, row, strict=True)) for row in tier_editor.as_text(shops.RANGES)]
    assert tier_editor.check(rows) == tier_editor.Entered(shops.RANGES, [])
