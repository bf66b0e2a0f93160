"""The audit log: who changed what, when, from what to what (row B10). It can't be edited.

The log itself holds no personal values; those of a customer's people stand in
`audit_personal`, which erasure empties.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, insert, text

from lib.auth import PortalUser, User
from lib.tables import audit_log, audit_personal

Change = tuple[Any, Any]

# Fields that describe a person or say where one lives, by the kind of object they belong to.
PERSONAL: dict[str, frozenset[str]] = {
    "customer": frozenset(
        {
            "contact_name",
            "contact_email",
            "phone",
            "street",
            "postcode",
            "city",
            "billing_name",
            "billing_street",
            "billing_postcode",
            "billing_city",
            "billing_email",
            # A company's name and numbers are its owner's, where it is one person.
            "name",
            "vat_id",
            "tax_number",
            "no_tax_id_reason",
            "purchase_order",
            "account_name",
            "console_url",
            "tags",
            "deactivation_reason",
        }
    ),
    "customer user": frozenset({"user", "salutation", "first_name", "surname", "email", "main_user"}),
    "contact": frozenset({"contact", "name", "phone", "email", "billing_contact"}),
    "note": frozenset({"text"}),
    "mandate": frozenset({"reference", "holder", "iban_ending", "bic", "signed_on"}),
    "mail": frozenset({"recipient", "subject"}),
}


# A customer's user by e-mail; without one, once that was erased.
CUSTOMER_USER = "CASE WHEN {}.customer_user_id IS NOT NULL THEN coalesce(u.email, 'A customer''s user') END"


@dataclass(frozen=True)
class Entry:
    """One line of the log, with its values where they were not erased.

    `name` is how people call the object today: Invoice RE-2026-00012 ("" of a draft), a product's name, of a project
    key the last four characters. None where the key says it, and of what was deleted.
    """

    id: int
    at: datetime
    person: str
    action: str
    object_type: str
    object_id: str
    name: str | None
    customer_id: int | None
    label: str
    changes: dict[str, Change]


def record(
    conn: Connection,
    action: str,
    object_type: str,
    object_id: object,
    *,
    user_id: int | None,
    customer_user_id: int | None = None,
    customer_id: int | None = None,
    changes: Mapping[str, Change] | None = None,
) -> None:
    """Write what was done, in the transaction that does it. `changes` maps a field to (before, after).

    `user_id` is who of the staff did it; `customer_user_id` instead, which of a customer's users, in the portal.
    """
    values, personal = divided(object_type, changes or {})
    audit_id = conn.scalar(
        insert(audit_log)
        .values(
            staff_id=user_id,
            customer_user_id=customer_user_id,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            customer_id=customer_id,
            changes=values,
        )
        .returning(audit_log.c.id)
    )
    if personal:
        conn.execute(insert(audit_personal).values(audit_id=audit_id, customer_id=customer_id, changes=personal))


def divided(object_type: str, changes: Mapping[str, Change]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Changes as they are stored: those of the log, and those that are personal and stand beside it."""
    values = {name: [_plain(before), _plain(after)] for name, (before, after) in changes.items()}
    personal = PERSONAL.get(object_type, frozenset())
    return (
        {name: value for name, value in values.items() if name not in personal},
        {name: value for name, value in values.items() if name in personal},
    )


def actor(user: User | PortalUser | None) -> dict[str, int | None]:
    """Who did it, as `record` takes it: one of us, or one of a customer's users."""
    of_customer = isinstance(user, PortalUser)
    person = None if user is None else user.id
    return {"user_id": None if of_customer else person, "customer_user_id": person if of_customer else None}


def record_all(
    conn: Connection,
    action: str,
    object_type: str,
    *,
    query: str,
    values: Mapping[str, Any],
    user_id: int | None,
    personal: bool = False,
    source: str = "",
) -> None:
    """Write one entry per row of `query` (object_id, customer_id, changes jsonb), set-based.

    With `personal` the query also gives the personal changes by that name, as `divided` tells them
    apart. `source` may be common table expressions that make the changes and that the query reads:
    then the changes and their entries are one statement.
    """
    entry = ":audit_staff, :audit_action, :audit_type, q.object_id::text, q.customer_id, q.changes"
    columns = "staff_id, action, object_type, object_id, customer_id, changes"
    statement = f"INSERT INTO audit_log ({columns}) SELECT {entry} FROM ({query}) AS q"
    sources = [source] if source else []
    if personal:
        # The sequence is looked up once, not for each row.
        sources.append(f"""
            q AS MATERIALIZED (
                SELECT nextval((SELECT CAST(pg_get_serial_sequence('audit_log', 'id') AS regclass))) AS audit_id,
                       asked.*
                  FROM ({query}) AS asked
            ), logged AS (
                INSERT INTO audit_log (id, {columns}) OVERRIDING SYSTEM VALUE SELECT q.audit_id, {entry} FROM q
            )""")
        statement = """
            INSERT INTO audit_personal (audit_id, customer_id, changes)
            SELECT q.audit_id, q.customer_id, q.personal FROM q WHERE q.personal <> '{}'"""
    if sources:
        statement = f"WITH {', '.join(sources)} {statement}"
    conn.execute(text(statement), {"audit_staff": user_id, "audit_action": action, "audit_type": object_type, **values})


