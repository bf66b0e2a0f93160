"""What `make bench` serves: the app with one page more, hello. Started by `streamlit run bench/server.py`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import streamlit as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
site, frame, auth = (cast(Any, import_module(name)) for name in ("app", "pages.shared.frame", "lib.auth"))

# The script is the app's own: pages name each other by files beside it.
frame.PAGES += (frame.Entry(str(HERE / "hello.py"), "Hello", "waving_hand", None, auth.Permission.READ),)
script = HERE.parent / "pages" / "main.py"
app = st.App(script, lifespan=site.lifespan, routes=site.ROUTES, middleware=site.MIDDLEWARE)
