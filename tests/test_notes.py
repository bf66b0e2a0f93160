"""Notes on a customer."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import notes
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import People


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def customer(conn: Connection, people: People) -> int:
    return ledgers.customer(conn, people)


def test_the_newest_note_comes_first(conn: Connection, people: People, customer: int) -> None:
    for words in ("Ruft montags an", "Zweiter Standort\nab Juli"):
        notes.add(conn, customer, text=words, user=people[Role.SALES])
    found = notes.notes_of(conn, customer)
    assert [(note.text, note.person) for note in found] == [
        ("Zweiter Standort\nab Juli", "Samuel"),
        ("Ruft montags an", "Samuel"),
    ]
    notes.remove(conn, found[0].id, user=people[Role.FINANCE])
    assert len(notes.notes_of(conn, customer)) == 1
    with pytest.raises(NotFound):
        notes.remove(conn, found[0].id, user=people[Role.FINANCE])


def test_a_double_click_writes_one(conn: Connection, people: People, customer: int) -> None:
    key = uuid4()
    notes.add(conn, customer, text="Einmal", user=people[Role.SALES], request_key=key)
    with pytest.raises(AlreadyDone):
        notes.add(conn, customer, text="Einmal", user=people[Role.SALES], request_key=key)


@pytest.mark.parametrize("words", ["", "   ", "x" * 2001, "a\x00b"])
def test_what_is_no_note(conn: Connection, people: People, customer: int, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        notes.add(conn, customer, text=words, user=people[Role.SALES])
    assert refusal.value.field == "text"


def test_who_may_and_for_whom(conn: Connection, people: People, customer: int) -> None:
    with pytest.raises(NotAllowed):
        notes.add(conn, customer, text="Nein", user=people[Role.VIEWER])
    with pytest.raises(NotFound):
        notes.add(conn, 10**9, text="Nein", user=people[Role.SALES])
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now()"))
    with pytest.raises(Conflict):
        notes.add(conn, customer, text="Nein", user=people[Role.SALES])


def test_the_log_has_no_text_and_erasure_leaves_none(conn: Connection, people: People, customer: int) -> None:
    notes.add(conn, customer, text="Frau Muster mag Tee", user=people[Role.SALES])
    logged = conn.scalars(text("SELECT changes::text FROM audit_log WHERE object_type = 'note'")).all()
    assert logged == ["{}"]
    assert notes.forget(conn, customer) == 1
    assert notes.notes_of(conn, customer) == []
