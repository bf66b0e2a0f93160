"""The ledger's invariants, looked at from outside: what `python -m lib check` holds the database against (row N1).

Triggers and constraints keep most of these; the checks show that they did.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from lib import charges

# Of one kind so many are shown; the rest is counted.
MOST_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """Something that should never be: the rule that is broken, and where."""

    rule: str
    detail: str


# Each query returns a line of text per violation.
_RULES = {
    "A statement is the sum of its charges": """
        SELECT format('%s customer %s: %s stated, %s charged',
                      to_char(month, 'YYYY-MM'), customer_id, s.amount, h.amount)
          FROM statements s
          FULL JOIN (SELECT month, customer_id, CASE WHEN bool_and(amount IS NOT NULL) THEN sum(amount) END AS amount
                       FROM charges GROUP BY month, customer_id) h USING (month, customer_id)
         WHERE s.amount IS DISTINCT FROM h.amount OR (s.* IS NULL) OR (h.* IS NULL)
         ORDER BY month, customer_id""",
    "The totals of a month are the sums of its charges": """
        SELECT format('%s product %s: %s kept, %s charged', to_char(month, 'YYYY-MM'), product_id, t.amount, h.amount)
          FROM month_totals t
          FULL JOIN (SELECT month, product_id, coalesce(sum(amount), 0) AS amount, count(*) AS charges,
                            sum(end_quantity) AS quantity, coalesce(sum(purchase), 0) AS purchase,
                            coalesce(sum(internal), 0) AS internal
                       FROM charges GROUP BY month, product_id) h USING (month, product_id)
         WHERE (coalesce(t.amount, 0), coalesce(t.charges, 0), coalesce(t.quantity, 0))
               IS DISTINCT FROM (coalesce(h.amount, 0), coalesce(h.charges, 0), coalesce(h.quantity, 0))
            OR t.purchase <> coalesce(h.purchase, 0) OR t.internal <> coalesce(h.internal, 0)
         ORDER BY month, product_id""",
    "Every closed month was rated": """
        SELECT to_char(month, 'YYYY-MM') FROM months
         WHERE state <> 'open' AND month NOT IN (SELECT month FROM rated_months) ORDER BY month""",
    "Months are closed without a gap, and one is open": """
        SELECT CASE WHEN state = 'open' THEN format('%s is open before a closed month', to_char(month, 'YYYY-MM'))
                    WHEN following IS NULL THEN format('%s is the last month and not open', to_char(month, 'YYYY-MM'))
                    ELSE format('%s is followed by %s', to_char(month, 'YYYY-MM'), to_char(following, 'YYYY-MM')) END
          FROM (SELECT month, state, lead(month) OVER (ORDER BY month) AS following FROM months) m
         WHERE (state = 'open') <> (following IS NULL) OR following <> (month + interval '1 month')::date""",
    "A document's net amount is the sum of its lines": """
        SELECT format('document %s: %s printed, lines add up to %s', coalesce(i.number, '#' || i.id), i.net, l.net)
          FROM invoices i
          LEFT JOIN (SELECT invoice_id, sum(amount) AS net FROM invoice_lines GROUP BY invoice_id) l
            ON l.invoice_id = i.id
         WHERE i.net <> coalesce(l.net, 0) ORDER BY i.id""",
    "A document's VAT is computed per rate on the sum of that rate's lines": """
        SELECT format('document %s: %s printed, %s by rate', coalesce(i.number, '#' || i.id), i.vat, t.vat)
          FROM invoices i
          LEFT JOIN (SELECT invoice_id, sum(vat) AS vat
                       FROM (SELECT invoice_id, round(sum(amount) * vat_rate / 100, 2) AS vat
                               FROM invoice_lines GROUP BY invoice_id, vat_rate) rated
                      GROUP BY invoice_id) t ON t.invoice_id = i.id
         WHERE i.state <> 'draft' AND t.vat IS DISTINCT FROM i.vat ORDER BY i.id""",
    "No VAT is on what is exempt, under reverse charge or not taxable here": """
        SELECT format('document %s, line %s: %s %%', i.number, l.position, l.vat_rate)
          FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
         WHERE i.state <> 'draft' AND l.vat_rate <> 0 AND (l.vat_treatment = 'exempt' OR i.vat_category <> 'S')
         ORDER BY i.id, l.position""",
    "Every line has its document, and every document its customer": """
        SELECT format('line %s of document #%s', l.position, l.invoice_id) FROM invoice_lines l
         WHERE NOT EXISTS (SELECT FROM invoices i WHERE i.id = l.invoice_id)
        UNION ALL
        SELECT format('document #%s of customer #%s', i.id, i.customer_id) FROM invoices i
         WHERE NOT EXISTS (SELECT FROM customers c WHERE c.id = i.customer_id)""",
    "Numbers have no gap in their series and year": """
        SELECT format('%s %s: %s is followed by %s', kind, number_year, coalesce(before, 0), number_index)
          FROM (SELECT kind, number_year, number_index,
                       lag(number_index) OVER (PARTITION BY kind, number_year ORDER BY number_index) AS before
                  FROM invoices WHERE number IS NOT NULL) n
         WHERE number_index <> coalesce(before, 0) + 1 ORDER BY kind, number_year, number_index""",
    "A counter stands at the last number of its series and year": """
        SELECT format('%s %s: the counter is at %s, the last number is %s', kind, year, c.last, i.last)
          FROM number_counters c
          FULL JOIN (SELECT kind, number_year AS year, max(number_index) AS last
                       FROM invoices WHERE number IS NOT NULL GROUP BY kind, number_year) i USING (kind, year)
         WHERE coalesce(c.last, 0) <> coalesce(i.last, 0) ORDER BY kind, year""",
    "What was charged is on a document once": """
        SELECT format('%s customer %s: stated %s, on document #%s %s',
                      to_char(s.month, 'YYYY-MM'), s.customer_id, s.amount, s.invoice_id,
                      coalesce(l.net::text, 'nothing'))
          FROM (SELECT invoice_id, min(month) AS month, min(customer_id) AS customer_id, sum(amount) AS amount
                  FROM statements WHERE invoice_id IS NOT NULL GROUP BY invoice_id) s
          LEFT JOIN (SELECT invoice_id, sum(amount) AS net FROM invoice_lines WHERE from_close GROUP BY invoice_id) l
            USING (invoice_id)
         WHERE s.amount IS DISTINCT FROM l.net ORDER BY s.month, s.customer_id""",
    "A document of a close belongs to the customer whose charges it bills": """
        SELECT format('document #%s: customer %s, charges of customer %s', i.id, i.customer_id, s.customer_id)
          FROM statements s JOIN invoices i ON i.id = s.invoice_id
         WHERE i.customer_id <> s.customer_id OR i.state = 'cancelled' OR s.month >= open_month() ORDER BY i.id""",
    "A document's state says what its payments add up to": """
        SELECT format('document %s is %s: %s of %s paid', i.number, replace(i.state, '_', ' '), p.paid, i.gross)
          FROM invoices i
          JOIN (SELECT invoice_id, sum(amount) AS paid FROM payments GROUP BY invoice_id) p ON p.invoice_id = i.id
         WHERE i.state NOT IN ('written_off', 'cancelled')
               AND i.state <> CASE WHEN p.paid = 0 THEN 'issued'
                                   WHEN p.paid < i.gross THEN 'partly_paid' ELSE 'paid' END
            OR i.state = 'cancelled' AND p.paid <> 0 OR p.paid < 0 OR p.paid > i.gross
         UNION ALL
        SELECT format('document %s is %s, and nothing was paid', number, replace(state, '_', ' ')) FROM invoices
         WHERE state IN ('partly_paid', 'paid') AND NOT EXISTS (SELECT FROM payments p WHERE p.invoice_id = invoices.id)
         ORDER BY 1""",
    "A paid term is active from its full payment on": """
        SELECT format('customer %s, term %s waits: its document %s is paid', t.customer_id, t.id, i.number)
          FROM terms t JOIN invoices i ON i.id = t.invoice_id
         WHERE t.state = 'waiting' AND i.state IN ('paid', 'cancelled')
         UNION ALL
        SELECT format('customer %s, term %s is active: its document was never paid', t.customer_id, t.id)
          FROM terms t
         WHERE t.state = 'active' AND t.invoice_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM payments p WHERE p.invoice_id = t.invoice_id AND p.amount > 0)
         ORDER BY 1""",
    "An advance invoice is for a term": """
        SELECT format('document %s', coalesce(i.number, '#' || i.id)) FROM invoices i
         WHERE i.advance_period <> ''
           AND NOT EXISTS (SELECT FROM terms t WHERE t.invoice_id IN (i.id, i.cancels_id)) ORDER BY i.id""",
    "A plan or module is charged at the close or prepaid, not both": """
        SELECT format('customer %s, product %s: term %s', t.customer_id, t.product_id, t.id)
          FROM terms t
          JOIN booked_spans b ON b.customer_id = t.customer_id
           AND daterange(b.from_day, b.until_day) && daterange(coalesce(t.from_day, t.ordered_on), t.until_day)
          JOIN products p ON p.id = b.product_id AND (p.id = t.product_id OR p.kind = 'plan' AND t.kind = 'plan')
         WHERE t.state <> 'void' ORDER BY 1""",
    "What was collected by direct debit or card is a payment of its invoice": """
        SELECT format('debit %s: invoice #%s, its payment is of #%s', d.id, d.invoice_id, p.invoice_id)
          FROM debits d JOIN payments p ON p.id = d.payment_id WHERE p.invoice_id <> d.invoice_id
         UNION ALL
        SELECT format('request %s to Stripe: %s received for invoice #%s, recorded %s for #%s',
                      r.id, r.received, r.invoice_id, coalesce(p.amount, 0), p.invoice_id)
          FROM stripe_requests r LEFT JOIN payments p ON p.id = r.payment_id
         WHERE r.invoice_id IS NOT NULL
           AND (p.invoice_id <> r.invoice_id OR r.note = '' AND r.received <> coalesce(p.amount, 0))
         ORDER BY 1""",
    "What is used of a quota is what its usage says": """
        SELECT format('customer %s, %s from %s: %s kept, %s used', customer_id, kind, from_day, used, said)
          FROM (SELECT *, quota_used(customer_id, kind, from_day, until_day) AS said FROM quotas) q
         WHERE used <> said ORDER BY customer_id, kind, from_day""",
    "A project key's days and IPs are those of its bookings": """
        SELECT format('project key #%s of customer %s', k.id, k.customer_id)
          FROM project_keys k
         WHERE k.redeemed_at IS NOT NULL
           AND NOT (EXISTS (SELECT FROM standing_bookings b
                             WHERE b.customer_id = k.customer_id AND b.project_key_id = k.id
                               AND b.effective_on = k.from_day AND b.quantity = k.ips)
                    AND EXISTS (SELECT FROM standing_bookings b
                                 WHERE b.customer_id = k.customer_id AND b.kind = 'ips'
                                   AND b.effective_on = k.until_day)
                    AND NOT EXISTS (SELECT FROM standing_bookings b
                                     WHERE b.customer_id = k.customer_id AND b.kind = 'ips'
                                       AND b.effective_on >= k.from_day AND b.effective_on < k.until_day
                                       AND b.project_key_id IS DISTINCT FROM k.id))
         ORDER BY k.id""",
    "Of an erased customer nothing personal is left": """
        SELECT format('customer %s still has %s', c.number, left_over.what)
          FROM customers c
         CROSS JOIN LATERAL (
            SELECT 'users' WHERE EXISTS (SELECT FROM customer_users t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'contacts' WHERE EXISTS (SELECT FROM contacts t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'notes' WHERE EXISTS (SELECT FROM notes t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'usage' WHERE EXISTS (SELECT FROM usage t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'quotas' WHERE EXISTS (SELECT FROM quotas t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'SEPA mandates' WHERE c.settled_at IS NOT NULL
              AND EXISTS (SELECT FROM mandates t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'a card' WHERE c.settled_at IS NOT NULL
              AND EXISTS (SELECT FROM stripe_cards t WHERE t.customer_id = c.id)
            UNION ALL SELECT 'a contact' WHERE c.contact_name || c.contact_email || c.phone <> ''
            UNION ALL SELECT 'an address' WHERE c.settled_at IS NOT NULL AND c.street || c.city || c.billing_email <> ''
            UNION ALL SELECT 'personal values in the audit log'
             WHERE c.settled_at IS NOT NULL AND EXISTS (SELECT FROM audit_personal t WHERE t.customer_id = c.id)
         ) left_over(what)
         WHERE c.erased_at IS NOT NULL ORDER BY c.id, left_over.what""",
}


def findings(conn: Connection, *, progress: Callable[[str], None] = lambda rule: None) -> list[Finding]:
    """Everything that breaks a rule of the ledger; an empty list is what it should be. Writes nothing.

    Charges that were released from their document (unbilled) are allowed: `invoices.unbilled`
    lists them.
    """
    rule = "The charges are what a full rating of the ledger gives"
    progress(rule)
    found = _shortened(rule, _differences(conn))
    for rule, statement in _RULES.items():
        progress(rule)
        found += _shortened(rule, list(conn.scalars(text(statement))))
    return found


def _differences(conn: Connection) -> list[str]:
    """A month at a time: two years of 100,000 customers at once would not fit into memory."""
    months = conn.scalars(text("SELECT month FROM rated_months ORDER BY month")).all()
    return [difference for month in months for difference in charges.differences(conn, months=[month])]


def _shortened(rule: str, details: list[str]) -> list[Finding]:
    found = [Finding(rule, detail) for detail in details[:MOST_SHOWN]]
    if len(details) > MOST_SHOWN:
        found.append(Finding(rule, f"and {len(details) - MOST_SHOWN:,} more"))
    return found
