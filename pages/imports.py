"""Imports: a file is checked and previewed, then imported whole or not at all; the earlier ones (row B11)."""

import math
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import imports, settings
from lib.auth import Permission
from lib.errors import BillingError
from lib.imports import Import, Report
from pages.shared import import_form, import_progress, import_report, session, ui
from pages.shared.import_form import Chosen

PAGE = 25
_REPORT, _REQUEST, _GO_TO = "import_report", "import_request", "import_to_open"

user = session.require_user(Permission.EDIT_CUSTOMERS)


# ---------------------------------------------------------------------------------- what the clicks do


def _queue(chosen: Chosen, rows: int, request_key: UUID) -> None:
    done = session.attempt(
        imports.queue, chosen.kind, file_name=chosen.file_name, content=chosen.content, reading=chosen.reading,
        rows=rows, request_key=request_key, success="The file is handed to the worker.",
    )  # fmt: skip
    if done:
        st.session_state[_GO_TO] = session.result()
        st.session_state.pop(_REPORT, None)
        import_form.forget()


def _clicked(ids: list[int]) -> None:
    cells = st.session_state.imports_table.selection.cells
    if cells:
        _open(ids[cells[0][0]])


def _picked() -> None:
    if st.session_state.import_picked is not None:
        _open(st.session_state.import_picked)


def _open(import_id: int) -> None:
    st.switch_page("imported.py", query_params={"id": str(import_id)})


# ---------------------------------------------------------------------------------- the parts of the page


def draw_new(currency: str) -> None:
    """The form, what the check of its file says, and the button that imports it."""
    chosen = import_form.draw()
    if chosen is None:
        return
    try:
        report = _checked(chosen)
    except BillingError as refused:
        st.error(ui.escaped(str(refused)), icon=":material/error:")
        return
    import_report.draw(report, currency=currency)
    with session.reading() as conn:
        earlier = imports.same_file(conn, chosen.kind, chosen.content)
    if earlier is not None:
        st.info(ui.escaped(imports.already(earlier)), icon=":material/content_copy:")
    elif report.changing and not report.fault_count:
        request = st.session_state.setdefault(_REQUEST, (chosen.key, uuid4()))
        if request[0] != chosen.key:
            request = st.session_state[_REQUEST] = (chosen.key, uuid4())
        many = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
        st.button(
            f"Import {many}", key="import_go", type="primary", icon=":material/upload:", on_click=_queue,
            args=(chosen, report.rows, request[1]),
        )  # fmt: skip


def _checked(chosen: Chosen) -> Report:
    """The check of this file read this way, done once: it takes seconds for 100,000 rows."""
    today = session.today()
    kept = st.session_state.get(_REPORT)
    if kept is None or kept[0] != (chosen.key, today):
        with st.spinner("Checking all rows …"), session.reading() as conn:
            sheet, _ = imports.opened(chosen.content, chosen.kind, form=chosen.reading.form)
            report = imports.check(conn, chosen.kind, sheet, chosen.reading, today=today, user=user)
        kept = st.session_state[_REPORT] = ((chosen.key, today), report)
    found: Report = kept[1]
    return found


def draw_list(zone: str) -> None:
    """The earlier imports, the newest first; a click opens one."""
    number = max(1, st.session_state.get("imports_page") or 1)
    with session.reading() as conn:
        found, total = imports.page(conn, limit=PAGE, offset=(number - 1) * PAGE)
    st.subheader("Earlier imports", anchor=False)
    if not found:
        ui.empty("Nothing was imported yet.", icon=":material/upload_file:")
        return
    columns: dict[str, Any] = {
        "file": ui.text_column("File", width=200, pinned=True),
        "kind": ui.text_column("Holds", width=90),
        "state": ui.state_column("State", import_progress.STATES, width=90),
        "by": ui.text_column("By", width=110),
        "at": ui.figure_column("Uploaded", width=140),
        "rows": ui.figure_column("Rows", width=70),
        "created": ui.figure_column("Added", width=70),
        "updated": ui.figure_column("Changed", width=80),
        "unchanged": ui.figure_column("Unchanged", width=90),
        "hash": ui.text_column("SHA-256", width=90),
    }
    ids = [one.id for one in found]
    ui.table(
        [_row(one, zone) for one in found], columns, key="imports_table", on_select=partial(_clicked, ids),
        selection_mode="single-cell", alt="Imports, the newest first; the box below opens one without the mouse",
    )  # fmt: skip
    names = {one.id: f"{one.file_name}, {ui.moment(one.created_at, zone)}" for one in found}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.selectbox(
            "Open an import", ids, index=None, key="import_picked", placeholder="Open …", width=340,
            format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked,
        )  # fmt: skip
        st.space("stretch")
        if total > PAGE:
            st.pagination(math.ceil(total / PAGE), key="imports_page", max_visible_pages=5)


def _row(one: Import, zone: str) -> dict[str, Any]:
    applied = one.state == "applied"
    return {
        "file": one.file_name,
        "kind": one.label,
        "state": [ui.word(one.state)],
        "by": one.created_by,
        "at": ui.moment(one.created_at, zone),
        "rows": ui.number(one.rows),
        "created": ui.number(one.created if applied else None),
        "updated": ui.number(one.updated if applied else None),
        "unchanged": ui.number(one.unchanged if applied else None),
        "hash": one.file_sha256.hex()[:8],
    }


def draw() -> None:
    """The form, and the list; after a file was handed over, on to its import."""
    if _GO_TO in st.session_state:
        _open(st.session_state.pop(_GO_TO))
    with session.reading() as conn:
        company = settings.company(conn)
    st.title("Import", anchor=False)
    with st.container(border=True):
        draw_new(company.currency)
    draw_list(company.timezone)


draw()
