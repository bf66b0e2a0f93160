"""The form for a draft: texts, dates, and the lines written by hand. Lines of the month close stay as they are."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib import drafts, vat
from lib.db import Connection
from lib.errors import Invalid
from lib.invoices import Invoice, InvoiceLine
from pages.shared import forms, line_editor, ui

FIELDS = ("intro", "closing", "purchase_order", "due_on", "service_from", "service_until")
_OPEN = "draft_being_edited"


def is_open(draft: Invoice) -> bool:
    """Whether this draft is being edited here."""
    return bool(st.session_state.get(_OPEN) == draft.id)


def start(draft: Invoice) -> None:
    """Open the form on what is stored. For callbacks."""
    st.session_state[_OPEN] = draft.id
    forms.fill(_form(draft), {name: getattr(draft, name) for name in FIELDS}, version=draft.version)
    line_editor.reset(_form(draft))


def stop() -> None:
    """Close the form. For callbacks."""
    st.session_state.pop(_OPEN, None)


def draw(draft: Invoice, lines: Sequence[InvoiceLine]) -> None:
    """The form in place of the document's own view."""
    form = _form(draft)
    with st.container(border=True):
        st.markdown("**Texts and dates**")
        with st.grid(4, gap="small"):
            forms.text(form, "purchase_order", "Purchase-order reference")
            _day(form, "due_on", "Due date", help="Empty: the payment term of the customer, from the day of issue.")
            if draft.month is None and not draft.advance_period:
                _day(form, "service_from", "Service from", required=True)
                _day(form, "service_until", "Service until", required=True)
        forms.block(form, "intro", "Text above the lines", height=90)
        forms.block(form, "closing", "Text below the lines", height=90)
    closed = [line for line in lines if line.from_close]
    if closed:
        with st.container(border=True):
            whose, stay = f"of the close of {ui.month(draft.month)}", "as the month was closed"
            if draft.advance_period:
                whose, stay = "of what is invoiced in advance", "as it was ordered"
            st.markdown(f"**:material/lock: Lines {whose}**")
            st.caption(f"They stay {stay}. To correct one, add a line below, a negative one for a credit.")
            lines_table(closed, draft.currency, category=draft.vat_category, key="locked_lines")
    with st.container(border=True):
        st.markdown("**Lines written by hand**")
        line_editor.draw(form, [line for line in lines if not line.from_close], currency=draft.currency)
        st.caption("A row is added at the end of the table; tick rows to delete them.")
    with st.container(horizontal=True):
        st.button("Save draft", key="draft_save", type="primary", on_click=_save, args=(draft,))
        st.button("Discard changes", key="draft_discard", on_click=stop)


def lines_table(lines: Sequence[InvoiceLine], currency: str, *, category: str | None, key: str, **options: Any) -> None:
    """The lines of a document as they are printed."""
    rows = [
        {
            "position": str(line.position),
            "text": line.name,
            "detail": line.detail,
            "quantity": line_editor.plain(line.quantity),
            "unit": line.unit,
            "price": line_editor.plain(line.unit_price, 2),
            "vat": _rate(line, category),
            "amount": ui.money(line.amount),
        }
        for line in lines
    ]
    columns: dict[str, Any] = {
        "position": ui.figure_column("Pos.", width=50),
        "text": ui.text_column("Text", width="medium"),
        "detail": ui.text_column("Detail", width="medium"),
        "quantity": ui.figure_column("Quantity", width=90),
        "unit": ui.text_column("Unit", width=90),
        "price": ui.figure_column(f"Unit price ({currency})", width=130),
        "vat": ui.figure_column("VAT", width=70),
        "amount": ui.figure_column(f"Net ({currency})", width=120),
    }
    ui.table(rows, columns, key=key, alt="Lines of the document", **options)


def _rate(line: InvoiceLine, category: str | None) -> str:
    if category == vat.STANDARD and line.vat_treatment == "exempt":
        return "exempt"
    return ui.NOTHING if line.vat_rate is None else f"{line_editor.plain(line.vat_rate)} %"


def _save(draft: Invoice) -> None:
    form = _form(draft)
    values = forms.typed(form, [name for name in FIELDS if draft.month is None or not name.startswith("service")])
    values = {"service_from": draft.service_from, "service_until": draft.service_until} | values
    entered = line_editor.entered_now(form)

    def action(conn: Connection, invoice_id: int, **given: Any) -> None:
        if entered.problems:
            others = len(entered.problems) - 1
            more = f" {ui.count(others, 'more problem')} of the lines: see below them." if others else ""
            raise Invalid(f"Nothing was saved. {entered.problems[0]}{more}")
        drafts.edit(conn, invoice_id, lines=entered.lines, **given)

    if forms.save(form, action, draft.id, version=forms.version(form), success="The draft is saved.", **values):
        stop()


def _day(form: str, name: str, label: str, **options: Any) -> None:
    with st.container(gap="xxsmall"):
        st.date_input(label, value=None, key=f"{form}_{name}", format="DD.MM.YYYY", **options)
        forms.error(form, name)


def _form(draft: Invoice) -> str:
    return f"draft_{draft.id}"
