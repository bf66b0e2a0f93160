"""What of a month's invoices can be collected by direct debit, on which day, and what can't and why (row G16)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, text

from lib import bank_days, clock, payment_methods
from lib.customer_fields import PAYMENT_METHODS

# Banks take a file some days ahead, not weeks; and a mandate that nobody used for three years is void (rulebook).
MOST_DAYS_AHEAD = 14
LEAST_BANK_DAYS = 2
MANDATE_MONTHS = 36

_CANDIDATES = """
SELECT i.id AS invoice_id, i.number, i.state, i.currency, i.due_on, i.customer_id, c.name AS customer,
       i.buyer, i.gross - coalesce((SELECT sum(p.amount) FROM payments p WHERE p.invoice_id = i.id), 0) AS amount,
       m.id AS mandate_id, m.reference, m.holder, m.signed_on, r.collect_on AS in_run,
       EXISTS (SELECT FROM stripe_requests q WHERE q.invoice_id = i.id AND q.state IN ('new', 'open')
                  AND q.kind IN ('payment', 'charge')) AS by_card,
       last.collect_on AS used_on, coalesce(last.stood, false) AS stood
  FROM invoices i
  JOIN customers c ON c.id = i.customer_id AND c.payment_method = 'direct_debit'
  LEFT JOIN mandates m ON m.customer_id = c.id AND m.revoked_at IS NULL
  LEFT JOIN debits d ON d.invoice_id = i.id AND d.returned_at IS NULL
  LEFT JOIN debit_runs r ON r.id = d.run_id
  LEFT JOIN LATERAL (
       SELECT max(ur.collect_on) AS collect_on, bool_or(u.returned_at IS NULL) AS stood
         FROM debits u JOIN debit_runs ur ON ur.id = u.run_id WHERE u.mandate_id = m.id) last ON true
 WHERE i.kind = 'invoice' AND i.gross > 0 AND i.state IN ('issued', 'partly_paid', 'paid')
   AND coalesce(i.month, CAST(date_trunc('month', CAST(i.issued_on AS timestamp)) AS date)) = :month
 ORDER BY i.number_year, i.number_index, i.id"""


@dataclass(frozen=True)
class Candidate:
    """An invoice of a customer that pays by direct debit. `why` says why it can't be collected; empty: it can.

    `announced` is the day that its document names; none on documents from before that was printed.
    """

    invoice_id: int
    number: str
    customer_id: int
    customer: str
    due_on: date
    announced: date | None
    amount: Decimal
    why: str


def lacks(conn: Connection) -> list[str]:
    """What has to be entered before any file can be made, in words."""
    company: Any = conn.execute(text("SELECT name, iban, currency FROM company")).one()
    missing = []
    if not payment_methods.creditor_id(conn):
        missing.append("our creditor identifier (Methods → SEPA direct debit)")
    if not company.iban:
        missing.append("our account (Methods → Bank transfer)")
    if not company.name:
        missing.append("our company’s name (Settings → Company)")
    return missing


def months(conn: Connection) -> list[date]:
    """The months in which documents were issued, the newest first, at most the last twelve."""
    return list(
        conn.scalars(
            text("""SELECT DISTINCT coalesce(month, CAST(date_trunc('month', CAST(issued_on AS timestamp)) AS date))
                      FROM invoices WHERE number IS NOT NULL AND kind = 'invoice' ORDER BY 1 DESC LIMIT 12""")
        )
    )


def candidates(conn: Connection, month: date, *, collect_on: date, late: bool = False) -> list[Candidate]:
    """The month's invoices of customers that pay by direct debit; each that can't be collected says why.

    `late` takes those, too, whose documents announced an earlier day: their customers were told the new one.
    """
    return [candidate(row, collect_on, late=late) for row in rows(conn, month)]


def usual_day(conn: Connection, month: date, *, today: date) -> date:
    """The day to collect a month's invoices on: the next one that their documents announced, else the first possible.

    A day too far ahead for a file is not one of them.
    """
    first = first_day(today)
    days = [_announced(row) for row in rows(conn, month) if row.amount > 0 and row.in_run is None]
    return min((day for day in days if day is not None and not why_not(day, today=today)), default=first)


def first_day(today: date) -> date:
    """The first day on which a file that is made today can collect."""
    return bank_days.after(today, LEAST_BANK_DAYS)


def why_not(collect_on: date, *, today: date) -> str:
    """Why a day can't be the collection day, in words; empty: it can."""
    if collect_on < first_day(today):
        return (
            f"{collect_on:%d %b %Y} is too soon: banks want the file a bank day before. The first day that works "
            f"is {first_day(today):%d %b %Y}."
        )
    if not bank_days.is_bank_day(collect_on):
        following = bank_days.after(collect_on, 1)
        return f"Banks don’t settle on {collect_on:%d %b %Y} ({collect_on:%A}). Take {following:%d %b %Y}."
    if (collect_on - today).days > MOST_DAYS_AHEAD:
        return f"Banks take a file at most {MOST_DAYS_AHEAD} days ahead. Make it later, or choose an earlier day."
    return ""


