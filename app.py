"""The server: Streamlit's pages, and beside them the routes that a page can't be."""

import os
import secrets
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib import db, documents, oidc, sessions
from lib.auth import Permission
from lib.errors import NotFound
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE
from pages.shared import consoles, downloads, stripe_routes
from pages.shared.serving import (
    LARGEST_ID,
    SESSION_SECONDS,
    STAFF,
    PageHeaders,
    healthz,
    lifespan,
    local_path,
    pdf_response,
    set_cookie,
)

# Signing in at a provider: Streamlit's route that leads there, and how long the page that was asked for is remembered.
LOGIN, PAGE_COOKIE, PROVIDER_SECONDS = "/auth/login", "mandant_page", 10 * 60


def start_page(request: Request) -> Response:
    """The start page under its own name: Streamlit knows it as / only."""
    query = request.url.query
    return RedirectResponse(f"/?{query}" if query else "/")


def start_session(request: Request) -> Response:
    """Turn a sign-in ticket into the session's cookie and go on to the page that was asked for."""
    ticket, nonce = request.query_params.get("ticket", ""), request.cookies.get(NONCE_COOKIE, "")
    with db.transaction() as conn:
        token = sessions.redeem(conn, ticket, nonce=nonce)
        if token is not None:  # a link from elsewhere, whose ticket is none of ours, signs nobody out
            sessions.end(conn, request.cookies.get(SESSION_COOKIE))
    response = RedirectResponse(local_path(request.query_params.get("to", "/")), 303)
    if token is not None:
        set_cookie(response, request, SESSION_COOKIE, token, seconds=SESSION_SECONDS)
    return response


def end_session(request: Request) -> Response:
    """Drop the cookie of a session that has ended. A link from elsewhere can't end a living one."""
    with db.transaction() as conn:
        alive = sessions.user_of(conn, request.cookies.get(SESSION_COOKIE)) is not None
    response = RedirectResponse("/", 303)
    if not alive:
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
    return response


def document(request: Request) -> Response:
    """An invoice as PDF, for a signed-in person who may read."""
    with db.transaction() as conn:
        user = sessions.user_of(conn, request.cookies.get(SESSION_COOKIE))
        if user is None or user.unready:
            return PlainTextResponse("You are signed out. Sign in, then open the document again.", 401)
        if not user.may(Permission.READ):
            return PlainTextResponse("Your role may not read documents.", 403)
        try:
            name, content = documents.pdf(conn, min(request.path_params["invoice_id"], LARGEST_ID))
        except NotFound as missing:
            return PlainTextResponse(str(missing), 404)
    return pdf_response(request, name, content)


class ReturnToPage:
    """A deep link survives signing in at the provider: Streamlit's own way back ends at the start page.

    Leaving for the provider, the page that was asked for (the request's own referrer) goes into a cookie; coming back,
    the answer leads there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; change the answers of Streamlit's two sign-in routes."""
        if scope["type"] != "http" or scope["path"] not in (LOGIN, oidc.CALLBACK):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        leaving, cookie = scope["path"] == LOGIN, Response()
        if leaving:
            came_from = urlsplit(request.headers.get("referer", ""))
            page = f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path
            set_cookie(cookie, request, PAGE_COOKIE, quote(local_path(page), safe=""), seconds=PROVIDER_SECONDS)
        else:
            cookie.delete_cookie(PAGE_COOKIE, httponly=True, samesite="lax")

        async def with_page(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", cookie.headers["set-cookie"])
                if not leaving and headers.get("location") == "/":
                    headers["location"] = local_path(unquote(request.cookies.get(PAGE_COOKIE, "/")))
            await send(message)

        await self.app(scope, receive, with_page)


def _streamlit_secrets() -> dict[str, Any]:
    """What `st.login` wants to know of the provider; nothing where people sign in by password."""
    provider = oidc.provider()
    if provider is None:
        return {}
    # The same on all replicas where it is set. Else another one at each start: who is signing in then begins anew.
    secret = os.environ.get("STREAMLIT_SERVER_COOKIE_SECRET") or secrets.token_hex(32)
    return {
        "auth": {
            "redirect_uri": provider.callback_url,
            "cookie_secret": secret,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "server_metadata_url": provider.metadata_url,
        }
    }


ROUTES = [
    Route("/overview", start_page),
    Route("/healthz", healthz),
    Route("/session/start", start_session),
    Route("/session/end", end_session),
    Route("/documents/{invoice_id:int}.pdf", document),
    Route("/exports/cost-overview.{ending}", downloads.cost_overview),
    Route("/exports/customers.{ending}", downloads.customers),
    Route("/exports/overview.json", downloads.overview),
    Route("/console/{customer_id:int}", consoles.console),
    Route(stripe_routes.WEBHOOK, stripe_routes.webhook, methods=["POST"]),
    Route("/stripe/done", stripe_routes.done),
    Route("/stripe/cancelled", stripe_routes.cancelled),
]
MIDDLEWARE = [Middleware(PageHeaders, cookies=STAFF), Middleware(ReturnToPage)]

# `streamlit run` recognises the site by this very form of assignment.
app = st.App("pages/main.py", secrets=_streamlit_secrets(), lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
