"""Cost Overview: what every billed customer costs, by month and product, and what changed (row N11)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from lib import clock, periods, products, report_filters, reports, settings, term_amounts
from lib.auth import Permission
from lib.db import Connection
from lib.errors import Invalid
from lib.report_filters import Filters
from pages.shared import explain, figures, session, ui

PAGE = 25
CARDS = 3
ORDERS = {"name": "Customer", "number": "Number", "amount": "Amount, largest first"}
STATES = {
    "forecast": "Forecast",
    "final": "Final",
    "no price": "No price",
    "prepaid": "Prepaid",
    "not_closed": "Not closed",
}

user = session.require_user(Permission.READ)


# ---------------------------------------------------------------------------------- what is asked for


def to_first_page() -> None:
    """Filters that change begin at the first page."""
    st.session_state.cost_page = 1


def draw_months(months: Sequence[date]) -> tuple[str, str | None]:
    """The month, and the last one where a range is wanted; both stand in the address."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": to_first_page, "width": 170}
    known = [f"{month:%Y-%m}" for month in months]
    month = st.selectbox("Month", known, key="cost_month", format_func=_named, **bound) or known[0]
    later = [each for each in known if each > month]
    until = st.selectbox(
        "Until", later, index=None, key="cost_until", format_func=_named, placeholder="Same month", **bound
    )
    return month, until


