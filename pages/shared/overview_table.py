"""The table of the first page: a month by price or in detail, its pages, and all of it as JSON (row G17)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import streamlit as st

from lib import clock, overview_tables, term_amounts
from lib.auth import Permission, User
from lib.prices import described
from pages.shared import explain, session, ui

# So many rows by price, and the rows of so many customers in detail.
PAGE = {"price": 25, "detail": 10}
MOST = 10_000


def _first_page() -> None:
    st.session_state.overview_page = 1


def draw(shown: Sequence[date], *, user: User, currency: str) -> None:
    """One of the three months by price or in detail, its pages, and all of it as JSON."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            labels = {ui.month(month): month for month in shown}
            month = labels[_choice("overview_month", "Month", list(labels), ui.month(shown[1]))]
            titles = {label: view for view, label in overview_tables.VIEWS.items()}
            view = titles[_choice("overview_view", "View", list(titles), next(iter(titles)))]
            st.space("stretch")
            st.link_button(
                "JSON", f"/exports/overview.json?month={month:%Y-%m}&view={view}", icon=":material/data_object:",
                key="overview_json", type="tertiary", help="All rows of this table, on all pages.",
            )  # fmt: skip
        number = _asked_page()
        total = _draw_page(view, month, number, user, currency)
        if total and (number - 1) * PAGE[view] >= total:  # fewer pages than the address says
            number = -(-min(total, MOST) // PAGE[view])
            _draw_page(view, month, number, user, currency)
        _draw_paging(view, number, total)


def _choice(key: str, label: str, options: list[str], default: str) -> str:
    return st.segmented_control(
        label, options, default=default, key=key, required=True, label_visibility="collapsed", bind="query-params",
        on_change=_first_page,
    )  # fmt: skip


def _asked_page() -> int:
    """Before its widget is drawn for the first time, only the address knows the page."""
    named = str(st.session_state.get("overview_page") or st.query_params.get("overview_page") or "1")
    return max(int(named), 1) if named.isascii() and named.isdigit() and len(named) < 9 else 1


def _draw_page(view: str, month: date, number: int, user: User, currency: str) -> int:
    """Draw the page unless it is beyond the last. Returns how many prices or customers there are."""
    drawn = _draw_prices if view == "price" else _draw_detail
    return drawn(month, (number - 1) * PAGE[view], user, currency)


def _draw_prices(month: date, offset: int, user: User, currency: str) -> int:
    with session.reading() as conn:
        rows, total = overview_tables.by_price(conn, month, user=user, limit=PAGE["price"], offset=offset)
        if offset and not rows:
            return overview_tables.by_price(conn, month, user=user, limit=1)[1]
        prepaid = term_amounts.totals(conn, [month]).get(month)
        costs = term_amounts.costs(conn, [month]) if prepaid and user.may(Permission.SEE_PURCHASE_PRICES) else []
    if not rows:
        ui.empty(f"Nothing is charged in {ui.month(month)}.")
        return 0
    sees = user.may(Permission.SEE_PURCHASE_PRICES)
    table = [
        {
            "product": row.product,
            "price": row.customer or ("List price" if row.tiers else ui.NOTHING),
            "ranges": f"Project key {row.project_key}"
            if row.project_key
            else described(row.tiers)
            if row.tiers
            else ui.NOTHING,
            "customers": ui.number(row.customers),
            "quantity": ui.number(row.quantity),
            "average": ui.money(row.average),
            **_amounts(sees, row.income, row.purchase, row.margin),
        }
        for row in rows
    ]
    columns = {
        "product": ui.text_column("Product", width=145, pinned=True),
        "price": ui.text_column("Price", width=150, help="The list price, or the customer that has its own."),
        "ranges": ui.text_column("Ranges", width=185 if sees else 330),
        "customers": ui.figure_column("Customers", width=84),
        "quantity": ui.figure_column("Quantity", width=76, help="At the end of the month."),
        "average": ui.figure_column("Average", width=72, help="Income by unit, for display only."),
        **_amount_columns(sees, currency),
    }
    key = f"overview_prices_{month}_{offset}"
    ui.table(
        table, columns, key=key, alt="Income by price", selection_mode="single-cell",
        on_select=partial(_open_product, key, [row.product for row in rows], month),
    )  # fmt: skip
    st.caption("A click on a row opens the customers behind it, each with how its amount came about.")
    if prepaid:
        st.caption(
            f"Besides, {ui.money(prepaid)} {currency} net was invoiced in advance{_cost(costs)}; *In detail* lists it."
        )
    return total


def _cost(costs: Sequence[term_amounts.Cost]) -> str:
    """What it costs us of what was invoiced in advance, as far as that is known."""
    known = [one.purchase for one in costs if one.purchase is not None]
    if not known:
        return ", for products without a purchase price" if costs else ""
    left = len(costs) - len(known)
    without = (
        f" without {ui.count(left, 'product')} that {'has' if left == 1 else 'have'} no purchase price" if left else ""
    )
    return f", which costs us {ui.money(sum(known, Decimal(0)))}{without}"


def _draw_detail(month: date, offset: int, user: User, currency: str) -> int:
    with session.reading() as conn:
        rows, total = overview_tables.in_detail(conn, month, user=user, limit=PAGE["detail"], offset=offset)
    if not rows:
        if not total:
            ui.empty(f"Nobody is billed in {ui.month(month)}.")
        return total
    sees = user.may(Permission.SEE_PURCHASE_PRICES)
    table = [
        {
            "customer": row.customer,
            "number": row.number,
            "product": row.product,
            "quantity": ui.number(row.quantity),
            **_amounts(sees, row.income, row.purchase, row.margin),
        }
        for row in rows
    ]
    columns = {
        "customer": ui.text_column("Customer", width=250, pinned=True),
        "number": ui.text_column("Number", width=90),
        "product": ui.text_column("Product", width=230),
        "quantity": ui.figure_column("Quantity", width=90, help="At the end of the month."),
        **_amount_columns(sees, currency),
    }
    asked = [(row.customer_id, row.product_id, row.state == "prepaid") for row in rows]
    key = f"overview_detail_{month}_{offset}"
    ui.table(
        table, columns, key=key, alt="Income by customer and product", selection_mode="single-cell",
        on_select=partial(_explain, key, asked, month),
    )  # fmt: skip
    return total


def _open_product(key: str, names: Sequence[str], month: date) -> None:
    """The month of the product, customer by customer: in the Cost Overview, or while it is to come in a simulation."""
    cells = st.session_state[key].selection.cells
    if not cells:
        return
    if month > clock.month_of(session.today()):
        st.switch_page("simulation.py", query_params={"sim_month": f"{month:%Y-%m}"})
    named = {"cost_month": ui.month(month), "cost_product": names[cells[0][0]]}
    st.switch_page("cost_overview.py", query_params=named)


def _explain(key: str, asked: Sequence[tuple[int, int | None, bool]], month: date) -> None:
    cells = st.session_state[key].selection.cells
    if cells and asked[cells[0][0]][1] is not None:
        customer_id, product_id, prepaid = asked[cells[0][0]]
        explain.ask(customer_id, product_id, month, prepaid=prepaid)


def _amounts(sees: bool, income: Decimal | None, purchase: Decimal | None, margin: Decimal | None) -> dict[str, str]:
    shown = {"income": ui.money(income)}
    return shown | {"purchase": ui.money(purchase), "margin": ui.money(margin)} if sees else shown


def _amount_columns(sees: bool, currency: str) -> dict[str, Any]:
    no_price = f"{ui.NOTHING} where there is no price: set one under Prices."
    columns = {"income": ui.figure_column(f"Income ({currency})", width=104, help=no_price)}
    if sees:
        unknown = f"{ui.NOTHING} where there is no purchase price: set one under Prices, 0.00 for what costs nothing."
        columns["purchase"] = ui.figure_column("Purchase", width=88, help=unknown)
        columns["margin"] = ui.figure_column("Margin", width=88, help=f"Income less purchase. {unknown}")
    return columns


def _draw_paging(view: str, number: int, total: int) -> None:
    if not total:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        size = PAGE[view]
        counted = f"more than {MOST:,}" if total > MOST else f"{total:,}"
        what = "prices" if view == "price" else "customers"
        st.caption(f"{(number - 1) * size + 1:,}–{min(number * size, total):,} of {counted} {what}", width="content")
        st.space("stretch")
        pages = -(-min(total, MOST) // size)
        if st.session_state.get("overview_page", number) != number:
            st.session_state.overview_page = number
        if pages > 1:
            st.pagination(pages, key="overview_page", bind="query-params", max_visible_pages=7)
