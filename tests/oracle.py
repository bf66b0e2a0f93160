"""The billing rules once more, in plain Python and day by day: what the tests hold the rating statement against.

Written from the rules, not from the SQL: a list of events, a loop over days, fractions instead of
rounding until a line is rounded.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

DAY = timedelta(days=1)
Tiers = tuple[tuple[int, int | None, Decimal], ...]
Event = TypeVar("Event", "Status", "Booking")


@dataclass(frozen=True)
class Status:
    """From this day on: billed or not, active or not, the last charged day."""

    day: date
    billed: bool
    active: bool
    ends_on: date | None


@dataclass(frozen=True)
class Booking:
    """From this day on this quantity, unless it was taken back; by the project key of this name, if any."""

    day: date
    quantity: int
    voided: bool = False
    key: str | None = None


@dataclass(frozen=True)
class Key:
    """A project key: until the day (without it), its selling price at once or each month, and what it brings."""

    start: date
    until: date
    quantity: int
    monthly: bool
    price: Decimal


@dataclass(frozen=True)
class Price:
    """From this month on; None as tiers: back to the list price."""

    month: date
    tiers: Tiers | None


@dataclass
class Ledger:
    """Everything that was recorded, each list in the order in which it was."""

    measures: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    bookings: dict[tuple[str, str], list[Booking]] = field(default_factory=dict)
    list_prices: dict[str, list[Price]] = field(default_factory=dict)
    own_prices: dict[tuple[str, str], list[Price]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)


@dataclass(frozen=True)
class Charge:
    """What a customer's month of a product shows and costs; no amount: no price."""

    start: int
    end: int
    changes: str
    amount: Decimal | None


def charge(ledger: Ledger, customer: str, product: str, month: date) -> Charge | None:
    """The charge, or None where the customer had nothing of the product in the month or on the day before."""
    days = days_of(month)
    had = {day: held(ledger, customer, product, day) for day in [month - DAY, *days]}
    if not any(had.values()):
        return None
    moves = [(day, had[day] - had[day - DAY]) for day in days if had[day] != had[day - DAY]]
    text = "; ".join(f"{day.isoformat()} {step:+d}" for day, step in moves)
    return Charge(had[month - DAY], had[days[-1]], text, amount(ledger, customer, product, month))


def amount(ledger: Ledger, customer: str, product: str, month: date) -> Decimal | None:
    """The net amount of the month, by the product's measure; None without a price. What keys bring is added."""
    days = days_of(month)
    counting = [day for day in days if counts(ledger, customer, day)]
    quantities = [0 if by_key(ledger, customer, product, day) else booked(ledger, customer, product, day)
                  for day in counting]  # fmt: skip
    keyed = _keyed(ledger, customer, product, days)
    if not any(quantities):
        return keyed
    measure = ledger.measures[product]
    tiers = price(ledger, customer, product, month)
    if measure == "daily":
        listed = _daily(ledger, customer, product, days, tiers)
    else:
        measured = quantities[-1] if measure == "end" else max(quantities)
        listed = Decimal("0.00") if measured == 0 else None if tiers is None else whole_month(tiers, measured)
    return None if listed is None else listed + keyed


def _daily(ledger: Ledger, customer: str, product: str, days: list[date], tiers: Tiers | None) -> Decimal | None:
    if tiers is None:
        return None
    total = Decimal("0.00")
    for key, quantity, stretch in _stretches(ledger, customer, product, days):
        if key is None and len(stretch) == len(days):
            return whole_month(tiers, quantity)
        if key is None:
            total += cents(sum(pieces(tiers, quantity), Fraction(0)) * Fraction(len(stretch), len(days)))
    return total


def _keyed(ledger: Ledger, customer: str, product: str, days: list[date]) -> Decimal:
    """What project keys cost in these days of a month: whole on the first day that counts, or by days."""
    total = Decimal("0.00")
    for name, _, stretch in _stretches(ledger, customer, product, days):
        if name is None:
            continue
        key = ledger.keys[name]
        if key.monthly:
            total += cents(Fraction(key.price) * Fraction(len(stretch), len(days)))
            continue
        first = key.start
        while not counts(ledger, customer, first):
            first += DAY
        if first in stretch:
            total += key.price
    return total


def _stretches(
    ledger: Ledger, customer: str, product: str, days: list[date]
) -> list[tuple[str | None, int, list[date]]]:
    """Runs of days with one quantity by one key or none."""
    runs: list[tuple[str | None, int, list[date]]] = []
    for day in days:
        quantity = held(ledger, customer, product, day)
        key = by_key(ledger, customer, product, day) if quantity else None
        if runs and runs[-1][:2] == (key, quantity):
            runs[-1][2].append(day)
        else:
            runs.append((key, quantity, [day]))
    return runs


def by_key(ledger: Ledger, customer: str, product: str, day: date) -> str | None:
    """The project key that brings what is booked on a day, if any."""
    found = _ruling_booking(ledger, customer, product, day)
    return found.key if found and found.quantity else None


def whole_month(tiers: Tiers, quantity: int) -> Decimal:
    """One line per range used, each rounded."""
    return sum((cents(piece) for piece in pieces(tiers, quantity)), Decimal("0.00"))


def pieces(tiers: Tiers, quantity: int) -> list[Fraction]:
    """What each range costs that the quantity reaches: unit by unit."""
    found = []
    for first, last, unit_price in tiers:
        units = sum(1 for unit in range(1, quantity + 1) if unit >= first and (last is None or unit <= last))
        if units:
            found.append(Fraction(unit_price) * units)
    return found


def price(ledger: Ledger, customer: str, product: str, month: date) -> Tiers | None:
    """The customer's own price where one rules the month, else the list price."""
    own = _ruling(ledger.own_prices.get((customer, product), []), month)
    if own is not None and own.tiers is not None:
        return own.tiers
    listed = _ruling(ledger.list_prices.get(product, []), month)
    return listed.tiers if listed else None


def held(ledger: Ledger, customer: str, product: str, day: date) -> int:
    """The quantity on a day that counts; 0 on another."""
    return booked(ledger, customer, product, day) if counts(ledger, customer, day) else 0


def booked(ledger: Ledger, customer: str, product: str, day: date) -> int:
    """The latest effective booking that stands; of two on one day the later recorded."""
    found = _ruling_booking(ledger, customer, product, day)
    return found.quantity if found else 0


def _ruling_booking(ledger: Ledger, customer: str, product: str, day: date) -> Booking | None:
    standing = [
        entry for entry in ledger.bookings.get((customer, product), []) if not entry.voided and entry.day <= day
    ]
    return _last(standing) if standing else None


def counts(ledger: Ledger, customer: str, day: date) -> bool:
    """Whether the customer was billed, active and not past its end date on that day."""
    known = [status for status in ledger.statuses[customer] if status.day <= day]
    if not known:
        return False
    status = _last(known)
    return status.billed and status.active and (status.ends_on is None or day <= status.ends_on)


def days_of(month: date) -> list[date]:
    """All days of a month."""
    days = [month]
    while (days[-1] + DAY).month == month.month:
        days.append(days[-1] + DAY)
    return days


def cents(exact: Fraction) -> Decimal:
    """Rounded half away from zero (no amount here is negative)."""
    scaled = exact * 100
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    return Decimal(whole + (2 * rest >= scaled.denominator)).scaleb(-2)


def _last(events: list[Event]) -> Event:
    latest = max(event.day for event in events)
    return [event for event in events if event.day == latest][-1]


def _ruling(versions: list[Price], month: date) -> Price | None:
    started = [version for version in versions if version.month <= month]
    return max(started, key=lambda version: version.month) if started else None
