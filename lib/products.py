"""The catalogue: what we sell, how a month of it is measured, and under which name it is printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select, text, update

from lib import audit, charges, fields, money, periods, vat
from lib.auth import Permission, User, require
from lib.db import conflicts
from lib.errors import Conflict, Invalid, NotFound
from lib.requests import once
from lib.tables import products

KINDS = {
    "users": "Licensed users",
    "option": "Option",
    "ips": "IP scans",
    "plan": "Plan",
    "module": "Module",
    "adjustment": "Adjustments",
}
# These have a number rather than being on or off.
COUNTED = ("users", "ips")
# These can be sold in advance, for a test, a month or a year (`lib/terms.py`).
IN_ADVANCE = ("plan", "module")
BOOKABLE = ("users", "option", "ips", "plan", "module")
MEASURES = {
    "peak": "Highest quantity of the month",
    "daily": "By days",
    "end": "Quantity on the last day",
    "full": "Whole month if booked on any day",
}
# Why it is exempt, by the language in which it is printed.
REASONS = {"exempt_reason_de": "German", "exempt_reason_en": "English"}
_LINES = {
    "name_de": "The German name",
    "name_en": "The English name",
    "unit_de": "The German unit",
    "unit_en": "The English unit",
    "article_number": "The article number",
}
# `billing-rules`, What a month costs: the defaults of users, options and IPs.
DEFAULT_MEASURE = {"users": "peak", "option": "daily", "ips": "daily", "plan": "daily", "module": "daily"}


@dataclass(frozen=True)
class Product:
    """Something we sell. `kind` decides how it is booked, `measure` how a month of it is counted.

    A plan or module may be tried for `test_days` and be paid for a year in advance, net `yearly_price`.
    `vat_treatment` is one of vat.TREATMENTS; what is exempt has its reason in both languages, for the document.
    """

    id: int
    code: str
    kind: str
    measure: str
    name_de: str
    name_en: str
    description_de: str
    description_en: str
    unit_de: str
    unit_en: str
    article_number: str
    position: int
    on_sale: bool
    test_days: int | None
    yearly_price: Decimal | None
    revenue_account: str
    vat_treatment: str
    exempt_reason_de: str
    exempt_reason_en: str
    version: int

    @property
    def counted(self) -> bool:
        """Whether it has a number rather than being on or off."""
        return self.kind in COUNTED


_COLUMNS = [products.c[name] for name in Product.__dataclass_fields__]


def catalogue(conn: Connection, *, kinds: tuple[str, ...] = BOOKABLE) -> list[Product]:
    """The products of these kinds, in the order in which documents print them."""
    found = conn.execute(select(*_COLUMNS).where(products.c.kind.in_(kinds)).order_by("position", "id"))
    return [Product(**row._mapping) for row in found]


def product(conn: Connection, product_id: int) -> Product:
    """One product. Raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(products.c.id == product_id)).one_or_none()
    if row is None:
        raise NotFound("This product does not exist.")
    return Product(**row._mapping)


def product_of_kind(conn: Connection, kind: str) -> Product | None:
    """The product of a kind of which there is only one (users, ips), or None before it was added."""
    row = conn.execute(select(*_COLUMNS).where(products.c.kind == kind)).one_or_none()
    return Product(**row._mapping) if row else None


def add(
    conn: Connection, *, kind: str, code: str, details: Mapping[str, Any], user: User, request_key: UUID | None = None
) -> int:
    """Add a product and return its id. There is one product of kind users and one of kind ips."""
    require(user, Permission.EDIT_PRODUCTS)
    once(conn, request_key)
    fields.one_of(kind, {name: KINDS[name] for name in BOOKABLE}, field="kind", label="Kind")
    defaults = {"name_de": "", "name_en": "", "measure": DEFAULT_MEASURE[kind]}
    with fields.all_of() as check:
        code = check(fields.line, code, field="code", label="The code", required=True, longest=40)
        values = check(_checked, defaults | dict(details), kind=kind)
    values |= _taxed(values, stored={})
    code = code.lower()
    refusals = {
        "products_code_key": f"There is already a product with the code {code}.",
        "products_single_kind_idx": f"There is already a product of the kind {KINDS[kind]}.",
        "products_code_plain_check": "A code has only letters a–z, digits and hyphens.",
    }
    with conflicts(refusals):
        product_id: int = conn.execute(
            insert(products).values(kind=kind, code=code, **values).returning(products.c.id)
        ).scalar_one()
    changes = audit.difference({}, values | {"kind": kind, "code": code})
    audit.record(conn, "create", "product", product_id, user_id=user.id, changes=changes)
    return product_id


