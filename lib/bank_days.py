"""The days on which banks settle in euro (TARGET): not at weekends, nor on six holidays a year."""

from datetime import date, timedelta


def is_bank_day(day: date) -> bool:
    """Whether banks settle on that day."""
    return day.weekday() < 5 and day not in _holidays(day.year)


def after(day: date, bank_days: int) -> date:
    """The bank day that is so many bank days after `day`."""
    while bank_days > 0:
        day += timedelta(days=1)
        bank_days -= is_bank_day(day)
    return day


def on_or_after(day: date) -> date:
    """The day itself where banks settle on it, else the next one on which they do."""
    return day if is_bank_day(day) else after(day, 1)


def _holidays(year: int) -> set[date]:
    """New Year, Good Friday, Easter Monday, Labour Day, and two days of Christmas."""
    easter = _easter(year)
    fixed = {date(year, month, day) for month, day in ((1, 1), (5, 1), (12, 25), (12, 26))}
    return fixed | {easter - timedelta(days=2), easter + timedelta(days=1)}


def _easter(year: int) -> date:
    """Easter Sunday in the Gregorian calendar (Spencer's rule of 1876)."""
    golden, (century, of_century) = year % 19, divmod(year, 100)
    leaps, rest = divmod(century, 4)
    moon = (19 * golden + century - leaps - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * rest + 2 * (of_century // 4) - moon - of_century % 4) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
