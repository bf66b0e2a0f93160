"""The customers: test or billed, searched, filtered, ordered, exported, and a new one added (rows N2–N5, G1, G13)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import streamlit as st

from lib import (
    bulk,
    clock,
    customer_exports,
    customer_fields,
    customer_lists,
    customer_statuses,
    customers,
    invites,
    mail_server,
    periods,
    quota_warnings,
    settings,
)
from lib.auth import Permission, User
from lib.customer_filters import Filters
from lib.customer_lists import MOST_COUNTED, Listing, Row
from lib.db import Connection
from pages.shared import customer_actions, customer_bulk, customer_deletion, customer_form, forms, session, ui
from pages.shared.customer_actions import ACTIONS

PAGE = 25
NEW = "new_customer"
_GO_TO, _MADE, _ALL = "customer_to_open", "customer_made", "customers_chosen"
PHASES = {"billed": "Billed", "test": "Test"}
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
FIRST_ORDER = next(iter(ORDERS))
# The columns whose header orders the list; a second click turns the order round.
SORTED_BY = {"name": "name", "number": "number", "ends_on": "ends_on", "forecast": "forecast"}

_AVERAGE = "Average price of an IP in {currency}: what today's IPs cost in a whole month, divided by them."

user = session.require_user(Permission.READ)


# ---------------------------------------------------------------------------------- what the clicks do


def _first_page() -> None:
    st.session_state.customer_page = 1


def _clicked(table: str, ids: list[int]) -> None:
    """A cell opens its customer, one of the forecast what that is made of; a header orders the list."""
    selection = st.session_state[table].selection
    if selection.cells and selection.cells[0][1] == ACTIONS:
        return  # its own button's click, which comes beside this one
    if selection.cells:
        row, column = selection.cells[0]
        _open(ids[row], tab="Forecast" if column == "forecast" else None)
    elif selection.columns and selection.columns[0] in SORTED_BY:
        column = SORTED_BY[selection.columns[0]]
        before, descending = ORDERS[st.session_state.customer_order]
        wanted = not descending if column == before else column == "forecast"
        st.session_state.customer_order = next(label for label, order in ORDERS.items() if order == (column, wanted))
        _first_page()


def _picked() -> None:
    if st.session_state.open_customer is not None:
        _open(st.session_state.open_customer)


def _open(customer_id: int, *, tab: str | None = None) -> None:
    st.switch_page("customer.py", query_params={"id": str(customer_id)} | ({"tab": tab} if tab else {}))


def _clear() -> None:
    for name in ("payment", "mode", "status", "warning", "tag"):
        st.session_state[f"customer_{name}"] = []
    st.session_state.customer_search = ""
    st.session_state.customer_until = None
    _first_page()


# ---------------------------------------------------------------------------------- a new customer


def _create(request_key: UUID) -> None:
    made = st.session_state.get(_MADE)
    if made is not None and made[0] == request_key:
        # The second click of a double click: it comes after the page has changed, and brings us back here.
        st.session_state[_GO_TO] = made[1]
        return
    asked_of_all = ("name", "service_mode", "contact_name", "contact_email", "country", "language")
    details = forms.typed(NEW, (*asked_of_all, *customer_form.LICENCE))
    asked = forms.typed(NEW, ("phase", "ends_on", "invite"))
    saved = forms.save(
        NEW,
        _created_and_invited if asked["invite"] else customers.create,
        details=details,
        billed=asked["phase"] == "billed",
        ends_on=asked["ends_on"],
        today=session.today(),
        request_key=request_key,
        success=f"{details['name'].strip()} is added.{_told_of_invite() if asked['invite'] else ''}",
    )
    if saved:
        st.session_state[_GO_TO] = session.result()
        st.session_state[_MADE] = (request_key, st.session_state[_GO_TO])


def _created_and_invited(conn: Connection, *, user: User, **given: Any) -> int:
    """Both or nothing: a customer whose contact can't be invited is not created."""
    created = customers.create(conn, user=user, **given)
    invites.invite_contact(conn, created, user=user)
    return created


def _told_of_invite() -> str:
    with session.reading() as conn:
        return " The invite is on its way." if mail_server.ready(conn) else " The invite waits for a mail server."


