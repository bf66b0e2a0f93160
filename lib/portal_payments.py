"""Paying own invoices by card in the portal: what is open, and how far the page of Stripe is (rows G16, B9).

The portal has no key of Stripe and asks Stripe nothing: it writes down that a page is wanted
(`cards.pay_link_of_customer`), and the worker makes it. What was paid is said once the worker has recorded it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import payment_methods, payments
from lib.auth import PortalUser

# After so long nobody should sit and wait for the page any more.
SLOW_SECONDS = 20
# What a request of each state means to who pays; a charge of the saved card has no page.
_STATES = {("payment", "new"): "making", ("payment", "open"): "open"}


@dataclass(frozen=True)
class Payable:
    """What is open on an own invoice. `state` says how far its payment by card is.

    offered: a click asks for the page; making, or slow; open: it is at `url`; under_way: we charge the saved card;
    debit: it is being collected; empty: card payments are not offered.
    """

    open: Decimal
    state: str
    url: str


@dataclass(frozen=True)
class Return:
    """What became of the page that somebody came back from: waiting, paid or failed."""

    number: str
    state: str


def payable(conn: Connection, invoice_ids: Sequence[int], *, user: PortalUser) -> dict[int, Payable]:
    """Those of these own invoices on which something is open."""
    found = conn.execute(
        text("""
            SELECT i.id, q.kind, q.state, q.url, q.recorded_at < now() - make_interval(secs => :slow) AS slow,
                   i.gross - coalesce((SELECT sum(p.amount) FROM payments p WHERE p.invoice_id = i.id), 0) AS open,
                   EXISTS (SELECT FROM debits d WHERE d.invoice_id = i.id AND d.returned_at IS NULL
                              AND d.payment_id IS NULL) AS in_debit_run
              FROM invoices i LEFT JOIN stripe_requests q ON q.invoice_id = i.id AND q.state IN ('new', 'open')
                                                         AND q.kind IN ('payment', 'charge')
             WHERE i.id = ANY(CAST(:ids AS bigint[])) AND i.customer_id = :customer
               AND i.kind = 'invoice' AND i.state = ANY(:payable)"""),
        {"ids": list(invoice_ids), "customer": user.customer_id, "slow": SLOW_SECONDS,
         "payable": list(payments.PAYABLE)},
    )  # fmt: skip
    offered = _offered(conn)
    made = {}
    for row in found:
        state = "offered" if offered else ""
        if row.in_debit_run:
            state = "debit"
        elif row.kind is not None:
            state = _STATES.get((row.kind, row.state), "under_way")
        if state == "making" and row.slow:
            state = "slow"
        if row.open > 0:
            made[row.id] = Payable(row.open, state, row.url or "")
    return made


def came_back(conn: Connection, invoice_id: int, *, user: PortalUser) -> Return | None:
    """What became of the newest page for an own invoice; None where there was none."""
    row = conn.execute(
        text("""
            SELECT i.number, q.state FROM stripe_requests q JOIN invoices i ON i.id = q.invoice_id
             WHERE q.invoice_id = :id AND q.customer_id = :customer AND q.kind = 'payment'
             ORDER BY q.id DESC LIMIT 1"""),
        {"id": invoice_id, "customer": user.customer_id},
    ).one_or_none()
    if row is None:
        return None
    return Return(row.number, {"done": "paid", "failed": "failed", "expired": "failed"}.get(row.state, "waiting"))


def _offered(conn: Connection) -> bool:
    ready = conn.scalar(text("SELECT mode <> '' FROM stripe_account"))
    return bool(ready) and "card" in payment_methods.offered(conn)
