"""Paying by card through Stripe: saved cards, pay links, charges (row G16). Card numbers never come here.

What Stripe is to do is a row first (`stripe_requests`) and asked of Stripe then, outside of any transaction, by whoever
clicked or by the worker (`lib/card_answers.py`): always with the row's key, so that asking twice does it once.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision
from sqlalchemy import Connection, Row, func, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lib import audit, customers, db, payment_methods, payments, stripe_account, stripe_client, stripe_requests
from lib.auth import Permission, PortalUser, User, require
from lib.errors import Conflict, Invalid, NotFound
from lib.tables import stripe_cards

KINDS = {"setup": "Save a card", "payment": "Pay link", "charge": "Charge of the saved card", "erasure": "Erasure"}
STATES = {"new": "Asked for", "open": "Open", "done": "Done", "failed": "Failed", "expired": "Expired"}
# What still can come of something.
OPEN = ("new", "open")
# How the note begins of a payment that its cardholder's bank took back, until it is decided and after it was lost.
DISPUTED, LOST = "Disputed by the cardholder", "The dispute was lost"
# While a click does it, no worker takes it.
_AT_ONCE = "1 minute"
_CENTS = 2
_UNDER_WAY = "A payment by card is under way for this invoice. Wait for it, or use the link that is open."
_BASE = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")


@dataclass(frozen=True)
class Saved:
    """A customer's card as Stripe keeps it."""

    brand: str
    ending: str
    expires: str
    saved_at: datetime


@dataclass(frozen=True)
class Asked:
    """Something that Stripe was asked for. `url` is the customer's page while it is open."""

    id: int
    kind: str
    customer_id: int
    customer: str
    invoice_id: int | None
    number: str | None
    amount: Decimal | None
    currency: str
    state: str
    url: str
    received: Decimal
    note: str
    last_error: str
    recorded_at: datetime
    recorded_by: str


# ---------------------------------------------------------------------------------- what there is


def saved_card(conn: Connection, customer_id: int) -> Saved | None:
    """The customer's saved card, in the mode that our keys are of."""
    row = conn.execute(
        text("""SELECT c.brand, c.ending, c.expires, c.saved_at FROM stripe_cards c
                  JOIN stripe_account a ON a.mode = c.mode
                 WHERE c.customer_id = :id AND c.payment_method <> ''"""),
        {"id": customer_id},
    ).one_or_none()
    return None if row is None else Saved(**row._mapping)


def asked_for_customer(conn: Connection, customer_id: int) -> list[Asked]:
    """The pages on which the customer could save a card, the newest first; at most three."""
    return _asked(conn, "r.customer_id = :id AND r.kind = 'setup'", limit=3, id=customer_id)


def asked_for_invoice(conn: Connection, invoice_id: int) -> list[Asked]:
    """The pay links and charges of an invoice, the newest first."""
    return _asked(conn, "r.invoice_id = :id", limit=20, id=invoice_id)


def to_look_at(conn: Connection, *, limit: int = 20) -> list[Asked]:
    """What somebody should look at: what failed, what Stripe does not answer about, what came in too much."""
    wanted = "r.kind <> 'erasure' AND (r.state = 'failed' OR r.note <> '' OR r.last_error <> '')"
    return _asked(conn, wanted, limit=limit)


# ---------------------------------------------------------------------------------- what is asked for


def save_card(conn: Connection, customer_id: int, *, return_to: str, user: User) -> int:
    """Ask for a page on which the customer saves a card; returns the request's id, for `card_answers.carry_out`.

    Raises Conflict while such a page is open: that one is to be used.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    customers.held_for_change(conn, customer_id)
    with db.conflicts({"stripe_requests_one_setup_key": "A page to save a card on is open already. Use its link."}):
        return _ask(conn, "setup", customer_id, return_to=return_to, user=user)


def pay_link(conn: Connection, invoice_id: int, *, return_to: str, user: User) -> int:
    """Ask for a page on which all that is open on an invoice is paid by card; returns the request's id."""
    require(user, Permission.RECORD_PAYMENTS)
    return _ask_for_invoice(conn, "payment", invoice_id, return_to=return_to, user=user)


def charge(conn: Connection, invoice_id: int, *, user: User) -> int:
    """Ask for a charge of all that is open on an invoice to the customer's saved card; returns the request's id."""
    require(user, Permission.RECORD_PAYMENTS)
    return _ask_for_invoice(conn, "charge", invoice_id, return_to="", user=user)


