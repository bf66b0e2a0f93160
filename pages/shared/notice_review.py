"""Notices of new prices: how far they are, whom they go to, and the dialog that sends or drops them (row B5)."""

from collections.abc import Sequence

import streamlit as st

from lib import mail_server, mail_templates, price_notices, settings
from lib.auth import Permission, User
from lib.price_notices import Survey
from lib.prices import Version
from pages.shared import session, ui

PAGE = 50
_PAGE = "notices_page"


def draw(versions: Sequence[Version], user: User) -> None:
    """A button for each version whose price was saved with notices."""
    with session.reading() as conn:
        found = price_notices.surveys(conn, [version.id for version in versions])
    for version in versions:
        if version.id in found:
            survey = found[version.id]
            label = f"Notices {ui.month(version.valid_from)}: {said(survey)}"
            if st.button(label, key=f"notices_{version.id}", icon=":material/mail:", type="tertiary"):
                st.session_state.pop(_PAGE, None)
                _review(version, user)


def said(survey: Survey) -> str:
    """The figures in a few words: 12 to approve, 3 sent, 1 dropped."""
    counts = {"to approve": survey.prepared, "sent": survey.sent, "dropped": survey.dropped}
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "nobody to tell"


@st.dialog("Notices of the new price", width="large", icon=":material/mail:")
def _review(version: Version, user: User) -> None:
    """Whom the notices go to and what they say; sent on approval."""
    session.close_or_explain()
    with session.reading() as conn:
        survey = price_notices.surveys(conn, [version.id])[version.id]
        ready, currency = mail_server.ready(conn), settings.company(conn).currency
        texts = {name: price_notices.preview(conn, version.id, name) for name in mail_templates.LANGUAGES}
    st.markdown(
        f"The price from **{ui.month(version.valid_from)}** changes the month of these customers. Each gets the notice "
        "in the language of its documents. Customers with a price of their own are not touched, and not told."
    )
    for tab, (subject, body) in zip(st.tabs(list(mail_templates.LANGUAGES.values())), texts.values(), strict=True):
        with tab.container(border=True):
            st.markdown(f"**{ui.escaped(subject)}**")
            st.text(body)
    st.caption("The text is the template *Price change* of Settings → Mail templates, here for an invented customer.")
    _table(version, survey, currency)
    if survey.prepared and user.may(Permission.EDIT_PRICES):
        _buttons(version, survey, ready=ready)


def _table(version: Version, survey: Survey, currency: str) -> None:
    total = survey.prepared + survey.sent + survey.dropped
    page: int = st.session_state.get(_PAGE, 1)
    with session.reading() as conn:
        listed = price_notices.page(conn, version.id, limit=PAGE, offset=(page - 1) * PAGE)
    rows = [
        {
            "customer": f"{one.number} {one.name}",
            "to": one.recipient or "no e-mail address",
            "before": ui.money(one.before),
            "after": ui.money(one.after),
            "difference": ui.signed(one.difference),
            "state": [ui.word(one.state)],
        }
        for one in listed
    ]
    columns = {
        "customer": ui.text_column("Customer", width=230, pinned=True),
        "to": ui.text_column("To", width=170),
        "before": ui.figure_column(f"Before ({currency})", width=95),
        "after": ui.figure_column(f"After ({currency})", width=95),
        "difference": ui.figure_column("Difference", width=85),
        "state": ui.state_column("State", ("prepared", "sent", "dropped"), width=90),
    }
    height = min(320, 38 + ui.ROW_HEIGHT * max(len(rows), 1))
    ui.table(rows, columns, key=f"notices_table_{page}", alt="Customers to be told of the new price", height=height)
    if total > PAGE:
        st.pagination(-(-total // PAGE), key=_PAGE)


def _buttons(version: Version, survey: Survey, *, ready: bool) -> None:
    if not ready:
        st.warning(mail_server.NOT_READY, icon=":material/mail_off:")
    if survey.without_address:
        st.caption(
            f":material/info: {survey.without_address:,} without an e-mail address "
            f"{'stays' if survey.without_address == 1 else 'stay'} to be approved until there is one."
        )
    many = "1 notice" if survey.ready == 1 else f"{survey.ready:,} notices"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Approve and send {many}", key="notices_send", type="primary", icon=":material/send:",
            disabled=not (ready and survey.ready), on_click=session.click, args=(price_notices.send, version.id),
            kwargs={"success": f"{many}: on the way."},
        )  # fmt: skip
        st.button(
            "Tell nobody", key="notices_drop", type="tertiary", on_click=session.click,
            args=(price_notices.drop, version.id), kwargs={"success": "The notices are dropped; nobody is told."},
        )  # fmt: skip
