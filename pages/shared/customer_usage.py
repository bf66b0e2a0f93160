"""The Usage tab: what a customer uses against its quotas, and over time (rows D3, D5)."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import streamlit as st

from lib import bookings, clock, products, quotas, usage
from lib.quotas import Quota
from lib.usage import Point, Summary
from pages.shared import figures, session, ui
from pages.shared.customer_view import View

# What can be seen over time: its label, how far back, and whether the months are summed up.
SPANS = {"90 days": (90, False), "12 months": (12, True), "24 months": (24, True)}
# The vendors' words for what a cloud is like, with their colour; any other word is grey.
HEALTHY = ("ok", "healthy", "active", "online", "operational", "up")
UNHEALTHY = ("down", "offline", "failed", "error", "critical", "outage")
UNSURE = ("degraded", "warning", "partial", "maintenance")


def draw(view: View) -> None:
    """Figures of today, gauges of the quotas, and charts."""
    with session.reading() as conn:
        summary = usage.summary(conn, view.customer.id, today=view.today)
        held = quotas.held_on(quotas.quotas_of(conn, view.customer.id), view.today)
        users = next((one for one in products.catalogue(conn) if one.kind == "users"), None)
        booked = bookings.holdings(conn, view.customer.id, on=view.today)
    if summary is None:
        ui.empty(
            "No usage yet. It comes with the vendor's files, by an import.",
            icon=":material/monitoring:",
        )
        if held:
            _gauges(held, None)
        return
    licensed = booked[users.id].quantity if users and users.id in booked else None
    _figures(summary, licensed)
    _gauges(held, summary)
    _over_time(view, held)
    st.caption(ui.escaped(_origin(summary, view.zone)))


def _figures(summary: Summary, licensed: int | None) -> None:
    """Data protection, service utilization, storage growth and cloud status (row D5)."""
    jobs = (summary.backups_ok or 0) + (summary.backups_failed or 0)
    with st.grid(4, gap="small", min_column_width=150):
        st.metric(
            "Data protection", ui.percent(summary.backup_rate), border=True, height="stretch",
            help="Backup jobs that worked, of all in the last 30 days.",
            delta=f"{ui.number(summary.backups_failed or 0)} failed of {jobs:,}" if jobs else None,
            delta_color="red" if summary.backups_failed else "green", delta_arrow="off",
        )  # fmt: skip
        st.metric(
            "Service utilization", _utilized(summary.users, licensed), border=True, height="stretch",
            help="Users in use, of those that are booked.",
            delta=f"{ui.number(summary.users)} of {ui.number(licensed)} users" if licensed else None,
            delta_color="off", delta_arrow="off",
        )  # fmt: skip
        st.metric(
            "Storage growth", _growth(summary.growth), border=True, height="stretch",
            help="The latest level against the one 30 days before.",
            delta=f"now {ui.amount(summary.storage_gb)} GB" if summary.storage_gb is not None else None,
            delta_color="off", delta_arrow="off",
        )  # fmt: skip
        with st.container(border=True, height="stretch"):
            st.caption("Cloud status", help="The vendor's word, of the latest day that says it.")
            if summary.cloud_status:
                st.badge(ui.escaped(summary.cloud_status), color=_colour(summary.cloud_status))
                st.caption(f"on {ui.day(summary.cloud_status_on)}")
            else:
                st.text(ui.NOTHING)


def _utilized(users: int | None, licensed: int | None) -> str:
    if users is None:
        return ui.NOTHING
    return ui.percent(Decimal(users) / licensed) if licensed else f"{users:,} users"


def _growth(growth: Decimal | None) -> str:
    if growth is None:
        return ui.NOTHING
    sign = "+" if growth > 0 else "-" if growth < 0 else ""
    return f"{sign}{ui.amount(abs(growth))} GB"


def _colour(status: str) -> Any:
    word = status.lower()
    for words, colour in ((HEALTHY, "green"), (UNHEALTHY, "red"), (UNSURE, "orange")):
        if word in words:
            return colour
    return "gray"


def _gauges(held: dict[str, Quota], summary: Summary | None) -> None:
    columns = st.columns(2, gap="small")
    for column, (kind, name) in zip(columns, quotas.KINDS.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.subheader(f"{name} against the quota", anchor=False)
            quota = held.get(kind)
            if quota is None:
                st.text(_without_quota(kind, summary))
                continue
            unit = quotas.UNITS[kind]
            told = f"{ui.amount(quota.used)} of {ui.amount(quota.amount)} {unit}"
            st.plotly_chart(
                figures.gauge(quota.used, quota.amount), key=f"gauge_{kind}", config=figures.CONFIG,
                alt=f"{name}: {told}, {ui.percent(quota.share)}",
            )  # fmt: skip
            until = f"until {ui.day(quota.until_day)}" if quota.until_day else "without an end"
            st.caption(f"{told}, from {ui.day(quota.from_day)} {until}")


def _without_quota(kind: str, summary: Summary | None) -> str:
    none = "No quota holds today."
    if summary is None:
        return none
    if kind == "storage" and summary.storage_gb is not None:
        return f"{ui.amount(summary.storage_gb)} GB on {ui.day(summary.storage_on)}. {none}"
    if kind == "credits" and summary.credits is not None:
        return f"{ui.amount(summary.credits)} credits in the last 30 days. {none}"
    return none


def _over_time(view: View, held: dict[str, Quota]) -> None:
    chosen: str = st.segmented_control(
        "Over time", list(SPANS), key="usage_span", required=True, default="90 days", bind="query-params"
    )
    back, monthly = SPANS[chosen]
    first = clock.next_month(clock.month_of(view.today), by=1 - back) if monthly else view.today - timedelta(back - 1)
    read = usage.by_month if monthly else usage.by_day
    with session.reading() as conn:
        points = read(conn, view.customer.id, first_day=first, last_day=view.today)
    if not points:
        ui.empty(f"Nothing was used in the last {chosen}.")
        return
    storage = held.get("storage")
    with st.grid(2, gap="small", min_column_width=330):
        _storage(points, storage.amount if storage else None, monthly=monthly)
        _bars(points, "Credits", {"Credits": [_float(one.credits) for one in points]}, monthly=monthly)
        outcomes = {
            "Worked": [float(one.backups_ok or 0) for one in points],
            "Failed": [float(one.backups_failed or 0) for one in points],
        }
        _bars(points, "Backup jobs", outcomes, monthly=monthly)
        _bars(points, "Users", {"Users": [float(one.users or 0) for one in points]}, monthly=monthly)


def _storage(points: list[Point], limit: Decimal | None, *, monthly: bool) -> None:
    known = [(one.day, one.storage_gb) for one in points if one.storage_gb is not None]
    with st.container(border=True):
        st.subheader("Storage", anchor=False)
        if not known:
            st.text("Not said by the vendor's files.")
            return
        latest = known[-1]
        st.plotly_chart(
            figures.levels(
                [day for day, _ in known], [level for _, level in known], y_title="GB", limit=limit, monthly=monthly
            ),
            key="usage_storage", config=figures.CONFIG,
            alt=f"Storage in GB from {ui.day(known[0][0])}, {ui.amount(latest[1])} on {ui.day(latest[0])}",
        )  # fmt: skip


def _bars(points: list[Point], title: str, bars: dict[str, list[float]], *, monthly: bool) -> None:
    days: list[date] = [one.day for one in points]
    with st.container(border=True):
        st.subheader(title, anchor=False)
        if not any(any(values) for values in bars.values()):
            st.text("None in this time.")
            return
        totals = ", ".join(f"{name.lower()} {sum(values):,.10g}" for name, values in bars.items())
        st.plotly_chart(
            figures.stacked_days(days, bars, y_title=title, monthly=monthly), key=f"usage_{title}",
            config=figures.CONFIG, alt=f"{title} by {'month' if monthly else 'day'}, in sum: {totals}",
        )  # fmt: skip


def _float(value: Decimal | None) -> float:
    return float(value or 0)


def _origin(summary: Summary, zone: str) -> str:
    known = f"Usage is known from {ui.day(summary.first_day)} to {ui.day(summary.last_day)}."
    if summary.imported_at is None:
        return known
    return f"{known} Last import: {summary.imported_file}, {ui.moment(summary.imported_at, zone)}."
