"""The dialog that changes how many IPs a customer has and how they are split, with what that costs (rows G2, G6).

The same for us (`ip_distribution.py`) and for the customer's users in the portal: a `Desk` says whose IPs they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import clock, fields, money, prices
from lib.bookings import Booking, Holding
from lib.effects import Effect
from lib.errors import BillingError, Invalid
from lib.quotes import Quote
from pages.shared import later_changes, numbers, session, ui

TOTAL, INSIDE, OUTSIDE, SLIDER, INSTANTLY = "ips_total", "ips_internal", "ips_external", "ips_slider", "ips_instantly"


@dataclass(frozen=True)
class Words:
    """What is said in another way to the customer's users than to us."""

    unchanged: str
    listed: str
    not_charged: str
    all_charges: str
    button: str


@dataclass(frozen=True)
class Desk:
    """Whose IPs are changed, what they have today, and how figures are asked for and a change is saved.

    `customer` is named above the rest: from a list, nothing else says whose dialog it is; empty for the own company's.
    `later()` is what is booked for later, the next one first; `quotes(quantities, month)` are whole months, None
    without a price; `effects(**change)` the months' charges;
    `fixed` says why the total can't be changed, where it can't: a project key runs.
    `confirm()` draws what has to be ticked; `book(day, read, key)` saves what `read()` gives.
    """

    customer: str
    product: str
    held: Holding
    today: date
    currency: str
    billed: bool
    words: Words
    later: Callable[[], Sequence[Booking]]
    quotes: Callable[[Sequence[int], date], list[Quote] | None]
    effects: Callable[..., list[Effect]]
    confirm: Callable[[], None]
    book: Callable[[date, Callable[[], dict[str, Any]], UUID], None]
    fixed: str = ""


def open_dialog(desk: Desk, *, start: Booking | Holding | None = None, instantly: bool = True) -> None:
    """Open it at what there is today, or at another count: a pending change that is to become another one, say."""
    at = start or desk.held
    _fill(at.internal or 0, at.external or 0)
    st.session_state[INSTANTLY] = instantly
    st.session_state.pop(later_changes.KEEP, None)
    _dialog(desk, start if isinstance(start, Booking) else None, uuid4())


@st.dialog("IP distribution", width="medium", icon=":material/lan:")
def _dialog(desk: Desk, pending: Booking | None, key: UUID) -> None:
    session.close_or_explain()
    held = desk.held
    now = f"Today: **{held.quantity:,}** IPs, {held.internal or 0:,} internal and {held.external or 0:,} external."
    booked = f" From {ui.day(pending.effective_on)}: {later_changes.shown(pending, counted=True)}." if pending else ""
    if desk.customer:
        st.markdown(f"**{session.escaped(desk.customer)}**")
    st.markdown(now + booked)
    shares = _draw_shares(desk)
    day = _draw_day(desk, sum(shares) if shares else None)
    later_changes.ask(desk.later(), day)
    if shares:
        _draw_cost(desk, shares, day)
    desk.confirm()
    st.button(desk.words.button, key="book_go", type="primary", on_click=_book, args=(desk, key))


# ---------------------------------------------------------------------------------- total, slider, shares


def _draw_shares(desk: Desk) -> tuple[int, int] | None:
    """The total, the slider and both shares. Returns the shares, or None where one can't be read."""
    if desk.fixed:
        st.caption(f":material/key: {ui.escaped(desk.fixed)}")
    total = numbers.whole("Total", key=TOTAL, field="quantity", on_change=_total_typed, disabled=bool(desk.fixed))
    most = fields.MOST if total is None else total
    left, right = st.columns(2)
    with left:
        inside = numbers.whole(
            "Internal", key=INSIDE, field="internal", highest=most, on_change=_share_typed, args=(INSIDE,)
        )
    with right:
        outside = numbers.whole(
            "External", key=OUTSIDE, field="external", highest=most, on_change=_share_typed, args=(OUTSIDE,)
        )
    if total is None or inside is None or outside is None:
        return None
    if total:
        # The callbacks keep the three in step; the slider only has to follow them.
        st.session_state[SLIDER] = inside
        st.slider("Internal share, the rest is external", 0, total, key=SLIDER, on_change=_slid)
    return inside, outside


def _fill(inside: int, outside: int) -> None:
    st.session_state[TOTAL] = str(inside + outside)
    st.session_state[INSIDE], st.session_state[OUTSIDE] = str(inside), str(outside)


def _typed(key: str) -> int | None:
    try:
        return numbers.typed_whole(key, field="quantity", name="IPs")
    except Invalid:  # told at the field
        return None


def _total_typed() -> None:
    """Another total: the internal ones stay, as many as there are, and the external ones make up the rest."""
    total = _typed(TOTAL)
    if total is not None:
        inside = min(_typed(INSIDE) or 0, total)
        _fill(inside, total - inside)


def _share_typed(changed: str) -> None:
    """Another share: the total stays, and the other share is the rest. One above the total is told at its field."""
    total, share = _typed(TOTAL), _typed(changed)
    if total is not None and share is not None and share <= total:
        rest = total - share
        _fill(*((share, rest) if changed == INSIDE else (rest, share)))


