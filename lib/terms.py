"""Prepaid terms on plans and modules: free, for a test, for a month or a year (rows S4–S7).

A term is a half-open range of days, invoiced in advance and never charged at the close. A paid one waits until its
invoice is paid in full, which activates it on the day of payment: once, because the payment holds the invoice and the
term's row leaves `waiting` only once. What a state allows is in `lib/term_offers.py`, the verbs in
`lib/term_actions.py`, those that write an invoice in `lib/term_invoices.py`. Only this module writes the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, insert, text, update

from lib import audit
from lib.auth import User
from lib.db import conflicts
from lib.errors import Conflict, NotFound
from lib.money import rounded
from lib.tables import terms

CYCLES = {"free": "Free", "trial": "Test time", "monthly": "Monthly", "yearly": "Yearly"}
# How many months are paid at once.
MONTHS = {"monthly": 1, "yearly": 12}

REFUSALS = {
    "terms_no_overlap": "It would overlap another period of the same plan or module. Choose other days.",
    "terms_one_plan": "A customer has one plan at a time, and another one is active on these days.",
    "terms_one_waiting_key": "An invoice for it waits for its payment already. Reload the page.",
    "terms_one_waiting_plan_key": "An invoice for a plan waits for its payment already. Reload the page.",
    "terms_one_trial_key": "Its test time was used already. Only an admin can allow it again.",
    "terms_renewed_once_key": "Its renewal was drafted meanwhile. Reload the page.",
    "recurring_or_prepaid": "A plan or module is either charged at the month close or paid in advance, not both.",
}


@dataclass(frozen=True)
class Term:
    """A term of a customer. `until_day` is the first day without it; None with `from_day` set: no end.

    `price` is net for the whole cycle, before credits; None for free ones and tests.
    """

    id: int
    customer_id: int
    product_id: int
    product: str
    kind: str
    cycle: str
    state: str
    ordered_on: date
    from_day: date | None
    until_day: date | None
    price: Decimal | None
    invoice_id: int | None
    invoice_number: str | None
    invoice_state: str | None
    follows_id: int | None
    replaces_id: int | None
    next_product_id: int | None
    next_product: str | None
    next_cycle: str | None
    cancelled_at: datetime | None
    withdrawn_at: datetime | None
    trial_allowed_again: bool
    renewal_refusal: str
    version: int

    @property
    def paid(self) -> bool:
        """Whether it is invoiced."""
        return self.cycle in MONTHS

    @property
    def last_day(self) -> date | None:
        """The last day that belongs to it."""
        return None if self.until_day is None else self.until_day - timedelta(days=1)

    def covers(self, day: date) -> bool:
        """Whether it is active on a day."""
        begun = self.state == "active" and self.from_day is not None and self.from_day <= day
        return begun and (self.until_day is None or self.until_day > day)

    def lies_ahead(self, day: date) -> bool:
        """Whether it is active and begins after a day."""
        return self.state == "active" and self.from_day is not None and self.from_day > day

    def standing(self, day: date) -> str:
        """What it is on a day: void, waiting (for its payment), planned, in_force or over."""
        if self.state != "active":
            return self.state
        if self.covers(day):
            return "in_force"
        return "planned" if self.lies_ahead(day) else "over"

    def unused_days(self, day: date) -> int:
        """Its days from `day` on; the day itself is one of them."""
        if self.from_day is None or self.until_day is None:
            return 0
        return max((self.until_day - max(day, self.from_day)).days, 0)

    @property
    def days(self) -> int:
        """All its days; 0 where no end is known."""
        return (self.until_day - self.from_day).days if self.from_day and self.until_day else 0

    def worth(self, day: date) -> Decimal:
        """What its days from `day` on are worth: their share of its price, rounded once. 0 where it is not paid."""
        if self.price is None or not self.days:
            return Decimal("0.00")
        return rounded(self.price * self.unused_days(day) / self.days)


_SELECT = """
SELECT t.id, t.customer_id, t.product_id, p.name_en AS product, t.kind, t.cycle, t.state, t.ordered_on, t.from_day,
       t.until_day, t.price, t.invoice_id, i.number AS invoice_number, i.state AS invoice_state, t.follows_id,
       t.replaces_id, t.next_product_id, n.name_en AS next_product, t.next_cycle, t.cancelled_at, t.withdrawn_at,
       t.trial_allowed_again, t.version,
       -- Of no meaning any more once it was drafted after all.
       CASE WHEN EXISTS (SELECT FROM terms r WHERE r.follows_id = t.id AND r.state <> 'void') THEN ''
            ELSE t.renewal_refusal END AS renewal_refusal
  FROM terms t
  JOIN products p ON p.id = t.product_id
  LEFT JOIN products n ON n.id = t.next_product_id
  LEFT JOIN invoices i ON i.id = t.invoice_id"""


def terms_of(conn: Connection, customer_id: int) -> list[Term]:
    """All terms of a customer, void ones too, the newest first."""
    found = conn.execute(text(f"{_SELECT} WHERE t.customer_id = :id ORDER BY t.id DESC"), {"id": customer_id})
    return [Term(**row._mapping) for row in found]


def term(conn: Connection, term_id: int) -> Term:
    """One term. Raises NotFound."""
    row = conn.execute(text(f"{_SELECT} WHERE t.id = :id"), {"id": term_id}).one_or_none()
    if row is None:
        raise NotFound("This period does not exist.")
    return Term(**row._mapping)


def of_invoice(conn: Connection, invoice_id: int) -> Term | None:
    """The term that an advance invoice is for, or None for any other document."""
    row = conn.execute(text(f"{_SELECT} WHERE t.invoice_id = :id"), {"id": invoice_id}).one_or_none()
    return None if row is None else Term(**row._mapping)


def plan_of(conn: Connection, customer_id: int, *, today: date) -> Term | None:
    """The plan that a customer has in advance: the one of today, else the one to come or that waits (row D2)."""
    mine = [one for one in terms_of(conn, customer_id) if one.kind == "plan"]
    coming = [one for one in mine if one.lies_ahead(today) or one.state == "waiting"]
    return next(iter([*(one for one in mine if one.covers(today)), *coming]), None)


def after(day: date, months: int) -> date:
    """The same day so many months later; the last day of a month that is shorter."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month, min(day.day, last))


