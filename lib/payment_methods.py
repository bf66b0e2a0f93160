"""Which payment methods customers are offered, and what ours need (row G16).

A method that is not active is chosen for nobody any more, by no form, no bulk change and no file. What a method can do
beyond being chosen stands elsewhere: `lib/debits.py` collects by direct debit, `lib/cards.py` by credit card.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text, update
from stdnum.eu import at_02
from stdnum.exceptions import ValidationError

from lib import audit, fields
from lib.auth import Permission, User, require
from lib.customer_fields import PAYMENT_METHODS
from lib.errors import AlreadyDone, Conflict, Invalid
from lib.tables import payment_methods as table

# What a customer has unless another is chosen; the column's default.
USUAL = "bank_transfer"
# Customers that a refusal names before it says how many more there are.
NAMED = 3
_LOCK = "hashtextextended('payment_methods', 2)"


@dataclass(frozen=True)
class Method:
    """A payment method, and how many customers have it."""

    code: str
    active: bool
    creditor_id: str
    version: int
    customers: int

    @property
    def label(self) -> str:
        """What it is called."""
        return PAYMENT_METHODS[self.code]


def methods(conn: Connection) -> list[Method]:
    """All of them in their usual order."""
    found = conn.execute(
        text("""SELECT m.code, m.active, m.creditor_id, m.version, coalesce(c.customers, 0) AS customers
                  FROM payment_methods m
                  LEFT JOIN (SELECT payment_method, count(*) AS customers FROM customers
                              WHERE erased_at IS NULL GROUP BY payment_method) c ON c.payment_method = m.code""")
    )
    by_code = {row.code: Method(**row._mapping) for row in found}
    return [by_code[code] for code in PAYMENT_METHODS]


def creditor_id(conn: Connection) -> str:
    """Who we are to the banks that collect by direct debit; empty where it isn't entered."""
    return str(conn.scalar(text("SELECT creditor_id FROM payment_methods WHERE code = 'direct_debit'")) or "")


def offered(conn: Connection, *, beside: str = "") -> dict[str, str]:
    """The active methods with their labels, and the one that a customer has already, whatever became of it."""
    active = _active(conn)
    return {code: label for code, label in PAYMENT_METHODS.items() if code in active or code == beside}


def require_offered(conn: Connection, code: str, *, field: str = "payment_method") -> None:
    """Refuse with Invalid to choose an inactive method; nobody deactivates this one until the transaction ends."""
    hold(conn)
    if code not in _active(conn):
        raise Invalid(not_offered(code), field=field)


def not_offered(code: str) -> str:
    """Why a method can't be chosen."""
    return (
        f"{PAYMENT_METHODS[code]} is not offered any more. Choose another payment method, or have this one activated "
        "under Payment methods."
    )


def hold(conn: Connection) -> set[str]:
    """The active methods, none of which is deactivated until the transaction ends."""
    # No row is locked: the portal's role, by which customers register, may only read here.
    conn.execute(text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"))
    return _active(conn)


def of_new(conn: Connection, chosen: Mapping[str, Any]) -> dict[str, str]:
    """What a new customer's columns need beside what was chosen: the first active method where the usual one isn't."""
    if "payment_method" in chosen:
        require_offered(conn, chosen["payment_method"])
        return {}
    first = first_offered(hold(conn))
    return {} if first == USUAL else {"payment_method": first}


def first_offered(active: set[str]) -> str:
    """The method that is taken where nobody chooses one."""
    return next(code for code in PAYMENT_METHODS if code in active)


def activate(conn: Connection, code: str, *, user: User) -> None:
    """Offer a method again. Raises AlreadyDone where it is offered."""
    require(user, Permission.EDIT_PAYMENT_METHODS)
    _switch(conn, code, True, user)


def deactivate(conn: Connection, code: str, *, user: User) -> None:
    """Offer a method no more. Raises Conflict while customers have it, naming them, and for the last one."""
    require(user, Permission.EDIT_PAYMENT_METHODS)
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    _switch(conn, code, False, user)
    _require_unused(conn, code)
    if not _active(conn):
        raise Conflict("One payment method has to stay active: a new customer needs one.")


def set_creditor_id(conn: Connection, *, version: int, creditor_id: str, user: User) -> None:
    """Save our SEPA creditor identifier; empty while we have none. Raises Invalid at its field, Conflict if stale."""
    require(user, Permission.EDIT_PAYMENT_METHODS)
    typed = fields.line(creditor_id, field="creditor_id", label="The creditor identifier", longest=50)
    try:
        value = at_02.validate(typed) if typed else ""
    except ValidationError as error:
        raise Invalid(
            f"“{typed}” is not a creditor identifier: its length or its check digits are wrong. It looks like "
            "DE98ZZZ09999999999.",
            field="creditor_id",
        ) from error
    before = conn.execute(
        text("SELECT version, creditor_id FROM payment_methods WHERE code = 'direct_debit' FOR UPDATE")
    ).one()
    if before.version != version:
        raise Conflict("Somebody changed this after you opened it. Nothing was saved: reload and enter yours again.")
    if before.creditor_id != value:
        conn.execute(update(table).where(table.c.code == "direct_debit").values(creditor_id=value, version=version + 1))
        changes = {"creditor_id": (before.creditor_id, value)}
        audit.record(conn, "edit", "payment method", "direct_debit", user_id=user.id, changes=changes)


def _active(conn: Connection) -> set[str]:
    return set(conn.scalars(text("SELECT code FROM payment_methods WHERE active")))


def _switch(conn: Connection, code: str, active: bool, user: User) -> None:
    fields.one_of(code, PAYMENT_METHODS, field="code", label="The payment method")
    claimed = conn.execute(
        update(table).where(table.c.code == code, table.c.active.is_(not active)).values(
            active=active, version=table.c.version + 1
        )
    )  # fmt: skip
    if claimed.rowcount == 0:
        raise AlreadyDone(f"{PAYMENT_METHODS[code]} is {'active' if active else 'inactive'} already.")
    changes = {"active": (not active, active)}
    audit.record(conn, "activate" if active else "deactivate", "payment method", code, user_id=user.id, changes=changes)


def _require_unused(conn: Connection, code: str) -> None:
    found = conn.execute(
        text("""SELECT name, count(*) OVER () AS customers FROM customers
                 WHERE payment_method = :code AND erased_at IS NULL ORDER BY sort_name, id LIMIT :named"""),
        {"code": code, "named": NAMED},
    ).all()
    if not found:
        return
    many, names = found[0].customers, ", ".join(row.name for row in found)
    more = f" and {many - len(found):,} more" if many > len(found) else ""
    have = "1 customer has it" if many == 1 else f"{many:,} customers have it"
    raise Conflict(
        f"{PAYMENT_METHODS[code]} can't be deactivated while {have}: {names}{more}. Choose another payment method for "
        "them first: filter the list of customers by payment method, select them, and set another."
    )
