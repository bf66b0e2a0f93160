"""Talking to a mail server: one message at a time, and every way in which that fails in words."""

import smtplib
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from socket import gaierror

from lib.errors import BillingError

# For each step of the conversation. A worker's lease is longer than all steps together (`mail_sending.LEASE`).
TIMEOUT_SECONDS = 20
_LONGEST_ANSWER = 300
# What a server says against this one message even in answer to MAIL FROM: too large.
_TOO_LARGE = 552
_SIGNED_IN = 235


class Undelivered(BillingError):
    """A message that the server did not take; the message says why.

    `permanent`: it will not take this message later either, so trying again is of no use.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Account:
    """The server and how we sign in to it. `security`: starttls, tls or none."""

    host: str
    port: int
    security: str
    username: str
    password: str = field(repr=False)
    sender_address: str = ""
    sender_name: str = ""


def message(
    account: Account,
    *,
    recipient: str,
    subject: str,
    body: str,
    message_id: str,
    at: datetime,
    attachment: tuple[str, bytes] | None = None,
) -> EmailMessage:
    """A plain-text message from the account's sender; `attachment` is a PDF's file name and bytes.

    The headers are objects, not text: a line break in any of them is refused, never a header of its own.
    """
    made = EmailMessage(policy=SMTP)
    made["From"] = _address(account.sender_address, account.sender_name)
    made["To"] = _address(recipient)
    made["Subject"] = subject
    made["Date"] = format_datetime(at)
    made["Message-ID"] = message_id
    # Absence notes and the like are not answered to us (RFC 3834).
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(body, cte="quoted-printable")
    if attachment is not None:
        file_name, content = attachment
        made.add_attachment(content, maintype="application", subtype="pdf", filename=file_name)
    return made


def deliver(account: Account, message: EmailMessage, *, timeout: float = TIMEOUT_SECONDS) -> None:
    """Hand the message to the server; when this returns, the server has taken it. Raises Undelivered."""
    server = _connected(account, timeout)
    try:
        _sign_in(server, account)
        _send(server, account, message)
    finally:
        # Whether it says goodbye or not: what was taken is taken.
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
        server.close()


def _connected(account: Account, timeout: float) -> smtplib.SMTP:
    """A connection with the protection that was asked for."""
    # Our name in the greeting: the sender's domain, which spares a look-up of this machine's own name.
    name = account.sender_address.rpartition("@")[2] or "localhost"
    with _explained(account, _no_connection):
        if account.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(account.host, account.port, name, timeout=timeout, context=context)
        server = smtplib.SMTP(account.host, account.port, name, timeout=timeout)
        if account.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


def _sign_in(server: smtplib.SMTP, account: Account) -> None:
    if not account.username:
        return
    with _explained(account, _no_sign_in):
        if (account.username + account.password).isascii():
            server.login(account.username, account.password)
            return
        # smtplib knows ASCII only; the mechanism itself is UTF-8 (RFC 4616).
        server.ehlo_or_helo_if_needed()
        offered = server.esmtp_features.get("auth", "").upper().split()
        if offered and "PLAIN" not in offered:
            raise UnicodeError("no mechanism that takes these letters")
        if not offered:
            raise smtplib.SMTPNotSupportedError("no sign-in")
        secret = f"\0{account.username}\0{account.password}".encode()
        code, answer = server.docmd("AUTH", f"PLAIN {b64encode(secret).decode()}")
        if code != _SIGNED_IN:
            raise smtplib.SMTPAuthenticationError(code, answer)


def _send(server: smtplib.SMTP, account: Account, message: EmailMessage) -> None:
    recipient = message["To"].addresses[0].addr_spec
    with _explained(account, _not_taken):
        server.send_message(message, from_addr=account.sender_address, to_addrs=[recipient])


# ---------------------------------------------------------------------------------- failures in words


@contextmanager
def _explained(account: Account, say: Callable[[Account, Exception], Undelivered]) -> Iterator[None]:
    """Turn what goes wrong in a step into its sentence. `say` knows the step's own failures."""
    try:
        yield
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _line_is_down(account, error) or say(account, error) from error


