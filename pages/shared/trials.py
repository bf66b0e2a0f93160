"""Trying out what is outside of us (the mail server, Stripe): a click asks for it, the page does it once and shows how
it ended, until something is saved or asked for anew.

Between the click and the answer no transaction is open, and the note in the log is committed.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from lib.errors import BillingError
from pages.shared import ui


def forget(name: str) -> None:
    """Drop what the last trial said. For callbacks."""
    st.session_state.pop(_said(name), None)


def ask(name: str, trial: Any) -> None:
    """Have the page try this. For callbacks, once the trial is in the log."""
    st.session_state[_asked(name)] = trial


def carry_out(name: str, attempt: Callable[[Any], str], *, spinner: str) -> None:
    """Try what was asked for, if anything was, and keep what `attempt` returns or is refused with."""
    trial = st.session_state.pop(_asked(name), None)
    if trial is None:
        return
    with st.spinner(spinner):
        try:
            st.session_state[_said(name)] = (True, attempt(trial))
        except BillingError as refusal:
            st.session_state[_said(name)] = (False, str(refusal))


def draw(name: str, *, icon: str = ":material/check_circle:") -> None:
    """How the last trial ended; nothing before the first."""
    said = st.session_state.get(_said(name))
    if said is None:
        return
    worked, words = said
    if worked:
        st.success(ui.escaped(words), icon=icon)
    else:
        st.error(ui.escaped(words), icon=":material/error:")


def _asked(name: str) -> str:
    return f"{name}_trial_asked"


def _said(name: str) -> str:
    return f"{name}_trial_said"
