"""Changing several customers at once: choose them, choose the change, read what it does, then make it."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import streamlit as st

from lib import bulk, customer_exports, customer_fields, customer_lists, payment_methods
from lib.auth import Permission, User
from lib.bulk import Change, Kind, Plan
from lib.customer_filters import Filters
from lib.customer_lists import Listing, Row
from lib.errors import BillingError
from pages.shared import customer_form, forms, session, ui
from pages.shared.customer_form import PHASES
from pages.shared.customer_table import cells, columns, counted

FORM = "bulk"
LABELS = {
    Kind.PAYMENT_METHOD: "Set payment method",
    Kind.SERVICE_MODE: "Set service mode",
    Kind.ADD_TAG: "Add a tag",
    Kind.REMOVE_TAG: "Remove a tag",
    Kind.END_DATE: "Set end date",
    Kind.DEACTIVATE: "Deactivate",
}
# Names of customers that a sentence lists before it says how many more there are.
NAMED = 10
_KEY = "bulk_request"
# All that match, where somebody chose them at once.
_ALL = "customers_chosen"


def draw_switch(filters: Filters, listing: Listing, today: date) -> None:
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


def draw_choice(rows: list[Row], today: date, user: User, *, phase: str, currency: str) -> None:
    """The page of the list with boxes to choose several customers by."""
    ids = [row.id for row in rows]
    everybody = st.session_state.get(_ALL)
    if everybody is None:
        event = ui.table(
            [cells(row) for row in rows],
            columns(phase, today, currency),
            key=f"several_{hash(tuple(ids))}",
            alt=f"{PHASES[phase]} customers, with boxes to choose several",
            on_select="rerun",
            selection_mode="multi-row",
        )
        picked = [ids[place] for place in event.selection.rows]
    else:
        picked = everybody
        ui.table(
            [cells(row) for row in rows],
            columns(phase, today, currency),
            key="several_all_rows",
            alt="Customers",
        )
    _draw_changes(picked, user)


def _choose_all(filters: Filters, today: date) -> None:
    with session.reading() as conn:
        st.session_state[_ALL] = customer_lists.chosen(conn, filters, today=today, limit=bulk.MOST)


def _choose_anew() -> None:
    st.session_state.pop(_ALL, None)


def _draw_changes(chosen: Sequence[int], user: User) -> None:
    """What can be done with the chosen customers."""
    words = "1 customer is chosen." if len(chosen) == 1 else f"{len(chosen):,} customers are chosen."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(words if chosen else "Choose customers by the boxes on the left, then what to change.", width="content")
        st.space("stretch")
        kinds = [kind for kind in LABELS if kind is not Kind.DEACTIVATE or user.may(Permission.DEACTIVATE_CUSTOMERS)]
        kind = st.selectbox(
            "Change", kinds, format_func=LABELS.__getitem__, key="bulk_kind", label_visibility="collapsed", width=220
        )
        if chosen:
            _draw_export(chosen)
        if st.button("Continue", key="bulk_continue", disabled=not chosen):
            forms.fill(FORM, {"value": _empty(kind)})
            st.session_state[_KEY] = uuid4()
            _review(tuple(chosen), kind)


def _draw_export(chosen: Sequence[int]) -> None:
    """Links that download the chosen customers alone."""
    query = urlencode(customer_exports.named(Filters(ids=tuple(chosen))))
    with st.popover("Export these", icon=":material/download:", key="bulk_export"):
        for label, ending, more in (
            ("CSV", "csv", ""),
            ("CSV for German Excel", "csv", "&german=1"),
            ("JSON", "json", ""),
        ):
            st.link_button(label, f"/exports/customers.{ending}?{query}{more}", key=f"bulk_{label}", type="tertiary")


def _empty(kind: Kind) -> Any:
    choices = _choices(kind)
    if choices:
        return next(iter(choices))
    return None if kind is Kind.END_DATE else ""


def _choices(kind: Kind) -> dict[str, str]:
    if kind is Kind.PAYMENT_METHOD:
        with session.reading() as conn:
            return payment_methods.offered(conn)
    return customer_fields.SERVICE_MODES if kind is Kind.SERVICE_MODE else {}


@st.dialog("Change several customers", width="medium", icon=":material/checklist:")
def _review(chosen: tuple[int, ...], kind: Kind) -> None:
    session.close_or_explain()
    st.markdown(f"**{LABELS[kind]}**")
    _field(kind)
    change = Change(kind, st.session_state.get(f"{FORM}_value"))
    if kind in (Kind.ADD_TAG, Kind.REMOVE_TAG) and not (change.value or "").strip():
        return
    try:
        with session.reading() as conn:
            plan = bulk.plan(conn, chosen, change)
    except BillingError as refusal:
        forms.problem(str(refusal))
        return
    _draw_plan(plan, kind)
    count = len(plan.changes)
    label = f"Change {count:,} customer{'' if count == 1 else 's'}"
    st.button(label, key="bulk_go", type="primary", disabled=not count, on_click=_apply, args=(chosen, change, count))


def _field(kind: Kind) -> None:
    key = f"{FORM}_value"
    if choices := _choices(kind):
        st.selectbox("New value", list(choices), format_func=choices.__getitem__, key=key)
    elif kind is Kind.END_DATE:
        st.date_input("Last charged day (empty: none)", value=None, key=key, format=customer_form.DAY)
    elif kind is Kind.DEACTIVATE:
        st.text_area("Reason (optional)", key=key)
        st.caption("From today no day of theirs is charged, until they are activated again. All data are kept.")
    else:
        st.text_input("Tag", key=key)


def _draw_plan(plan: Plan, kind: Kind) -> None:
    names = [customer.name for customer in plan.changes]
    if names:
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        st.markdown(f"**Changes {len(names):,}:** {ui.escaped(', '.join(names[:NAMED]))}{more}.")
    else:
        st.markdown("**Changes nobody.**")
    if plan.unchanged:
        st.caption(f"Already so: {len(plan.unchanged):,}.")
    if plan.refused:
        st.markdown(f"**Can't be changed: {len(plan.refused):,}**")
        rows = [{"customer": one.customer.name, "why": one.why} for one in plan.refused]
        columns = {"customer": ui.text_column("Customer"), "why": ui.text_column("Why", width="large")}
        ui.table(rows, columns, key=f"bulk_refused_{kind}", alt="Customers that can't be changed, and why", height=200)


def _apply(chosen: tuple[int, ...], change: Change, count: int) -> None:
    session.attempt(
        bulk.apply, chosen, change, today=session.today(), request_key=st.session_state[_KEY],
        success=f"{count:,} customer{' is' if count == 1 else 's are'} changed.",
    )  # fmt: skip
