"""Bookings from a file: from this day, this customer has this quantity of this product (rows B11, N4).

The rules are those of a booking by hand (`lib/bookings.py`); changes that are booked for later stay.
A row that says what the ledger says already changes nothing, in a closed month, too.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from lib import booking_rules, periods, products, project_keys
from lib.audit import Change
from lib.auth import User
from lib.bookings import NOTHING, Holding
from lib.clock import next_day
from lib.db import conflicts
from lib.errors import Conflict, Invalid
from lib.import_fields import folded
from lib.import_plans import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Named,
    Plan,
    Planned,
    copied,
    id_array,
    logged,
    named,
    refuse_repeated,
    staged,
)
from lib.import_rows import SILENT, Rows
from lib.products import Product
from lib.project_keys import ProjectKey

_COLUMNS = ("product", "effective_on", "ends_on", "held", "wanted", "starts", "ends", "replaces")
_WRITTEN = ("customer_id", "product_id", "kind", "effective_on", "quantity", "internal", "external", "recorded_by")


class _Booked(NamedTuple):
    """What a row does: `starts` and `ends` say which of its two days the ledger doesn't have yet.

    `replaces`: another quantity is pending for that very day; it is taken back.
    """

    product: Product
    effective_on: date
    ends_on: date | None
    held: Holding
    wanted: Holding
    starts: bool
    ends: bool
    replaces: bool


class _Ledger:
    """The bookings of one customer and product by day: what stands, and what earlier rows of the file put over it."""

    def __init__(self) -> None:
        self.stored: dict[date, Holding] = {}
        self.days: list[date] = []
        self.holdings: dict[date, Holding] = {}

    def put(self, day: date, holding: Holding) -> None:
        """From the day on, until the next one."""
        if day not in self.holdings:
            insort(self.days, day)
        self.holdings[day] = holding

    def before(self, day: date) -> Holding:
        """What holds on the day before."""
        index = bisect_left(self.days, day)
        return self.holdings[self.days[index - 1]] if index else NOTHING


def plan(conn: Connection, rows: Rows, *, today: date, hold: bool) -> Plan:
    """What the rows would do. Notes faults in `rows`; `hold` locks the customers until the transaction ends.

    Raises Conflict before the company is set up.
    """
    first_open = periods.hold_open_month(conn) if hold else periods.open_month(conn)
    if first_open is None:
        raise Conflict(periods.NOT_SET_UP)
    of = named(conn, rows, hold=hold)
    sold = _products(conn, rows)
    keys = [
        None if customer is None or product is None else (customer.id, product.id)
        for customer, product in zip(of, sold, strict=True)
    ]
    days = rows.column("effective_on")
    daily = [None if key is None or day is SILENT else (key, day) for key, day in zip(keys, days, strict=True)]
    refuse_repeated(rows, daily, "This product and day are on line {line} already.", name="effective_on")
    ledgers = _ledgers(conn, {key for key in keys if key is not None})
    running = project_keys.running(conn, id_array(one.id for one in of if one is not None), today=first_open)
    starts = {start for start in daily if start is not None}
    planner = _Planner(rows, starts, running, first_open=first_open, today=today)
    planned = []
    # By day, so that each row finds what the rows before it have booked.
    for index in sorted((index for index, key in enumerate(daily) if key is not None), key=lambda index: days[index]):
        customer, product, key = of[index], sold[index], keys[index]
        if customer is None or product is None or key is None or rows.lines[index] in rows.faults.lines:
            continue
        try:
            planned.append(planner.planned(index, customer, product, ledgers[key], key))
        except Invalid as refused:
            rows.faults.add(
                rows.lines[index], str(refused), name=refused.field, value=planner.said(index, refused.field)
            )
    customers = {customer.id: (customer.number, customer.name) for customer in of if customer is not None}
    good = sorted((row for row in planned if row.line not in rows.faults.lines), key=lambda row: row.line)
    return Plan(_COLUMNS, good, _told, lambda row: customers[row.customer_id])


class _Planner:
    def __init__(
        self,
        rows: Rows,
        starts: set[tuple[tuple[int, int], date]],
        running: Mapping[int, Sequence[ProjectKey]],
        *,
        first_open: date,
        today: date,
    ) -> None:
        self.rows, self.starts, self.running = rows, starts, running
        self.first_open, self.today = first_open, today
        self.cells = {
            name: rows.column(name) for name in ("effective_on", "quantity", "internal", "external", "ends_on")
        }
        # Where a product ends by a row of the file: its line and the last day.
        self.ended: dict[tuple[int, int], tuple[int, date]] = {}

    def said(self, index: int, name: str | None) -> Any:
        """What the row says in this column."""
        value = self.cells[name][index] if name in self.cells else SILENT
        return "" if value is SILENT else value

    def planned(self, index: int, customer: Named, product: Product, ledger: _Ledger, key: tuple[int, int]) -> Planned:
        """What one row does. Raises Invalid at the field."""
        said: dict[str, Any] = {
            name: None if values[index] is SILENT else values[index] for name, values in self.cells.items()
        }
        day: date = said["effective_on"]
        quantity: int = said["quantity"]
        ends_on: date | None = said["ends_on"]
        line, ended = self.ended.get(key, (0, None))
        if ended is not None and day <= ended:
            raise Invalid(
                f"Line {line} books this until {ended:%d %b %Y}. Let this row start later.", field="effective_on"
            )
        held = ledger.stored.get(day) or ledger.before(day)
        internal, external = said["internal"], said["external"]
        if internal is None and external is None and held.quantity == quantity:
            internal, external = held.internal, held.external
        wanted = Holding(quantity, *booking_rules.split(product, quantity, internal, external))
        booking_rules.require_sensible(product, quantity, day, ends_on, today=self.today)
        starts = not _same(held, wanted)
        if product.kind == "ips" and starts:
            self._require_no_key(customer, day, ends_on)
        ledger.put(day, wanted)
        ends = False
        if ends_on is not None:
            ends = self._ends(product, ledger, key, next_day(ends_on))
            self.ended[key] = (self.rows.lines[index], ends_on)
        if starts:
            self._require_start(customer, product, held, wanted, day)
        elif ends and ends_on is not None:
            periods.require_open(self.first_open, next_day(ends_on), field="ends_on")
        outcome = UNCHANGED if not starts and not ends else UPDATED if day in ledger.stored else CREATED
        replaces = starts and day in ledger.stored and day > self.today
        booked = _Booked(product, day, ends_on, held, wanted, starts, ends, replaces)
        return Planned(self.rows.lines[index], outcome, customer.id, None, None, booked)

    def _ends(self, product: Product, ledger: _Ledger, key: tuple[int, int], day: date) -> bool:
        """Whether an end has to be booked for this day; another row of the file that starts on it decides instead."""
        if (key, day) in self.starts:
            return False
        held = ledger.stored.get(day) or ledger.before(day)
        ledger.put(day, Holding(0, *booking_rules.split_of_none(product)))
        return held.quantity != 0

    def _require_no_key(self, customer: Named, day: date, ends_on: date | None) -> None:
        """IPs that a project key brings end when it ends; a file doesn't split them anew, a page does (row G9)."""
        for key in self.running.get(customer.id, ()):
            assert key.from_day is not None and key.until_day is not None
            found = [("effective_on", day)] + ([("ends_on", next_day(ends_on))] if ends_on is not None else [])
            for name, start in found:
                if key.from_day <= start < key.until_day:
                    raise Invalid(
                        f"Project key {key.masked} brings {key.ips:,} IPs until {key.last_day:%d %b %Y}. Until then "
                        "only their distribution changes, on the customer's page.",
                        field=name,
                    )

    def _require_start(self, customer: Named, product: Product, held: Holding, wanted: Holding, day: date) -> None:
        periods.require_open(self.first_open, day, field="effective_on")
        if product.kind == "ips":
            booking_rules.require_ip_day(held.quantity, wanted.quantity, day, today=self.today)
        if product.kind == "users" and wanted.quantity > held.quantity:
            booking_rules.require_licence(customer, wanted.quantity)


