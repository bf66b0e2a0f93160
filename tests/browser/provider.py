"""A small OpenID Connect provider on loopback: it asks who one is, believes it, and signs it (RS256)."""

import base64
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.loopback import Answers

CLIENT_ID, CLIENT_SECRET = "mandant", "a secret between the two"


@dataclass
class Provider:
    """Its address, the people who may say that they are it (name → claims), and what it was asked."""

    url: str
    people: dict[str, dict[str, Any]]
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    signed_out: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The app's environment for this provider."""
        return {
            "MANDANT_OIDC_ISSUER": self.url,
            "MANDANT_OIDC_CLIENT_ID": CLIENT_ID,
            "MANDANT_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "MANDANT_OIDC_NAME": "Example ID",
        }

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/sign-out",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def ask(self, query: dict[str, str]) -> str:
        """The page that asks who one is; each answer is a link back to the app with a code."""
        links = []
        for name in self.people:
            code = secrets.token_urlsafe(16)
            self.codes[code] = query | {"person": name}
            back = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            links.append(f'<p><a href="{escape(back)}">{escape(name)}</a>')
        return f"<html lang=en><title>Example ID</title><h1>Who are you?</h1>{''.join(links)}"

    def token(self, given: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """What the code stands for, once, for the client that proves to be the one that asked."""
        client = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        asked = self.codes.pop(given.get("code", ""), None)
        if [unquote(part) for part in client.split(":")] != [CLIENT_ID, CLIENT_SECRET] or asked is None:
            return None
        proof = base64.urlsafe_b64encode(sha256(given["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if proof != asked["code_challenge"] or given["redirect_uri"] != asked["redirect_uri"]:
            return None
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims | self.people[asked["person"]], self.key)
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": signed,
        }


@contextmanager
def started(people: dict[str, dict[str, Any]]) -> Iterator[Provider]:
    """The provider, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.provider = Provider(f"http://127.0.0.1:{server.server_port}", people)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.provider  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


class _Answers(Answers):
    @property
    def provider(self) -> Provider:
        return self.server.provider  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:  # noqa: N802
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            self._json(self.provider.metadata())
        elif address.path == "/jwks":
            self._json({"keys": [self.provider.key.as_dict(private=False)]})
        elif address.path == "/authorize":
            self._send(200, self.provider.ask(query).encode(), "text/html; charset=utf-8")
        elif address.path == "/sign-out":
            self.provider.signed_out.append(query["id_token_hint"])
            self._send(302, b"", "text/plain", Location=query["post_logout_redirect_uri"])
        else:
            self._send(404, b"", "text/plain")

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = {name: values[0] for name, values in parse_qs(body).items()}
        answer = self.provider.token(given, self.headers.get("Authorization", ""))
        self._json(answer or {"error": "invalid_grant"}, 200 if answer else 400)
