"""The quotas of a customer: how much may be used from when until when, and how much is (row D2)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import streamlit as st

from lib import money, quotas
from lib.db import Connection
from lib.quotas import Quota
from pages.shared import customer_form, forms, session, ui
from pages.shared.customer_view import View

FORM, END_FORM = "quota", "quota_end"
STATES = ("in_force", "planned", "over")


def draw(view: View, given: Sequence[Quota]) -> None:
    """All quotas, with what is used of each; a new one, and changes of those that are there."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Quotas", anchor=False)
        st.space("stretch")
        if view.may_edit:
            _actions(view, {quota.id: quota for quota in given})
    if not given:
        ui.empty("No quota yet. Without one, use is shown and nothing warns.")
        return
    columns = {
        "kind": ui.text_column("Quota of", width=110, pinned=True),
        "amount": ui.figure_column("Amount", width=130),
        "used": ui.figure_column("Used", width=130),
        "share": ui.figure_column("Share", width=80),
        "from": ui.figure_column("From", width=100),
        "until": ui.figure_column("Until", width=100),
        "state": ui.state_column("State", STATES, width=100),
        "by": ui.text_column("Entered by", width=140),
    }
    ui.table([_row(view, quota) for quota in given], columns, key="quotas_table", alt="Quotas, the latest first")


def days(quota: Quota) -> str:
    """1 Jul 2026 – 30 Jun 2027, or since when."""
    if quota.until_day is None:
        return f"since {ui.day(quota.from_day)}"
    return f"{ui.day(quota.from_day)} – {ui.day(quota.until_day)}"


def state(quota: Quota, today: date) -> str:
    """One of STATES."""
    if quota.holds_on(today):
        return "in_force"
    return "planned" if quota.from_day > today else "over"


def _row(view: View, quota: Quota) -> dict[str, Any]:
    unit = quotas.UNITS[quota.kind]
    now = state(quota, view.today)
    begun = now != "planned"
    return {
        "kind": quotas.KINDS[quota.kind],
        "amount": f"{ui.amount(quota.amount)} {unit}",
        "used": f"{ui.amount(quota.used)} {unit}" if begun else ui.NOTHING,
        "share": ui.percent(quota.share) if begun else ui.NOTHING,
        "from": ui.day(quota.from_day),
        "until": ui.day(quota.until_day),
        "state": [ui.word(now)],
        "by": quota.recorded_by,
    }


def _actions(view: View, given: dict[int, Quota]) -> None:
    if given:
        chosen = st.menu_button(
            "Edit …", list(given), key="quota_edit", icon=":material/edit:",
            format_func=lambda one: _named(given[one]) if one in given else "",
        )  # fmt: skip
        if chosen is not None:
            _open(view, given[chosen])
    endless = {id_: quota for id_, quota in given.items() if quota.until_day is None or quota.until_day >= view.today}
    if endless:
        chosen = st.menu_button(
            "End …", list(endless), key="quota_end", icon=":material/event_busy:",
            format_func=lambda one: _named(endless[one]) if one in endless else "",
        )  # fmt: skip
        if chosen is not None:
            _open_end(view, endless[chosen])
    if st.button("Add quota", key="quota_add", icon=":material/add:"):
        _open(view, None)


def _named(quota: Quota) -> str:
    return ui.escaped(f"{quotas.KINDS[quota.kind]}, {days(quota)}")


# ---------------------------------------------------------------------------------- dialogs


def _open(view: View, quota: Quota | None) -> None:
    if quota is None:
        forms.fill(FORM, {"kind": "credits", "amount": "", "from_day": view.today, "until_day": None})
        _add(view)
        return
    stored = {"amount": ui.amount(quota.amount), "from_day": quota.from_day, "until_day": quota.until_day}
    forms.fill(FORM, stored, version=quota.version)
    _edit(quota)


def _open_end(view: View, quota: Quota) -> None:
    forms.fill(END_FORM, {"until_day": max(view.today, quota.from_day)}, version=quota.version)
    _end(quota)


@st.dialog("Add quota", icon=":material/add:")
def _add(view: View) -> None:
    session.close_or_explain()
    with st.form(FORM, border=False):
        forms.choice(FORM, "kind", "Quota of", quotas.KINDS, _measured)
        _fields()
        st.form_submit_button(
            "Add quota", key="quota_go", type="primary", on_click=_save_new,
            args=(view.customer.id, forms.request_key(FORM)),
        )  # fmt: skip


@st.dialog("Edit quota", icon=":material/edit:")
def _edit(quota: Quota) -> None:
    session.close_or_explain()
    st.markdown(_measured(quota.kind))
    with st.form(FORM, border=False):
        _fields()
        st.form_submit_button("Save quota", key="quota_go", type="primary", on_click=_save, args=(quota.id,))


@st.dialog("End quota", icon=":material/event_busy:")
def _end(quota: Quota) -> None:
    session.close_or_explain()
    st.markdown(f"{_named(quota)}: it holds up to its last day, which counts. Nothing is switched off by it.")
    with st.form(END_FORM, border=False):
        _day(END_FORM, "until_day", "Last day")
        st.form_submit_button("End quota", key="quota_end_go", type="primary", on_click=_save_end, args=(quota.id,))


def _measured(kind: str) -> str:
    name, unit = quotas.KINDS[kind], quotas.UNITS[kind]
    return name if unit == name.lower() else f"{name} ({unit})"


def _fields() -> None:
    forms.text(FORM, "amount", "Amount", placeholder="1,000")
    left, right = st.columns(2)
    with left:
        _day(FORM, "from_day", "First day")
    with right:
        _day(FORM, "until_day", "Last day (empty: no end)")


def _day(form: str, name: str, label: str) -> None:
    st.date_input(label, value=None, key=f"{form}_{name}", format=customer_form.DAY)
    forms.error(form, name)


def _save_new(customer_id: int, request_key: UUID) -> None:
    typed = forms.typed(FORM, ("kind", "amount", "from_day", "until_day"))

    def action(conn: Connection, **given: Any) -> int:
        return quotas.add(conn, customer_id, **(typed | given | {"amount": _amount(typed["amount"])}))

    forms.save(FORM, action, request_key=request_key, success="The quota is added.")


def _save(quota_id: int) -> None:
    typed = forms.typed(FORM, ("amount", "from_day", "until_day"))

    def action(conn: Connection, **given: Any) -> None:
        quotas.edit(conn, quota_id, **(typed | given | {"amount": _amount(typed["amount"])}))

    forms.save(FORM, action, version=forms.version(FORM), success="The quota is saved.")


def _save_end(quota_id: int) -> None:
    typed = forms.typed(END_FORM, ("until_day",))
    forms.save(
        END_FORM, quotas.end, quota_id, version=forms.version(END_FORM), success="The end of the quota is saved.",
        **typed,
    )  # fmt: skip


def _amount(typed: str) -> Decimal:
    return money.parse(typed, field="amount")
