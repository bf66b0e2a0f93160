"""When a quota is nearly used up, and when it or a licence nears its end (row D3): derived here and nowhere else.

A warning ends nothing and is stored nowhere: it is there while what it says is true. A quota that
another one of its kind follows without a gap does not warn of its end. One that ended without a
successor goes on warning for as long as it did before; an expired licence until its day is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

# So many days before an end.
DAYS = 30
NEAR = Decimal("0.8")
LEVELS = {
    "near": "80 % used",
    "reached": "100 % used",
    "ending": f"Ends within {DAYS} days",
    "ended": "Ended",
}

# A row per warning: of which customer, about what (a kind of quota, or licence), at which of LEVELS.
_WARNINGS = f"""(
    SELECT customer_id, kind AS about, CASE WHEN used >= amount THEN 'reached' ELSE 'near' END AS level,
           used, amount, until_day AS day
      FROM quotas
     WHERE from_day <= :today AND (until_day IS NULL OR until_day >= :today) AND used >= {NEAR} * amount
    UNION ALL
    SELECT q.customer_id, q.kind, CASE WHEN q.until_day < :today THEN 'ended' ELSE 'ending' END, NULL, NULL, q.until_day
      FROM quotas q
     WHERE q.until_day BETWEEN CAST(:today AS date) - {DAYS} AND CAST(:today AS date) + {DAYS}
       AND NOT EXISTS (SELECT FROM quotas n WHERE n.customer_id = q.customer_id AND n.kind = q.kind
                        AND (n.from_day = q.until_day + 1 OR n.from_day > q.until_day AND n.from_day <= :today))
    UNION ALL
    SELECT id, 'licence', CASE WHEN licence_expires_on < :today THEN 'ended' ELSE 'ending' END, NULL, NULL,
           licence_expires_on
      FROM customers WHERE licence_expires_on <= CAST(:today AS date) + {DAYS}
)"""
# The condition that a customer (alias c) has a warning at one of :warning_levels.
WARNED = f"c.id IN (SELECT w.customer_id FROM {_WARNINGS} w WHERE w.level = ANY(CAST(:warning_levels AS text[])))"


@dataclass(frozen=True)
class Warned:
    """A warning: `about` is a kind of quota or licence, `level` one of LEVELS, `day` the last one that counts.

    `used` of `amount` (credits or GB) where it is about use.
    """

    about: str
    level: str
    used: Decimal | None
    amount: Decimal | None
    day: date | None


def warnings_of(conn: Connection, customer_id: int, *, today: date) -> Sequence[Warned]:
    """What there is to warn of at one customer, the worst first."""
    found = conn.execute(
        text(f"SELECT about, level, used, amount, day FROM {_WARNINGS} w WHERE customer_id = :id"),
        {"id": customer_id, "today": today},
    )
    order = ("reached", "ended", "near", "ending")
    return sorted((Warned(**row._mapping) for row in found), key=lambda one: (order.index(one.level), one.about))
