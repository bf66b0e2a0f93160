"""Every figure of the app, built by go.Figure in one style. Colours and fonts come from Streamlit's theme."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import plotly.graph_objects as go

# Without the tool bar: these are figures to read, not to explore.
CONFIG = {"displayModeBar": False, "scrollZoom": False}
HEIGHT = 260
# A reader tells no more colours apart.
MOST_COLOURS = 5
# Colours that mean something; each can be read on a light and on a dark ground.
GOOD, NEARLY, OVER, TRACK = "#0f9d6b", "#d97706", "#d64545", "rgba(128, 128, 128, 0.18)"
OUTCOMES = {"Worked": GOOD, "Failed": OVER}


def _look(*, y_title: str, x_title: str = "", height: int = HEIGHT, y_format: str | None = ",.0f") -> dict[str, Any]:
    """The margins, axes and hover that all figures share."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "bargap": 0.35,
        "xaxis": {"title": {"text": x_title}, "showgrid": False, "fixedrange": True, "automargin": True},
        "yaxis": {
            "title": {"text": y_title}, "tickformat": y_format, "rangemode": "tozero", "fixedrange": True,
            "automargin": True, "zeroline": False,
        },
    }  # fmt: skip


def _drawn(data: Sequence[Mapping[str, Any]], layout: dict[str, Any]) -> go.Figure:
    """All at once: plotly checks each update of a figure anew, which takes longer than drawing."""
    return go.Figure({"data": list(data), "layout": {"showlegend": len(data) > 1} | layout})


def curve(
    quantities: Sequence[int],
    values: Sequence[Decimal | None],
    *,
    unit: str,
    y_title: str,
    decimals: int,
    marked: tuple[int, Decimal | None] | None = None,
) -> go.Figure:
    """An amount over quantity, with the asked quantity marked. `decimals`: those of the hover text."""
    line: dict[str, Any] = {
        "type": "scatter",
        "x": list(quantities),
        "y": [None if value is None else float(value) for value in values],
        "mode": "lines",
        "line": {"width": 2},
        "hovertemplate": f"%{{y:,.{decimals}f}}<extra></extra>",
    }
    points = [] if marked is None or marked[1] is None else [_point(marked[0], marked[1])]
    look = _look(y_title=y_title, x_title=unit, y_format=",.2f" if decimals > 2 else ",.0f")
    return _drawn([line, *points], look | {"showlegend": False})


def _point(x: int, y: Decimal) -> dict[str, Any]:
    marker = {"size": 11}
    return {"type": "scatter", "x": [x], "y": [float(y)], "mode": "markers", "marker": marker, "hoverinfo": "skip"}


def stacked_months(series: pd.DataFrame, names: Mapping[int, str], *, first_open: date, currency: str) -> go.Figure:
    """Net amounts by month, a colour per product (the columns of `series`); months that are open are faded.

    More products than MOST_COLOURS: the smallest are one, called Others.
    """
    labels = [month.strftime("%b %Y") for month in series.index]
    opacity = [0.5 if month >= first_open else 1.0 for month in series.index]
    amounts = series.fillna(0).astype(float)
    largest = list(amounts.sum().sort_values(ascending=False).index)
    several = len(largest) > MOST_COLOURS
    own = [product for product in series.columns if product in largest[: MOST_COLOURS - several]]
    bars = [(names[product], amounts[product]) for product in own]
    if several:
        bars.append(("Others", amounts.drop(columns=own).sum(axis=1)))
    data = [
        {
            "type": "bar", "x": labels, "y": list(values), "name": name, "marker": {"opacity": opacity},
            "hovertemplate": "%{y:,.2f}",
        }
        for name, values in bars
    ]  # fmt: skip
    layout = _look(y_title=f"Net {currency}", height=400) | {"barmode": "relative", "bargap": 0.3}
    # One label a quarter: two years of names would stand on end.
    layout["xaxis"]["tickvals"] = labels[::-3][::-1]
    layout["legend"] |= {"traceorder": "normal", "yanchor": "top", "y": -0.12}
    return _drawn(data, layout)


def by_month(
    months: Sequence[date],
    bars: Mapping[str, Sequence[Decimal | int | None]],
    *,
    y_title: str,
    decimals: int,
    first_open: date,
) -> go.Figure:
    """Figures by month, stacked, a colour per name; months that are open are faded."""
    labels = [month.strftime("%b %Y") for month in months]
    layout = _look(y_title=y_title) | {"barmode": "stack", "bargap": 0.3}
    # One label a quarter or so: two years of names would stand on end.
    layout["xaxis"]["tickvals"] = labels[::-1][:: 1 if len(labels) < 9 else 4][::-1]
    layout["legend"]["traceorder"] = "normal"
    opacity = [0.5 if month >= first_open else 1.0 for month in months]
    shown = f"%{{y:,.{decimals}f}}" + ("<extra></extra>" if len(bars) == 1 else "")
    data = [
        {
            "type": "bar",
            "x": labels,
            "y": [None if value is None else float(value) for value in values],
            "name": name,
            "marker": {"opacity": opacity},
            "hovertemplate": shown,
        }
        for name, values in bars.items()
    ]
    return _drawn(data, layout)


