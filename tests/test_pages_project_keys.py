"""The page of project keys and the wizard that redeems one, as people of each role see them (row G9)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text
from streamlit.testing.v1 import AppTest

from lib import db, project_key_redemptions, project_key_stock, vault
from lib.auth import Role, User
from lib.project_key_redemptions import Terms
from tests import ledgers, people
from tests.beginnings import Begin
from tests.ledgers import JUNE

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 16)
KEY, USED = "PRJ-PAGES-0001-ABCD", "PRJ-PAGES-0002-EFGH"
pytestmark = pytest.mark.row("G9")


@dataclass(frozen=True)
class Shop:
    """Two customers with 300 IPs; a key for 500 in stock, another one in force for the second."""

    admin: User
    customer: int
    by_key: int


def opened(conn: Connection) -> Shop:
    hired = people.open_company(conn, first_month=JUNE)
    admin = hired[Role.ADMIN]
    ips = ledgers.product(conn, hired, "ips", price=ledgers.RANGES)
    made = [ledgers.customer(conn, hired, name) for name in ("Ada GmbH", "Bob *AG*")]
    for customer_id in made:
        ledgers.book(conn, hired, customer_id, ips, 300, JUNE)
    for key in (KEY, USED):
        given: dict[str, Any] = {"ips": 500, "months": 3, "purchase_price": Decimal(900), "redeem_until": None}
        project_key_stock.add(conn, key=key, today=JUNE, user=admin, **given)
    terms = Terms(Decimal(400), "monthly", 500, 0, True)
    project_key_redemptions.redeem(conn, made[1], USED, terms, today=TODAY, user=admin)
    return Shop(admin, *made)


@pytest.fixture
def shop(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("MANDANT_TODAY", str(TODAY))
    return begin(opened)


def said(app: AppTest) -> str:
    """All texts of the page, of tables their cells."""
    assert not app.exception
    texts = [str(one.value) for kind in ("markdown", "caption", "text", "error", "warning", "info", "code")
             for one in app.get(kind)]  # fmt: skip
    return "\n".join(texts + [one.value.to_string() for one in [*app.dataframe, *app.table]]).replace("\\", "")


@pytest.mark.looks
def test_the_list_shows_keys_masked(shop: Shop, open_page: OpenPage) -> None:
    app = open_page("project_keys.py")
    rows = app.dataframe[0].value
    assert list(rows["key"]) == ["·····EFGH", "·····ABCD"]
    assert list(rows["state"]) == [["In force"], ["Unused"]]
    assert rows["customer"][0].endswith("Bob *AG*")
    assert (rows["runtime"][0], rows["selling"][0]) == ("16 Jun 2026 – 15 Sep 2026", "400.00 a month")
    assert "PAGES" not in said(app)
    app.text_input(key="keys_search").set_value(KEY.replace("-", " ")).run()
    assert list(app.dataframe[0].value["key"]) == ["·····ABCD"]
    app.text_input(key="keys_search").set_value("nothing like it").run()
    assert "No key matches" in said(app)


@pytest.mark.looks
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_it_is_for_admins(shop: Shop, open_page: OpenPage, role: Role) -> None:
    app = open_page("project_keys.py", role)
    assert not app.dataframe
    assert "may not manage project keys" in said(app)


@pytest.mark.looks
def test_without_a_key_of_the_vault_it_says_what_to_do(
    shop: Shop, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(vault.VARIABLE)
    app = open_page("project_keys.py")
    assert "python -m lib new-key" in said(app)
    assert "add_key" not in [button.key for button in app.button]


def test_a_key_is_added_revealed_and_deleted(shop: Shop, open_page: OpenPage) -> None:
    app = open_page("project_keys.py")
    app.button(key="add_key").click().run()
    app.text_input(key="new_key_key").set_value("PRJ-PAGES-0003-IJKL")
    app.text_input(key="new_key_ips").set_value("1.000")
    app.text_input(key="new_key_purchase_price").set_value("1.200,50")
    app.button(key="add_key_go").click().run()
    with db.transaction() as conn:
        newest = conn.scalar(text("SELECT max(id) FROM project_keys"))
    row = app.dataframe[0].value.iloc[0]
    assert (row["key"], row["ips"], row["months"], row["purchase"]) == ("·····IJKL", "1,000", "12", "1,200.50")

    def open_key() -> None:
        app.session_state["project_key_open"] = newest
        app.run()

    open_key()
    assert "PAGES-0003" not in said(app)
    app.button(key="reveal").click().run()
    assert app.session_state["project_key_revealed"][1] == "PRJ-PAGES-0003-IJKL"
    open_key()
    assert "PAGES-0003" not in said(app)  # shown once
    app.button(key="delete_key").click().run()
    assert list(app.dataframe[0].value["key"]) == ["·····EFGH", "·····ABCD"]


def open_wizard(shop: Shop, open_page: OpenPage, role: Role) -> AppTest:
    """The wizard on the customer's page: a menu can't be clicked here, so its dialog is opened by what it opens."""
    app = open_page("customer.py", role, id=str(shop.customer))
    menu = next(menu for menu in app.get("menu_button") if menu.proto.label == "Actions")
    assert any("Project key" in option for option in menu.proto.options)
    return app


@pytest.mark.looks
def test_the_customers_page_says_by_which_key(shop: Shop, open_page: OpenPage) -> None:
    for role, sees in ((Role.VIEWER, False), (Role.SALES, False), (Role.FINANCE, True)):
        words = said(open_page("customer.py", role, id=str(shop.by_key)))
        assert "·····EFGH: 500 IPs, 16 Jun 2026 – 15 Sep 2026, 400.00 EUR a month" in words
        assert ("It cost us 900.00" in words) is sees
        assert "Project key ·····EFGH until 15 Sep 2026: 400.00 a month" in words
    words = said(open_page("customer.py", Role.SALES, id=str(shop.by_key), tab="History"))
    assert "Ips · ·····EFGH" in words
    words = said(open_page("customer.py", Role.SALES, id=str(shop.by_key), tab="Forecast"))
    assert "Project key ·····EFGH: 16 Jun 2026 – 30 Jun 2026, 15 of 30 days, quantity 500" in words


@pytest.mark.looks
@pytest.mark.row("G3")
def test_the_menu_offers_it_in_managed_service_alone(shop: Shop, open_page: OpenPage) -> None:
    open_wizard(shop, open_page, Role.SALES)
    for id_, role in ((shop.by_key, Role.SALES), (shop.customer, Role.VIEWER)):
        menus = open_page("customer.py", role, id=str(id_)).get("menu_button")
        assert not any("Project key" in option for menu in menus for option in menu.proto.options)


@pytest.mark.looks
@pytest.mark.row("G3")
@pytest.mark.parametrize(
    ("typed", "why"),
    [("", "Enter the project key"), ("PRJ-NEVER-0000-HEARD", "no such project key"), (USED, "is used: Bob"), (KEY, "")],
)
def test_the_row_menu_opens_the_wizard(shop: Shop, open_page: OpenPage, typed: str, why: str) -> None:
    app = open_page("customers.py", Role.FINANCE)
    app.session_state["customer_action_chosen"] = (shop.customer, ":material/key: Project key …")
    app.run()
    assert "**1 Key** › 2 Price › 3 Distribution › 4 Summary" in said(app)
    app.text_input(key="key_typed").set_value(typed)
    app.button(key="key_next").click().run()
    draft = app.session_state["key_wizard"]
    if why:
        assert (draft.step, why in draft.problems["key"]) == (0, True)
    else:
        assert (draft.step, draft.problems, draft.found.key.ips, draft.internal) == (1, {}, 500, 0)
