"""One import: how far it is, or what it did, with its file's hash (row B11)."""

import streamlit as st

from lib import imports, settings
from lib.auth import Permission
from lib.errors import NotFound
from lib.imports import Import
from pages.shared import import_progress, session, ui

user = session.require_user(Permission.EDIT_CUSTOMERS)


def opened() -> Import | None:
    """The import that the address names, or None where there is none."""
    named = st.query_params.get("id", "")
    if not named.isascii() or not named.isdigit() or len(named) > 18:
        return None
    try:
        with session.reading() as conn:
            return imports.import_(conn, int(named))
    except NotFound:
        return None


def draw() -> None:
    """The way back, and the import."""
    st.page_link("imports.py", label="Imports", icon=":material/arrow_back:")
    found = opened()
    if found is None:
        st.title("Import", anchor=False)
        ui.empty("This import does not exist. Choose one from the list.", icon=":material/upload_file:")
        return
    with session.reading() as conn:
        zone = settings.company(conn).timezone
    import_progress.draw(found, zone=zone)


draw()
