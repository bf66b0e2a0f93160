"""What every page of the portal needs: which customer's user is here, and `attempt` to write as them.

The person comes from the database at every run and every click. How a click ended is kept and shown as on the
staff's site (`pages/shared/session.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, NoReturn
from urllib.parse import urlsplit

import streamlit as st

from lib import clock, db, portal_scope, portal_sessions, settings
from lib.auth import PortalUser
from lib.errors import NotAllowed
from pages.shared import session as outcomes
from pages.shared import sign_in
from pages.shared.serving import PORTAL

DESK = sign_in.Desk("E-mail", portal_sessions.WRONG, portal_sessions.claim, portal_sessions.ticket)


@contextmanager
def reading() -> Iterator[db.Connection]:
    """A connection to read with, which sees the rows of the customer of who is signed in; a stranger sees nobody's."""
    with db.transaction() as conn:
        portal_scope.enter_by(conn, "session", token() or "")
        yield conn


def token() -> str | None:
    """The secret in this browser's session cookie."""
    return st.context.cookies.get(PORTAL.of_session(_scheme()))


def current_user() -> PortalUser | None:
    """Who is signed in here now, looked up anew."""
    with db.transaction() as conn:
        return portal_sessions.user_of(conn, token())


def require_user() -> PortalUser:
    """The first statement of every page that shows a customer's data: who is signed in. Else the run ends here."""
    user = current_user()
    if user is None:
        _sign_in()
    return user


def today() -> date:
    """Today in the time zone of the company that serves."""
    with reading() as conn:
        return clock.today(conn)


def address() -> str:
    """Where the request comes from, for counting attempts."""
    return st.context.ip_address or "this machine"


def attempt(action: Callable[..., Any], *args: Any, success: str = "Saved.", **kwargs: Any) -> bool:
    """Do one write as the person who is here: `action(conn, *args, user=…, **kwargs)`, all of it or nothing."""

    def act() -> Any:
        user = current_user()
        if user is None:
            raise NotAllowed("You are signed out. Nothing was saved; sign in and do it again.")
        with db.transaction() as conn:
            portal_scope.enter(conn, user.customer_id)
            return action(conn, *args, user=user, **kwargs)

    return outcomes.carry_out(act, name=action.__qualname__, success=success)


def attempt_as_stranger(action: Callable[..., Any], *args: Any, success: str, **kwargs: Any) -> bool:
    """Do one write for somebody who isn't signed in: by a link from a mail, say."""

    def act() -> Any:
        with db.transaction() as conn:
            return action(conn, *args, **kwargs)

    return outcomes.carry_out(act, name=action.__qualname__, success=success)


def sign_out() -> None:
    """For the button's `on_click`: end this browser's session."""
    with db.transaction() as conn:
        portal_sessions.end(conn, token())


def _sign_in() -> NoReturn:
    with reading() as conn:
        company = settings.company(conn)
    nonce = st.context.cookies.get(PORTAL.of_nonce(_scheme())) or ""
    ticket = sign_in.draw_form(address=address(), nonce=nonce, desk=DESK, title=company.name or "Customer portal")
    _, middle, _ = st.columns([1, 2, 1])
    with middle, st.container(horizontal=True):
        st.page_link("forgotten.py", label="Forgotten password", icon=":material/lock_reset:")
        if company.self_registration:
            st.page_link("register.py", label="Register", icon=":material/person_add:")
    if ticket:
        outcomes.leave_with(ticket)
    st.stop()


def _scheme() -> str:
    """http or https, as the browser says of the page it shows: behind TLS only the prefixed cookies count."""
    return urlsplit(st.context.url or "").scheme
