"""Forecast, statements and cost history of a customer, each amount with the lines that explain it (rows N7, N8)."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import streamlit as st

from lib import adjustments, billing, clock, prices, products, project_keys, statements, term_amounts
from lib.adjustments import Adjustment
from lib.billing import Line, Part
from lib.products import Product
from lib.statements import Statement
from pages.shared import explain, figures, session, ui
from pages.shared.customer_view import View, not_charged

MONTHS = 24
# Rows of the table of months that are seen at once: the lines below it stay in sight.
SHOWN = 12


# ---------------------------------------------------------------------------------- forecast


def draw_forecast(view: View) -> None:
    """What the current month is expected to cost: users, each option, the total, and why."""
    if not_charged(view, "Forecast"):
        return
    month = clock.month_of(view.today)
    with session.reading() as conn:
        charged = statements.charges_of(conn, view.customer.id, today=view.today, months=1)
    total = sum((one.amount or Decimal(0) for one in charged), Decimal("0.00"))
    blocked = [one.product for one in charged if one.amount is None]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"{ui.month(month)}, net in {view.currency}", anchor=False, width="content")
        ui.badge("forecast")
    st.caption(f"The whole month, with the bookings known today, {ui.WITHOUT_PREPAID}.")
    if not charged:
        ui.empty(f"Nothing is booked in {ui.month(month)}, so it costs 0.00.")
        _prepaid(view, month)
        explain.open_asked(view.currency)
        return
    if blocked:
        st.warning(
            f"{ui.escaped(', '.join(blocked))}: no price rules {ui.month(month)}. Set one in Prices; until then the "
            "total is incomplete.", icon=":material/sell:",
        )  # fmt: skip
    with st.grid("auto", min_column_width=200):
        _card(view, "Total" if not blocked else "Total so far", ui.money(total), None, month)
        for one in charged:
            amount = ui.charge(one.amount)
            _card(view, ui.escaped(one.product), amount, one.product_id, month)
    _prepaid(view, month)
    draw_lines(view, month, key="forecast")
    explain.open_asked(view.currency)


def _card(view: View, label: str, amount: str, product_id: int | None, month: date) -> None:
    """An amount with the button that explains it; without a product, that of the whole month."""
    with st.container(border=True, gap="xxsmall", height="stretch"):
        st.metric(label, amount)
        st.button(
            explain.LABEL, key=f"explain_{product_id or 'total'}", icon=":material/calculate:", type="tertiary",
            on_click=explain.ask, args=(view.customer.id, product_id, month),
        )  # fmt: skip


def _prepaid(view: View, month: date) -> None:
    """What was invoiced in advance in the month, beside what the close charges; nothing where nothing was."""
    with session.reading() as conn:
        found = term_amounts.amounts_of(conn, view.customer.id, [month])
    by_product: dict[int, list[term_amounts.TermAmount]] = {}
    for one in found:
        by_product.setdefault(one.product_id, []).append(one)
    for product_id, lines in by_product.items():
        numbers = ", ".join(dict.fromkeys(one.number for one in lines))
        total = sum((one.amount for one in lines), Decimal("0.00"))
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            ui.badge("prepaid")
            st.markdown(
                f"{ui.escaped(lines[0].product)}: **{ui.money(total)}**, invoiced in advance by "
                f"{ui.escaped(numbers)}, beside the charges.",
                width="content",
            )
            st.button(
                explain.LABEL, key=f"explain_prepaid_{product_id}", icon=":material/calculate:", type="tertiary",
                on_click=explain.ask, args=(view.customer.id, product_id, month), kwargs={"prepaid": True},
            )  # fmt: skip


# ---------------------------------------------------------------------------------- statements


def draw_statements(view: View) -> None:
    """The last months, and the lines of the one that is chosen."""
    if not_charged(view, "Last months"):
        return
    with session.reading() as conn:
        found = statements.statements_of(conn, view.customer.id, today=view.today, months=MONTHS)
    if not found:
        ui.empty("No month has charges yet.")
        return
    months = [one.month for one in found]
    ui.table(
        [_statement_row(one, view.today) for one in found],
        {
            "month": ui.text_column("Month", width=140, pinned=True),
            "amount": ui.figure_column(f"Net ({view.currency})", width=130),
            "state": ui.state_column("State", ["forecast", "not_closed", "final"], width=110),
            "invoice": ui.text_column("Invoice", width=160),
        },
        key="statements_table",
        alt="Statements of the last months; the box below shows the lines of one",
        width=600,
        height=ui.ROW_HEIGHT * (min(len(found), SHOWN) + 1) + 3,
        on_select=lambda: _choose_statement(view, months),
        selection_mode="single-cell",
    )
    st.caption(f"Amounts are {ui.WITHOUT_PREPAID}.")
    chosen = st.selectbox("Lines of", months, format_func=ui.month, key="statement_month", width=220)
    _invoice_link(next(one for one in found if one.month == chosen))
    _prepaid(view, chosen)
    draw_lines(view, chosen, key="statement")
    explain.open_asked(view.currency)


def _choose_statement(view: View, months: list[date]) -> None:
    cells = st.session_state.statements_table.selection.cells
    if cells:
        row, column = cells[0]
        st.session_state.statement_month = months[row]
        if column == "amount":
            explain.ask(view.customer.id, None, months[row])


def _statement_row(one: Statement, today: date) -> dict[str, Any]:
    unbilled = "Unbilled" if one.final and one.amount else ui.NOTHING
    return {
        "month": ui.month(one.month),
        "amount": ui.charge(one.amount),
        "state": [ui.word(ui.month_state(one.month, final=one.final, today=today))],
        "invoice": one.invoice_number or ("Draft" if one.invoice_id else unbilled),
    }


def _invoice_link(one: Statement) -> None:
    if one.invoice_id is None:
        return
    st.page_link(
        "invoice.py", label=f"Invoice {one.invoice_number}" if one.invoice_number else "Draft invoice",
        icon=":material/receipt:", query_params={"id": str(one.invoice_id)},
    )  # fmt: skip


# ---------------------------------------------------------------------------------- lines and parts


def draw_lines(view: View, month: date, *, key: str) -> None:
    """The lines that a month's amount is the sum of, and the exact parts of those that were prorated."""
    only, months = [view.customer.id], [month]
    with session.reading() as conn:
        catalogue = {product.id: product for product in products.catalogue(conn)}
        lines = billing.lines(conn, months=months, customers=only)
        entered = [one for one in adjustments.adjustments_of(conn, view.customer.id) if one.month == month]
        parts = billing.parts(conn, months=months, customers=only)
        by_key = any(line.project_key_id is not None for line in lines)
        redeemed = project_keys.of_customer(conn, view.customer.id, today=view.today) if by_key else []
    keys = {key.id: key.masked for key in redeemed}
    order = list(catalogue)
    lines.sort(key=lambda line: order.index(line.product_id))
    rows = [_line_row(line, catalogue, keys) for line in lines] + [_adjustment_row(one) for one in entered]
    if not rows:
        ui.empty(f"No line in {ui.month(month)}.")
        return
    amounts = [line.amount for line in lines] + [one.amount for one in entered]
    total = sum((amount for amount in amounts if amount is not None), Decimal("0.00"))
    rows.append({"product": "Total", "why": "", "units": "", "price": "", "amount": ui.money(total)})
    adjusted = next((product.id for product in catalogue.values() if product.kind == "adjustment"), None)
    behind = [line.product_id for line in lines] + [adjusted] * len(entered) + [None]
    columns = {
        "product": ui.text_column("Product", width=190, pinned=True),
        "why": ui.text_column("What is charged", width=360),
        "units": ui.figure_column("Units", width=80),
        "price": ui.figure_column(f"Unit price ({view.currency})", width=120),
        "amount": ui.figure_column(f"Net ({view.currency})", width=110),
    }
    ui.table(
        rows, columns, key=f"{key}_lines", alt=f"Lines of {ui.month(month)}",
        on_select=lambda: _explain_line(view, f"{key}_lines", behind, month), selection_mode="single-cell",
    )  # fmt: skip
    st.caption("A click on a line says how its amount came about: price, bookings, who and when.")
    prorated = {(line.product_id, line.from_day) for line in lines if line.prorated}
    _draw_parts(view, [part for part in parts if (part.product_id, part.from_day) in prorated], catalogue, key)


