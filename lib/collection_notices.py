"""What an invoice says about money that we collect ourselves, frozen as it is issued (row G16).

A direct debit is announced with its mandate and its day, a charge with the saved card; a run keeps to what its
documents announced (`lib/debit_candidates.py`). Who has neither mandate nor card is asked for a transfer.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from babel.numbers import get_currency_precision
from sqlalchemy import Connection, text

from lib import bank_days
from lib.debit_candidates import MANDATE_MONTHS, first_day

# The payment method that a document asks for where nothing is announced. Alias c is customers.
ASKED = "CASE WHEN c.payment_method IN ('direct_debit', 'card') THEN 'bank_transfer' ELSE c.payment_method END"
_CENTS = 2

# Drafts of customers with a valid mandate, while all is entered that a run needs. They are found from the mandates:
# a company without any looks at nothing.
_WITH_MANDATE = """
  FROM mandates m
  JOIN customers c ON c.id = m.customer_id AND c.payment_method = 'direct_debit'
  JOIN invoices i ON i.customer_id = c.id AND i.kind = 'invoice' AND i.gross > 0 AND i.currency = 'EUR'
  JOIN company o ON o.iban <> '' AND o.name <> ''
  JOIN payment_methods p ON p.code = 'direct_debit' AND p.creditor_id <> ''
"""
_MANDATE = "m.revoked_at IS NULL AND i.state = 'draft' AND i.buyer IS NULL"
_ANNOUNCED = """jsonb_build_object('payment_method', 'direct_debit', 'mandate', m.reference,
                                   'creditor_id', p.creditor_id, 'iban_ending', m.iban_ending)"""
_DUE = "coalesce(i.due_on, CAST(:today AS date) + coalesce(c.payment_days, o.payment_days))"
# A mandate is void that nobody used for so long before the collection.
_STANDS = """(m.signed_on >= d.used_since OR EXISTS (
     SELECT FROM debits u JOIN debit_runs r ON r.id = u.run_id
      WHERE u.mandate_id = m.id AND r.collect_on >= d.used_since))"""
_USED_SINCE = f"CAST(date_trunc('month', CAST(day AS timestamp)) - interval '{MANDATE_MONTHS} months' AS date)"

# The same by saved card, in the mode of our keys.
_WITH_CARD = """
  FROM stripe_account a
  JOIN stripe_cards k ON k.mode = a.mode AND k.payment_method <> ''
  JOIN customers c ON c.id = k.customer_id AND c.payment_method = 'card'
  JOIN invoices i ON i.customer_id = c.id AND i.kind = 'invoice' AND i.gross > 0 AND i.currency = ANY(:with_cents)
"""
_CARD = "a.secret_key IS NOT NULL AND i.state = 'draft' AND i.buyer IS NULL"
_CHARGED = "jsonb_build_object('payment_method', 'card', 'card', initcap(k.brand) || ' … ' || k.ending)"


def collection_day(due_on: date, *, today: date) -> date:
    """The day on which an invoice issued today is collected: when it is due, or the next bank day that a file makes."""
    return bank_days.on_or_after(max(due_on, first_day(today)))


def freeze(conn: Connection, buyer: str, condition: str, values: Mapping[str, Any], *, today: date) -> None:
    """Freeze the buyer of the drafts of `condition` (alias i) that announce something, just before they are issued.

    `buyer` is the rest of the buyer's side in SQL, of customers c. Drafts without mandate or card are not touched.
    """
    given = dict(values) | {"today": today}
    dues = conn.scalars(
        text(f"SELECT DISTINCT {_DUE} AS due {_WITH_MANDATE} WHERE {_MANDATE} AND {condition} ORDER BY 1"), given
    ).all()
    if dues:
        days = [collection_day(due, today=today) for due in dues]
        conn.execute(
            text(f"""
                UPDATE invoices SET buyer = found.buyer FROM (
                    SELECT i.id, {buyer} || {_ANNOUNCED} || jsonb_build_object('collect_on', d.day) AS buyer
                      {_WITH_MANDATE}
                      JOIN (SELECT due, day, {_USED_SINCE} AS used_since
                              FROM unnest(CAST(:dues AS date[]), CAST(:days AS date[])) AS d(due, day)) d
                        ON d.due = {_DUE}
                     WHERE {_MANDATE} AND {condition} AND {_STANDS}) found
                 WHERE found.id = invoices.id"""),
            given | {"dues": dues, "days": days},
        )
    conn.execute(
        text(f"""
            UPDATE invoices SET buyer = found.buyer FROM (
                SELECT i.id, {buyer} || {_CHARGED} AS buyer {_WITH_CARD} WHERE {_CARD} AND {condition}) found
             WHERE found.id = invoices.id"""),
        given | {"with_cents": _with_cents(conn)},
    )


def of_draft(conn: Connection, invoice_id: int) -> dict[str, Any]:
    """What a draft would announce as things are, but for the day, which depends on that of the issue.

    Keys of invoices.buyer, `payment_method` always among them where the customer has one that is collected.
    """
    condition = "i.id = :id"
    values = {"id": invoice_id, "with_cents": _with_cents(conn)}
    found = conn.scalar(
        text(f"""SELECT {_ANNOUNCED} {_WITH_MANDATE} WHERE {_MANDATE} AND {condition}
                 UNION ALL SELECT {_CHARGED} {_WITH_CARD} WHERE {_CARD} AND {condition}"""),
        values,
    )
    if found is not None:
        return dict(found)
    asked = conn.scalar(
        text(f"SELECT {ASKED} FROM invoices i JOIN customers c ON c.id = i.customer_id WHERE {condition}"), values
    )
    return {"payment_method": asked}


def _with_cents(conn: Connection) -> list[str]:
    """Our currency where cards are charged in it, as `lib/cards.py` does."""
    currency: str = conn.execute(text("SELECT currency FROM company")).scalar_one()
    return [currency] if get_currency_precision(currency) == _CENTS else []
