"""The demo company: `data/seed/*.csv`, entered day by day by the functions that the pages call.

What the files say is done as the person of that role on the day they name, months are closed in
between as a finance clerk would, and the last month that ended is left for the user to close. So
the demo holds nothing that could not have been clicked together; only the audit log's times are
those of the load. The columns are explained in `data/seed/README.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy import Row as Selected

from lib import (
    adjustments,
    bookings,
    cancellations,
    close_drafts,
    contacts,
    customer_users,
    customer_verbs,
    customers,
    deletions,
    demo_payments,
    demo_seed,
    demo_terms,
    demo_usage,
    drafts,
    erasures,
    invites,
    invoices,
    issuing,
    links,
    months,
    payments,
    project_key_redemptions,
    project_key_stock,
    subscriptions,
    vault,
)
from lib.auth import Role
from lib.clock import month_of, months_between, next_month
from lib.demo_seed import People, Row
from lib.errors import Conflict

FIRST_MONTH = date(2024, 12, 1)
# A month is closed on this day of the next one, or on the Monday after.
CLOSING_DAY = 5
_FLAGS = ("separate_billing", "users_beyond_max")
_NOT_DETAILS = ("key", "created", "billed", "ends_on", *_FLAGS)


@dataclass
class _Loading:
    """The load so far: who acts, the ids of what the files call by code and key, months approved and not locked."""

    conn: Connection
    people: People
    products: dict[str, int]
    customers: dict[str, int] = field(default_factory=dict)
    approved: list[date] = field(default_factory=list)


def load(conn: Connection, *, today: date) -> None:
    """Enter the demo company as it stood at `today`, in the caller's transaction.

    Months are closed through the one before the last that ended; the seed's last entries are of
    2026, after which nothing changes any more. Raises Conflict where the database isn't empty.
    """
    demo_seed.require_empty(conn)
    if today < FIRST_MONTH:
        raise Conflict(f"The demo company starts in {FIRST_MONTH:%B %Y}; set MANDANT_TODAY to a later day.")
    people, catalogue = demo_seed.set_up(conn, first_month=FIRST_MONTH)
    loading = _Loading(conn, people, catalogue)
    for happens_on, _, do in sorted(_closings(today) + _entries(), key=lambda entry: entry[:2]):
        if happens_on <= today:
            do(loading, happens_on)
    _collect(loading, today)
    demo_usage.enter(conn, loading.customers, people, today=today)
    demo_payments.enter(conn, people, today=today)


Step = Callable[[_Loading, date], None]


def _closings(today: date) -> list[tuple[date, int, Step]]:
    """Every month's close on its day, before anything else that day. The last month that ended is left open."""
    closed = months_between(FIRST_MONTH, next_month(month_of(today), by=-2))
    return [(_closing_day(month), 0, _close) for month in closed]


def _closing_day(month: date) -> date:
    day = next_month(month).replace(day=CLOSING_DAY)
    return day + timedelta(days=(7 - day.weekday()) % 7 if day.weekday() > 4 else 0)


def _close(loading: _Loading, today: date) -> None:
    """Approve, issue, lock. Drafts that lack something hold their month open until they are completed."""
    conn, finance = loading.conn, loading.people[Role.FINANCE]
    _collect(loading, today)
    demo_payments.enter(conn, loading.people, today=today)
    month = next_month(month_of(today), by=-1)
    months.approve(conn, month, today=today, user=finance)
    # Nothing is committed yet, so the server gathers no statistics by itself.
    conn.execute(text("ANALYZE customers, lifecycle, bookings, charges, statements, invoices, invoice_lines"))
    waiting = [*loading.approved, month]
    loading.approved = [m for m in waiting if issuing.issue_month(conn, m, today=today, user=finance).blocked]
    for complete in sorted(set(waiting) - set(loading.approved)):
        months.lock(conn, complete, user=finance)


def _collect(loading: _Loading, today: date) -> None:
    """Customers pay on the day that is due, but for those of whom a file says that they don't, or not all."""
    conn, finance = loading.conn, loading.people[Role.FINANCE]
    unpaid = {(loading.customers.get(row["customer"]), row["month"]): row["paid"] for row in demo_seed.rows("unpaid")}
    together: dict[tuple[date, str], list[int]] = {}
    for invoice in _due(conn, today):
        part = unpaid.get((invoice.customer_id, str(invoice.month or "")))
        if part is None:
            together.setdefault((invoice.due_on, invoice.payment_method), []).append(invoice.id)
        elif part and invoice.state == "issued":
            payments.record(
                conn, invoice.id, amount=Decimal(part), paid_on=invoice.due_on, method=invoice.payment_method,
                today=today, user=finance,
            )  # fmt: skip
    for (due_on, method), invoice_ids in together.items():
        payments.settle(conn, invoice_ids, paid_on=due_on, method=method, today=today, user=finance)


