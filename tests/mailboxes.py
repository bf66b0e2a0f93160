"""A real mail server on loopback: what arrives is read back, and it can be as unkind as real ones are."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "mandant", "geheim-3ß-geheim"


@dataclass
class Mailbox:
    """What arrived, and how the server behaves: `answers` maps MAIL, RCPT or DATA to what it says instead of 250."""

    port: int = 0
    arrived: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    # Set: a message is on the way, and the server has not said yet that it took it. It waits for `go_on`.
    reading: Event = field(default_factory=Event)
    go_on: Event | None = None

    async def handle_MAIL(self, _: Any, __: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802
        self.reading.set()
        while self.go_on is not None and not self.go_on.is_set():
            await asyncio.sleep(0.01)
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.arrived.append(message_from_bytes(envelope.content, EmailMessage, policy=policy.default))
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return answer


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 and its own authority, as files."""

    authority: Path
    chain: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """What a server needs to speak TLS with it."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.chain, self.key)
        return made


@contextmanager
def running(
    mailbox: Mailbox | None = None,
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    sign_in: bool = False,
) -> Iterator[Mailbox]:
    """Run a mail server for the mailbox on a free port."""
    box = mailbox or Mailbox()
    box.port = free_port()
    options: dict[str, Any] = {"enable_SMTPUTF8": False, "decode_data": False, "ready_timeout": 60}
    if sign_in:
        options |= {"authenticator": _authenticated, "auth_required": True, "auth_require_tls": False}
    if starttls is not None:
        options |= {"tls_context": starttls, "require_starttls": True}
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ssl_context=tls, **options)
    if tls is not None:
        # Its own knock at the door speaks TLS by the server's context, which is no client's.
        controller._trigger_server = lambda: socket.create_connection(("127.0.0.1", box.port)).close()
    controller.start()
    try:
        yield box
    finally:
        if box.go_on is not None:
            box.go_on.set()
        controller.stop()


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and then says nothing."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def free_port() -> int:
    """A port on which nothing listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certificate(folder: Path, *, host: str = "127.0.0.1") -> Certificate:
    """A certificate for `host`, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test.example")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / f"{host}.pem", folder / f"{host}.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(chain, chain, secret)


def _authenticated(_: Any, __: Any, ___: Any, ____: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)
