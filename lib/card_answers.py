"""Asking Stripe what our requests need, and what became of them; what came in is recorded once (row G16).

The state at Stripe decides, never the order in which its events arrive: each look compares what Stripe says was
received with what is recorded already, and records the difference. So a lost, repeated or late webhook changes nothing.
"""

import logging
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, text

from lib import audit, cards, clock, db, money, payments, stripe_account, stripe_client
from lib.errors import AlreadyDone, BillingError, Conflict
from lib.stripe_client import Intent, Refused, Unreachable
from lib.stripe_requests import DAY, DONE_WAITS, OPEN_WAITS, Claimed, claim, step, write
from lib.tables import stripe_cards, stripe_requests

_GIVEN_UP = "Stripe did not answer for hours, and is not asked again. Look in its dashboard whether it was done."
_log = logging.getLogger("mandant.cards")


def ask_one() -> bool:
    """Ask Stripe about the request that has been due longest, if one is. Whether there was one."""
    with db.transaction() as conn:
        claimed = claim(conn)
    if claimed is None:
        return False
    _look(claimed)
    return True


def carry_out(request_id: int) -> str:
    """Do what was just asked for, for the person who waits. Returns why it is not done yet; empty: it is.

    Whatever happens here, the worker goes on with it.
    """
    with db.transaction() as conn:
        claimed = claim(conn, request_id)
    if claimed is not None:
        _look(claimed)
    with db.transaction() as conn:
        row = conn.execute(
            select(stripe_requests.c.state, stripe_requests.c.note, stripe_requests.c.last_error).where(
                stripe_requests.c.id == request_id
            )
        ).one()
    return row.last_error or (row.note if row.state == "failed" else "")


# ---------------------------------------------------------------------------------- a look


def _look(claimed: Claimed) -> None:
    """Ask, and note what came of it. No transaction is open while Stripe is talked to."""
    try:
        if claimed.stale and claimed.state == "new" and claimed.kind != "erasure":
            raise Refused(_GIVEN_UP)
        with db.transaction() as conn:
            secret, mode = stripe_account.secret(conn)
        if mode != claimed.mode:
            raise Unreachable("The keys were changed meanwhile.")
        _ASK[claimed.kind](claimed, secret)
    except Refused as refusal:
        _refused(claimed, refusal)
    except BillingError as refusal:
        _again(claimed, str(refusal))
    except Exception:
        reference = secrets.token_hex(4).upper()
        _log.exception("Request %s to Stripe failed, reference %s", claimed.id, reference)
        _again(claimed, f"An unexpected error; the log has it under the reference {reference}.")


def _setup(claimed: Claimed, secret: str) -> None:
    if claimed.reference is None:
        _open_page(claimed, stripe_client.setup_page(
            secret, customer=_stripe_customer(claimed, secret), return_to=claimed.return_to, key=str(claimed.key)
        ))  # fmt: skip
        return
    found = stripe_client.session(secret, claimed.reference)
    with db.transaction() as conn:
        if found.status == "complete" and found.card is not None:
            if _ended(conn, claimed, "done", due_in=None):
                cards.keep_card(conn, claimed.customer_id, claimed.mode, found.card)
                told = {"card": (None, f"{found.card.brand} … {found.card.ending}")}
                audit.record(conn, "card saved", "customer", claimed.customer_id, user_id=None,
                             customer_id=claimed.customer_id, changes=told)  # fmt: skip
        elif found.status == "expired":
            _ended(conn, claimed, "expired", due_in=None)
        else:
            _wait(conn, claimed)


def _payment(claimed: Claimed, secret: str) -> None:
    if claimed.reference is None:
        # The portal could only ask: whether it may be paid is decided here, and where the customer comes back to.
        if not _still_wanted(claimed):
            raise Refused("The invoice was paid otherwise meanwhile, or is being collected: no page was made.")
        with db.transaction() as conn:
            number = _number(conn, claimed)
            back = (claimed.return_to, "") if claimed.return_to else (_portal(conn), f"?invoice={claimed.invoice_id}")
        assert claimed.amount is not None
        _open_page(claimed, stripe_client.payment_page(
            secret, customer=_stripe_customer(claimed, secret), amount=claimed.amount, currency=claimed.currency,
            text=number, return_to=back[0], about=back[1], key=str(claimed.key),
        ))  # fmt: skip
        return
    found = stripe_client.session(secret, claimed.reference)
    if found.status == "open" and not _still_wanted(claimed):
        with suppress(Refused):  # somebody paid at this moment
            stripe_client.close_page(secret, claimed.reference)
        found = stripe_client.session(secret, claimed.reference)
    if found.status == "complete" and found.intent:
        _note_intent(claimed, stripe_client.intent(secret, found.intent))
        return
    with db.transaction() as conn:
        if found.status == "expired":
            _ended(conn, claimed, "expired", due_in=None)
        else:
            _wait(conn, claimed)