def forget(conn: Connection, customer_id: int) -> int:
    """Delete what the log knows of a customer's people and addresses; returns of how many entries. For the erasure."""
    return conn.execute(delete(audit_personal).where(audit_personal.c.customer_id == customer_id)).rowcount


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    """The fields of `after` whose value differs from that in `before`."""
    return {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}


_KEY = "CASE WHEN a.object_id ~ '^[0-9]+$' AND length(a.object_id) < 19 THEN a.object_id::bigint END"
_OF_PRODUCT = "SELECT p.name_en FROM {} o JOIN products p ON p.id = o.product_id WHERE o.id = " + _KEY
_NUMBERED = "CASE kind WHEN 'invoice' THEN 'Invoice ' WHEN 'credit_note' THEN 'Credit note ' ELSE 'Cancellation ' END"
# Looked up for the entries of a page, each by its key.
_NAMES = {
    "invoice": f"SELECT coalesce({_NUMBERED} || number, '') FROM invoices WHERE id = {_KEY}",
    "product": f"SELECT name_en FROM products WHERE id = {_KEY}",
    "booking": "SELECT name_en FROM products WHERE code = a.object_id",
    "price": _OF_PRODUCT.format("prices"),
    "purchase price": _OF_PRODUCT.format("purchase_prices"),
    "term": _OF_PRODUCT.format("terms"),
    "project key": f"SELECT ending FROM project_keys WHERE id = {_KEY}",
    "import": f"SELECT file_name FROM imports WHERE id = {_KEY}",
    "staff": f"SELECT name FROM staff WHERE id = {_KEY}",
    "customer user": f"SELECT email FROM customer_users WHERE id = {_KEY}",
    "contact": f"SELECT name FROM contacts WHERE id = {_KEY}",
    "mandate": f"SELECT reference FROM mandates WHERE id = {_KEY}",
}
_NAME = " ".join(f"WHEN '{kind}' THEN ({query})" for kind, query in _NAMES.items())

_ENTRY = f"""
SELECT a.id, a.at, coalesce(s.name, {CUSTOMER_USER.format("a")}, 'System') AS person, a.action,
       a.object_type, a.object_id, CASE a.object_type {_NAME} END AS name,
       a.customer_id, coalesce(c.number || ' ' || c.name, '') AS label,
       a.changes || coalesce(p.changes, '{{}}') AS changes
  FROM audit_log a
  LEFT JOIN staff s ON s.id = a.staff_id
  LEFT JOIN customer_users u ON u.id = a.customer_user_id
  LEFT JOIN customers c ON c.id = a.customer_id
  LEFT JOIN audit_personal p ON p.audit_id = a.id
"""


def approval(conn: Connection, month: date) -> Entry | None:
    """The last approval of a month: its documents come from it, as reopening the month drops those before."""
    found = conn.execute(
        text(f"""{_ENTRY} WHERE a.object_type = 'month' AND a.object_id = :month AND a.action = 'approve'
                  ORDER BY a.id DESC LIMIT 1"""),
        {"month": f"{month:%Y-%m}"},
    ).one_or_none()
    return None if found is None else Entry(**found._mapping)


def entries(
    conn: Connection,
    *,
    person: int | None = None,
    object_type: str | None = None,
    object_id: object = None,
    customer_id: int | None = None,
    search: str = "",
    first_day: date | None = None,
    last_day: date | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Entry], int]:
    """The newest entries first, and how many match in all (row B10). Days are in the company's time zone.

    What belongs to a customer is found soonest by both its object and its customer.
    """
    where, values = _conditions(
        person=person,
        object_type=object_type,
        object_id=None if object_id is None else str(object_id),
        customer_id=customer_id,
        search=search,
        first_day=first_day,
        last_day=last_day,
    )
    matching = f"FROM audit_log a LEFT JOIN customers c ON c.id = a.customer_id WHERE {where}"
    # The page first: what stands before it would be looked up by name as well.
    page = f"SELECT a.id {matching} ORDER BY a.id DESC LIMIT :limit OFFSET :offset"
    found = conn.execute(
        text(f"{_ENTRY} WHERE a.id = ANY(ARRAY({page})) ORDER BY a.id DESC"),
        values | {"limit": limit, "offset": offset},
    )
    listed = [Entry(**row._mapping) for row in found]
    total = conn.scalar(text(f"SELECT count(*) {matching}"), values)
    return listed, total or 0


