"""Project keys as they are entered: each brings IPs for some months and is redeemed once (row G9).

A key is stored sealed (`lib/vault.py`), shown by its last four characters, and found by an HMAC of what is typed:
neither the database nor a backup of it holds one that could be read. What a key costs us is told to nobody but who may
see purchase prices. Redeeming one is in `lib/project_key_redemptions.py`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text, update

from lib import audit, fields, vault
from lib.auth import Permission, User, require
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.money import LARGEST, rounded
from lib.requests import once
from lib.tables import project_keys

# Before the last four characters of a key, wherever it is named.
MASK = "·····"
SHORTEST, LONGEST, SHOWN = 12, 100, 4
MOST_IPS, MOST_MONTHS = 100_000, 120
CHARGING = {"monthly": "Each month", "once": "Once, at the start"}
STATES = ("unused", "expired", "planned", "in_force", "over")
_ABOUT = "project_keys"
# A key is typed and mailed in groups: what only groups it counts for nothing, nor do capitals.
_GROUPING = re.compile(r"[\s\u2010-\u2015-]+")
_CHARACTERS = re.compile(r"[A-Za-z0-9_.+/=]+")


@dataclass(frozen=True)
class NewKey:
    """A key as it is entered; `redeem_until` is the last day on which it can be redeemed, None: no end."""

    key: str
    ips: int
    months: int
    purchase_price: Decimal
    redeem_until: date | None


@dataclass(frozen=True)
class ProjectKey:
    """A key without its secret. `until_day` is the first day without it; its price is net, once or a month.

    `state`: unused, expired (nobody redeemed it in time), planned (redeemed, starts later), in_force or over.
    """

    id: int
    ending: str
    ips: int
    months: int
    purchase_price: Decimal
    redeem_until: date | None
    recorded_at: datetime
    recorded_by: str
    customer_id: int | None
    customer: str
    customer_number: str
    redeemed_at: datetime | None
    redeemed_by: str
    from_day: date | None
    until_day: date | None
    charging: str | None
    selling_price: Decimal | None
    state: str

    @property
    def masked(self) -> str:
        """·····ABCD."""
        return MASK + self.ending

    @property
    def last_day(self) -> date | None:
        """The last day on which it runs, once it is redeemed."""
        return None if self.until_day is None else self.until_day - timedelta(days=1)


# ------------------------------------------------------------------------------------------------ entering


def checked(given: Mapping[str, Any], *, today: date) -> NewKey:
    """A key as it may be stored, from what was typed. Raises Invalid at the first field that can't be."""
    typed = fields.line(given["key"], field="key", label="The key", required=True, longest=LONGEST)
    plain = _normal(typed)
    if not _CHARACTERS.fullmatch(plain):
        raise Invalid("A key has letters without accents, digits and . _ + / = only.", field="key")
    if len(plain) < SHORTEST:
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
            "digest": _digest(new.key),
            "sealed": vault.sealed(new.key, about=_about(id_)),
            "ending": _normal(new.key)[-SHOWN:],
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
    by_digest = {digest: normal(key) for key in keys for digest in _digests(key)}
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
    plain = vault.opened(sealed, about=_about(key_id))
    audit.record(conn, "reveal", "project key", key_id, user_id=user.id)
    return plain


def reseal(conn: Connection) -> int:
    """Seal all keys with the current key of the vault and let them be found by it; returns how many were not."""
    count = 0
    for row in conn.execute(text("SELECT id, sealed FROM project_keys ORDER BY id FOR UPDATE")).all():
        anew = vault.resealed(row.sealed, about=_about(row.id))
        if anew is not None:
            values = {"sealed": anew, "digest": _digest(vault.opened(anew, about=_about(row.id)))}
            conn.execute(update(project_keys).where(project_keys.c.id == row.id).values(values))
            count += 1
    return count


# ------------------------------------------------------------------------------------------------ reading

# What a month of a redeemed key k costs: of one that is charged once its price over its months, for display.
MONTH_PRICE = (
    "CASE {0}.charging WHEN 'monthly' THEN {0}.selling_price ELSE round({0}.selling_price / {0}.months, 2) END"
)
_STATE = """CASE WHEN k.redeemed_at IS NULL
                 THEN CASE WHEN k.redeem_until < :today THEN 'expired' ELSE 'unused' END
                 WHEN k.from_day > :today THEN 'planned' WHEN k.until_day > :today THEN 'in_force' ELSE 'over' END"""
_KEYS = f"""
SELECT k.id, k.ending, k.ips, k.months, k.purchase_price, k.redeem_until, k.recorded_at,
       coalesce(r.name, 'System') AS recorded_by, k.customer_id, coalesce(c.name, '') AS customer,
       coalesce(c.number, '') AS customer_number, k.redeemed_at,
       CASE WHEN k.redeemed_at IS NULL THEN '' ELSE coalesce(u.name, 'System') END AS redeemed_by,
       k.from_day, k.until_day, k.charging, k.selling_price, {_STATE} AS state
  FROM project_keys k
  LEFT JOIN staff r ON r.id = k.recorded_by LEFT JOIN staff u ON u.id = k.redeemed_by
  LEFT JOIN customers c ON c.id = k.customer_id"""


