"""Signing in to the portal: the rules of the staff's site, and nobody whom the customer's state keeps out."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from lib import customer_users, customer_verbs, invites, portal_sessions, sessions
from lib.auth import Role
from lib.errors import NotAllowed
from tests import closes, people, portals
from tests.portals import PASSWORD, Portal

BEGINS_WITH = portals.filled


@pytest.fixture
def portal(begun: Portal) -> Portal:
    return begun


def alive(conn: Connection, token: str) -> bool:
    return portal_sessions.user_of(conn, token) is not None


def test_the_right_password_signs_in(conn: Connection, portal: Portal) -> None:
    user = portals.user(conn)
    assert (user.id, user.customer_id, user.is_main, user.self_service) == (
        portal.people["olga"],
        portal.ada,
        True,
        True,
    )


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD.upper(), "x" * 100, "\x00"])
def test_a_wrong_password_does_not(conn: Connection, portal: Portal, password: str) -> None:
    assert portals.ticket(conn, password=password) is None


def test_a_ticket_works_once_in_its_browser_and_for_30_seconds(conn: Connection, portal: Portal) -> None:
    first, second = portals.ticket(conn), portals.ticket(conn)
    assert first and second
    assert portal_sessions.redeem(conn, first, nonce="another's") is None
    assert portal_sessions.redeem(conn, first, nonce="nonce")
    assert portal_sessions.redeem(conn, first, nonce="nonce") is None
    conn.execute(text("UPDATE sign_in_tickets SET created_at = created_at - interval '31 seconds'"))
    assert portal_sessions.redeem(conn, second, nonce="nonce") is None


@pytest.mark.parametrize(("column", "age"), [("last_seen_at", "31 minutes"), ("created_at", "13 hours")])
def test_a_session_ends(conn: Connection, portal: Portal, column: str, age: str) -> None:
    token = portals.sign_in(conn)
    conn.execute(text(f"UPDATE sessions SET {column} = {column} - interval '{age}'"))
    assert not alive(conn, token)


def test_signing_out_ends_this_browsers_session(conn: Connection, portal: Portal) -> None:
    here, there = portals.sign_in(conn), portals.sign_in(conn)
    portal_sessions.end(conn, here)
    assert not alive(conn, here) and alive(conn, there)


def test_failures_make_wait_on_this_site_alone(conn: Connection, portal: Portal) -> None:
    for _ in range(5):
        portals.ticket(conn, password="wrong")
    claim = portal_sessions.claim(conn, username="olga@ada.example", address="10.0.0.1")
    assert claim.id is None and claim.wait_seconds > 0
    assert sessions.claim(conn, username="olga@ada.example", address="10.0.0.1").id is not None


def test_a_session_of_one_site_is_nobody_on_the_other(conn: Connection, portal: Portal) -> None:
    of_staff = people.sign_in(conn, portal.company.people[Role.ADMIN])
    assert portal_sessions.user_of(conn, of_staff) is None
    portal_sessions.end(conn, of_staff)
    assert sessions.user_of(conn, of_staff) is not None
    assert sessions.user_of(conn, portals.sign_in(conn)) is None


def test_a_ticket_of_one_site_is_worth_nothing_on_the_other(conn: Connection, portal: Portal) -> None:
    claim = sessions.claim(conn, username="adam", address="10.0.0.1")
    of_staff, of_portal = sessions.ticket(conn, claim, password=people.PASSWORD, nonce="nonce"), portals.ticket(conn)
    assert of_staff and portal_sessions.redeem(conn, of_staff, nonce="nonce") is None
    assert of_portal and sessions.redeem(conn, of_portal, nonce="nonce") is None


def test_staff_do_not_sign_in_to_the_portal_nor_users_as_staff(conn: Connection, portal: Portal) -> None:
    claim = portal_sessions.claim(conn, username="adam", address="10.0.0.1")
    assert portal_sessions.ticket(conn, claim, password=people.PASSWORD, nonce="nonce") is None
    claim = sessions.claim(conn, username="olga@ada.example", address="10.0.0.1")
    assert sessions.ticket(conn, claim, password=PASSWORD, nonce="nonce") is None


def deactivated(conn: Connection, portal: Portal) -> None:
    person = customer_users.customer_user(conn, portal.people["piet"])
    customer_users.deactivate(conn, person.id, version=person.version, user=portal.sales)


def locked(conn: Connection, portal: Portal) -> None:
    customer_verbs.lock(conn, portal.ada, user=portal.sales)


def marked(conn: Connection, portal: Portal) -> None:
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now() WHERE id = :id"), {"id": portal.ada})


@pytest.mark.row("G7")
@pytest.mark.parametrize("shut_out", [deactivated, locked, marked])
def test_who_is_shut_out_is_out_at_the_next_click(
    conn: Connection, portal: Portal, shut_out: Callable[[Connection, Portal], None]
) -> None:
    token, earned = portals.sign_in(conn, "piet"), portals.ticket(conn, "piet")
    shut_out(conn, portal)
    assert not alive(conn, token)
    assert earned and portal_sessions.redeem(conn, earned, nonce="nonce") is None
    if shut_out is deactivated:
        assert portals.ticket(conn, "piet") is None
    else:
        with pytest.raises(NotAllowed, match="access of your company is closed"):
            portals.ticket(conn, "piet")
    assert portals.ticket(conn, "piet", password="wrong") is None
    assert portals.sign_in(conn, "berit"), "another customer's users go on"


def test_an_invited_person_does_not_sign_in(conn: Connection, portal: Portal) -> None:
    invites.invite(conn, portal.ada, email="rosa@ada.example", user=portal.sales)
    assert portals.ticket(conn, "rosa") is None


def test_a_deactivated_customers_users_still_get_their_documents(conn: Connection, portal: Portal) -> None:
    customer_verbs.deactivate(conn, portal.ada, today=closes.TODAY, user=portal.sales)
    assert portals.sign_in(conn)


def test_the_audit_log_names_the_user(conn: Connection, portal: Portal) -> None:
    portals.sign_in(conn)
    newest = conn.execute(text("SELECT action, staff_id, customer_user_id FROM audit_log ORDER BY id DESC LIMIT 1"))
    assert tuple(newest.one()) == ("signed in", None, portal.people["olga"])