def _charge(claimed: Claimed, secret: str) -> None:
    if claimed.intent is not None:
        _note_intent(claimed, stripe_client.intent(secret, claimed.intent))
        return
    # Only before the first attempt: an answer that was lost may have charged it, and is asked for by the same key.
    if claimed.attempts == 1 and not _still_wanted(claimed):
        raise Refused("The invoice was paid otherwise meanwhile, so the card was not charged.")
    with db.transaction() as conn:
        number = _number(conn, claimed)
        card = conn.execute(
            text("SELECT stripe_customer, payment_method FROM stripe_cards WHERE customer_id = :id AND mode = :mode"),
            {"id": claimed.customer_id, "mode": claimed.mode},
        ).one_or_none()
    if card is None or not card.payment_method:
        raise Refused("The saved card was removed meanwhile. Look at Stripe whether it was charged before.")
    assert claimed.amount is not None
    made = stripe_client.charge(
        secret, customer=card.stripe_customer, payment_method=card.payment_method, amount=claimed.amount,
        currency=claimed.currency, text=number, key=str(claimed.key),
    )  # fmt: skip
    _note_intent(claimed, made)


def _erasure(claimed: Claimed, secret: str) -> None:
    stripe_client.delete_customer(secret, claimed.reference or "")
    with db.transaction() as conn:
        _ended(conn, claimed, "done", due_in=None)


_ASK = {"setup": _setup, "payment": _payment, "charge": _charge, "erasure": _erasure}


# ---------------------------------------------------------------------------------- what it needs


def _stripe_customer(claimed: Claimed, secret: str) -> str:
    """Whom Stripe knows as the customer; made there the first time."""
    with db.transaction() as conn:
        known = _known(conn, claimed)
        who: Any = conn.execute(
            text("SELECT name, number, coalesce(nullif(billing_email, ''), contact_email) AS email"
                 " FROM customers WHERE id = :id"), {"id": claimed.customer_id},
        ).one()  # fmt: skip
    if known:
        return known
    made = stripe_client.make_customer(
        secret, name=who.name, email=who.email, number=who.number, key=f"{claimed.key}-customer"
    )
    with db.transaction() as conn:
        cards.keep_customer(conn, claimed.customer_id, claimed.mode, made)
        return _known(conn, claimed) or made


def _known(conn: Connection, claimed: Claimed) -> str | None:
    found: str | None = conn.scalar(
        select(stripe_cards.c.stripe_customer).where(
            stripe_cards.c.customer_id == claimed.customer_id, stripe_cards.c.mode == claimed.mode
        )
    )
    return found


def _number(conn: Connection, claimed: Claimed) -> str:
    return str(conn.scalar(text("SELECT number FROM invoices WHERE id = :id"), {"id": claimed.invoice_id}))


def _portal(conn: Connection) -> str:
    found = str(conn.scalar(text("SELECT portal_url FROM company")) or "")
    if not found:
        raise Refused("The portal’s address is missing (Settings → Portal): Stripe’s page could not lead back to it.")
    return found.rstrip("/")


def _still_wanted(claimed: Claimed) -> bool:
    """Whether the invoice is open with the amount that the request is about, and no file for the bank collects it."""
    assert claimed.invoice_id is not None
    with db.transaction() as conn:
        in_run = cards.in_debit_run(conn, claimed.invoice_id)
        return payments.open_amount(conn, claimed.invoice_id) == claimed.amount and not in_run


# ---------------------------------------------------------------------------------- what came of it


def _open_page(claimed: Claimed, page: stripe_client.Page) -> None:
    with db.transaction() as conn:
        write(conn, claimed, state="open", reference=page.reference, url=page.url, attempts=0, last_error="",
               due_minutes=OPEN_WAITS[0])  # fmt: skip


