"""Adjustments, invoices and the change log of a customer."""

from datetime import date
from functools import partial
from uuid import UUID

import streamlit as st

from lib import adjustments, audit, clock, invoice_mails, invoices, vat
from lib.adjustments import Adjustment
from lib.auth import Permission
from lib.customer_states import Action
from pages.shared import change_words, documents, forms, invoice_mail, session, ui
from pages.shared.customer_view import View

PAGE = 50
FORM = "adjustment"


# ---------------------------------------------------------------------------------- adjustments


def draw_adjustments(view: View) -> None:
    """One-off charges and corrections, and a new one."""
    customer = view.customer
    if not customer.billed:
        ui.empty("A test customer has no charges, so there is nothing to adjust.")
        return
    with session.reading() as conn:
        found = adjustments.adjustments_of(conn, customer.id)
    may_write = view.user.may(Permission.EDIT_ADJUSTMENTS) and Action.CHARGE in view.offers
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Adjustments", anchor=False)
        st.space("stretch")
        if may_write and st.button("Add adjustment", key="adjustment_add", icon=":material/add:"):
            _open_new(view)
    st.caption("What has to be corrected in a closed month, and one-off charges. They are charged in an open month.")
    if not found:
        ui.empty("No adjustment yet.")
        return
    columns = {
        "month": ui.text_column("Charged in", width=115, pinned=True),
        "meant": ui.text_column("For", width=105),
        "text": ui.text_column("Text on the invoice", width=235),
        "amount": ui.figure_column(f"Net ({view.currency})", width=105),
        "vat": ui.text_column("VAT", width=115),
        "reason": ui.text_column("Reason", width=195),
        "by": ui.text_column("Added by", width=130),
    }
    ui.table([_row(one) for one in found], columns, key="adjustments_table", alt="Adjustments, the newest first")
    open_ones = {one.id: one for one in found if view.first_open and one.month >= view.first_open}
    if may_write and open_ones:
        chosen = st.menu_button(
            "Withdraw …", list(open_ones), key="adjustment_withdraw", icon=":material/undo:",
            format_func=lambda one: ui.escaped(_told(open_ones[one])) if one in open_ones else "",
        )  # fmt: skip
        if chosen is not None:
            ui.confirm(
                "Withdraw this adjustment?", f"{ui.escaped(_told(open_ones[chosen]))} will not be charged.",
                "Withdraw", adjustments.withdraw, chosen, success="The adjustment is withdrawn.",
            )  # fmt: skip


def _told(one: Adjustment) -> str:
    return f"{one.text}, {ui.money(one.amount)} in {ui.month(one.month)}"


def _row(one: Adjustment) -> dict[str, str]:
    return {
        "month": ui.month(one.month),
        "meant": ui.month(one.month_meant),
        "text": one.text,
        "amount": ui.money(one.amount),
        "vat": vat.TREATMENTS[one.vat_treatment],
        "reason": one.reason,
        "by": one.recorded_by,
    }


def _open_new(view: View) -> None:
    assert view.first_open is not None
    empty = dict.fromkeys(("text", "amount", "reason", "exempt_reason"), "")
    forms.fill(FORM, empty | {"month_meant": view.first_open, "vat_treatment": "standard"})
    _new(view, view.first_open)


@st.dialog("Add adjustment", icon=":material/add:")
def _new(view: View, first_open: date) -> None:
    session.close_or_explain()
    st.markdown(f"It is charged in the first open month, {ui.month(first_open)}.")
    customer = view.customer
    first = customer.billed_from or first_open
    with st.form(FORM, border=False):
        forms.text(FORM, "text", "Text on the invoice")
        forms.text(FORM, "amount", f"Net amount ({view.currency})", help="Negative: a credit. 1.234,56 or 1,234.56.")
        months = clock.months_between(min(first, first_open), first_open)[::-1]
        forms.choice(FORM, "month_meant", "The month it is for", months, ui.month)
        forms.choice(FORM, "vat_treatment", "VAT", vat.TREATMENTS, lambda name: vat.TREATMENTS[name])
        forms.text(
            FORM,
            "exempt_reason",
            "If exempt: why (printed)",
            placeholder=vat.EXAMPLES[customer.language],
        )
        forms.text(FORM, "reason", "Reason (not printed)")
        st.form_submit_button(
            "Add adjustment", key="adjustment_go", type="primary", on_click=_add,
            args=(customer.id, forms.request_key(FORM)),
        )  # fmt: skip


def _add(customer_id: int, request_key: UUID) -> None:
    typed = forms.typed(FORM, ("text", "amount", "month_meant", "vat_treatment", "exempt_reason", "reason"))

    forms.save(FORM, adjustments.add, customer_id, **typed, request_key=request_key, success="The adjustment is added.")


# ---------------------------------------------------------------------------------- invoices


def draw_invoices(view: View) -> None:
    """The customer's documents; a click on one, or the box below, opens it."""
    with session.reading() as conn:
        found = invoices.invoices_of(conn, view.customer.id)
        mailed = invoice_mails.sendings(conn, [one.id for one in found])
    if not found:
        ui.empty("No invoice yet. Month close drafts them.", icon=":material/receipt_long:")
        return
    columns = {name: column for name, column in documents.columns(view.currency).items() if name != "customer"}
    ids = [one.id for one in found]
    ui.table(
        [
            documents.row(one, today=view.today, mailed=invoice_mail.state(mailed.get(one.id), view.zone))
            for one in found
        ],
        columns,
        key="invoices_table",
        alt="Invoices, the newest first; the box below opens one without the mouse",
        on_select=partial(_clicked_invoice, ids, list(columns)),
        selection_mode="single-cell",
    )
    names = {
        one.id: f"{documents.name(one)} · {ui.month(one.month) if one.month else ui.day(one.service_until)}"
        for one in found
    }
    st.selectbox(
        "Open a document", ids, index=None, key="open_invoice", placeholder="Open …", width=300,
        format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked_invoice,
    )  # fmt: skip


def _clicked_invoice(ids: list[int], columns: list[str]) -> None:
    cells = st.session_state.invoices_table.selection.cells
    if cells and cells[0][1] != "pdf":
        _open_invoice(ids[cells[0][0]])


def _picked_invoice() -> None:
    if st.session_state.open_invoice is not None:
        _open_invoice(st.session_state.open_invoice)


def _open_invoice(invoice_id: int) -> None:
    st.switch_page("invoice.py", query_params={"id": str(invoice_id)})


# ---------------------------------------------------------------------------------- change log


def draw_changes(view: View) -> None:
    """Who changed what of this customer (row B10)."""
    number = max(1, st.session_state.get("changes_page") or 1)
    with session.reading() as conn:
        found, total = audit.entries(conn, customer_id=view.customer.id, limit=PAGE, offset=(number - 1) * PAGE)
    if not found:
        ui.empty("Nothing was changed yet.")
        return
    columns = {
        "at": ui.text_column("When", width=150, pinned=True),
        "person": ui.text_column("Who", width=130),
        "action": ui.text_column("What", width=150),
        "object": ui.text_column("Of", width=190),
        "changes": ui.text_column("Before → after", width=500),
    }
    rows = [
        {
            "at": ui.moment(entry.at, view.zone),
            "person": entry.person,
            "action": entry.action.capitalize(),
            "object": "Customer" if entry.object_type == "customer" else change_words.of(entry),
            "changes": change_words.change(entry),
        }
        for entry in found
    ]
    ui.table(rows, columns, key=f"changes_table_{number}", alt="Changes of this customer, the newest first")
    if total > PAGE:
        st.pagination(-(-total // PAGE), key="changes_page")
