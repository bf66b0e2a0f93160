"""One's own account: the password, and where else one is signed in."""

import streamlit as st

from lib.auth import Permission
from pages.shared import session, sign_in

user = session.require_user(Permission.READ)

st.title("My account", anchor=False)
