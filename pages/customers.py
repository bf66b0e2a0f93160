"""The customers: test or billed, searched, filtered, ordered, exported, and a new one added (rows N2–N5, G1, G13)."""

from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from lib import (
    clock,
    customer_exports,
    customer_fields,
    customer_lists,
    customer_statuses,
    periods,
    quota_warnings,
    settings,
)
from lib.auth import Permission
from lib.customer_filters import Filters
from lib.customer_lists import MOST_COUNTED, Listing
from pages.shared import (
    customer_actions,
    customer_bulk,
    customer_deletion,
    customer_table,
    new_customer,
    session,
    ui,
)
from pages.shared.customer_form import DAY, PHASES
from pages.shared.customer_table import ORDERS, counted, first_page, open_one

PAGE = 25

user = session.require_user(Permission.READ)


# ---------------------------------------------------------------------------------- what the clicks do


def _picked() -> None:
    if st.session_state.open_customer is not None:
        open_one(st.session_state.open_customer)


def _clear() -> None:
    for name in ("payment", "mode", "status", "warning", "tag"):
        st.session_state[f"customer_{name}"] = []
    st.session_state.customer_search = ""
    st.session_state.customer_until = None
    first_page()


# ---------------------------------------------------------------------------------- the list


def draw_filters() -> Filters:
    """The filters above the list; they stand in the URL."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": first_page}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="customer_search", type="search", live="300ms", max_chars=200, width=225,
            placeholder="Name, contact, number, VAT ID", **bound,
        )  # fmt: skip
        statuses = st.multiselect(
            "Status",
            customer_statuses.STATUSES,
            format_func=ui.word,
            key="customer_status",
            placeholder="All",
            width=165,
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
    ends_until = st.date_input("Ends on or before", value=None, key="customer_until", format=DAY, **bound)
    with session.reading() as conn:
        known = customer_lists.tags(conn)
    tags = st.multiselect("Tag", known, key="customer_tag", placeholder="All", **bound)
    return warned, ends_until, tags


def draw_paging(listing: Listing, phase: str, number: int) -> None:
    """Which customers of how many are shown, a box that opens one by keyboard, and the pages."""
    first, total = (number - 1) * PAGE + 1, listing.counts[phase]
    with st.container(horizontal=True, vertical_alignment="center"):
        what = "customer" if total == 1 else "customers"
        st.caption(f"{first:,}–{first + len(listing.rows) - 1:,} of {counted(total)} {what}", width="content")
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
    new_customer.open_created()
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
        new_customer.open_new(today)
    customer_deletion.draw_open_duties()
    tabs = st.container()
    filters = draw_filters()
    narrowed = replace(filters, phase=phase)
    number = page_number()
    listing = read(narrowed, today, number)
    if not listing.rows and number > 1:
        first_page()
        number, listing = 1, read(narrowed, today, 1)
    with tabs:
        st.segmented_control(
            "Kind of customer", list(PHASES), key="customer_phase", required=True, label_visibility="collapsed",
            format_func=lambda one: f"{PHASES[one]} {counted(listing.counts[one])}", on_change=first_page,
        )  # fmt: skip
    if phase != st.query_params.get("phase", "billed"):
        st.query_params["phase"] = phase
    if listing.rows:
        draw_export(narrowed, export_slot)
        if user.may(Permission.EDIT_CUSTOMERS):
            customer_bulk.draw_switch(narrowed, listing, today)
        draw_list = customer_bulk.draw_choice if st.session_state.get("customer_several") else customer_table.draw
        draw_list(listing.rows, today, user, phase=phase, currency=company.currency)
        draw_paging(listing, phase, number)
    else:
        draw_nothing(filters, phase, listing, first_open=first_open)


draw()
