"""A small Stripe on loopback, for the official client: it remembers, and a browser can pay on its pages.

Customers, Checkout in its two modes, payments, refunds, disputes, cards, idempotency keys, and events signed as Stripe
does. A card decides by its number what becomes of a payment: the numbers are those that Stripe documents for tests.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe

from tests.loopback import Answers

SECRET, PUBLISHABLE, SIGNING = "sk_test_fake000000001", "pk_test_fake000000001", "whsec_fake000000001"
LIVE_SECRET, LIVE_PUBLISHABLE = "sk_live_fake000000001", "pk_live_fake000000001"
GOOD, DECLINED, NEEDS_ACTION = "4242424242424242", "4000000000000002", "4000002500003155"
Object = dict[str, Any]


class Refusal(Exception):
    """An error as Stripe answers it."""

    def __init__(self, status: int, **body: Any) -> None:
        super().__init__(body)
        self.status, self.body = status, body


@dataclass
class Stripe:
    """All that it knows, and what it was asked: method, path and idempotency key of each call."""

    url: str = ""
    objects: dict[str, Object] = field(default_factory=dict)
    answered: dict[str, tuple[str, int, Object]] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    down: bool = False
    # Answers are lost after the work was done, so many times.
    loses: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ------------------------------------------------------------------------------ what a customer does

    def type_card(self, session_id: str, number: str) -> str:
        """What the page does with a card number; returns where the browser goes, or why not."""
        session = self.objects[session_id]
        if session["status"] != "open":
            return "This page was closed."
        method = self._method(number)
        if session["mode"] == "setup":
            setup = self._add("seti", "setup_intent", payment_method=method["id"], status="succeeded")
            session |= {"status": "complete", "setup_intent": setup["id"]}
        else:
            intent = self._add(
                "pi", "payment_intent", amount=session["amount_total"], customer=session["customer"],
                payment_method=method["id"], amount_received=0, latest_charge=None, last_payment_error=None,
            )  # fmt: skip
            try:
                self._pay(intent, number, present=True)
            except Refusal as refusal:
                return str(refusal.body["message"])
            session |= {"status": "complete", "payment_intent": intent["id"]}
        method["customer"] = session["customer"]
        self.tell("checkout.session.completed", session)
        return str(session["success_url"])

    def let_expire(self, session_id: str) -> None:
        """A day has passed."""
        self.objects[session_id]["status"] = "expired"
        self.tell("checkout.session.expired", self.objects[session_id])

    def refund(self, intent_id: str, cents: int | None = None) -> None:
        """Somebody refunds it in the dashboard, all or a part."""
        charge = self.objects[self.objects[intent_id]["latest_charge"]]
        charge["amount_refunded"] += charge["amount"] - charge["amount_refunded"] if cents is None else cents
        self.tell("charge.refunded", charge)

    def dispute(self, intent_id: str, cents: int | None = None, *, status: str = "needs_response") -> Object:
        """A cardholder has the bank take it back, all or a part; a `warning_needs_response` only asks."""
        charge = self.objects[self.objects[intent_id]["latest_charge"]]
        charge["disputed"] = True
        made = self._add(
            "dp", "dispute", amount=charge["amount"] if cents is None else cents, status=status,
            charge=charge["id"], payment_intent=intent_id,
        )  # fmt: skip
        self.tell("charge.dispute.created", made)
        return made

    def decide(self, dispute: Object, status: str) -> None:
        """The bank decides: won or lost."""
        dispute["status"] = status
        self.tell("charge.dispute.closed", dispute)

    def tell(self, kind: str, about: Object, **more: Any) -> Object:
        """An event of this kind; it is kept, and delivered by whoever plays the network."""
        made = self._add("evt", "event", type=kind, data={"object": dict(about)}, livemode=False, **more)
        self.events.append(made)
        return made

    # ------------------------------------------------------------------------------ what the client asks

    def answer(self, method: str, path: str, given: Object) -> Object:
        """The answer to a call. Raises Refusal."""
        for pattern, name in _ROUTES:
            asked, form = pattern.split(" ")
            found = re.fullmatch(form, path)
            if asked == method and found:
                answered: Object = getattr(self, name)(*found.groups(), given)
                return answered
        raise Refusal(404, type="invalid_request_error", message=f"Unrecognized request URL ({method}: {path}).")

    def _account(self, _: Object) -> Object:
        return {"id": "acct_1", "object": "account", "business_profile": {"name": "Muster IT"}, "email": "a@b.example"}

    def _make_customer(self, given: Object) -> Object:
        return self._add("cus", "customer", **given)

    def _delete_customer(self, name: str, _: Object) -> Object:
        self._get(name)
        del self.objects[name]
        return {"id": name, "object": "customer", "deleted": True}

    def _make_session(self, given: Object) -> Object:
        self._get(given["customer"])
        total = None
        if given["mode"] == "payment":
            price = given["line_items"]["0"]["price_data"]
            total = int(price["unit_amount"])
        made = self._add(
            "cs_test", "checkout.session", status="open", mode=given["mode"], customer=given["customer"],
            amount_total=total, success_url=given["success_url"], payment_intent=None, setup_intent=None,
        )  # fmt: skip
        made["url"] = f"{self.url}/c/{made['id']}"
        return made

    def _read_session(self, name: str, given: Object) -> Object:
        session = dict(self._get(name))
        if session["setup_intent"] and "expand" in given:
            setup = dict(self._get(session["setup_intent"]))
            setup["payment_method"] = self._get(setup["payment_method"])
            session["setup_intent"] = setup
        return session

    def _expire_session(self, name: str, _: Object) -> Object:
        session = self._get(name)
        if session["status"] != "open":
            raise Refusal(400, type="invalid_request_error", message="Only open sessions can be expired.")
        self.let_expire(name)
        return session

    def _make_intent(self, given: Object) -> Object:
        method = self._get(given["payment_method"])
        if method.get("customer") != given["customer"]:
            raise Refusal(400, type="invalid_request_error", message="The card belongs to somebody else.")
        intent = self._add(
            "pi", "payment_intent", amount=int(given["amount"]), customer=given["customer"], amount_received=0,
            payment_method=method["id"], latest_charge=None, last_payment_error=None, status="requires_confirmation",
        )  # fmt: skip
        self._pay(intent, method["number"], present=False)
        return self._read_intent(intent["id"], given)

    def _read_intent(self, name: str, given: Object) -> Object:
        intent = dict(self._get(name))
        if intent["latest_charge"] and "expand" in given:
            intent["latest_charge"] = self._get(intent["latest_charge"])
        return intent

    def _make_refund(self, given: Object) -> Object:
        charge = self._get(self._get(given["payment_intent"])["latest_charge"])
        if int(given["amount"]) > charge["amount"] - charge["amount_refunded"]:
            raise Refusal(400, type="invalid_request_error", message="The amount is more than what is left.")
        self.refund(given["payment_intent"], int(given["amount"]))
        intent = given["payment_intent"]
        return self._add("re", "refund", amount=int(given["amount"]), payment_intent=intent, status="succeeded")

    def _list_disputes(self, given: Object) -> Object:
        named = given["payment_intent"]
        found = [
            one for one in self.objects.values() if (one["object"], one.get("payment_intent")) == ("dispute", named)
        ]
        return {"object": "list", "data": found, "has_more": False, "url": "/v1/disputes"}

    def _detach(self, name: str, _: Object) -> Object:
        method = self._get(name)
        method["customer"] = None
        return method

    # ------------------------------------------------------------------------------ how it does it

    def _pay(self, intent: Object, number: str, *, present: bool) -> None:
        problem = None
        if number == DECLINED:
            problem = {"code": "card_declined", "decline_code": "generic_decline", "message": "Your card was declined."}
        elif number == NEEDS_ACTION and not present:
            problem = {"code": "authentication_required", "message": "Authentication is required."}
        if problem is not None:
            intent |= {"status": "requires_payment_method", "last_payment_error": problem}
            self.tell("payment_intent.payment_failed", intent)
            raise Refusal(402, type="card_error", payment_intent=dict(intent), **problem)
        charge = self._add("ch", "charge", amount=intent["amount"], amount_refunded=0, payment_intent=intent["id"])
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge["id"]}
        self.tell("payment_intent.succeeded", intent)

    def _method(self, number: str) -> Object:
        card = {"brand": "visa", "last4": number[-4:], "exp_month": 4, "exp_year": 2031}
        return self._add("pm", "payment_method", card=card, customer=None, number=number)

    def _add(self, prefix: str, kind: str, **values: Any) -> Object:
        with self.lock:
            name = f"{prefix}_{len(self.objects) + 1:08d}"
            self.objects[name] = {"id": name, "object": kind, "livemode": False, "created": int(time.time()), **values}
            return self.objects[name]

    def _get(self, name: str) -> Object:
        if name not in self.objects:
            raise Refusal(
                404, type="invalid_request_error", code="resource_missing", message=f"No such object: '{name}'"
            )
        return self.objects[name]


_ROUTES = [
    ("GET /v1/account", "_account"),
    ("POST /v1/customers", "_make_customer"),
    ("DELETE /v1/customers/([^/]+)", "_delete_customer"),
    ("POST /v1/checkout/sessions", "_make_session"),
    ("GET /v1/checkout/sessions/([^/]+)", "_read_session"),
    ("POST /v1/checkout/sessions/([^/]+)/expire", "_expire_session"),
    ("POST /v1/payment_intents", "_make_intent"),
    ("GET /v1/payment_intents/([^/]+)", "_read_intent"),
    ("GET /v1/disputes", "_list_disputes"),
    ("POST /v1/refunds", "_make_refund"),
    ("POST /v1/payment_methods/([^/]+)/detach", "_detach"),
]


def signed(event: Object, *, secret: str = SIGNING, at: int | None = None) -> tuple[bytes, str]:
    """An event as Stripe sends it: its body, and the header with the signature."""
    payload = json.dumps(event)
    return payload.encode(), stripe.WebhookSignature.generate_signature_header(payload, secret, at)


@contextmanager
def started() -> Iterator[Stripe]:
    """Stripe, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.stripe = Stripe(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.stripe  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def nested(pairs: list[tuple[str, str]]) -> Object:
    """`line_items[0][quantity]=1` as the object that it means."""
    made: Object = {}
    for name, value in pairs:
        *path, last = re.findall(r"[^\[\]]+", name)
        place = made
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return made


class _Answers(Answers):
    @property
    def stripe(self) -> Stripe:
        return self.server.stripe  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:  # noqa: N802
        address = urlsplit(self.path)
        if address.path.startswith("/c/"):
            self._page(address.path.removeprefix("/c/"))
        else:
            self._call("GET", address.path, parse_qsl(address.query))

    def do_POST(self) -> None:  # noqa: N802
        body = parse_qsl(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())
        if self.path.startswith("/c/"):
            said = self.stripe.type_card(self.path.removeprefix("/c/"), dict(body)["number"].replace(" ", ""))
            if said.startswith("http"):
                self._send(303, b"", "text/plain", Location=said)
            else:
                self._page(self.path.removeprefix("/c/"), said)
        else:
            self._call("POST", self.path, body)

    def do_DELETE(self) -> None:  # noqa: N802
        self._call("DELETE", self.path, [])

    def _call(self, method: str, path: str, pairs: list[tuple[str, str]]) -> None:
        stripe_, key = self.stripe, self.headers.get("Idempotency-Key", "")
        if stripe_.down:
            self._json({"error": {"type": "api_error", "message": "Try again later."}}, 503)
            return
        stripe_.calls.append((method, path, key))
        if self.headers.get("Authorization") != f"Bearer {SECRET}":
            self._json({"error": {"type": "invalid_request_error", "message": "Invalid API Key provided."}}, 401)
            return
        with stripe_.lock:
            status, answer = self._once(method, path, pairs, key)
        if stripe_.loses:
            stripe_.loses -= 1
            self.close_connection = True
            return
        self._json(answer, status)

    def _once(self, method: str, path: str, pairs: list[tuple[str, str]], key: str) -> tuple[int, Object]:
        """The answer; the same one to the same key."""
        asked = json.dumps([method, path, sorted(pairs)])
        if key and key in self.stripe.answered:
            before, status, answer = self.stripe.answered[key]
            if before != asked:
                return 400, {"error": {"type": "idempotency_error", "message": "Keys are for the same parameters."}}
            return status, answer
        try:
            status, answer = 200, dict(self.stripe.answer(method, path, nested(pairs)))
        except Refusal as refusal:
            status, answer = refusal.status, {"error": refusal.body}
        if key:
            self.stripe.answered[key] = (asked, status, answer)
        return status, answer

    def _page(self, session_id: str, said: str = "") -> None:
        session = self.stripe.objects[session_id]
        what = "Save your card" if session["mode"] == "setup" else f"Pay {session['amount_total'] / 100:.2f}"
        body = (
            f"<html lang=en><title>Checkout</title><h1>{what}</h1><p role=alert>{escape(said)}</p>"
            "<form method=post><label>Card number <input name=number></label><button>Go on</button></form>"
        )
        self._send(200, body.encode(), "text/html; charset=utf-8")
