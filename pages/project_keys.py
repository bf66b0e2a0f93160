"""Project keys: what is in stock and who has the rest, for admins (row G9)."""

import math
from typing import Any

import streamlit as st

from lib import project_key_stock, project_keys, settings, vault
from lib.auth import Permission
from lib.project_keys import CHARGING, ProjectKey
from pages.shared import project_key_forms, session, ui

PAGE = 50
_OPEN, _REVEALED = "project_key_open", "project_key_revealed"

user = session.require_user(Permission.EDIT_PROJECT_KEYS)


# ---------------------------------------------------------------------------------- what the clicks do


def _first_page() -> None:
    st.session_state.keys_page = 1


def _clicked(listed: list[int]) -> None:
    cells = st.session_state.keys_table.selection.cells
    if cells:
        st.session_state[_OPEN] = listed[cells[0][0]]


def _picked() -> None:
    st.session_state[_OPEN] = st.session_state.key_picked
    st.session_state.key_picked = None


def _reveal(key_id: int) -> None:
    if session.attempt(project_key_stock.reveal, key_id, success="The audit log says that you have read this key."):
        st.session_state[_REVEALED] = (key_id, session.result())


# ---------------------------------------------------------------------------------- the parts of the page


def draw_head() -> None:
    """The title, and what adds keys."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Project keys", anchor=False)
        st.space("stretch")
        if not vault.configured():
            return
        if st.button("Import CSV", key="import_keys", icon=":material/upload_file:"):
            project_key_forms.open_import()
        if st.button("Add a key", key="add_key", type="primary", icon=":material/add:"):
            project_key_forms.open_add()


def draw_filters() -> tuple[str, list[str]]:
    """Words and states, kept in the address; a whole key is looked for, but in no address."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="keys_search", icon=":material/search:", width=320, on_change=_first_page, autocomplete="off",
            placeholder="Key, its last characters, or customer",
        )  # fmt: skip
        states = st.pills(
            "State", project_keys.STATES, format_func=ui.word, key="key_state", selection_mode="multi",
            on_change=_first_page, bind="query-params",
        )  # fmt: skip
    return search, states


def draw_list(search: str, states: list[str]) -> None:
    """A page of the keys that match; a click opens one, and so does the box below."""
    page = int(st.session_state.get("keys_page", 1))
    with session.reading() as conn:
        found, total = project_keys.keys(
            conn, search=search, states=states, today=today, user=user, limit=PAGE, offset=(page - 1) * PAGE
        )
    if not found:
        words = "No key matches." if search or states else "No key is entered yet. Add one, or import a CSV file."
        ui.empty(words, icon=":material/key_off:")
        return
    columns = {
        "key": ui.text_column("Key", width=95, pinned=True),
        "state": ui.state_column("State", project_keys.STATES, width=84),
        "ips": ui.figure_column("IPs", width=62),
        "months": ui.figure_column("Months", width=66),
        "purchase": ui.figure_column(f"Purchase ({currency})", width=106),
        "until": ui.figure_column("Redeem until", width=98),
        "customer": ui.text_column("Customer", width=212),
        "runtime": ui.text_column("Runtime", width=174),
        "selling": ui.figure_column(f"Selling ({currency})", width=124),
    }
    ui.table(
        [_row(key) for key in found], columns, key="keys_table",
        alt="Project keys, the latest first; the box below opens one without the mouse",
        on_select=lambda: _clicked([key.id for key in found]), selection_mode="single-cell",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        names = {key.id: f"{key.masked} {key.customer}".strip() for key in found}
        st.selectbox(
            "Open a key", list(names), index=None, format_func=lambda one: names.get(one, ""), key="key_picked",
            on_change=_picked, placeholder="Open …", label_visibility="collapsed", width=340,
        )  # fmt: skip
        st.caption(ui.count(total, "key"), width="content")
        st.space("stretch")
        if total > PAGE:
            st.pagination(math.ceil(total / PAGE), key="keys_page", max_visible_pages=5)


def _row(key: ProjectKey) -> dict[str, Any]:
    runs = f"{ui.day(key.from_day)} – {ui.day(key.last_day)}" if key.from_day else ui.NOTHING
    each = "" if key.charging is None else " a month" if key.charging == "monthly" else " once"
    return {
        "key": key.masked,
        "state": [ui.word(key.state)],
        "ips": f"{key.ips:,}",
        "months": str(key.months),
        "purchase": ui.money(key.purchase_price),
        "until": ui.day(key.redeem_until),
        "customer": f"{key.customer_number} {key.customer}".strip() or ui.NOTHING,
        "runtime": runs,
        "selling": f"{ui.money(key.selling_price)}{each}",
    }


@st.dialog("Project key", icon=":material/key:")
def open_key(key_id: int) -> None:
    """One key: who entered and redeemed it, with what can be done."""
    revealed = st.session_state.get(_REVEALED, (None, ""))
    if revealed[0] == key_id:
        session.explain()
    else:
        session.close_or_explain()
    with session.reading() as conn:
        key = project_keys.key(conn, key_id, today=today)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{ui.escaped(key.masked)}**", width="content")
        ui.badge(key.state)
    if revealed[0] == key_id:
        st.code(revealed[1], language=None)
    ui.facts(_facts(key), alt="The key")
    with st.container(horizontal=True):
        if revealed[0] != key_id:
            st.button("Reveal", key="reveal", icon=":material/visibility:", on_click=_reveal, args=(key_id,),
                      help="Shows the whole key. That you have read it is noted in the audit log.")  # fmt: skip
        if key.customer_id is not None:
            st.page_link(
                "customer.py", label="The customer", icon=":material/person:", query_params={"id": str(key.customer_id)}
            )
        else:
            with st.popover("Delete …", icon=":material/delete:"):
                st.markdown("The key is gone then, and can't be redeemed.")
                st.button(
                    "Delete it", key="delete_key", type="primary", on_click=session.click,
                    args=(project_key_stock.delete, key_id), kwargs={"success": f"{key.masked} is deleted."},
                )  # fmt: skip


def _facts(key: ProjectKey) -> dict[str, str]:
    facts = {
        "IPs": f"{key.ips:,}",
        "Runtime": ui.count(key.months, "month"),
        "Purchase price": f"{ui.money(key.purchase_price)} {currency}",
        "Redeem until": ui.day(key.redeem_until),
        "Entered": f"{ui.moment(key.recorded_at, zone)}, {key.recorded_by}",
    }
    if key.redeemed_at is not None:
        facts |= {
            "Customer": f"{key.customer_number} {key.customer}",
            "Redeemed": f"{ui.moment(key.redeemed_at, zone)}, {key.redeemed_by}",
            "Runs": f"{ui.day(key.from_day)} – {ui.day(key.last_day)}",
            "Selling price": f"{ui.money(key.selling_price)} {currency}, {CHARGING[key.charging or 'once'].lower()}",
        }
    return facts


today = session.today()
with session.reading() as conn:
    company = settings.company(conn)
currency, zone = company.currency, company.timezone
draw_head()
if not vault.configured():
    st.warning(vault.NOT_CONFIGURED, icon=":material/key_off:")
draw_list(*draw_filters())
if _OPEN in st.session_state:
    st.session_state.pop(_REVEALED, None)
    open_key(st.session_state.pop(_OPEN))
