"""What we do about a plan or module that needs no invoice: activate it, edit its period, cancel, withdraw (S5–S7).

Each asks `lib/term_offers.py` whether the state allows it. What is invoiced begins in `lib/term_invoices.py`.
"""

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import Connection, func, text

from lib import advance_invoices, fields, term_offers, terms
from lib.audit import Change
from lib.auth import User
from lib.auth import require as require_permission
from lib.errors import Invalid
from lib.requests import once
from lib.term_offers import Card, TermAction
from lib.terms import CYCLES, Term


def begin(conn: Connection, customer_id: int, action: TermAction, user: User, request_key: UUID | None) -> None:
    """What every action starts with: the role, the second click, and the documents that wait, held before the customer.

    Who pays or cancels a document holds it first, too, so neither waits for the other in a circle.
    """
    require_permission(user, term_offers.permission(action))
    once(conn, request_key)
    conn.execute(
        text("""SELECT i.id FROM terms t JOIN invoices i ON i.id = t.invoice_id
                 WHERE t.customer_id = :id AND t.state = 'waiting' ORDER BY i.id FOR UPDATE OF i"""),
        {"id": customer_id},
    )


def activate_free(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Let a plan or module begin today for nothing, until it is withdrawn or its period ends (row S5)."""
    begin(conn, customer_id, TermAction.FREE, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, TermAction.FREE, today=today)
    _activate(conn, card, "free", today, None, user)


def activate_trial(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Let the test time begin today: the product's number of days, once per customer and product (row S5)."""
    begin(conn, customer_id, TermAction.TRIAL, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, TermAction.TRIAL, today=today)
    _activate(conn, card, "trial", today, today + timedelta(days=card.product.test_days or 0), user)


def allow_trial_again(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Let the test time of a plan or module be activated once more (row S5)."""
    begin(conn, customer_id, TermAction.TRIAL_AGAIN, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, TermAction.TRIAL_AGAIN, today=today)
    assert card.tried is not None
    terms.change(
        conn, card.tried, user_id=user.id, action="allow test again", told={"allowed again": (False, True)},
        trial_allowed_again=True,
    )  # fmt: skip


def edit_period(
    conn: Connection,
    customer_id: int,
    product_id: int,
    *,
    version: int,
    from_day: date | None,
    last_day: date | None,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> None:
    """Move the last day of what is active, and the first one while it lies ahead (row S6). What was paid stays.

    Raises Invalid at the field; Conflict for a stale form, and where it would overlap another period.
    """
    begin(conn, customer_id, TermAction.PERIOD, user, request_key)
    own = _own(term_offers.require(conn, customer_id, product_id, TermAction.PERIOD, today=today))
    if own.version != version:
        own = Term(**(vars(own) | {"version": version}))  # refused below, in words
    first = fields.day(from_day, field="from_day", label="The first day", required=True)
    last = fields.day(last_day, field="last_day", label="The last day", required=own.cycle != "free")
    assert first is not None
    if first != own.from_day and (not own.lies_ahead(today) or first < today):
        raise Invalid("It has begun, so its first day stays. Only a day to come can be moved, to a day to come.",
                      field="from_day")  # fmt: skip
    if last is not None and last < max(first, today):
        raise Invalid("The last day is before today or before the first one. Withdraw it to end it at once.",
                      field="last_day")  # fmt: skip
    until = None if last is None else last + timedelta(days=1)
    told: dict[str, Change] = {"from": (own.from_day, first), "until": (own.last_day, last)}
    terms.change(conn, own, user_id=user.id, action="edit period", told=told, from_day=first, until_day=until)


def cancel(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Let a paid term end with its last day: no renewal is drafted, and one that is a draft is deleted (row S6)."""
    begin(conn, customer_id, TermAction.CANCEL, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, TermAction.CANCEL, today=today)
    _drop_draft(conn, card, user)
    own = terms.term(conn, _own(card).id)
    if own.cancelled_at is not None:  # with its renewal's draft
        return
    terms.change(
        conn, own, user_id=user.id, action="cancel term", told={"ends on": (None, own.last_day)},
        cancelled_at=func.now(), next_product_id=None, next_cycle=None,
    )  # fmt: skip


def resume(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Take a cancellation back, or a change that was chosen for the end of the period: it is renewed as it is."""
    begin(conn, customer_id, TermAction.RESUME, user, request_key)
    own = _own(term_offers.require(conn, customer_id, product_id, TermAction.RESUME, today=today))
    told: dict[str, Change] = {"ends on": (own.last_day, None)}
    if own.next_product is not None:
        told = {"then": (own.next_product, own.product)}
    terms.change(
        conn, own, user_id=user.id, action="take cancellation back", told=told, cancelled_at=None,
        next_product_id=None, next_cycle=None,
    )  # fmt: skip


def change_later(
    conn: Connection,
    customer_id: int,
    product_id: int,
    action: TermAction,
    *,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> None:
    """Downgrade, or change the cycle, at the end of the period: its renewal will be for this product (row S4)."""
    begin(conn, customer_id, action, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, action, today=today)
    held, cycle = card.held, term_offers.CYCLE[action]
    assert held is not None
    told: dict[str, Change] = {"then": (held.product, f"{card.product.name_en}, {CYCLES[cycle].lower()}")}
    terms.change(
        conn, held, user_id=user.id, action="change at the end", told=told, next_product_id=product_id,
        next_cycle=cycle,
    )  # fmt: skip


def withdraw(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """End what is active at once: today no longer belongs to it, and what was paid is not reimbursed (row S6).

    What begins later never begins. An invoice for it that is a draft is deleted.
    """
    begin(conn, customer_id, TermAction.WITHDRAW, user, request_key)
    card = term_offers.require(conn, customer_id, product_id, TermAction.WITHDRAW, today=today)
    _drop_draft(conn, card, user)
    own = terms.term(conn, _own(card).id)
    begun = own.from_day is not None and own.from_day < today
    told: dict[str, Change] = {"until": (own.last_day, today - timedelta(days=1) if begun else None)}
    ended = {"until_day": today} if begun else {"state": "void"}
    terms.change(
        conn, own, user_id=user.id, action="withdraw", told=told, withdrawn_at=func.now(), **ended
    )  # fmt: skip


def drop(
    conn: Connection, customer_id: int, product_id: int, *, today: date, user: User, request_key: UUID | None = None
) -> None:
    """Delete the draft of an invoice that is not wanted any more, so that something else can begin."""
    begin(conn, customer_id, TermAction.DROP, user, request_key)
    _drop_draft(conn, term_offers.require(conn, customer_id, product_id, TermAction.DROP, today=today), user)


def _activate(conn: Connection, card: Card, cycle: str, from_day: date, until_day: date | None, user: User) -> None:
    terms.add(
        conn, user_id=user.id, action="activate term", customer_id=card.customer.id, product_id=card.product.id,
        kind=card.product.kind, cycle=cycle, state="active", ordered_on=from_day, from_day=from_day,
        until_day=until_day,
    )  # fmt: skip


def _own(card: Card) -> Term:
    assert card.own is not None  # as `term_offers.require` has made sure
    return card.own


def _drop_draft(conn: Connection, card: Card, user: User) -> None:
    waiting = card.waiting
    if waiting is not None and waiting.invoice_id is not None and waiting.invoice_state == "draft":
        advance_invoices.drop(conn, waiting.invoice_id, user=user)
