"""Notes on a customer: what staff should know, with who wrote it and when. Dropped when the customer is erased."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, insert, text

from lib import audit, customers, fields
from lib.auth import Permission, User, require
from lib.errors import NotFound
from lib.requests import once
from lib.tables import notes

LONGEST = 2000


@dataclass(frozen=True)
class Note:
    """A note; `person` is who wrote it."""

    id: int
    text: str
    created_at: datetime
    person: str


def notes_of(conn: Connection, customer_id: int, *, limit: int = 100) -> list[Note]:
    """A customer's notes, the newest first."""
    found = conn.execute(
        text("""SELECT n.id, n.text, n.created_at, coalesce(s.name, 'System') AS person
                  FROM notes n LEFT JOIN staff s ON s.id = n.created_by
                 WHERE n.customer_id = :id ORDER BY n.id DESC LIMIT :limit"""),
        {"id": customer_id, "limit": limit},
    )
    return [Note(**row._mapping) for row in found]


def add(conn: Connection, customer_id: int, *, text: str, user: User, request_key: UUID | None = None) -> int:
    """Write a note. Raises Invalid at the field, Conflict for a customer that is marked for deletion."""
    require(user, Permission.EDIT_CUSTOMERS)
    once(conn, request_key)
    written = fields.block(text, field="text", label="The note", required=True, longest=LONGEST)
    customers.held_for_change(conn, customer_id)
    values = {"customer_id": customer_id, "text": written, "created_by": user.id}
    note_id: int = conn.execute(insert(notes).values(values).returning(notes.c.id)).scalar_one()
    # Without its text: that may name a person, and the log holds nothing personal.
    audit.record(conn, "add", "note", note_id, user_id=user.id, customer_id=customer_id)
    return note_id


def remove(conn: Connection, note_id: int, *, user: User) -> None:
    """Delete a note for good."""
    require(user, Permission.EDIT_CUSTOMERS)
    customer_id = conn.scalar(delete(notes).where(notes.c.id == note_id).returning(notes.c.customer_id))
    if customer_id is None:
        raise NotFound("This note does not exist any more.")
    audit.record(conn, "remove", "note", note_id, user_id=user.id, customer_id=customer_id)


def forget(conn: Connection, customer_id: int) -> int:
    """Drop all notes of an erased customer; returns how many."""
    return conn.execute(delete(notes).where(notes.c.customer_id == customer_id)).rowcount