def _open_created() -> None:
    """Go on to the customer that was just added."""
    if _GO_TO in st.session_state:
        session.open_made("customer.py", st.session_state.pop(_GO_TO))


def open_new(today: date, phase: str) -> None:
    """Fill the form of a new customer anew and open it."""
    empty = {"name": "", "contact_name": "", "contact_email": "", "max_users": "", "users_beyond_max": False}
    empty |= {"invite": False, "service_mode": "managed"}
    start = {"phase": phase, "ends_on": today + customers.FOUR_WEEKS, "country": "DE", "language": "de"}
    forms.fill(NEW, empty | start)
    with session.reading() as conn:
        ready = mail_server.ready(conn)
    new_customer(ready=ready)


@st.dialog("New customer", width="medium", icon=":material/add:")
def new_customer(*, ready: bool) -> None:
    """The form for a new customer; opens its page once it is saved."""
    _open_created()
    session.close_or_explain()
    with st.form(NEW, border=False):
        forms.text(NEW, "name", "Company name", max_chars=200)
        left, right = st.columns(2)
        with left:
            forms.choice(NEW, "phase", "Kind of customer", PHASES, _explained)
        with right:
            customer_form.choice(NEW, "service_mode")
        customer_form.contact(NEW)
        customer_form.invitation(NEW, ready=ready)
        left, middle, right = st.columns(3)
        with left:
            st.date_input("End date", value=None, key=f"{NEW}_ends_on", format=customer_form.DAY)
            forms.error(NEW, "ends_on")
        with middle:
            customer_form.choice(NEW, "country")
        with right:
            customer_form.choice(NEW, "language")
        st.caption("The end date is the last charged day, or the last day of a test. Billed customers may have none.")
        customer_form.licence(NEW)
        st.form_submit_button(
            "Create customer", key="new_customer_go", type="primary", on_click=_create, args=(forms.request_key(NEW),)
        )


def _explained(phase: str) -> str:
    charged = {"billed": "charged from the current month", "test": "no charges at all"}
    return f"{PHASES[phase]}: {charged[phase]}"


# ---------------------------------------------------------------------------------- the list


