"""What is invoiced in advance stands beside the charges, in the month of its document, on a line of its own."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection
from streamlit.testing.v1 import AppTest

from lib import (
    cancellations,
    drafts,
    invoices,
    overview_tables,
    overviews,
    prices,
    reports,
    statements,
    term_amounts,
    terms,
)
from lib.auth import Role
from lib.drafts import DraftLine
from lib.errors import NotAllowed
from lib.report_filters import Filters
from lib.term_amounts import PREPAID
from lib.term_offers import TermAction
from pages.shared import explain
from tests import termed
from tests.beginnings import Begin
from tests.termed import DAY, Shop, act, bought, issue, order

BEGINS_WITH = termed.shop
JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)


@pytest.fixture
def shop(begun: Shop) -> Shop:
    return begun


def rows(
    conn: Connection, month: date = JUNE, *, order: str = "name", **more: tuple[int, ...]
) -> list[tuple[str, ...]]:
    page = reports.overview_page(conn, Filters(first=month, last=month, **more), order=order)  # type: ignore[arg-type]
    return [(row.product, str(row.amount), row.state) for row in page.rows.itertuples()]


@pytest.mark.row("S5")
def test_a_term_counts_in_the_month_of_its_invoice_on_a_line_of_its_own(conn: Connection, shop: Shop) -> None:
    draft = order(conn, shop, shop.plus)
    assert ("Plus, prepaid", "600.00", "prepaid") not in rows(conn)
    issue(conn, shop, draft)
    found = rows(conn)
    assert found == [("Users", "45.00", "forecast"), ("Plus, prepaid", "600.00", "prepaid"),
                     ("Ips", "460.00", "forecast")]  # fmt: skip
    # Only its own product finds it, in any order.
    for sort in ("name", "amount"):
        assert rows(conn, order=sort, products=(shop.plus,)) == [("Plus, prepaid", "600.00", "prepaid")]
        assert rows(conn, order=sort, products=(shop.basic,)) == []
    # It isn't paid yet, and not a part of what the close charges.
    [june] = statements.statements_of(conn, shop.ada, today=DAY, months=1)
    assert june.amount == Decimal("45.00")


@pytest.mark.row("S5")
def test_the_sums_have_it_once_and_apart(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.plus)
    for more in ({}, {"customers": (shop.ada,)}):
        summary = reports.summary(conn, Filters(first=JUNE, last=JUNE, **more))  # type: ignore[arg-type]
        assert summary.products[PREPAID].amount == Decimal("600.00")
        assert list(summary.products)[-1] == PREPAID
        assert summary.total.amount == sum(one.amount for one in summary.products.values())
    assert term_amounts.totals(conn, [JUNE, JULY]) == {JUNE: Decimal("600.00")}
    assert overviews.history(conn, today=DAY)[0].income == Decimal("1105.00")


def test_a_cancellation_counts_in_its_own_month(conn: Connection, shop: Shop) -> None:
    issued = issue(conn, shop, order(conn, shop, shop.plus))
    cancellations.cancel(conn, issued.id, reason="Wrong", today=date(2026, 7, 2), user=shop.finance)
    assert [(one.month, one.amount) for one in term_amounts.amounts_of(conn, shop.ada, [JUNE, JULY])] == [
        (JUNE, Decimal("600.00")), (JULY, Decimal("-600.00"))
    ]  # fmt: skip
    assert ("Plus, prepaid", "-600.00", "prepaid") in rows(conn, JULY)
    assert terms.terms_of(conn, shop.ada)[0].state == "void"


def test_an_upgrade_shows_the_new_plan_and_the_credit(conn: Connection, shop: Shop) -> None:
    bought(conn, shop, shop.basic)
    issue(conn, shop, order(conn, shop, shop.plus, TermAction.UPGRADE_YEARLY))
    assert [row for row in rows(conn) if row[2] == "prepaid"] == [
        ("Basic, prepaid", "0.00", "prepaid"), ("Plus, prepaid", "600.00", "prepaid")
    ]  # fmt: skip


def test_a_free_term_or_a_test_brings_nothing_in(conn: Connection, shop: Shop) -> None:
    act(conn, shop, "activate_trial", shop.plus)
    act(conn, shop, "activate_free", shop.module)
    assert term_amounts.totals(conn, [JUNE]) == {}


# ---------------------------------------------------------------------------------- what it costs us


def costs(conn: Connection, month: date = JUNE) -> dict[str, tuple[str, str | None]]:
    return {
        one.product: (str(one.income), None if one.purchase is None else str(one.purchase))
        for one in term_amounts.costs(conn, [month])
    }


def buy_at(conn: Connection, shop: Shop, product_id: int, price: str, month: date = JUNE) -> None:
    prices.set_purchase_price(conn, product_id, valid_from=month, unit_price=Decimal(price), user=shop.admin)


@pytest.mark.row("G17")
def test_a_term_costs_its_months_at_the_price_of_the_month_of_its_document(conn: Connection, shop: Shop) -> None:
    buy_at(conn, shop, shop.plus, "20")
    buy_at(conn, shop, shop.plus, "25", JULY)
    buy_at(conn, shop, shop.module, "4")
    order(conn, shop, shop.plus)
    assert costs(conn) == {}  # a draft is nothing yet
    bought(conn, shop, shop.module, TermAction.MONTHLY)
    assert costs(conn) == {"Watch": ("10.00", "4.00")}
    draft = terms.plan_of(conn, shop.ada, today=DAY)
    assert draft is not None and draft.invoice_id is not None
    issued = issue(conn, shop, draft.invoice_id, today=date(2026, 7, 1))
    assert costs(conn, JULY) == {"Plus": ("600.00", "300.00")}
    # Taken back in its own month, at what it cost then.
    cancellations.cancel(conn, issued.id, reason="Wrong", today=date(2026, 8, 3), user=shop.finance)
    assert costs(conn, date(2026, 8, 1)) == {"Plus": ("-600.00", "-300.00")}


@pytest.mark.row("G17")
def test_an_upgrade_takes_back_the_same_share_of_the_cost(conn: Connection, shop: Shop) -> None:
    """Of 365 days 180 are not used: 147.95 of 300.00 are credited, and of what basic costs, 12 x 10.00, 59.18."""
    buy_at(conn, shop, shop.basic, "10")
    buy_at(conn, shop, shop.basic, "99", JULY)
    buy_at(conn, shop, shop.plus, "20")
    bought(conn, shop, shop.basic)
    day = date(2026, 12, 12)
    upgrade = issue(conn, shop, order(conn, shop, shop.plus, TermAction.UPGRADE_YEARLY, today=day), today=day)
    december = {"Basic": ("-147.95", "-59.18"), "Plus": ("600.00", "240.00")}
    assert costs(conn, date(2026, 12, 1)) == december
    cancellations.cancel(conn, upgrade.id, reason="Wrong", today=date(2027, 1, 4), user=shop.finance)
    assert costs(conn, date(2027, 1, 1)) == {"Basic": ("147.95", "59.18"), "Plus": ("-600.00", "-240.00")}


@pytest.mark.row("G17")
def test_the_margin_of_a_month_has_what_is_prepaid(conn: Connection, shop: Shop) -> None:
    buy_at(conn, shop, shop.plus, "20")
    bought(conn, shop, shop.plus)
    bought(conn, shop, shop.module)
    june = overviews.purchases(conn, [JUNE], user=shop.finance)[JUNE]
    # Of the charges nothing has a purchase price.
    assert (june.amount, june.margin, june.without) == (Decimal(240), Decimal(360), ("Users", "Ips", "Watch"))
    with pytest.raises(NotAllowed):
        overviews.purchases(conn, [JUNE], user=shop.sales)
    rows, _ = overview_tables.in_detail(conn, JUNE, user=shop.finance)
    told = {row.product: (row.income, row.purchase, row.margin) for row in rows if row.state == "prepaid"}
    assert told == {
        "Plus, prepaid": (Decimal(600), Decimal(240), Decimal(360)), "Watch, prepaid": (Decimal(100), None, None)
    }  # fmt: skip
    exported = json.loads(b"".join(overview_tables.export_json(conn, JUNE, view="detail", user=shop.finance)))
    assert {(row["product"], row["purchase"], row["margin"]) for row in exported if row["state"] == "prepaid"} == {
        ("Plus, prepaid", "240.00", "360.00"), ("Watch, prepaid", None, None)
    }  # fmt: skip
    for_sales = overview_tables.in_detail(conn, JUNE, user=shop.sales)[0]
    assert {row.purchase for row in for_sales} == {None}


def test_a_discount_by_hand_costs_nothing(conn: Connection, shop: Shop) -> None:
    buy_at(conn, shop, shop.plus, "20")
    draft = invoices.invoice(conn, order(conn, shop, shop.plus))
    discount = DraftLine(name="Discount", detail="", quantity=Decimal(-1), unit="", unit_price=Decimal(60))
    drafts.edit(
        conn, draft.id, version=draft.version, intro="", closing="", purchase_order="", due_on=None,
        service_from=draft.service_from, service_until=draft.service_until, lines=[discount], user=shop.finance,
    )  # fmt: skip
    issue(conn, shop, draft.id)
    assert costs(conn) == {"Plus": ("540.00", "240.00")}


# ---------------------------------------------------------------------------------- on the pages


def with_plus(conn: Connection) -> Shop:
    made = termed.shop(conn)
    bought(conn, made, made.plus)
    return made


def said(page: AppTest) -> str:
    return " ".join(element.value for kind in (page.markdown, page.caption) for element in kind).replace("\\", "")


@pytest.mark.looks
@pytest.mark.row("S5")
def test_the_cost_overview_explains_what_is_prepaid(
    begin: Begin, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(DAY))
    shop = begin(with_plus)
    page = open_page("cost_overview.py", Role.VIEWER)
    assert not page.exception
    shown = "\n".join(frame.value.to_string() for frame in page.dataframe)
    assert "Plus, prepaid" in shown and "Prepaid" in shown
    page.session_state[explain.PREPAID] = (shop.ada, shop.plus, JUNE)
    page.run()
    assert not page.exception
    assert "counts in the month in which its document is issued" in said(page)
    assert "plus (de)" in "\n".join(frame.value.to_string() for frame in page.dataframe)


@pytest.mark.looks
def test_the_forecast_and_the_first_page_name_it(
    begin: Begin, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(DAY))
    shop = begin(with_plus)
    page = open_page("customer.py", Role.VIEWER, id=str(shop.ada), tab="Forecast")
    assert not page.exception
    assert "Plus: **600.00**, invoiced in advance by RE-2026-00001" in said(page)
    page.button(key=f"explain_prepaid_{shop.plus}").click().run()
    assert "counts in the month in which its document is issued" in said(page)
    page = open_page("overview.py", Role.FINANCE)
    assert not page.exception
    assert "Besides, 600.00 EUR net was invoiced in advance, for products without a purchase price" in said(page)
