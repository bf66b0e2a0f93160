"""The Prices page: the catalogue, list, individual and purchase prices, for the roles that may."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from streamlit.testing.v1 import AppTest

from lib import db, prices, products
from lib.auth import Role
from lib.db import Connection
from lib.prices import Tier
from tests import shops
from tests.beginnings import Begin
from tests.shops import JULY, JUNE, Shop

OpenPage = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", shops.TODAY.isoformat())


@pytest.fixture
def shop(begin: Begin) -> Shop:
    return begin(shops.opened)


def section(page: AppTest, name: str) -> AppTest:
    page.query_params["section"] = page.session_state["section"] = name
    return page.run()


def texts(page: AppTest) -> str:
    return "\n".join(element.value for element in [*page.markdown, *page.error, *page.info, *page.warning, *page.toast])


def in_database(read: Callable[[Connection], list[object]]) -> list[object]:
    with db.transaction() as conn:
        return read(conn)


@pytest.mark.looks
def test_before_set_up_an_admin_is_asked_to_add_a_product(open_page: OpenPage, database: str) -> None:
    page = open_page("prices.py")
    assert not page.exception
    assert "No product yet" in texts(page)


@pytest.mark.looks
def test_the_catalogue_shows_each_product_with_its_list_price(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.VIEWER)
    assert not page.exception
    row = page.dataframe[0].value.iloc[0].to_dict()
    assert row["product"] == "IP scans"
    assert row["price"] == "1–50 at 2.00, 51–250 at 1.50, 251–500 at 1.20, from 501 at 1.00"
    assert row["sale"] == ["On sale"]
    assert page.table[0].value["Valid"].tolist() == ["from June 2026"]


@pytest.mark.looks
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_purchase_prices_are_hidden_from_who_may_not_see_them(shop: Shop, open_page: OpenPage, role: Role) -> None:
    page = open_page("prices.py", role)
    assert [tab.label for tab in page.tabs] == ["Selling price", "Individual prices", "Product"]


@pytest.mark.looks
def test_a_viewer_finds_nothing_to_change(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.VIEWER)
    for name in ("Individual prices", "Product"):
        section(page, name)
        assert not page.exception
        assert {button.key for button in page.button} <= {"sign_out"}


def test_a_list_price_is_reviewed_and_saved(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.SALES)
    page.session_state[f"list_{shop.product_id}_grid_0"] = {
        "edited_rows": {0: {"unit_price": "1,80"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    page.run()
    page.button(key=f"list_{shop.product_id}_review").click()
    page.run()
    # Both have at least 40 IPs of the first range: 50 × 0.20 and 40 × 0.20 less.
    assert [metric.value for metric in page.metric] == ["2", "540.00", "522.00", "-18.00"]
    page.button(key="review_save").click().run()
    with db.transaction() as conn:
        newest = prices.versions(conn, shop.product_id)[0]
    assert (newest.valid_from, newest.tiers[0].unit_price) == (JULY, Decimal("1.80"))


@pytest.mark.looks
def test_all_individual_prices_are_listed(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.VIEWER, section="Individual prices")
    table = next(frame.value for frame in page.dataframe if "customer" in frame.value)
    assert table["customer"].tolist()[0].endswith("Eigen KG")
    assert table["price"].tolist() == ["1.00"]


def test_many_individual_prices_are_paged(shop: Shop, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.prices.PAGE", 1)
    with db.transaction() as conn:
        prices.set_individual_price(
            conn, shop.product_id, shop.small, valid_from=JULY, tiers=shops.RANGES, user=shop.people[Role.ADMIN]
        )
    page = open_page("prices.py", Role.VIEWER, section="Individual prices")

    def listed() -> list[str]:
        return next(one.value for one in page.dataframe if "customer" in one.value)["customer"].tolist()

    assert [name.split(" ", 1)[1] for name in listed()] == ["Klein GmbH"]
    page.session_state[f"individual_page_{shop.product_id}"] = 2
    page.run()
    assert [name.split(" ", 1)[1] for name in listed()] == ["Eigen KG"]
    with db.transaction() as conn:
        gone = prices.versions(conn, shop.product_id, customer_id=shop.small)[0]
        prices.withdraw(conn, gone.id, user=shop.people[Role.ADMIN])
    page.run()
    assert [name.split(" ", 1)[1] for name in listed()] == ["Eigen KG"]


def test_a_customer_is_found_by_typing_and_gets_a_price(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.SALES, section="Individual prices")
    page.text_input(key="customer_search").set_value("groß").run()
    page.selectbox(key="customer").select(shop.large).run()
    assert not page.exception
    # What the customer pays now is what the new price starts from.
    editor = f"individual_{shop.product_id}_{shop.large}"
    page.session_state[f"{editor}_grid_0"] = {
        "edited_rows": {3: {"unit_price": "0,5"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    page.run()
    page.button(key=f"{editor}_save").click().run()
    assert "has its own price from July 2026" in texts(page)
    with db.transaction() as conn:
        (own,) = prices.versions(conn, shop.product_id, customer_id=shop.large)
    assert own.tiers == [*shops.RANGES[:3], Tier(501, None, Decimal("0.5"))]


def test_a_customer_returns_to_the_list_price(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.SALES, section="Individual prices")
    page.selectbox(key="customer").select(shop.apart).run()
    page.button(key=f"individual_{shop.product_id}_{shop.apart}_return").click().run()
    assert not page.exception
    with db.transaction() as conn:
        newest = prices.versions(conn, shop.product_id, customer_id=shop.apart)[0]
    assert (newest.valid_from, newest.returns_to_list) == (JULY, True)
    assert page.table[0].value["Valid"].tolist() == ["from July 2026", "June 2026"]


def test_typed_prices_stay_while_another_tab_is_open_and_go_with_the_product(shop: Shop, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        prices.set_purchase_price(
            conn, shop.product_id, valid_from=JUNE, unit_price=Decimal("0.85"), user=shop.people[Role.ADMIN]
        )
        other = products.add(
            conn, kind="module", code="other", details={"name_de": "M", "name_en": "M"}, user=shop.people[Role.ADMIN]
        )
    page = open_page("prices.py", section="Purchase price")
    page.session_state[f"purchase_{shop.product_id}_unit_price"] = "0.95"
    for tab in ("Individual prices", "Selling price", "Product", "Purchase price"):
        assert not section(page, tab).exception
    assert page.text_input(key=f"purchase_{shop.product_id}_unit_price").value == "0.95"
    assert f"list_{shop.product_id}_discard" in {one.key for one in page.button}
    page.selectbox(key="product").set_value(other).run()
    assert not page.text_input(key=f"purchase_{other}_unit_price").value
    assert f"list_{other}_discard" not in {one.key for one in page.button}


@pytest.mark.looks
def test_a_search_that_finds_nobody_offers_nobody(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", Role.SALES, section="Individual prices")
    for typed in ("100%", "x" * 10_000, "=1+1", "\\", "nobody"):
        page.text_input(key="customer_search").set_value(typed).run()
        assert not page.exception
        assert page.selectbox(key="customer").options == []


def test_finance_sees_purchase_prices_and_cannot_change_them(shop: Shop, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        prices.set_purchase_price(
            conn, shop.product_id, valid_from=JUNE, unit_price=Decimal("0.85"), user=shop.people[Role.ADMIN]
        )
    page = open_page("prices.py", Role.FINANCE, section="Purchase price")
    assert page.table[0].value["Purchase price (EUR)"].tolist() == ["0.85"]
    assert {button.key for button in page.button} <= {"sign_out"}


def test_an_admin_saves_and_withdraws_a_purchase_price(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", section="Purchase price")
    page.text_input(key=f"purchase_{shop.product_id}_unit_price").set_value("0,8550").run()
    page.button(key="purchase_save").click().run()
    with db.transaction() as conn:
        (found,) = prices.purchase_versions(conn, shop.product_id, user=shop.people[Role.ADMIN])
    assert (found.valid_from, found.unit_price) == (JULY, Decimal("0.8550"))
    assert page.text_input(key=f"purchase_{shop.product_id}_unit_price").value == ""
    page.button(key=f"purchase_withdraw_{found.id}").click().run()
    page.button(key="confirm_go").click().run()
    with db.transaction() as conn:
        assert prices.purchase_versions(conn, shop.product_id, user=shop.people[Role.ADMIN]) == []


@pytest.mark.looks
@pytest.mark.parametrize("typed", ["-1", "abc", "1,00001", "9" * 10_000, "1\0", "=1+1", "<b>1</b>"])
def test_a_bad_purchase_price_is_refused_as_it_is_typed(shop: Shop, open_page: OpenPage, typed: str) -> None:
    page = open_page("prices.py", section="Purchase price")
    page.text_input(key=f"purchase_{shop.product_id}_unit_price").set_value(typed).run()
    assert not page.exception
    assert ":red[" in texts(page)
    assert page.button(key="purchase_save").disabled


@pytest.mark.looks
def test_an_empty_purchase_price_is_refused_at_its_field(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", section="Purchase price")
    page.button(key="purchase_save").click().run()
    assert "Enter an amount" in page.error[0].value
    assert "Enter an amount" in "".join(element.value for element in page.markdown)


def test_an_admin_adds_a_product(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py")
    page.button(key="product_add").click().run()
    page.text_input(key="product_form_code").set_value("backup")
    page.text_input(key="product_form_name_de").set_value("Sicherung")
    page.text_input(key="product_form_name_en").set_value("Backup")
    page.button(key="product_save").click().run()
    assert not page.exception
    with db.transaction() as conn:
        added = products.catalogue(conn)[-1]
    assert (added.code, added.kind, added.measure, added.name_en) == ("backup", "option", "daily", "Backup")
    # It is the one that is open now.
    assert page.selectbox(key="product").value == added.id


@pytest.mark.looks
def test_a_product_without_a_name_is_refused(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py")
    page.button(key="product_add").click().run()
    page.text_input(key="product_form_code").set_value("backup")
    page.button(key="product_save").click().run()
    assert "German name is required" in page.error[0].value
    with db.transaction() as conn:
        assert len(products.catalogue(conn)) == 1


def test_an_admin_edits_a_product_and_a_stale_form_loses(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", section="Product")
    page.button(key="product_edit").click().run()
    page.text_input(key="product_form_name_en").set_value("Scans of IPs")
    with db.transaction() as conn:
        products.edit(conn, shop.product_id, version=1, changes={"position": 5}, user=shop.people[Role.ADMIN])
    page.button(key="product_save").click().run()
    assert "Somebody else changed this product" in page.error[0].value
    page.button(key="product_edit").click().run()
    page.text_input(key="product_form_name_en").set_value("Scans of IPs")
    page.button(key="product_save").click().run()
    with db.transaction() as conn:
        after = products.product(conn, shop.product_id)
    assert (after.name_en, after.position) == ("Scans of IPs", 5)


def test_an_admin_says_what_a_plan_is_sold_for_in_advance(shop: Shop, open_page: OpenPage) -> None:
    names = {"name_de": "Plus", "name_en": "Plus"}
    with db.transaction() as conn:
        plan = products.add(conn, kind="plan", code="plus", details=names, user=shop.people[Role.ADMIN])
    page = open_page("prices.py")
    page.selectbox(key="product").set_value(plan)
    section(page, "Product")
    page.button(key="product_edit").click().run()
    page.text_input(key="product_form_test_days").set_value("14")
    page.text_input(key="product_form_yearly_price").set_value("1200")
    page.button(key="product_save").click().run()
    assert not page.exception
    with db.transaction() as conn:
        saved = products.product(conn, plan)
    assert (saved.test_days, saved.yearly_price) == (14, Decimal(1200))
    shown = page.table[0].value.to_string().replace("\\", "")
    assert "14 days" in shown and "1,200.00" in shown


def test_an_admin_says_why_a_product_is_exempt(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("prices.py", section="Product")
    reasons = {"de": "Steuerfrei nach § 4 Nr. 21 UStG", "en": "VAT exempt under § 4 No. 21 UStG"}
    for typed in (("de",), ("de", "en")):
        page.button(key="product_edit").click().run()
        page.selectbox(key="product_form_vat_treatment").set_value("exempt")
        for language in typed:
            page.text_input(key=f"product_form_exempt_reason_{language}").set_value(reasons[language])
        page.button(key="product_save").click().run()
        assert any("Say why it is exempt" in one.value for one in page.error) == (len(typed) == 1)
    assert not page.exception
    with db.transaction() as conn:
        saved = products.product(conn, shop.product_id)
    assert (saved.vat_treatment, saved.exempt_reason_en) == ("exempt", reasons["en"])
    assert "Exempt: Steuerfrei nach" in page.table[0].value.to_string().replace("\\", "")
