"""What Stripe tells by its webhook: its signature is checked, each event is used once (row G16).

An event is a hint that something happened, and no more: what did, `lib/card_answers.py` asks Stripe itself. So the
order of events doesn't matter, and nothing of their content is kept.
"""

from sqlalchemy import Connection, update
from sqlalchemy.dialects.postgresql import insert

from lib import stripe_account, stripe_client, stripe_requests
from lib.tables import stripe_events

# Stripe's own are far smaller.
MOST_BYTES = 1_000_000


def take(conn: Connection, payload: bytes, signature: str) -> str:
    """Take an event: returns what became of it (noted, again, ignored or other mode).

    Raises Invalid where it isn't Stripe's, or is too old, and Conflict where no webhook secret is entered.
    """
    secret, mode = stripe_account.webhook_secret(conn)
    event = stripe_client.event(payload, signature, secret)
    of = "live" if event.live else "test"
    values = {"event_id": event.id, "type": event.type, "mode": of, "outcome": ""}
    # Of two at once the second waits here, and finds the first.
    new = insert(stripe_events).values(**values).on_conflict_do_nothing().returning(stripe_events.c.event_id)
    if conn.scalar(new) is None:
        return "again"
    outcome = "other mode"
    if of == mode:
        outcome = "noted" if stripe_requests.hint(conn, event.names) else "ignored"
    conn.execute(update(stripe_events).where(stripe_events.c.event_id == event.id).values(outcome=outcome))
    return outcome
