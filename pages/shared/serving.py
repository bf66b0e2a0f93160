"""What both servers need, the staff's and the portal's: start-up, /healthz, headers, cookies."""

import asyncio
import gc
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import quote

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib import db, local
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE

log = logging.getLogger("mandant")
# Loaded before the first visitor, and before the garbage collector is told to leave them alone.
# (Not streamlit_authenticator: its component registers itself only when a page imports it.)
PRELOADED = ("pandas", "plotly.graph_objects", "pyarrow", "babel.numbers")
SESSION_SECONDS = 12 * 60 * 60
# What the database can look up: an address may name any number.
LARGEST_ID = 2**63 - 1
OWN_PATHS = (
    "/_stcore/", "/static/", "/media/", "/component/", "/healthz", "/session/", "/documents/", "/exports/", "/console/",
    "/stripe/",
)  # fmt: skip
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'",
}


@dataclass(frozen=True)
class Cookies:
    """The names of a site's two cookies; `hosted`: behind TLS they belong to its host name alone, by their prefix."""

    session: str
    nonce: str
    hosted: bool = False

    def of_session(self, scheme: str) -> str:
        """The session's cookie, for a page of this scheme."""
        return self._named(self.session, scheme)

    def of_nonce(self, scheme: str) -> str:
        """The cookie that a sign-in ticket is bound to, for a page of this scheme."""
        return self._named(self.nonce, scheme)

    def _named(self, name: str, scheme: str) -> str:
        return f"__Host-{name}" if self.hosted and scheme == "https" else name


STAFF = Cookies(SESSION_COOKIE, NONCE_COOKIE)
PORTAL = Cookies("mandant_portal", "mandant_portal_nonce", hosted=True)


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


class PageHeaders:
    """Security headers on every answer, and on pages the nonce cookie that a sign-in ticket is bound to."""

    def __init__(self, app: ASGIApp, *, cookies: Cookies) -> None:
        self.app, self.cookies = app, cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; change the head of HTTP answers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        nonce = self.cookies.of_nonce(request.url.scheme)
        needs_nonce = nonce not in request.cookies and not request.url.path.startswith(OWN_PATHS)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if needs_nonce and headers.get("content-type", "").startswith("text/html"):
                    cookie = Response()
                    set_cookie(cookie, request, nonce, secrets.token_urlsafe(32), seconds=None)
                    headers.append("set-cookie", cookie.headers["set-cookie"])
                    headers["cache-control"] = "no-store"
                if request.url.scheme == "https":  # Streamlit's own cookies, too
                    message["headers"] = [(name, _secured(name, value)) for name, value in message["headers"]]
            await send(message)

        await self.app(scope, receive, with_headers)


def set_cookie(response: Response, request: Request, name: str, value: str, *, seconds: int | None) -> None:
    """A cookie that no script reads and no other site sends along; for TLS alone where the page came by it."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def pdf_response(request: Request, name: str, content: bytes) -> Response:
    """A document, shown in the browser, or saved where the address asks for it."""
    disposition = "attachment" if request.query_params.get("download") else "inline"
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }
    return Response(content, media_type="application/pdf", headers=headers)


def local_path(target: str) -> str:
    """The path to go on to, or the start page for anything that could lead to another site."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return quote(target, safe="/?&=%+,:;@!*'()~-._") if safe and "\\" not in target else "/"


def _secured(name: bytes, value: bytes) -> bytes:
    """The header, with Streamlit's own cookies for TLS only as ours are."""
    open_cookie = name.lower() == b"set-cookie" and b"; secure" not in value.lower()
    return value + b"; Secure" if open_cookie else value


def _require_schema() -> None:
    with db.engine().connect() as conn:
        found, wanted = db.schema_version(conn), db.newest_version()
    if found != wanted:
        raise RuntimeError(f"The database is at version {found} instead of {wanted}: run `python -m lib migrate`.")
