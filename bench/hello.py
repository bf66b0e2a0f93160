"""The page that page figures are measured against: the same server, frame and guard, and a greeting."""

import streamlit as st

from lib.auth import Permission
from pages.shared import session

user = session.require_user(Permission.READ)
st.title("Hello", anchor=False)
st.text_input("Search", key="q")
