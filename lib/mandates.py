"""SEPA mandates: what a customer signed so that we may collect from its account (row G16).

One of a customer is valid at a time; a revoked one stays until the customer is erased. IBANs are sealed by
`lib/vault.py`; only their last four characters are shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from sqlalchemy import Connection, func, insert, text, update

from lib import audit, customers, db, fields, vault
from lib.auth import Permission, User, require
from lib.errors import AlreadyDone, Invalid, NotFound
from lib.requests import once
from lib.tables import mandates as table

SHOWN = 4
# What banks take as a reference: no umlauts, no spaces (rulebook, AT-01).
_REFERENCE = re.compile(r"[A-Za-z0-9+?/:().,'-]{1,35}")
# In SEPA but not in the EEA: there a BIC is asked for, too.
BIC_NEEDED = frozenset({"AD", "CH", "GB", "GG", "GI", "IM", "JE", "MC", "SM", "VA", "AL", "ME", "MD", "MK", "RS"})


@dataclass(frozen=True)
class Mandate:
    """A mandate as pages show it: of the IBAN only its last four characters."""

    id: int
    customer_id: int
    reference: str
    holder: str
    iban_ending: str
    signed_on: date
    revoked_at: datetime | None
    recorded_at: datetime
    recorded_by: str


def mandates_of(conn: Connection, customer_id: int) -> list[Mandate]:
    """A customer's mandates, the newest first."""
    found = conn.execute(
        text("""SELECT m.id, m.customer_id, m.reference, m.holder, m.iban_ending, m.signed_on, m.revoked_at,
                       m.recorded_at, coalesce(s.name, 'System') AS recorded_by
                  FROM mandates m LEFT JOIN staff s ON s.id = m.recorded_by
                 WHERE m.customer_id = :id ORDER BY m.id DESC"""),
        {"id": customer_id},
    )
    return [Mandate(**row._mapping) for row in found]


