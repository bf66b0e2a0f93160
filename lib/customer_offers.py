"""What can be done to the customers of a list, each by its own state (row G3)."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from lib import customer_states, customers
from lib.customer_states import Action


def of_several(conn: Connection, customer_ids: Sequence[int]) -> dict[int, frozenset[Action]]:
    """What each customer's state and main user allow; what depends on bookings is not asked."""
    found = conn.execute(
        text("""SELECT customer_id, CASE WHEN registered_at IS NULL THEN 'invited' ELSE 'active' END AS state
                  FROM customer_users WHERE is_main AND customer_id = ANY(CAST(:ids AS bigint[]))"""),
        {"ids": list(customer_ids)},
    )
    main = {row.customer_id: row.state for row in found}
    return {
        customer.id: customer_states.offers(customer, main=main.get(customer.id))
        for customer in customers.several(conn, customer_ids)
    }
