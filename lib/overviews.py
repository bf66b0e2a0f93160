"""The first page: last month, this one and the forecast, what is open, and what needs attention (row G17).

All of it is read from figures that are kept ready: `month_totals` for amounts, purchases and IPs,
indexes or `kept_figures` for the rest. The forecast is the next month with the bookings known today; it is rated once
and then kept up to date by each write, as the open month is. So the page costs the same with a
hundred customers and with 100,000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from lib import (
    cards,
    charges,
    customer_statuses,
    db,
    kept_figures,
    late_renewals,
    periods,
    quota_warnings,
    term_amounts,
)
from lib.auth import Permission, User, require
from lib.clock import month_of, months_between, next_month
from lib.clock import today as today_of

# So many months are charted, the current one the last of them.
CHARTED = 24
SHORT = 6
# Counting stops here: what needs attention more often needs no exact number.
MOST_COUNTED = 1_000
# So many days before its end a customer is called ending, as in the list.
ENDING_DAYS = 28
KINDS = {"managed": "Managed", "self_service": "Self-service", "project": "Project", "free": "Free"}


@dataclass(frozen=True)
class Month:
    """A month's net income and its IPs at its end. `final` once it is closed; before, the bookings known today.

    `ips_internal` is None for a month that was closed before it was kept.
    """

    month: date
    final: bool
    income: Decimal
    ips: int
    ips_internal: int | None
    ip_income: Decimal

    @property
    def ips_external(self) -> int | None:
        """IPs that are not internal."""
        return None if self.ips_internal is None else self.ips - self.ips_internal

    @property
    def average_ip_price(self) -> Decimal | None:
        """What an IP brings in on average, for display only; None at 0 IPs (`billing-rules`, Prices)."""
        return self.ip_income / self.ips if self.ips else None


@dataclass(frozen=True)
class Bought:
    """What a month costs us, as far as purchase prices are known, and the income that stands against it.

    `amount` is None where nobody knows any of it: no purchase price, or the month was closed before it was kept.
    `without` names the products that have no purchase price; their income is in no margin.
    """

    amount: Decimal | None
    income: Decimal
    without: tuple[str, ...]

    @property
    def margin(self) -> Decimal | None:
        """The income of what has a purchase price, less that."""
        return None if self.amount is None else self.income - self.amount

    @staticmethod
    def of(found: Sequence[Any], *, kept: bool) -> "Bought":
        """Add up the rows of a month, each with a product, an income and a purchase or None."""
        known = [one for one in found if one.purchase is not None] if kept else []
        zero = Decimal("0.00")
        return Bought(
            sum((one.purchase for one in known), zero) if known else None,
            sum((one.income for one in known), zero),
            tuple(dict.fromkeys(one.product for one in found if one.purchase is None)) if kept else (),
        )


@dataclass(frozen=True)
class Receivables:
    """What issued invoices still wait for: gross, less what was paid on them; and what of that is overdue."""

    open: Decimal
    open_count: int
    overdue: Decimal
    overdue_count: int


@dataclass(frozen=True)
class Notice:
    """Something that needs attention: its name in NOTICES, and how often; MOST_COUNTED + 1 stands for more."""

    name: str
    count: int


def shown_months(conn: Connection, *, today: date) -> tuple[date, date, date] | None:
    """The last month, the current one and the next; None before the company is set up."""
    first_open = periods.open_month(conn)
    if first_open is None:
        return None
    # Before its first booking month, a company looks forward to that.
    current = max(month_of(today), first_open if _nothing_closed(conn) else month_of(today))
    return next_month(current, by=-1), current, next_month(current)


def history(conn: Connection, *, today: date) -> list[Month]:
    """The charted months and the one after them, the earliest first; those without charges are left out.

    What was invoiced in advance is income of the month in which its document was issued.
    """
    shown = shown_months(conn, today=today)
    if shown is None:
        return []
    _rate(conn, shown[2])
    found = conn.execute(
        text("""
            SELECT t.month, t.month < open_month() AS final, sum(t.amount) AS income,
                   coalesce(sum(t.quantity) FILTER (WHERE p.kind = 'ips'), 0)::bigint AS ips,
                   CASE WHEN count(*) FILTER (WHERE p.kind = 'ips' AND t.internal IS NULL) = 0
                        THEN coalesce(sum(t.internal) FILTER (WHERE p.kind = 'ips'), 0)::bigint END AS ips_internal,
                   coalesce(sum(t.amount) FILTER (WHERE p.kind = 'ips'), 0) AS ip_income
              FROM month_totals t JOIN products p ON p.id = t.product_id
             WHERE t.month > :after AND t.month <= :last AND t.charges > 0
             GROUP BY t.month ORDER BY t.month"""),
        {"after": next_month(shown[1], by=-CHARTED), "last": shown[2]},
    )
    months = [Month(**row._mapping) for row in found]
    prepaid = term_amounts.totals(conn, [month.month for month in months])
    return [replace(month, income=month.income + prepaid.get(month.month, 0)) for month in months]


def purchases(conn: Connection, months: Sequence[date], *, user: User) -> dict[date, Bought]:
    """What our vendors get for these months, and for what. For finance and admins.

    The same measured quantities and days as are charged, at the purchase price that rules the month; and what is
    prepaid, in the month of its document.
    """
    require(user, Permission.SEE_PURCHASE_PRICES)
    if months:
        _rate(conn, max(months))
    charged = conn.execute(
        text("""SELECT t.month, p.name_en AS product, t.amount AS income, t.purchase IS NOT NULL AS kept,
                       CASE WHEN p.kind = 'adjustment' OR b.product_id IS NOT NULL THEN t.purchase END AS purchase
                  FROM month_totals t
                  JOIN products p ON p.id = t.product_id
                  LEFT JOIN purchase_spans b ON b.product_id = t.product_id
                   AND b.from_month <= t.month AND (b.until_month IS NULL OR b.until_month > t.month)
                 WHERE t.month = ANY(CAST(:months AS date[])) AND t.charges > 0 ORDER BY p.position, p.id"""),
        {"months": list(months)},
    ).all()
    found: list[Any] = [*charged, *term_amounts.costs(conn, months)]
    forgotten = {row.month for row in charged if not row.kept}
    return {
        month: Bought.of([one for one in found if one.month == month], kept=month not in forgotten)
        for month in sorted({one.month for one in found})
    }


def receivables(conn: Connection, *, today: date) -> Receivables:
    """Issued invoices that are not paid in full. Credit notes and cancellations wait for no money."""
    added_up = partial(_receivables, conn, today)
    found = kept_figures.figure(conn, "receivables", added_up, table="invoices", today=today)
    return Receivables(Decimal(found["open"]), found["open_count"], Decimal(found["overdue"]), found["overdue_count"])


def _receivables(conn: Connection, today: date) -> Mapping[str, Any]:
    row = conn.execute(
        text("""
            SELECT (coalesce(sum(gross), 0) - coalesce(sum(paid), 0))::text AS open, count(*) AS open_count,
                   (coalesce(sum(gross) FILTER (WHERE due_on < :today), 0)
                    - coalesce(sum(paid) FILTER (WHERE due_on < :today), 0))::text AS overdue,
                   count(*) FILTER (WHERE due_on < :today) AS overdue_count
              FROM (SELECT due_on, gross, CASE WHEN state = 'partly_paid' THEN
                           (SELECT sum(amount) FROM payments WHERE invoice_id = i.id) END AS paid
                      FROM invoices i WHERE kind = 'invoice' AND state IN ('issued', 'partly_paid')) waiting"""),
        {"today": today},
    ).one()
    return dict(row._mapping)


def subscriptions(conn: Connection, months: Sequence[date], *, today: date) -> dict[date, dict[str, int]]:
    """How many customers of each of KINDS a month has: billed in it, or a test that hasn't ended before it.

    A test is free, and so is who pays nothing; who pays by project key is a project. Deactivated, locked and erased
    customers are none. Kinds are those of today.
    """
    added_up = partial(_subscriptions, conn, months, today)
    found = kept_figures.figure(conn, "subscriptions", added_up, table="customers", today=today)
    if set(found) != {month.isoformat() for month in months}:
        found = added_up()
    return {month: found[month.isoformat()] for month in months}


def _subscriptions(conn: Connection, months: Sequence[date], today: date) -> Mapping[str, Any]:
    counted = ", ".join(
        f"""count(*) FILTER (WHERE since < CAST(:after{n} AS date)
                                  AND (ends_on IS NULL OR ends_on >= CAST(:first{n} AS date))) AS in_{n}"""
        for n in range(len(months))
    )
    values = {f"first{n}": month for n, month in enumerate(months)}
    values |= {f"after{n}": next_month(month) for n, month in enumerate(months)}
    found = conn.execute(
        text(f"""
            SELECT CASE WHEN phase = 'test' OR payment_method = 'free' THEN 'free'
                        WHEN payment_method = 'project_key' THEN 'project' ELSE service_mode END AS kind, {counted}
              FROM (SELECT phase, payment_method, service_mode, ends_on,
                           coalesce(billed_from, least(created_at::date, CAST(:today AS date))) AS since
                      FROM customers WHERE erased_at IS NULL AND active AND locked_at IS NULL) customer
             GROUP BY 1"""),
        values | {"today": today},
    ).all()
    return {month.isoformat(): {row.kind: row._mapping[f"in_{n}"] for row in found} for n, month in enumerate(months)}


def first_steps(conn: Connection) -> dict[str, bool]:
    """What a new company does first, in this order, and whether it did."""
    row = conn.execute(
        text("""SELECT EXISTS (SELECT FROM company WHERE name <> '') AS company,
                       EXISTS (SELECT FROM months) AS month,
                       EXISTS (SELECT FROM prices WHERE withdrawn_at IS NULL) AS prices,
                       EXISTS (SELECT FROM customers) AS customers,
                       EXISTS (SELECT FROM bookings) AS bookings""")
    ).one()
    return dict(row._mapping)


def keep_ready() -> bool:
    """For the worker: rate and add up what the first page shows before anybody waits. Returns False: never busy."""
    with db.transaction() as conn:
        today = today_of(conn)
        shown = shown_months(conn, today=today)
        if shown is None:
            return False
        _rate(conn, shown[2])
        figures = {
            "receivables": partial(_receivables, conn, today),
            "subscriptions": partial(_subscriptions, conn, shown, today),
        }
        for name in kept_figures.ageing(conn):
            kept_figures.renewed(conn, name, figures[name], today=today)
    return False


# ---------------------------------------------------------------------------------- what needs attention

_ENDING = f"""SELECT FROM customers c WHERE c.phase = '{{phase}}' AND c.erased_at IS NULL
                 AND c.ends_on BETWEEN :today AND CAST(:today AS date) + {ENDING_DAYS}
                 AND {customer_statuses.STATUS} = 'ending'"""

# Each with what it is counted by, and who can do something about it.
_NOTICES = {
    "months_to_close": (
        "SELECT FROM generate_series(open_month()::timestamp, CAST(:last AS timestamp), interval '1 month')",
        Permission.CLOSE_MONTHS,
    ),
    "unpriced": ("SELECT FROM statements WHERE month = :current AND amount IS NULL", Permission.READ),
    "unbilled": (
        "SELECT FROM statements WHERE invoice_id IS NULL AND amount <> 0 AND month < open_month()",
        Permission.READ,
    ),
    "drafts": ("SELECT FROM invoices WHERE state = 'draft'", Permission.READ),
    "overdue": (
        """SELECT FROM invoices WHERE kind = 'invoice' AND state IN ('issued', 'partly_paid')
              AND due_on < :today""",
        Permission.READ,
    ),
    "late_renewals": (late_renewals.WAITING, Permission.EDIT_INVOICES),
    "ending_tests": (_ENDING.format(phase="test"), Permission.READ),
    "ending_billed": (_ENDING.format(phase="billed"), Permission.READ),
    "deletions": (
        "SELECT FROM deletions WHERE taken_back_at IS NULL AND erased_at IS NULL",
        Permission.READ,
    ),
    "duties": ("SELECT FROM duties WHERE signed_off_at IS NULL", Permission.READ),
    "disputes": (
        f"SELECT FROM stripe_requests WHERE due_at IS NOT NULL AND note LIKE '{cards.DISPUTED}%'",
        Permission.RECORD_PAYMENTS,
    ),
    "failed_mails": ("SELECT FROM mails WHERE state = 'failed'", Permission.EDIT_SETTINGS),
    "quota_warnings": (
        f"SELECT FROM customers c WHERE c.erased_at IS NULL AND {quota_warnings.WARNED}",
        Permission.READ,
    ),
}
NOTICES = tuple(_NOTICES)


def attention(conn: Connection, *, today: date, user: User) -> list[Notice]:
    """What there is to look after, in the order of NOTICES, as far as this person can do something about it."""
    asked = {name: counted for name, (counted, permission) in _NOTICES.items() if user.may(permission)}
    one = "SELECT '{}' AS name, (SELECT count(*) FROM ({} LIMIT {}) found) AS count"
    statement = " UNION ALL ".join(one.format(name, sql, MOST_COUNTED + 1) for name, sql in asked.items())
    current = month_of(today)
    values = {
        "today": today,
        "current": current,
        "last": next_month(current, by=-1),
        "warning_levels": list(quota_warnings.LEVELS),
    }
    found = conn.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})
    counts: dict[str, int] = dict(found.tuples().all())
    return [Notice(name, counts[name]) for name in NOTICES if counts.get(name)]


def _rate(conn: Connection, until: date) -> None:
    first_open = periods.open_month(conn)
    if first_open is not None and first_open <= until:
        charges.ensure_rated(conn, *months_between(first_open, until))


def _nothing_closed(conn: Connection) -> bool:
    return not conn.scalar(text("SELECT EXISTS (SELECT FROM months WHERE state <> 'open')"))
