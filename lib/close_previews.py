"""What approving a month would bill, and which customers to look at before (row B1). Writes nothing.

An *exception* is something about a customer's month that a person should look at; only a price that is missing keeps
the month from being approved.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import charges, issuing, vat, vat_rates
from lib.clock import next_month


@dataclass(frozen=True)
class ProductTotal:
    """What a product comes to in a month and in the month before, net, over how many charges.

    `amount` is None where none of them has a price.
    """

    name: str
    amount: Decimal | None
    previous: Decimal
    charges: int


@dataclass(frozen=True)
class Preview:
    """What approving a month would do. `missing_prices` block it; `reverse_charge` counts documents of category AE."""

    month: date
    net: Decimal
    previous_net: Decimal
    documents: int
    credit_notes: int
    without_charges: int
    missing_prices: int
    reverse_charge: int
    by_product: list[ProductTotal]
    exceptions: dict[str, int]


@dataclass(frozen=True)
class ExceptionRow:
    """Something about a customer's month that a person should look at before it is approved."""

    kind: str
    customer_id: int
    number: str
    name: str
    detail: str
    amount: Decimal | None


EXCEPTIONS = {
    "no_price": "No price",
    "no_address": "Address incomplete",
    "no_vat_decision": "No VAT decision",
    "change": "Unusual change",
    "over_licence": "Users over the licence",
    "ending": "Ended or ending soon",
    "zero": "Nothing to bill",
}
# Without a price there is no amount; all others can be looked at and accepted.
BLOCKING = ("no_price",)

_STATEMENTS = """
SELECT s.customer_id, s.amount, p.amount AS previous, c.number, c.name, c.sort_name, c.ends_on,
       CASE WHEN NOT c.users_beyond_max THEN c.max_users END AS max_users, {missing} AS missing, {decision} AS category
  FROM statements s
  JOIN customers c ON c.id = s.customer_id
  LEFT JOIN statements p ON p.customer_id = s.customer_id AND p.month = :previous
 WHERE s.month = :month
"""

# Customers who have no charges in the month at all: those who had some in the month before, and
# those who are billed and have nothing booked.
_ABSENT = """
SELECT p.customer_id, 'change' AS kind, 'no charges any more; ' || p.amount || ' in the month before' AS detail
  FROM statements p
 WHERE p.month = :previous AND p.amount <> 0
   AND NOT EXISTS (SELECT FROM statements s WHERE s.month = :month AND s.customer_id = p.customer_id)
UNION ALL
SELECT c.id, 'zero', 'nothing is booked'
  FROM customers c
 WHERE c.phase = 'billed' AND c.active AND c.billed_from < :next_month AND (c.ends_on IS NULL OR c.ends_on >= :month)
   AND NOT EXISTS (SELECT FROM statements s WHERE s.month = :month AND s.customer_id = c.id)
"""

_EXCEPTIONS = """
WITH stated AS MATERIALIZED ({statements}), found AS (
    SELECT 'no_price' AS kind, s.customer_id,
           (SELECT string_agg(p.name_en, ', ' ORDER BY p.position) FROM charges h JOIN products p ON p.id = h.product_id
             WHERE h.month = :month AND h.customer_id = s.customer_id AND h.amount IS NULL) AS detail
      FROM stated s WHERE s.amount IS NULL
    UNION ALL
    SELECT 'no_address', customer_id, 'missing: ' || array_to_string(missing, ', ')
      FROM stated WHERE amount <> 0 AND cardinality(missing) > 0
    UNION ALL
    SELECT 'no_vat_decision', customer_id, 'needs ' || CAST(:vat_missing AS text)
      FROM stated WHERE amount <> 0 AND category IS NULL
    UNION ALL
    -- Looked for only where a rate is missing: there is nearly always one.
    SELECT 'no_vat_decision', s.customer_id,
           'needs a ' || string_agg(t.treatment, ' and a ' ORDER BY t.treatment DESC)
           || ' VAT rate (Settings → VAT rates)'
      FROM stated s
     CROSS JOIN unnest(CAST(:unrated AS text[])) AS t(treatment)
     WHERE cardinality(CAST(:unrated AS text[])) > 0 AND s.amount <> 0 AND s.category = 'S'
       AND (EXISTS (SELECT FROM charges h JOIN products p ON p.id = h.product_id
                     WHERE h.month = :month AND h.customer_id = s.customer_id AND p.kind <> 'adjustment'
                       AND p.vat_treatment = t.treatment)
            OR EXISTS (SELECT FROM adjustments a
                        WHERE a.month = :month AND a.customer_id = s.customer_id AND a.withdrawn_at IS NULL
                          AND a.vat_treatment = t.treatment))
     GROUP BY s.customer_id
    UNION ALL
    SELECT 'change', s.customer_id,
           to_char((s.amount - s.previous) * 100 / abs(s.previous), 'FMSG999999990') || ' % against the month before'
      FROM stated s, company o
     WHERE s.previous <> 0 AND abs(s.amount - s.previous) * 100 > o.change_threshold_percent * abs(s.previous)
    UNION ALL
    SELECT 'over_licence', s.customer_id,
           max(b.quantity) || ' users are booked, the licence allows ' || s.max_users
      FROM stated s
      JOIN products p ON p.kind = 'users'
      JOIN charges h ON h.month = :month AND h.customer_id = s.customer_id AND h.product_id = p.id
      JOIN LATERAL (
           SELECT quantity, effective_on, lead(effective_on) OVER (ORDER BY effective_on) AS until_day
             FROM standing_bookings WHERE customer_id = s.customer_id AND product_id = p.id) b ON true
     WHERE s.max_users IS NOT NULL
       AND (h.changes <> '' OR h.start_quantity > s.max_users OR h.end_quantity > s.max_users)
       AND b.quantity > s.max_users AND b.effective_on < :next_month AND (b.until_day IS NULL OR b.until_day > :month)
     GROUP BY s.customer_id, s.max_users
    UNION ALL
    SELECT 'ending', customer_id,
           CASE WHEN ends_on < :today THEN 'ended on ' ELSE 'ends on ' END || to_char(ends_on, 'FMDD Mon YYYY')
      FROM stated WHERE ends_on >= :month AND ends_on <= :soon
    UNION ALL
    SELECT 'zero', customer_id, 'charges add up to 0.00' FROM stated WHERE amount = 0
    UNION ALL
    SELECT kind, customer_id, detail FROM ({absent}) absent
)
"""


