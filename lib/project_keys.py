"""Project keys and who has them: each brings IPs for some months and is redeemed once (row G9).

A key is stored sealed (`lib/vault.py`), shown by its last four characters, and found by an HMAC of what is typed:
neither the database nor a backup of it holds one that could be read. What a key costs us is told to nobody but who may
see purchase prices. Keys are written in `lib/project_key_stock.py`, redeemed by `lib/project_key_redemptions.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import audit, vault
from lib.auth import Permission, User, require
from lib.errors import NotFound
from lib.money import rounded, shown

# Before the last four characters of a key, wherever it is named.
MASK = "·····"
SHORTEST, SHOWN = 12, 4
CHARGING = {"monthly": "Each month", "once": "Once, at the start"}
STATES = ("unused", "expired", "planned", "in_force", "over")
_ABOUT = "project_keys"
# A key is typed and mailed in groups: what only groups it counts for nothing, nor do capitals.
_GROUPING = re.compile(r"[\s\u2010-\u2015-]+")


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
        "ending": plain(search)[-SHOWN:],
        "digests": digests(search) if len(plain(search)) >= SHORTEST and vault.configured() else [],
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


def in_force(conn: Connection, customer_id: int, *, today: date) -> ProjectKey | None:
    """The key by which a customer has its IPs today, if it does."""
    return next((key for key in of_customer(conn, customer_id, today=today) if key.state == "in_force"), None)


def described(key: ProjectKey) -> str:
    """A redeemed key in words: which, until when, and what it is charged."""
    each = "a month" if key.charging == "monthly" else "once, at its start"
    return f"Project key {key.masked} until {key.last_day:%-d %b %Y}: {shown(key.selling_price)} {each}"


def month_price(key: ProjectKey) -> Decimal | None:
    """What a month of it costs: of one that is charged once its price over its months, for display."""
    if key.selling_price is None or key.charging == "monthly":
        return key.selling_price
    return rounded(key.selling_price / key.months)


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


# ------------------------------------------------------------------------------------------------ secrets


def plain(key: str) -> str:
    """A key without what only groups it."""
    return _GROUPING.sub("", key)


def normal(key: str) -> str:
    """A key as two are compared: without what groups it, in capitals."""
    return plain(key).upper()


def digests(key: str) -> list[bytes]:
    """What finds a key, by each key of the vault, the current one first.

    Between a new one and the rotation, project keys are found by the one before.
    """
    return vault.digests(normal(key), about=_ABOUT)
