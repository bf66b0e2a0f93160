"""What every page needs: who is here, a connection to read with, and `attempt` to write with.

The user comes from the database at every run and every click, never from Streamlit's session state.
"""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from lib import clock, db, oidc, second_factors, sessions, staff
from lib.auth import Permission, User
from lib.db import Connection
from lib.errors import AlreadyDone, BillingError, Invalid, NotAllowed
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE
from pages.shared import sign_in
from pages.shared.markdown import escaped

_OUTCOME, _FIELDS, _RESULT, _PAGE = "outcome", "field_errors", "last_result", "outcome_page"
_TABS = "tabs_opened"
# What a person may do whose role needs a second factor that isn't set up yet.
_BEFORE_SECOND_FACTOR = (second_factors.begin, second_factors.confirm, staff.change_own_password)
# New recovery codes, until the person has kept them: no page opens before.
RECOVERY_CODES = "second_factor_codes"
# The second click of a slow double click comes as late as this.
DOUBLE_CLICK_SECONDS = 0.3
_log = logging.getLogger("mandant")


@dataclass(frozen=True)
class Outcome:
    """How the last click ended, kept until the next run shows it; in a dialog a refusal stays until the next click.

    A notice is a success that there is more to say about: it stays above the page until the next click.
    """

    kind: Literal["success", "notice", "error"]
    message: str
    in_dialog: bool = False


def token() -> str | None:
    """The secret in this browser's session cookie."""
    return st.context.cookies.get(SESSION_COOKIE)


def current_user() -> User | None:
    """Who is signed in here now, looked up anew."""
    with db.transaction() as conn:
        return sessions.user_of(conn, token())


def require_user(permission: Permission = Permission.READ) -> User:
    """The first statement of every page: the signed-in user, if their role allows `permission`.

    Otherwise the run ends here: with the sign-in form, with the form for a new password where an
    admin has reset it, or with a sentence that says what the role may not do.
    """
    user = current_user()
    if user is None:
        _sign_in()
    if (user.must_set_up_second_factor or RECOVERY_CODES in st.session_state) and not user.must_change_password:
        from pages.shared import second_factor  # here, because it needs this module

        second_factor.draw_instead(user)
        st.stop()
    if user.must_change_password:
        st.title("Choose a password", anchor=False)
        st.text("An admin gave you the one you have. Choose one that only you know.")
        sign_in.draw_password_form(attempt, field_error, keep=token())
        st.stop()
    if not user.may(permission):
        st.title("Not for your role", anchor=False)
        st.warning(f"Your role ({user.role}) may not {permission}. Ask an admin if you need to.")
        st.stop()
    return user


def reading() -> AbstractContextManager[Connection]:
    """A connection to read with: `with session.reading() as conn:`."""
    return db.transaction()


def today() -> date:
    """Today in the company's time zone."""
    with reading() as conn:
        return clock.today(conn)


def attempt(action: Callable[..., Any], *args: Any, success: str = "Saved.", **kwargs: Any) -> bool:
    """Do one write, in a button's `on_click`: all of it, or nothing and a sentence that says why.

    Calls `action(conn, *args, user=…, **kwargs)` in one transaction. The outcome is shown by
    `show_outcome` after the rerun, an Invalid's sentence also by `field_error` at its field. True if it was saved;
    `result()` then gives what the action returned. A form sent twice is saved once: the second time ends well, too,
    but returns False.
    """

    def act() -> Any:
        # In a transaction of its own: noting that the person is here must not wait for the action.
        user = current_user()
        if user is None:
            raise NotAllowed("You are signed out. Nothing was saved; sign in and do it again.")
        if user.must_change_password and action is not staff.change_own_password:
            raise NotAllowed("Change your password first. Nothing was saved.")
        if user.must_set_up_second_factor and action not in _BEFORE_SECOND_FACTOR:
            raise NotAllowed("Set up your second factor first. Nothing was saved.")
        with db.transaction() as conn:
            return action(conn, *args, user=user, **kwargs)

    return carry_out(act, name=getattr(action, "__qualname__", str(action)), success=success)


def carry_out(act: Callable[[], Any], *, name: str, success: str) -> bool:
    """Do what `attempt` has prepared and keep how it ended; the portal prepares it in its own way."""
    for key in (_OUTCOME, _FIELDS, _RESULT):
        st.session_state.pop(key, None)
    try:
        returned = act()
    except AlreadyDone:  # the second click of a double click: what the person wanted is saved
        st.session_state[_OUTCOME] = Outcome("success", success)
        return False
    except BillingError as refusal:
        if isinstance(refusal, Invalid):
            st.session_state[_FIELDS] = refusal.at
        st.session_state[_OUTCOME] = Outcome("error", str(refusal))
        return False
    except Exception:
        reference = secrets.token_hex(4).upper()
        _log.exception("%s failed, reference %s", name, reference)
        st.session_state[_OUTCOME] = Outcome(
            "error", f"Nothing was saved: an unexpected error. Tell your admin the reference {reference}."
        )
        return False
    st.session_state[_RESULT] = returned
    st.session_state[_OUTCOME] = Outcome("success", success)
    return True


