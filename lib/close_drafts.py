"""What a month's close drafts: one document per customer with charges, set-based (row B1).

Its lines are never edited. Charges whose draft was deleted or whose document was cancelled are *unbilled*, until they
are drafted again here.
"""

from datetime import date

from sqlalchemy import Connection, text

from lib import audit, billing, charges, vat
from lib.auth import Permission, User, require
from lib.document_words import CREDITED
from lib.errors import Conflict
from lib.project_keys import MASK

# One statement writes all documents with their lines. {rating} is the rating statement up to its lines;
# what is printed of each is in the document's language.
_DRAFTED = """
WITH drafted AS MATERIALIZED (
    SELECT s.invoice_id, s.customer_id, c.language, c.language = 'de' AS de, c.purchase_order, {decision} AS category
      FROM statements s JOIN customers c ON c.id = s.customer_id
     WHERE s.month = :month AND s.invoice_id IS NOT NULL {narrowed}
), rates AS (
    -- Arrays, read by the day's place in them: joined, each line would be held against each day.
    SELECT array_agg({standard_of_day} ORDER BY day) AS standard, array_agg({reduced_of_day} ORDER BY day) AS reduced
      FROM generate_series(:month, CAST(:month AS date) + interval '1 month', '1 day') AS days(day)
), rated AS (
    SELECT *, CASE WHEN prorated THEN from_day ELSE month END AS service_from,
           CASE WHEN prorated THEN until_day ELSE month + month_days END - 1 AS service_until
      FROM ({rating}) line
), line AS (
    -- Narrow, as all of them are sorted; what is printed of each is told afterwards.
    SELECT d.invoice_id, d.de, d.category, p.position AS place, l.product_id, l.service_from, l.first_unit AS place_in,
           l.service_until, l.prorated, l.days, l.month_days, l.quantity, l.first_unit, l.last_unit,
           coalesce(l.units, 1)::numeric AS units, coalesce(l.unit_price, l.amount) AS unit_price, l.amount,
           l.project_key_id, NULL::bigint AS adjustment_id
      FROM rated l
      JOIN drafted d USING (customer_id)
      JOIN products p ON p.id = l.product_id
    UNION ALL
    SELECT d.invoice_id, d.de, d.category, p.position, p.id, a.month_meant, a.id,
           (a.month_meant + interval '1 month')::date - 1, false, NULL, NULL, NULL, NULL, NULL,
           sign(a.amount), abs(a.amount), a.amount, NULL, a.id
      FROM adjustments a
      JOIN drafted d USING (customer_id)
      JOIN products p ON p.kind = 'adjustment'
     WHERE a.month = :month AND a.withdrawn_at IS NULL
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY invoice_id ORDER BY place, product_id, service_from, place_in) AS position
      FROM line
), written AS (
    INSERT INTO invoice_lines (invoice_id, position, product_id, from_close, name, detail, quantity, unit,
                               unit_price, amount, vat_rate, service_from, service_until, vat_treatment, exempt_reason)
    SELECT l.invoice_id, l.position, l.product_id, true,
           coalesce(a.text, CASE WHEN l.de THEN p.name_de ELSE p.name_en END), {detail}, l.units,
           CASE WHEN l.prorated OR a.id IS NOT NULL THEN '' WHEN l.de THEN p.unit_de ELSE p.unit_en END,
           l.unit_price, l.amount, {rate_of_line}, l.service_from, l.service_until,
           coalesce(a.vat_treatment, p.vat_treatment),
           coalesce(a.exempt_reason, CASE WHEN l.de THEN p.exempt_reason_de ELSE p.exempt_reason_en END)
      FROM placed l
      JOIN products p ON p.id = l.product_id
      LEFT JOIN adjustments a ON a.id = l.adjustment_id
    RETURNING invoice_id, vat_rate, amount
), taxed AS (
    -- Tax is summed per rate and rounded once (`billing-rules`, Money); at 0 it doesn't matter why.
    SELECT invoice_id, sum(amount) AS net, coalesce(round(sum(amount) * vat_rate / 100, 2), 0) AS vat
      FROM written GROUP BY invoice_id, vat_rate
)
INSERT INTO invoices (id, kind, customer_id, month, service_from, service_until, language, currency,
                      purchase_order, intro, closing, net, vat, gross, vat_category, created_by)
OVERRIDING SYSTEM VALUE
SELECT d.invoice_id, CASE WHEN t.net < 0 THEN 'credit_note' ELSE 'invoice' END, d.customer_id, :month, :month,
       (CAST(:month AS date) + interval '1 month')::date - 1, d.language, o.currency, d.purchase_order,
       CASE WHEN t.net < 0 THEN CASE WHEN d.de THEN :credited_de ELSE :credited_en END
            WHEN d.de THEN o.intro_de ELSE o.intro_en END, CASE WHEN d.de THEN o.closing_de ELSE o.closing_en END,
       t.net, t.vat, t.net + t.vat, d.category, :user_id
  FROM (SELECT invoice_id, sum(net) AS net, sum(vat) AS vat FROM taxed GROUP BY invoice_id) t
  JOIN drafted d USING (invoice_id)
 CROSS JOIN company o
 ORDER BY d.invoice_id
"""