def _line_is_down(account: Account, error: Exception) -> Undelivered | None:
    """Failures that can come at any step: silence, and the end of the connection."""
    at = f"{account.host}, port {account.port},"
    # smtplib reports a silent server as a closed connection, with the true reason as its context.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return Undelivered(f"{at} does not answer in time. Check host and port, and whether a firewall is between.")
    if isinstance(error, smtplib.SMTPServerDisconnected | ConnectionResetError | BrokenPipeError):
        hint = "" if account.security == "tls" else " Servers that expect TLS from the start (port 465) do that."
        return Undelivered(f"{at} closed the connection in the middle of the conversation.{hint}")
    return None


def _no_connection(account: Account, error: Exception) -> Undelivered:
    host, port = account.host, account.port
    if isinstance(error, gaierror | UnicodeError):
        return Undelivered(f"The name {host} was not found. Check how the mail server's name is written.")
    if isinstance(error, ConnectionRefusedError):
        return Undelivered(f"{host} refuses connections on port {port}. Check the port, and that the server runs.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Undelivered(
            f"The certificate of {host} is not to be trusted: {error.verify_message}. Nothing was sent. "
            "Enter the name that the certificate is for, or have the server's certificate put right."
        )
    if isinstance(error, ssl.SSLError):
        return Undelivered(
            f"{host} does not speak TLS on port {port} as expected. Port 465 usually goes with TLS, "
            "port 587 with STARTTLS."
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Undelivered(f"{host} offers no STARTTLS on port {port}. Choose TLS, or the port that has STARTTLS.")
    if isinstance(error, smtplib.SMTPResponseException):
        return Undelivered(f"{host} turned us away: {_answer(account, error)}")
    return Undelivered(f"There is no connection to {host}, port {port}: {_plain(error)}.")


def _no_sign_in(account: Account, error: Exception) -> Undelivered:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Undelivered(
            f"{account.host} refuses the user name or the password of “{account.username}”: {_answer(account, error)}"
        )
    if isinstance(error, smtplib.SMTPResponseException):
        return Undelivered(f"{account.host} refuses the sign-in: {_answer(account, error)}")
    if isinstance(error, UnicodeError):
        return Undelivered("The user name or the password has a character that this mail server can't take.")
    return Undelivered(
        f"{account.host} offers no sign-in on port {account.port}. Leave user name and password empty, "
        "or choose the port and the encryption that have it."
    )


def _not_taken(account: Account, error: Exception) -> Undelivered:
    """The server's answers about the message. 5xx about the recipient or the content will not change by waiting."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        [(recipient, (code, answer))] = error.recipients.items()
        said = _answer(account, smtplib.SMTPResponseException(code, answer))
        return Undelivered(f"The mail server refuses the recipient {recipient}: {said}", permanent=code >= 500)
    if isinstance(error, smtplib.SMTPSenderRefused):
        said = _answer(account, error)
        if error.smtp_code == _TOO_LARGE:
            return Undelivered(f"The mail server refuses a message of this size: {said}", permanent=True)
        # Put right in Settings, not by giving the mail up.
        return Undelivered(f"The mail server refuses the sender {account.sender_address}: {said}")
    if isinstance(error, smtplib.SMTPResponseException):
        said = _answer(account, error)
        return Undelivered(f"The mail server refuses the message: {said}", permanent=error.smtp_code >= 500)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Undelivered("The mail server can't deliver to an address with letters other than a–z.", permanent=True)
    return Undelivered(f"The connection to {account.host} broke: {_plain(error)}.")


def _answer(account: Account, error: smtplib.SMTPResponseException) -> str:
    """The server's own words, on one line, without the password should it repeat that."""
    raw = error.smtp_error
    words = " ".join((raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)).split())
    if account.password:
        words = words.replace(account.password, "…")
    shown = "".join(character for character in words if character.isprintable())[:_LONGEST_ANSWER]
    return f"{error.smtp_code} {shown}".strip()


def _plain(error: Exception) -> str:
    reason = getattr(error, "strerror", None)
    return str(reason or error).rstrip(".") or type(error).__name__


def _address(address: str, name: str = "") -> Address:
    user, _, domain = address.rpartition("@")
    return Address(display_name=name, username=user, domain=domain)
