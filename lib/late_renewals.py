"""A renewal that is paid when the term before it is over: its document is cancelled and issued again (row S5).

The document said "12 months from receipt of full payment, from 10 June at the earliest"; what was paid on 20 June
begins on 20 June, and the document that is issued in its place says just that. Paid on the first day without the old
term there is no gap, and nothing to correct; nor is there where the renewal was issued when the old term was over,
because then it names no earliest day. The term on the cancelled document is void, never began, and is followed by that
on the new one: by this the two documents know of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import advance_invoices, audit, cancellations, issuing, payment_rows, terms
from lib.auth import Permission, User, require
from lib.document_words import day as day_in
from lib.errors import BillingError, Conflict
from lib.money import shown

_REASON = {
    "de": "Die Rechnung wurde am {paid} bezahlt, nach dem Ende des vorigen Zeitraums am {ended}. Sie wird durch die"
    " Rechnung {number} ersetzt.",
    "en": "The invoice was paid on {paid}, after the previous period had ended on {ended}. It is replaced by invoice"
    " {number}.",
}
# The day on which a document was paid in full. Alias i is invoices.
_PAID_ON = """(SELECT max(p.paid_on) FROM payments p WHERE p.invoice_id = i.id AND p.amount > 0
                  AND NOT EXISTS (SELECT FROM payments r WHERE r.reverses_id = p.id))"""

# Renewals that were paid in full, too late: they wait to begin, or began late because nothing could be issued. One that
# began in time, went unpaid and was paid again is none of them.
_LATE = f"""
  FROM terms t
  JOIN invoices i ON i.id = t.invoice_id
  JOIN terms f ON f.id = t.follows_id
  JOIN products p ON p.id = f.product_id
 WHERE i.kind = 'invoice' AND i.state = 'paid' AND i.issued_on < f.until_day AND {_PAID_ON} > f.until_day
   AND (t.state = 'waiting' OR t.state = 'active' AND t.from_day > f.until_day) AND t.withdrawn_at IS NULL
   AND NOT EXISTS (SELECT FROM terms n WHERE t.id IN (n.follows_id, n.replaces_id) AND n.state <> 'void')"""
# For counting those that `still_waiting` lists.
WAITING = f"SELECT {_LATE} AND t.state = 'active'"


@dataclass(frozen=True)
class Late:
    """A renewal's document that was paid on `paid_on`, after the old term's last day `ended_on`."""

    invoice_id: int
    number: str
    language: str
    customer_id: int
    term_id: int
    before: str
    ended_on: date
    paid_on: date


@dataclass(frozen=True)
class Replaced:
    """A document that was issued in place of one, and its payment by that of the old one (`payment_rows.Carried`)."""

    new_id: int
    moved: dict[int, int]


@dataclass(frozen=True)
class Again:
    """Two documents of one renewal: the one that was paid late and cancelled, and the one that was issued in its place.

    `paid` is what was paid on the old one (all of it), `gross` what the new one asks for.
    """

    old_id: int
    old_number: str
    cancellation_id: int
    cancellation_number: str
    new_id: int
    new_number: str
    paid_on: date
    before: str
    ended_on: date
    paid: Decimal
    gross: Decimal
    currency: str

    @property
    def carried(self) -> Decimal:
        """What of it counts on the new document."""
        return min(self.paid, self.gross)

    @property
    def surplus(self) -> Decimal:
        """What of it is to be paid back."""
        return self.paid - self.carried


def paid_late(conn: Connection, invoice_ids: Sequence[int]) -> list[Late]:
    """Those of these documents that are paid in full, too late, and neither cancelled nor issued again yet.

    What could not be at once stays so once its term was withdrawn, or something was invoiced that follows it.
    """
    return _late(conn, "i.id = ANY(CAST(:ids AS bigint[]))", ids=list(invoice_ids))


def still_waiting(conn: Connection, *, limit: int = 50) -> list[Late]:
    """All documents that were paid late and could not be issued again when they were, the oldest first."""
    return _late(conn, "t.state = 'active'", limit=limit)


def _late(conn: Connection, narrowed: str, *, limit: int | None = None, **values: Any) -> list[Late]:
    found = conn.execute(
        text(f"""
            SELECT i.id AS invoice_id, i.number, i.language, i.customer_id, t.id AS term_id, p.name_en AS before,
                   f.until_day - 1 AS ended_on, coalesce(t.from_day, {_PAID_ON}) AS paid_on
              {_LATE} AND {narrowed} ORDER BY i.id LIMIT :limit"""),
        values | {"limit": limit},
    )
    return [Late(**row._mapping) for row in found]


def issued_again(conn: Connection, invoice_ids: Sequence[int]) -> list[Again]:
    """What was issued again, of documents that are on either side of it."""
    found = conn.execute(
        text("""
            SELECT o.id AS old_id, o.number AS old_number, s.id AS cancellation_id, s.number AS cancellation_number,
                   n.id AS new_id, n.number AS new_number, t.ordered_on AS paid_on, p.name_en AS before,
                   f.until_day - 1 AS ended_on,
                   o.gross AS paid, n.gross, n.currency
              FROM terms t
              JOIN terms v ON v.id = t.follows_id AND v.state = 'void' AND v.from_day IS NULL
              JOIN terms f ON f.id = v.follows_id
              JOIN products p ON p.id = f.product_id
              JOIN invoices n ON n.id = t.invoice_id
              JOIN invoices o ON o.id = v.invoice_id
              JOIN invoices s ON s.cancels_id = o.id
             WHERE n.id = ANY(CAST(:ids AS bigint[])) OR o.id = ANY(CAST(:ids AS bigint[])) ORDER BY o.id"""),
        {"ids": list(invoice_ids)},
    )
    return [Again(**row._mapping) for row in found]


def replace(conn: Connection, late: Late, *, today: date, user: User | None) -> Replaced:
    """Cancel a document and issue it again for a period that begins with its payment.

    The payments go with it. A payment demands it, so it asks for no permission of its own. Raises Conflict with what is
    missing where that can't be issued today. The caller holds the document and calls `terms.activate_paid`.
    """
    user_id = None if user is None else user.id
    old = terms.term(conn, late.term_id)
    new_id = advance_invoices.again(
        conn, late.invoice_id, months=terms.MONTHS[old.cycle], first=late.paid_on, user_id=user_id
    )
    terms.hang_on(conn, old, new_id, paid_on=late.paid_on, user_id=user_id)
    number = issuing.issue_one(conn, new_id, today=today, user=user)
    taken = payment_rows.take_off(conn, late.invoice_id, towards=number, user_id=user_id)
    printed = _REASON[late.language].format(
        paid=day_in(late.language, late.paid_on), ended=day_in(late.language, late.ended_on), number=number
    )
    reason = f"Paid on {late.paid_on}, after {late.before} had ended on {late.ended_on}: issued again as {number}"
    cancellations.cancel_one(conn, late.invoice_id, reason=reason, printed=printed, today=today, user=user)
    carried = payment_rows.put_on(conn, new_id, taken, origin=late.number, user_id=user_id)
    return Replaced(new_id, carried.moved)


def replace_paid(conn: Connection, invoice_ids: Sequence[int], *, today: date, user: User | None) -> list[Replaced]:
    """`replace` what was paid late among these documents, as their payment is recorded.

    Where a document can't be issued today (an address is missing, say) the payment stays where it is and begins the
    term; the log says why, and the document waits for `replace_now`.
    """
    made = []
    for late in paid_late(conn, invoice_ids):
        try:
            with conn.begin_nested():
                made.append(replace(conn, late, today=today, user=user))
        except BillingError as refusal:
            audit.record(
                conn, "not issued again", "invoice", late.invoice_id, user_id=None if user is None else user.id,
                customer_id=late.customer_id, changes={"reason": (None, str(refusal))},
            )  # fmt: skip
    return made


def replace_now(conn: Connection, invoice_id: int, *, today: date, user: User) -> int:
    """Cancel and issue again what could not be when it was paid, now that what was missing is there.

    Returns the new document's id; the term runs on as it is. Raises Conflict.
    """
    require(user, Permission.EDIT_INVOICES)
    number = payment_rows.held(conn, invoice_id).number
    found = paid_late(conn, [invoice_id])
    if not found:
        raise Conflict(f"{number or 'This document'} needs not be issued again. Reload the page.")
    return replace(conn, found[0], today=today, user=user).new_id


def told(conn: Connection, invoice_ids: Sequence[int]) -> list[str]:
    """What happened to those of these documents that were paid late, or what it waits for, in a sentence each."""
    done, waiting = issued_again(conn, invoice_ids), paid_late(conn, invoice_ids)
    return [_said(one) for one in done] + [_said_of_waiting(conn, one) for one in waiting]


def _said_of_waiting(conn: Connection, late: Late) -> str:
    missing = issuing.lacks_anew(conn, late.invoice_id)
    first = f" First enter {', '.join(missing)}." if missing else ""
    return (
        f"{late.number} was paid on {late.paid_on:%d %b %Y}, after {late.before} had ended with "
        f"{late.ended_on:%d %b %Y}. The payment is recorded; the document is still to be cancelled and issued again, "
        f"on its page.{first}"
    )


def _said(one: Again) -> str:
    said = (
        f"{one.old_number} was paid on {one.paid_on:%d %b %Y}, after {one.before} had ended with "
        f"{one.ended_on:%d %b %Y}: it was cancelled by {one.cancellation_number} and issued again as {one.new_number}."
    )
    if one.surplus:
        return f"{said} {shown(one.surplus)} {one.currency} more was paid than that asks for: pay it back."
    if one.paid < one.gross:
        return f"{said} {shown(one.gross - one.paid)} {one.currency} more is to be paid on that."
    return said