def _slid() -> None:
    """Moving between both changes no total."""
    total, inside = _typed(TOTAL), int(st.session_state[SLIDER])
    if total is not None:
        _fill(inside, total - inside)


# ---------------------------------------------------------------------------------- when, and what it costs


def _draw_day(desk: Desk, total: int | None) -> date:
    """From when: an increase at once or with the next month, a decrease at the end of this one."""
    following = clock.next_month(clock.month_of(desk.today))
    if total is not None and total < desk.held.quantity:
        st.caption(
            f":material/schedule: A decrease takes effect at the month's end: from {ui.day(following)}. "
            f"{desk.words.listed}"
        )
    else:
        st.checkbox(
            "Perform action instantly", key=INSTANTLY,
            help=f"From today, {ui.day(desk.today)}. Otherwise with the next month, from {ui.day(following)}.",
        )  # fmt: skip
    session.field_error("effective_on")
    return _day(desk, total)


def _day(desk: Desk, total: int | None) -> date:
    fewer = total is not None and total < desk.held.quantity
    if st.session_state.get(INSTANTLY) and not fewer:
        return desk.today
    return clock.next_month(clock.month_of(desk.today))


def _draw_cost(desk: Desk, shares: tuple[int, int], day: date) -> None:
    """The new monthly price with its ranges, and what this month and the next one change by."""
    total, held = sum(shares), desk.held
    quotes = None if desk.fixed else desk.quotes([held.quantity, total], clock.month_of(day))
    if desk.fixed:
        st.caption("Moving IPs between internal and external costs nothing.")
    elif quotes is None:
        st.warning(f"There is no price for {ui.escaped(desk.product)} in {ui.month(day)} yet.", icon=":material/sell:")
    else:
        now, then = quotes
        _draw_month(now, then, desk.currency)
    if day == desk.today and shares == (held.internal or 0, held.external or 0):
        st.caption(f":material/info: {desk.words.unchanged}")
        return
    try:
        found = desk.effects(
            quantity=total, internal=shares[0], external=shares[1], effective_on=day,
            keep_pending=later_changes.kept(),
        )  # fmt: skip
    except BillingError as refusal:
        st.caption(f":material/info: {ui.escaped(str(refusal))}")
        return
    when = "today" if day == desk.today else f"the next month, {ui.day(day)}"
    if not desk.billed:
        st.markdown(f"**Takes effect from {when}.** {desk.words.not_charged}")
        return
    changes = "\n".join(_change(effect) for effect in found)
    st.markdown(f"**Takes effect from {when}.** {desk.words.all_charges}, net in {desk.currency}:\n{changes}")


def _draw_month(now: Quote, then: Quote, currency: str) -> None:
    change = then.amount - now.amount
    with st.grid(2, gap="small", min_column_width=120):
        st.metric(
            f"A month, net ({currency})", ui.money(then.amount), ui.signed(change) if change else None,
            delta_color="off", delta_arrow="off", border=True, height="stretch",
        )  # fmt: skip
        average = ui.NOTHING if then.average is None else money.shown(then.average, decimals=4)
        st.metric(f"Average per IP ({currency})", average, border=True, height="stretch")
    if then.lines:
        draw_ranges(then, key="ips_ranges")


def draw_ranges(quote: Quote, *, key: str) -> None:
    """A line per range that the quantity reaches."""
    rows = [
        {
            "range": f"{line.first_unit:,}–{line.last_unit:,}" if line.last_unit else f"from {line.first_unit:,}",
            "units": ui.number(line.units),
            "price": ui.NOTHING if line.unit_price is None else prices.price_shown(line.unit_price),
            "amount": ui.money(line.amount),
        }
        for line in quote.lines
    ]
    columns = {
        "range": ui.text_column("Range", width=80),
        "units": ui.figure_column("IPs", width=55),
        "price": ui.figure_column("Unit price", width=80),
        "amount": ui.figure_column("A month", width=90),
    }
    ui.table(rows, columns, key=key, alt="What a month costs by range")


def _change(effect: Effect) -> str:
    before, after = (ui.charge(value) for value in (effect.before, effect.after))
    if effect.before == effect.after:
        return f"- {ui.month(effect.month)}: {after}, as before"
    return f"- {ui.month(effect.month)}: {before} → **{after}** ({ui.signed(effect.difference)})"


def _book(desk: Desk, key: UUID) -> None:
    def read() -> dict[str, Any]:
        total = numbers.typed_whole(TOTAL, field="quantity", name="Total")
        inside = numbers.typed_whole(INSIDE, field="internal", name="Internal", highest=total)
        outside = numbers.typed_whole(OUTSIDE, field="external", name="External", highest=total)
        return {"quantity": total, "internal": inside, "external": outside}

    # Not the day that was drawn: a number typed last may have come with this very click.
    desk.book(_day(desk, _typed(TOTAL)), read, key)