def _due(conn: Connection, today: date) -> Sequence[Selected[Any]]:
    return conn.execute(
        text("""SELECT i.id, i.customer_id, i.month, i.state, i.due_on,
                       CASE WHEN c.payment_method IN ('direct_debit', 'card') THEN c.payment_method
                            ELSE 'bank_transfer' END AS payment_method
                  FROM invoices i JOIN customers c ON c.id = i.customer_id
                 WHERE i.kind = 'invoice' AND i.gross > 0 AND i.state IN ('issued', 'partly_paid')
                   AND i.due_on <= :today
                 ORDER BY i.due_on, i.id"""),
        {"today": today},
    ).all()


def _entries() -> list[tuple[date, int, Step]]:
    """All rows of the files with their day. On one day: customers, then their data, prices, what they book, money."""
    files: list[tuple[str, str, Callable[[_Loading, date, Row], None]]] = [
        ("customers", "created", _customer),
        ("lifecycle", "day", _lifecycle),
        ("prices", "day", _price),
        ("bookings", "day", _booking),
        ("adjustments", "day", _adjustment),
        ("invoices", "day", _invoice),
        ("terms", "day", _term),
        ("users", "day", _user),
        ("contacts", "day", _contact),
    ]
    if vault.configured():  # without a key of the vault nothing is sealed
        files += [("project_keys", "day", _project_key), ("project_keys", "redeemed", _redemption)]
    return [
        (date.fromisoformat(row[column]), order, _step(enter, row))
        for order, (name, column, enter) in enumerate(files, start=1)
        for row in demo_seed.rows(name)
        if row[column]
    ]


def _step(enter: Callable[[_Loading, date, Row], None], row: Row) -> Step:
    return lambda loading, today: enter(loading, today, row)


def _customer(loading: _Loading, today: date, row: Row) -> None:
    details = {name: value for name, value in row.items() if value and name not in _NOT_DETAILS}
    flags = {name: row[name] == "yes" for name in _FLAGS}
    loading.customers[row["key"]] = customers.create(
        loading.conn,
        details=details | flags,
        billed=row["billed"] == "yes",
        ends_on=demo_seed.day(row["ends_on"]),
        today=today,
        user=loading.people[Role.SALES],
    )


def _lifecycle(loading: _Loading, today: date, row: Row) -> None:
    conn, customer_id, user = loading.conn, loading.customers[row["customer"]], loading.people[Role.SALES]
    action, value = row["action"], row["value"]
    if action == "convert":
        customer_verbs.convert_to_billed(conn, customer_id, ends_on=demo_seed.day(value), today=today, user=user)
    elif action == "end":
        customer_verbs.set_end_date(conn, customer_id, ends_on=demo_seed.day(value), today=today, user=user)
    elif action == "deactivate":
        customer_verbs.deactivate(conn, customer_id, reason=value, today=today, user=user)
    elif action == "activate":
        customer_verbs.activate(conn, customer_id, today=today, user=user)
    elif action == "lock":
        customer_verbs.lock(conn, customer_id, user=user)
    elif action == "cancel":
        subscriptions.cancel(conn, customer_id, today=today, user=user)
    elif action == "delete":
        _delete(loading, customer_id, today)
    else:
        version = customers.customer(conn, customer_id).version
        customers.edit(conn, customer_id, version=version, changes={action: value}, today=today, user=user)


def _delete(loading: _Loading, customer_id: int, today: date) -> None:
    """Marked and, as on any day after, erased; of what is left to us one duty is done and one is open."""
    conn, user = loading.conn, loading.people[Role.SALES]
    deletions.mark(conn, customer_id, typed=deletions.WORD, today=today, user=user)
    deletion = deletions.deletion_of(conn, customer_id)
    assert deletion is not None
    erasures.erase(conn, deletion.id, customer_id, today=today)
    first = deletions.duties_of(conn, deletion.id)[0]
    deletions.sign_off(conn, first.id, user=loading.people[Role.ADMIN])


def _price(loading: _Loading, today: date, row: Row) -> None:
    demo_seed.price(
        loading.conn,
        row,
        valid_from=date.fromisoformat(row["valid_from"]),
        product_id=loading.products[row["product"]],
        customer_id=loading.customers[row["customer"]] if row["customer"] else None,
        people=loading.people,
    )


