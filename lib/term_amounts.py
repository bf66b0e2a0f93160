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

# The lines of `term_amounts` with what they cost us: the purchase price of the month in which the document is issued,
# for as many months as the term has. A credit takes the same share of the replaced term's cost back as of its price. A
# discount costs nothing, and a cancellation takes back what its original cost. NULL: nobody entered a purchase price.
COSTED = """
SELECT a.month, a.customer_id, a.product_id, a.amount,
       CASE WHEN NOT l.from_close THEN 0.00
            WHEN (l.quantity > 0) = (i.cancels_id IS NULL) THEN
                 sign(l.quantity) * round(b.unit_price * CASE t.cycle WHEN 'yearly' THEN 12 ELSE 1 END, 2)
            ELSE round(c.unit_price * CASE r.cycle WHEN 'yearly' THEN 12 ELSE 1 END * a.amount / nullif(r.price, 0), 2)
            END AS purchase
  FROM term_amounts a
  JOIN invoice_lines l ON l.invoice_id = a.invoice_id AND l.position = a.position
  JOIN invoices i ON i.id = a.invoice_id
  JOIN invoices o ON o.id = coalesce(i.cancels_id, i.id)
  JOIN terms t ON t.invoice_id = o.id
  LEFT JOIN purchase_spans b ON b.product_id = t.product_id
   AND b.from_month <= o.issued_on AND (b.until_month IS NULL OR b.until_month > o.issued_on)
  LEFT JOIN terms r ON r.id = t.replaces_id
  LEFT JOIN invoices ri ON ri.id = r.invoice_id
  LEFT JOIN purchase_spans c ON c.product_id = r.product_id
   AND c.from_month <= ri.issued_on AND (c.until_month IS NULL OR c.until_month > ri.issued_on)"""


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


@dataclass(frozen=True)
class Cost:
    """What one product's terms brought in and cost us in a month; `purchase` is None where that is not known."""

    month: date
    product_id: int
    product: str
    income: Decimal
    purchase: Decimal | None


def costs(conn: Connection, months: Sequence[date]) -> list[Cost]:
    """What was invoiced in advance in these months, and what it costs us. For who may see purchase prices."""
    found = conn.execute(
        text(f"""SELECT a.month, a.product_id, p.name_en AS product, sum(a.amount) AS income,
                        CASE WHEN count(a.purchase) = count(*) THEN sum(a.purchase) END AS purchase
                   FROM ({COSTED}) a JOIN products p ON p.id = a.product_id
                  WHERE a.month = ANY(CAST(:months AS date[]))
                  GROUP BY a.month, a.product_id, p.id ORDER BY a.month, p.position, p.id"""),
        {"months": list(months)},
    )
    return [Cost(**row._mapping) for row in found]


def totals(conn: Connection, months: Sequence[date]) -> dict[date, Decimal]:
    """What was invoiced in advance to everybody; without the months in which nothing was."""
    found = conn.execute(
        text("""SELECT month, sum(amount) AS amount FROM term_amounts WHERE month = ANY(CAST(:months AS date[]))
                 GROUP BY month"""),
        {"months": list(months)},
    )
    return {row.month: row.amount for row in found}
