"""The routes of Stripe: the webhook that it calls, and where its pages send a customer back to (row G16)."""

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from lib import db, stripe_events
from lib.errors import Conflict, Invalid

WEBHOOK = "/stripe/webhook"
_PAGE = """<!doctype html><html lang="de"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 32rem; margin: 18vh auto; padding: 0 1.5rem }}
:root {{ color-scheme: light dark }} hr {{ margin: 2rem 0; opacity: .3 }}</style>
<title>{german} · {english}</title>
<main><h1>{german}</h1><p>{german_text}</p><hr>
<h2 lang="en">{english}</h2><p lang="en">{english_text}</p></main></html>"""
_DONE = _PAGE.format(
    german="Vielen Dank",
    german_text="Ihre Angaben sind angekommen. Sie können dieses Fenster schließen.",
    english="Thank you",
    english_text="Your details have arrived. You can close this window.",
)
_CANCELLED = _PAGE.format(
    german="Abgebrochen",
    german_text="Es wurde nichts bezahlt und nichts gespeichert. Der Link gilt noch, solange er offen ist.",
    english="Cancelled",
    english_text="Nothing was paid and nothing saved. The link still works while it is open.",
)
_log = logging.getLogger("mandant.cards")


async def webhook(request: Request) -> Response:
    """Take an event of Stripe. 200: it need not be sent again; 400: it isn't Stripe's; 503: send it again later."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > stripe_events.MOST_BYTES:
            return PlainTextResponse("Too large.", 413)
    try:
        outcome = await run_in_threadpool(_take, body, request.headers.get("stripe-signature", ""))
    except Invalid as refusal:
        _log.warning("An event for Stripe's webhook was refused: %s", refusal)
        return PlainTextResponse(str(refusal), 400)
    except Conflict as refusal:
        _log.warning("An event of Stripe can't be checked: %s", refusal)
        return PlainTextResponse("Not set up.", 503)
    return PlainTextResponse(outcome)


def done(_: Request) -> Response:
    """Where Stripe sends a customer who has paid or saved a card."""
    return HTMLResponse(_DONE)


def cancelled(_: Request) -> Response:
    """Where Stripe sends a customer who went back."""
    return HTMLResponse(_CANCELLED)


def _take(body: bytes, signature: str) -> str:
    with db.transaction() as conn:
        return stripe_events.take(conn, body, signature)