def _same(held: Holding, wanted: Holding) -> bool:
    return (held.quantity, held.internal or 0, held.external or 0) == (
        wanted.quantity, wanted.internal or 0, wanted.external or 0,
    )  # fmt: skip


def _products(conn: Connection, rows: Rows) -> list[Product | None]:
    """The product of each row by its code, name or article number; None where there is a fault."""
    known: dict[str, set[Product]] = {}
    for product in products.catalogue(conn, kinds=tuple(products.KINDS)):
        for word in (product.code, product.name_de, product.name_en, product.article_number):
            if folded(word):
                known.setdefault(folded(word), set()).add(product)
    answer: list[Product | None] = []
    for line, said in zip(rows.lines, rows.column("product"), strict=True):
        found = list(known.get(folded(said), ())) if said is not SILENT else []
        if said is not SILENT and len(found) != 1:
            message = (
                f"There is no product {said[:60]}. Write its code or name as on the page Prices."
                if not found
                else f"Several products are called {said[:60]}. Write the code: {_codes(found)}."
            )
            rows.faults.add(line, message, name="product", value=said)
        answer.append(found[0] if len(found) == 1 else None)
    return answer


def _codes(found: Sequence[Product]) -> str:
    return " or ".join(sorted(product.code for product in found))


def _ledgers(conn: Connection, keys: set[tuple[int, int]]) -> dict[tuple[int, int], _Ledger]:
    ledgers = {key: _Ledger() for key in keys}
    found = conn.execute(
        text("""SELECT customer_id, product_id, effective_on, quantity, internal, external FROM standing_bookings
                 WHERE customer_id = ANY(CAST(:customers AS bigint[]))
                   AND product_id = ANY(CAST(:products AS bigint[]))"""),
        {
            "customers": id_array(customer_id for customer_id, _ in keys),
            "products": id_array(product_id for _, product_id in keys),
        },
    )
    for row in found:
        ledger = ledgers.get((row.customer_id, row.product_id))
        if ledger is not None:
            ledger.stored[row.effective_on] = Holding(row.quantity, row.internal, row.external)
    for ledger in ledgers.values():
        ledger.days = sorted(ledger.stored)
        ledger.holdings = dict(ledger.stored)
    return ledgers


