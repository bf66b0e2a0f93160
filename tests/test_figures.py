"""What the charts show: which series, in which colours and axes. How they look is Streamlit's and plotly's."""

from datetime import date
from decimal import Decimal

import pandas as pd

from pages.shared import figures

MONTHS = [date(2026, month, 1) for month in range(1, 7)]
DAYS = [date(2026, 6, day) for day in range(1, 6)]


def test_the_curve_marks_the_quantity_that_was_asked_for() -> None:
    line, point = figures.curve(
        [1, 2, 3], [Decimal(2), None, Decimal("5.5")], unit="IPs", y_title="EUR", decimals=4, marked=(3, Decimal("5.5"))
    ).data
    assert list(line.y) == [2, None, 5.5] and line.mode == "lines"
    assert (list(point.x), list(point.y), point.mode) == ([3], [5.5], "markers")
    figure = figures.curve([1], [Decimal(2)], unit="IPs", y_title="EUR", decimals=2, marked=(7, None))
    assert len(figure.data) == 1 and figure.layout.showlegend is False
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.tickformat) == ("IPs", ",.0f")


def test_months_are_stacked_the_open_ones_faded_and_the_smallest_products_are_one() -> None:
    series = pd.DataFrame({product: [Decimal(product)] * 6 for product in range(1, 8)}, index=MONTHS)
    names = {product: f"P{product}" for product in range(1, 8)}
    figure = figures.stacked_months(series, names, first_open=MONTHS[4], currency="EUR")
    assert [bar.name for bar in figure.data] == ["P4", "P5", "P6", "P7", "Others"]
    assert list(figure.data[-1].y) == [1 + 2 + 3] * 6
    assert list(figure.data[0].marker.opacity) == [1, 1, 1, 1, 0.5, 0.5]
    assert figure.layout.barmode == "relative" and figure.layout.showlegend is True
    assert list(figure.layout.xaxis.tickvals) == ["Mar 2026", "Jun 2026"]
    assert figure.layout.yaxis.title.text == "Net EUR"


def test_one_series_needs_no_legend() -> None:
    figure = figures.by_month(MONTHS, {"Net": [Decimal(1)] * 6}, y_title="EUR", decimals=2, first_open=MONTHS[5])
    assert figure.layout.showlegend is False and figure.layout.barmode == "stack"


def test_names_stand_from_top_to_bottom_with_a_bar_for_each_month() -> None:
    months = {"May 2026": [Decimal(1), Decimal(2)], "June 2026": [Decimal(3), Decimal(4)]}
    figure = figures.side_by_side(["Users", "IPs"], months, currency="EUR")
    assert [(bar.name, list(bar.x), list(bar.y)) for bar in figure.data] == [
        ("May 2026", [1, 2], ["Users", "IPs"]),
        ("June 2026", [3, 4], ["Users", "IPs"]),
    ]
    assert figure.layout.yaxis.autorange == "reversed" and figure.layout.yaxis.tickformat is None
    assert (figure.layout.barmode, figure.layout.xaxis.title.text) == ("group", "Net EUR")


def test_a_level_by_day_says_the_whole_date_and_has_its_quota() -> None:
    figure = figures.levels(DAYS, [Decimal(1)] * 5, y_title="GB", limit=Decimal(4), monthly=False)
    assert figure.layout.xaxis.hoverformat == "%d %b %Y" and list(figure.data[0].x) == DAYS
    assert [shape.y0 for shape in figure.layout.shapes] == [4]
    figure = figures.levels(MONTHS, [Decimal(1)] * 6, y_title="GB", limit=None, monthly=True)
    assert figure.layout.xaxis.hoverformat is None and figure.data[0].x[0] == "Jan 2026"
    assert not figure.layout.shapes


def test_what_failed_is_red() -> None:
    figure = figures.stacked_days(DAYS, {"Worked": [1.0] * 5, "Failed": [2.0] * 5}, y_title="Jobs", monthly=False)
    assert [bar.marker.color for bar in figure.data] == [figures.GOOD, figures.OVER]
    assert figure.layout.barmode == "stack" and figure.layout.legend.traceorder == "normal"


def test_a_quantity_stands_until_the_next_one() -> None:
    [line] = figures.steps(DAYS, [1, 2, 3, 2, 1], y_title="IPs").data
    assert line.line.shape == "hv" and list(line.y) == [1, 2, 3, 2, 1]
