"""The rows of what Stripe is asked for: leased to one worker at a time, and when to ask again (row G16)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, insert, null, text, update

from lib.tables import stripe_requests

# Longer than all calls of one look together (three of stripe_client.TIMEOUT_SECONDS).
LEASE = "3 minutes"
# Minutes until Stripe is asked again about what is open; from the last one on at the same pace.
OPEN_WAITS = (1, 1, 2, 5, 10, 30)
# Days after which a payment is looked at again, for what goes back later.
DONE_WAITS = (1, 2, 4, 7, 14, 30, 60)
DAY = 24 * 60


# Stripe knows a request by its key for a day.
_FIELDS = {"stale": "recorded_at < now() - interval '20 hours' AS stale"}


@dataclass(frozen=True)
class Claimed:
    """A request that is ours until `leased_until`."""

    id: int
    key: UUID
    kind: str
    mode: str
    customer_id: int
    invoice_id: int | None
    amount: Decimal | None
    currency: str
    state: str
    reference: str | None
    intent: str | None
    return_to: str
    attempts: int
    # Stripe may have forgotten its key, and would do it a second time.
    stale: bool
    due_at: datetime | None
    leased_until: datetime


def add(conn: Connection, **values: Any) -> int:
    """Ask for something, which the worker takes up, or who asks, for whom it is leased. Returns the request's id."""
    made: int = conn.execute(insert(stripe_requests).values(**values).returning(stripe_requests.c.id)).scalar_one()
    return made


def claim(conn: Connection, request_id: int | None = None) -> Claimed | None:
    """Lease the request that has been due longest in the mode of our keys, or the one that was just made."""
    chosen = (
        "SELECT id FROM stripe_requests WHERE id = :id AND state = 'new' FOR UPDATE"
        if request_id is not None
        else """SELECT r.id FROM stripe_requests r JOIN stripe_account a ON a.mode = r.mode AND a.secret_key IS NOT NULL
                 WHERE r.due_at <= now() AND coalesce(r.leased_until <= now(), true)
                 ORDER BY r.due_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"""
    )
    names = ", ".join(_FIELDS.get(name, name) for name in Claimed.__dataclass_fields__)
    row = conn.execute(
        text(f"""UPDATE stripe_requests SET leased_until = now() + interval '{LEASE}', attempts = attempts + 1
                  WHERE id = ({chosen}) RETURNING {names}"""),
        {} if request_id is None else {"id": request_id},
    ).one_or_none()
    return None if row is None else Claimed(**row._mapping)


def hint(conn: Connection, names: tuple[str, ...]) -> int:
    """Something happened to these at Stripe: ask about them now. Returns how many requests that concerns."""
    return conn.execute(
        text("""UPDATE stripe_requests SET due_at = clock_timestamp(), attempts = 0
                 WHERE reference = ANY(:names) OR intent = ANY(:names)"""),
        {"names": list(names)},
    ).rowcount


def look_now(conn: Connection, customer_id: int) -> None:
    """Ask about a customer's open payments at once."""
    conn.execute(
        text("""UPDATE stripe_requests SET due_at = now()
                 WHERE customer_id = :id AND kind = 'payment' AND state = 'open' AND due_at > now()"""),
        {"id": customer_id},
    )


def forget_links(conn: Connection, customer_id: int) -> None:
    """Ask for nothing more of a customer whose data are erased, and forget its links."""
    conn.execute(
        text("""UPDATE stripe_requests SET url = '', return_to = '',
                       state = CASE state WHEN 'new' THEN 'failed' ELSE state END,
                       due_at = CASE state WHEN 'new' THEN NULL ELSE due_at END
                 WHERE customer_id = :id AND kind <> 'erasure'"""),
        {"id": customer_id},
    )


def hand_on(
    conn: Connection, before: int, *, note: str, invoice_id: int | None = None, payment_id: int | None = None
) -> None:
    """What collected the payment `before` collected `payment_id` of that document instead; without one, note only."""
    conn.execute(
        text("""UPDATE stripe_requests SET invoice_id = coalesce(CAST(:invoice AS bigint), invoice_id),
                       payment_id = coalesce(CAST(:payment AS bigint), payment_id),
                       note = CASE WHEN :note = '' THEN note ELSE :note END
                 WHERE payment_id = :before"""),
        {"before": before, "invoice": invoice_id, "payment": payment_id, "note": note},
    )


def write(conn: Connection, claimed: Claimed, *, due_minutes: int | None, **values: Any) -> None:
    """Write what is known now and when to ask again; a hint that came meanwhile has the next look at once."""
    # In one statement: a second one would look the invoice up again, which who asks for a payment holds meanwhile.
    later = text("now() + make_interval(mins => :mins)").bindparams(mins=due_minutes) if due_minutes else null()
    due_at = stripe_requests.c.due_at
    conn.execute(
        update(stripe_requests)
        .where(stripe_requests.c.id == claimed.id)
        .values(
            leased_until=None,
            due_at=case((due_at.is_not_distinct_from(claimed.due_at), later), else_=due_at),
            **values,
        )
    )


def step(waits: tuple[int, ...], attempts: int, *, last: bool = False) -> int | None:
    """How long to wait after so many looks; after the last of them for ever, or with `last` as long as that."""
    if attempts < len(waits):
        return waits[attempts]
    return waits[-1] if last else None