def rows(conn: Connection, month: date, *, hold: bool = False) -> Sequence[Row[Any]]:
    """The invoices with all that decides; with `hold` other writes on them wait until the transaction ends."""
    # Locked first and read then: who waited sees what the other did.
    values = {"month": month}
    if hold:
        ids = [row.invoice_id for row in conn.execute(text(_CANDIDATES), values)]
        query = text("SELECT 1 FROM invoices WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE")
        conn.execute(query, {"ids": ids})
    return conn.execute(text(_CANDIDATES), values).all()


def candidate(row: Row[Any], collect_on: date, *, late: bool = False) -> Candidate:
    """A row of `rows` as it is shown."""
    return Candidate(
        row.invoice_id, row.number, row.customer_id, row.customer, row.due_on, _announced(row), row.amount,
        _why(row, collect_on) or _told_otherwise(row, collect_on, late=late),
    )  # fmt: skip


def _announced(row: Row[Any]) -> date | None:
    day = row.buyer.get("collect_on")
    return date.fromisoformat(day) if day else None


def _told_otherwise(row: Row[Any], collect_on: date, *, late: bool) -> str:
    """How a collection would differ from what the document announced; empty where it wouldn't."""
    mandate, day = row.buyer.get("mandate"), _announced(row)
    if mandate and mandate != row.reference:
        return f"The document announces the mandate {mandate}, which is revoked"
    if day is not None and collect_on < day:
        return f"It is announced for {day:%d %b %Y}"
    if day is not None and collect_on > day and not late:
        return f"It was announced for {day:%d %b %Y}: tell the customer the new day first"
    return ""


def _why(row: Row[Any], collect_on: date) -> str:
    """Why an invoice is not collected; empty where it is."""
    asked = row.buyer.get("payment_method") or "bank_transfer"
    if row.amount <= 0:
        return "Nothing is open"
    if row.in_run is not None:
        return f"It is in the run of {row.in_run:%d %b %Y}"
    if row.by_card:
        return "A payment by card is under way; a pay link that nobody uses ends after a day"
    if row.mandate_id is None:
        return "The customer has no valid mandate"
    if row.currency != "EUR":
        return f"It is in {row.currency}; direct debits are in EUR"
    if asked != "direct_debit":
        return f"The document asks for: {PAYMENT_METHODS.get(asked, asked)}"
    if row.due_on > collect_on:
        return f"It is due on {row.due_on:%d %b %Y}, after the collection"
    if clock.next_month(clock.month_of(row.used_on or row.signed_on), by=MANDATE_MONTHS) < clock.month_of(collect_on):
        return "The mandate was not used for three years; have a new one signed"
    return ""
