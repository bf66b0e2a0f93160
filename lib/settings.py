"""The company: who sells, number series, the first booking month, the self-service article.

A change here never reaches a document that was issued: that keeps a frozen copy of the seller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from sqlalchemy import Connection, select, text, update

from lib import audit, company_fields, months, periods
from lib.auth import Permission, Role, User, require
from lib.company_fields import SERIES
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.tables import company as company_table
from lib.tables import number_series as series_table

_REFUSALS = periods.REFUSALS | {
    "number_series_prefix_key": "Another series has this prefix. Two series with one prefix would share numbers.",
    "months_one_open_key": "Somebody else set the first booking month at the same moment. Reload the page.",
    "months_pkey": "Somebody else set the first booking month at the same moment. Reload the page.",
}


@dataclass(frozen=True)
class Company:
    """Who sells, as the next document will name it. The logo is read apart, by `logo`."""

    name: str
    street: str
    postcode: str
    city: str
    country: str
    vat_id: str
    tax_number: str
    register_entry: str
    managing_directors: str
    email: str
    phone: str
    website: str
    bank_name: str
    iban: str
    bic: str
    currency: str
    timezone: str
    payment_days: int
    change_threshold_percent: int
    intro_de: str
    intro_en: str
    closing_de: str
    closing_en: str
    self_service_article_name: str
    self_service_article_number: str
    erasure_delay_minutes: int
    check_vies: bool
    renewal_days: int
    portal_url: str
    self_registration: bool
    registration_terms: str
    has_logo: bool
    version: int

    @property
    def required(self) -> dict[str, bool]:
        """What § 14 (4) UStG asks of the seller, and whether it is there."""
        return {
            "Company name": bool(self.name),
            "Street": bool(self.street),
            "Postcode and city": bool(self.postcode and self.city),
            "VAT ID or tax number": bool(self.vat_id or self.tax_number),
        }


@dataclass(frozen=True)
class NumberSeries:
    """How the numbers of one kind of document look. They start at 1 each year and leave no gap."""

    kind: str
    prefix: str
    digits: int
    version: int

    def number(self, *, year: int, index: int) -> str:
        """The number of the `index`-th document of a year: RE-2026-00001."""
        return f"{self.prefix}-{year}-{index:0{self.digits}d}"


# ---------------------------------------------------------------------------------- the company


def company(conn: Connection) -> Company:
    """The company as it is now; there is always one, empty before set-up."""
    return _company(conn)


def logo(conn: Connection) -> bytes | None:
    """The logo, PNG or JPEG, or None."""
    stored: bytes | None = conn.scalar(select(company_table.c.logo))
    return stored


def edit_company(conn: Connection, *, version: int, changes: Mapping[str, Any], user: User) -> None:
    """Save some of the company's fields; `changes` maps them to what was typed.

    Raises Invalid at the field, and Conflict where the form is older than the row.
    """
    require(user, Permission.EDIT_SETTINGS)
    before = _company(conn, hold=True)
    _require_version(conn, before, version)
    values = company_fields.checked(changes, country=str(changes.get("country", before.country)))
    if "timezone" in values:
        _require_known_to_database(conn, values["timezone"])
    if values.get("currency", before.currency) != before.currency:
        _require_no_documents(conn, before.currency)
    company_fields.require_portal(vars(before) | values)
    _save(conn, before, values, user, action="edit")


def point_portal(conn: Connection, url: str) -> None:
    """Set the portal's address to where the demo runs this time, unless somebody entered another machine's.

    For the runner of the demo alone (`lib/local.py`): there is no person who does it.
    """
    before = _company(conn, hold=True)
    if before.portal_url != url and (not before.portal_url or company_fields.on_this_machine(before.portal_url)):
        conn.execute(update(company_table).values(version=before.version + 1, portal_url=url))
        changes = {"portal_url": (before.portal_url, url)}
        audit.record(conn, "edit", "company", 1, user_id=None, changes=changes)


def edit_article(conn: Connection, *, name: str, number: str, version: int, user: User) -> None:
    """Save under which name and number customers see the self-service article (row G14)."""
    require(user, Permission.EDIT_PRICES)
    before = _company(conn, hold=True)
    _require_version(conn, before, version)
    values = company_fields.checked_article(name=name, number=number)
    _save(conn, before, values, user, action="edit self-service article")


# ---------------------------------------------------------------------------------- number series


def number_series(conn: Connection) -> list[NumberSeries]:
    """The series of invoices, credit notes and cancellations, in this order."""
    found = {row.kind: NumberSeries(**row._mapping) for row in conn.execute(select(series_table))}
    return [found[kind] for kind in SERIES]


def numbers_used(conn: Connection, *, year: int) -> dict[str, int]:
    """How many numbers each series has given out in a year; 0 where none."""
    found = conn.execute(text("SELECT kind, last FROM number_counters WHERE year = :year"), {"year": year})
    return dict.fromkeys(SERIES, 0) | {row.kind: row.last for row in found}


def edit_number_series(
    conn: Connection, kind: str, *, prefix: str, digits: Any, version: int, today: date, user: User
) -> None:
    """Change how the next numbers of a series look.

    The prefix stays for the rest of a year in which the series has given out a number: one
    series a year, without a gap. Raises Conflict, too, where the form is older than the row.
    """
    require(user, Permission.EDIT_SETTINGS)
    # FOR UPDATE: no document takes a number between our look at the counter and our change.
    row = conn.execute(select(series_table).where(series_table.c.kind == kind).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("This number series does not exist.")
    before = NumberSeries(**row._mapping)
    if before.version != version:
        raise Conflict(audit.overtaken(conn, f"the numbers of {SERIES[kind].lower()}", "number series", kind))
    values = company_fields.checked_series(prefix=prefix, digits=digits)
    started = conn.scalar(
        text("SELECT max(year) FROM number_counters WHERE kind = :kind AND year >= :year AND last > 0"),
        {"kind": kind, "year": today.year},
    )
    if values["prefix"] != before.prefix and started:
        raise Conflict(
            f"{SERIES[kind]} of {started} already have numbers with {before.prefix}, and numbers run without a gap. "
            f"The prefix can change before the first number of {started + 1}."
        )
    changed = audit.difference(vars(before), values)
    if not changed:
        return
    with conflicts(_REFUSALS):
        conn.execute(update(series_table).where(series_table.c.kind == kind).values(version=version + 1, **values))
    audit.record(conn, "edit", "number series", kind, user_id=user.id, changes=changed)


def demand_second_factor(conn: Connection, roles: list[Role], *, user: User) -> None:
    """Which roles need a second factor. Who has none sets it up at the next click."""
    require(user, Permission.EDIT_SETTINGS)
    before = conn.scalar(select(company_table.c.second_factor_roles).with_for_update())
    after = sorted({str(Role(role)) for role in roles})
    if before == after:
        return
    conn.execute(update(company_table).values(second_factor_roles=after))
    changes = {"second_factor_roles": (", ".join(before or ()), ", ".join(after))}
    audit.record(conn, "edit", "company", 1, user_id=user.id, changes=changes)


# ---------------------------------------------------------------------------------- the first booking month


def set_first_month(conn: Connection, month: date, *, user: User) -> None:
    """Set the month that billing starts with; it can move while nothing was recorded in it."""
    require(user, Permission.EDIT_SETTINGS)
    periods.require_first_of_month(month, field="first_month")
    if not 2000 <= month.year <= 2100:
        raise Invalid("Choose a month between 2000 and 2100.", field="first_month")
    standing = conn.execute(text("SELECT month FROM months FOR UPDATE")).all()
    if standing and first_month_is_fixed(conn):
        raise Conflict(
            "The first booking month is fixed: customers, bookings, adjustments or invoices were recorded in it."
        )
    before = standing[0].month if standing else None
    if before == month:
        raise Invalid(f"The first booking month is {month:%B %Y} already.", field="first_month")
    with conflicts(_REFUSALS):
        months.begin(conn, month)
    audit.record(conn, "set first month", "month", month, user_id=user.id, changes={"month": (before, month)})


def first_month_is_fixed(conn: Connection) -> bool:
    """Whether anything depends on the first booking month, so that it can't move any more."""
    return bool(
        conn.scalar(
            text("""SELECT EXISTS (SELECT FROM months WHERE state <> 'open') OR EXISTS (SELECT FROM lifecycle)
                        OR EXISTS (SELECT FROM bookings) OR EXISTS (SELECT FROM adjustments)
                        OR EXISTS (SELECT FROM charges) OR EXISTS (SELECT FROM invoices)""")
        )
    )