def _explain_line(view: View, table: str, behind: list[int | None], month: date) -> None:
    cells = st.session_state[table].selection.cells
    if cells and cells[0][0] < len(behind):
        explain.ask(view.customer.id, behind[cells[0][0]], month)


def _line_row(line: Line, catalogue: dict[int, Product], keys: dict[int, str]) -> dict[str, Any]:
    product = catalogue[line.product_id]
    if line.project_key_id is not None:
        why = f"Project key {keys.get(line.project_key_id, '')}: {_days(line.from_day, line.until_day)}, "
        why += f"{line.days} of {line.month_days} days, quantity {line.quantity:,}"
    elif line.price_id is None:
        why = f"{line.quantity:,} booked, no price rules the month"
    elif line.prorated:
        quantity = f", quantity {line.quantity:,}" if product.counted else ""
        why = f"{_days(line.from_day, line.until_day)}: {line.days} of {line.month_days} days{quantity}"
    elif line.first_unit == 1 and line.last_unit is None:
        why = products.MEASURES[product.measure] if product.counted else "Whole month"
    else:
        until = f"–{line.last_unit:,}" if line.last_unit else " and above"
        why = f"Range {line.first_unit:,}{until} of {line.quantity:,}"
    return {
        "product": product.name_en,
        "why": why,
        "units": ui.number(line.units),
        "price": ui.NOTHING if line.unit_price is None else prices.price_shown(line.unit_price),
        "amount": ui.charge(line.amount),
    }


