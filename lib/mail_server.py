"""The mail server that everything is sent by: one row of settings, its password sealed and never shown again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, select, text, update

from lib import audit, fields, smtp, vault
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid
from lib.tables import mail_server as table

SECURITIES = {
    "starttls": "STARTTLS (usually port 587)",
    "tls": "TLS from the start (usually port 465)",
    "none": "None (a server on this machine)",
}
ABOUT = "mail_server.password"
NOT_READY = "No mail server is set up yet: an admin enters it under Settings → Mail server."
# A person waits for the test mail: it gives up sooner than the worker does.
TEST_TIMEOUT_SECONDS = 10
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


@dataclass(frozen=True)
class MailServer:
    """The settings as a page shows them: of the password only whether there is one."""

    host: str
    port: int
    security: str
    username: str
    has_password: bool
    sender_address: str
    sender_name: str
    version: int


@dataclass(frozen=True)
class Trial:
    """A test mail that is ready to go, with the server it goes to."""

    account: smtp.Account
    recipient: str
    message: Any


def server(conn: Connection) -> MailServer:
    """The settings as they are; there is always one row, empty before set-up."""
    return _server(conn)


def ready(conn: Connection) -> bool:
    """Whether mails can be sent at all: a server and a sender are entered."""
    return bool(conn.scalar(text("SELECT host <> '' AND sender_address <> '' FROM mail_server")))


def require_ready(conn: Connection) -> None:
    """Refuse with Conflict where no mail server is set up."""
    if not ready(conn):
        raise Conflict(NOT_READY)


def edit(conn: Connection, *, version: int, changes: Mapping[str, Any], user: User, password: str = "") -> None:
    """Save the settings; `password` empty keeps the stored one.

    An empty host switches mail off, an empty user name the sign-in; both drop the password. The stored
    one goes to no other server than that it was entered for: a new host asks for it anew. Raises Invalid
    at the field, and Conflict where the form is older than the row.
    """
    require(user, Permission.EDIT_SETTINGS)
    before = _server(conn, hold=True)
    if before.version != version:
        raise Conflict(
            "Somebody changed the mail server after you opened it. Nothing was saved: reload, look at the change, "
            "and enter yours again."
        )
    values = _checked(changes, before)
    keeps = bool(before.has_password and not password and values["host"] and values["username"])
    _require_sensible(values, before, keeps=keeps, password=password)
    stored: dict[str, Any] = dict(values)
    if password:
        stored["password"] = vault.sealed(password, about=ABOUT)
    elif not keeps:
        stored["password"] = None
    changed = audit.difference(vars(before), values)
    if password or keeps != before.has_password:
        # The log says that it changed, never what it is.
        changed["password"] = (_said(before.has_password), "set anew" if password else _said(keeps))
    if changed:
        conn.execute(update(table).values(version=before.version + 1, **stored))
        audit.record(conn, "edit", "mail server", 1, user_id=user.id, changes=changed)


def account(conn: Connection) -> smtp.Account:
    """The server with its password, for the sender of mails. Raises Conflict where none is set up."""
    require_ready(conn)
    row = conn.execute(select(table)).one()
    return smtp.Account(
        host=row.host,
        port=row.port,
        security=row.security,
        username=row.username,
        password="" if row.password is None else vault.opened(row.password, about=ABOUT),
        sender_address=row.sender_address,
        sender_name=row.sender_name,
    )


def trial(conn: Connection, *, recipient: str, user: User) -> Trial:
    """Note that a test mail is sent, and return it. Hand it to `send_trial` after this transaction has ended."""
    require(user, Permission.EDIT_SETTINGS)
    to = fields.email(recipient, field="test_recipient", label="The recipient", required=True)
    found = account(conn)
    audit.record(conn, "send a test mail", "mail server", 1, user_id=user.id)
    made = smtp.message(
        found,
        recipient=to,
        subject="Test mail",
        body=f"This mail server works.\n\nHost: {found.host}, port {found.port}\nSender: {found.sender_address}",
        message_id=f"<{uuid4().hex}@{found.sender_address.rpartition('@')[2]}>",
        at=conn.execute(text("SELECT now()")).scalar_one(),
    )
    return Trial(found, to, made)


def send_trial(mail: Trial) -> None:
    """Send it now. Raises smtp.Undelivered, which says what is wrong."""
    smtp.deliver(mail.account, mail.message, timeout=TEST_TIMEOUT_SECONDS)


def reseal(conn: Connection) -> int:
    """Seal the password with the current key where it isn't; returns how many secrets that changed."""
    sealed: bytes | None = conn.scalar(select(table.c.password).with_for_update())
    anew = None if sealed is None else vault.resealed(sealed, about=ABOUT)
    if anew is None:
        return 0
    conn.execute(update(table).values(password=anew))
    return 1


# ---------------------------------------------------------------------------------- checks


def _checked(changes: Mapping[str, Any], before: MailServer) -> dict[str, Any]:
    given = {name: changes.get(name, getattr(before, name)) for name in _FIELDS}
    with fields.all_of() as check:
        return {
            "host": check(_host, given["host"]),
            "port": check(fields.whole, given["port"], field="port", label="The port", lowest=1, highest=65_535),
            "security": check(fields.one_of, given["security"], SECURITIES, field="security", label="Encryption"),
            "username": check(fields.line, given["username"], field="username", label="The user name"),
            "sender_address": check(_sender, given["sender_address"], required=bool(str(given["host"] or "").strip())),
            "sender_name": check(
                fields.line, given["sender_name"], field="sender_name", label="The sender's name", longest=100
            ),
        }


_FIELDS = ("host", "port", "security", "username", "sender_address", "sender_name")


def _host(given: str) -> str:
    typed = fields.line(given, field="host", label="The mail server's name", longest=253).lower()
    if typed and not _HOST.fullmatch(typed) and not _is_address(typed):
        raise Invalid(f"“{typed[:60]}” is not a server's name. Write it like mail.company.example.", field="host")
    return typed


def _sender(given: str, *, required: bool) -> str:
    return fields.email(given, field="sender_address", label="The sender's address", required=required)


def _require_sensible(values: Mapping[str, Any], before: MailServer, *, keeps: bool, password: str) -> None:
    """Host, encryption, user name and password fit together."""
    if password and not values["host"]:
        raise Invalid("Enter the server that this password is for.", field="host")
    if password and not values["username"]:
        raise Invalid("A password needs its user name.", field="username")
    if keeps and values["host"] != before.host:
        raise Invalid(
            f"The stored password was entered for {before.host}. Enter the one of {values['host']}.", field="password"
        )
    if values["host"] and values["username"] and not (password or keeps):
        raise Invalid(f"Enter the password of {values['username']}.", field="password")
    if values["username"] and values["security"] == "none" and not _is_this_machine(values["host"]):
        raise Invalid(
            "Without encryption the password would cross the network for all to read. Choose STARTTLS or TLS.",
            field="security",
        )
    fields.line(password, field="password", label="The password", longest=500)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _said(has_password: bool) -> str:
    return "set" if has_password else "none"


def _server(conn: Connection, *, hold: bool = False) -> MailServer:
    columns = [table.c[name] for name in (*_FIELDS, "version")]
    query = select(*columns, table.c.password.is_not(None).label("has_password"))
    return MailServer(**conn.execute(query.with_for_update() if hold else query).one()._mapping)