# ---------------------------------------------------------------------------------- writing the table


def add(conn: Connection, *, user_id: int | None, action: str, **values: Any) -> int:
    """Insert a term and note it. The caller holds the customer and has asked what the state allows."""
    with conflicts(REFUSALS):
        row = insert(terms).values(recorded_by=user_id, **values).returning(terms.c.id)
        term_id: int = conn.execute(row).scalar_one()
    _check_now(conn)
    made = term(conn, term_id)
    changes: dict[str, audit.Change] = {made.product: (None, CYCLES[made.cycle])}
    if made.from_day is not None:
        changes |= {"from": (None, made.from_day), "until": (None, made.last_day)}
    _note(conn, made, action, changes, user_id)
    return term_id


def change(
    conn: Connection, before: Term, *, user_id: int | None, action: str, told: dict[str, audit.Change], **values: Any
) -> None:
    """Change a term that has not been changed since it was read, and note what that means. Raises Conflict."""
    with conflicts(REFUSALS):
        saved = conn.execute(
            update(terms)
            .where(terms.c.id == before.id, terms.c.version == before.version)
            .values(version=before.version + 1, **values)
        )
    if saved.rowcount == 0:
        raise Conflict("Somebody else changed this period after you opened it. Reload the page and try again.")
    _check_now(conn)
    _note(
        conn, before, action, {before.kind: (None, f"{before.product}, {CYCLES[before.cycle].lower()}")} | told, user_id
    )


def _check_now(conn: Connection) -> None:
    """Look at bookings and terms side by side at once, for a sentence instead of an error at the end."""
    with conflicts(REFUSALS):
        conn.execute(text("SET CONSTRAINTS terms_beside_bookings IMMEDIATE"))
        conn.execute(text("SET CONSTRAINTS terms_beside_bookings DEFERRED"))


def _note(conn: Connection, about: Term, action: str, changes: dict[str, audit.Change], user_id: int | None) -> None:
    changes = {name: change for name, change in changes.items() if change[0] != change[1]}
    audit.record(conn, action, "term", about.id, user_id=user_id, customer_id=about.customer_id, changes=changes)


# ---------------------------------------------------------------------------------- what its invoice goes through


