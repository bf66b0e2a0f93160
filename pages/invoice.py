"""One document: what stands on it, and what can still be done with it (row S3)."""

import re
from datetime import date
from typing import Any

import streamlit as st

from lib import cancellations, clock, documents, drafts, invoices, issuing, layouts, settings, vat
from lib.auth import Permission
from lib.errors import NotFound
from lib.invoices import KINDS, Invoice, InvoiceLine
from lib.papers import Document, Tax
from pages.shared import documents as shown
from pages.shared import (
    draft_form,
    explain,
    invoice_history,
    invoice_mail,
    late_renewals,
    line_editor,
    payment_list,
    session,
    ui,
    work,
)

CATEGORIES = {
    "S": "Taxed in Germany",
    "AE": "Reverse charge: the recipient owes the VAT",
    "O": "Not taxable in Germany",
}

user = session.require_user(Permission.READ)
may_write = user.may(Permission.EDIT_INVOICES)


# ---------------------------------------------------------------------------------- what the clicks do


def _remove(draft: Invoice) -> None:
    if session.attempt(drafts.remove, draft.id, success="The draft is deleted."):
        st.session_state["invoice_gone"] = draft.month is not None


def _cancel(document: Invoice, today: date) -> None:
    reason = st.session_state.get("cancel_reason", "")
    if session.attempt(
        cancellations.cancel, document.id, reason=reason, today=today, success=f"{document.number} is cancelled."
    ):
        st.session_state["invoice_next"] = session.result()


def ask_remove(draft: Invoice) -> None:
    """Confirm that a draft goes, and say what becomes of its charges."""

    @st.dialog("Delete this draft?", icon=":material/delete:")
    def asked() -> None:
        session.close_or_explain()
        if draft.advance_period:
            st.markdown(
                "The plan or module that waits for its payment doesn't begin then. A renewal is cancelled by this: "
                "what it would have renewed ends with its last day, unless that is taken back on the customer's page."
            )
        elif draft.month is None:
            st.markdown("It was written by hand and is gone then; its deletion stays in the audit log.")
        else:
            st.markdown(
                f"The charges of **{ui.month(draft.month)}** on it become **unbilled**: they stay on "
                "*Invoices → Unbilled*, from where they are drafted again. Lines written by hand are gone."
            )
        st.button("Delete draft", key="remove_go", type="primary", on_click=_remove, args=(draft,))

    asked()


def ask_cancel(document: Invoice, today: date) -> None:
    """Confirm a cancellation, and say what it does."""

    @st.dialog(f"Cancel {document.number}?", icon=":material/block:")
    def asked() -> None:
        session.close_or_explain()
        st.markdown(
            "A **cancellation invoice** with a number of its own is issued today. It names "
            f"{document.number} and takes back its {ui.money(document.gross)} {document.currency}; "
            f"{document.number} itself stays as it is, marked as cancelled."
        )
        if document.advance_period:
            st.markdown("The plan or module that waits for its payment doesn't begin then.")
        if document.month is not None:
            st.markdown(f"Its charges of **{ui.month(document.month)}** become unbilled and can be drafted again.")
        st.text_input("Reason", key="cancel_reason", help="For the audit log. It isn't printed.")
        session.field_error("reason")
        st.button("Issue cancellation", key="cancel_go", type="primary", on_click=_cancel, args=(document, today))

    asked()


def asked_gross(draft: Invoice) -> str:
    """What a draft asks for, as the question before its issue says it."""
    if draft.vat_category is None:
        return f"Net {ui.money(draft.net)} {draft.currency}; its VAT is decided when it is issued."
    return f"Gross {ui.money(draft.gross)} {draft.currency}."


def ask_issue(draft: Invoice, today: date) -> None:
    """Confirm an issue: after it the document never changes."""
    work.ask(
        "Issue this draft?",
        f"It gets the next number, is dated today and **never changes afterwards**: a mistake is then corrected "
        f"by a cancellation. {asked_gross(draft)}",
        "Issue",
        work.Job(shown.ISSUE, "Issuing …", "Issuing is done.", issuing.issue, ([draft.id],), {"today": today}),
        icon=":material/send:",
    )


# ---------------------------------------------------------------------------------- the parts of the page


