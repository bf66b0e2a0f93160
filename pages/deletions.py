"""Deleted customers: marked, erased, settled; and our own duties that nobody has signed off (rows G12, N10)."""

from functools import partial

import streamlit as st

from lib import deletions, settings
from lib.auth import Permission
from lib.deletions import Deletion
from pages.shared import customer_deletion, session, ui

PAGE = 25
STATES = ("marked", "erased", "settled")

user = session.require_user(Permission.READ)


def _clicked(ids: list[int]) -> None:
    cells = st.session_state.deletions_table.selection.cells
    if cells:
        _open(ids[cells[0][0]])


def _picked() -> None:
    if st.session_state.open_deletion is not None:
        _open(st.session_state.open_deletion)


def _open(customer_id: int) -> None:
    st.switch_page("customer.py", query_params={"id": str(customer_id), "tab": "Deletion"})


def draw_duties(zone: str) -> None:
    """The open duties of all erasures, the oldest first."""
    with session.reading() as conn:
        duties = deletions.all_open_duties(conn)
    if not duties:
        return
    st.subheader("Our own duties", anchor=False)
    st.caption("What nothing here can do for us. Each stays open until somebody signs it off.")
    for duty in duties:
        customer_deletion.draw_duty(duty, zone=zone, may_sign=user.may(Permission.DELETE_CUSTOMERS), named=True)


def draw_list(zone: str) -> None:
    """The deletions, those with open duties first; a click opens the record."""
    number = max(1, st.session_state.get("deletions_page") or 1)
    with session.reading() as conn:
        found, total = deletions.page(conn, limit=PAGE, offset=(number - 1) * PAGE)
    st.subheader("Deleted customers", anchor=False)
    if not found:
        ui.empty("No customer is deleted or marked for deletion.", icon=":material/auto_delete:")
        return
    ids = [one.customer_id for one in found]
    columns = {
        "name": ui.text_column("Customer", width=240, pinned=True),
        "number": ui.text_column("Number", width=80),
        "state": ui.state_column("State", STATES, width=150),
        "by": ui.text_column("Deleted by", width=140),
        "marked": ui.figure_column("Marked", width=140),
        "erased": ui.figure_column("Erased", width=170),
        "duties": ui.figure_column("Open duties", width=90),
    }
    ui.table(
        [_row(one, zone) for one in found], columns, key="deletions_table", on_select=partial(_clicked, ids),
        alt="Deleted customers, those with open duties first; the box below opens one without the mouse",
        selection_mode="single-cell",
    )  # fmt: skip
    names = {one.customer_id: f"{one.name} · {one.number}" for one in found}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.selectbox(
            "Open a deleted customer", ids, index=None, key="open_deletion", placeholder="Open …", width=300,
            format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked,
        )  # fmt: skip
        if total > PAGE:
            st.space("stretch")
            st.pagination(-(-total // PAGE), key="deletions_page")


def _row(one: Deletion, zone: str) -> dict[str, object]:
    erased = ui.moment(one.erased_at, zone) if one.erased_at else f"from {ui.moment(one.due_at, zone)}"
    return {
        "name": one.name,
        "number": one.number,
        "state": [ui.word(one.state)],
        "by": one.requested_by,
        "marked": ui.moment(one.requested_at, zone),
        "erased": "failed, tried again" if one.last_error else erased,
        "duties": ui.number(one.open_duties) if one.erased_at else ui.NOTHING,
    }


def draw() -> None:
    """What is left to do, then all deletions."""
    with session.reading() as conn:
        zone = settings.company(conn).timezone
    st.title("Deletions", anchor=False)
    draw_duties(zone)
    draw_list(zone)


draw()
