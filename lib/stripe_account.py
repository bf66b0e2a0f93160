"""Our account at Stripe: its keys, sealed and never shown again but for their last four characters (row G16).

Test and live keys are never mixed: all of them are of one mode, and what was asked in one is not asked in the other.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from lib import audit, fields, stripe_client, vault
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid
from lib.tables import stripe_account as table

_LOCK = "hashtextextended('stripe_account', 2)"
NOT_READY = "Stripe is not set up yet: an admin enters its keys under Payment methods → Credit card."
SHOWN = 4
# What each key begins with; the second word is its mode.
_KINDS = {
    "secret_key": (re.compile(r"[sr]k_(test|live)_[A-Za-z0-9]{8,250}"), "The secret key", "sk_test_ or sk_live_"),
    "publishable_key": (
        re.compile(r"pk_(test|live)_[A-Za-z0-9]{8,250}"),
        "The publishable key",
        "pk_test_ or pk_live_",
    ),
    "webhook_secret": (re.compile(r"whsec_[A-Za-z0-9+/=]{8,250}"), "The webhook secret", "whsec_"),
}


@dataclass(frozen=True)
class Account:
    """The account as a page shows it: of each key its last four characters, empty where there is none."""

    mode: str
    secret_key_ending: str
    publishable_key_ending: str
    webhook_secret_ending: str
    account_name: str
    tested_at: datetime | None
    version: int


def account(conn: Connection) -> Account:
    """The account as it is; there is always one row, empty before set-up."""
    return _account(conn)


def ready(conn: Connection) -> bool:
    """Whether Stripe can be asked for anything: there is a secret key."""
    return bool(conn.scalar(text("SELECT secret_key IS NOT NULL FROM stripe_account")))


def secret(conn: Connection, *, hold: bool = False) -> tuple[str, str]:
    """The secret key in the clear, and its mode. Raises Conflict where there is none.

    With `hold` nobody changes the keys until the transaction ends.
    """
    query = select(table.c.secret_key, table.c.mode)
    row = conn.execute(query.with_for_update(read=True) if hold else query).one()
    if row.secret_key is None:
        raise Conflict(NOT_READY)
    return vault.opened(row.secret_key, about=_about("secret_key")), row.mode


def held_mode(conn: Connection) -> str:
    """The mode of our keys, for who may not read them: nobody changes it until the transaction ends. Raises Conflict.

    No row is locked: the portal's role may only read the mode.
    """
    conn.execute(text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"))
    mode = str(conn.scalar(text("SELECT mode FROM stripe_account")) or "")
    if not mode:
        raise Conflict("Paying by card is not possible at the moment. Please transfer the amount.")
    return mode


def webhook_secret(conn: Connection) -> tuple[str, str]:
    """The secret that Stripe signs by, and its mode. Raises Conflict where there is none."""
    row = conn.execute(select(table.c.webhook_secret, table.c.mode)).one()
    if row.webhook_secret is None:
        raise Conflict(NOT_READY)
    return vault.opened(row.webhook_secret, about=_about("webhook_secret")), row.mode


def edit(
    conn: Connection,
    *,
    version: int,
    secret_key: str = "",
    publishable_key: str = "",
    webhook_secret: str = "",
    user: User,
) -> None:
    """Save the keys that were typed; an empty one keeps what is stored.

    Raises Invalid at the field, also where test and live keys would mix, and Conflict where the form is older than
    the row or payments of the other mode are still open.
    """
    require(user, Permission.EDIT_SETTINGS)
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    before = _account(conn, hold=True)
    if before.version != version:
        raise Conflict(
            "Somebody changed the keys after you opened this. Nothing was saved: reload, and enter them again."
        )
    typed = {"secret_key": secret_key, "publishable_key": publishable_key, "webhook_secret": webhook_secret}
    given = {name: _checked(name, value) for name, value in typed.items() if value.strip()}
    if not given:
        raise Invalid("Enter the keys that you want to change.", field="secret_key")
    mode = _mode(before, given)
    if before.mode not in ("", mode):
        _require_nothing_open(conn, before.mode)
    values: dict[str, Any] = {"mode": mode, "version": version + 1, "tested_at": None, "account_name": ""}
    for name, value in given.items():
        values |= {name: vault.sealed(value, about=_about(name)), f"{name}_ending": value[-SHOWN:]}
    conn.execute(update(table).values(**values))
    changes: dict[str, Any] = {name: (_said(before, name), "set anew") for name in given}
    changes |= audit.difference({"mode": before.mode}, {"mode": mode})
    audit.record(conn, "edit", "stripe account", 1, user_id=user.id, changes=changes)


def remove(conn: Connection, *, version: int, user: User) -> None:
    """Forget the keys: Stripe is asked for nothing any more."""
    require(user, Permission.EDIT_SETTINGS)
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    before = _account(conn, hold=True)
    if before.version != version:
        raise Conflict("Somebody changed the keys after you opened this. Reload and look.")
    _require_nothing_open(conn, before.mode)
    empty: dict[str, Any] = dict.fromkeys(_KINDS) | {f"{name}_ending": "" for name in _KINDS}
    conn.execute(update(table).values(**empty, mode="", account_name="", tested_at=None, version=version + 1))
    audit.record(conn, "remove keys", "stripe account", 1, user_id=user.id)


def trial(conn: Connection, *, user: User) -> str:
    """Note that the connection is tested, and return the key for `try_out`, outside of this transaction."""
    require(user, Permission.EDIT_SETTINGS)
    found, _ = secret(conn)
    audit.record(conn, "test the connection", "stripe account", 1, user_id=user.id)
    return found


def try_out(found: str) -> str:
    """Ask Stripe by a real call whose account the key opens. Raises in words where it says no or nothing."""
    return stripe_client.account_name(found)


def note_tested(conn: Connection, name: str) -> None:
    """Keep when the connection worked last, and whose account it was."""
    conn.execute(update(table).values(tested_at=func.now(), account_name=name[:200]))


def reseal(conn: Connection) -> int:
    """Seal the keys with the current one where they aren't; returns how many secrets that changed."""
    row = conn.execute(select(table).with_for_update()).one()._mapping
    sealed = {name: vault.resealed(row[name], about=_about(name)) for name in _KINDS if row[name] is not None}
    anew = {name: value for name, value in sealed.items() if value is not None}
    if anew:
        conn.execute(update(table).values(**anew))
    return len(anew)


