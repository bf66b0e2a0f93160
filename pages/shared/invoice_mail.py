"""Invoices by mail: the dialogs that send one or many, and how far each one's mail is (row S3)."""

from collections.abc import Sequence
from uuid import uuid4

import streamlit as st

from lib import invoice_mails, mail_server
from lib.invoice_mails import Sending, Survey
from lib.invoices import Invoice
from pages.shared import forms, session, ui

FORM = "invoice_mail"
FIELDS = ("recipient", "subject", "body")
# How many names of customers without an address a dialog lists.
MOST_NAMES = 5


def state(sending: Sending | None, zone: str) -> str:
    """How far a document's mail is, in a table's cell: the day on which it was sent, or a word."""
    if sending is None:
        return ui.NOTHING
    return ui.day_of(sending.sent_at, zone) if sending.state == "sent" else ui.word(sending.state)


def draw_state(document: Invoice, zone: str) -> None:
    """The same in a sentence, on the document's page."""
    with session.reading() as conn:
        sending = invoice_mails.sendings(conn, [document.id]).get(document.id)
    if sending is None:
        return
    to = f" to {session.escaped(sending.recipient)}" if sending.recipient else ""
    if sending.state == "sent":
        st.caption(f":material/mark_email_read: Sent {ui.day_of(sending.sent_at, zone)}{to}")
    elif sending.state == "failed":
        st.error(f"It was not sent{to}. {session.escaped(sending.last_error)}", icon=":material/error:")
    elif sending.last_error:
        st.warning(
            f"It waits to be sent again{to}. {session.escaped(sending.last_error)}", icon=":material/schedule_send:"
        )
    else:
        st.caption(f":material/schedule_send: Waits to be sent{to}")


# ---------------------------------------------------------------------------------- one


def open_one(document: Invoice) -> None:
    """The dialog that sends one document, filled from the template of its language."""
    with session.reading() as conn:
        prepared = invoice_mails.prepared(conn, document.id)
        before = invoice_mails.sendings(conn, [document.id]).get(document.id)
        ready = mail_server.ready(conn)
    forms.fill(FORM, {name: getattr(prepared, name) for name in FIELDS})

    @st.dialog(f"Send {document.number}", width="large", icon=":material/mail:")
    def asked() -> None:
        session.close_or_explain()
        if not ready:
            st.warning(mail_server.NOT_READY, icon=":material/mail_off:")
        if before is not None and before.state != "failed":
            st.info(
                "It was sent before, or is on its way. Sending it again sends a second mail.", icon=":material/info:"
            )
        with st.form(FORM, border=False):
            forms.text(FORM, "recipient", "To", placeholder="The customer has no address; enter one")
            forms.text(FORM, "subject", "Subject")
            forms.block(FORM, "body", "Text", height=300)
            st.caption(f":material/attach_file: {document.number}.pdf")
            st.form_submit_button(
                "Send", key="invoice_mail_go", type="primary", icon=":material/send:", disabled=not ready,
                on_click=_send_one, args=(document,),
            )  # fmt: skip

    asked()


def _send_one(document: Invoice) -> None:
    forms.save(
        FORM,
        invoice_mails.send,
        document.id,
        request_key=forms.request_key(FORM),
        success=f"{document.number} goes out in a moment.",
        **forms.typed(FORM, FIELDS),
    )


# ---------------------------------------------------------------------------------- many


def open_many(chosen: Sequence[Invoice]) -> None:
    """The dialog that sends the ticked documents, with what is left out and why."""
    ids, key = [one.id for one in chosen], uuid4()
    with session.reading() as conn:
        survey = invoice_mails.survey(conn, ids)
        ready = mail_server.ready(conn)

    @st.dialog(f"Send {_many(survey.ready)}?", icon=":material/mail:")
    def asked() -> None:
        session.close_or_explain()
        if not ready:
            st.warning(mail_server.NOT_READY, icon=":material/mail_off:")
        st.markdown(
            f"**{_many(survey.ready)}** {'goes' if survey.ready == 1 else 'go'} out by mail, each with its PDF and "
            "the text of the template in its language."
        )
        left_out = _left_out(survey)
        if left_out:
            st.markdown("\n".join(f"- {line}" for line in left_out))
        st.button(
            f"Send {_many(survey.ready)}", key="send_many_go", type="primary", icon=":material/send:",
            disabled=not ready or not survey.ready, on_click=session.click, args=(invoice_mails.send_many, ids),
            kwargs={"request_key": key, "success": f"{_many(survey.ready)}: on the way."},
        )  # fmt: skip

    asked()


def _left_out(survey: Survey) -> list[str]:
    """What is not sent and why, and what is sent for the second time; as lines of markdown."""
    lines = []
    if survey.without_address:
        names = [session.escaped(name) for name in survey.without_address[:MOST_NAMES]]
        more = len(survey.without_address) - len(names)
        listed = ", ".join(names) + (f" and {more:,} more" if more else "")
        lines.append(f"Left out, because there is no e-mail address: {listed}.")
    if survey.drafts:
        lines.append(f"Left out, because {'it is a draft' if survey.drafts == 1 else 'they are drafts'}: "
                     f"{survey.drafts:,}.")  # fmt: skip
    if survey.sent_before:
        was = "was" if survey.sent_before == 1 else "were"
        lines.append(f"{survey.sent_before:,} of them {was} sent before and {'gets' if was == 'was' else 'get'} a "
                     "second mail.")  # fmt: skip
    return lines


def _many(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"
