"""The server: Streamlit's pages, and beside them the routes that a page can't be."""

import asyncio
import gc
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib import db, documents, local, oidc, sessions
from lib.auth import Permission
from lib.errors import NotFound
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE
from pages.shared import consoles, downloads

log = logging.getLogger("mandant")
# Loaded before the first visitor, and before the garbage collector is told to leave them alone.
# (Not streamlit_authenticator: its component registers itself only when a page imports it.)
PRELOADED = ("pandas", "plotly.graph_objects", "pyarrow", "babel.numbers")
SESSION_SECONDS = 12 * 60 * 60
# Signing in at a provider: Streamlit's route that leads there, and how long the page that was asked for is remembered.
LOGIN, PAGE_COOKIE, PROVIDER_SECONDS = "/auth/login", "mandant_page", 10 * 60
# What the database can look up: an address may name any number.
LARGEST_ID = 2**63 - 1
OWN_PATHS = (
    "/_stcore/", "/static/", "/media/", "/component/", "/healthz", "/session/", "/documents/", "/exports/", "/console/",
)  # fmt: skip
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'",
}


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Refuse to start on a database that isn't migrated; load what pages need, then freeze it."""
    if "FORWARDED_ALLOW_IPS" not in os.environ:
        log.warning("FORWARDED_ALLOW_IPS is not set: anybody on this machine can claim another address.")
    await run_in_threadpool(_require_schema)
    for name in PRELOADED:
        import_module(name)
    # Streamlit collects all garbage after each run: 100 ms with everything imported, 6 ms when that is frozen.
    gc.collect()
    gc.freeze()
    parent = os.environ.get(local.PARENT)
    watching = asyncio.create_task(_end_with(int(parent))) if parent else None
    yield
    if watching:
        watching.cancel()
    db.engine().dispose()


async def _end_with(parent: int) -> None:
    """End in order once the process that started us is gone: killed, it could not tell us to."""
    while os.getppid() == parent:
        await asyncio.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def healthz(_: Request) -> Response:
    """200 with the schema's version while the database answers and is migrated, 503 otherwise."""
    try:
        with db.engine().connect() as conn:
            schema = db.schema_version(conn)
    except Exception:
        log.exception("healthz: the database does not answer")
        return JSONResponse({"status": "error", "database": "unreachable", "schema": None}, 503)
    if schema != db.newest_version():
        return JSONResponse({"status": "error", "database": "ok", "schema": schema}, 503)
    return JSONResponse({"status": "ok", "database": "ok", "schema": schema})


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
    response = RedirectResponse(_local(request.query_params.get("to", "/")), 303)
    if token is not None:
        _set_cookie(response, request, SESSION_COOKIE, token, seconds=SESSION_SECONDS)
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
    disposition = "attachment" if request.query_params.get("download") else "inline"
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }
    return Response(content, media_type="application/pdf", headers=headers)


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
            _set_cookie(cookie, request, PAGE_COOKIE, quote(_local(page), safe=""), seconds=PROVIDER_SECONDS)
        else:
            cookie.delete_cookie(PAGE_COOKIE, httponly=True, samesite="lax")

        async def with_page(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", cookie.headers["set-cookie"])
                if not leaving and headers.get("location") == "/":
                    headers["location"] = _local(unquote(request.cookies.get(PAGE_COOKIE, "/")))
            await send(message)

        await self.app(scope, receive, with_page)


class PageHeaders:
    """Security headers on every answer, and on pages the nonce cookie that a sign-in ticket is bound to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; change the head of HTTP answers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        needs_nonce = NONCE_COOKIE not in request.cookies and not request.url.path.startswith(OWN_PATHS)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if needs_nonce and headers.get("content-type", "").startswith("text/html"):
                    cookie = Response()
                    _set_cookie(cookie, request, NONCE_COOKIE, secrets.token_urlsafe(32), seconds=None)
                    headers.append("set-cookie", cookie.headers["set-cookie"])
                    headers["cache-control"] = "no-store"
                if request.url.scheme == "https":  # Streamlit's own cookies, too
                    message["headers"] = [
                        (
                            name,
                            value + b"; Secure"
                            if name == b"set-cookie" and b"; secure" not in value.lower()
                            else value,
                        )
                        for name, value in message["headers"]
                    ]
            await send(message)

        await self.app(scope, receive, with_headers)


def _set_cookie(response: Response, request: Request, name: str, value: str, *, seconds: int | None) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def _secured(name: bytes, value: bytes) -> bytes:
    """The header, with Streamlit's own cookies for TLS only as ours are."""
    open_cookie = name.lower() == b"set-cookie" and b"; secure" not in value.lower()
    return value + b"; Secure" if open_cookie else value


def _local(target: str) -> str:
    """The path to go on to, or the start page for anything that could lead to another site."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return quote(target, safe="/?&=%+,:;@!*'()~-._") if safe and "\\" not in target else "/"


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


def _require_schema() -> None:
    with db.engine().connect() as conn:
        found, wanted = db.schema_version(conn), db.newest_version()
    if found != wanted:
        raise RuntimeError(f"The database is at version {found} instead of {wanted}: run `python -m lib migrate`.")


ROUTES = [
    Route("/customers", start_page),
    Route("/healthz", healthz),
    Route("/session/start", start_session),
    Route("/session/end", end_session),
    Route("/documents/{invoice_id:int}.pdf", document),
    Route("/exports/cost-overview.{ending}", downloads.cost_overview),
    Route("/console/{customer_id:int}", consoles.console),
]
MIDDLEWARE = [Middleware(PageHeaders), Middleware(ReturnToPage)]

# `streamlit run` recognises the site by this very form of assignment.
app = st.App("pages/main.py", secrets=_streamlit_secrets(), lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