def accounts(conn: Connection, mandate_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """The IBAN and BIC (empty where none is needed) of these mandates, in the clear, for a file for the bank."""
    found = conn.execute(
        text("SELECT id, reference, iban, bic FROM mandates WHERE id = ANY(CAST(:ids AS bigint[]))"),
        {"ids": list(mandate_ids)},
    )
    return {row.id: (vault.opened(row.iban, about=_about(row.reference)), row.bic) for row in found}


def add(
    conn: Connection,
    customer_id: int,
    *,
    reference: str = "",
    holder: str,
    iban: str,
    bic: str = "",
    signed_on: date | None,
    today: date,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Enter a mandate that the customer signed; without a reference it gets one. Returns its id.

    Raises Invalid at the field, Conflict where another mandate of the customer is still valid.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    customer = customers.held_for_change(conn, customer_id)
    with fields.all_of() as check:
        number = check(checked_iban, iban)
        values: dict[str, Any] = {
            "reference": check(_checked_reference, reference),
            "holder": check(fields.line, holder, field="holder", label="The account holder", required=True, longest=70),
            "signed_on": check(_checked_day, signed_on, today),
        }
    values["reference"] = values["reference"] or _next_reference(conn, customer)
    values |= {"bic": _checked_bic(bic, number), "iban_ending": number[-SHOWN:]}
    sealed = vault.sealed(number, about=_about(values["reference"]))
    taken = {
        "mandates_one_valid_key": f"{customer.name} has a mandate that is valid. Revoke it before you enter another.",
        "mandates_reference_key": f"The reference {values['reference']} is taken. Choose another, or leave it empty.",
    }
    with db.conflicts(taken):
        row = insert(table).values(customer_id=customer_id, iban=sealed, recorded_by=user.id, **values)
        mandate_id: int = conn.execute(row.returning(table.c.id)).scalar_one()
    audit.record(
        conn, "create", "mandate", mandate_id, user_id=user.id, customer_id=customer_id,
        changes=audit.difference({}, values | {"bic": values["bic"] or None}),
    )  # fmt: skip
    return mandate_id


def revoke(conn: Connection, mandate_id: int, *, user: User) -> None:
    """From now on nothing is collected by this mandate. Raises NotFound, AlreadyDone where it is revoked."""
    require(user, Permission.EDIT_CUSTOMERS)
    found = conn.execute(
        update(table)
        .where(table.c.id == mandate_id, table.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(table.c.customer_id)
    ).one_or_none()
    if found is None:
        if conn.scalar(text("SELECT true FROM mandates WHERE id = :id"), {"id": mandate_id}):
            raise AlreadyDone("This mandate is revoked already.")
        raise NotFound("This mandate does not exist (any more).")
    audit.record(
        conn, "revoke", "mandate", mandate_id, user_id=user.id, customer_id=found.customer_id,
        changes={"valid": (True, False)},
    )  # fmt: skip


def forget(conn: Connection, customer_id: int, *, valid: bool) -> int:
    """Delete a customer's revoked mandates, with `valid` all of them; returns how many. For the erasure."""
    query = "DELETE FROM mandates WHERE customer_id = :id AND (:valid OR revoked_at IS NOT NULL)"
    return conn.execute(text(query), {"id": customer_id, "valid": valid}).rowcount


def reseal(conn: Connection) -> int:
    """Seal the IBANs with the current key where they aren't; returns how many that changed."""
    changed = 0
    for row in conn.execute(text("SELECT id, reference, iban FROM mandates ORDER BY id FOR UPDATE")).all():
        anew = vault.resealed(row.iban, about=_about(row.reference))
        if anew is not None:
            conn.execute(update(table).where(table.c.id == row.id).values(iban=anew))
            changed += 1
    return changed


# ---------------------------------------------------------------------------------- checks


def checked_iban(typed: str) -> str:
    """An IBAN of a SEPA country in its electronic form. Raises Invalid at `iban`."""
    given = fields.line(typed, field="iban", label="The IBAN", required=True, longest=50)
    try:
        found = IBAN(given)
    except SchwiftyException as error:
        raise Invalid("This is not an IBAN: its length or a digit is wrong. Compare it with the mandate.",
                      field="iban") from error  # fmt: skip
    if not found.in_sepa_zone:
        raise Invalid(f"Accounts in {found.country_code} take no SEPA direct debits.", field="iban")
    return str(found.compact)


def _checked_reference(typed: str) -> str:
    reference = fields.line(typed, field="reference", label="The reference", longest=35)
    if reference and not _REFERENCE.fullmatch(reference):
        raise Invalid("Banks take A–Z, a–z, digits and + ? / - : ( ) . , ' in a reference, no spaces.",
                      field="reference")  # fmt: skip
    return reference


def _next_reference(conn: Connection, customer: customers.Customer) -> str:
    """The customer's number and a counter; the customer is held, so no two get the same."""
    taken = set(conn.scalars(text("SELECT reference FROM mandates WHERE reference LIKE :like"),
                             {"like": f"{audit.like_escaped(customer.number)}-M%"}))  # fmt: skip
    base = re.sub(r"[^A-Za-z0-9+?/:().,'-]", "-", customer.number)[:28]
    return next(name for index in range(1, len(taken) + 2) if (name := f"{base}-M{index}") not in taken)


def _checked_bic(typed: str, iban: str) -> str:
    """The BIC where the account's country needs one, as typed or as the bank's code says; else empty."""
    if iban[:2] not in BIC_NEEDED:
        return ""
    known = IBAN(iban).bic
    given = fields.line(typed, field="bic", label="The BIC", longest=20) or ("" if known is None else str(known))
    if not given:
        raise Invalid("Banks outside the EEA ask for the BIC, too. Enter it.", field="bic")
    try:
        return str(BIC(given).compact)
    except SchwiftyException as error:
        raise Invalid(f"{given} is not a BIC. It has 8 or 11 characters, like COBADEFFXXX.", field="bic") from error


def _checked_day(typed: date | None, today: date) -> date:
    signed_on = fields.day(typed, field="signed_on", label="The day of the signature", required=True)
    assert signed_on is not None
    if signed_on > today:
        raise Invalid("The day of the signature lies in the future.", field="signed_on")
    return signed_on


def _about(reference: str) -> str:
    return f"mandates.{reference}"
