"""Four people, one for each role, with a password that is quick to check."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, TypeVar

import bcrypt
from sqlalchemy import Connection, insert, select

from lib import passwords, sessions, settings, tables
from lib.auth import Role, User

T = TypeVar("T")
PASSWORD = "seven-quiet-rivers"
# The cheapest bcrypt there is: tests check that it is asked, not how hard it is to guess.
QUICK_ROUNDS = 4
_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(QUICK_ROUNDS)).decode()
NAMES = {Role.VIEWER: "Vera", Role.SALES: "Samuel", Role.FINANCE: "Fiona", Role.ADMIN: "Adam"}


def hash_with(rounds: int) -> None:
    """Let lib.passwords hash with 2**`rounds` steps from now on, and check unknown users in as many."""
    passwords.ROUNDS = rounds


def awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, from a thread of its own: a browser test before may have left a loop running here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def hire(conn: Connection) -> dict[Role, User]:
    """The four, made if they aren't there yet. Their user names are their first names in small letters."""
    known = {row.username: row.id for row in conn.execute(select(tables.staff.c.username, tables.staff.c.id))}
    found = {}
    for role, name in NAMES.items():
        staff_id = known.get(name.lower())
        if staff_id is None:
            values = {"username": name.lower(), "name": name, "role": str(role), "password_hash": _HASH}
            staff_id = conn.execute(insert(tables.staff).values(values).returning(tables.staff.c.id)).scalar_one()
        found[role] = User(staff_id, name.lower(), name, role)
    return found


def open_company(conn: Connection, *, first_month: date = date(2026, 6, 1)) -> dict[Role, User]:
    """The four people, and a company whose billing starts with `first_month`."""
    people = hire(conn)
    settings.set_first_month(conn, first_month, user=people[Role.ADMIN])
    return people


def sign_in(conn: Connection, user: User) -> str:
    """A session for the person; returns the token that their cookie would hold."""
    claim = sessions.claim(conn, username=user.username, address="test")
    ticket = sessions.ticket(conn, claim, password=PASSWORD, nonce="nonce")
    token = ticket and sessions.redeem(conn, ticket, nonce="nonce")
    assert token
    return token
