"""How figures, days and states look on every page: formats, badges, table columns, dialogs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from lib import db, sessions
from lib import money as amounts
from lib.auth import Permission
from lib.db import Connection
from lib.errors import NotAllowed
from pages.shared import session

NOTHING = "–"
ROW_HEIGHT = 34
# Said where an amount is what the close charges: what was invoiced in advance is in the Cost Overview beside it.
WITHOUT_PREPAID = "without prepaid terms"

# A state is always shown as its word and its colour, the same one everywhere.
STATES: dict[str, tuple[str, str]] = {
    # customers
    "active": ("Active", "green"),
    "inactive": ("Inactive", "gray"),
    "invited": ("Invited", "blue"),
    "marked": ("To be deleted", "red"),
    "erased": ("Erased", "gray"),
    "settled": ("Erased and settled", "gray"),
    "locked": ("Locked", "red"),
    "deactivated": ("Deactivated", "gray"),
    "ending": ("Ending", "orange"),
    "ended": ("Ended", "red"),
    "test": ("Test", "violet"),
    "billed": ("Billed", "blue"),
    # quotas
    "in_force": ("In force", "green"),
    "planned": ("Planned", "blue"),
    "over": ("Over", "gray"),
    # project keys
    "unused": ("Unused", "blue"),
    "expired": ("Expired", "red"),
    # months and charges
    "open": ("Open", "blue"),
    "approved": ("Approved", "orange"),
    "forecast": ("Forecast", "blue"),
    "not_closed": ("Not closed", "orange"),
    "final": ("Final", "green"),
    # invoices
    "draft": ("Draft", "gray"),
    "issued": ("Issued", "blue"),
    "partly_paid": ("Partly paid", "orange"),
    "paid": ("Paid", "green"),
    "overdue": ("Overdue", "red"),
    "written_off": ("Written off", "gray"),
    "cancelled": ("Cancelled", "gray"),
    # plans and modules
    "free": ("Free", "green"),
    "trial": ("Test time", "violet"),
    "prepaid": ("Prepaid", "green"),
    "recurring": ("Charged monthly", "green"),
    "unpaid": ("Waits for payment", "orange"),
    "cancelled_term": ("Cancelled", "orange"),
    "not_on_sale": ("Withdrawn from sale", "gray"),
    "not_booked": ("Not booked", "gray"),
    # mails and other jobs
    "queued": ("Waiting", "blue"),
    "waiting": ("Waiting", "blue"),
    "running": ("Running", "orange"),
    "sent": ("Sent", "green"),
    "done": ("Done", "green"),
    "failed": ("Failed", "red"),
    "applied": ("Imported", "green"),
    "withdrawn": ("Taken back", "gray"),
    "prepared": ("To approve", "orange"),
    "dropped": ("Dropped", "gray"),
    # direct debits and mandates
    "collected": ("Collected", "green"),
    "valid": ("Valid", "green"),
    "revoked": ("Revoked", "gray"),
    # keys of Stripe
    "stripe_test": ("Test mode", "orange"),
    "stripe_live": ("Live mode", "green"),
}


def escaped(text: str) -> str:
    """Text of a person, so that markdown shows it as it is."""
    return session.escaped(text)


def money(value: Decimal | None) -> str:
    """1,234.56, or – where there is no amount. The currency stands once, in the heading or label.

    The minus is a hyphen: amounts are copied into spreadsheets, which read no other one.
    """
    return amounts.shown(value)


def charge(value: Decimal | None) -> str:
    """The amount of something that is charged; where there is none, what it lacks."""
    return "no price" if value is None else money(value)


def signed(change: Decimal | None) -> str:
    """+1,234.56 or -1,234.56; 0.00 without a sign, – where there is no amount."""
    if change is None:
        return NOTHING
    return f"{'+' if change > 0 else ''}{money(change)}"


def amount(value: Decimal | None) -> str:
    """1,234.5 of what is measured: as many decimals as it has, at most three; – where there is none."""
    return NOTHING if value is None else f"{round(value, 3).normalize():,f}"


def percent(share: Decimal | None) -> str:
    """0.856 as 85.6 %, cut off: nothing is 100 % before it is. – where there is none."""
    if share is None:
        return NOTHING
    return f"{amount((share * 100).quantize(Decimal('0.1'), ROUND_DOWN))} %"


def number(value: int | None) -> str:
    """1,234, or – where there is none."""
    return NOTHING if value is None else f"{value:,}"


def day(value: date | None) -> str:
    """16 Jun 2026, or – where there is no day."""
    return NOTHING if value is None else f"{value.day} {value:%b %Y}"


def day_of(value: datetime | None, zone: str) -> str:
    """16 Jun 2026: the day of a moment in the company's time zone."""
    return NOTHING if value is None else day(value.astimezone(ZoneInfo(zone)).date())


