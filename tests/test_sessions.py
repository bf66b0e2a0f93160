"""Signing in: tickets that work once, sessions that end, attempts that wait, nothing secret in the tables."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest
from sqlalchemy import Connection, insert, select, text

from lib import db, passwords, sessions, staff
from lib.auth import Role, User
from lib.tables import customer_users, sign_in_attempts, sign_in_tickets
from lib.tables import sessions as session_table
from tests import ledgers, people
from tests.people import PASSWORD


def attempt(
    conn: Connection, password: str = PASSWORD, *, username: str = "samuel", address: str = "10.0.0.1"
) -> str | None:
    claim = sessions.claim(conn, username=username, address=address)
    assert claim.id is not None, f"has to wait {claim.wait_seconds} s"
    return sessions.ticket(conn, claim, password=password, nonce="nonce")


def signed_in(conn: Connection) -> str:
    ticket = attempt(conn)
    assert ticket
    token = sessions.redeem(conn, ticket, nonce="nonce")
    assert token
    return token


def wait(conn: Connection, *, username: str = "samuel", address: str = "10.0.0.1") -> int:
    return sessions.claim(conn, username=username, address=address).wait_seconds


def age(conn: Connection, table: str, column: str, interval: str) -> None:
    """Make rows older: the transaction's clock stands still."""
    conn.execute(text(f"UPDATE {table} SET {column} = {column} - interval '{interval}'"))


def test_the_right_password_signs_in(conn: Connection, sales: User) -> None:
    assert sessions.user_of(conn, signed_in(conn)) == sales


@pytest.mark.parametrize("username", ["", "\x00", "samuel\x00--", "x" * 10_000, "' OR true --"])
def test_a_strange_user_name_is_nobody(conn: Connection, sales: User, username: str) -> None:
    assert attempt(conn, "wrong", username=username) is None


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD.upper(), PASSWORD + "x", "x" * 100, "\x00", "ü" * 60])
def test_a_wrong_password_does_not(conn: Connection, sales: User, password: str) -> None:
    assert attempt(conn, password) is None


def test_a_ticket_works_once(conn: Connection, sales: User) -> None:
    ticket = attempt(conn)
    assert ticket and sessions.redeem(conn, ticket, nonce="nonce")
    assert sessions.redeem(conn, ticket, nonce="nonce") is None


def test_a_ticket_works_in_its_own_browser_only(conn: Connection, sales: User) -> None:
    ticket = attempt(conn)
    assert ticket
    assert sessions.redeem(conn, ticket, nonce="another browser's") is None
    assert sessions.redeem(conn, ticket, nonce="") is None


def test_a_browser_without_a_nonce_gets_no_ticket(conn: Connection, sales: User) -> None:
    claim = sessions.claim(conn, username="samuel", address="10.0.0.1")
    assert sessions.ticket(conn, claim, password=PASSWORD, nonce="") is None


def test_a_ticket_lives_30_seconds(conn: Connection, sales: User) -> None:
    ticket = attempt(conn)
    age(conn, "sign_in_tickets", "created_at", "31 seconds")
    assert ticket and sessions.redeem(conn, ticket, nonce="nonce") is None


def test_a_ticket_of_somebody_disabled_since_is_void(conn: Connection, admin: User, sales: User) -> None:
    ticket = attempt(conn)
    staff.disable(conn, sales.id, user=admin, version=1)
    assert ticket and sessions.redeem(conn, ticket, nonce="nonce") is None


def test_two_browsers_can_not_share_a_ticket_at_once(database: str) -> None:
    with db.transaction() as conn:
        people.hire(conn)
        ticket = attempt(conn)
    assert ticket

    def redeem(_: int) -> str | None:
        with db.transaction() as conn:
            return sessions.redeem(conn, ticket, nonce="nonce")

    with ThreadPoolExecutor(4) as pool:
        assert sum(token is not None for token in pool.map(redeem, range(4))) == 1


def test_a_session_ends_after_30_idle_minutes(conn: Connection, sales: User) -> None:
    token = signed_in(conn)
    age(conn, "sessions", "last_seen_at", "29 minutes")
    assert sessions.user_of(conn, token)  # and is fresh again
    age(conn, "sessions", "last_seen_at", "29 minutes")
    assert sessions.user_of(conn, token)
    age(conn, "sessions", "last_seen_at", "31 minutes")
    assert sessions.user_of(conn, token) is None


def test_a_session_ends_after_12_hours_of_work(conn: Connection, sales: User) -> None:
    token = signed_in(conn)
    age(conn, "sessions", "created_at", "11 hours 59 minutes")
    assert sessions.user_of(conn, token)
    age(conn, "sessions", "created_at", "2 minutes")
    assert sessions.user_of(conn, token) is None


def test_signing_out_ends_it(conn: Connection, sales: User) -> None:
    token, other = signed_in(conn), signed_in(conn)
    sessions.end(conn, token)
    assert sessions.user_of(conn, token) is None
    assert sessions.user_of(conn, other)


def test_signing_out_elsewhere(conn: Connection, sales: User) -> None:
    here, there, beyond = signed_in(conn), signed_in(conn), signed_in(conn)
    assert sessions.open_count(conn, sales.id) == 3
    assert sessions.sign_out_elsewhere(conn, user=sales, keep=here) == 2
    assert sessions.user_of(conn, here) and not sessions.user_of(conn, there) and not sessions.user_of(conn, beyond)


