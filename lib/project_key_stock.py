"""The stock of project keys: entered, revealed and deleted by an admin, and claimed by who redeems one (row G9).

The one module that writes their table, and that opens what is sealed in it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text, update

from lib import audit, fields, vault
from lib.auth import Permission, User, require
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, rounded
from lib.project_keys import SHORTEST, SHOWN, ProjectKey, digests, key, normal, plain
from lib.requests import once
from lib.tables import project_keys

LONGEST = 100
MOST_IPS, MOST_MONTHS = 100_000, 120
_CHARACTERS = re.compile(r"[A-Za-z0-9_.+/=]+")


@dataclass(frozen=True)
class NewKey:
    """A key as it is entered; `redeem_until` is the last day on which it can be redeemed, None: no end."""

    key: str
    ips: int
    months: int
    purchase_price: Decimal
    redeem_until: date | None


def checked(given: Mapping[str, Any], *, today: date) -> NewKey:
    """A key as it may be stored, from what was typed. Raises Invalid at the first field that can't be."""
    typed = fields.line(given["key"], field="key", label="The key", required=True, longest=LONGEST)
    bare = plain(typed)
    if not _CHARACTERS.fullmatch(bare):
        raise Invalid("A key has letters without accents, digits and . _ + / = only.", field="key")
    if len(bare) < SHORTEST:
        raise Invalid(f"A key has at least {SHORTEST} characters: a shorter one could be guessed.", field="key")
    price = given["purchase_price"]
    if price != rounded(price) or not 0 <= price <= LARGEST:
        raise Invalid("The purchase price is an amount of 0.00 or more, to the cent.", field="purchase_price")
    redeem_until = fields.day(given["redeem_until"], field="redeem_until", label="Redeem until")
    if redeem_until is not None and redeem_until < today:
        raise Invalid(f"{redeem_until:%d %b %Y} is past: the key could never be redeemed.", field="redeem_until")
    return NewKey(
        key=typed,
        ips=fields.whole(given["ips"], field="ips", label="The number of IPs", lowest=1, highest=MOST_IPS),
        months=fields.whole(given["months"], field="months", label="The runtime", lowest=1, highest=MOST_MONTHS),
        purchase_price=price,
        redeem_until=redeem_until,
    )


def add(
    conn: Connection,
    *,
    key: str,
    ips: int,
    months: int,
    purchase_price: Decimal,
    redeem_until: date | None,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Enter one key and return its id. Raises Invalid at the field, also for a key that is known already."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    once(conn, request_key)
    given = {"key": key, "ips": ips, "months": months, "purchase_price": purchase_price, "redeem_until": redeem_until}
    new = checked(given, today=today)
    if known(conn, [new.key]):
        raise Invalid("This key is entered already.", field="key")
    return add_all(conn, [new], user=user)[0]


def add_all(conn: Connection, keys: Sequence[NewKey], *, user: User) -> list[int]:
    """Enter checked keys, each with its audit entry, and return their ids. Raises Conflict where one is known."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    ids = list(
        conn.scalars(
            text("""SELECT nextval(pg_get_serial_sequence('project_keys', 'id'))
                      FROM generate_series(1, CAST(:count AS int))"""),
            {"count": len(keys)},
        )
    )
    rows = [
        {
            "id": id_,
            "digest": digests(new.key)[0],
            "sealed": vault.sealed(new.key, about=_about(id_)),
            "ending": plain(new.key)[-SHOWN:],
            "ips": new.ips,
            "months": new.months,
            "purchase_price": new.purchase_price,
            "redeem_until": new.redeem_until,
            "recorded_by": user.id,
        }
        for id_, new in zip(ids, keys, strict=True)
    ]
    with conflicts({"project_keys_digest_key": "Somebody else entered one of these keys meanwhile. Check them anew."}):
        conn.execute(
            text("""INSERT INTO project_keys (id, digest, sealed, ending, ips, months, purchase_price, redeem_until,
                                              recorded_by)
                    OVERRIDING SYSTEM VALUE
                    VALUES (:id, :digest, :sealed, :ending, :ips, :months, :purchase_price, :redeem_until,
                            :recorded_by)"""),
            rows,
        )
    names = ("ending", "ips", "months", "purchase_price", "redeem_until")
    for row in rows:
        changes = audit.difference({}, {name: row[name] for name in names})
        audit.record(conn, "add", "project key", row["id"], user_id=user.id, changes=changes)
    return ids


def known(conn: Connection, keys: Sequence[str]) -> set[str]:
    """Which of these keys are entered already, as they are compared (`normal`)."""
    by_digest = {digest: normal(key) for key in keys for digest in digests(key)}
    found = conn.scalars(
        text("SELECT digest FROM project_keys WHERE digest = ANY(CAST(:digests AS bytea[]))"),
        {"digests": list(by_digest)},
    )
    return {by_digest[bytes(digest)] for digest in found}


def delete(conn: Connection, key_id: int, *, user: User) -> None:
    """Delete a key that nobody has redeemed. Raises Conflict for one that was."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    before = conn.execute(
        text("""DELETE FROM project_keys WHERE id = :id AND redeemed_at IS NULL
                RETURNING ending, ips, months, purchase_price, redeem_until"""),
        {"id": key_id},
    ).one_or_none()
    if before is None:
        found = key(conn, key_id)
        raise Conflict(f"Project key {found.masked} was redeemed. It stays, since charges rest on it.")
    changes = {name: (value, None) for name, value in before._mapping.items() if value is not None}
    audit.record(conn, "delete", "project key", key_id, user_id=user.id, changes=changes)


