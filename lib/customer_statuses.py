"""The one status that lists and headers show of a customer: erased, locked, invited, ending, active, … (row G1).

What can be done to a customer is another question, which `lib/customer_states.py` answers.
"""

from datetime import date

from sqlalchemy import Connection, text

# The first that holds. Alias c is customers.
_RULES = {
    "erased": "c.erased_at IS NOT NULL",
    "marked": "c.marked_for_deletion_at IS NOT NULL",
    "locked": "c.locked_at IS NOT NULL",
    "deactivated": "NOT c.active",
    "invited": """EXISTS (SELECT FROM customer_users u
                          WHERE u.customer_id = c.id AND u.is_main AND u.registered_at IS NULL)""",
    "ended": "coalesce(c.ends_on < :today, false)",
    "ending": "coalesce(c.ends_on <= CAST(:today AS date) + 28, false)",
    # Not EXISTS: joined to the whole ledger, instead of asked for each customer, it took minutes.
    "active": """coalesce((SELECT true FROM booked_spans b WHERE b.customer_id = c.id AND b.from_day <= :today
                              AND (b.until_day IS NULL OR b.until_day > :today) LIMIT 1), false)
                   OR coalesce((SELECT true FROM terms t WHERE t.customer_id = c.id AND t.state = 'active'
                      AND t.from_day <= :today AND (t.until_day IS NULL OR t.until_day > :today) LIMIT 1), false)""",
    "inactive": "true",
}
STATUSES = tuple(_RULES)
STATUS = f"CASE {' '.join(f'WHEN {rule} THEN {name!r}' for name, rule in _RULES.items())} END"


def status(conn: Connection, customer_id: int, *, today: date) -> str:
    """The status of one customer, one of STATUSES."""
    found: str = conn.scalar(
        text(f"SELECT {STATUS} FROM customers c WHERE c.id = :id"), {"id": customer_id, "today": today}
    )
    return found


def condition(status: str) -> str:
    """Of the table customers c, that a customer has this status, without asking the rules that come after it."""
    if status not in _RULES:
        return "false"
    before = STATUSES[: STATUSES.index(status)]
    return " AND ".join([*(f"NOT {_RULES[earlier]}" for earlier in before), _RULES[status]])
