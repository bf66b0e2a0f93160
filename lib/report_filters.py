"""What the Cost Overview is narrowed to: months, customers and products, from a page, an address or a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from lib import periods
from lib.audit import like_escaped
from lib.clock import month_of, months_between, next_month
from lib.errors import Conflict, Invalid

LONGEST_RANGE = 36
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Filters:
    """Months from `first` to `last` (both the first of a month), and what narrows them; empty doesn't narrow."""

    first: date
    last: date
    search: str = ""
    customers: tuple[int, ...] = ()
    products: tuple[int, ...] = ()

    @property
    def months(self) -> list[date]:
        """All months of the range, the earliest first."""
        return months_between(self.first, self.last)

    @property
    def months_before(self) -> list[date]:
        """As many months as the range has, just before it: what its totals are compared with."""
        count = len(self.months)
        return [next_month(month, by=-count) for month in self.months]

    @property
    def by_customer(self) -> bool:
        """Whether only some customers are asked for."""
        return bool(self.search.strip() or self.customers)


def months(conn: Connection, *, today: date) -> list[date]:
    """The months that can be chosen, the newest first; none before the company is set up."""
    first = conn.scalar(text("SELECT min(month) FROM months"))
    if first is None:
        return []
    return months_between(first, max(periods.open_month(conn) or first, month_of(today)))[::-1]


def chosen(
    conn: Connection,
    *,
    today: date,
    month: str,
    until: str | None = None,
    search: str = "",
    customers: Sequence[str] = (),
    products: Sequence[str] = (),
) -> Filters:
    """The filters that an address or a command names: months as 2026-06, customers by number, products by code.

    Raises Invalid at the field for what does not exist, Conflict before set-up.
    """
    known = months(conn, today=today)
    if not known:
        raise Conflict(periods.NOT_SET_UP)
    first = _month(month, known, field="month")
    last = _month(until, known, field="until") if until else first
    if last < first:
        raise Invalid(f"The range ends ({last:%Y-%m}) before it begins ({first:%Y-%m}).", field="until")
    if len(months_between(first, last)) > LONGEST_RANGE:
        raise Invalid(f"A range has at most {LONGEST_RANGE} months.", field="until")
    return Filters(
        first=first,
        last=last,
        search=search,
        customers=_ids(conn, "SELECT number, id FROM customers WHERE number = ANY(:names)", customers, "customer"),
        products=_ids(conn, "SELECT code, id FROM products WHERE code = ANY(:names)", products, "product"),
    )


def pickable(conn: Connection, search: str, *, kept: Sequence[str] = (), limit: int = 100) -> dict[str, str]:
    """Billed customers to choose from, number → name: the first by name that match, and those of `kept`."""
    where, values = _searched(search)
    found = conn.execute(
        text(f"""SELECT number, name FROM customers WHERE phase = 'billed' AND number = ANY(:kept)
                 UNION ALL
                 (SELECT c.number, c.name FROM customers c WHERE c.phase = 'billed' AND {where}
                   ORDER BY c.sort_name, c.id LIMIT :limit)"""),
        values | {"kept": [number.replace("\x00", "") for number in kept], "limit": limit},
    )
    return {row.number: row.name for row in found}


def conditions(filters: Filters) -> tuple[str, dict[str, Any]]:
    """Which customers (alias c) are shown at all, and the values of every parameter the filters need."""
    # A day more than the month: who ended on the day before still shows what ended.
    # An adjustment is charged to customers that have ended, too, and an advance invoice can be cancelled then.
    shown = """c.phase = 'billed' AND (
               c.billed_from < :after AND (c.ends_on IS NULL OR c.ends_on >= CAST(:first AS date) - 1)
               OR c.id IN (SELECT customer_id FROM adjustments
                            WHERE withdrawn_at IS NULL AND month = ANY(CAST(:months AS date[])))
               OR c.id IN (SELECT customer_id FROM term_amounts WHERE month = ANY(CAST(:months AS date[]))))"""
    where, values = asked(filters)
    return f"{shown} AND {where}", values


def asked(filters: Filters) -> tuple[str, dict[str, Any]]:
    """The customers (alias c) that are searched for, whenever they were billed."""
    where, values = _searched(filters.search)
    if filters.customers:
        where += " AND c.id = ANY(CAST(:customers AS bigint[]))"
    return where, values | {
        "first": filters.first,
        "after": next_month(filters.last),
        "months": filters.months,
        "products": list(filters.products),
        "customers": list(filters.customers),
    }


def of_products(filters: Filters) -> str:
    """The products that are asked for, as a condition on charges or month_totals (alias h)."""
    return "AND h.product_id = ANY(CAST(:products AS bigint[]))" if filters.products else ""


def _searched(search: str) -> tuple[str, dict[str, Any]]:
    """Every word stands somewhere in name, number, contact, e-mail or VAT ID."""
    words = search.replace("\x00", "")[:LONGEST_SEARCH].lower().split()
    values: dict[str, Any] = {f"word{position}": f"%{like_escaped(word)}%" for position, word in enumerate(words)}
    return " AND ".join(["true", *(f"c.search LIKE :{name}" for name in values)]), values


def _month(typed: str, known: Sequence[date], *, field: str) -> date:
    try:
        month = date.fromisoformat(f"{typed}-01")
    except ValueError:
        raise Invalid(f"“{typed[:20]}” is not a month. Write it like 2026-06.", field=field) from None
    if month not in known:
        range_known = f"{known[-1]:%Y-%m} to {known[0]:%Y-%m}"
        raise Invalid(f"{typed} is not a month with charges. Choose one from {range_known}.", field=field)
    return month


def _ids(conn: Connection, statement: str, names: Sequence[str], label: str) -> tuple[int, ...]:
    if not names:
        return ()
    found: dict[str, int] = dict(
        conn.execute(text(statement), {"names": [name.replace("\x00", "") for name in names]}).tuples().all()
    )
    for name in names:
        if name not in found:
            raise Invalid(f"There is no {label} “{name[:40]}”.", field=label)
    return tuple(found[name] for name in names)
