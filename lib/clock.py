"""Where *today* comes from. Pages, commands and jobs ask here; every other function is handed the day."""

import os
from datetime import date

from sqlalchemy import Connection, text


def today(conn: Connection) -> date:
    """Today in the company's time zone, or the day in MANDANT_TODAY for demos and tests."""
    fixed = os.environ.get("MANDANT_TODAY")
    if fixed:
        return date.fromisoformat(fixed)
    day: date | None = conn.scalar(text("SELECT (now() AT TIME ZONE timezone)::date FROM company"))
    assert day is not None
    return day


def month_of(day: date) -> date:
    """The first day of the booking month that `day` is in."""
    return day.replace(day=1)


def next_month(month: date, *, by: int = 1) -> date:
    """The first day of the month that is `by` months later (earlier where negative)."""
    index = month.year * 12 + month.month - 1 + by
    return date(index // 12, index % 12 + 1, 1)


def months_between(first: date, last: date) -> list[date]:
    """All booking months from the one of `first` to the one of `last`."""
    month, found = month_of(first), []
    while month <= last:
        found.append(month)
        month = next_month(month)
    return found


def next_day(day: date) -> date:
    """The day after: ledger days are half-open, people name the last day."""
    return date.fromordinal(day.toordinal() + 1)
