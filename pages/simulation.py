"""Simulation: what a month would cost with another price list or quantity, beside any other month (row B4)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import streamlit as st

from lib import clock, fields, periods, prices, products, report_filters, settings, simulations
from lib.auth import Permission
from lib.db import Connection
from lib.errors import BillingError, Invalid
from lib.products import Product
from lib.simulations import Compared, NewPrice, NewQuantity, Scenario, Simulation
from pages.shared import figures, forms, session, simulated, tier_editor, ui

PAGE = 25
ORDERS = {"difference": "Difference, largest first", "name": "Customer", "amount": "Simulated amount, largest first"}
QUANTITY, PERCENT = "Quantity of each chosen customer", "Percent more or fewer"
AS_BOOKED, ASKED = "As booked", "simulated_customer"

session.require_user(Permission.READ)


# ---------------------------------------------------------------------------------- what is asked for


def draw_months(conn: Connection) -> tuple[date, date]:
    """The simulated month and the month beside it; both stand in the address."""
    today = clock.today(conn)
    ahead = simulations.months(conn)
    known = sorted({*report_filters.months(conn, today=today), *ahead}, reverse=True)
    current = clock.month_of(today)
    usual = clock.next_month(current) if clock.next_month(current) in ahead else ahead[0]
    month = _month_box("Month to simulate", ahead, usual, key="sim_month")
    against = _month_box("Beside", known, current if current in known else ahead[0], key="sim_against")
    return month, against


def _month_box(label: str, months: Sequence[date], usual: date, *, key: str) -> date:
    names = [f"{month:%Y-%m}" for month in months]
    chosen = st.selectbox(
        label, names, index=months.index(usual), format_func=lambda name: ui.month(_month(name)), key=key,
        bind="query-params", on_change=to_first_page, width=170,
    )  # fmt: skip
    return _month(chosen or f"{usual:%Y-%m}")


def _month(name: str) -> date:
    return date.fromisoformat(f"{name}-01")


def to_first_page() -> None:
    """Another question begins at the first page."""
    st.session_state.sim_page = 1


def draw_customers(conn: Connection) -> tuple[int, ...]:
    """The customers to simulate; none chosen means all."""
    search = st.session_state.get("sim_search") or ""
    kept = st.session_state.get("sim_customer") or st.query_params.get_all("sim_customer")
    names = report_filters.pickable(conn, search, kept=[number.split(" ")[0] for number in kept])
    st.text_input(
        "Find customers", type="search", placeholder="Name, number, contact, e-mail", live="300ms", key="sim_search",
        max_chars=report_filters.LONGEST_SEARCH, width=240,
    )  # fmt: skip
    chosen = st.multiselect(
        "Customers", list(names), format_func=lambda number: f"{number} {names.get(number, '')}",
        placeholder="All customers", key="sim_customer", select_all=False, bind="query-params",
        max_selections=simulations.MOST_CUSTOMERS, on_change=to_first_page, width=300,
    )  # fmt: skip
    filters = report_filters.chosen(
        conn, today=clock.today(conn), month=f"{clock.month_of(clock.today(conn)):%Y-%m}", customers=chosen
    )
    return filters.customers


def draw_price(conn: Connection, priced: Sequence[Product], currency: str) -> NewPrice | None:
    """Another list price of one product. Raises Invalid while its cells can't be read."""
    product = _product_box("Another price list for", priced, key="sim_price")
    if product is None:
        return None
    ruling = prices.version_in(conn, product.id, month=clock.month_of(clock.today(conn)))
    st.caption("For the simulated month, instead of the list price. Individual prices stay.")
    entered = tier_editor.draw(f"sim_tiers_{product.id}", ruling.tiers if ruling else [], currency=currency)
    if entered.tiers is None:
        raise Invalid("Correct the price ranges, then the month is simulated with them.")
    return NewPrice(product.id, entered.tiers)


def draw_quantity(bookable: Sequence[Product]) -> NewQuantity | None:
    """Another quantity of one product, for the chosen customers or in percent for all."""
    product = _product_box("Another quantity of", bookable, key="sim_quantity")
    if product is None:
        return None
    way = st.radio("Quantity", [QUANTITY, PERCENT], key="sim_way", horizontal=True, label_visibility="collapsed")
    typed = st.text_input("Quantity" if way == QUANTITY else "Percent", key="sim_value", width=160)
    if not typed.strip():
        raise Invalid(f"Enter the {'quantity' if way == QUANTITY else 'percentage'} of {product.name_en}.")
    if way == QUANTITY:
        return NewQuantity(product.id, quantity=fields.whole(typed, field="sim_value", label="The quantity"))
    percent = fields.whole(
        typed.replace("%", ""), field="sim_value", label="The percentage",
        lowest=simulations.SMALLEST_PERCENT, highest=simulations.LARGEST_PERCENT,
    )  # fmt: skip
    return NewQuantity(product.id, percent=percent)


def _product_box(label: str, known: Sequence[Product], *, key: str) -> Product | None:
    by_code = {product.code: product for product in known}
    code = st.selectbox(
        label, list(by_code), index=None, format_func=lambda code: by_code[code].name_en, placeholder=AS_BOOKED,
        key=key, bind="query-params", on_change=to_first_page, width=300,
    )  # fmt: skip
    return by_code.get(code or "")


