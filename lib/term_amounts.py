"""What is invoiced in advance for prepaid terms, in the month in which its document is issued (rows S5, N11).

It is no charge: never measured, in no statement, and billed by its own document. So it stands beside the charges, on a
line of its own. A document that is cancelled counts negated in the month of its cancellation. The view `term_amounts`
has a row per line of such a document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

# Stands for all of them in what is added up by product.
PREPAID = -1
NAME = "Prepaid"


@dataclass(frozen=True)
class TermAmount:
    """A line of an advance invoice, net: the term itself, a credit for unused days, a discount."""

    month: date
    product_id: int
    product: str
    invoice_id: int
    number: str
    line: str
    period: str
    amount: Decimal


def amounts_of(conn: Connection, customer_id: int, months: Sequence[date]) -> list[TermAmount]:
    """What was invoiced in advance to a customer in these months, in the order of documents."""
    found = conn.execute(
        text("""SELECT a.month, a.product_id, p.name_en AS product, a.invoice_id, a.number, a.name AS line,
                       i.advance_period AS period, a.amount
                  FROM term_amounts a JOIN products p ON p.id = a.product_id JOIN invoices i ON i.id = a.invoice_id
                 WHERE a.customer_id = :customer AND a.month = ANY(CAST(:months AS date[]))
                 ORDER BY a.month, a.invoice_id, a.position"""),
        {"customer": customer_id, "months": list(months)},
    )
    return [TermAmount(**row._mapping) for row in found]


def totals(conn: Connection, months: Sequence[date]) -> dict[date, Decimal]:
    """What was invoiced in advance to everybody; without the months in which nothing was."""
    found = conn.execute(
        text("""SELECT month, sum(amount) AS amount FROM term_amounts WHERE month = ANY(CAST(:months AS date[]))
                 GROUP BY month"""),
        {"months": list(months)},
    )
    return {row.month: row.amount for row in found}
