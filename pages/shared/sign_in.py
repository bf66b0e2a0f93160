"""Signing in: the form (drawn by streamlit-authenticator) or the way to the company's provider; changing a password."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
import streamlit_authenticator as authenticator

from lib import db, oidc, sessions, staff
from lib.errors import NotAllowed
from pages.shared.markdown import escaped

_REFUSAL, _TICKET = "sign_in_refusal", "sign_in_ticket"
# How long a page may take to leave for the route that sets the cookie.
LEAVING_SECONDS = 3
_log = logging.getLogger("mandant")
# The package prints its own cookie's errors; ours is the only cookie that counts.
logging.getLogger("streamlit_authenticator").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Desk:
    """Where people sign in: what the form calls their name, and who counts and checks what they type."""

    name: str
    wrong: str
    claim: Callable[..., sessions.Claim]
    ticket: Callable[..., str | None]


STAFF = Desk("User name", sessions.WRONG, sessions.claim, sessions.ticket)


def draw_form(*, address: str, nonce: str, desk: Desk = STAFF, title: str = "Mandant") -> str | None:
    """The form, and the ticket that the right name and password earned in this run, if they did.

    The package draws it; our tables answer. It always hears "no", so that its own session and its
    cookie (readable by scripts, valid after sign-out) never begin.
    """
    st.session_state.pop(_TICKET, None)
    _, middle, _ = st.columns([1, 2, 1])
    words = {"Form name": "Sign in", "Username": desk.name, "Password": "Password", "Login": "Sign in"}
    with middle:
        st.title(escaped(title), anchor=False)
        form = authenticator.Authenticate(
            {"usernames": {}},
            cookie_name="unused",
            cookie_key=secrets.token_hex(32),
            cookie_expiry_days=0,
            login_sleep_time=0,
        )

        def answer(username: str, password: str) -> bool:
            st.session_state[_REFUSAL] = _check(desk, username, password, address=address, nonce=nonce)
            return False

        form.authentication_controller.authentication_model.check_credentials = answer
        form.login(fields=words, key="sign_in")
        if st.session_state.get(_REFUSAL):
            st.error(st.session_state[_REFUSAL], icon=":material/error:")
    ticket: str | None = st.session_state.pop(_TICKET, None)
    return ticket


def draw_provider(provider: oidc.Provider, *, nonce: str) -> str | None:
    """The button that leads to the provider, and the ticket of who has just come back from it."""
    ticket, refusal = None, None
    if st.user.get("is_logged_in"):
        try:
            ticket = _vouched_for(provider, nonce)
        except NotAllowed as refused:
            refusal = str(refused)
            _log.warning("Nobody signed in: %s", refusal)
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title("Mandant", anchor=False)
        with st.container(border=True):
            st.subheader("Sign in", anchor=False)
            if refusal:
                st.error(escaped(refusal), icon=":material/error:")
            label = f"Sign in with {provider.name}" + (", with another account" if refusal else "")
            st.button(label, key="sign_in_provider", type="primary", icon=":material/login:", on_click=st.login)
    return ticket


def _vouched_for(provider: oidc.Provider, nonce: str) -> str | None:
    """The one ticket for what the provider said, the same for a few seconds: the page may run again before it is left.

    No longer, or a session that has ended would send its browser for a new one again and again.
    """
    kept = st.session_state.get(_TICKET)
    if kept is not None and time.monotonic() - kept[1] < LEAVING_SECONDS:
        return str(kept[0])
    with db.transaction() as conn:
        ticket = oidc.ticket(conn, provider, st.user.to_dict(), nonce=nonce)
    st.session_state[_TICKET] = (ticket, time.monotonic()) if ticket else None
    return ticket


def leave_provider() -> None:
    """For a callback, after our session has ended: sign out at the provider too, where this browser came from there."""
    if oidc.provider() is not None and st.user.get("is_logged_in"):
        st.logout()


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


def _check(desk: Desk, username: str, password: str, *, address: str, nonce: str) -> str | None:
    """Why the person is not let in, or None with the ticket kept for this run."""
    if not password:
        return desk.wrong
    with db.transaction() as conn:
        claim = desk.claim(conn, username=username, address=address)
    if claim.id is None:
        return f"Too many attempts. Wait {waiting(claim.wait_seconds)}, then try again."
    if not nonce:
        return "Your browser sent no cookie. Allow cookies for this site, load the page again and sign in."
    try:
        with db.transaction() as conn:
            ticket = desk.ticket(conn, claim, password=password, nonce=nonce)
    except NotAllowed as refused:
        return str(refused)
    st.session_state[_TICKET] = ticket
    return None if ticket else desk.wrong


def waiting(seconds: int) -> str:
    """How long somebody has to wait, in words."""
    return f"{seconds} seconds" if seconds < 120 else f"{(seconds + 59) // 60} minutes"