# ---------------------------------------------------------------------------------- what is shown


def draw_totals(found: Simulation, scenario: Scenario, currency: str) -> None:
    """Both totals and their difference."""
    with st.grid(3, gap="small", min_column_width=200):
        st.metric(f"{ui.month(scenario.against)} ({currency})", ui.money(found.before), border=True)
        st.metric(f"{ui.month(scenario.month)}, simulated ({currency})", ui.money(found.after), border=True)
        st.metric(f"Difference ({currency})", ui.signed(found.after - found.before), border=True)
    if found.unpriced:
        st.warning(f"Simulated charges without a price, in no total: {found.unpriced:,}.", icon=":material/sell:")


def draw_products(found: Simulation, scenario: Scenario, currency: str) -> None:
    """By product, as a chart and as a table."""
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.subheader("Side by side", anchor=False)
        figure = figures.side_by_side(
            [row.name for row in found.products],
            {
                ui.month(scenario.against): [row.before or Decimal(0) for row in found.products],
                f"{ui.month(scenario.month)}, simulated": [row.after or Decimal(0) for row in found.products],
            },
            currency=currency,
        )
        st.plotly_chart(figure, key="sim_chart", config=figures.CONFIG, alt="Both months by product, side by side")
    with right, st.container(border=True, height="stretch"):
        st.subheader("By product", anchor=False)
        draw_compared("Product", found.products, scenario, key="sim_products")


def draw_compared(label: str, rows: Sequence[Compared], scenario: Scenario, *, key: str, **options: Any) -> None:
    """A table of both amounts and their difference."""
    columns = {
        "name": ui.text_column(label, width="medium"),
        "before": ui.figure_column(f"{scenario.against:%b %Y}"),
        "after": ui.figure_column(f"{scenario.month:%b %Y}"),
        "difference": ui.figure_column("Difference"),
    }
    shown = [
        {
            "name": row.name,
            "before": ui.money(row.before),
            "after": ui.money(row.after),
            "difference": ui.signed(row.difference),
        }
        for row in rows
    ]
    ui.table(shown, columns, key=key, alt=f"{label}, both months and the difference", **options)


# ---------------------------------------------------------------------------------- the page


def draw() -> None:
    """The question, the totals, and one page of the customers."""
    st.title("Simulation", anchor=False)
    st.caption(
        f"Rated by the code that writes the invoices. Nothing is saved or booked. Amounts are {ui.WITHOUT_PREPAID}."
    )
    with session.reading() as conn:
        if periods.open_month(conn) is None:
            ui.empty(periods.NOT_SET_UP, icon=":material/event:")
            return
        currency = settings.company(conn).currency
        bookable = [product for product in products.catalogue(conn) if product.kind != "adjustment"]
        with st.container(border=True):
            try:
                with st.container(horizontal=True, vertical_alignment="bottom"):
                    month, against = draw_months(conn)
                    customers = draw_customers(conn)
                left, right = st.columns(2)
                with left:
                    price = draw_price(conn, bookable, currency)
                with right:
                    quantity = draw_quantity(bookable)
            except Invalid as incomplete:
                forms.problem(str(incomplete))
                return
        draw_result(conn, Scenario(month, against, customers, price, quantity), currency)


def draw_result(conn: Connection, scenario: Scenario, currency: str) -> None:
    """The simulated month beside the other one."""
    order = st.session_state.get("sim_order", "difference")
    number = max(1, int(st.session_state.get("sim_page") or 1))
    try:
        with st.spinner("Rating …"):
            found = simulations.simulation(conn, scenario, order=order, limit=PAGE, offset=(number - 1) * PAGE)
    except BillingError as refusal:
        forms.problem(str(refusal))
        return
    if not found.customers_count:
        ui.empty("Nothing is charged in either month.", icon=":material/search_off:")
        return
    draw_totals(found, scenario, currency)
    draw_products(found, scenario, currency)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.subheader("By customer", anchor=False)
            st.space("stretch")
            st.selectbox(
                "Sort by", list(ORDERS), format_func=lambda name: ORDERS[name], key="sim_order", width=240,
                on_change=to_first_page,
            )  # fmt: skip
            st.download_button(
                "Export CSV", ui.exported(partial(simulations.export_csv, scenario=scenario)), key="sim_export",
                file_name=f"simulation-{scenario.month:%Y-%m}.csv", mime="text/csv", icon=":material/download:",
                on_click="ignore",
            )  # fmt: skip
        # Another page or order is another table: a cell that was clicked in the last one is not clicked in this.
        table = f"sim_customers_{hash(tuple(row.id for row in found.customers))}"
        draw_compared(
            "Customer", found.customers, scenario, key=table, selection_mode="single-cell",
            on_select=partial(_clicked, table, found.customers),
        )  # fmt: skip
        pages = -(-found.customers_count // PAGE)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"{found.customers_count:,} customers. A click on one says how its simulated amount comes about."
            )
            st.space("stretch")
            if pages > 1:
                st.pagination(pages, key="sim_page", max_visible_pages=7)
    asked = st.session_state.pop(ASKED, None)
    if asked is not None:
        simulated.panel(scenario, asked, currency)


def _clicked(table: str, rows: Sequence[Compared]) -> None:
    cells = st.session_state[table].selection.cells
    if cells:
        st.session_state[ASKED] = rows[cells[0][0]]


draw()