# What stands below a line's name. Aliases l, p and a, as in `written`.
_DAYS = """to_char(l.service_from, CASE WHEN l.de THEN 'DD.MM.–' ELSE 'FMDD Mon – ' END)
        || to_char(l.service_until, CASE WHEN l.de THEN 'DD.MM.YYYY, ' ELSE 'FMDD Mon YYYY, ' END)
        || l.days || CASE WHEN l.de THEN ' von ' ELSE ' of ' END || l.month_days
        || CASE WHEN l.de THEN ' Tagen' ELSE ' days' END
        || CASE WHEN p.kind IN ('users', 'ips')
                THEN ', ' || l.quantity || ' ' || CASE WHEN l.de THEN p.unit_de ELSE p.unit_en END ELSE '' END"""
_BY_KEY = f"""(
        SELECT CASE WHEN l.de THEN 'Projektschlüssel ' ELSE 'Project key ' END || '{MASK}' || k.ending || ': '
               || {_DAYS}
               || CASE WHEN k.charging = 'monthly' THEN ''
                       WHEN l.amount = 0 AND l.de THEN ', bei Beginn berechnet'
                       WHEN l.amount = 0 THEN ', charged at its start'
                       WHEN l.de THEN ', Laufzeit bis ' || to_char(k.until_day - 1, 'DD.MM.YYYY')
                       ELSE ', runs until ' || to_char(k.until_day - 1, 'FMDD Mon YYYY') END
          FROM project_keys k WHERE k.id = l.project_key_id)"""
# What is credited for a month corrects that month's invoice, and names it where there is no doubt which one that is.
_CORRECTED = """coalesce((
        SELECT CASE WHEN l.de THEN ', zur Rechnung ' ELSE ', on invoice ' END || min(i.number)
          FROM invoices i
         WHERE a.amount < 0 AND i.customer_id = a.customer_id AND i.month = a.month_meant AND i.kind = 'invoice'
           AND i.state NOT IN ('draft', 'cancelled')
        HAVING count(*) = 1), '')"""
_DETAIL = f"""CASE
    WHEN a.month_meant = a.month THEN ''
    WHEN a.id IS NOT NULL
        THEN CASE WHEN l.de THEN 'für ' ELSE 'for ' END || to_char(a.month_meant, 'MM/YYYY') || {_CORRECTED}
    WHEN l.project_key_id IS NOT NULL THEN {_BY_KEY}
    WHEN l.prorated THEN {_DAYS}
    WHEN l.last_unit IS NULL AND l.first_unit = 1 THEN ''
    WHEN l.last_unit IS NULL THEN CASE WHEN l.de THEN 'ab ' ELSE 'from ' END || l.first_unit
    ELSE CASE WHEN l.de THEN 'Staffel ' ELSE 'range ' END || l.first_unit || '–' || l.last_unit END"""

