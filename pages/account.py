"""One's own account: the password, and the other browsers one is signed in with."""

import streamlit as st

from lib import oidc, sessions
from lib.auth import Permission
from pages.shared import second_factor, session, sign_in

user = session.require_user(Permission.READ)

with session.reading() as conn:
    others = max(0, sessions.open_count(conn, user.id) - 1)

st.title("My account", anchor=False)
st.text(f"{user.name}, signed in as {user.username} ({user.role})")

provider = oidc.provider()
if provider is None:
    st.subheader("Password", anchor=False)
    sign_in.draw_password_form(session.attempt, session.field_error, keep=session.token())
else:
    st.text(f"You sign in with {provider.name}; your password is changed there.")

if provider is None:
    st.subheader("Second factor", anchor=False)
    second_factor.draw(user)

st.subheader("Signed in elsewhere", anchor=False)
if others:
    st.text("In one other browser." if others == 1 else f"In {others} other browsers.")
    st.button(
        "Sign out there",
        key="sign_out_elsewhere",
        icon=":material/logout:",
        on_click=session.click,
        args=(sessions.sign_out_elsewhere,),
        kwargs={"keep": session.token(), "success": "You are signed out everywhere else."},
    )
else:
    st.text("You are signed in here only.")
