"""The routes beside the pages: what they answer when something is missing or made up."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

import app
from lib import db, sessions
from lib.auth import Role
from lib.sessions import NONCE_COOKIE, SESSION_COOKIE
from tests import databases, people


def request(*, query: str = "", token: str = "", path: dict[str, Any] | None = None) -> Request:
    """A GET as the server hands it to a route."""
    cookies = f"{SESSION_COOKIE}={token}; {NONCE_COOKIE}=nonce"
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "server": ("127.0.0.1", 8501),
            "path": "/",
            "query_string": query.encode(),
            "headers": [(b"cookie", cookies.encode())],
            "path_params": path or {},
        }
    )


def signed_in() -> str:
    with db.transaction() as conn:
        return people.sign_in(conn, people.hire(conn)[Role.FINANCE])


def alive(token: str) -> bool:
    with db.transaction() as conn:
        return sessions.user_of(conn, token) is not None


def told(answer: Response) -> tuple[int, Any]:
    return answer.status_code, json.loads(bytes(answer.body))


def test_healthz_with_the_database_it_needs(database: str) -> None:
    newest = db.newest_version()
    assert told(app.healthz(request())) == (200, {"status": "ok", "database": "ok", "schema": newest})


def test_healthz_without_a_database() -> None:
    with databases.in_use("postgresql://nobody@127.0.0.1:1/nothing"):
        assert told(app.healthz(request())) == (503, {"status": "error", "database": "unreachable", "schema": None})


def test_healthz_on_a_database_of_another_version(conn: Connection, server: str) -> None:
    with databases.copy(server, "template1") as url, databases.in_use(url):
        assert told(app.healthz(request())) == (503, {"status": "error", "database": "ok", "schema": None})


def test_a_made_up_ticket_signs_nobody_in_and_nobody_out(database: str) -> None:
    token = signed_in()
    answer = app.start_session(request(query="ticket=made-up&to=/invoices", token=token))
    assert (answer.status_code, answer.headers["location"]) == (303, "/invoices")
    assert "set-cookie" not in answer.headers and alive(token)


def test_signing_in_anew_ends_the_session_that_the_browser_had(database: str) -> None:
    before = signed_in()
    with db.transaction() as conn:
        claim = sessions.claim(conn, username="adam", address="test")
        ticket = sessions.ticket(conn, claim, password=people.PASSWORD, nonce="nonce")
    answer = app.start_session(request(query=f"ticket={ticket}", token=before))
    assert SESSION_COOKIE in answer.headers["set-cookie"] and not alive(before)


@pytest.mark.parametrize("number", [0, 4_711, 2**63 - 1, 10**40])
def test_a_document_that_is_not_there(database: str, number: int) -> None:
    answer = app.document(request(token=signed_in(), path={"invoice_id": number}))
    assert answer.status_code == 404
    assert app.document(request(path={"invoice_id": number})).status_code == 401
