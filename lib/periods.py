"""The border between closed and open months, and the lock that every write on charges takes."""

from datetime import date

from sqlalchemy import Connection, text

from lib.clock import month_of
from lib.errors import Conflict, Invalid

NOT_SET_UP = "The first booking month is not set. An admin sets it in Settings → Company."
# Constraint names of the triggers in the schema that guard the border.
REFUSALS = {
    "month_is_closed": "The month was closed meanwhile. Reload the page and choose a day in an open month.",
    "company_not_set_up": NOT_SET_UP,
}


def open_month(conn: Connection) -> date | None:
    """The first month that isn't closed, or None before set-up."""
    month: date | None = conn.scalar(text("SELECT open_month()"))
    return month


def open_months(conn: Connection, *, today: date) -> list[date]:
    """The months from the first open one to the one of `today`: those whose charges are a forecast."""
    found = conn.scalars(
        text("""SELECT generate_series(open_month()::timestamp, CAST(:last AS timestamp), interval '1 month')::date"""),
        {"last": month_of(today)},
    )
    return list(found)


def hold_open_month(conn: Connection, *, alone: bool = False) -> date:
    """The first open month, which no close can take until this transaction ends (FOR SHARE).

    Every write that can change charges calls it first. With `alone` (FOR UPDATE) no other such write
    runs meanwhile: a write that re-rates all customers must see what each of them has booked.
    Raises Conflict before set-up.
    """
    lock = "UPDATE" if alone else "SHARE"
    for _ in range(3):
        # A close that we waited for leaves no row here; the next look finds its successor.
        month: date | None = conn.scalar(text(f"SELECT month FROM months WHERE state = 'open' FOR {lock}"))
        if month is not None:
            return month
        if open_month(conn) is None:
            raise Conflict(NOT_SET_UP)
    raise Conflict("The month is being closed at this moment. Try again.")


def require_open(first_open: date, day: date, *, field: str | None = None) -> None:
    """Refuse a day in a closed month, naming the first open one (`billing-rules`, Quantities)."""
    if day < first_open:
        raise Invalid(
            f"{day:%d %b %Y} is in a closed month. The first open month is {first_open:%B %Y}; "
            "what has to be corrected before it becomes an adjustment.",
            field=field,
        )


def require_first_of_month(day: date, *, field: str) -> None:
    """Refuse a day that is not the first of a month."""
    if day != month_of(day):
        raise Invalid("Choose the first day of a month.", field=field)
