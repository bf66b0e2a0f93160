"""What the small servers on loopback have in common that stand for other people's."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any


class Answers(BaseHTTPRequestHandler):
    """Answers with bytes or JSON, and logs nothing."""

    def _json(self, content: dict[str, Any], status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
