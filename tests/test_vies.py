"""Asking VIES: a small server of our own answers as the Commission's does, or fails as it does (row G10)."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lib import vies

Serve = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """`serve(body, status)`: what the service will answer; returns the list of what it is asked."""
    asked: list[dict[str, Any]] = []
    answer: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MANDANT_VIES_URL", f"http://127.0.0.1:{server.server_address[1]}/check")

    def prepare(body: Any, status: int = 200) -> list[dict[str, Any]]:
        answer.update(body=body if isinstance(body, bytes) else json.dumps(body).encode(), status=status)
        return asked

    yield prepare
    server.shutdown()
    server.server_close()


def test_a_registered_id_comes_with_a_reference(serve: Serve) -> None:
    asked = serve({"valid": True, "requestIdentifier": "WAPIAAAAX1", "name": "EXEMPLE\n SARL"})
    answer = vies.ask("FR40303265045", own_vat_id="DE136695976")
    assert asked == [
        {
            "countryCode": "FR",
            "vatNumber": "40303265045",
            "requesterMemberStateCode": "DE",
            "requesterNumber": "136695976",
        }
    ]
    assert answer == vies.Answer(True, "WAPIAAAAX1", "registered to EXEMPLE SARL")


def test_an_id_that_is_not_registered(serve: Serve) -> None:
    asked = serve({"valid": False, "name": "---"})
    assert vies.ask("EL094259216", own_vat_id="") == vies.Answer(False, "", "not registered")
    assert asked == [{"countryCode": "EL", "vatNumber": "094259216"}]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"actionSucceed": False, "errorWrappers": [{"error": "MS_UNAVAILABLE"}]}, 200, "register does not answer"),
        ({"errorWrappers": [{"error": "INVALID_REQUESTER_INFO"}]}, 400, "our own VAT ID"),
        ({"errorWrappers": [{"error": "SOMETHING_NEW"}]}, 500, "it answered SOMETHING_NEW"),
        ({"valid": "yes"}, 200, "could not be read"),
        ([], 200, "could not be read"),
        (b"<html>", 200, "could not be read"),
        (b"<html>", 503, "the error 503"),
    ],
)
def test_an_answer_that_says_nothing_is_nothing(serve: Serve, body: Any, status: int, words: str) -> None:
    serve(body, status)
    answer = vies.ask("FR40303265045", own_vat_id="")
    assert answer.valid is None and answer.reference == ""
    assert words in answer.words and "nothing was assumed" in answer.words


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_VIES_URL", "http://127.0.0.1:9/")
    assert "could not be reached" in vies.ask("FR40303265045", own_vat_id="").words