def _note_intent(claimed: Claimed, found: Intent) -> None:
    """Record what came in or went back since the last look."""
    with db.transaction() as conn:
        # The invoice first, as who asks for a payment does.
        conn.execute(
            text("""SELECT 1 FROM invoices WHERE id = (SELECT invoice_id FROM stripe_requests WHERE id = :id)
                       FOR UPDATE"""),
            {"id": claimed.id},
        )
        held = conn.execute(
            text("SELECT received, payment_id, note, invoice_id FROM stripe_requests WHERE id = :id FOR UPDATE"),
            {"id": claimed.id},
        ).one()
        claimed = replace(claimed, invoice_id=held.invoice_id)  # another one, if it was issued again since
        given: dict[str, Any] = {"intent": found.id, "last_error": ""}
        if found.net != held.received:
            payment_id, note = _settle(conn, claimed, found, held.payment_id)
            given |= {"received": found.net, "payment_id": payment_id, "note": note}
            given |= {"invoice_id": payments.counted(conn, payment_id)[0]} if payment_id else {}
        if found.status == "succeeded":
            first = claimed.state != "done"
            days = DONE_WAITS[0] if first or found.in_dispute else step(DONE_WAITS, claimed.attempts)
            given["note"] = _with_dispute(given.get("note", held.note), claimed, found)
            write(conn, claimed, state="done", url="", due_minutes=days and days * DAY,
                   **given | ({"attempts": 0} if first else {}))  # fmt: skip
        elif found.status in ("canceled", "requires_payment_method", "requires_action", "requires_confirmation"):
            why = found.problem or "The bank wants the customer to confirm this payment. Make a pay link."
            write(conn, claimed, state="failed", note=why, url="", due_minutes=None, **given)
        else:
            write(conn, claimed, state="open", due_minutes=OPEN_WAITS[-1], **given)


def _settle(conn: Connection, claimed: Claimed, found: Intent, before: int | None) -> tuple[Any, str]:
    """Put the payment right: the former one is reversed, and one of what Stripe has now is recorded."""
    assert claimed.invoice_id is not None
    today = clock.today(conn)
    if before is not None:
        why = _why_back(claimed, found)
        try:
            payments.send_back(conn, before, reason=why, today=today)
        except AlreadyDone:
            pass  # somebody reversed it by hand
        except Conflict as refusal:
            return before, f"{why}. {refusal}"
    if found.net == 0:
        return None, ""
    left = min(payments.open_amount(conn, claimed.invoice_id), found.net)
    payment_id = None
    if left > 0:
        payment_id = payments.receive(
            conn, claimed.invoice_id, amount=left, paid_on=today, method="card", reference=found.id, today=today
        )
        _, left = payments.counted(conn, payment_id)  # less, where a renewal that was issued again asks for less
    if left == found.net:
        return payment_id, ""
    return payment_id, (
        f"{money.shown(found.net - left)} {claimed.currency} more came in than was open. Refund it at Stripe."
    )


def _why_back(claimed: Claimed, found: Intent) -> str:
    """Why the payment that was recorded is not the one that there is now."""
    said = []
    if found.refunded:
        said.append(f"Refunded by Stripe: {money.shown(found.refunded)} {claimed.currency}")
    if found.disputed:
        said.append(f"{cards.DISPUTED}: {money.shown(found.disputed)} {claimed.currency} taken back by Stripe")
    return "; ".join(said) or "The dispute was won: all of it is there again"


def _with_dispute(note: str, claimed: Claimed, found: Intent) -> str:
    """The note that a request has with its dispute, in place of what was said of it before."""
    note = "" if note.startswith((cards.DISPUTED, cards.LOST)) else note
    if not found.disputed:
        return note
    amount = f"{money.shown(found.disputed)} {claimed.currency}"
    said = (
        f"{cards.DISPUTED}: Stripe took {amount} back. Answer it in Stripe’s dashboard."
        if found.in_dispute
        else f"{cards.LOST}: {amount} went back to the cardholder. The invoice is open again."
    )
    return f"{said} {note}".strip()


def _refused(claimed: Claimed, refusal: Refused) -> None:
    """What Stripe says no to is over; a payment that it names stays known."""
    with db.transaction() as conn:
        named = {"intent": refusal.intent} if refusal.intent else {}
        if claimed.state == "done":
            write(conn, claimed, last_error=str(refusal), due_minutes=None)
            return
        write(conn, claimed, state="failed", note=str(refusal), last_error="", url="", due_minutes=None, **named)


def _again(claimed: Claimed, reason: str) -> None:
    with db.transaction() as conn:
        write(conn, claimed, last_error=reason, due_minutes=step(OPEN_WAITS, claimed.attempts, last=True))


def _wait(conn: Connection, claimed: Claimed) -> None:
    write(conn, claimed, state="open", last_error="", due_minutes=step(OPEN_WAITS, claimed.attempts, last=True))


def _ended(conn: Connection, claimed: Claimed, state: str, *, due_in: int | None) -> bool:
    """End a request once; whether it was this look that did."""
    before = conn.scalar(text("SELECT state FROM stripe_requests WHERE id = :id FOR UPDATE"), {"id": claimed.id})
    write(conn, claimed, state=state, url="", last_error="", due_minutes=due_in)
    return bool(before != state)
