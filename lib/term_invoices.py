"""What we do about a plan or module by an invoice in advance: a first period, an upgrade, a renewal (rows S4, S5).

Nothing begins here: the full payment of the document does that (`terms.activate_paid`).
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from lib import advance_invoices, db, term_actions, term_offers, terms
from lib.auth import User
from lib.clock import today as today_of
from lib.errors import BillingError, Conflict
from lib.term_offers import CYCLE, TermAction
from lib.terms import Term


@dataclass(frozen=True)
class Preview:
    """What an invoice would say, tried and taken back: the price, the credit (0 or below), and the sums."""

    period: str
    price: Decimal
    credit: Decimal
    net: Decimal
    vat: Decimal
    gross: Decimal
    category: str | None


def make(
    conn: Connection,
    customer_id: int,
    product_id: int,
    action: TermAction,
    *,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Draft the invoice of a plan or module for a month or a year, and return the draft's id (rows S4, S5).

    A free term or a test goes on until the payment, and ends with it. An upgrade credits the unused days of the paid
    plan, counted from the day on which its invoice is issued.
    """
    term_actions.begin(conn, customer_id, action, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, action, today=today)
    held, cycle = card.held, CYCLE[action]
    price = card.prices[cycle]
    return _order(
        conn, customer_id, product_id, card.product.kind, cycle=cycle, price=price, today=today, user_id=user.id,
        follows=None, replaces=held,
    )  # fmt: skip


def preview(
    conn: Connection, customer_id: int, product_id: int, action: TermAction, *, today: date, user: User
) -> Preview:
    """What `make` would put on the document. Writes nothing; raises what `make` raises."""
    with conn.begin_nested() as dry_run:
        invoice_id = make(conn, customer_id, product_id, action, today=today, user=user)
        row = conn.execute(
            text("""
                SELECT i.advance_period, i.net, i.vat, i.gross, i.vat_category,
                       sum(l.amount) FILTER (WHERE l.quantity > 0) AS price,
                       coalesce(sum(l.amount) FILTER (WHERE l.quantity < 0), 0) AS credit
                  FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id WHERE i.id = :id GROUP BY i.id"""),
            {"id": invoice_id},
        ).one()
        found = Preview(row.advance_period, row.price, row.credit, row.net, row.vat, row.gross, row.vat_category)
        dry_run.rollback()
    return found


def _order(
    conn: Connection,
    customer_id: int,
    product_id: int,
    kind: str,
    *,
    cycle: str,
    price: Decimal,
    today: date,
    user_id: int | None,
    follows: Term | None,
    replaces: Term | None,
) -> int:
    """Draft the document and the term that waits for its payment; returns the document's id."""
    invoice_id = advance_invoices.draft(
        conn, customer_id, product_id, cycle=cycle, price=price, not_before=follows.until_day if follows else None,
        today=today, user_id=user_id,
    )  # fmt: skip
    terms.add(
        conn, user_id=user_id, action="order term", customer_id=customer_id, product_id=product_id, kind=kind,
        cycle=cycle, state="waiting", ordered_on=today, price=price, invoice_id=invoice_id,
        follows_id=follows.id if follows else None, replaces_id=replaces.id if replaces else None,
    )  # fmt: skip
    advance_invoices.refresh(conn, "i.id = :id", {"id": invoice_id}, today=today)
    return invoice_id


# ---------------------------------------------------------------------------------- renewals

# What is due: neither cancelled nor renewed before, of a customer who stays. One that was refused today rests until
# tomorrow, so that it keeps nobody else's from being drafted. {only} narrows it to one customer.
_DUE = """
SELECT t.id, t.customer_id, coalesce(t.next_product_id, t.product_id) AS product_id,
       coalesce(t.next_cycle, t.cycle) AS cycle, t.price, t.kind
  FROM terms t JOIN customers c ON c.id = t.customer_id
 WHERE t.state = 'active' AND t.cycle IN ('monthly', 'yearly') AND t.cancelled_at IS NULL AND t.withdrawn_at IS NULL
   AND t.from_day <= :today AND t.until_day > :today
   AND t.until_day <= CAST(:today AS date) + (SELECT renewal_days FROM company)
   AND c.phase = 'billed' AND c.active AND c.marked_for_deletion_at IS NULL
   AND (c.ends_on IS NULL OR c.ends_on >= t.until_day)
   AND NOT EXISTS (SELECT FROM terms n WHERE n.follows_id = t.id AND n.state <> 'void')
   AND NOT EXISTS (SELECT FROM terms n WHERE n.replaces_id = t.id AND n.state = 'waiting')
   AND t.renewal_tried_on IS DISTINCT FROM :today {only}
 ORDER BY t.until_day, t.id LIMIT 1"""


def renew_one() -> bool:
    """For the worker: draft one renewal that is due; False: nothing is due."""
    with db.transaction() as conn:
        return renew_next(conn, today=today_of(conn))


def renew_next(conn: Connection, *, today: date) -> bool:
    """Draft one due renewal in the caller's transaction; False: nothing is due.

    What can't be drafted keeps the reason on its row, is shown on its card, and is tried again the next day.
    """
    # The customer, as every action on its terms; whoever is at work on one meanwhile keeps it.
    claim = _DUE.format(only="") + " FOR NO KEY UPDATE OF c SKIP LOCKED"
    claimed = conn.execute(text(claim), {"today": today}).one_or_none()
    if claimed is None:
        return False
    # Looked at again: what changed before we held the customer is seen only now.
    values = {"today": today, "customer": claimed.customer_id}
    due = conn.execute(text(_DUE.format(only="AND t.customer_id = :customer")), values).one_or_none()
    if due is None:
        return True
    try:
        with conn.begin_nested():
            _renew(conn, due, today)
    except BillingError as refusal:
        terms.refuse_renewal(conn, due.id, why=str(refusal), today=today)
    return True


def _renew(conn: Connection, due: Row[Any], today: date) -> None:
    card = next(
        card for card in term_offers.cards(conn, due.customer_id, due.kind, today=today)
        if card.product.id == due.product_id
    )  # fmt: skip
    # Who has it keeps it when it is withdrawn from sale or lost its price; the price is then that of the last period.
    price = card.prices.get(due.cycle)
    held = terms.term(conn, due.id)
    if price is None and (held.product_id, held.cycle) == (due.product_id, due.cycle):
        price = held.price
    if price is None:
        raise Conflict(f"{card.product.name_en} has no price for this cycle. Set one under Prices.")
    _order(
        conn, due.customer_id, due.product_id, due.kind, cycle=due.cycle, price=price, today=today, user_id=None,
        follows=held, replaces=None,
    )  # fmt: skip
