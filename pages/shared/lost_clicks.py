"""A click on what is gone, such as the other half of a double click whose dialog has just led to another page.

Streamlit answers it with an empty run of the page on which the dialog was, and leaves the browser blank.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st
from streamlit.errors import FragmentStorageKeyError
from streamlit.runtime.scriptrunner import get_script_run_ctx

_HERE = "page_that_is_open"


def draw_instead(page: st.Page) -> None:
    """Let such a click draw this page again, which is open now, with the address that it has."""
    st.session_state[_HERE] = page, {name: st.query_params.get_all(name) for name in st.query_params}
    context = get_script_run_ctx()
    assert context
    storage: Any = context.fragment_storage
    if "lookup" not in vars(storage):  # there is one for each visitor
        storage.lookup = partial(_found, storage.lookup)


def _found(lookup: Callable[[str], Callable[[], Any]], fragment_id: str) -> Callable[[], Any]:
    try:
        return lookup(fragment_id)
    except FragmentStorageKeyError:
        return _draw_again


def _draw_again() -> None:
    page, address = st.session_state[_HERE]
    st.switch_page(page, query_params=address)
