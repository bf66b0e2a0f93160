"""Talking to Stripe by its own client: one call at a time, and every way in which that fails in words (row G16).

Nothing here touches the database, and no card number passes through: cards are typed on Stripe's pages.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import stripe

from lib.errors import BillingError, Conflict, Invalid

# Where Stripe is: its own address unless the tests say otherwise.
VARIABLE = "MANDANT_STRIPE_API"
# A person waits for it; the worker's lease is longer than all calls of one row together.
TIMEOUT_SECONDS = 20
CENTS = 100
# A dispute in one of these states has taken the money back for the time being; an inquiry (warning_…) takes none.
_UNDECIDED = ("needs_response", "under_review")
# It tells each request by name; failures are told by who asked.
logging.getLogger("stripe").setLevel(logging.ERROR)


class Unreachable(BillingError):
    """Stripe didn't answer, or not now: nobody knows what became of it. Asked again, it is done once."""


class Refused(BillingError):
    """Stripe refused; the message says why. `intent` is the payment that it belongs to, where there is one."""

    def __init__(self, reason: str, *, intent: str = "") -> None:
        super().__init__(reason)
        self.intent = intent


@dataclass(frozen=True)
class Page:
    """A page of Stripe on which a customer types a card: its id, and its address while it is open."""

    reference: str
    url: str


@dataclass(frozen=True)
class Card:
    """What may be known of a saved card."""

    payment_method: str
    brand: str
    ending: str
    expires: str


@dataclass(frozen=True)
class Session:
    """What became of a page: open, complete or expired; the payment it made, or the card that it saved."""

    status: str
    intent: str
    card: Card | None


@dataclass(frozen=True)
class Intent:
    """A payment at Stripe: its status, what came in less what went back, and why it was declined.

    `disputed` is what cardholders took back by their banks; `in_dispute` says that this is not decided yet.
    """

    id: str
    status: str
    net: Decimal
    refunded: Decimal
    disputed: Decimal
    in_dispute: bool
    problem: str


@dataclass(frozen=True)
class Event:
    """What Stripe tells by itself, its signature checked. `names` are the ids of what it is about."""

    id: str
    type: str
    live: bool
    names: tuple[str, ...]


def account_name(secret: str) -> str:
    """Whose account the key opens, as Stripe names it."""
    with _explained():
        found = _client(secret).v1.accounts.retrieve_current().to_dict()
        profile = found.get("business_profile") or {}
        return str(profile.get("name") or found.get("email") or found["id"])


def make_customer(secret: str, *, name: str, email: str, number: str, key: str) -> str:
    """A customer at Stripe, by whose id cards are saved."""
    params: Any = {"name": name, "metadata": {"number": number}} | ({"email": email} if email else {})
    with _explained():
        return _client(secret).v1.customers.create(params, {"idempotency_key": key}).id


def delete_customer(secret: str, customer: str) -> None:
    """Have Stripe delete a customer with its cards; one that is gone already is no matter."""
    with _explained():
        try:
            _client(secret).v1.customers.delete(customer)
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise


def detach(secret: str, payment_method: str) -> None:
    """Have Stripe forget a saved card; one that is gone already is no matter."""
    with _explained():
        try:
            _client(secret).v1.payment_methods.detach(payment_method)
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise


def setup_page(secret: str, *, customer: str, return_to: str, key: str) -> Page:
    """A page on which the customer saves a card."""
    params = {"mode": "setup", "customer": customer, "payment_method_types": ["card"], **_ways_back(return_to)}
    return _page(secret, params, key)


def payment_page(
    secret: str, *, customer: str, amount: Decimal, currency: str, text: str, return_to: str, about: str = "", key: str
) -> Page:
    """A page on which the customer pays this amount by card. `about` is a query that the ways back carry."""
    item = {
        "quantity": 1,
        "price_data": {"currency": currency.lower(), "unit_amount": cents(amount), "product_data": {"name": text}},
    }
    params = {
        "mode": "payment", "customer": customer, "payment_method_types": ["card"], "line_items": [item],
        "client_reference_id": text, "payment_intent_data": {"description": text}, **_ways_back(return_to, about),
    }  # fmt: skip
    return _page(secret, params, key)


def charge(
    secret: str, *, customer: str, payment_method: str, amount: Decimal, currency: str, text: str, key: str
) -> Intent:
    """Charge the saved card while the customer is not there. Raises Refused, with the payment's id, if declined."""
    params: Any = {
        "amount": cents(amount), "currency": currency.lower(), "customer": customer,
        "payment_method": payment_method, "payment_method_types": ["card"], "off_session": True, "confirm": True,
        "description": text, "expand": ["latest_charge"],
    }  # fmt: skip
    with _explained():
        return _intent(_client(secret).v1.payment_intents.create(params, {"idempotency_key": key}))


def session(secret: str, reference: str) -> Session:
    """What became of a page."""
    params: Any = {"expand": ["setup_intent.payment_method"]}
    with _explained():
        found = _client(secret).v1.checkout.sessions.retrieve(reference, params).to_dict()
    setup = found.get("setup_intent")
    method = setup.get("payment_method") if setup else None
    return Session(str(found["status"]), str(found.get("payment_intent") or ""), _card(method) if method else None)