def draw_filters(catalogue: Sequence[products.Product]) -> dict[str, Any]:
    """Search, customers and products; all of them stand in the address."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": to_first_page}
    search = st.text_input(
        "Search",
        type="search",
        placeholder="Name, number, contact, e-mail",
        live="300ms",
        key="cost_search",
        max_chars=report_filters.LONGEST_SEARCH,
        width=250,
        **bound,
    )
    # An address names customers as the field shows them, and before the field is first drawn only it knows them.
    kept = st.session_state.get("cost_customer") or [
        label.split(" ")[0] for label in st.query_params.get_all("cost_customer")
    ]
    with session.reading() as conn:
        names = report_filters.pickable(conn, search or "", kept=kept)
    customers = st.multiselect(
        "Customers",
        list(names),
        format_func=lambda number: f"{number} {names.get(number, '')}",
        placeholder="All customers",
        key="cost_customer",
        select_all=False,
        width=250,
        **bound,
    )
    titles = {product.code: product.name_en for product in catalogue}
    chosen = st.multiselect(
        "Products",
        list(titles),
        format_func=lambda code: titles.get(code, code),
        placeholder="All products",
        key="cost_product",
        width=250,
        **bound,
    )
    return {"search": search or "", "customers": customers, "products": chosen}


def _named(month: str) -> str:
    return ui.month(date.fromisoformat(f"{month}-01"))


# ---------------------------------------------------------------------------------- what is shown


def draw_cards(summary: reports.Summary, filters: Filters, names: dict[int, str], currency: str) -> None:
    """The total and the largest products, each with its change."""
    largest = sorted(summary.products.items(), key=lambda item: -item[1].amount)[:CARDS]
    cards = [(f"Total ({currency})", summary.total), *((names[product], total) for product, total in largest)]
    with st.grid(4, gap="small", min_column_width=200):
        for label, total in cards:
            moved = bool(total.change)
            st.metric(
                ui.escaped(label),
                ui.money(total.amount),
                None if total.change is None else _delta(total),
                delta_color="normal" if moved else "off",
                delta_arrow="auto" if moved else "off",
                delta_description=None if total.change is None else f"vs. {_before(filters)}",
                border=True,
                height="stretch",
            )


def draw_chart(summary: reports.Summary, names: dict[int, str], *, first_open: date, currency: str) -> None:
    """The months up to the chosen one, by product."""
    with st.container(border=True, height="stretch"):
        st.subheader("By month", anchor=False)
        figure = figures.stacked_months(summary.series, names, first_open=first_open, currency=currency)
        st.plotly_chart(figure, key="cost_chart", config=figures.CONFIG, alt="Net amounts by month, stacked by product")
        if len(summary.series) < reports.CHARTED_MONTHS:
            st.caption(f"More than {reports.MOST_CHARTED:,} customers match. Narrow the search to see two years.")
        elif summary.series.index[-1] >= first_open:
            st.caption("Faded bars are not closed: the bookings known today, over the whole month.")


def draw_products(summary: reports.Summary, filters: Filters, names: dict[int, str]) -> None:
    """What each product comes to, and what changed."""
    with st.container(border=True, height="stretch"):
        st.subheader("By product", anchor=False)
        rows = [
            {"product": names[product], "amount": ui.money(total.amount), "change": ui.signed(total.change)}
            for product, total in summary.products.items()
        ]
        rows.append(
            {"product": "Total", "amount": ui.money(summary.total.amount), "change": ui.signed(summary.total.change)}
        )
        columns = {
            "product": ui.text_column("Product", width="medium"),
            "amount": ui.figure_column("Net amount"),
            "change": ui.figure_column("Change"),
        }
        ui.table(rows, columns, key="cost_products", alt="Net amount by product and its change")
        if summary.total.before is not None:
            st.caption(f"Change against {_before(filters)}.")


def draw_rows(page: reports.Page, filters: Filters) -> None:
    """A row per customer and product (and month of a range); a click opens what the amount rests on."""
    today = session.today()
    shown = [
        {
            "month": f"{row.month:%b %Y}",
            "customer": row.customer,
            "number": row.number,
            "product": row.product,
            "start": ui.number(row.start),
            "changes": explain.changes(row.changes) if row.changes else None,
            "end": ui.number(row.end),
            "amount": ui.money(row.amount),
            "state": [STATES[_state(row.state, row.month, today)]],
        }
        for row in page.rows.itertuples()
    ]
    columns = {
        "month": ui.text_column("Month"),
        "customer": ui.text_column("Customer", width="medium", pinned=True),
        "number": ui.text_column("Number"),
        "product": ui.text_column("Product", width="medium"),
        "start": ui.figure_column("Start"),
        "changes": ui.text_column("Changes", width="medium"),
        "end": ui.figure_column("End"),
        "amount": ui.figure_column("Net amount"),
        "state": st.column_config.MultiselectColumn(
            "State", options=list(STATES.values()), color=["blue", "green", "red", "violet", "orange"], width="small"
        ),
    }
    if filters.first == filters.last:
        del columns["month"]
    charges = [(row.customer_id, row.product_id, row.month, row.state == "prepaid") for row in page.rows.itertuples()]
    ui.table(
        shown,
        columns,
        key="cost_rows",
        alt="Charges by customer and product",
        on_select=partial(_remember, charges),
        selection_mode="single-cell",
    )


def read_page(conn: Connection, filters: Filters, order: str) -> tuple[int, reports.Page]:
    """The page that the address names, or the last one where there are fewer."""
    # Before its widget is drawn for the first time, only the address knows the page.
    typed = str(st.session_state.get("cost_page") or st.query_params.get("cost_page") or "1")
    number = max(int(typed), 1) if typed.isascii() and typed.isdigit() and len(typed) < 9 else 1
    page = reports.overview_page(conn, filters, limit=PAGE, offset=(number - 1) * PAGE, order=order)
    last = _pages(page.customers)
    if number > last:
        number = last
        page = reports.overview_page(conn, filters, limit=PAGE, offset=(number - 1) * PAGE, order=order)
    return number, page


def draw_paging(customers: int, number: int) -> None:
    """Which customers these are, of how many."""
    counted = f"more than {reports.MOST_COUNTED:,}" if customers > reports.MOST_COUNTED else f"{customers:,}"
    first, last = (number - 1) * PAGE + 1, min(number * PAGE, customers)
    st.caption(
        f"{first:,}–{last:,} of {counted} {'customer' if customers == 1 else 'customers'}"
        if customers
        else "0 customers"
    )
    st.space("stretch")
    if st.session_state.get("cost_page", number) != number:
        st.session_state.cost_page = number
    st.pagination(_pages(customers), key="cost_page", bind="query-params", max_visible_pages=7)


def draw_export(filters: Filters, asked: dict[str, Any]) -> None:
    """Links that download exactly what is filtered, streamed by the server's own route."""
    query = {"month": f"{filters.first:%Y-%m}", "until": f"{filters.last:%Y-%m}", "search": asked["search"]}
    pairs = [(name, value) for name, value in query.items() if value]
    pairs += [("customer", number) for number in asked["customers"]] + [("product", code) for code in asked["products"]]
    address = "/exports/cost-overview.{}?" + urlencode(pairs)
    with st.popover("Export", icon=":material/download:", key="cost_export"):
        st.caption("All rows that are filtered, on all pages.")
        options: dict[str, Any] = {"type": "tertiary"}
        st.link_button("CSV", address.format("csv"), icon=":material/csv:", key="cost_csv", **options)
        german = address.format("csv") + "&german=1"
        st.link_button("CSV for German Excel", german, icon=":material/table_view:", key="cost_german", **options)
        st.link_button("JSON", address.format("json"), icon=":material/data_object:", key="cost_json", **options)


