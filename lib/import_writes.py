"""Which module plans and writes the rows of each kind of import (row B11)."""

from collections.abc import Callable, Iterator
from datetime import date

from sqlalchemy import Connection

from lib import billing, charges, import_bookings, import_customer_writes, import_customers, import_people, import_usage
from lib.auth import User
from lib.import_fields import Kind
from lib.import_kinds import BOOKINGS, CONTACTS, CUSTOMERS, USAGE, USERS
from lib.import_plans import Plan, Planned
from lib.import_rows import Rows

# So many rows are written by one round of statements: often enough for a progress to be seen.
_AT_ONCE = 10_000


def planned(conn: Connection, kind: Kind, rows: Rows, *, today: date, hold: bool) -> Plan:
    """What the rows would do; notes faults in `rows`. `hold` locks what is touched until the transaction ends."""
    if kind is CUSTOMERS:
        return import_customers.plan(conn, rows, today=today, hold=hold)
    if kind is CONTACTS:
        return import_people.plan_contacts(conn, rows, hold=hold)
    if kind is USERS:
        return import_people.plan_users(conn, rows, hold=hold)
    if kind is BOOKINGS:
        return import_bookings.plan(conn, rows, today=today, hold=hold)
    assert kind is USAGE
    return import_usage.plan(conn, rows, today=today, hold=hold)


def write(
    conn: Connection,
    kind: Kind,
    plan: Plan,
    *,
    import_id: int,
    today: date,
    user: User,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Do a plan that was made with `hold`, in the caller's transaction. `progress` hears how many rows are done."""
    billing.allow_memory(conn)
    changing = plan.changing()
    done = len(plan.rows) - len(changing)
    progress(done)
    if kind is USAGE and changing:
        import_usage.write(conn, changing, import_id=import_id, user=user)
        progress(len(plan.rows))
        return
    for rows in _parts(changing):
        if kind is CUSTOMERS:
            import_customer_writes.write(conn, plan, rows, today=today, user=user)
        elif kind is CONTACTS:
            import_people.write_contacts(conn, plan, rows, user=user)
        elif kind is USERS:
            import_people.write_users(conn, plan, rows, user=user)
        elif kind is BOOKINGS:
            import_bookings.write(conn, plan, rows, user=user)
        done += len(rows)
        progress(done)
    if kind is BOOKINGS:
        charges.keep(conn, customers=sorted({row.customer_id for row in changing}))
    if kind is CUSTOMERS and (moved := import_customer_writes.moving(plan, changing)):
        charges.keep(conn, customers=sorted(row.customer_id for row in moved))


def refuse_second_plans(rows: Rows, plan: Plan, customers: set[int]) -> None:
    """Note a fault at each row that books a plan for one of these customers, who would have two at a time."""
    for row in plan.rows:
        if row.customer_id in customers and row.after[0].kind == "plan":
            message = "The customer would have two plans at a time. End the one before the other starts."
            rows.faults.add(row.line, message, name="product", value=row.after[0].code)


def _parts(rows: list[Planned]) -> Iterator[list[Planned]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]