def click(action: Callable[..., Any], *args: Any, success: str = "Saved.", **kwargs: Any) -> None:
    """`attempt` as a button's `on_click` itself, for which Streamlit wants a function that returns nothing."""
    attempt(action, *args, success=success, **kwargs)


def result() -> Any:
    """What the last successful `attempt` returned (the new row's id, say), once."""
    return st.session_state.pop(_RESULT, None)


def tell(sentences: Sequence[str]) -> None:
    """After an `attempt` that saved: what else happened by it. Nothing where there is nothing to tell."""
    outcome = st.session_state.get(_OUTCOME)
    if outcome is not None and sentences:
        st.session_state[_OUTCOME] = Outcome("notice", " ".join([outcome.message, *sentences]))


def succeeded() -> bool:
    """Whether the click that led to this run saved something and has not been shown yet."""
    outcome = st.session_state.get(_OUTCOME)
    return outcome is not None and outcome.kind != "error"


def show_outcome() -> None:
    """Show how the last click ended, once: main.py calls it above each page. What a dialog has shown is over."""
    outcome = st.session_state.pop(_OUTCOME, None)
    if outcome is not None and not outcome.in_dialog:
        _show(outcome)


def close_or_explain() -> None:
    """First statement of a dialog: closes it after its button saved, else shows why it did not."""
    if succeeded():
        st.rerun()
    explain()


def explain() -> None:
    """In a dialog that stays open: how the last click ended. A refusal stays in sight until the next click.

    Leaving a field draws the dialog again. If the refusal went then, all below it would move up under the pointer
    that is pressing the button, and the click would be lost.
    """
    outcome = st.session_state.pop(_OUTCOME, None)
    if outcome is None:
        return
    _show(outcome)
    if outcome.kind == "error":
        st.session_state[_OUTCOME] = replace(outcome, in_dialog=True)


def _show(outcome: Outcome) -> None:
    if outcome.kind == "success":
        st.toast(escaped(outcome.message), icon=":material/check_circle:")
    elif outcome.kind == "notice":
        st.info(escaped(outcome.message), icon=":material/info:")
    else:
        st.error(escaped(outcome.message), icon=":material/error:")


def open_made(page: str, made_id: int) -> NoReturn:
    """Go on to the page of what a dialog has just made.

    The other half of a double click is waited for. One that comes still later has the new page drawn once more
    (`lost_clicks`).
    """
    time.sleep(DOUBLE_CLICK_SECONDS)
    st.switch_page(page, query_params={"id": str(made_id)})


def field_error(field: str) -> None:
    """The sentence that belongs under this input, if the last click was refused because of it."""
    message = st.session_state.get(_FIELDS, {}).get(field)
    if message:
        st.markdown(f":red[:material/error: {escaped(message)}]")


def forget_on_other_page(page: str) -> None:
    """Drop the messages at fields when another page opens, whose fields may have the same names, and `tabs_opened`."""
    if st.session_state.get(_PAGE) != page:
        st.session_state[_PAGE] = page
        for key in (_FIELDS, _TABS):
            st.session_state.pop(key, None)


def tabs_opened(of: object) -> set[str]:
    """The tabs of this page that were open since it shows `of`, to add to."""
    shown, names = st.session_state.get(_TABS, (None, set()))
    if shown != of:
        names = set()
    st.session_state[_TABS] = (of, names)
    found: set[str] = names
    return found


def sign_out() -> None:
    """For the button's `on_click`: end this browser's session, and the one at the provider that it came from."""
    with db.transaction() as conn:
        sessions.end(conn, token())
    sign_in.leave_provider()


def _sign_in() -> NoReturn:
    """Draw the form, or the provider's button; then send the browser through the route that sets the cookie."""
    with reading() as conn:
        half_way = sessions.waiting_user(conn, token())
    if half_way is not None:
        from pages.shared import second_factor  # here, because it needs this module

        second_factor.ask(half_way)
        st.stop()
    nonce = st.context.cookies.get(NONCE_COOKIE) or ""
    provider = oidc.provider()
    if provider is not None:
        ticket = sign_in.draw_provider(provider, nonce=nonce)
    else:
        ticket = sign_in.draw_form(address=st.context.ip_address or "this machine", nonce=nonce)
    if ticket:
        leave_with(ticket)
    st.stop()


def leave_with(ticket: str) -> None:
    """Send the browser through the route that turns the ticket into a cookie, and back to this page."""
    target = urlencode({"ticket": ticket, "to": _here()}, quote_via=quote, safe="")
    # Both values are percent-encoded: nothing in them can end the string or the element.
    st.html(f"<script>window.location.replace('/session/start?{target}')</script>", unsafe_allow_javascript=True)
    st.caption("Signing in …")


def _here() -> str:
    """The path and query that the person came for."""
    path = urlsplit(st.context.url or "").path or "/"
    query = urlencode(st.query_params.to_dict())
    return f"{path}?{query}" if query else path
