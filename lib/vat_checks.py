"""Checks of a customer's VAT ID against VIES, kept as evidence (row G10; § 18e UStG).

Format and check digit are checked when an ID is saved (`lib/vat.py`). Where Settings ask for VIES,
an ID of another EU country counts as valid only once VIES said so.
"""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, insert, text

from lib import audit, customers
from lib.auth import Permission, User, require
from lib.errors import Conflict
from lib.tables import vat_checks
from lib.vies import Answer


@dataclass(frozen=True)
class VatCheck:
    """One question to VIES and its answer; `valid` is None where it didn't answer."""

    id: int
    vat_id: str
    checked_at: datetime
    valid: bool | None
    reference: str
    answer: str
    person: str


def checks_of(conn: Connection, customer_id: int, *, limit: int = 20) -> list[VatCheck]:
    """The checks of a customer, the newest first."""
    found = conn.execute(
        text("""SELECT k.id, k.vat_id, k.checked_at, k.valid, k.reference, k.answer,
                       coalesce(s.name, 'System') AS person
                  FROM vat_checks k LEFT JOIN staff s ON s.id = k.checked_by
                 WHERE k.customer_id = :id ORDER BY k.id DESC LIMIT :limit"""),
        {"id": customer_id, "limit": limit},
    )
    return [VatCheck(**row._mapping) for row in found]


def record(conn: Connection, customer_id: int, *, vat_id: str, answer: Answer, today: date, user: User) -> None:
    """Keep an answer, and let a clear one decide whether the ID counts as valid. No answer changes nothing.

    Raises Conflict where the customer's ID is no longer the one that was asked about.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    before = customers.held_for_change(conn, customer_id)
    if before.vat_id != vat_id:
        raise Conflict("The VAT ID was changed while VIES was asked. Check the new one.")
    conn.execute(
        insert(vat_checks).values(
            customer_id=customer_id, vat_id=vat_id, valid=answer.valid, reference=answer.reference,
            answer=answer.words, checked_by=user.id,
        )
    )  # fmt: skip
    if answer.valid is not None:
        customers.rewrite(conn, customer_id, vat_id_valid=answer.valid, vat_id_checked_on=today)
    # Not the answer itself: it may name a person, and the log holds nothing personal.
    changes = {"registered": (None, answer.valid), "reference": (None, answer.reference)}
    audit.record(
        conn, "check VAT ID", "customer", customer_id, user_id=user.id, customer_id=customer_id, changes=changes
    )


def forget(conn: Connection, customer_id: int) -> int:
    """Drop the checks of an erased customer that no document rests on; returns how many."""
    return conn.execute(text("DELETE FROM vat_checks WHERE customer_id = :id"), {"id": customer_id}).rowcount
