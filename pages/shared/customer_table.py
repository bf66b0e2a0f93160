"""The table of customers: its columns, how a header's click orders it, and where a cell's click leads (row G1)."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

import streamlit as st

from lib import customer_fields, customer_statuses
from lib.auth import User
from lib.customer_lists import MOST_COUNTED, Row
from pages.shared import customer_actions, customer_form, session, ui
from pages.shared.customer_actions import ACTIONS

# In the URL as they are written here.
ORDERS = {
    "Name A–Z": ("name", False),
    "Name Z–A": ("name", True),
    "Number": ("number", False),
    "Number, last first": ("number", True),
    "End date": ("ends_on", False),
    "End date, last first": ("ends_on", True),
    "Forecast, highest first": ("forecast", True),
    "Forecast, lowest first": ("forecast", False),
    "Newest first": ("created", True),
    "Oldest first": ("created", False),
}
# The columns whose header orders the list; a second click turns the order round.
SORTED_BY = {"name": "name", "number": "number", "ends_on": "ends_on", "forecast": "forecast"}

_AVERAGE = "Average price of an IP in {currency}: what today's IPs cost in a whole month, divided by them."


def draw(rows: list[Row], today: date, user: User, *, phase: str, currency: str) -> None:
    """The page of the list; a click on a row opens it, a click on a header orders by it."""
    order = st.session_state.customer_order
    ids = [row.id for row in rows]
    with session.reading() as conn:
        offered = customer_actions.offered(conn, ids, user)
    # Another list is another table: a cell that was clicked in the last one is not clicked in this.
    table = f"customers_{hash((tuple(ids), order))}"
    ui.table(
        [cells(row) | {ACTIONS: offered[row.id]} for row in rows],
        columns(phase, today, currency, menus=offered),
        key=table,
        alt=f"{customer_form.PHASES[phase]} customers. The box “Open” below opens one without the mouse.",
        on_select=partial(_clicked, table, ids),
        selection_mode=["single-cell", "single-column"],
    )


def cells(row: Row) -> dict[str, Any]:
    """What stands in a customer's row."""
    return {
        "name": row.name,
        "email": row.contact_email or ui.NOTHING,
        "number": row.number,
        "status": [ui.word(row.status)],
        "mode": customer_fields.SERVICE_MODES[row.service_mode].removesuffix(" service"),
        "internal": ui.number(row.ips_internal),
        "external": ui.number(row.ips_external),
        "price": ui.money(row.average_ip_price),
        "payment": customer_fields.PAYMENT_METHODS[row.payment_method].removeprefix("SEPA ").capitalize(),
        "forecast": "no price" if row.unpriced else ui.money(row.forecast),
        "ends_on": ui.day(row.ends_on),
    }


def columns(
    phase: str, today: date, currency: str, *, menus: Mapping[int, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The columns by their names; with `menus` also the one of what each customer offers."""
    by, descending = ORDERS[st.session_state.customer_order]

    def headed(label: str, column: str) -> str:
        return f"{label} {'↓' if descending else '↑'}" if SORTED_BY.get(column) == by else label

    found = {
        "name": ui.text_column(headed("Customer", "name"), width=198, pinned=True),
        **({} if menus is None else {ACTIONS: customer_actions.column(menus)}),
        "email": ui.text_column("Contact e-mail", width=108),
        "number": ui.text_column(headed("Number", "number"), width=70),
        "status": ui.state_column("Status", customer_statuses.STATUSES, width=90),
        "mode": ui.text_column("Service", width=86),
        "internal": ui.figure_column("IPs int.", width=58, help="IPs internal"),
        "external": ui.figure_column("IPs ext.", width=60, help="IPs external"),
        "price": ui.figure_column("Avg. IP", width=58, help=_AVERAGE.format(currency=currency)),
        "payment": ui.text_column("Payment", width=98),
        "forecast": ui.figure_column(
            headed(f"{today:%b} {currency}", "forecast"),
            width=80,
            help=f"Net forecast of {ui.month(today)}, {ui.WITHOUT_PREPAID}.",
        ),
        "ends_on": ui.figure_column(headed("Ends", "ends_on"), width=86, help="The last charged day."),
    }
    return found if phase == "billed" else {name: shown for name, shown in found.items() if name != "forecast"}


def counted(count: int) -> str:
    """1,234, or 10,000+ where counting stopped."""
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


def first_page() -> None:
    """Begin with the first page again; another list is another count of pages."""
    st.session_state.customer_page = 1


def _clicked(table: str, ids: list[int]) -> None:
    """A cell opens its customer, one of the forecast what that is made of; a header orders the list."""
    selection = st.session_state[table].selection
    if selection.cells and selection.cells[0][1] == ACTIONS:
        return  # its own button's click, which comes beside this one
    if selection.cells:
        row, column = selection.cells[0]
        open_one(ids[row], tab="Forecast" if column == "forecast" else None)
    elif selection.columns and selection.columns[0] in SORTED_BY:
        column = SORTED_BY[selection.columns[0]]
        before, descending = ORDERS[st.session_state.customer_order]
        wanted = not descending if column == before else column == "forecast"
        st.session_state.customer_order = next(label for label, order in ORDERS.items() if order == (column, wanted))
        first_page()


def open_one(customer_id: int, *, tab: str | None = None) -> None:
    """Go to a customer's page, on one of its tabs."""
    st.switch_page("customer.py", query_params={"id": str(customer_id)} | ({"tab": tab} if tab else {}))
