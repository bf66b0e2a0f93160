"""What `make bench` serves: the app with one page more. Started by `streamlit run bench/server.py`."""

import sys
from importlib import import_module
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
site = import_module("app")

app = st.App(HERE / "site.py", lifespan=site.lifespan, routes=site.ROUTES, middleware=site.MIDDLEWARE)
