"""The portal's server: the site of the customers' users, on a port, a host name and cookies of its own."""

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from lib import cards, db, portal, portal_sessions
from lib.errors import NotFound
from pages.shared.serving import (
    LARGEST_ID,
    PORTAL,
    SESSION_SECONDS,
    PageHeaders,
    healthz,
    lifespan,
    local_path,
    pdf_response,
    set_cookie,
)


def start_page(request: Request) -> Response:
    """The start page under its own name: Streamlit knows it as / only."""
    query = request.url.query
    return RedirectResponse(f"/?{query}" if query else "/")


def start_session(request: Request) -> Response:
    """Turn a sign-in ticket into the session's cookie and go on to the page that was asked for."""
    ticket = request.query_params.get("ticket", "")
    with db.transaction() as conn:
        nonce = request.cookies.get(PORTAL.of_nonce(request.url.scheme), "")
        token = portal_sessions.redeem(conn, ticket, nonce=nonce)
        if token is not None:  # a link from elsewhere, whose ticket is none of ours, signs nobody out
            portal_sessions.end(conn, _token(request))
    response = RedirectResponse(local_path(request.query_params.get("to", "/")), 303)
    if token is not None:
        set_cookie(response, request, PORTAL.of_session(request.url.scheme), token, seconds=SESSION_SECONDS)
    return response


def document(request: Request) -> Response:
    """An issued document of the signed-in person's own company, as PDF; any other one doesn't exist."""
    with db.transaction() as conn:
        user = portal_sessions.user_of(conn, _token(request))
        if user is None:
            return PlainTextResponse("You are signed out. Sign in, then open the document again.", 401)
        try:
            name, content = portal.pdf(conn, min(request.path_params["invoice_id"], LARGEST_ID), user=user)
        except NotFound as missing:
            return PlainTextResponse(str(missing), 404)
    return pdf_response(request, name, content)


def paid(request: Request) -> Response:
    """Where Stripe sends back who has paid: the worker asks at once what became of it, and the page says it then."""
    with db.transaction() as conn:
        user = portal_sessions.user_of(conn, _token(request))
        if user is not None:
            cards.look_now(conn, user=user)
    return _to_invoices(request, "paid")


def not_paid(request: Request) -> Response:
    """Where Stripe sends back who went back without paying."""
    return _to_invoices(request, "unpaid")


def _to_invoices(request: Request, name: str) -> Response:
    about = request.query_params.get("invoice", "")
    return RedirectResponse(f"/invoices?{name}={about}" if about.isdecimal() else "/invoices", 303)


def _token(request: Request) -> str | None:
    return request.cookies.get(PORTAL.of_session(request.url.scheme))


ROUTES = [
    Route("/company", start_page),
    Route("/healthz", healthz),
    Route("/session/start", start_session),
    Route("/documents/{invoice_id:int}.pdf", document),
    Route("/stripe/done", paid),
    Route("/stripe/cancelled", not_paid),
]
MIDDLEWARE = [Middleware(PageHeaders, cookies=PORTAL)]

# `streamlit run` recognises the site by this very form of assignment.
app = st.App("pages/portal/main.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