def draw_head(document: Invoice, missing: list[str], today: date) -> None:
    """What it is, how far it is, and what can be done."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(shown.name(document), anchor=False, width="content")
        ui.badge(shown.state(document, today=today))
        if document.kind != "invoice" and document.number:
            st.badge(KINDS[document.kind], color="violet")
        st.space("stretch")
        draw_actions(document, missing, today)
    with st.container(horizontal=True, gap="small"):
        st.page_link(
            "customer.py",
            label=f"{document.customer_number} {session.escaped(document.customer_name)}",
            icon=":material/person:",
            query_params={"id": str(document.customer_id)},
        )
        for label, other, number in (
            ("Cancels", document.cancels_id, document.cancels_number),
            ("Cancelled by", document.cancelled_by_id, document.cancelled_by_number),
            *late_renewals.links(document),
        ):
            if other is not None:
                st.page_link(
                    "invoice.py", label=f"{label} {number}", icon=":material/link:", query_params={"id": str(other)}
                )
    if document.number:
        with session.reading() as conn:
            zone = settings.company(conn).timezone
        invoice_mail.draw_state(document, zone)


def draw_actions(document: Invoice, missing: list[str], today: date) -> None:
    """The buttons of the head; a form that is open has its own."""
    draft = document.state == "draft"
    if draft and draft_form.is_open(document):
        return
    label = "Preview PDF" if draft else "Open PDF"
    st.link_button(label, shown.pdf_address(document.id), icon=":material/picture_as_pdf:")
    if not draft:
        st.link_button(
            "Download", shown.pdf_address(document.id, download=True), icon=":material/download:", type="primary"
        )
    if not may_write:
        return
    if draft:
        st.button("Edit", key="draft_edit", icon=":material/edit:", on_click=draft_form.start, args=(document,))
        if st.button("Delete", key="draft_remove", icon=":material/delete:"):
            ask_remove(document)
        lacks = f"It needs {session.escaped('; '.join(missing))}." if missing else None
        if st.button(
            "Issue", key="draft_issue", type="primary", icon=":material/send:", disabled=bool(missing), help=lacks
        ):
            ask_issue(document, today)
        return
    if st.button("Send by mail", key="issued_mail", icon=":material/mail:"):
        invoice_mail.open_one(document)
    has_payments = document.state in ("partly_paid", "paid")
    if (
        (document.state == "issued" or has_payments)
        and document.kind != "cancellation"
        and st.button(
            "Cancel", key="issued_cancel", icon=":material/block:", disabled=has_payments,
            help="It has payments. Reverse them below, then it can be cancelled." if has_payments else None,
        )
    ):  # fmt: skip
        ask_cancel(document, today)


def draw_missing(document: Invoice, missing: list[str]) -> None:
    """What a draft lacks before it can be issued."""
    if missing:
        points = "\n".join(f"- {session.escaped(point)}" for point in missing)
        st.warning(f"This draft can't be issued yet. It needs:\n{points}", icon=":material/warning:")


def draw_facts(document: Invoice, paper: Document) -> None:
    """To whom, when, for which time."""
    left, right = st.columns(2)
    period = " – ".join(map(ui.day, paper.period))
    with left.container(border=True, height="stretch"):
        st.markdown("**Bill to**")
        st.text("\n".join(layouts.address(paper)))
        if paper.buyer.vat_id:
            st.caption(f"VAT ID {session.escaped(paper.buyer.vat_id)}")
        if document.state == "draft":
            st.caption("As the customer is stored today; frozen when it is issued.")
    with right.container(border=True, height="stretch"):
        ui.facts(
            {
                "Issued": ui.day(document.issued_on),
                "Due": ui.day(document.due_on) if document.due_on else "by the payment term",
                "Service period": document.advance_period or period,
                "Booking month": ui.month(document.month) if document.month else shown.origin(document),
                "Purchase order": document.purchase_order,
                "Language": {"de": "German", "en": "English"}.get(document.language, document.language),
            },
            alt="Dates and references of the document",
        )


def draw_lines(document: Invoice, lines: list[InvoiceLine]) -> None:
    """Lines, taxes and totals as they are printed."""
    with st.container(border=True):
        if document.intro:
            st.text(document.intro)
        if lines:
            by_close = not document.advance_period
            charged = [by_close and line.from_close and line.product_id is not None for line in lines]
            options: dict[str, Any] = {
                "on_select": lambda: explain_line(document, lines),
                "selection_mode": "single-cell",
            }
            more = options if any(charged) else {}
            draft_form.lines_table(lines, document.currency, category=document.vat_category, key="lines", **more)
            if any(charged):
                st.caption("A click on a line of the month close says how its amount came about.")
            if document.state == "draft" and any(line.from_close for line in lines):
                whose = "of the plan or module"
                if by_close:
                    whose = f"of the close of {ui.month(document.month)}"
                st.caption(f":material/lock: Lines {whose} can't be edited.")
        else:
            ui.empty("There are no lines yet. *Edit* adds them.", icon=":material/playlist_add:")
        with session.reading() as conn:
            taxes = invoices.taxes(conn, document.id)
        sums = [("Net", ui.money(document.net))]
        if document.vat_category is None:
            sums.append(("VAT", ui.NOTHING))
        sums += [(_taxed(tax), ui.money(tax.vat)) for tax in taxes]
        sums.append(("Gross", shown.gross(document)))
        _, right = st.columns([3, 2])
        with right:
            ui.table(
                [{"what": what, "amount": amount} for what, amount in sums],
                {"what": ui.text_column("Total"), "amount": ui.figure_column(document.currency, width=120)},
                key="sums",
                alt="Net, VAT by rate and gross",
            )
            if document.vat_category:
                st.caption(CATEGORIES[document.vat_category])
            if any(tax.category == vat.EXEMPT for tax in taxes):
                for reason in dict.fromkeys(line.exempt_reason for line in lines if line.exempt_reason):
                    st.caption(f"Exempt: {ui.escaped(reason)}")
        if document.closing:
            st.text(document.closing)


def _taxed(tax: Tax) -> str:
    if tax.category == vat.EXEMPT:
        return f"VAT exempt on {ui.money(tax.net)}"
    return f"VAT {line_editor.plain(tax.rate)} % on {ui.money(tax.net)}"


def explain_line(document: Invoice, lines: list[InvoiceLine]) -> None:
    """The charge that the chosen line is a piece of; a cancellation's are those of the document that it takes back."""
    cells = st.session_state.lines.selection.cells
    line = lines[cells[0][0]] if cells and cells[0][0] < len(lines) else None
    if line is None or not line.from_close or line.product_id is None:
        return
    month = document.month
    if month is None and document.cancels_id is not None:
        with session.reading() as conn:
            month = invoices.invoice(conn, document.cancels_id).month
    if month is not None:
        explain.ask(document.customer_id, line.product_id, month)


