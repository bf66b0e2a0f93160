"""The audit log: who changed what, when, from what to what (row B10)."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lib import audit, settings, staff
from lib.audit import Entry
from lib.auth import Permission
from pages.shared import change_words, session, ui

PAGE = 50

user = session.require_user(Permission.READ_AUDIT)


def _to_first_page() -> None:
    st.session_state.audit_page = 1


def object_name(entry: Entry) -> str:
    """What was changed, and the customer to whom it belongs."""
    name = change_words.of(entry)
    return f"{name} · {entry.label}" if entry.label and entry.label != name else name


def draw_filters(people: Mapping[int, str]) -> dict[str, Any]:
    """The fields that narrow the log; they stand in the address, so that a view can be sent to a colleague."""
    with session.reading() as conn:
        types = audit.object_types(conn)
    shared: dict[str, Any] = {"bind": "query-params", "on_change": _to_first_page}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search",
            key="search",
            type="search",
            live="300ms",
            placeholder="Customer, number, product or action",
            width=240,
            **shared,
        )
        person = st.selectbox(
            "Person",
            list(people),
            index=None,
            format_func=lambda key: people.get(key, ""),
            key="person",
            placeholder="Everybody",
            width=180,
            **shared,
        )
        kind = st.selectbox(
            "Object",
            types,
            index=None,
            format_func=change_words.field,
            key="object",
            placeholder="Everything",
            width=180,
            **shared,
        )
        first = st.date_input("From", value=None, key="from", format="DD.MM.YYYY", width=150, **shared)
        last = st.date_input("To", value=None, key="to", format="DD.MM.YYYY", width=150, **shared)
    return {
        "search": (search or "").replace("\0", "")[:200],
        "person": person,
        "object_type": kind,
        "first_day": first,
        "last_day": last,
    }


def draw_entry(entry: Entry, zone: str) -> None:
    """One entry in a drawer, every value before and after."""

    @st.dialog("Audit entry", width="large", position="right", icon=":material/history:")
    def drawer() -> None:
        ui.facts(
            {
                "When": ui.moment(entry.at, zone),
                "Who": entry.person,
                "What": f"{change_words.field(entry.action)}: {object_name(entry)}",
                "Entry": str(entry.id),
            },
            alt="The entry",
        )
        draw_links(entry)
        if not entry.changes:
            ui.empty("This entry holds no values.", icon=":material/history:")
            return
        st.table(
            [
                {
                    "Field": session.escaped(change_words.field(name)),
                    "Before": session.escaped(change_words.value(before)),
                    "After": session.escaped(change_words.value(after)),
                }
                for name, (before, after) in entry.changes.items()
            ],
            border="horizontal",
            alt="What changed, before and after",
        )

    drawer()


def draw_links(entry: Entry) -> None:
    """Where to look at what was changed."""
    with st.container(horizontal=True):
        if entry.object_type == "invoice" and entry.name is not None:
            st.page_link(
                "invoice.py", label=change_words.of(entry), icon=":material/receipt_long:",
                query_params={"id": entry.object_id},
            )  # fmt: skip
        if entry.customer_id is not None:
            st.page_link(
                "customer.py", label=ui.escaped(entry.label), icon=":material/person:",
                query_params={"id": str(entry.customer_id)},
            )  # fmt: skip


def draw_table(entries: list[Entry], zone: str, key: str) -> None:
    """The entries of a page; a click opens one."""
    rows = [
        {
            "at": ui.moment(entry.at, zone),
            "person": entry.person,
            "action": change_words.field(entry.action),
            "object": object_name(entry),
            "changes": change_words.change(entry),
        }
        for entry in entries
    ]
    columns = {
        "at": ui.text_column("When", width=140),
        "person": ui.text_column("Who", width=120),
        "action": ui.text_column("Action", width=120),
        "object": ui.text_column("Object", width=260),
        "changes": ui.text_column("Before → after", width="large"),
    }
    event = ui.table(
        rows, columns, key=key, alt="Audit log, the newest first", on_select="rerun", selection_mode="single-cell"
    )
    cells = event.selection.cells
    if cells and st.session_state.get("audit_opened") != (key, cells[0]):
        st.session_state.audit_opened = (key, cells[0])
        draw_entry(entries[cells[0][0]], zone)
    elif not cells:
        st.session_state.pop("audit_opened", None)


def draw() -> None:
    """The page."""
    st.title("Audit log", anchor=False)
    st.caption("Who changed what, when, from what to what. Nobody can edit it.")
    with session.reading() as conn:
        people = {account.id: account.name for account in staff.accounts(conn)}
    filters = draw_filters(people)
    if filters["first_day"] and filters["last_day"] and filters["first_day"] > filters["last_day"]:
        st.warning("The first day lies after the last one. Change one of them.", icon=":material/date_range:")
        return
    page = int(st.session_state.get("audit_page", 1))
    with session.reading() as conn:
        zone = settings.company(conn).timezone
        entries, total = audit.entries(conn, **filters, limit=PAGE, offset=(page - 1) * PAGE)
    if not total:
        ui.empty("No entry matches these filters.", icon=":material/search_off:")
        return
    if not entries:  # The page is beyond the last one: something else was filtered meanwhile.
        _to_first_page()
        st.rerun()
    draw_table(entries, zone, key=f"audit_{page}_{abs(hash(tuple(filters.values())))}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{ui.number((page - 1) * PAGE + 1)}–{ui.number((page - 1) * PAGE + len(entries))} of {ui.number(total)}"
        )
        st.space("stretch")
        st.pagination(max(1, -(-total // PAGE)), key="audit_page")


draw()
