"""The dialogs that enter project keys: one by hand, or many from a CSV file (row G9)."""

from uuid import UUID, uuid4

import streamlit as st

from lib import money, project_key_files, project_key_stock
from lib.db import Connection
from lib.project_key_files import Checked
from pages.shared import customer_form, forms, session, ui

FORM, FILE = "new_key", "keys_file"
_TYPED = ("key", "ips", "months", "purchase_price", "redeem_until")
# Keys and faults that are shown of a file; the rest is counted.
SHOWN = 100


def open_add() -> None:
    """Open the form for one key."""
    forms.fill(FORM, {"key": "", "ips": "", "months": "12", "purchase_price": "", "redeem_until": None})
    _add()


@st.dialog("Add a project key", icon=":material/key:")
def _add() -> None:
    session.close_or_explain()
    with st.form("add_key_form", border=False):
        forms.text(FORM, "key", "Key", autocomplete="off")
        left, right = st.columns(2)
        with left:
            forms.text(FORM, "ips", "IPs")
        with right:
            forms.text(FORM, "months", "Runtime in months")
        left, right = st.columns(2)
        with left:
            forms.text(FORM, "purchase_price", "Purchase price, net", help="Of the whole runtime.")
        with right:
            st.date_input("Redeem until (optional)", value=None, key=f"{FORM}_redeem_until", format=customer_form.DAY)
            forms.error(FORM, "redeem_until")
        st.form_submit_button("Add the key", key="add_key_go", type="primary", on_click=_save)


def _save() -> None:
    typed = forms.typed(FORM, _TYPED)

    def add(conn: Connection, **given: object) -> None:
        price = money.parse(typed["purchase_price"], field="purchase_price")
        project_key_stock.add(conn, **(typed | {"purchase_price": price}), **given)  # type: ignore[arg-type]

    forms.save(
        FORM, add, today=session.today(), request_key=forms.request_key(FORM), success="The key can be redeemed now."
    )


# ---------------------------------------------------------------------------------- files


def open_import() -> None:
    """Open the import of a file."""
    st.session_state.pop(FILE, None)
    _import(uuid4())


@st.dialog("Import project keys", width="large", icon=":material/upload_file:")
def _import(request: UUID) -> None:
    session.close_or_explain()
    st.markdown(
        "A CSV file with the columns **Key**, **IPs**, **Months**, **Purchase price** and, if you like, **Redeem "
        "until**. All rows are checked first; then all are entered, or none. The file is kept nowhere."
    )
    st.download_button(
        "Template", project_key_files.template(), file_name="project-keys.csv", mime="text/csv", key="keys_template",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    chosen = st.file_uploader("CSV file", type=["csv", "txt"], key=FILE)
    if chosen is None:
        return
    content = chosen.getvalue()
    with session.reading() as conn:
        found = project_key_files.checked(conn, content, today=session.today(), user=session.require_user())
    if found.faults:
        _draw_faults(found)
        return
    _draw_keys(found)
    count = ui.count(len(found.keys), "key")
    st.button(f"Import {count}", key="import_keys_go", type="primary", on_click=_enter, args=(content, request, count))


def _enter(content: bytes, request: UUID, count: str) -> None:
    session.attempt(
        project_key_files.enter, content, today=session.today(), request_key=request, success=f"{count} entered."
    )


def _draw_faults(found: Checked) -> None:
    count = ui.count(len(found.faults), "fault")
    st.error(f"{count}: nothing is imported. Correct the file and upload it again.", icon=":material/error:")
    ui.table(
        [
            {"line": ui.number(fault.line), "column": fault.column or ui.NOTHING, "message": fault.message}
            for fault in found.faults[:SHOWN]
        ],
        {
            "line": ui.figure_column("Line", width=60),
            "column": ui.text_column("Column", width=120),
            "message": ui.text_column("What is wrong", width=500),
        },
        key="keys_faults",
        alt="What is wrong with the file",
    )


def _draw_keys(found: Checked) -> None:
    ui.table(
        [
            {
                "key": project_key_files.masked(key),
                "ips": f"{key.ips:,}",
                "months": str(key.months),
                "purchase": ui.money(key.purchase_price),
                "until": ui.day(key.redeem_until),
            }
            for key in found.keys[:SHOWN]
        ],
        {
            "key": ui.text_column("Key", width=130),
            "ips": ui.figure_column("IPs", width=90),
            "months": ui.figure_column("Months", width=80),
            "purchase": ui.figure_column("Purchase price", width=130),
            "until": ui.figure_column("Redeem until", width=120),
        },
        key="keys_preview",
        alt="The keys of the file",
    )
    if len(found.keys) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(found.keys):,}.")
