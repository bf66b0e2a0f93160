"""The Mails tab: what was sent to this customer, what waits, and what failed and why (rows G4, S3)."""

from functools import partial

import streamlit as st

from lib import mail_server, mails
from lib.auth import Permission
from lib.mails import Mail
from pages.shared import session, ui
from pages.shared.customer_view import View

PAGE = 25
_OPEN = "mail_open"
STATES = ("queued", "sent", "failed")


def draw(view: View) -> None:
    """The mails, the newest first; one opens by a click or from the box below."""
    number = max(1, st.session_state.get("mails_page") or 1)
    with session.reading() as conn:
        found, total = mails.of_customer(conn, view.customer.id, limit=PAGE, offset=(number - 1) * PAGE)
        ready = mail_server.ready(conn)
    if not found:
        ui.empty("No mail was sent yet. Invites and invoices that go out by mail stand here.", icon=":material/mail:")
        return
    if not ready and any(mail.state == "queued" for mail in found):
        ui.empty(mail_server.NOT_READY + " Until then mails wait.", icon=":material/schedule_send:")
    columns = {
        "at": ui.figure_column("Queued", width=140, pinned=True),
        "state": ui.state_column("State", STATES, width=90),
        "kind": ui.text_column("Mail", width=120),
        "subject": ui.text_column("Subject", width=270),
        "recipient": ui.text_column("To", width=190),
        "reason": ui.text_column("Why not", width=220),
    }
    ui.table(
        [_row(mail, view.zone) for mail in found],
        columns,
        key=f"mails_table_{number}",
        alt="Mails of this customer, the newest first; the box below opens one without the mouse",
        on_select=partial(_clicked, [mail.id for mail in found], f"mails_table_{number}"),
        selection_mode="single-cell",
    )
    names = {mail.id: f"{mail.label} · {ui.moment(mail.created_at, view.zone)}" for mail in found}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.selectbox(
            "Open a mail", list(names), index=None, key="mail_picked", placeholder="Open …", width=320,
            format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked,
        )  # fmt: skip
        if total > PAGE:
            st.space("stretch")
            st.pagination(-(-total // PAGE), key="mails_page")
    opened = st.session_state.pop(_OPEN, None)
    mail = next((one for one in found if one.id == opened), None)
    if mail is not None:
        _show(mail, view, ready=ready)


def _row(mail: Mail, zone: str) -> dict[str, object]:
    return {
        "at": ui.moment(mail.created_at, zone),
        "kind": mail.label,
        "subject": mail.subject,
        "recipient": mail.recipient or ui.NOTHING,
        "state": [ui.word(mail.state)],
        "reason": mail.last_error or ui.NOTHING,
    }


def _clicked(ids: list[int], table: str) -> None:
    cells = st.session_state[table].selection.cells
    if cells:
        st.session_state[_OPEN] = ids[cells[0][0]]


def _picked() -> None:
    st.session_state[_OPEN] = st.session_state.mail_picked
    st.session_state.mail_picked = None


def _show(mail: Mail, view: View, *, ready: bool) -> None:
    @st.dialog(mail.label, icon=":material/mail:", width="large")
    def shown() -> None:
        session.close_or_explain()
        facts = {
            "To": mail.recipient or "erased with the customer’s data",
            "Queued": f"{ui.moment(mail.created_at, view.zone)}, by {mail.created_by}",
            "State": _said(mail, view.zone),
        }
        if mail.last_error:
            facts["Why not"] = mail.last_error
        if mail.invoice_number:
            facts["Attached"] = f"{mail.invoice_number}.pdf"
        ui.facts(facts, alt="The mail")
        if mail.body:
            with st.container(border=True):
                st.markdown(f"**{ui.escaped(mail.subject)}**")
                st.text(_without_link(mail.body))
        _draw_resend(mail, view, ready=ready)

    shown()


def _without_link(body: str) -> str:
    """The text with words where the link comes when it is sent."""
    return body.replace("{link}", "(the link: only the mail itself has it)").replace("{valid_until}", "(its last day)")


def _said(mail: Mail, zone: str) -> str:
    if mail.state == "sent":
        return f"Sent {ui.moment(mail.sent_at, zone)}"
    tried = "1 attempt" if mail.attempts == 1 else f"{mail.attempts} attempts"
    if mail.state == "failed":
        return f"Failed after {tried}"
    return f"Waiting, next attempt {ui.moment(mail.due_at, zone)} ({tried} so far)" if mail.attempts else "Waiting"


def _draw_resend(mail: Mail, view: View, *, ready: bool) -> None:
    if not view.user.may(Permission.EDIT_INVOICES if mail.invoice_id else Permission.EDIT_CUSTOMERS):
        return
    if mail.state == "sent" and mail.has_link:
        st.caption("Its link works once. To send a new one, invite the person again under *Users*.")
    elif mail.recipient:
        label = {"queued": "Try now", "failed": "Try again", "sent": "Send again"}[mail.state]
        st.button(
            label, key="mail_resend", icon=":material/forward_to_inbox:", type="primary", disabled=not ready,
            on_click=session.click, args=(mails.resend, mail.id), kwargs={"success": "The mail goes out in a moment."},
            help=None if ready else mail_server.NOT_READY,
        )  # fmt: skip