def steps(days: Sequence[date], quantities: Sequence[int], *, y_title: str) -> go.Figure:
    """A quantity over days: each stands until the next one."""
    line = {
        "type": "scatter",
        "x": list(days),
        "y": list(quantities),
        "mode": "lines",
        "line": {"shape": "hv", "width": 2},
        "fill": "tozeroy",
        "hovertemplate": "%{y:,}<extra></extra>",
    }
    layout = _look(y_title=y_title)
    layout["xaxis"]["hoverformat"] = "%d %b %Y"
    return _drawn([line], layout)


def side_by_side(names: Sequence[str], bars: Mapping[str, Sequence[Decimal]], *, currency: str) -> go.Figure:
    """Amounts of several months for each name, from top to bottom, a colour per month."""
    data = [
        {
            "type": "bar", "x": [float(value) for value in values], "y": list(names), "name": label,
            "orientation": "h", "hovertemplate": "%{x:,.2f}",
        }
        for label, values in bars.items()
    ]  # fmt: skip
    layout = _look(y_title="", x_title=f"Net {currency}", height=110 + 30 * len(names), y_format=None)
    layout |= {"barmode": "group", "hovermode": "y unified", "bargap": 0.25}
    layout["xaxis"]["tickformat"] = ",.0f"
    layout["yaxis"]["autorange"] = "reversed"
    return _drawn(data, layout)


def gauge(used: Decimal, quota: Decimal) -> go.Figure:
    """How much of a quota is used, in percent: green, orange from 80 %, red from 100 %, each beside its number."""
    # Cut off, as its text is: nothing is 100 % before it is.
    percent = math.floor(used / quota * 1000) / 10
    colour = GOOD if percent < 80 else NEARLY if percent < 100 else OVER
    shown = {
        "type": "indicator",
        "mode": "gauge+number",
        "value": percent,
        "number": {"suffix": " %", "valueformat": ",.1~f", "font": {"size": 30}},
        "gauge": {
            "axis": {"range": [0, max(100, percent)], "ticksuffix": " %", "nticks": 5, "tickformat": ",.0f"},
            "bar": {"color": colour, "thickness": 0.75},
            "bgcolor": TRACK,
            "borderwidth": 0,
            "threshold": {"line": {"color": OVER, "width": 3}, "thickness": 0.9, "value": 100},
        },
    }
    return _drawn([shown], {"height": 190, "margin": {"l": 34, "r": 34, "t": 26, "b": 6}})


def levels(
    days: Sequence[date], values: Sequence[Decimal], *, y_title: str, limit: Decimal | None, monthly: bool
) -> go.Figure:
    """A level by day (by month where `monthly`), with the quota that it is to stay below as a dashed line."""
    line = {
        "type": "scatter",
        "x": _labels(days, monthly),
        "y": [float(value) for value in values],
        "mode": "lines+markers" if monthly or len(days) < 3 else "lines",
        "line": {"width": 2},
        "fill": "tozeroy",
        "hovertemplate": "%{y:,.10~g}<extra></extra>",
    }
    figure = _drawn([line], _by_day(_look(y_title=y_title), monthly))
    if limit is not None:
        figure.add_hline(
            y=float(limit), line={"dash": "dash", "width": 1.5, "color": NEARLY},
            annotation={"text": "Quota", "font": {"color": NEARLY}}, annotation_position="top left",
        )  # fmt: skip
    return figure


def stacked_days(
    days: Sequence[date], bars: Mapping[str, Sequence[float]], *, y_title: str, monthly: bool
) -> go.Figure:
    """Counts or sums by day (by month where `monthly`), a colour per name; those in OUTCOMES have their own."""
    data = [
        {
            "type": "bar", "x": _labels(days, monthly), "y": list(values), "name": name,
            "marker": {"color": OUTCOMES.get(name)}, "hovertemplate": "%{y:,.10~g}",
        }
        for name, values in bars.items()
    ]  # fmt: skip
    layout = _by_day(_look(y_title=y_title), monthly) | {"barmode": "stack", "bargap": 0.2}
    layout["legend"]["traceorder"] = "normal"
    return _drawn(data, layout)


def _by_day(layout: dict[str, Any], monthly: bool) -> dict[str, Any]:
    """The whole date is shown with each day; a month is its label."""
    if not monthly:
        layout["xaxis"]["hoverformat"] = "%d %b %Y"
    return layout


def _labels(days: Sequence[date], monthly: bool) -> list[str] | list[date]:
    return [f"{day:%b %Y}" for day in days] if monthly else list(days)
