"""Signing in at the company's own provider (OpenID Connect) instead of by password.

The server talks to the provider (Streamlit's `st.login`) and hands on what the provider said of a person. Here that
becomes one of our accounts and a ticket, or a sentence; the session is ours, as after a password. Nobody is added by
signing in.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Connection

from lib import fields, sessions, staff
from lib.errors import Invalid, NotAllowed

# The settings, in the environment of the server. All but the name are needed.
ISSUER, CLIENT_ID = "MANDANT_OIDC_ISSUER", "MANDANT_OIDC_CLIENT_ID"
CLIENT_SECRET, NAME, URL = "MANDANT_OIDC_CLIENT_SECRET", "MANDANT_OIDC_NAME", "MANDANT_URL"
NEEDED = (ISSUER, CLIENT_ID, CLIENT_SECRET, URL)
CALLBACK = "/oauth2callback"
UNCONFIRMED = (
    "The sign-in service has not confirmed your e-mail address, so it can't tell whose account is yours. "
    "Confirm the address there, or ask an admin."
)
NO_ADDRESS = "The sign-in service told no e-mail address of yours. Ask an admin to have it sent."
# The standard's longest subject.
LONGEST_SUBJECT = 255


@dataclass(frozen=True)
class Provider:
    """The sign-in service: as the environment names it."""

    issuer: str
    client_id: str
    client_secret: str
    name: str
    url: str

    @property
    def metadata_url(self) -> str:
        """Where the provider describes itself (OpenID Connect Discovery)."""
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    @property
    def callback_url(self) -> str:
        """Where the provider sends people back to; it must know this address."""
        return self.url.rstrip("/") + CALLBACK


def provider() -> Provider | None:
    """The provider, or None where people sign in by password. Raises RuntimeError where a setting is missing or wrong.

    MANDANT_URL alone asks for nothing: other parts use it, too.
    """
    given = {name: os.environ.get(name, "").strip() for name in (*NEEDED, NAME)}
    if not any(given[name] for name in (ISSUER, CLIENT_ID, CLIENT_SECRET)):
        return None
    missing = [name for name in NEEDED if not given[name]]
    if missing:
        raise RuntimeError(f"Signing in at a provider needs {' and '.join(missing)} as well. Set it, or none of them.")
    for name in (ISSUER, URL):
        _require_safe(name, given[name])
    named = given[NAME] or str(urlsplit(given[ISSUER]).hostname)
    return Provider(given[ISSUER], given[CLIENT_ID], given[CLIENT_SECRET], named, given[URL])


def ticket(conn: Connection, provider: Provider, claims: Mapping[str, Any], *, nonce: str) -> str | None:
    """A one-use ticket (as `sessions.ticket`) for the person of whom the provider said `claims`.

    None where this sign-in is over: it counts once, and for ten minutes, however long the browser keeps it. Else
    sessions that end would begin anew by themselves. Raises NotAllowed, in words, where the person has no enabled
    account.
    """
    said = _said(provider, claims)
    if said is None or not nonce or not sessions.is_recent(conn, said.issued_at):
        return None
    issuer, subject = said.issuer, said.subject
    found = staff.account_of(conn, issuer=issuer, subject=subject)
    if found is None:
        found = staff.link(conn, _confirmed_email(claims), issuer=issuer, subject=subject)
    identity = sha256("\n".join((issuer, subject, said.nonce)).encode()).digest()
    return sessions.provider_ticket(conn, found, identity=identity, nonce=nonce)


class _Said(NamedTuple):
    """What one sign-in at the provider is known by: `nonce` is its own, and not that of our cookie."""

    issuer: str
    subject: str
    nonce: str
    issued_at: float


def _said(provider: Provider, claims: Mapping[str, Any]) -> _Said | None:
    """What the provider said, or None where it isn't the provider's. The server has checked the signature."""
    issuer, subject, nonce, issued_at = (claims.get(name) for name in ("iss", "sub", "nonce", "iat"))
    if not (isinstance(issuer, str) and isinstance(subject, str) and isinstance(nonce, str)):
        return None
    if issuer.rstrip("/") != provider.issuer.rstrip("/") or not nonce or not isinstance(issued_at, int | float):
        return None
    known = 0 < len(subject) <= LONGEST_SUBJECT and subject.isprintable()
    return _Said(issuer, subject, nonce, issued_at) if known else None


def _confirmed_email(claims: Mapping[str, Any]) -> str:
    """The address that the provider vouches for. Raises NotAllowed where it doesn't.

    Some write "true" as a text. Microsoft Entra has no email_verified: there xms_edov says that the owner of the
    address's domain has confirmed it.
    """
    try:
        email = fields.email(claims.get("email"), field="email")
    except Invalid:
        email = ""
    if not email:
        raise NotAllowed(NO_ADDRESS)
    confirmed = [claims.get(name) for name in ("email_verified", "xms_edov") if name in claims]
    if not confirmed or any(value not in (True, "true", "1") for value in confirmed):
        raise NotAllowed(UNCONFIRMED)
    return email.lower()


def _require_safe(name: str, address: str) -> None:
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise RuntimeError(f"{name} must be an address that begins with https://, like https://host.example.")
