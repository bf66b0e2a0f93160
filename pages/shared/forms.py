"""Forms on stored rows: what was typed stays until it is saved, and a form knows which version it was drawn from.

The fields of a form are widgets with the keys `form_field`. Streamlit forgets them when they are
not drawn, which is how a form that is opened anew is told from one that a person is typing into.
What is typed into an `st.form` is known to the browser alone until it is sent: a form that may leave
sight before (on a tab) is drawn on there, and `begin` keeps it beside what is stored meanwhile.
No field has `max_chars`: the browser drops a longer paste without a word, and what stood there before
is saved. What saves refuses it in a sentence at the field.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from pages.shared import session

_LAST = "last_form"
_out_of_sight: ContextVar[bool] = ContextVar("_out_of_sight", default=False)


@contextmanager
def out_of_sight() -> Iterator[None]:
    """What is drawn in here nobody sees: forms take over what is stored meanwhile."""
    token = _out_of_sight.set(True)
    try:
        yield
    finally:
        _out_of_sight.reset(token)


def begin(form: str, values: Mapping[str, Any], *, version: int = 0) -> None:
    """Fill the fields of a form that is opened anew with what is stored; leave one that is being typed into.

    Out of sight, only those fields are left of which nothing else was stored meanwhile; a person who typed is told.
    """
    if all(_key(form, name) not in st.session_state for name in values):
        fill(form, values, version=version)
    elif _out_of_sight.get():
        _renew(form, values, version=version)
    if _key(form, "renewed") in st.session_state:
        st.info(
            "What is stored changed while another tab was open. The fields that changed show what is stored now, the "
            "others what you typed.", icon=":material/info:",
        )  # fmt: skip


def fill(form: str, values: Mapping[str, Any], *, version: int = 0) -> None:
    """Set the fields of a form, before they are drawn or in a callback."""
    for name, value in values.items():
        st.session_state[_key(form, name)] = value
    st.session_state[_key(form, "version")] = version
    st.session_state[_key(form, "filled")] = dict(values)
    for name in ("request", "renewed"):
        st.session_state.pop(_key(form, name), None)


def _renew(form: str, values: Mapping[str, Any], *, version: int) -> None:
    before = st.session_state[_key(form, "filled")]
    newer = {name: value for name, value in values.items() if value != before[name]}
    for name, value in newer.items():
        st.session_state[_key(form, name)] = value
    st.session_state[_key(form, "version")] = version
    st.session_state[_key(form, "filled")] = dict(values)
    if newer:
        st.session_state[_key(form, "renewed")] = True


def hide(form: str, names: Iterable[str]) -> None:
    """Leave out these fields, which are not drawn now: a save doesn't send them."""
    for name in names:
        st.session_state.pop(_key(form, name), None)


def show(form: str, names: Iterable[str]) -> None:
    """Take in fields that were hidden, with what the form was filled with. Before they are drawn."""
    filled = st.session_state[_key(form, "filled")]
    for name in names:
        st.session_state.setdefault(_key(form, name), filled[name])


def shown(form: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are not hidden. For callbacks."""
    return [name for name in names if _key(form, name) in st.session_state]


def version(form: str) -> int:
    """The version of the row that the form was filled from."""
    return int(st.session_state[_key(form, "version")])


def typed(form: str, names: Iterable[str]) -> dict[str, Any]:
    """What stands in these fields now. For callbacks."""
    return {name: st.session_state[_key(form, name)] for name in names}


def save(form: str, action: Callable[..., Any], *args: Any, success: str, **kwargs: Any) -> bool:
    """`session.attempt` for a form: a refusal shows at the fields of this form only."""
    sent(form)
    return session.attempt(action, *args, success=success, **kwargs)


def sent(form: str) -> None:
    """Note that this form is being saved: what is refused now belongs to its fields."""
    st.session_state[_LAST] = form


def error(form: str, field: str) -> None:
    """The sentence that belongs under a field of this form, if its last save was refused because of it."""
    if st.session_state.get(_LAST) == form:
        session.field_error(field)


def problem(message: str) -> None:
    """A sentence about something typed, below its field; nothing where it is empty."""
    if message:
        st.markdown(f":red[:material/error: {session.escaped(message)}]")


def request_key(form: str) -> UUID:
    """The key under which a form is saved: the same for all clicks on it, another one once it is filled anew."""
    stored: UUID = st.session_state.setdefault(_key(form, "request"), uuid4())
    return stored


def text(form: str, name: str, label: str, **options: Any) -> str:
    """A field of one line, with its refusal below."""
    with st.container(gap="xxsmall"):
        value = st.text_input(label, key=_key(form, name), **options)
        error(form, name)
    return value or ""


def block(form: str, name: str, label: str, **options: Any) -> str:
    """A field of several lines, with its refusal below."""
    with st.container(gap="xxsmall"):
        value = st.text_area(label, key=_key(form, name), **options)
        error(form, name)
    return value or ""


def choice(
    form: str, name: str, label: str, options: Iterable[Any], names: Callable[[Any], str] = str, **more: Any
) -> Any:
    """A field that takes one of several values, with its refusal below."""
    with st.container(gap="xxsmall"):
        chosen = st.selectbox(label, list(options), format_func=names, key=_key(form, name), **more)
        error(form, name)
    return chosen


def _key(form: str, name: str) -> str:
    return f"{form}_{name}"
