"""A customer's contact persons: any number, one of them the billing contact (row D4).

The billing contact's e-mail address is where documents go; it stands on them from the day they are issued.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, text, update

from lib import audit, customers, fields
from lib.auth import Permission, User, require
from lib.errors import AlreadyDone, Conflict, Invalid, NotFound
from lib.requests import once
from lib.tables import contacts

FIELDS = ("name", "phone", "email", "is_billing")
# The e-mail address of a customer's documents, in SQL. Alias c is customers.
DOCUMENT_EMAIL = """coalesce((SELECT k.email FROM contacts k WHERE k.customer_id = c.id AND k.is_billing),
    nullif(c.billing_email, ''), c.contact_email)"""


@dataclass(frozen=True)
class Contact:
    """A person to talk to, with or without access to the portal."""

    id: int
    customer_id: int
    name: str
    phone: str
    email: str
    is_billing: bool
    version: int


_COLUMNS = [contacts.c[name] for name in Contact.__dataclass_fields__]
_FOUND = "folded(name || ' ' || phone || ' ' || email) LIKE '%' || :search || '%'"


def of(conn: Connection, customer_id: int, search: str = "", *, limit: int | None = None) -> list[Contact]:
    """A customer's contacts, the billing contact first, then by name; `search` is part of name, phone or e-mail."""
    found = conn.execute(
        select(*_COLUMNS)
        .where(contacts.c.customer_id == customer_id, text(_FOUND))
        .order_by(contacts.c.is_billing.desc(), text("lower(name)"), contacts.c.id)
        .limit(limit),
        {"search": audit.like_escaped(search.replace("\x00", "").strip()[:200].lower())},
    )
    return [Contact(**row._mapping) for row in found]


def contact(conn: Connection, contact_id: int) -> Contact:
    """One contact. Raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(contacts.c.id == contact_id)).one_or_none()
    if row is None:
        raise NotFound("This contact does not exist any more.")
    return Contact(**row._mapping)


def document_email(conn: Connection, customer_id: int) -> str:
    """Where a customer's documents go: the billing contact's address, else that for invoices, else the contact's."""
    found = conn.scalar(text(f"SELECT {DOCUMENT_EMAIL} FROM customers c WHERE c.id = :id"), {"id": customer_id})
    return found or ""


def add(
    conn: Connection,
    customer_id: int,
    *,
    name: str,
    phone: str = "",
    email: str = "",
    is_billing: bool = False,
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Add a contact and return its id. The billing contact needs an e-mail address and takes the mark over.

    Raises Invalid at the field.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    customers.held_for_change(conn, customer_id)
    values = checked({"name": name, "phone": phone, "email": email, "is_billing": is_billing})
    former = _unmark(conn, customer_id) if is_billing else None
    new_id: int = conn.execute(
        insert(contacts).values(customer_id=customer_id, **values).returning(contacts.c.id)
    ).scalar_one()
    changes = audit.difference({}, {name: value for name, value in values.items() if value})
    _record(conn, "add", new_id, customer_id, user, told(changes, former, values["name"]))
    return new_id


def edit(conn: Connection, contact_id: int, *, version: int, changes: Mapping[str, Any], user: User) -> None:
    """Change a contact's name, phone, e-mail or whether it is the billing contact.

    Raises Conflict where the form is older than the row.
    """
    require(user, Permission.EDIT_CUSTOMERS)
    before = _held(conn, contact_id)
    values = checked({name: getattr(before, name) for name in FIELDS} | dict(changes))
    changed = audit.difference(vars(before), values)
    if not changed:  # the second click of a double click, too
        return
    _require_version(before, version)
    former = _unmark(conn, before.customer_id) if values["is_billing"] and not before.is_billing else None
    conn.execute(update(contacts).where(contacts.c.id == contact_id).values(version=version + 1, **values))
    who = {} if "name" in changed else {"contact": (None, before.name)}
    _record(conn, "edit", contact_id, before.customer_id, user, who | told(changed, former, values["name"]))


def remove(conn: Connection, contact_id: int, *, version: int, user: User) -> None:
    """Remove a contact. Without a billing contact documents go to the address in the customer's data again."""
    require(user, Permission.EDIT_CUSTOMERS)
    try:
        before = _held(conn, contact_id)
    except NotFound as gone:
        raise AlreadyDone("This contact was removed already.") from gone
    _require_version(before, version)
    conn.execute(delete(contacts).where(contacts.c.id == contact_id))
    changes: dict[str, audit.Change] = {
        name: (getattr(before, name), None) for name in ("name", "phone", "email") if getattr(before, name)
    }
    if before.is_billing:
        changes["billing_contact"] = (before.name, None)
    _record(conn, "remove", contact_id, before.customer_id, user, changes)


def forget(conn: Connection, customer_id: int) -> int:
    """Delete a customer's contacts; returns how many there were. For the erasure."""
    return conn.execute(delete(contacts).where(contacts.c.customer_id == customer_id)).rowcount


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a contact, checked and in the form they are stored. Raises Invalid at the field."""
    with fields.all_of() as check:
        values = {name: check(checked_field, name, value) for name, value in given.items()}
    if values["is_billing"] and not values["email"]:
        raise Invalid("The billing contact needs an e-mail address: documents go there.", field="email")
    return values


def checked_field(name: str, value: Any) -> Any:
    """One typed value, checked by itself. Raises Invalid at the field."""
    if name == "name":
        return fields.line(value, field=name, label="The name", required=True)
    if name == "phone":
        return fields.line(value, field=name, label="The phone number", longest=50)
    if name == "email":
        return fields.email(value, field=name)
    if name == "is_billing":
        return bool(value)
    raise Invalid(f"A contact has no field {name}.", field=name)


def _unmark(conn: Connection, customer_id: int) -> str | None:
    """Take the mark from the billing contact, whose name is returned; None where there was none."""
    former: str | None = conn.scalar(
        update(contacts)
        .where(contacts.c.customer_id == customer_id, contacts.c.is_billing)
        .values(is_billing=False, version=contacts.c.version + 1)
        .returning(contacts.c.name)
    )
    return former


def _held(conn: Connection, contact_id: int) -> Contact:
    """A contact whose customer's row is held: two who mark a billing contact take turns."""
    customer_id = conn.scalar(select(contacts.c.customer_id).where(contacts.c.id == contact_id))
    if customer_id is None:
        raise NotFound("This contact does not exist any more.")
    customers.held_for_change(conn, customer_id)
    return contact(conn, contact_id)


def _require_version(before: Contact, version: int) -> None:
    if before.version != version:
        raise Conflict("Somebody changed this contact after you opened it. Nothing was saved: look again, then decide.")


def told(changes: Mapping[str, audit.Change], former: str | None, name: str) -> dict[str, audit.Change]:
    """Changes as the log tells them: of the mark, who was the billing contact, and who is."""
    shown = dict(changes)
    marked = shown.pop("is_billing", None)
    if marked is not None:
        shown["billing_contact"] = (former, name) if marked[1] else (name, None)
    return shown


def _record(
    conn: Connection, action: str, contact_id: int, customer_id: int, by: User, changes: Mapping[str, audit.Change]
) -> None:
    audit.record(conn, action, "contact", contact_id, user_id=by.id, customer_id=customer_id, changes=changes)