def intent(secret: str, name: str) -> Intent:
    """What became of a payment; Stripe is asked about disputes only where it says that there was one."""
    params: Any = {"expand": ["latest_charge"]}
    with _explained():
        client = _client(secret)
        found = client.v1.payment_intents.retrieve(name, params)
        charged = found.to_dict().get("latest_charge") or {}
        if isinstance(charged, str) or not charged.get("disputed"):
            return _intent(found)
        disputes = client.v1.disputes.list({"payment_intent": name, "limit": 100})
        return _intent(found, [one.to_dict() for one in disputes.data])


def refund(secret: str, *, intent: str, amount: Decimal, key: str) -> None:
    """Give so much of a payment back to its card."""
    params: Any = {"payment_intent": intent, "amount": cents(amount)}
    with _explained():
        _client(secret).v1.refunds.create(params, {"idempotency_key": key})


def close_page(secret: str, reference: str) -> None:
    """Close a page that nobody is to pay on any more. Raises Refused where somebody just did."""
    with _explained():
        _client(secret).v1.checkout.sessions.expire(reference)


def event(payload: bytes, signature: str, secret: str) -> Event:
    """What Stripe sent, if it is Stripe that sent it, and lately. Raises Invalid."""
    try:
        found: Any = stripe.Webhook.construct_event(payload, signature, secret)
        about = found["data"]["object"].to_dict()
        names = (about.get("id"), about.get("payment_intent"))
        return Event(
            str(found["id"]), str(found["type"]), bool(found["livemode"]), tuple(n for n in names if isinstance(n, str))
        )
    except stripe.SignatureVerificationError as error:
        raise Invalid("The signature is not Stripe's.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("This is no event of Stripe.") from error


def cents(amount: Decimal) -> int:
    """An amount as Stripe wants it; only for currencies that have cents."""
    return int(amount * CENTS)


def _client(secret: str) -> stripe.StripeClient:
    address = os.environ.get(VARIABLE, "").rstrip("/")
    bases: Any = {"api": address} if address else {}
    # Idempotency keys make a second attempt harmless: our own rows make it, with the same key.
    return stripe.StripeClient(
        secret, base_addresses=bases, max_network_retries=0, http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS)
    )


def _page(secret: str, params: dict[str, Any], key: str) -> Page:
    with _explained():
        made = _client(secret).v1.checkout.sessions.create(cast(Any, params), {"idempotency_key": key})
        return Page(made.id, str(made.url or ""))


def _ways_back(return_to: str, about: str = "") -> dict[str, str]:
    return {"success_url": f"{return_to}/stripe/done{about}", "cancel_url": f"{return_to}/stripe/cancelled{about}"}


def _card(method: Any) -> Card:
    card = method["card"]
    return Card(
        str(method["id"]), str(card["brand"]), str(card["last4"]), f"{int(card['exp_month']):02}/{card['exp_year']}"
    )


def _intent(answer: stripe.PaymentIntent, disputes: Sequence[dict[str, Any]] = ()) -> Intent:
    found = answer.to_dict()
    charged = found.get("latest_charge") or {}
    refunded = Decimal(int(charged.get("amount_refunded") or 0)) / CENTS if not isinstance(charged, str) else Decimal(0)
    received = Decimal(int(found.get("amount_received") or 0)) / CENTS
    taken = [one for one in disputes if one["status"] in (*_UNDECIDED, "lost")]
    disputed = sum((Decimal(int(one["amount"])) / CENTS for one in taken), Decimal(0))
    failure = found.get("last_payment_error") or {}
    return Intent(
        str(found["id"]), str(found["status"]), max(received - refunded - disputed, Decimal(0)), refunded, disputed,
        any(one["status"] in _UNDECIDED for one in taken), str(failure.get("message") or ""),
    )  # fmt: skip


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what goes wrong into its sentence, without a key in it."""
    try:
        yield
    except stripe.CardError as error:
        raise _declined(error) from error
    except stripe.AuthenticationError as error:
        raise Conflict("Stripe doesn't know this secret key. Copy it anew from Stripe's dashboard.") from error
    except stripe.PermissionError as error:
        raise Conflict("The secret key may not do this. Give it the right in Stripe's dashboard.") from error
    except (stripe.InvalidRequestError, stripe.IdempotencyError) as error:
        raise Refused(f"Stripe refuses: {error.user_message or 'the request is not valid'}") from error
    except stripe.StripeError as error:
        raise Unreachable("Stripe does not answer at the moment. Nothing is lost: it is asked again.") from error


def _declined(error: stripe.CardError) -> Refused:
    body: Any = error.error
    payment = getattr(body, "payment_intent", None)
    name = str(payment["id"]) if payment else ""
    if error.code == "authentication_required":
        return Refused(
            "The bank wants the customer to confirm this payment. Make a pay link and send it to them.", intent=name
        )
    return Refused(f"The card was declined: {error.user_message or 'the bank gives no reason'}", intent=name)
