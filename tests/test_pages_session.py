"""`session.attempt`: what becomes of a click."""

from uuid import uuid4

import pytest
import streamlit as st

from lib import db, requests
from lib.auth import Role, User
from lib.db import Connection
from lib.errors import Invalid
from pages.shared import session
from tests import people

KEY = uuid4()


@pytest.fixture(autouse=True)
def signed_in(database: str, monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody is here, in a Streamlit session of this test alone."""
    with db.transaction() as conn:
        person = people.hire(conn)[Role.SALES]
    monkeypatch.setattr(session, "current_user", lambda: person)
    monkeypatch.setattr(st, "session_state", {})
    return person


def create(conn: Connection, name: str, *, user: User) -> str:
    requests.once(conn, KEY)
    if not name:
        raise Invalid("A name is required.", field="name")
    return f"{name}, by {user.name}"


def outcome() -> tuple[str, str]:
    kept = st.session_state["outcome"]
    return kept.kind, kept.message


def test_a_click_saves_and_says_so() -> None:
    assert session.attempt(create, "Ada", success="Ada is added.")
    assert session.result() == "Ada, by Samuel" and session.result() is None
    assert outcome() == ("success", "Ada is added.")


def test_a_double_click_saves_once_and_ends_well() -> None:
    assert session.attempt(create, "Ada", success="Ada is added.")
    assert not session.attempt(create, "Ada", success="Ada is added.")
    assert outcome() == ("success", "Ada is added.")


def test_a_refused_form_can_be_sent_again() -> None:
    assert not session.attempt(create, "")
    assert outcome() == ("error", "A name is required.")
    assert st.session_state["field_errors"] == {"name": "A name is required."}
    assert session.attempt(create, "Ada")
    assert outcome() == ("success", "Saved.") and "field_errors" not in st.session_state


def test_what_nobody_foresaw_is_logged_under_a_reference(caplog: pytest.LogCaptureFixture) -> None:
    def broken(conn: Connection, *, user: User) -> None:
        raise ZeroDivisionError("secret detail")

    assert not session.attempt(broken)
    kind, message = outcome()
    assert kind == "error" and "Nothing was saved" in message and "secret detail" not in message
    assert message.split()[-1].rstrip(".") in caplog.text