def draw_filters() -> Filters:
    """The filters above the list; they stand in the URL."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": _first_page}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="customer_search", type="search", live="300ms", max_chars=200, width=225,
            placeholder="Name, number, contact, e-mail, VAT ID", **bound,
        )  # fmt: skip
        statuses = st.multiselect(
            "Status",
            customer_statuses.STATUSES,
            format_func=ui.word,
            key="customer_status",
            placeholder="All",
            width=130,
            **bound,
        )
        methods = st.multiselect(
            "Payment method", list(customer_fields.PAYMENT_METHODS), key="customer_payment",
            format_func=customer_fields.PAYMENT_METHODS.__getitem__, placeholder="All", width=145, **bound,
        )  # fmt: skip
        modes = st.multiselect(
            "Service mode", list(customer_fields.SERVICE_MODES), key="customer_mode", placeholder="All", width=135,
            format_func=lambda one: customer_fields.SERVICE_MODES[one], **bound,
        )  # fmt: skip
        with st.popover("More filters", key="customer_more", icon=":material/filter_list:"):
            warned, ends_until, tags = draw_more_filters(bound)
        st.selectbox("Order", list(ORDERS), key="customer_order", width=175, **bound)
    return Filters(
        None, search or "", tuple(methods), tuple(modes), tuple(statuses), tuple(warned), ends_until, tuple(tags)
    )


def draw_more_filters(bound: dict[str, Any]) -> tuple[list[str], date | None, list[str]]:
    """Those that are asked for less often."""
    warned = st.multiselect(
        "Quota warning", list(quota_warnings.LEVELS), key="customer_warning", placeholder="All",
        format_func=lambda one: quota_warnings.LEVELS[one], help="Of quotas, and of the day a licence expires.",
        **bound,
    )  # fmt: skip
    ends_until = st.date_input("Ends on or before", value=None, key="customer_until", format=customer_form.DAY, **bound)
    with session.reading() as conn:
        known = customer_lists.tags(conn)
    tags = st.multiselect("Tag", known, key="customer_tag", placeholder="All", **bound)
    return warned, ends_until, tags


def draw_table(rows: list[Row], today: date, *, phase: str, currency: str) -> None:
    """The page of the list; a click on a row opens it, a click on a header orders by it."""
    order = st.session_state.customer_order
    ids = [row.id for row in rows]
    if st.session_state.get("customer_several"):
        draw_choice(rows, today, phase=phase, currency=currency)
        return
    with session.reading() as conn:
        offered = customer_actions.offered(conn, ids, user)
    # Another list is another table: a cell that was clicked in the last one is not clicked in this.
    table = f"customers_{hash((tuple(ids), order))}"
    ui.table(
        [_cells(row) | {ACTIONS: offered[row.id]} for row in rows],
        _columns(phase, today, currency, menus=offered),
        key=table,
        alt=f"{PHASES[phase]} customers. The box “Open” below opens one without the mouse.",
        on_select=partial(_clicked, table, ids),
        selection_mode=["single-cell", "single-column"],
    )


def draw_choice(rows: list[Row], today: date, *, phase: str, currency: str) -> None:
    """The page of the list with boxes to choose several customers by."""
    ids = [row.id for row in rows]
    everybody = st.session_state.get(_ALL)
    if everybody is None:
        event = ui.table(
            [_cells(row) for row in rows],
            _columns(phase, today, currency),
            key=f"several_{hash(tuple(ids))}",
            alt=f"{PHASES[phase]} customers, with boxes to choose several",
            on_select="rerun",
            selection_mode="multi-row",
        )
        picked = [ids[place] for place in event.selection.rows]
    else:
        picked = everybody
        ui.table(
            [_cells(row) for row in rows], _columns(phase, today, currency), key="several_all_rows", alt="Customers"
        )
    customer_bulk.draw(picked, user)


def _choose_all(filters: Filters, today: date) -> None:
    with session.reading() as conn:
        st.session_state[_ALL] = customer_lists.chosen(conn, filters, today=today, limit=bulk.MOST)


def _choose_anew() -> None:
    st.session_state.pop(_ALL, None)


def draw_several(filters: Filters, listing: Listing, today: date) -> None:
    """The switch to choose several customers, and all that match at once."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Select several", key="customer_several", on_change=_choose_anew)
        if not st.session_state.customer_several:
            return
        total = listing.counts[filters.phase or "billed"]
        if st.session_state.get(_ALL) is not None:
            st.button("Choose by hand instead", key="several_anew", type="tertiary", on_click=_choose_anew)
        elif total > len(listing.rows):
            limited = f"all {counted(total)} that match" if total <= bulk.MOST else f"the first {bulk.MOST:,}"
            st.button(
                f"Select {limited}", key="several_all", type="tertiary", on_click=_choose_all, args=(filters, today)
            )


def _cells(row: Row) -> dict[str, Any]:
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


def _columns(
    phase: str, today: date, currency: str, *, menus: Mapping[int, Sequence[str]] | None = None
) -> dict[str, Any]:
    by, descending = ORDERS[st.session_state.customer_order]

    def headed(label: str, column: str) -> str:
        return f"{label} {'↓' if descending else '↑'}" if SORTED_BY.get(column) == by else label

    columns = {
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
            headed(f"{today:%b} {currency}", "forecast"), width=80, help=f"Net forecast of {ui.month(today)}."
        ),
        "ends_on": ui.figure_column(headed("Ends", "ends_on"), width=86, help="The last charged day."),
    }
    return columns if phase == "billed" else {name: shown for name, shown in columns.items() if name != "forecast"}


def counted(count: int) -> str:
    """1,234, or 10,000+ where counting stopped."""
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"


