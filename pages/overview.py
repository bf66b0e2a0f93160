"""Overview: last month, this one and the forecast, what is open, and what needs attention (row G17)."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import streamlit as st

from lib import clock, overviews, periods, settings
from lib.auth import Permission
from lib.overviews import KINDS, Bought, Month, Receivables
from pages.shared import attention, explain, figures, overview_table, session, ui

# So many products are named that have no purchase price.
MOST_NAMED = 5
SPANS = {"6 months": overviews.SHORT, "24 months": overviews.CHARTED}
# What a new company does first: how it is called, where, and with which permission.
STEPS = {
    "company": ("Enter your company", "settings.py", Permission.EDIT_SETTINGS),
    "month": ("Set the first booking month", "settings.py", Permission.EDIT_SETTINGS),
    "prices": ("Add a product and its price", "prices.py", Permission.EDIT_PRICES),
    "customers": ("Add a customer, or import yours", "customers.py", Permission.EDIT_CUSTOMERS),
    "bookings": ("Book what the customer gets", "customers.py", Permission.EDIT_CUSTOMERS),
}
# A month's figures on IPs: how each is called, where it stands on a Month, and how it is written.
IPS = (
    ("IPs at the end", "ips", ui.number),
    ("  Internal", "ips_internal", ui.number),
    ("  External", "ips_external", ui.number),
    ("Average price per IP", "average_ip_price", ui.money),
)

user = session.require_user(Permission.READ)
sees_purchases = user.may(Permission.SEE_PURCHASE_PRICES)


# ---------------------------------------------------------------------------------- at a glance


def draw_steps(steps: Mapping[str, bool]) -> None:
    """What a new company does first; nothing once all is done."""
    if all(steps.values()):
        return
    with st.container(border=True):
        st.subheader("First steps", anchor=False)
        for name, done in steps.items():
            label, page, permission = STEPS[name]
            if done:
                st.markdown(f":green[:material/check_circle:] {label}: done")
            elif user.may(permission):
                st.page_link(page, label=label, icon=":material/arrow_forward:")
            else:
                st.markdown(f":gray[:material/radio_button_unchecked:] {label}: ask a colleague whose role may")


def draw_cards(
    months: Mapping[date, Month], bought: Mapping[date, Bought], waiting: Receivables, shown: Sequence[date]
) -> None:
    """The figures that everybody looks for first."""
    incomes = [months[month].income if month in months else None for month in shown]
    margins = [_known(bought.get(month), "margin") for month in shown]
    with st.grid(5 if sees_purchases else 4, gap="small", min_column_width=175):
        _card(f"Income {ui.month(shown[1])}", incomes[1], incomes[0], shown[0])
        _card(f"Forecast {ui.month(shown[2])}", incomes[2], incomes[1], shown[1])
        if sees_purchases:
            _card(f"Margin {ui.month(shown[1])}", margins[1], margins[0], shown[0], told=_without(bought, shown[1:2]))
        _waiting("Open invoices", waiting.open, waiting.open_count, colour="blue")
        _waiting("Overdue", waiting.overdue, waiting.overdue_count, colour="red")


def _card(
    label: str, value: Decimal | None, before: Decimal | None, compared: date, *, told: str | None = None
) -> None:
    change = None if value is None or before is None else value - before
    st.metric(
        label, ui.money(value), None if change is None else _delta(change, before),
        delta_color="normal" if change else "off", delta_arrow="auto" if change else "off",
        delta_description=None if change is None else f"vs. {compared:%B}", border=True, height="stretch", help=told,
    )  # fmt: skip


def _waiting(label: str, amount: Decimal, count: int, *, colour: Literal["blue", "red"]) -> None:
    told = f"{count:,} invoice{'' if count == 1 else 's'}"
    st.metric(
        label, ui.money(amount), told, delta_color=colour if count else "off", delta_arrow="off", border=True,
        height="stretch",
    )  # fmt: skip


def _delta(change: Decimal, before: Decimal | None) -> str:
    if not change:
        return "unchanged"
    percent = change * 100 / abs(before) if before else None
    return f"{change:+,.2f}" if percent is None or abs(percent) < Decimal("0.05") else f"{percent:+.1f} %"


def _known(month: Bought | None, figure: Literal["amount", "margin"]) -> Decimal | None:
    found: Decimal | None = getattr(month, figure, None)
    return found


def _without(bought: Mapping[date, Bought], months: Sequence[date]) -> str | None:
    """Which products the margins of these months leave out, and what to do about it; None where none."""
    names = list(dict.fromkeys(name for month in months if month in bought for name in bought[month].without))
    if not names:
        return None
    listed = ", ".join(ui.escaped(name) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    have, their = ("has", "its") if len(names) == 1 else ("have", "their")
    return (
        f"Purchase and margin are without {ui.count(len(names), 'product')} that {have} no purchase price, and without "
        f"{their} income: {listed}{more}. Set one under Prices, 0.00 for what costs nothing."
    )


def draw_months(
    months: Mapping[date, Month],
    bought: Mapping[date, Bought],
    kinds: Mapping[date, Mapping[str, int]],
    shown: Sequence[date],
) -> None:
    """Last month, the current one and the forecast beside each other."""
    rows: dict[str, list[str]] = {"Income, net": [ui.money(m.income if m else None) for m in map(months.get, shown)]}
    if sees_purchases:
        rows["Purchase"] = [ui.money(_known(bought.get(month), "amount")) for month in shown]
        rows["Margin"] = [ui.money(_known(bought.get(month), "margin")) for month in shown]
        rows["Margin in %"] = [_share(bought.get(month)) for month in shown]
    rows["Subscriptions"] = [ui.number(sum(kinds[month].values())) for month in shown]
    for kind, label in KINDS.items():
        rows[f"  {label}"] = [ui.number(kinds[month].get(kind, 0)) for month in shown]
    for label, figure, told in IPS:
        rows[label] = [told(getattr(months.get(month), figure, None)) for month in shown]
    columns = {"what": ui.text_column("", width=140, pinned=True)} | {
        f"in_{n}": ui.figure_column(f"{month:%b} · {word}", width=100)
        for n, (month, word) in enumerate(zip(shown, ("last", "current", "forecast"), strict=True))
    }
    table = [{"what": label} | {f"in_{n}": value for n, value in enumerate(values)} for label, values in rows.items()]
    with st.container(border=True, height="stretch"):
        st.subheader("Three months", anchor=False)
        ui.table(table, columns, key="overview_months", alt="Last month, the current one and the forecast")
        without = _without(bought, shown)
        if without:
            st.caption(without)
        with st.container(horizontal=True):
            for month in shown[:2]:
                if month in months:
                    st.page_link(
                        "cost_overview.py", label=f"How {ui.month(month)} comes about", icon=":material/bar_chart:",
                        query_params={"cost_month": ui.month(month)},
                    )  # fmt: skip
            st.page_link(
                "simulation.py", label=f"Simulate {ui.month(shown[2])}", icon=":material/science:",
                query_params={"sim_month": ui.month(shown[2])},
            )  # fmt: skip


def _share(month: Bought | None) -> str:
    if month is None or month.margin is None or not month.income:
        return ui.NOTHING
    return f"{month.margin * 100 / month.income:,.1f} %"


def draw_charts(history: Sequence[Month], last: date, *, first_open: date, currency: str) -> None:
    """Income and IPs over six or 24 months."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Income and IPs", anchor=False)
            st.space("stretch")
            span = st.segmented_control(
                "Months", list(SPANS), default=next(iter(SPANS)), key="overview_span", required=True,
                label_visibility="collapsed", bind="query-params",
            )  # fmt: skip
        charted = [month for month in history if clock.next_month(last, by=-SPANS[span]) < month.month <= last]
        known = [month.month for month in charted]
        income: dict[str, list[Any]] = {"Income": [month.income for month in charted]}
        if any(month.ips_internal is None for month in charted):
            ips: dict[str, list[Any]] = {"IPs": [month.ips for month in charted]}
        else:
            ips = {
                "Internal": [month.ips_internal for month in charted],
                "External": [month.ips_external for month in charted],
            }
        with st.grid(2, gap="small", min_column_width=300):
            for key, bars, title, decimals, alt in (
                ("income", income, f"Net {currency}", 2, "Net income by month"),
                ("ips", ips, "IPs", 0, "IPs at the end of each month"),
            ):
                figure = figures.by_month(known, bars, y_title=title, decimals=decimals, first_open=first_open)
                st.plotly_chart(figure, key=f"overview_{key}", config=figures.CONFIG, alt=alt)
        if known and known[-1] >= first_open:
            st.caption("Faded months are not closed: the bookings known today, over the whole month.")