# ---------------------------------------------------------------------------------- checks


def _checked(name: str, typed: str) -> str:
    pattern, label, begins = _KINDS[name]
    value = fields.line(typed, field=name, label=label, longest=300)
    if not pattern.fullmatch(value):
        raise Invalid(f"{label} begins with {begins}. Copy all of it from Stripe's dashboard.", field=name)
    return value


def _mode(before: Account, given: dict[str, str]) -> str:
    """The mode that all keys are of. Raises Invalid where they aren't of one."""
    modes = {name: value.split("_")[1] for name, value in given.items() if name != "webhook_secret"}
    for name in ("secret_key", "publishable_key"):
        if name not in modes and getattr(before, f"{name}_ending"):
            modes[name] = before.mode
    if len(set(modes.values())) > 1:
        raise Invalid(
            "One key is for tests and the other for real money. Enter both of one kind.",
            field="publishable_key" if "publishable_key" in given else "secret_key",
        )
    if "secret_key" not in modes:
        raise Invalid("Enter the secret key first.", field="secret_key")
    mode = next(iter(modes.values()))
    if before.mode not in ("", mode) and before.webhook_secret_ending and "webhook_secret" not in given:
        raise Invalid(
            f"The stored webhook secret is that of {before.mode} mode. Enter the one of {mode} mode, too.",
            field="webhook_secret",
        )
    return mode


def _require_nothing_open(conn: Connection, mode: str) -> None:
    query = text("SELECT count(*) FROM stripe_requests WHERE mode = :mode AND state IN ('new', 'open')")
    many = conn.scalar(query, {"mode": mode}) or 0
    if many:
        waits = "1 request to Stripe is" if many == 1 else f"{many} requests to Stripe are"
        raise Conflict(
            f"{waits} still open in {mode} mode. Wait until they end (a pay link lives a day), then change it."
        )


def _said(before: Account, name: str) -> str:
    return "set" if getattr(before, f"{name}_ending") else "none"


def _about(name: str) -> str:
    return f"stripe_account.{name}"


def _account(conn: Connection, *, hold: bool = False) -> Account:
    query = select(*(table.c[name] for name in Account.__dataclass_fields__))
    return Account(**conn.execute(query.with_for_update() if hold else query).one()._mapping)
