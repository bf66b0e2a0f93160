"""Work that takes seconds: confirmed in a dialog, done by the page's body with its steps shown, once per dialog.

A dialog's button only notes what is wanted. The page calls `run` at its top, does it there and starts
anew. The note goes when the work has ended: a run that is broken off (a click elsewhere, and the
transaction is undone) begins again, and the second click of a double click finds the work done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from pages.shared import session

_WANTED, _DONE, _REPORT = "work_wanted", "work_done", "work_report"


@dataclass(frozen=True)
class Job:
    """One write: what it is called while it runs, the function of lib, what to say when it is done.

    With `steps` the function is given `progress`, which shows each step. `name` finds its result in `report`.
    """

    name: str
    title: str
    success: str
    action: Callable[..., Any]
    args: tuple[Any, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    steps: bool = False


def ask(title: str, explanation: str, button: str, job: Job, *, icon: str | None = None) -> None:
    """Open a dialog that says what will happen; its button has it done. `explanation` is markdown."""
    key = uuid4()

    @st.dialog(title, icon=icon)
    def asked() -> None:
        if _WANTED in st.session_state:
            st.rerun()
        st.markdown(explanation)
        st.button(button, key="work_go", type="primary", on_click=_want, args=(key, job))

    asked()


def run() -> None:
    """Do what a dialog was told to do, if anything. Call it below the page's title, before reading data."""
    wanted = st.session_state.get(_WANTED)
    if wanted is None:
        return
    key, job = wanted
    with st.status(job.title, expanded=True):
        steps = {"progress": st.text} if job.steps else {}
        done = session.attempt(job.action, *job.args, success=job.success, **job.given, **steps)
    st.session_state[_DONE] = key
    st.session_state[_REPORT] = (job.name, session.result()) if done else None
    del st.session_state[_WANTED]
    st.rerun()


def report(name: str) -> Any:
    """What the last work returned, if it was of this name; stays until the next work or `forget`."""
    found = st.session_state.get(_REPORT)
    return found[1] if found and found[0] == name else None


def forget() -> None:
    """Drop the last report. For callbacks."""
    st.session_state.pop(_REPORT, None)


def _want(key: UUID, job: Job) -> None:
    if st.session_state.get(_DONE) != key:
        st.session_state[_WANTED] = (key, job)