# ---------------------------------------------------------------------------------- the page

if any(name.startswith("customer_") or name == "phase" for name in st.query_params):
    # The list of customers was the start page once, and people have kept its addresses.
    st.switch_page("customers.py", query_params={name: st.query_params.get_all(name) for name in st.query_params})

with session.reading() as conn:
    today, company, first_open = clock.today(conn), settings.company(conn), periods.open_month(conn)
    shown = overviews.shown_months(conn, today=today)
    steps = overviews.first_steps(conn)

with st.container(horizontal=True, vertical_alignment="bottom"):
    st.title("Overview", anchor=False)
    st.space("stretch")
    st.caption(f"{ui.day(today)} · amounts net in {ui.escaped(company.currency)}", width="content")
draw_steps(steps)
if shown is None or first_open is None:
    if user.may(Permission.EDIT_SETTINGS):
        st.stop()
    ui.empty(periods.NOT_SET_UP, icon=":material/settings:")
    st.stop()

with session.reading() as conn:
    history = overviews.history(conn, today=today)
    bought = overviews.purchases(conn, shown, user=user) if sees_purchases else {}
    waiting = overviews.receivables(conn, today=today)
    kinds = overviews.subscriptions(conn, shown, today=today)
    notices = overviews.attention(conn, today=today, user=user)

months = {month.month: month for month in history}
draw_cards(months, bought, waiting, shown)
left, right = st.columns([5, 3])
with left:
    draw_months(months, bought, kinds, shown)
with right, st.container(border=True, height="stretch"):
    attention.draw(notices)
if history:
    draw_charts(history, shown[1], first_open=first_open, currency=company.currency)
    overview_table.draw(shown, user=user, currency=company.currency)
explain.open_asked(company.currency)