def reveal(conn: Connection, key_id: int, *, user: User) -> str:
    """The key itself, for who has to type it somewhere else; that it was read is in the audit log."""
    require(user, Permission.EDIT_PROJECT_KEYS)
    sealed = conn.scalar(text("SELECT sealed FROM project_keys WHERE id = :id"), {"id": key_id})
    if sealed is None:
        raise NotFound("This project key does not exist any more.")
    opened = vault.opened(sealed, about=_about(key_id))
    audit.record(conn, "reveal", "project key", key_id, user_id=user.id)
    return opened


def reseal(conn: Connection) -> int:
    """Seal all keys with the current key of the vault and let them be found by it; returns how many were not."""
    count = 0
    for row in conn.execute(text("SELECT id, sealed FROM project_keys ORDER BY id FOR UPDATE")).all():
        anew = vault.resealed(row.sealed, about=_about(row.id))
        if anew is not None:
            values = {"sealed": anew, "digest": digests(vault.opened(anew, about=_about(row.id)))[0]}
            conn.execute(update(project_keys).where(project_keys.c.id == row.id).values(values))
            count += 1
    return count


def typed(conn: Connection, secret: str, *, today: date) -> ProjectKey:
    """The key that was typed, which nobody else can redeem until this transaction ends, whatever its state.

    Raises Invalid at `key` for nothing and for one that nobody entered.
    """
    if not plain(secret):
        raise Invalid("Enter the project key.", field="key")
    id_ = conn.scalar(
        text("SELECT id FROM project_keys WHERE digest = ANY(CAST(:digests AS bytea[])) FOR UPDATE"),
        {"digests": digests(secret)},
    )
    if id_ is None:
        raise Invalid(
            "There is no such project key. Check each character; an admin enters new keys under Project keys.",
            field="key",
        )
    return key(conn, id_, today=today)


def claim(
    conn: Connection,
    key_id: int,
    customer_id: int,
    *,
    from_day: date,
    charging: str,
    selling_price: Decimal,
    user: User,
) -> date:
    """Note that a customer redeemed it and return the first day without it. Raises Conflict where somebody did before.

    The permission, the bookings and the audit entry are the caller's.
    """
    refusals = {"project_keys_one_at_a_time": "Another project key runs on these days."}
    with conflicts(refusals):
        until_day: date | None = conn.scalar(
            text("""UPDATE project_keys
                       SET customer_id = :customer, redeemed_at = now(), redeemed_by = :user, from_day = :from_day,
                           until_day = (CAST(:from_day AS date) + make_interval(months => months))::date,
                           charging = :charging, selling_price = :selling_price
                     WHERE id = :id AND redeemed_at IS NULL RETURNING until_day"""),
            {
                "id": key_id, "customer": customer_id, "user": user.id, "from_day": from_day, "charging": charging,
                "selling_price": selling_price,
            },
        )  # fmt: skip
    if until_day is None:
        raise Conflict("Somebody else redeemed this project key at this moment.")
    return until_day


def _about(key_id: int) -> str:
    return f"project_keys.{key_id}"
