"""The people who work with Mandant, for admins."""

import streamlit as st

from lib.auth import Permission
from pages.shared import session

user = session.require_user(Permission.EDIT_STAFF)

st.title("Staff", anchor=False)
