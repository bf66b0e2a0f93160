"""Every figure of the app, built by go.Figure in one style. Colours and fonts come from Streamlit's theme."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import pandas as pd
import plotly.graph_objects as go

# Without the tool bar: these are figures to read, not to explore.
CONFIG = {"displayModeBar": False, "scrollZoom": False}
HEIGHT = 260
# A reader tells no more colours apart.
MOST_COLOURS = 5


def styled(
    figure: go.Figure, *, y_title: str, x_title: str = "", height: int = HEIGHT, y_format: str = ",.0f"
) -> go.Figure:
    """The margins, axes and hover that all figures share."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hovermode="x unified",
        showlegend=len(figure.data) > 1,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": None},
        bargap=0.35,
    )
    figure.update_xaxes(title=x_title, showgrid=False, fixedrange=True, automargin=True)
    figure.update_yaxes(
        title=y_title, tickformat=y_format, rangemode="tozero", fixedrange=True, automargin=True, zeroline=False
    )
    return figure


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
    figure = go.Figure(
        go.Scatter(
            x=list(quantities),
            y=[None if value is None else float(value) for value in values],
            mode="lines",
            line={"width": 2},
            hovertemplate=f"%{{y:,.{decimals}f}}<extra></extra>",
        )
    )
    if marked is not None and marked[1] is not None:
        figure.add_scatter(
            x=[marked[0]],
            y=[float(marked[1])],
            mode="markers",
            marker={"size": 11},
            hoverinfo="skip",
        )
    styled(figure, y_title=y_title, x_title=unit, y_format=",.2f" if decimals > 2 else ",.0f")
    return figure.update_layout(showlegend=False)


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
    figure = go.Figure(
        [
            go.Bar(
                x=labels,
                y=list(values),
                name=name,
                marker={"opacity": opacity},
                hovertemplate="%{y:,.2f}",
            )
            for name, values in bars
        ]
    )
    styled(figure, y_title=f"Net {currency}", height=400)
    # One label a quarter: two years of names would stand on end.
    figure.update_xaxes(tickvals=labels[::-3][::-1])
    legend = {"traceorder": "normal", "yanchor": "top", "y": -0.12}
    return figure.update_layout(barmode="relative", bargap=0.3, legend=legend)


def steps(days: Sequence[date], quantities: Sequence[int], *, y_title: str) -> go.Figure:
    """A quantity over days: each stands until the next one."""
    figure = go.Figure(
        go.Scatter(
            x=list(days),
            y=list(quantities),
            mode="lines",
            line={"shape": "hv", "width": 2},
            fill="tozeroy",
            hovertemplate="%{y:,}<extra></extra>",
        )
    )
    styled(figure, y_title=y_title)
    return figure.update_xaxes(hoverformat="%d %b %Y")


def side_by_side(names: Sequence[str], bars: Mapping[str, Sequence[Decimal]], *, currency: str) -> go.Figure:
    """Amounts of several months for each name, from top to bottom, a colour per month."""
    figure = go.Figure(
        [
            go.Bar(
                x=[float(value) for value in values],
                y=list(names),
                name=label,
                orientation="h",
                hovertemplate="%{x:,.2f}",
            )
            for label, values in bars.items()
        ]
    )
    styled(figure, y_title="", x_title=f"Net {currency}", height=110 + 30 * len(names))
    figure.update_layout(barmode="group", hovermode="y unified", bargap=0.25)
    figure.update_xaxes(tickformat=",.0f")
    return figure.update_yaxes(autorange="reversed", tickformat=None)
