"""A renewal that was paid late, on the pages where that is seen: what happened, and what is left to do (row S5)."""

from collections.abc import Sequence
from datetime import date

import streamlit as st

from lib import issuing, late_renewals
from lib.auth import Permission, User
from lib.invoices import Invoice
from pages.shared import session, ui


def tell(invoice_ids: Sequence[int]) -> None:
    """After payments were recorded on several documents: which of them were paid late, and what became of them."""
    with session.reading() as conn:
        session.tell(late_renewals.told(conn, invoice_ids))


def links(document: Invoice) -> list[tuple[str, int, str]]:
    """The document that was issued in place of this one, or that this one is in place of: words, id, number."""
    if not document.advance_period:
        return []
    with session.reading() as conn:
        found = late_renewals.issued_again(conn, [document.id])
    return [
        ("In place of", one.old_id, one.old_number)
        if one.new_id == document.id
        else ("Issued again as", one.new_id, one.new_number)
        for one in found
    ]


def draw(document: Invoice, today: date, user: User) -> None:
    """On the page of a document: that it was issued again, or that this is still to be done, and what it waits for."""
    if not document.advance_period:
        return
    with session.reading() as conn:
        waits = bool(late_renewals.paid_late(conn, [document.id]))
        missing = bool(issuing.lacks_anew(conn, document.id)) if waits else False
        said = late_renewals.told(conn, [document.id])
    for sentence in said:
        (st.warning if waits else st.info)(ui.escaped(sentence), icon=":material/autorenew:")
    if waits and user.may(Permission.EDIT_INVOICES):
        st.button(
            "Cancel and issue again", key="issue_again", icon=":material/autorenew:", disabled=missing,
            on_click=session.click, args=(late_renewals.replace_now, document.id),
            kwargs={"today": today, "success": f"{document.number} is cancelled and issued again."},
        )  # fmt: skip


def draw_waiting(user: User) -> None:
    """Above the list of documents: those that are still to be issued again, each with a link."""
    if not user.may(Permission.EDIT_INVOICES):
        return
    with session.reading() as conn:
        found = late_renewals.still_waiting(conn)
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(":material/autorenew: Paid late, still to be cancelled and issued again:", width="content")
        for one in found:
            st.page_link("invoice.py", label=one.number, query_params={"id": str(one.invoice_id)})


def said_of(invoice_id: int | None) -> list[str]:
    """For the card of what is there by a document: that it was paid late, as markdown; nothing where it was not."""
    if invoice_id is None:
        return []
    with session.reading() as conn:
        return [f":gray[{ui.escaped(one)}]" for one in late_renewals.told(conn, [invoice_id])]