def object_types(conn: Connection) -> list[str]:
    """The kinds of object that the log knows, for its filter."""
    # From kind to kind through the index, which has no documents: of all entries most are of those.
    found = conn.scalars(
        text("""
            WITH RECURSIVE known AS (
                SELECT min(object_type) AS kind FROM audit_log WHERE object_type <> 'invoice'
                UNION ALL
                SELECT (SELECT min(a.object_type) FROM audit_log a
                         WHERE a.object_type > k.kind AND a.object_type <> 'invoice')
                  FROM known k WHERE k.kind IS NOT NULL
            )
            SELECT kind FROM known WHERE kind IS NOT NULL
            UNION ALL
            SELECT 'invoice' WHERE EXISTS (SELECT FROM audit_log WHERE object_type = 'invoice')
             ORDER BY 1""")
    )
    return list(found)


def overtaken(
    conn: Connection, what: str, object_type: str, object_id: object, *, customer_id: int | None = None
) -> str:
    """What to tell somebody whose change a colleague's has overtaken: who it was, and what to do now.

    What belongs to a customer is found by it.
    """
    of_customer = "" if customer_id is None else "AND a.customer_id = :customer"
    last = conn.execute(
        text(f"""SELECT coalesce(s.name, 'The system') AS person,
                       to_char(a.at AT TIME ZONE (SELECT timezone FROM company), 'HH24:MI') AS time
                  FROM audit_log a LEFT JOIN staff s ON s.id = a.staff_id
                 WHERE a.object_type = :type AND a.object_id = :id {of_customer} ORDER BY a.id DESC LIMIT 1"""),
        {"type": object_type, "id": str(object_id), "customer": customer_id},
    ).one_or_none()
    who = f"{last.person} changed {what} at {last.time}" if last else f"Somebody changed {what}"
    return f"{who}, after you opened it. Nothing was saved: reload, look at the change, and enter yours again."


# What a search names: a document by its whole number, and what has to do with a product, or a colleague, by a part.
# An array, which is made once. Individual prices are found by their customer: there may be as many as customers.
_NAMED = """ARRAY(
    WITH named AS (SELECT id, code FROM products WHERE name_en ILIKE :search)
    SELECT 'invoice ' || id FROM invoices WHERE number = upper(:named)
    UNION ALL SELECT 'product ' || id FROM named
    UNION ALL SELECT 'booking ' || code FROM named
    UNION ALL SELECT 'price ' || o.id FROM prices o JOIN named n ON n.id = o.product_id WHERE o.customer_id IS NULL
    UNION ALL SELECT 'purchase price ' || o.id FROM purchase_prices o JOIN named n ON n.id = o.product_id
    UNION ALL SELECT 'staff ' || id FROM staff WHERE name ILIKE :search)"""


def _conditions(**wanted: Any) -> tuple[str, dict[str, Any]]:
    clauses = {
        "person": "a.staff_id = :person",
        "object_type": "a.object_type = :object_type",
        "object_id": "a.object_id = :object_id",
        "customer_id": "a.customer_id = :customer_id",
        "search": "(c.search LIKE :search OR a.object_id ILIKE :search OR a.action ILIKE :search"
        f" OR a.object_type || ' ' || a.object_id = ANY({_NAMED}))",
        "first_day": "a.at >= :first_day::timestamp AT TIME ZONE (SELECT timezone FROM company)",
        "last_day": "a.at < (:last_day::date + 1)::timestamp AT TIME ZONE (SELECT timezone FROM company)",
    }
    plain = {name: value.replace("\x00", "") if isinstance(value, str) else value for name, value in wanted.items()}
    given = {name: value for name, value in plain.items() if value not in (None, "")}
    where = " AND ".join(clauses[name] for name in given) or "true"
    if "search" in given:
        given["named"] = str(given["search"]).strip()
        given["search"] = "%" + like_escaped(str(given["search"]).lower()) + "%"
    return where.replace(":first_day::", "CAST(:first_day AS date)::").replace(
        ":last_day::date", "CAST(:last_day AS date)"
    ), given


def like_escaped(value: str) -> str:
    """`value` with the wildcards of LIKE made literal."""
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _plain(value: Any) -> Any:
    if value is None or type(value) is str:  # most are, and an import asks this millions of times
        return value
    if isinstance(value, Decimal | date | datetime):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return f"{len(value)} bytes"
    return value
