"""What the pages about documents share: their state in words, their tables, the report of an issue."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import streamlit as st

from lib.invoices import KINDS, Invoice
from lib.issuing import Issued
from pages.shared import ui, work

STATES = ("draft", "issued", "partly_paid", "paid", "overdue", "written_off", "cancelled")
ISSUE = "issue"


def state(document: Invoice, *, today: date) -> str:
    """The state as it is shown: an issued invoice past its due date is overdue."""
    unpaid = document.kind == "invoice" and document.state in ("issued", "partly_paid")
    overdue = unpaid and document.due_on is not None and document.due_on < today
    return "overdue" if overdue else document.state


def name(document: Invoice) -> str:
    """What a document is called in headings and sentences: its number, or which draft it is."""
    return document.number or f"Draft {KINDS[document.kind].lower()}"


def pdf_address(invoice_id: int, *, download: bool = False) -> str:
    """The address of a document's PDF; it opens in the browser, or is saved with `download`."""
    return f"/documents/{invoice_id}.pdf" + ("?download=1" if download else "")


def row(document: Invoice, *, today: date, mailed: str = ui.NOTHING) -> dict[str, Any]:
    """A document as a row of a table with `columns`; `mailed` says how far its mail is."""
    return {
        "number": document.number or "Draft",
        "state": [ui.word(state(document, today=today))],
        "customer": document.customer_name,
        "kind": KINDS[document.kind].removesuffix(" invoice"),
        "month": origin(document),
        "issued": ui.day(document.issued_on),
        "mailed": mailed,
        "due": ui.day(document.due_on) if document.kind == "invoice" else ui.NOTHING,
        "net": ui.money(document.net),
        "gross": gross(document),
        "pdf": pdf_address(document.id),
    }


def gross(document: Invoice) -> str:
    """The gross as it is shown: – while the VAT isn't decided, as what is stored is the net amount until then."""
    return ui.NOTHING if document.vat_category is None else ui.money(document.gross)


def origin(document: Invoice) -> str:
    """The booking month whose close drafted it, or how else it came about."""
    if document.month is not None:
        return f"{document.month:%b %Y}"
    if document.kind == "cancellation":
        return ui.NOTHING
    return "In advance" if document.advance_period else "By hand"


def columns(currency: str) -> dict[str, Any]:
    """The columns of a table of documents, in their order."""
    return {
        "number": ui.text_column("Number", width=114, pinned=True),
        "state": ui.state_column("State", STATES, width=92),
        "customer": ui.text_column("Customer", width=150),
        "kind": ui.text_column("Kind", width=84),
        "month": ui.text_column("Month", width=72),
        "issued": ui.text_column("Issued", width=86),
        "mailed": ui.text_column("Mailed", width=86),
        "due": ui.text_column("Due", width=86),
        "net": ui.figure_column(f"Net ({currency})", width=80),
        "gross": ui.figure_column(f"Gross ({currency})", width=88),
        "pdf": st.column_config.LinkColumn("PDF", display_text="Open", width=50),
    }


def show_report(*, with_blocked: bool = True) -> None:
    """What the last issue did, until it is closed: the numbers given, and what the blocked drafts lack.

    Without `with_blocked` where the page lists those itself.
    """
    issued: Issued | None = work.report(ISSUE)
    if issued is None:
        return
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{said(issued)}**")
            st.space("stretch")
            st.button("Close", key="report_close", icon=":material/close:", type="tertiary", on_click=work.forget)
        if issued.blocked and with_blocked:
            blocked_table([(one.customer, one.missing) for one in issued.blocked], key="report_blocked")


def said(issued: Issued) -> str:
    """The outcome of an issue in a sentence."""
    if not issued.count and not issued.blocked:
        return "Nothing was left to issue."
    ranges = ", ".join(first if first == last else f"{first} – {last}" for first, last in issued.series)
    done = f"Issued {issued.count:,} {'document' if issued.count == 1 else 'documents'}" if issued.count else ""
    held = f"{len(issued.blocked):,} not issued, because something is missing" if issued.blocked else ""
    return ". ".join(part for part in (f"{done}: {ranges}" if done else "", held) if part) + "."


def blocked_table(blocked: Sequence[tuple[str, Sequence[str]]], *, key: str, **options: Any) -> None:
    """Drafts that can't be issued, with what each lacks."""
    rows = [{"customer": customer, "missing": "; ".join(missing)} for customer, missing in blocked]
    shown = {"customer": ui.text_column("Customer", width="medium"), "missing": ui.text_column("Lacks", width="large")}
    ui.table(rows, shown, key=key, alt="Drafts that can't be issued, and what they lack", **options)
