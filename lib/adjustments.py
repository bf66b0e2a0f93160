"""Adjustments: corrections of a closed month and one-off charges, as charges of the open month."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, func, insert, text, update

from lib import audit, charges, customers, fields, money, periods, vat
from lib.auth import Permission, User, require
from lib.clock import month_of
from lib.customer_states import Action
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.money import CENT, LARGEST
from lib.requests import once
from lib.tables import adjustments


@dataclass(frozen=True)
class Adjustment:
    """A net amount charged in `month`, for what belongs to `month_meant`."""

    id: int
    customer_id: int
    month: date
    month_meant: date
    text: str
    amount: Decimal
    reason: str
    recorded_at: datetime
    recorded_by: str
    vat_treatment: str = "standard"
    exempt_reason: str = ""


def adjustments_of(conn: Connection, customer_id: int) -> list[Adjustment]:
    """The adjustments of a customer that were not withdrawn, the newest first."""
    found = conn.execute(
        text("""SELECT a.id, a.customer_id, a.month, a.month_meant, a.text, a.amount, a.reason, a.recorded_at,
                       coalesce(s.name, 'System') AS recorded_by, a.vat_treatment, a.exempt_reason
                  FROM adjustments a LEFT JOIN staff s ON s.id = a.recorded_by
                 WHERE a.customer_id = :id AND a.withdrawn_at IS NULL ORDER BY a.month DESC, a.id DESC"""),
        {"id": customer_id},
    )
    return [Adjustment(**row._mapping) for row in found]


def add(
    conn: Connection,
    customer_id: int,
    *,
    text: str,
    amount: Decimal | str,
    month_meant: date,
    reason: str,
    month: date | None = None,
    vat_treatment: str = "standard",
    exempt_reason: str = "",
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Charge (or, negative, credit) a billed customer an amount in an open month. Returns its id.

    `month` is the one it is charged in, the first open one by default. `month_meant` is the one
    that it belongs to, and prints as its service period: its last day decides the VAT rate. An amount may be given as
    it was typed. What is exempt prints its reason, in the customer's language.
    """
    require(user, Permission.EDIT_ADJUSTMENTS)
    once(conn, request_key)
    first_open = periods.hold_open_month(conn)
    month = month_of(month or first_open)
    periods.require_open(first_open, month, field="month")
    customer = customers.held_for_change(conn, customer_id, Action.CHARGE)
    if not customer.billed:
        raise Conflict(f"{customer.name} is a test customer and has no charges.")
    if month_of(month_meant) > month:
        raise Invalid("The month meant lies ahead of the month it is charged in.", field="month_meant")
    with fields.all_of() as check:
        taxed = check(_taxed, vat_treatment, exempt_reason)
        values = {
            "text": check(fields.line, text, field="text", label="The text", required=True),
            "reason": check(fields.line, reason, field="reason", label="The reason", required=True),
            "amount": check(_checked_amount, amount),
            "month": month,
            "month_meant": month_of(month_meant),
        }
    values |= taxed
    with conflicts(periods.REFUSALS):
        adjustment_id: int = conn.execute(
            insert(adjustments)
            .values(customer_id=customer_id, recorded_by=user.id, **values)
            .returning(adjustments.c.id)
        ).scalar_one()
    charges.keep(conn, customers=[customer_id])
    changes = audit.difference({}, values)
    audit.record(conn, "add", "adjustment", adjustment_id, user_id=user.id, customer_id=customer_id, changes=changes)
    return adjustment_id


def withdraw(conn: Connection, adjustment_id: int, *, user: User) -> None:
    """Take back an adjustment whose month is still open; later ones are corrected by another one."""
    require(user, Permission.EDIT_ADJUSTMENTS)
    first_open = periods.hold_open_month(conn)
    row = conn.execute(
        text("SELECT customer_id, month, amount, withdrawn_at FROM adjustments WHERE id = :id FOR UPDATE"),
        {"id": adjustment_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This adjustment does not exist.")
    customers.held(conn, row.customer_id)
    if row.withdrawn_at is not None:
        raise Conflict("This adjustment was already withdrawn.")
    if row.month < first_open:
        raise Conflict("Its month is closed. Add an adjustment with the opposite amount instead.")
    conn.execute(update(adjustments).where(adjustments.c.id == adjustment_id).values(withdrawn_at=func.now()))
    charges.keep(conn, customers=[row.customer_id])
    changes = {"amount": (row.amount, None)}
    audit.record(
        conn, "withdraw", "adjustment", adjustment_id, user_id=user.id, customer_id=row.customer_id, changes=changes
    )


def _taxed(treatment: str, exempt_reason: str) -> dict[str, str]:
    reason = fields.line(exempt_reason, field="exempt_reason", label="The reason of the exemption")
    return {"vat_treatment": vat.treatment(treatment, reason), "exempt_reason": reason}


def _checked_amount(given: Decimal | str) -> Decimal:
    amount = given if isinstance(given, Decimal) else money.parse(given, field="amount", negative=True)
    if amount == 0:
        raise Invalid("The amount is 0.00: there is nothing to adjust.", field="amount")
    if amount != amount.quantize(CENT):
        raise Invalid("An amount has at most 2 decimals.", field="amount")
    if abs(amount) > LARGEST:
        raise Invalid("The amount is too large.", field="amount")
    return amount