def _booking(loading: _Loading, today: date, row: Row) -> None:
    bookings.book(
        loading.conn,
        loading.customers[row["customer"]],
        loading.products[row["product"]],
        effective_on=demo_seed.day(row["effective"]) or today,
        quantity=int(row["quantity"]),
        internal=demo_seed.number(row["internal"]),
        external=demo_seed.number(row["external"]),
        ends_on=demo_seed.day(row["until"]),
        today=today,
        user=loading.people[Role.SALES],
    )


def _adjustment(loading: _Loading, today: date, row: Row) -> None:
    adjustments.add(
        loading.conn,
        loading.customers[row["customer"]],
        text=row["text"],
        amount=Decimal(row["amount"]),
        month=month_of(today),
        month_meant=demo_seed.day(row["month_meant"]) or month_of(today),
        reason=row["reason"],
        user=loading.people[Role.FINANCE],
    )


def _invoice(loading: _Loading, today: date, row: Row) -> None:
    conn, user, customer_id = loading.conn, loading.people[Role.FINANCE], loading.customers[row["customer"]]
    actions = row["action"].split(" and ")
    month = demo_seed.day(row["month"])
    draft = None
    if "cancel" in actions and month:
        cancellations.cancel(conn, _document(conn, customer_id, month), reason=row["reason"], today=today, user=user)
    if "draft again" in actions and month:
        draft = close_drafts.draft_unbilled(conn, customer_id, month, user=user)
    if "write" in actions:
        quantity, unit_price = Decimal(row["quantity"]), Decimal(row["unit_price"])
        line = drafts.DraftLine(row["text"], row["detail"], quantity, row["unit"], unit_price)
        draft = drafts.create(conn, customer_id, service_from=today, service_until=today, lines=[line], user=user)
    if "issue" in actions and draft:
        issuing.issue(conn, [draft], today=today, user=user)


def _term(loading: _Loading, today: date, row: Row) -> None:
    demo_terms.enter(
        loading.conn, loading.people, customer_id=loading.customers[row["customer"]],
        product_id=loading.products[row["product"]], action=row["action"], today=today,
    )  # fmt: skip


def _user(loading: _Loading, today: date, row: Row) -> None:
    conn, customer_id, user = loading.conn, loading.customers[row["customer"]], loading.people[Role.SALES]
    if row["state"] == "deactivated":
        [person] = customer_users.users_of(conn, customer_id, row["email"])
        customer_users.deactivate(conn, person.id, version=person.version, user=user)
        return
    details: dict[str, Any] = {name: row[name] for name in ("salutation", "first_name", "surname", "email")}
    invited = row["state"] == "invited"
    user_id = invites.invite(conn, customer_id, send=invited, user=user, **details)
    # Without a key no link can be made: such a demo has invited users only.
    if not invited and vault.configured():
        secret = links.secret(conn, links.create(conn, user_id, "invite"))
        invites.accept(conn, secret, demo_seed.PORTAL_PASSWORD)


def _contact(loading: _Loading, today: date, row: Row) -> None:
    contacts.add(
        loading.conn,
        loading.customers[row["customer"]],
        name=row["name"],
        phone=row["phone"],
        email=row["email"],
        is_billing=row["billing"] == "yes",
        user=loading.people[Role.SALES],
    )


def _project_key(loading: _Loading, today: date, row: Row) -> None:
    project_key_stock.add(
        loading.conn,
        key=row["key"],
        ips=int(row["ips"]),
        months=int(row["months"]),
        purchase_price=Decimal(row["purchase_price"]),
        redeem_until=demo_seed.day(row["redeem_until"]),
        today=today,
        user=loading.people[Role.ADMIN],
    )


def _redemption(loading: _Loading, today: date, row: Row) -> None:
    internal = int(row["internal"])
    terms = project_key_redemptions.Terms(
        Decimal(row["selling_price"]), row["charging"], internal, int(row["ips"]) - internal, instantly=True
    )
    customer_id = loading.customers[row["customer"]]
    user = loading.people[Role.SALES]
    project_key_redemptions.redeem(loading.conn, customer_id, row["key"], terms, today=today, user=user)


def _document(conn: Connection, customer_id: int, month: date) -> int:
    """The document of a customer's closed month that stands."""
    documents = invoices.invoices_of(conn, customer_id)
    return next(document.id for document in documents if document.month == month and document.state == "issued")
