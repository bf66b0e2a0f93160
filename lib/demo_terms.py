"""Plans and modules of the demo that are not charged at the close: free, tried, or invoiced in advance."""

from datetime import date

from sqlalchemy import Connection

from lib import issuing, term_actions, term_invoices
from lib.auth import Role
from lib.demo_seed import People
from lib.term_offers import TermAction


def enter(conn: Connection, people: People, *, customer_id: int, product_id: int, action: str, today: date) -> None:
    """Enter one row of `terms.csv`. What is paid for is issued at once; its payment begins it (`lib/demo.py`)."""
    if action == "free":
        term_actions.activate_free(conn, customer_id, product_id, today=today, user=people[Role.SALES])
    elif action == "trial":
        term_actions.activate_trial(conn, customer_id, product_id, today=today, user=people[Role.SALES])
    else:
        finance = people[Role.FINANCE]
        cycle = TermAction[action.upper()]
        invoice_id = term_invoices.make(conn, customer_id, product_id, cycle, today=today, user=finance)
        issuing.issue(conn, [invoice_id], today=today, user=finance)