def _remember(charges: Sequence[tuple[int, int | None, date, bool]]) -> None:
    cells = st.session_state.cost_rows.selection.cells
    if cells and cells[0][0] < len(charges) and charges[cells[0][0]][1] is not None:
        customer_id, product_id, month, prepaid = charges[cells[0][0]]
        explain.ask(customer_id, product_id, month, prepaid=prepaid)


def _state(state: str, month: date, today: date) -> str:
    """The state as the page says it: exports call all that isn't closed a forecast, also when its month is over."""
    return ui.month_state(month, final=False, today=today) if state == "forecast" else state


def _pages(customers: int) -> int:
    return max(1, -(-min(customers, reports.MOST_COUNTED) // PAGE))


def _delta(total: reports.Total) -> str:
    if not total.change:
        return "unchanged"
    percent = total.percent
    if percent is None or abs(percent) < Decimal("0.05"):  # which would print as 0.0 %
        return f"{total.change:+,.2f}"
    return f"{percent:+.1f} %"


def _before(filters: Filters) -> str:
    before = filters.months_before
    return ui.month(before[0]) if len(before) == 1 else f"the {len(before)} months before"


# ---------------------------------------------------------------------------------- the page

with session.reading() as conn:
    months = report_filters.months(conn, today=clock.today(conn))
    first_open = periods.open_month(conn)
    catalogue = products.catalogue(conn, kinds=tuple(products.KINDS))
    currency = settings.company(conn).currency

with st.container(horizontal=True, vertical_alignment="bottom"):
    st.title("Cost Overview", anchor=False)
    st.space("stretch")
    if months:
        month, until = draw_months(months)
        export = st.container(width="content")
if not months or first_open is None:
    ui.empty(periods.NOT_SET_UP, icon=":material/settings:")
    st.stop()

figures_place = st.container()
with st.container(border=True, gap="small"):
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        asked = draw_filters(catalogue)
        order = st.selectbox(
            "Sort by",
            list(ORDERS),
            format_func=lambda name: ORDERS[name],
            key="cost_order",
            bind="query-params",
            on_change=to_first_page,
            width=190,
        )
    rows_place = st.container()
    paging_place = st.container(horizontal=True, vertical_alignment="center")

try:
    with session.reading() as conn:
        filters = report_filters.chosen(conn, today=clock.today(conn), month=month, until=until, **asked)
        number, page = read_page(conn, filters, order)
        wide = filters.by_customer and page.customers > reports.MOST_CHARTED
        summary = reports.summary(conn, filters, charted=2 if wide else reports.CHARTED_MONTHS)
except Invalid as refusal:
    st.error(ui.escaped(str(refusal)), icon=":material/error:")
    st.stop()

names = {product.id: product.name_en for product in catalogue} | {term_amounts.PREPAID: term_amounts.NAME}
with export:
    draw_export(filters, asked)
with figures_place:
    if summary.unpriced:
        st.warning(
            f"Charges without a price, in no total: {summary.unpriced:,}. Set the price under Prices.",
            icon=":material/sell:",
        )
    if summary.products:
        draw_cards(summary, filters, names, currency)
        left, right = st.columns([3, 2])
        with left:
            draw_chart(summary, names, first_open=first_open, currency=currency)
        with right:
            draw_products(summary, filters, names)
with rows_place:
    if page.customers:
        draw_rows(page, filters)
    else:
        ui.empty("No billed customer matches these filters.", icon=":material/search_off:")
with paging_place:
    draw_paging(page.customers, number)

explain.open_asked(currency)
