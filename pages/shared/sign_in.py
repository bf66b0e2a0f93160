"""The sign-in form (drawn by streamlit-authenticator) and the form for a password that must be changed."""

import logging
import secrets
from collections.abc import Callable

import streamlit as st
import streamlit_authenticator as authenticator

from lib import db, sessions, staff

_WORDS = {"Form name": "Sign in", "Username": "User name", "Password": "Password", "Login": "Sign in"}
_REFUSAL, _TICKET = "sign_in_refusal", "sign_in_ticket"
# The package prints its own cookie's errors; ours is the only cookie that counts.
logging.getLogger("streamlit_authenticator").setLevel(logging.CRITICAL)


def draw_form(*, address: str, nonce: str) -> str | None:
    """The form, and the ticket that the right name and password earned in this run, if they did.

    The package draws it; our tables answer. It always hears "no", so that its own session and its
    cookie (readable by scripts, valid after sign-out) never begin.
    """
    st.session_state.pop(_TICKET, None)
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title("Mandant", anchor=False)
        form = authenticator.Authenticate(
            {"usernames": {}},
            cookie_name="unused",
            cookie_key=secrets.token_hex(32),
            cookie_expiry_days=0,
            login_sleep_time=0,
        )

        def answer(username: str, password: str) -> bool:
            st.session_state[_REFUSAL] = _check(username, password, address=address, nonce=nonce)
            return False

        form.authentication_controller.authentication_model.check_credentials = answer
        form.login(fields=_WORDS, key="sign_in")
        if st.session_state.get(_REFUSAL):
            st.error(st.session_state[_REFUSAL], icon=":material/error:")
    ticket: str | None = st.session_state.pop(_TICKET, None)
    return ticket


def draw_password_form(attempt: Callable[..., bool], field_error: Callable[[str], None], *, keep: str | None) -> None:
    """The form for one's own password. `keep` is the token of the session that stays signed in."""

    def save() -> None:
        values = {name: st.session_state.get(f"own_password_{name}", "") for name in ("current", "new", "again")}
        attempt(staff.change_own_password, **values, keep=keep, success="Your password is changed.")

    with st.form("own_password", width=420, clear_on_submit=True):
        for name, label in (("current", "Current password"), ("new", "New password"), ("again", "New password again")):
            kind = "current-password" if name == "current" else "new-password"
            st.text_input(label, type="password", key=f"own_password_{name}", autocomplete=kind)
            field_error(name)
        st.caption("At least 10 characters; not your name, not a word that everybody tries.")
        st.form_submit_button("Change password", type="primary", on_click=save)


def _check(username: str, password: str, *, address: str, nonce: str) -> str | None:
    """Why the person is not let in, or None with the ticket kept for this run."""
    if not password:
        return sessions.WRONG
    with db.transaction() as conn:
        claim = sessions.claim(conn, username=username, address=address)
    if claim.id is None:
        return f"Too many attempts. Wait {_waiting(claim.wait_seconds)}, then try again."
    if not nonce:
        return "Your browser sent no cookie. Allow cookies for this site, load the page again and sign in."
    with db.transaction() as conn:
        ticket = sessions.ticket(conn, claim, password=password, nonce=nonce)
    st.session_state[_TICKET] = ticket
    return None if ticket else sessions.WRONG


def _waiting(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 120 else f"{(seconds + 59) // 60} minutes"