def read(invoice_id: str) -> tuple[Invoice, list[InvoiceLine]] | None:
    """The document that the address names, or None where there is none."""
    if not re.fullmatch(r"[0-9]{1,18}", invoice_id):
        return None
    try:
        with session.reading() as conn:
            found = invoices.invoice(conn, int(invoice_id))
            return found, invoices.lines(conn, found.id)
    except NotFound:
        return None


def draw(document: Invoice, lines: list[InvoiceLine]) -> None:
    """The whole page of a document."""
    with session.reading() as conn:
        today = clock.today(conn)
        missing = issuing.lacks(conn, document.id, today=today) if document.state == "draft" else []
        paper = documents.document(conn, document.id)
    draw_head(document, missing, today)
    work.run()
    shown.show_report()
    draw_missing(document, missing)
    late_renewals.draw(document, today, user)
    if document.state == "draft" and may_write and draft_form.is_open(document):
        draft_form.draw(document, lines)
    else:
        draw_facts(document, paper)
        draw_lines(document, lines)
        payment_list.draw(document, today, user)
    if user.may(Permission.READ_AUDIT):
        invoice_history.draw(document)


# ---------------------------------------------------------------------------------- the page

if "invoice_gone" in st.session_state:
    released = st.session_state.pop("invoice_gone")
    st.switch_page("invoices.py", query_params={"invoice_view": "Unbilled"} if released else None)
if (following := st.session_state.pop("invoice_next", None)) is not None:
    session.open_made("invoice.py", following)
st.page_link("invoices.py", label="All invoices", icon=":material/arrow_back:")
opened = read(st.query_params.get("id", ""))
if opened is None:
    st.title("Invoice", anchor=False)
    ui.empty("There is no such document. It may have been a draft that was deleted.", icon=":material/search_off:")
else:
    draw(*opened)
    explain.open_asked(opened[0].currency)
