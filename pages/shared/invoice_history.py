"""What happened to a document, at the end of its page, from the audit log (rows S3, B10)."""

import streamlit as st

from lib import audit, settings
from lib.invoices import Invoice
from pages.shared import change_words, session, ui

HISTORY = 50


def draw(document: Invoice) -> None:
    """Who did what with it, from the audit log; of a draft of the close, who approved its month."""
    with session.reading() as conn:
        entries, _ = audit.entries(
            conn, object_type="invoice", object_id=document.id, customer_id=document.customer_id, limit=HISTORY
        )
        # The close writes no entry per document. What was drafted again has one of its own.
        again = any(entry.action == "draft unbilled" for entry in entries)
        approval = None if document.month is None or again else audit.approval(conn, document.month)
        zone = settings.company(conn).timezone
    rows = [_row(entry, change_words.change(entry), zone) for entry in entries]
    if approval is not None:
        rows.append(_row(approval, f"The close of {ui.month(document.month)} drafted this document.", zone))
    with st.expander(f"History ({len(rows)})", icon=":material/history:", key="invoice_history"):
        if not rows:
            drafted = f"the close of {ui.month(document.month)}" if document.month else "hand"
            ui.empty(f"Nothing happened since it was drafted by {drafted}.", icon=":material/history:")
            return
        columns = {
            "at": ui.text_column("When", width=150),
            "person": ui.text_column("Who", width=140),
            "action": ui.text_column("What", width=140),
            "changes": ui.text_column("Before → after", width="large"),
        }
        ui.table(rows, columns, key="history", alt="What happened to this document")


def _row(entry: audit.Entry, changes: str, zone: str) -> dict[str, str]:
    return {
        "at": ui.moment(entry.at, zone),
        "person": entry.person,
        "action": entry.action.capitalize(),
        "changes": changes,
    }