def draw_paging(listing: Listing, phase: str, number: int) -> None:
    """Which customers of how many are shown, a box that opens one by keyboard, and the pages."""
    first, total = (number - 1) * PAGE + 1, listing.counts[phase]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{first:,}–{first + len(listing.rows) - 1:,} of {counted(total)} customers", width="content")
        names = {row.id: f"{row.name} · {row.number}" for row in listing.rows}
        st.selectbox(
            "Open a customer", list(names), index=None, key="open_customer", placeholder="Open …", width=240,
            format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked,
        )  # fmt: skip
        st.space("stretch")
        pages = -(-min(total, MOST_COUNTED) // PAGE)
        if pages > 1:
            st.pagination(pages, key="customer_page", max_visible_pages=7, bind="query-params")


def draw_nothing(filters: Filters, phase: str, listing: Listing, *, first_open: date | None) -> None:
    """Why the list is empty, and what to do."""
    other = "test" if phase == "billed" else "billed"
    if filters != Filters():
        ui.empty(f"No {phase} customer matches.", icon=":material/search_off:")
        if listing.counts[other]:
            st.caption(f"{counted(listing.counts[other])} match under {PHASES[other]}.")
        st.button("Clear search and filters", key="clear", icon=":material/filter_alt_off:", on_click=_clear)
    elif first_open is None:
        ui.empty(f"No customer yet. {periods.NOT_SET_UP}")
    else:
        article = "A test customer has no charges." if phase == "test" else "A billed customer is charged every month."
        ui.empty(f"No {phase} customer yet. {article} Add one by “New customer”.")


def page_number() -> int:
    """The page that is wanted; before the pages are drawn for the first time, the one in the URL."""
    named = str(st.session_state.get("customer_page") or st.query_params.get("customer_page", "1"))
    return int(named) if named.isascii() and named.isdigit() and 0 < int(named) <= MOST_COUNTED else 1


def read(filters: Filters, today: date, number: int) -> Listing:
    """The page of the list and the counts of both tabs."""
    order, descending = ORDERS[st.session_state.customer_order]
    with st.spinner("Reading customers …"), session.reading() as conn:
        return customer_lists.listing(
            conn, filters, today=today, order=order, descending=descending, limit=PAGE, offset=(number - 1) * PAGE
        )


def draw_export(filters: Filters, slot: Any) -> None:
    """Links that download exactly what is filtered, streamed by the server's own route."""
    query = urlencode(customer_exports.named(filters))
    address, german = "/exports/customers.{}?" + query, f"/exports/customers.csv?{query}&german=1"
    options: dict[str, Any] = {"type": "tertiary"}
    with slot.popover("Export", icon=":material/download:", key="export"):
        st.caption("All customers that are filtered, on all pages.")
        st.link_button("CSV", address.format("csv"), icon=":material/csv:", key="export_csv", **options)
        st.link_button("CSV for German Excel", german, icon=":material/table_view:", key="export_german", **options)
        st.link_button("JSON", address.format("json"), icon=":material/data_object:", key="export_json", **options)


def draw() -> None:
    """The title, the tabs, the filters, the list."""
    _open_created()
    customer_actions.open_chosen(user)
    with session.reading() as conn:
        today, company, first_open = clock.today(conn), settings.company(conn), periods.open_month(conn)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Customers", anchor=False)
        st.space("stretch")
        export_slot = st.container(width="content")
        adding = user.may(Permission.EDIT_CUSTOMERS) and st.button(
            "New customer", key="new", type="primary", icon=":material/add:", disabled=first_open is None
        )
    if "customer_phase" not in st.session_state:
        named = st.query_params.get("phase")
        st.session_state.customer_phase = named if named in PHASES else "billed"
    phase: str = st.session_state.customer_phase
    if adding:
        open_new(today, "test")
    customer_deletion.draw_open_duties()
    tabs = st.container()
    filters = draw_filters()
    narrowed = replace(filters, phase=phase)
    number = page_number()
    listing = read(narrowed, today, number)
    if not listing.rows and number > 1:
        _first_page()
        number, listing = 1, read(narrowed, today, 1)
    with tabs:
        st.segmented_control(
            "Kind of customer", list(PHASES), key="customer_phase", required=True, label_visibility="collapsed",
            format_func=lambda one: f"{PHASES[one]} {counted(listing.counts[one])}", on_change=_first_page,
        )  # fmt: skip
    if phase != st.query_params.get("phase", "billed"):
        st.query_params["phase"] = phase
    if listing.rows:
        draw_export(narrowed, export_slot)
        if user.may(Permission.EDIT_CUSTOMERS):
            draw_several(narrowed, listing, today)
        draw_table(listing.rows, today, phase=phase, currency=company.currency)
        draw_paging(listing, phase, number)
    else:
        draw_nothing(filters, phase, listing, first_open=first_open)


draw()
