"""What the month close shows before a month is approved: totals, deadline, exceptions."""

from datetime import date

import streamlit as st

from lib import clock, close_previews, issuing
from lib.close_previews import BLOCKING, EXCEPTIONS, Preview
from pages.shared import explain, session, ui

PAGE = 25
# Where a click is kept that leads to another page, a customer or a product's name and month; the page goes there.
CUSTOMER, PRODUCT = "close_customer", "close_product"
BLOCKS = ": blocks the close until it has a price"
_COLOURS = {
    "no_price": "red",
    "no_address": "orange",
    "no_vat_decision": "orange",
    "change": "blue",
    "over_licence": "violet",
}


def draw_deadline(month: date, waiting: int, today: date) -> None:
    """Reverse-charge documents that are `waiting` have a day until which they must be issued."""
    if waiting:
        deadline = issuing.reverse_charge_deadline(month)
        many = "1 document of this month is" if waiting == 1 else f"{waiting:,} documents of this month are"
        late = " **That day has passed.**" if today > deadline else ""
        st.warning(
            f"{many} under reverse charge and must be issued by **{ui.day(deadline)}** (§ 14a (1) UStG).{late}",
            icon=":material/schedule:",
        )


def draw_totals(preview: Preview, currency: str) -> None:
    """The month in figures, and by product against the month before."""
    change = preview.net - preview.previous_net
    with st.grid(4, gap="small"):
        st.metric(
            f"Net ({currency})", ui.money(preview.net), f"{change:+,.2f}" if preview.previous_net else None,
            delta_description="vs. month before", border=True, height="stretch",
        )  # fmt: skip
        st.metric("Documents", f"{preview.documents:,}", border=True, height="stretch")
        st.metric("Credit notes", f"{preview.credit_notes:,}", border=True, height="stretch")
        st.metric("Nothing to bill", f"{preview.without_charges:,}", border=True, height="stretch")
    if not preview.by_product:
        ui.empty("Nothing is booked in this month.")
        return
    rows = [
        {
            "product": one.name,
            "charges": f"{one.charges:,}",
            "amount": ui.money(one.amount),
            "previous": ui.money(one.previous),
            "change": ui.signed(None if one.amount is None else one.amount - one.previous),
        }
        for one in preview.by_product
    ]
    columns = {
        "product": ui.text_column("Product", width="medium", pinned=True),
        "amount": ui.figure_column(f"Net ({currency})", width=130),
        "previous": ui.figure_column("Month before", width=130),
        "change": ui.figure_column("Change", width=130),
        "charges": ui.figure_column("Charges", width=90),
    }
    with st.container(border=True):
        st.subheader("By product", anchor=False)
        names = [one.name for one in preview.by_product]
        ui.table(
            rows, columns, key="by_product", alt="Net amounts of the month by product, against the month before",
            on_select=lambda: _open_product(names, preview.month), selection_mode="single-cell",
        )  # fmt: skip
        st.caption("A click opens what an amount is the sum of, by customer, in the Cost Overview.")


def draw_exceptions(preview: Preview, today: date, currency: str) -> None:
    """What a person should look at before the month is approved, by kind; a click opens the customer."""
    kinds = [kind for kind in EXCEPTIONS if preview.exceptions.get(kind)]
    with st.container(border=True):
        st.subheader("Exceptions", anchor=False)
        if not kinds:
            ui.empty("Nothing unusual was found.", icon=":material/task_alt:")
            return
        kind = st.pills(
            "Kind", kinds, format_func=lambda one: f"{EXCEPTIONS[one]} ({preview.exceptions[one]:,})",
            key="exception_kind", label_visibility="collapsed", on_change=_first_page,
        )  # fmt: skip
        total = preview.exceptions[kind] if kind else sum(preview.exceptions.values())
        pages = max(1, -(-total // PAGE))
        number = min(max(1, st.session_state.get("exception_page") or 1), pages)
        with session.reading() as conn:
            found = close_previews.exceptions(
                conn, preview.month, today=today, kind=kind, limit=PAGE, offset=(number - 1) * PAGE
            )
        rows = [
            {
                "kind": [EXCEPTIONS[one.kind]],
                "number": one.number,
                "name": one.name,
                "detail": one.detail[:1].upper() + one.detail[1:] + (BLOCKS if one.kind in BLOCKING else ""),
                "amount": ui.money(one.amount),
            }
            for one in found
        ]
        colours = [_COLOURS.get(one, "gray") for one in EXCEPTIONS]
        columns = {
            "kind": st.column_config.MultiselectColumn(
                "Exception", options=list(EXCEPTIONS.values()), color=colours, width=150
            ),
            "name": ui.text_column("Customer", width="medium"),
            "number": ui.text_column("Customer no.", width=100),
            "detail": ui.text_column("What", width="large"),
            "amount": ui.figure_column(f"Net ({currency})", width=110),
        }
        ids = [one.customer_id for one in found]
        ui.table(
            rows, columns, key=f"exceptions_{hash(tuple(ids))}", alt="Exceptions of the month by kind and customer",
            on_select=lambda: _open_customer(ids, preview.month), selection_mode="single-cell",
        )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("A click on an amount says how it came about, one elsewhere on the line opens the customer.")
            if pages > 1:
                st.space("stretch")
                st.pagination(pages, key="exception_page", max_visible_pages=5)


def _first_page() -> None:
    st.session_state.exception_page = 1


def _open_customer(ids: list[int], month: date) -> None:
    cells = st.session_state[f"exceptions_{hash(tuple(ids))}"].selection.cells
    if not cells:
        return
    row, column = cells[0]
    if column == "amount":
        explain.ask(ids[row], None, month)
    else:
        st.session_state[CUSTOMER] = ids[row]


def _open_product(names: list[str], month: date) -> None:
    cells = st.session_state.by_product.selection.cells
    if cells:
        row, column = cells[0]
        st.session_state[PRODUCT] = (names[row], clock.next_month(month, by=-1) if column == "previous" else month)