def _adjustment_row(one: Adjustment) -> dict[str, Any]:
    meant = f", for {ui.month(one.month_meant)}" if one.month_meant != one.month else ""
    return {
        "product": "Adjustment",
        "why": one.text + meant,
        "units": ui.NOTHING,
        "price": ui.NOTHING,
        "amount": ui.money(one.amount),
    }


def _days(first: date, until: date) -> str:
    last = until - timedelta(days=1)
    return ui.day(first) if first == last else f"{ui.day(first)} – {ui.day(last)}"


def _draw_parts(view: View, parts: Sequence[Part], catalogue: dict[int, Product], key: str) -> None:
    """How the lines by days come about: units × unit price × days ÷ days of the month, exact."""
    priced = [part for part in parts if part.amount is not None and part.unit_price is not None]
    if not priced:
        return
    with st.expander("How the lines by days are computed", icon=":material/calculate:"):
        st.caption("Each line is the sum of its parts, rounded once to the cent.")
        columns = {
            "product": ui.text_column("Product", width=190, pinned=True),
            "days": ui.text_column("Days", width=230),
            "units": ui.figure_column("Units", width=80),
            "price": ui.figure_column(f"Unit price ({view.currency})", width=120),
            "share": ui.figure_column("Of the month", width=100),
            "amount": ui.figure_column("Exact amount", width=120),
        }
        rows = [
            {
                "product": catalogue[part.product_id].name_en,
                "days": _days(part.from_day, part.until_day),
                "units": ui.number(part.units),
                "price": prices.price_shown(part.unit_price or Decimal(0)),
                # Of a key that is charged at once all of it.
                "share": "whole" if part.amount == part.unit_price else f"{part.days}/{part.month_days}",
                "amount": f"{part.amount:,.4f}",
            }
            for part in priced
        ]
        ui.table(rows, columns, key=f"{key}_parts", alt="The parts of the lines by days")


# ---------------------------------------------------------------------------------- cost history


def draw_history(view: View) -> None:
    """What each product cost in each of the last months, as a chart."""
    if not_charged(view, "Cost history"):
        return
    with session.reading() as conn:
        charged = statements.charges_of(conn, view.customer.id, today=view.today, months=MONTHS)
    if not charged:
        ui.empty("No month has charges yet.")
        return
    months = clock.months_between(charged[0].month, view.today)
    amounts = pd.DataFrame([(one.month, one.product_id, one.amount) for one in charged], columns=["month", "id", "net"])
    series = amounts.pivot_table(index="month", columns="id", values="net", aggfunc="first", sort=False)
    names = {one.product_id: one.product for one in charged}
    st.subheader("Net cost by product", anchor=False)
    st.plotly_chart(
        figures.stacked_months(
            series.reindex(months), names, first_open=view.first_open or view.today, currency=view.currency
        ),
        key="cost_chart", config=figures.CONFIG, on_select=lambda: _explain_bar(view, months), selection_mode="points",
        alt=f"Net cost by product, {ui.month(months[0])} to {ui.month(months[-1])}",
    )  # fmt: skip
    st.caption(
        f"Amounts are {ui.WITHOUT_PREPAID}. Paler months are not closed. A click on a bar says how its month came "
        "about; the same figures as a table are under Statements."
    )
    explain.open_asked(view.currency)


def _explain_bar(view: View, months: list[date]) -> None:
    points = st.session_state.cost_chart.selection.points
    if points:
        explain.ask(view.customer.id, None, months[points[0]["point_index"]])