def _told(row: Planned) -> Mapping[str, Change]:
    booked = _Booked(*row.after)
    told: dict[str, Change] = {
        booked.product.name_en: (booked.held.quantity, booked.wanted.quantity),
        "from": (None, booked.effective_on),
    }
    if booked.ends_on is not None:
        told["until"] = (None, booked.ends_on)
    return told


# ---------------------------------------------------------------------------------- writing


def write(conn: Connection, planned: Plan, rows: Sequence[Planned], *, user: User) -> None:
    """Append these rows of a plan that was made with `hold` to the ledger, with an audit entry each.

    The caller rates afterwards (`charges.keep`). Raises Conflict for a second plan at a time.
    """
    append(conn, rows, user=user)
    if any(row.after[0].kind in products.IN_ADVANCE for row in rows):
        refusals = {
            "one_plan_at_a_time": "A customer has one plan at a time. Check the file anew.",
            "recurring_or_prepaid": "A plan or module in the file is paid in advance by its customer.",
        }
        with conflicts(refusals):
            conn.execute(text("SET CONSTRAINTS bookings_one_plan, bookings_beside_terms IMMEDIATE"))
            conn.execute(text("SET CONSTRAINTS bookings_one_plan, bookings_beside_terms DEFERRED"))
    logged(conn, "book", "booking", planned, ((row.after[0].code, row) for row in rows), user=user)


def append(conn: Connection, rows: Sequence[Planned], *, user: User) -> None:
    """The ledger's rows alone."""
    replaced = [(row.customer_id, row.after[0].id, row.after[1]) for row in rows if _Booked(*row.after).replaces]
    if replaced:
        types = {"customer_id": "bigint", "product_id": "bigint", "effective_on": "date"}
        staged(conn, "import_replaced", types, replaced)
        # Taken back, or it would stand again once the new one is taken back.
        conn.execute(
            text("""INSERT INTO bookings (customer_id, product_id, kind, effective_on, voids, recorded_by)
                    SELECT b.customer_id, b.product_id, b.kind, b.effective_on, b.id, :user
                      FROM bookings b JOIN import_replaced r USING (customer_id, product_id, effective_on)
                     WHERE b.voids IS NULL AND b.project_key_id IS NULL
                       AND NOT EXISTS (SELECT FROM bookings v WHERE v.voids = b.id AND v.voids IS NOT NULL)
                     ORDER BY b.id"""),
            {"user": user.id},
        )
    copied(conn, "bookings", _WRITTEN, (line for row in rows for line in _lines(row, user)))


def _lines(row: Planned, user: User) -> Iterator[tuple[Any, ...]]:
    booked = _Booked(*row.after)
    first = (row.customer_id, booked.product.id, booked.product.kind)
    if booked.starts:
        wanted = booked.wanted
        yield (*first, booked.effective_on, wanted.quantity, wanted.internal, wanted.external, user.id)
    if booked.ends and booked.ends_on is not None:
        yield (*first, next_day(booked.ends_on), 0, *booking_rules.split_of_none(booked.product), user.id)


def second_plans(conn: Connection, rows: Sequence[Planned]) -> set[int]:
    """The customers of these rows who would have two plans at a time, once their rows are in the ledger."""
    ids = {row.customer_id for row in rows if row.after[0].kind == "plan"}
    if not ids:
        return set()
    found = conn.scalars(
        text("""SELECT DISTINCT a.customer_id
                  FROM booked_spans a
                  JOIN booked_spans b ON b.customer_id = a.customer_id AND b.product_id > a.product_id
                   AND daterange(a.from_day, a.until_day) && daterange(b.from_day, b.until_day)
                  JOIN products pa ON pa.id = a.product_id AND pa.kind = 'plan'
                  JOIN products pb ON pb.id = b.product_id AND pb.kind = 'plan'
                 WHERE a.customer_id = ANY(CAST(:ids AS bigint[]))"""),
        {"ids": id_array(ids)},
    )
    return set(found)
