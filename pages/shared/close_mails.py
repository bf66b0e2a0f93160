"""Sending the documents of a closed month by mail, from its close (rows B1, S3)."""

from datetime import date

import streamlit as st

from lib import invoice_mails, mail_server
from lib.auth import Permission, User
from lib.invoice_mails import MonthSurvey
from pages.shared import session, ui, work

SEND = "send"


def draw(month: date, user: User) -> None:
    """How far the mails of the month's documents are, and the button that sends what was not sent yet."""
    with session.reading() as conn:
        survey = invoice_mails.month_survey(conn, month)
        ready = mail_server.ready(conn)
    with st.container(horizontal=True, vertical_alignment="center"):
        if (
            survey.to_send
            and user.may(Permission.EDIT_INVOICES)
            and st.button(
                f"Send by mail ({survey.to_send:,})", key="month_send", icon=":material/mail:", disabled=not ready,
                help=None if ready else mail_server.NOT_READY,
            )
        ):  # fmt: skip
            _ask(month, survey)
        st.caption(f":material/mail: {said(survey)}")


def said(survey: MonthSurvey) -> str:
    """The figures in a sentence: by mail: 40 sent, 2 waiting, 1 failed, 3 not sent yet, 2 without an e-mail address."""
    counts = {
        "sent": survey.sent,
        "waiting": survey.waiting,
        "failed": survey.failed,
        "not sent yet": max(survey.to_send - survey.failed, 0),
    }
    parts = [f"{count:,} {word}" for word, count in counts.items() if count]
    without = survey.without_address
    if without:
        parts.append(f"{without:,} without an e-mail address")
    return f"By mail: {', '.join(parts)}." if parts else "There is nothing to send by mail."


def _ask(month: date, survey: MonthSurvey) -> None:
    name = ui.month(month)
    many = "1 document" if survey.to_send == 1 else f"{survey.to_send:,} documents"
    left_out = survey.without_address
    without = f" Left out: {left_out:,} whose customer has no e-mail address." if left_out else ""
    work.ask(
        f"Send the documents of {name}?",
        f"**{many}** {'goes' if survey.to_send == 1 else 'go'} out by mail, each with its PDF and the text of the "
        f"template in its language. What was mailed before is not sent again.{without}",
        "Send all",
        work.Job(
            SEND, f"Writing the mails of {name} …", f"The mails of {name} go out now.", invoice_mails.send_month,
            (month,), steps=True,
        ),
        icon=":material/mail:",
    )  # fmt: skip
