"""Inputs for whole numbers: text, so that what can't be read is told in a sentence instead of being swallowed."""

from typing import Any

import streamlit as st

from lib import fields
from lib.errors import Invalid
from pages.shared import forms, session


def whole(
    label: str, *, key: str, field: str, name: str | None = None, highest: int = fields.MOST, **options: Any
) -> int | None:
    """The input with its refusal below. Returns the number, or None where there is none or it can't be read.

    `field` is what a refusal of the save names; `name` is how the sentence calls the number, the label unless given.
    """
    with st.container(gap="xxsmall"):
        st.text_input(label, key=key, **options)
        typed = str(st.session_state.get(key) or "").strip()
        number, refusal = _read(typed, field=field, label=name or label, highest=highest) if typed else (None, "")
        if refusal:
            forms.problem(refusal)
        else:
            session.field_error(field)
    return number


def typed_whole(key: str, *, field: str, name: str, highest: int = fields.MOST) -> int:
    """What stands in the input, for the function that saves it. Raises Invalid at its field."""
    return fields.whole(st.session_state.get(key) or "", field=field, label=name, highest=highest)


def _read(typed: str, *, field: str, label: str, highest: int) -> tuple[int | None, str]:
    try:
        return fields.whole(typed, field=field, label=label, highest=highest), ""
    except Invalid as refusal:
        return None, str(refusal)
