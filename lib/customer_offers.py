"""What can be done to the customers of a list, each by its own state (row G3)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import Connection, text

from lib import customer_states, customers, project_keys
from lib.customer_states import NOTHING, Action


def of_several(conn: Connection, customer_ids: Sequence[int], *, today: date) -> dict[int, frozenset[Action]]:
    """What each customer's state, main user and project key allow; what depends on other bookings is not asked."""
    found = conn.execute(
        text("""SELECT customer_id, CASE WHEN registered_at IS NULL THEN 'invited' ELSE 'active' END AS state
                  FROM customer_users WHERE is_main AND customer_id = ANY(CAST(:ids AS bigint[]))"""),
        {"ids": list(customer_ids)},
    )
    main = {row.customer_id: row.state for row in found}
    keys = project_keys.until(conn, customer_ids, today=today)
    return {
        customer.id: customer_states.offers(
            customer, replace(NOTHING, key_until=keys.get(customer.id)), main.get(customer.id)
        )
        for customer in customers.several(conn, customer_ids)
    }
