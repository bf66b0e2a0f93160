"""The second factor: asked for after the password, and set up, renewed or removed on one's own account."""

import streamlit as st

from lib import db, second_factors, sessions, vault
from lib.auth import User
from lib.second_factors import Enrolment
from pages.shared import session, sign_in

_ENROLMENT, _REFUSAL = "second_factor_enrolment", "second_factor_refusal"
CODE_HELP = "The six digits that your authenticator app shows now. Without your device: one of your recovery codes."


def ask(user: User) -> None:
    """The form after the password. The right code lets this browser in."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title("Mandant", anchor=False)
        st.text(f"{user.name}, enter your second factor.")
        with st.form("second_factor"):
            st.text_input("Code", key="second_factor_code", autocomplete="one-time-code", help=CODE_HELP)
            st.form_submit_button("Continue", type="primary", on_click=_give)
        if refusal := st.session_state.pop(_REFUSAL, None):
            st.error(refusal, icon=":material/error:")
        st.button("Sign in as somebody else", key="second_factor_leave", type="tertiary", on_click=session.sign_out)


def _give() -> None:
    """Check the code. Each one typed counts as an attempt to sign in, so that guessing gets slower and slower."""
    token, code = session.token(), st.session_state.get("second_factor_code") or ""
    with db.transaction() as conn:
        user = sessions.waiting_user(conn, token)
        if user is None:
            return
        # By person, not by address: who guesses codes knows the password, and could come from many places.
        claim = sessions.claim(conn, username=user.username, address=f"second factor of {user.username}")
    if claim.id is None:
        st.session_state[_REFUSAL] = f"Too many attempts. Wait {sign_in.waiting(claim.wait_seconds)}, then try again."
        return
    with db.transaction() as conn:
        right = second_factors.passes(conn, user.id, code)
        if right:
            sessions.succeeded(conn, claim)
            sessions.pass_second_factor(conn, token, staff_id=user.id)
    if not right:
        st.session_state[_REFUSAL] = second_factors.WRONG


def draw_instead(user: User) -> None:
    """Instead of a page: a role's second factor is set up, or recovery codes are kept."""
    st.title("Your second factor", anchor=False)
    if user.must_set_up_second_factor:
        st.text(f"Your role ({user.role}) signs in with a password and a code from your device.")
    draw(user)


def draw(user: User) -> None:
    """Set up, renew the recovery codes, or remove."""
    if codes := st.session_state.get(session.RECOVERY_CODES):
        _draw_codes(codes)
        return
    with session.reading() as conn:
        state = second_factors.state(conn, user)
    if state.confirmed:
        _draw_confirmed(user, state)
    elif not vault.configured():
        st.warning(vault.NOT_CONFIGURED, icon=":material/key_off:")
    elif enrolment := st.session_state.get(_ENROLMENT):
        _draw_enrolment(enrolment)
    else:
        st.text("Codes from an authenticator app on your phone, asked for after the password.")
        st.button("Set up a second factor", key="second_factor_begin", icon=":material/qr_code:", on_click=_begin)


def _begin() -> None:
    if session.attempt(second_factors.begin, success="Scan the code with your app, then type what it shows."):
        st.session_state[_ENROLMENT] = session.result()


def _draw_enrolment(enrolment: Enrolment) -> None:
    st.markdown("**1.** Scan this with your authenticator app. It is shown once.")
    st.image(second_factors.qr_code(enrolment.uri), width=200, alt="The QR code for your authenticator app")
    with st.expander("Can't scan it?"):
        st.text("Type this secret into the app:")
        st.code(enrolment.secret, language=None)
    with st.form("second_factor_confirm", width=420):
        st.markdown("**2.** Type the six digits that it shows.")
        st.text_input("Code", key="second_factor_first", autocomplete="one-time-code")
        session.field_error("code")
        st.form_submit_button("Confirm", type="primary", on_click=_confirm)


def _confirm() -> None:
    code, token = st.session_state.get("second_factor_first") or "", session.token()
    if session.attempt(second_factors.confirm, code=code, token=token, success="Your second factor is set up."):
        st.session_state.pop(_ENROLMENT, None)
        st.session_state[session.RECOVERY_CODES] = session.result()


def _draw_codes(codes: list[str]) -> None:
    st.markdown("**Your recovery codes.** Each works once, when your device is not at hand. They are not shown again.")
    st.code("\n".join(codes), language=None)
    st.download_button(
        "Save as a file", "\n".join(codes) + "\n", file_name="mandant-recovery-codes.txt", key="second_factor_file",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    st.button("I have kept them", key="second_factor_kept", type="primary", on_click=_kept)


def _kept() -> None:
    st.session_state.pop(session.RECOVERY_CODES, None)


def _draw_confirmed(user: User, state: second_factors.State) -> None:
    left = "1 recovery code is left." if state.codes_left == 1 else f"{state.codes_left} recovery codes are left."
    st.text(f"Set up: a code is asked for after your password. {left}")
    with st.form("second_factor_change", width=420):
        st.text_input("Code", key="second_factor_again", autocomplete="one-time-code", help=CODE_HELP)
        session.field_error("code")
        with st.container(horizontal=True):
            st.form_submit_button("New recovery codes", key="second_factor_renew", on_click=_renew)
            if not state.required:
                st.form_submit_button("Remove second factor", key="second_factor_remove", on_click=_remove)
    if state.required:
        st.caption(f"Your role ({user.role}) needs it. For a new device, an admin can reset it.")


def _renew() -> None:
    code = st.session_state.get("second_factor_again") or ""
    if session.attempt(second_factors.renew_codes, code=code, success="The codes before are void."):
        st.session_state[session.RECOVERY_CODES] = session.result()


def _remove() -> None:
    code = st.session_state.get("second_factor_again") or ""
    session.attempt(second_factors.remove, code=code, success="Your second factor is removed.")