def activate_paid(conn: Connection, invoice_ids: Sequence[int], *, user: User | None) -> None:
    """Activate the terms whose invoices are paid in full now. The caller holds the invoices.

    It begins on the day of the last payment, a renewal not before the term that it follows has ended; what was paid
    before its document was issued again (`lib/late_renewals.py`) keeps that day. The term that it replaces ends with
    the day before.
    """
    paid = conn.execute(
        text("""
            SELECT t.id, greatest(
                       CASE WHEN f.state = 'void' AND f.from_day IS NULL THEN t.ordered_on ELSE i.issued_on END,
                       f.until_day, (
                       SELECT max(p.paid_on) FROM payments p WHERE p.invoice_id = i.id AND p.amount > 0
                          AND NOT EXISTS (SELECT FROM payments r WHERE r.reverses_id = p.id))) AS from_day
              FROM terms t JOIN invoices i ON i.id = t.invoice_id LEFT JOIN terms f ON f.id = t.follows_id
             WHERE t.invoice_id = ANY(CAST(:ids AS bigint[])) AND t.state = 'waiting'
               AND i.state = 'paid' AND i.kind = 'invoice' ORDER BY t.id FOR UPDATE OF t"""),
        {"ids": list(invoice_ids)},
    ).all()
    user_id = None if user is None else user.id
    for row in paid:
        waiting = term(conn, row.id)
        if waiting.replaces_id is not None:
            _end(conn, term(conn, waiting.replaces_id), row.from_day, user_id)
        until = after(row.from_day, MONTHS[waiting.cycle])
        change(
            conn, waiting, user_id=user_id, action="activate term", state="active", from_day=row.from_day,
            until_day=until, told={"from": (None, row.from_day), "until": (None, until - timedelta(days=1))},
        )  # fmt: skip


def _end(conn: Connection, replaced: Term, day: date, user_id: int | None) -> None:
    """Let a term have ended before `day`."""
    if replaced.state != "active" or replaced.from_day is None:
        return
    if replaced.until_day is not None and replaced.until_day <= day:
        return
    begun = replaced.from_day < day
    values: dict[str, Any] = {"until_day": day} if begun else {"state": "void"}
    told: dict[str, audit.Change] = {"until": (replaced.last_day, day - timedelta(days=1) if begun else None)}
    change(conn, replaced, user_id=user_id, action="replace term", told=told, **values)


def void_waiting(conn: Connection, invoice_id: int, *, deleted: bool, user: User | None) -> None:
    """Void the term that waits for a document that is deleted or cancelled. Does nothing for any other document.

    Who deletes a renewal doesn't want it: what it would have renewed is cancelled, which can be taken back.
    """
    waiting = of_invoice(conn, invoice_id)
    if waiting is None or waiting.state != "waiting":
        return
    told: dict[str, audit.Change] = {"invoice": (waiting.invoice_number or "draft", None)}
    values: dict[str, Any] = {"state": "void"} | ({"invoice_id": None} if deleted else {})
    user_id = None if user is None else user.id
    change(conn, waiting, user_id=user_id, action="void term", told=told, **values)
    followed = None if waiting.follows_id is None else term(conn, waiting.follows_id)
    if followed is not None and followed.state == "active" and followed.cancelled_at is None:
        change(
            conn, followed, user_id=user_id, action="cancel term", told={"ends on": (None, followed.last_day)},
            cancelled_at=func.now(), next_product_id=None, next_cycle=None,
        )  # fmt: skip


def hang_on(conn: Connection, old: Term, invoice_id: int, *, paid_on: date, user_id: int | None) -> None:
    """Have another document stand for a term: the old row is void as if it never began, and a new one follows it.

    One that waits goes on waiting; one that is active keeps its days.
    """
    kept: dict[str, Any] = {
        "next_product_id": old.next_product_id, "next_cycle": old.next_cycle, "cancelled_at": old.cancelled_at,
        "withdrawn_at": old.withdrawn_at,
    }  # fmt: skip
    change(
        conn, old, user_id=user_id, action="void term", told={"invoice": (old.invoice_number, None)},
        state="void", from_day=None, until_day=None,
    )  # fmt: skip
    add(
        conn, user_id=user_id, action="issue term again", customer_id=old.customer_id, product_id=old.product_id,
        kind=old.kind, cycle=old.cycle, state=old.state, ordered_on=paid_on, from_day=old.from_day,
        until_day=old.until_day, price=old.price, invoice_id=invoice_id, follows_id=old.id, **kept,
    )  # fmt: skip


def refuse_renewal(conn: Connection, term_id: int, *, why: str, today: date) -> None:
    """Keep why the renewal of a term could not be drafted today; it is tried again tomorrow."""
    conn.execute(update(terms).where(terms.c.id == term_id).values(renewal_tried_on=today, renewal_refusal=why))


def require_cancellable(conn: Connection, invoice_id: int, *, today: date) -> None:
    """Refuse to cancel the document of a term that runs on: it is withdrawn first. Raises Conflict."""
    bought = of_invoice(conn, invoice_id)
    if bought is not None and (bought.covers(today) or bought.lies_ahead(today)):
        raise Conflict(
            f"{bought.invoice_number} is for {bought.product}, which is active until {bought.last_day:%d %b %Y}. "
            "Withdraw that first, on the customer's page."
        )