def pay_link_of_customer(conn: Connection, invoice_id: int, *, user: PortalUser) -> int:
    """Ask for a page on which all that is open on an own invoice is paid; returns the request's id.

    The portal has no key of Stripe: the worker makes the page, with the checks of `pay_link` once more. A page that
    is open already, or being made, is that one's. Raises NotFound for another customer's invoice, Conflict.
    """
    invoice = _held_invoice(conn, invoice_id, customer_id=user.customer_id)
    query = "SELECT id FROM stripe_requests WHERE invoice_id = :id AND kind = 'payment' AND state IN ('new', 'open')"
    there: int | None = conn.scalar(text(query), {"id": invoice_id})
    if there is not None:
        return there
    payment_methods.require_offered(conn, "card")
    values = {
        "kind": "payment", "mode": stripe_account.held_mode(conn), "customer_id": user.customer_id,
        "invoice_id": invoice_id, "amount": _payable(conn, invoice), "currency": invoice.currency,
    }  # fmt: skip
    with db.conflicts({"stripe_requests_one_open_key": _UNDER_WAY}):
        request_id = stripe_requests.add(conn, **values)
    audit.record(
        conn, KINDS["payment"].lower(), "invoice", invoice_id, user_id=None, customer_user_id=user.id,
        customer_id=user.customer_id, changes={"amount": (None, f"{values['amount']} {invoice.currency}")},
    )  # fmt: skip
    return request_id


def look_now(conn: Connection, *, user: PortalUser) -> None:
    """Somebody of the customer came back from Stripe's page: the worker asks at once what became of it."""
    stripe_requests.look_now(conn, user.customer_id)


def removable(conn: Connection, customer_id: int, *, user: User) -> tuple[str, str]:
    """Our key and Stripe's name of a saved card that is to be removed, for `stripe_client.detach`."""
    require(user, Permission.EDIT_CUSTOMERS)
    found, mode = stripe_account.secret(conn)
    return found, _card(conn, customer_id, mode).payment_method


def remove_card(conn: Connection, customer_id: int, *, user: User) -> None:
    """Forget a saved card, which Stripe has forgotten before. Raises NotFound where there is none."""
    require(user, Permission.EDIT_CUSTOMERS)
    _, mode = stripe_account.secret(conn)
    card = _card(conn, customer_id, mode)
    keep_card(conn, customer_id, mode, None)
    audit.record(
        conn, "remove card", "customer", customer_id, user_id=user.id, customer_id=customer_id,
        changes={"card": (f"{card.brand} … {card.ending}", None)},
    )  # fmt: skip


def keep_customer(conn: Connection, customer_id: int, mode: str, stripe_customer: str) -> None:
    """Note what Stripe calls a customer; the first name holds."""
    values = {"customer_id": customer_id, "mode": mode, "stripe_customer": stripe_customer}
    conn.execute(upsert(stripe_cards).values(**values).on_conflict_do_nothing())


def keep_card(conn: Connection, customer_id: int, mode: str, card: stripe_client.Card | None) -> None:
    """Note which card is saved at Stripe, or that none is."""
    names = ("payment_method", "brand", "ending", "expires")
    values: dict[str, Any] = {name: getattr(card, name, "") for name in names}
    conn.execute(
        update(stripe_cards)
        .where(stripe_cards.c.customer_id == customer_id, stripe_cards.c.mode == mode)
        .values(saved_at=None if card is None else func.now(), **values)
    )


def forget(conn: Connection, customer_id: int) -> int:
    """Delete a customer's cards and links, and have Stripe do so; returns how many cards. For the erasure."""
    found = conn.execute(
        text("DELETE FROM stripe_cards WHERE customer_id = :id RETURNING mode, stripe_customer, payment_method"),
        {"id": customer_id},
    ).all()
    stripe_requests.forget_links(conn, customer_id)
    for row in found:
        stripe_requests.add(conn, kind="erasure", mode=row.mode, customer_id=customer_id, reference=row.stripe_customer)
    return sum(1 for row in found if row.payment_method)


# ---------------------------------------------------------------------------------- how it is asked


def _ask_for_invoice(conn: Connection, kind: str, invoice_id: int, *, return_to: str, user: User) -> int:
    invoice = _held_invoice(conn, invoice_id)
    amount = _payable(conn, invoice)
    if kind == "charge":
        _, mode = stripe_account.secret(conn)
        _card(conn, invoice.customer_id, mode)
    with db.conflicts({"stripe_requests_one_open_key": _UNDER_WAY}):
        return _ask(
            conn, kind, invoice.customer_id, return_to=return_to, user=user,
            invoice_id=invoice_id, amount=amount, currency=invoice.currency,
        )  # fmt: skip