def month(value: date | None) -> str:
    """June 2026, or – where there is no month."""
    return NOTHING if value is None else f"{value:%B %Y}"


def moment(value: datetime | None, zone: str) -> str:
    """16 Jun 2026, 14:03 in the company's time zone."""
    if value is None:
        return NOTHING
    local = value.astimezone(ZoneInfo(zone))
    return f"{day(local)}, {local:%H:%M}"


def count(number: int, noun: str) -> str:
    """1 day, 14 days."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(minutes: int) -> str:
    """30 minutes, 2 hours, 3 days: in the largest unit that is whole."""
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes and minutes % size == 0:
            return f"{minutes // size} {unit}{'s' if minutes > size else ''}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def word(state: str) -> str:
    """What a state is called."""
    return STATES[state][0] if state in STATES else state.replace("_", " ").capitalize()


def month_state(month: date, *, final: bool, today: date) -> str:
    """What the charges of a month are: a forecast while it runs or is to come, not closed once it is over, final."""
    if final:
        return "final"
    return "not_closed" if month < today.replace(day=1) else "forecast"


def badge(state: str, label: str | None = None) -> None:
    """A state as word and colour."""
    st.badge(escaped(label or word(state)), color=_colour(state))  # type: ignore[arg-type]


def empty(message: str, *, icon: str = ":material/inbox:") -> None:
    """What a list shows that has nothing to show, and why."""
    st.info(message, icon=icon)


def facts(values: Mapping[str, str], *, alt: str) -> None:
    """Labels and values below each other; the values are plain text of anybody."""
    st.table({label: escaped(value) or NOTHING for label, value in values.items()}, border="horizontal", alt=alt)


# ---------------------------------------------------------------------------------- tables


def text_column(label: str, **options: Any) -> Any:
    """A column of words."""
    return st.column_config.TextColumn(label, **options)


def figure_column(label: str, **options: Any) -> Any:
    """A right-aligned column of figures that are already text (`money`, `number`)."""
    return st.column_config.TextColumn(label, alignment="right", **options)


def state_column(label: str, states: Sequence[str], **options: Any) -> Any:
    """A column of badges; its cells are lists of the words of `states`."""
    colours: list[Any] = [_colour(state) for state in states]
    words = [word(state) for state in states]
    return st.column_config.MultiselectColumn(label, options=words, color=colours, **options)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], *, key: str, alt: str, **options: Any) -> Any:
    """A table of `rows` with the columns of `columns`, in their order; anything absent shows as –."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return st.dataframe(
        frame,
        key=key,
        alt=alt,
        hide_index=True,
        row_height=ROW_HEIGHT,
        column_config=dict(columns),
        placeholder=NOTHING,
        **({"height": "content"} | options),
    )


def exported(make: Callable[[Connection], Iterable[str | bytes]]) -> Callable[[], bytes]:
    """What a download button calls when it is clicked: the pieces of `make`, for a person who may still read.

    It runs outside the page, so the session is looked up anew by the token that the page was drawn with.
    """
    token = session.token()

    def made() -> bytes:
        with db.transaction() as conn:
            user = sessions.user_of(conn, token)
            if user is None or not user.may(Permission.READ):
                raise NotAllowed("You are signed out. Sign in and export again.")
            return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in make(conn))

    return made


# ---------------------------------------------------------------------------------- dialogs


def confirm(
    title: str,
    explanation: str,
    button: str,
    action: Callable[..., Any],
    *args: Any,
    success: str,
    reason: bool = False,
    **kwargs: Any,
) -> None:
    """Open a dialog that says what will happen and does it on a click; `reason` offers a text for the log."""

    @st.dialog(title)
    def asked() -> None:
        session.close_or_explain()
        st.markdown(explanation)
        if reason:
            st.text_area("Reason (optional)", key="confirm_reason")
            session.field_error("reason")

        def go() -> None:
            given = {"reason": st.session_state.get("confirm_reason", "")} if reason else {}
            session.attempt(action, *args, success=success, **kwargs, **given)

        st.button(button, key="confirm_go", type="primary", on_click=go)

    asked()


def _colour(state: str) -> str:
    return STATES[state][1] if state in STATES else "gray"