# The rate of the day on which the line's service ends. An adjustment's day may lie in a month before.
_OF_DAY = """CASE p.vat_treatment WHEN 'standard' THEN (SELECT standard FROM rates)[{place}]
    WHEN 'reduced' THEN (SELECT reduced FROM rates)[{place}] ELSE 0 END""".format(
    place="l.service_until - CAST(:month AS date) + 1"
)
_OF_ADJUSTMENT = vat.RATE_OF_LINE.format(treatment="a.vat_treatment", day="l.service_until")
_RATE_OF_LINE = f"""CASE l.category WHEN 'S' THEN CASE WHEN a.id IS NULL THEN {_OF_DAY} ELSE {_OF_ADJUSTMENT} END
    WHEN 'AE' THEN 0 WHEN 'O' THEN 0 END"""


def from_statements(conn: Connection, month: date, *, customer_id: int | None = None, user: User) -> int:
    """Draft one document for each statement of a closed month that is on none; returns how many.

    Without a customer it drafts the whole month, of which nothing is drafted yet, and prints the
    lines that `billing.rate_all` left in this transaction. The caller holds the permission and the
    month's row. A total below zero drafts a credit note, which opens with a sentence of its own.
    """
    narrowed = "" if customer_id is None else "AND s.customer_id = :customer_id"
    rating = billing.statement(
        select="SELECT * FROM line", customers=customer_id is not None, rated=customer_id is None
    )
    values = {
        "month": month, "months": [month], "customer_id": customer_id, "customers": [customer_id], "user_id": user.id
    }  # fmt: skip
    # A statement gets its document's id before the document is written.
    charges.assign_documents(conn, month, customer_id=customer_id)
    statement = _DRAFTED.format(
        decision=vat.DECISION,
        narrowed=narrowed,
        standard_of_day=vat.RATE.format(treatment="'standard'", day="day"),
        reduced_of_day=vat.RATE.format(treatment="'reduced'", day="day"),
        rating=rating,
        detail=_DETAIL,
        rate_of_line=_RATE_OF_LINE,
    )
    return conn.execute(text(statement), values | CREDITED).rowcount


def draft_unbilled(conn: Connection, customer_id: int, month: date, *, user: User) -> int:
    """Draft the released charges of a closed month again and return the draft's id (`billing-rules`)."""
    require(user, Permission.EDIT_INVOICES)
    # Shared: reopening or issuing the month waits for this draft, or this draft for them.
    conn.execute(text("SELECT 1 FROM months WHERE month = :month FOR SHARE"), {"month": month})
    claimed = conn.scalar(
        text("""SELECT month FROM statements WHERE customer_id = :customer AND month = :month
                   AND month < open_month() AND invoice_id IS NULL AND amount <> 0 FOR UPDATE"""),
        {"customer": customer_id, "month": month},
    )
    if claimed is None:
        raise Conflict("These charges are already on a document, or their month is not closed.")
    from_statements(conn, month, customer_id=customer_id, user=user)
    invoice_id: int = conn.execute(
        text("SELECT invoice_id FROM statements WHERE customer_id = :customer AND month = :month"),
        {"customer": customer_id, "month": month},
    ).scalar_one()
    audit.record(
        conn, "draft unbilled", "invoice", invoice_id, user_id=user.id, customer_id=customer_id,
        changes={"month": (None, month)},
    )  # fmt: skip
    return invoice_id


def remove_month(conn: Connection, month: date, *, user: User) -> int:
    """Delete all drafts of a month that is reopened; returns how many. The caller holds the month's row."""
    values = {"month": month}
    audit.record_all(
        conn,
        "delete draft",
        "invoice",
        query="""SELECT id AS object_id, customer_id,
                          jsonb_build_object('net', jsonb_build_array(net::text, NULL)) AS changes
                   FROM invoices WHERE month = :month AND state = 'draft'""",
        values=values,
        user_id=user.id,
    )
    charges.release_month(conn, month)
    return conn.execute(text("DELETE FROM invoices WHERE month = :month AND state = 'draft'"), values).rowcount
