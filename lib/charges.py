"""Charges are kept ready for the months that are not closed, so that a list of 100,000 customers is only read.

A write re-rates the customers that it touches (`keep`), a month that nobody has rated yet is rated when it is first
read (`ensure_rated`), and the close re-rates all of it (`months.approve`) and holds what was kept against that
(`differences`). What a charge is says `lib/billing.py`.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, text

from lib import billing

COLUMNS = "month, customer_id, product_id, start_quantity, end_quantity, changes, price_id, amount, purchase"
# After so many new rows the planner's statistics are too old for the reads that follow.
MANY = 5_000


def keep(conn: Connection, *, customers: Sequence[int] | None, first_month: date | None = None) -> None:
    """Re-rate these customers (None: all) in every month that is rated and not closed, from `first_month` on.

    Called by each write that can change charges, in its transaction.
    """
    if customers is not None and not customers:
        return
    months = list(
        conn.scalars(
            text("""SELECT month FROM rated_months
                     WHERE month >= greatest(open_month(), CAST(:first AS date)) ORDER BY month"""),
            {"first": first_month},
        )
    )
    if months:
        _store(conn, months, customers)


def ensure_rated(conn: Connection, *months: date) -> None:
    """Rate the open months among these that nobody has read yet, so that their charges are ready.

    Takes the open month's row FOR UPDATE: no booking can slip in between rating and storing.
    """
    missing = text("""
        SELECT month FROM unnest(CAST(:months AS date[])) AS month
         WHERE month >= (SELECT open_month()) AND month NOT IN (SELECT month FROM rated_months)""")
    if not conn.scalars(missing, {"months": list(months)}).all():
        return
    conn.execute(text("SELECT month FROM months WHERE state = 'open' FOR UPDATE"))
    # Looked at again: somebody may have rated or closed them while we waited.
    wanted = list(conn.scalars(missing, {"months": list(months)}))
    if wanted:
        conn.execute(text("INSERT INTO rated_months SELECT unnest(CAST(:months AS date[]))"), {"months": wanted})
        _store(conn, wanted, None)


def rate_to_close(conn: Connection, month: date) -> None:
    """Rate a month that nobody has read yet and that is closed in this transaction.

    Each statement with an amount gets the id of its document, which the close then writes. The
    caller holds the month's row FOR UPDATE.
    """
    conn.execute(text("INSERT INTO rated_months (month) VALUES (:month)"), {"month": month})
    _store(conn, [month], None, invoice_id="CASE WHEN amount <> 0 THEN nextval('invoices_id_seq') END")


def assign_documents(conn: Connection, month: date, *, customer_id: int | None = None) -> None:
    """Give each statement of a month that is on no document the id of one, which is then written.

    Where the close has just rated the month, its statements have theirs already (`rate_to_close`).
    """
    narrowed = "" if customer_id is None else "AND s.customer_id = :customer_id"
    conn.execute(
        text(f"""
            UPDATE statements s SET invoice_id = d.invoice_id
              FROM (SELECT customer_id, nextval('invoices_id_seq') AS invoice_id
                      FROM (SELECT s.customer_id FROM statements s
                             WHERE s.month = :month AND s.invoice_id IS NULL AND s.amount <> 0 {narrowed}
                             ORDER BY s.customer_id) unlinked) d
             WHERE s.month = :month AND s.customer_id = d.customer_id"""),
        {"month": month, "customer_id": customer_id},
    )


def release(conn: Connection, invoice_id: int) -> None:
    """Make the charges that are on a document unbilled again, before it is deleted or as it is cancelled."""
    conn.execute(
        text("""UPDATE statements SET invoice_id = NULL
                 WHERE invoice_id = :id AND customer_id = (SELECT customer_id FROM invoices WHERE id = :id)"""),
        {"id": invoice_id},
    )


def release_month(conn: Connection, month: date) -> None:
    """The same for all documents of a month that is reopened."""
    conn.execute(
        text("UPDATE statements SET invoice_id = NULL WHERE month = :month AND invoice_id IS NOT NULL"),
        {"month": month},
    )


# How many of the IPs that a customer has at a month's end are internal: as the last booking until then says.
_SHARES = """
share AS (
    SELECT DISTINCT ON (m.month, b.customer_id) m.month, b.customer_id, b.product_id, b.internal
      FROM unnest(CAST(:months AS date[])) AS m(month)
      JOIN standing_bookings b ON b.product_id = (SELECT id FROM products WHERE kind = 'ips')
       AND b.effective_on < (m.month + interval '1 month')::date {booked}
     ORDER BY m.month, b.customer_id, b.effective_on DESC
)"""


def _store(
    conn: Connection, months: Sequence[date], customers: Sequence[int] | None, *, invoice_id: str = "NULL"
) -> None:
    narrowed = "" if customers is None else "AND customer_id = ANY(CAST(:customers AS bigint[]))"
    values = {"months": list(months), "customers": None if customers is None else list(customers)}
    if customers is None:
        billing.rate_all(conn, months)
    for table in ("charges", "statements"):
        conn.execute(text(f"DELETE FROM {table} WHERE month = ANY(CAST(:months AS date[])) {narrowed}"), values)
    everyone = customers is None
    rating = billing.statement(select=f"SELECT {COLUMNS} FROM charge", customers=not everyone, rated=everyone)
    stated = conn.execute(
        text(f"""
            WITH stored AS (
                INSERT INTO charges ({COLUMNS}, internal)
                WITH {_SHARES.format(booked=narrowed.replace("customer_id", "b.customer_id"))}
                SELECT r.*, CASE WHEN r.end_quantity > 0 THEN s.internal END
                  FROM ({rating}) r LEFT JOIN share s USING (month, customer_id, product_id)
                RETURNING month, customer_id, amount
            )
            INSERT INTO statements (month, customer_id, amount, invoice_id)
            SELECT month, customer_id, amount, {invoice_id}
              FROM (SELECT month, customer_id, CASE WHEN count(amount) = count(*) THEN sum(amount) END AS amount
                      FROM stored GROUP BY month, customer_id ORDER BY month, customer_id) added"""),
        values,
    )
    if stated.rowcount > MANY:
        conn.execute(text("ANALYZE charges (month, customer_id, product_id, amount), statements"))


def differences(conn: Connection, *, months: Sequence[date]) -> list[str]:
    """Where the stored charges of these months are not what a full rating gives, in words; none is right.

    Leaves the rating in this transaction (`billing.rate_all`).
    """
    billing.rate_all(conn, months)
    rating = billing.statement(select=f"SELECT {COLUMNS} FROM charge", rated=True)
    columns = "start_quantity, end_quantity, changes, price_id, amount, purchase"
    found = conn.execute(
        text(f"""
            WITH rating AS MATERIALIZED ({rating})
            SELECT month, customer_id, product_id, s.amount AS stored, r.amount AS right_amount
              FROM rating r
              FULL JOIN (SELECT * FROM charges WHERE month = ANY(CAST(:months AS date[]))) s
              USING (month, customer_id, product_id)
             WHERE (s.{columns.replace(", ", ", s.")}) IS DISTINCT FROM (r.{columns.replace(", ", ", r.")})
             ORDER BY month, customer_id, product_id LIMIT 1000"""),
        {"months": list(months)},
    )
    return [
        f"{row.month:%Y-%m} customer {row.customer_id} product {row.product_id}: "
        f"{row.stored} kept, {row.right_amount} rated"
        for row in found
    ]