@pytest.mark.parametrize("token", [None, "", "x", "' OR true --", "\x00", "ü" * 5000])
def test_a_made_up_cookie_is_nobody(conn: Connection, sales: User, token: str | None) -> None:
    signed_in(conn)
    assert sessions.user_of(conn, token) is None


def test_a_session_of_another_site_is_nobody_here(
    conn: Connection, sales: User, set_up: Callable[..., ledgers.People]
) -> None:
    token = signed_in(conn)
    customer_id = ledgers.customer(conn, set_up())
    person = (
        insert(customer_users).values(customer_id=customer_id, email="erika@ada.example").returning(customer_users.c.id)
    )
    portal = {"site": "portal", "staff_id": None, "customer_user_id": conn.scalar(person)}
    conn.execute(session_table.update().values(portal))
    assert sessions.user_of(conn, token) is None


def test_only_hashes_are_stored(conn: Connection, sales: User) -> None:
    ticket = attempt(conn)
    assert ticket
    token = sessions.redeem(conn, ticket, nonce="nonce")
    stored = str(conn.execute(select(session_table)).all()) + str(conn.execute(select(sign_in_tickets)).all())
    stored += str(conn.execute(select(sign_in_attempts)).all())
    for secret in (ticket, token, "nonce", PASSWORD):
        assert secret and secret not in stored


def test_failures_wait_longer_and_longer(conn: Connection, sales: User) -> None:
    waits = []
    for _ in range(9):
        waits.append(wait(conn))
        if waits[-1]:
            age(conn, "sign_in_attempts", "at", f"{waits[-1]} seconds")
            attempt(conn, "wrong")
    assert waits == [0, 0, 0, 0, 0, 2, 4, 8, 16]


def test_the_wait_is_a_quarter_of_an_hour_at_most(conn: Connection, sales: User) -> None:
    conn.execute(sign_in_attempts.insert(), [{"username": "samuel", "address": "10.0.0.1", "succeeded": False}] * 25)
    assert wait(conn) == sessions.LONGEST_WAIT_SECONDS


def test_the_right_password_has_to_wait_too(conn: Connection, sales: User) -> None:
    for _ in range(5):
        attempt(conn, "wrong")
    claim = sessions.claim(conn, username="samuel", address="10.0.0.1")
    assert claim.wait_seconds == 2
    assert sessions.ticket(conn, claim, password=PASSWORD, nonce="nonce") is None


def test_a_stranger_elsewhere_does_not_lock_a_person_out(conn: Connection, sales: User) -> None:
    for _ in range(5):
        attempt(conn, "wrong", address="10.6.6.6")
    assert wait(conn, address="10.6.6.6") > 0
    assert attempt(conn, address="10.0.0.1")


def test_many_names_from_one_address_wait_too(conn: Connection, sales: User) -> None:
    for number in range(30):
        attempt(conn, "wrong", username=f"guess{number // 3}") if number % 3 == 0 else conn.execute(
            sign_in_attempts.insert().values(username=f"guess{number}", address="10.0.0.1", succeeded=False)
        )
    assert wait(conn, username="somebody else") > 0
    assert wait(conn, username="somebody else", address="10.0.0.2") == 0


def test_success_starts_the_count_again(conn: Connection, sales: User) -> None:
    for _ in range(4):
        attempt(conn, "wrong")
    assert attempt(conn)
    age(conn, "sign_in_attempts", "at", "1 second")
    assert wait(conn) == 0


def test_a_burst_of_guesses_gets_no_more_than_its_allowance(database: str) -> None:
    with db.transaction() as conn:
        people.hire(conn)

    def claim(_: int) -> bool:
        with db.transaction() as conn:
            return sessions.claim(conn, username="samuel", address="10.0.0.1").id is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(24))) == sessions.FREE_FOR_NAME + 1


def test_unknown_users_get_the_same_answer_in_the_same_time(
    conn: Connection, users: dict[Role, User], hashing: Callable[..., None]
) -> None:
    hashing(9)  # long beside all else that an attempt does
    real = passwords.hashed(PASSWORD)
    conn.execute(text("UPDATE staff SET password_hash = :hash"), {"hash": real})
    conn.execute(text("UPDATE staff SET disabled_at = now() WHERE username = 'vera'"))
    taken: dict[str, list[float]] = {"samuel": [], "nobody": [], "vera": []}
    for round_ in range(3):
        for username, times in taken.items():
            begun = time.thread_time()  # of the processor: the clock on the wall runs on while others work
            assert attempt(conn, "wrong", username=username, address=f"10.1.0.{round_}") is None
            times.append(time.thread_time() - begun)
    known = median(taken.pop("samuel"))
    for times in taken.values():
        assert known / 2 < median(times) < known * 2


def test_reading_a_page_writes_at_most_once_a_minute(conn: Connection, sales: User) -> None:
    token = signed_in(conn)

    def seen() -> object:
        sessions.user_of(conn, token)
        return conn.execute(select(session_table.c.last_seen_at, text("ctid"))).one()

    first = seen()
    assert seen() == first
    age(conn, "sessions", "last_seen_at", "61 seconds")
    assert seen() != first