def preview(conn: Connection, month: date, *, today: date) -> Preview:
    """What approving the month would bill, by product, with the number of exceptions by kind. Writes nothing."""
    charges.ensure_rated(conn, month)
    values = _values(conn, month, today)
    found = conn.execute(
        text("""SELECT name, CASE WHEN charges = 0 OR charges > unpriced THEN amount END AS amount, previous, charges
                  FROM (SELECT p.position, p.id, p.name_en AS name,
                               coalesce(sum(t.amount) FILTER (WHERE t.month = :month), 0) AS amount,
                               coalesce(sum(t.amount) FILTER (WHERE t.month = :previous), 0) AS previous,
                               coalesce(sum(t.charges) FILTER (WHERE t.month = :month), 0)::int AS charges,
                               (SELECT count(*) FROM statements s JOIN charges h USING (month, customer_id)
                                 WHERE s.month = :month AND s.amount IS NULL
                                   AND h.product_id = p.id AND h.amount IS NULL) AS unpriced
                          FROM month_totals t JOIN products p ON p.id = t.product_id
                         WHERE t.month IN (:month, :previous) AND t.charges > 0
                         GROUP BY p.id) totals
                 ORDER BY position, id"""),
        values,
    )
    by_product = [ProductTotal(**row._mapping) for row in found]
    counted = conn.execute(
        text(f"""SELECT count(*) FILTER (WHERE s.amount <> 0) AS documents,
                        count(*) FILTER (WHERE s.amount < 0) AS credit_notes,
                        count(*) FILTER (WHERE s.amount IS NULL) AS missing,
                        count(*) FILTER (WHERE s.amount <> 0 AND {vat.DECISION} = 'AE') AS reverse_charge
                   FROM statements s JOIN customers c ON c.id = s.customer_id WHERE s.month = :month"""),
        values,
    ).one()
    counts = f"{_exceptions_sql()} SELECT kind, count(*) AS found FROM found GROUP BY kind"
    kinds = {row.kind: row.found for row in conn.execute(text(counts), values)}
    return Preview(
        month=month,
        net=sum((one.amount for one in by_product if one.amount is not None), Decimal("0.00")),
        previous_net=sum((one.previous for one in by_product), Decimal("0.00")),
        documents=counted.documents,
        credit_notes=counted.credit_notes,
        without_charges=kinds.get("zero", 0),
        missing_prices=counted.missing,
        reverse_charge=counted.reverse_charge,
        by_product=by_product,
        exceptions=kinds,
    )


def exceptions(
    conn: Connection, month: date, *, today: date, kind: str | None = None, limit: int = 50, offset: int = 0
) -> list[ExceptionRow]:
    """The exceptions of a month by kind and name, to be looked at before it is approved."""
    charges.ensure_rated(conn, month)
    found = conn.execute(
        text(f"""{_exceptions_sql()}
            SELECT f.kind, f.customer_id, c.number, c.name, f.detail, s.amount
              FROM found f JOIN customers c ON c.id = f.customer_id LEFT JOIN stated s ON s.customer_id = f.customer_id
             WHERE CAST(:kind AS text) IS NULL OR f.kind = :kind
             ORDER BY array_position(CAST(:kinds AS text[]), f.kind), c.sort_name, f.customer_id
             LIMIT :limit OFFSET :offset"""),
        _values(conn, month, today) | {"kind": kind, "kinds": list(EXCEPTIONS), "limit": limit, "offset": offset},
    )
    return [ExceptionRow(**row._mapping) for row in found]


def _exceptions_sql() -> str:
    statements = _STATEMENTS.format(missing=issuing.MISSING_OF_BUYER, decision=vat.DECISION)
    return _EXCEPTIONS.format(statements=statements, absent=_ABSENT)


def _values(conn: Connection, month: date, today: date) -> dict[str, Any]:
    return {
        "unrated": vat_rates.missing(conn, next_month(month) - timedelta(days=1)),
        "month": month,
        "previous": next_month(month, by=-1),
        "next_month": next_month(month),
        "today": today,
        "soon": max(next_month(month), today) + timedelta(days=28),
        "vat_missing": vat.MISSING,
    }