def keys(
    conn: Connection,
    *,
    search: str = "",
    states: Sequence[str] = (),
    today: date,
    user: User,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[ProjectKey], int]:
    """A page of the keys, the latest first, and how many there are.

    `search`: words of a customer's name or number, the last characters of a key, or a whole key. No states: all.
    """
    require(user, Permission.EDIT_PROJECT_KEYS)
    values = {
        "today": today,
        "search": f"%{audit.like_escaped(search.strip())}%",
        "ending": _normal(search)[-SHOWN:],
        "digests": _digests(search) if len(_normal(search)) >= SHORTEST and vault.configured() else [],
        "whole": not search.strip(),
        "states": list(states or STATES),
        "limit": limit,
        "offset": offset,
    }
    found = conn.execute(
        text(f"""
            WITH found AS ({_KEYS}
                 WHERE (:whole OR c.search LIKE folded(:search) OR k.digest = ANY(CAST(:digests AS bytea[]))
                        OR cardinality(CAST(:digests AS bytea[])) = 0 AND upper(k.ending) = upper(:ending))
                   AND {_STATE} = ANY(CAST(:states AS text[])))
            SELECT *, count(*) OVER () AS total FROM found ORDER BY id DESC LIMIT :limit OFFSET :offset"""),
        values,
    ).all()
    names = ProjectKey.__dataclass_fields__
    rows = [ProjectKey(**{name: row._mapping[name] for name in names}) for row in found]
    return rows, found[0].total if found else 0


def key(conn: Connection, key_id: int, *, today: date = date.max) -> ProjectKey:
    """One key. Raises NotFound."""
    row = conn.execute(text(f"{_KEYS} WHERE k.id = :id"), {"id": key_id, "today": today}).one_or_none()
    if row is None:
        raise NotFound("This project key does not exist any more.")
    return ProjectKey(**row._mapping)


def of_customer(conn: Connection, customer_id: int, *, today: date) -> list[ProjectKey]:
    """The keys that a customer redeemed, the latest first."""
    found = conn.execute(
        text(f"{_KEYS} WHERE k.customer_id = :customer ORDER BY k.from_day DESC"),
        {"customer": customer_id, "today": today},
    )
    return [ProjectKey(**row._mapping) for row in found]


def running(conn: Connection, customer_ids: str, *, today: date) -> dict[int, list[ProjectKey]]:
    """The keys of these customers (an array as text) that run or are to, by customer."""
    found: dict[int, list[ProjectKey]] = {}
    for row in conn.execute(
        text(f"{_KEYS} WHERE k.until_day > :today AND k.customer_id = ANY(CAST(:ids AS bigint[]))"),
        {"ids": customer_ids, "today": today},
    ):
        found.setdefault(row.customer_id, []).append(ProjectKey(**row._mapping))
    return found


def until(conn: Connection, customer_ids: Sequence[int], *, today: date) -> dict[int, date]:
    """The first day without the key that runs for a customer, or is to; of those who have one."""
    found = conn.execute(
        text("""SELECT customer_id, max(until_day) AS until_day FROM project_keys
                 WHERE customer_id = ANY(CAST(:ids AS bigint[])) AND until_day > :today GROUP BY customer_id"""),
        {"ids": list(customer_ids), "today": today},
    )
    return {row.customer_id: row.until_day for row in found}


def typed(conn: Connection, secret: str, *, today: date) -> ProjectKey:
    """The key that was typed, which nobody else can redeem until this transaction ends, whatever its state.

    Raises Invalid at `key` for nothing and for one that nobody entered.
    """
    if not _normal(secret):
        raise Invalid("Enter the project key.", field="key")
    id_ = conn.scalar(
        text("SELECT id FROM project_keys WHERE digest = ANY(CAST(:digests AS bytea[])) FOR UPDATE"),
        {"digests": _digests(secret)},
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


# ------------------------------------------------------------------------------------------------ secrets


def normal(key: str) -> str:
    """A key as two are compared: without what groups it, in capitals."""
    return _normal(key).upper()


def _normal(key: str) -> str:
    return _GROUPING.sub("", key)


def _about(key_id: int) -> str:
    return f"{_ABOUT}.{key_id}"


def _digest(key: str) -> bytes:
    return vault.digest(normal(key), about=_ABOUT)


def _digests(key: str) -> list[bytes]:
    """By each key of the vault: between a new one and the rotation, project keys are found by the one before."""
    return vault.digests(normal(key), about=_ABOUT)
