"""One import, looked up: how far it is, or what it did (row B11)."""

import streamlit as st

from lib import imports
from lib.auth import Permission
from lib.imports import Import
from pages.shared import session, ui

STATES = ("queued", "running", "applied", "failed", "withdrawn")


def draw(found: Import, *, zone: str) -> None:
    """The import; while it is not over, it is looked at every second."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"Import of {found.label.lower()}", anchor=False, width="content")
        if found.over:
            ui.badge(found.state)
    if not found.over:
        _watch(found.id, zone)
    if found.state == "failed":
        st.error(ui.escaped(found.last_error), icon=":material/error:")
        with st.container(horizontal=True):
            st.button(
                "Try again", key="import_again", icon=":material/replay:", on_click=session.click,
                args=(imports.retry, found.id), kwargs={"success": "The import is started again within seconds."},
            )  # fmt: skip
            _discard_button(found)
    _draw_facts(found, zone)


@st.fragment(run_every=1.0)
def _watch(import_id: int, zone: str) -> None:
    """The progress. It runs without the page around it, so it asks who is there itself."""
    person = session.current_user()
    if person is None or person.unready or not person.may(Permission.EDIT_CUSTOMERS):
        st.rerun()
    with session.reading() as conn:
        found = imports.import_(conn, import_id)
    if found.over:
        st.rerun()
    ui.badge(found.state)
    if found.state == "running":
        _draw_running(found)
        return
    st.progress(0.0, text="Waiting for the worker …")
    if found.waiting:
        st.warning(
            f"No worker has taken this up since {ui.moment(found.due_at, zone)}. An admin starts one by "
            "`python -m lib work`; the import waits until then, and you need not stay on this page.",
            icon=":material/hourglass_disabled:",
        )
    if found.last_error:
        st.warning(ui.escaped(f"The last attempt failed, the next one follows: {found.last_error}"))
    _discard_button(found)


def _draw_running(found: Import) -> None:
    text = f"{found.done_rows:,} of {found.rows:,} rows" if found.done_rows else f"Checking {found.rows:,} rows …"
    st.progress(min(1.0, found.done_rows / max(1, found.rows)), text=text)
    st.caption("All of it or nothing: what is done shows once the last row is. You need not stay on this page.")


def _discard_button(found: Import) -> None:
    st.button(
        "Discard", key="import_discard", icon=":material/delete:", on_click=session.click,
        args=(imports.discard, found.id), kwargs={"success": "The import is taken back, its file dropped."},
        help="Nothing was imported. The file is dropped; the entry stays in the list.",
    )  # fmt: skip


def _draw_facts(found: Import, zone: str) -> None:
    facts = {
        "File": found.file_name,
        "Uploaded": f"{ui.moment(found.created_at, zone)} by {found.created_by}",
        "Rows": ui.number(found.rows),
    }
    if found.state == "applied":
        facts |= {
            "Imported": ui.moment(found.applied_at, zone),
            "Added": ui.number(found.created),
            "Changed": ui.number(found.updated),
            "Unchanged": ui.number(found.unchanged),
        }
    ui.facts(facts, alt="The import")
    kept = "" if not found.over else " The file itself is not kept: it holds personal data."
    st.caption(f"SHA-256 of the file, which tells whether a copy of it is the same.{kept}")
    st.code(found.file_sha256.hex(), language=None)
