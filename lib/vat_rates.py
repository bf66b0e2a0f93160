"""German VAT rates by date: the standard and the reduced one.

A change here never reaches a document that was issued: its lines keep their rates.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from lib import audit, company_fields, fields, periods
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid, NotFound
from lib.tables import vat_rates

KINDS = {"standard": "Standard", "reduced": "Reduced"}


@dataclass(frozen=True)
class VatRate:
    """A rate in percent, of one of KINDS, from its day on. `closed`: documents may have used it, so it stays."""

    treatment: str
    valid_from: date
    rate: Decimal
    closed: bool


def rates(conn: Connection) -> list[VatRate]:
    """The standard rates, the newest first, and then the reduced ones."""
    found = conn.execute(
        text("""SELECT treatment, valid_from, rate, coalesce(valid_from < open_month(), false) AS closed
                  FROM vat_rates ORDER BY treatment DESC, valid_from DESC""")
    )
    return [VatRate(**row._mapping) for row in found]


def missing(conn: Connection, day: date) -> list[str]:
    """The kinds of which no rate rules a day."""
    ruling = set(conn.scalars(select(vat_rates.c.treatment).where(vat_rates.c.valid_from <= day)))
    return [kind for kind in KINDS if kind not in ruling]


def set_rate(conn: Connection, *, valid_from: date, rate: Decimal, treatment: str = "standard", user: User) -> None:
    """Let a rate of this kind rule from a day on; a rate of the same day is replaced.

    The day is in an open month, or before the first rate of its kind: what needed one there could not be issued.
    """
    require(user, Permission.EDIT_SETTINGS)
    company_fields.require_rate(rate)
    fields.one_of(treatment, KINDS, field="treatment", label="Kind of rate")
    of_kind = vat_rates.c.treatment == treatment
    first = conn.scalar(select(vat_rates.c.valid_from).where(of_kind).order_by("valid_from").limit(1))
    _require_open_day(conn, valid_from, settled_from=first or date.max)
    of_day = of_kind & (vat_rates.c.valid_from == valid_from)
    before = conn.scalar(select(vat_rates.c.rate).where(of_day).with_for_update())
    if before == rate:
        raise Invalid(f"From {valid_from:%d %b %Y} the rate is {rate} % already.", field="rate")
    new = upsert(vat_rates).values(treatment=treatment, valid_from=valid_from, rate=rate)
    conn.execute(new.on_conflict_do_update(index_elements=["treatment", "valid_from"], set_={"rate": rate}))
    _record(conn, "set", treatment, valid_from, (before, rate), user)


def remove_rate(conn: Connection, *, valid_from: date, treatment: str = "standard", user: User) -> None:
    """Take a rate back whose day is in an open month; the one before it rules again."""
    require(user, Permission.EDIT_SETTINGS)
    _require_open_day(conn, valid_from)
    of_kind = vat_rates.c.treatment == treatment
    before = conn.scalar(
        delete(vat_rates).where(of_kind, vat_rates.c.valid_from == valid_from).returning(vat_rates.c.rate)
    )
    if before is None:
        raise NotFound(f"There is no {treatment} VAT rate from {valid_from:%d %b %Y}; somebody else removed it.")
    if conn.scalar(select(vat_rates.c.rate).where(of_kind).limit(1)) is None:
        raise Conflict(
            f"This is the only {treatment} VAT rate, and what is taxed by it can't be issued without one. "
            "Add the other one first."
        )
    _record(conn, "remove", treatment, valid_from, (before, None), user)


def _record(conn: Connection, action: str, treatment: str, valid_from: date, rate: tuple[Any, Any], user: User) -> None:
    # The log says of each day whose rate it was; that of the standard rate has always been called VAT rate.
    noun = "VAT rate" if treatment == "standard" else f"{treatment} VAT rate"
    audit.record(conn, action, noun, valid_from, user_id=user.id, changes={"rate": rate})


def _require_open_day(conn: Connection, day: date, *, settled_from: date = date.min) -> None:
    """Any day is open before the first booking month is set, and any before `settled_from`: no line has its rate."""
    if not 2000 <= day.year <= 2100:
        raise Invalid("Choose a day between 2000 and 2100.", field="valid_from")
    if periods.open_month(conn) is not None:
        first_open = periods.hold_open_month(conn)
        if settled_from <= day < first_open:
            raise Conflict(
                f"{day:%d %b %Y} is in a closed month, whose documents were issued at its rate. "
                f"A rate can change from {first_open:%d %b %Y} on."
            )