def _held_invoice(conn: Connection, invoice_id: int, *, customer_id: int | None = None) -> Row[Any]:
    """The invoice, with `customer_id` only if it is theirs, held: what is recorded at this moment is counted."""
    invoice = conn.execute(
        text("""SELECT id, number, state, currency, customer_id FROM invoices
                 WHERE id = :id AND customer_id = coalesce(CAST(:customer AS bigint), customer_id) FOR UPDATE"""),
        {"id": invoice_id, "customer": customer_id},
    ).one_or_none()
    if invoice is None:
        raise NotFound("This document does not exist (any more).")
    return invoice


def _payable(conn: Connection, invoice: Row[Any]) -> Decimal:
    """What is open on an invoice and can be paid by card. Raises Conflict."""
    amount = payments.open_amount(conn, invoice.id)
    if amount <= 0:
        raise Conflict(f"Nothing is open on {invoice.number or 'a draft'}, so there is nothing to pay by card.")
    if get_currency_precision(invoice.currency) != _CENTS:
        raise Conflict(f"Amounts in {invoice.currency} are not paid by card here: only currencies with cents are.")
    if in_debit_run(conn, invoice.id):
        raise Conflict(f"{invoice.number} is being collected by direct debit, and would be paid twice by card.")
    return amount


def in_debit_run(conn: Connection, invoice_id: int) -> bool:
    """Whether a file for the bank collects the invoice, and its debit has neither been recorded nor come back."""
    query = "SELECT FROM debits WHERE invoice_id = :id AND returned_at IS NULL AND payment_id IS NULL"
    return bool(conn.scalar(text(f"SELECT EXISTS ({query})"), {"id": invoice_id}))


def _ask(conn: Connection, kind: str, customer_id: int, *, return_to: str, user: User, **of_invoice: Any) -> int:
    payment_methods.require_offered(conn, "card")
    if conn.scalar(text("SELECT erased_at IS NOT NULL FROM customers WHERE id = :id"), {"id": customer_id}):
        raise Conflict("This customer was deleted and its data erased: nothing more is sent to Stripe about it.")
    if kind != "charge" and not _BASE.fullmatch(return_to):
        raise Invalid("The way back from Stripe is no address of ours.")
    _, mode = stripe_account.secret(conn, hold=True)
    request_id = stripe_requests.add(
        conn, kind=kind, mode=mode, customer_id=customer_id, return_to=return_to, recorded_by=user.id,
        leased_until=text(f"now() + interval '{_AT_ONCE}'"), **of_invoice,
    )  # fmt: skip
    about = ("invoice", of_invoice["invoice_id"]) if of_invoice else ("customer", customer_id)
    told = {"amount": (None, f"{of_invoice['amount']} {of_invoice['currency']}")} if of_invoice else None
    audit.record(conn, KINDS[kind].lower(), *about, user_id=user.id, customer_id=customer_id, changes=told)
    return request_id


def _card(conn: Connection, customer_id: int, mode: str) -> Row[Any]:
    row = conn.execute(
        text("""SELECT stripe_customer, payment_method, brand, ending FROM stripe_cards
                 WHERE customer_id = :id AND mode = :mode AND payment_method <> '' FOR UPDATE"""),
        {"id": customer_id, "mode": mode},
    ).one_or_none()
    if row is None:
        raise NotFound("The customer has no saved card. Send a pay link, or a link to save a card.")
    return row


def _asked(conn: Connection, where: str, *, limit: int, **values: Any) -> list[Asked]:
    found = conn.execute(
        text(f"""SELECT r.id, r.kind, r.customer_id, c.name AS customer, r.invoice_id, i.number, r.amount, r.currency,
                        r.state, CASE WHEN r.state = 'open' THEN r.url ELSE '' END AS url, r.received, r.note,
                        r.last_error, r.recorded_at,
                        coalesce(s.name, CASE r.kind WHEN 'payment' THEN 'Customer' ELSE 'System' END) AS recorded_by
                   FROM stripe_requests r JOIN customers c ON c.id = r.customer_id
                   LEFT JOIN invoices i ON i.id = r.invoice_id LEFT JOIN staff s ON s.id = r.recorded_by
                  WHERE {where} ORDER BY r.id DESC LIMIT :limit"""),
        values | {"limit": limit},
    )
    return [Asked(**row._mapping) for row in found]