def edit(conn: Connection, product_id: int, *, version: int, changes: Mapping[str, Any], user: User) -> None:
    """Save a product's texts, measure, order, what it is sold for in advance, and whether it is on sale.

    Nothing is ever deleted, only withdrawn from sale. The measure can't change once a closed month was measured by it:
    closed figures stay explained. Another VAT treatment holds for what is drafted from now on.
    """
    require(user, Permission.EDIT_PRODUCTS)
    periods.hold_open_month(conn, alone=True)
    before = product(conn, product_id)
    values = _checked(changes, kind=before.kind)
    values |= _taxed(values, stored=vars(before))
    if values.get("measure", before.measure) != before.measure and _closed_charges(conn, product_id):
        raise Conflict(
            f"{before.name_en} was charged in a closed month, so its measure stays. "
            "Withdraw it from sale and add a new product instead."
        )
    saved = conn.execute(
        update(products)
        .where(products.c.id == product_id, products.c.version == version)
        .values(version=version + 1, **values)
    )
    if saved.rowcount == 0:
        raise Conflict("Somebody else changed this product after you opened it. Reload and enter your change again.")
    if "measure" in values and values["measure"] != before.measure:
        charges.keep(conn, customers=None)
    changed = audit.difference(vars(before), values)
    if changed:
        audit.record(conn, "edit", "product", product_id, user_id=user.id, changes=changed)


def _closed_charges(conn: Connection, product_id: int) -> bool:
    statement = text(
        "SELECT EXISTS (SELECT FROM month_totals WHERE product_id = :id AND month < open_month() AND charges > 0)"
    )
    return bool(conn.scalar(statement, {"id": product_id}))


def _checked(changes: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
    with fields.all_of() as check:
        return {name: check(_checked_field, name, value, kind=kind) for name, value in changes.items()}


def _checked_field(name: str, value: Any, *, kind: str) -> Any:
    if name in _LINES:
        return fields.line(value, field=name, label=_LINES[name], required=name.startswith("name_"), longest=120)
    if name in ("description_de", "description_en"):
        return fields.block(value, field=name, label="The description")
    if name == "measure":
        return fields.one_of(value, MEASURES, field=name, label="Measure")
    if name == "position":
        return fields.whole(value, field=name, label="The position", highest=9999)
    if name == "on_sale":
        return bool(value)
    if name == "revenue_account":
        return _account(value)
    if name == "vat_treatment":
        return fields.one_of(value, vat.TREATMENTS, field=name, label="VAT")
    if name in REASONS:
        return fields.line(value, field=name, label=f"The reason in {REASONS[name]}")
    if name in ("test_days", "yearly_price"):
        return _in_advance(name, value, kind=kind)
    raise Invalid(f"A product has no field {name}.", field=name)


def _taxed(values: Mapping[str, Any], *, stored: Mapping[str, Any]) -> dict[str, str]:
    """VAT treatment and reasons as they will stand. What isn't exempt any more loses the reasons that it had."""
    before = {"vat_treatment": "standard", **dict.fromkeys(REASONS, ""), **stored}
    now = {**before, **values}
    for name in REASONS:
        if now["vat_treatment"] != "exempt" and now[name] == before[name]:
            now[name] = ""
        vat.treatment(now["vat_treatment"], now[name], reason_field=name)
    return {name: now[name] for name in ("vat_treatment", *REASONS)}


def _account(value: Any) -> str:
    typed = fields.line(value, field="revenue_account", label="The revenue account", longest=8)
    if typed and not (typed.isascii() and typed.isdigit() and len(typed) >= 4):
        raise Invalid("A revenue account has four to eight digits, for example 4400.", field="revenue_account")
    return typed


def _in_advance(name: str, value: Any, *, kind: str) -> int | Decimal | None:
    """The days of a test or the price of a year: typed, or None where the product has none."""
    if value is None or not str(value).strip():
        return None
    if kind not in IN_ADVANCE:
        raise Invalid("Only plans and modules are tried or sold in advance.", field=name)
    if name == "test_days":
        return fields.whole(value, field=name, label="The test time", lowest=1, highest=365)
    price = value if isinstance(value, Decimal) else money.parse(str(value), field=name)
    if price <= 0:
        raise Invalid("The price of a year is above zero. Leave it empty if there is none.", field=name)
    return price