# ---------------------------------------------------------------------------------- what they share


def _company(conn: Connection, *, hold: bool = False) -> Company:
    columns = [company_table.c[field.name] for field in fields(Company) if field.name != "has_logo"]
    query = select(*columns, company_table.c.logo.is_not(None).label("has_logo"))
    return Company(**conn.execute(query.with_for_update() if hold else query).one()._mapping)


def _save(conn: Connection, before: Company, values: Mapping[str, Any], user: User, *, action: str) -> None:
    old = vars(before) | ({"logo": logo(conn)} if "logo" in values else {})
    changed = audit.difference(old, values)
    if not changed:
        return
    conn.execute(update(company_table).values(version=before.version + 1, **values))
    audit.record(conn, action, "company", 1, user_id=user.id, changes=changed)


def _require_version(conn: Connection, before: Company, version: int) -> None:
    if before.version != version:
        raise Conflict(audit.overtaken(conn, "the company", "company", 1))


def _require_known_to_database(conn: Connection, zone: str) -> None:
    if conn.scalar(text("SELECT true FROM pg_timezone_names WHERE name = :zone LIMIT 1"), {"zone": zone}) is None:
        raise Invalid(f"The database doesn't know the time zone {zone}. Choose another one.", field="timezone")


def _require_no_documents(conn: Connection, currency: str) -> None:
    if conn.scalar(text("SELECT EXISTS (SELECT FROM invoices) OR EXISTS (SELECT FROM months WHERE state <> 'open')")):
        raise Invalid(f"There are documents in {currency} already, so the currency stays.", field="currency")
