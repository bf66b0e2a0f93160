"""Tabs of a page: the open one is drawn, and out of sight those that were typed into.

Streamlit forgets what is typed into a form that isn't drawn.
"""

from collections.abc import Callable, Container, Mapping

import streamlit as st

from pages.shared import forms, session


def draw(
    sections: Mapping[str, Callable[[], None]], *, key: str, typed_into: Container[str], of: object = None
) -> None:
    """The sections by name, the open one in the address.

    Those of `typed_into` are drawn on once they were open, until the page shows another `of`.
    """
    tabs = st.tabs(list(sections), key=key, bind="query-params")
    opened = session.tabs_opened(of)
    for tab, (name, section) in zip(tabs, sections.items(), strict=True):
        if tab.open:
            opened.add(name)
            with tab, st.spinner("Reading …"):
                section()
        elif name in opened and name in typed_into:
            with tab, forms.out_of_sight():
                section()
