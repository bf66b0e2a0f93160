"""Two people write on the same charges at once: the second waits, and no charge misses what the other recorded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from time import monotonic, sleep

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import (
    adjustments,
    bookings,
    charges,
    customer_verbs,
    customers,
    db,
    deletions,
    drafts,
    issuing,
    prices,
    project_key_redemptions,
    project_key_stock,
    subscriptions,
)
from lib.auth import Role, User
from lib.errors import Conflict, Invalid
from lib.prices import Tier
from lib.project_key_redemptions import Terms
from tests import closes, ledgers, people
from tests.beginnings import Begin

JUNE = date(2026, 6, 1)
TODAY = date(2026, 6, 10)
KEY = "PRJ-RACE-0001-ABCD"


@dataclass(frozen=True)
class Desk:
    """A billed customer and a test one, users and an option with a list price, a module without; June is rated."""

    user: User
    billed: int
    test: int
    users: int
    option: int
    unpriced: int


Write = Callable[[Connection, Desk], object]


def opened(conn: Connection) -> Desk:
    hired = people.open_company(conn)
    user = hired[Role.ADMIN]
    test = customers.create(
        conn, details={"name": "Probe AG"}, billed=False, ends_on=date(2026, 7, 8), today=JUNE, user=user
    )
    made = Desk(
        user=user,
        billed=ledgers.customer(conn, hired, since=JUNE),
        test=test,
        users=ledgers.product(conn, hired, "users", price="5"),
        option=ledgers.product(conn, hired, "option", price="30"),
        unpriced=ledgers.product(conn, hired, "module"),
    )
    charges.ensure_rated(conn, JUNE)
    return made


@pytest.fixture
def desk(begin: Begin) -> Desk:
    return begin(opened)


def book_users(conn: Connection, desk: Desk) -> None:
    bookings.book(conn, desk.billed, desk.users, effective_on=TODAY, quantity=5, today=TODAY, user=desk.user)


def book_users_of_the_test(conn: Connection, desk: Desk) -> None:
    bookings.book(conn, desk.test, desk.users, effective_on=TODAY, quantity=5, today=TODAY, user=desk.user)


def book_option(conn: Connection, desk: Desk) -> None:
    bookings.book(conn, desk.billed, desk.option, effective_on=TODAY, quantity=1, today=TODAY, user=desk.user)


def book_unpriced(conn: Connection, desk: Desk) -> None:
    bookings.book(conn, desk.billed, desk.unpriced, effective_on=TODAY, quantity=1, today=TODAY, user=desk.user)


def set_list_price(conn: Connection, desk: Desk) -> None:
    tiers = [Tier(1, None, Decimal("7"))]
    prices.set_list_price(conn, desk.unpriced, valid_from=JUNE, tiers=tiers, user=desk.user)


def set_individual_price(conn: Connection, desk: Desk) -> None:
    tiers = [Tier(1, None, Decimal("3"))]
    prices.set_individual_price(conn, desk.users, desk.billed, valid_from=JUNE, tiers=tiers, user=desk.user)


def adjust(conn: Connection, desk: Desk) -> None:
    given = {"text": "Set-up", "reason": "agreed", "amount": Decimal("40.00"), "month_meant": JUNE}
    adjustments.add(conn, desk.billed, **given, user=desk.user)


def deactivate(conn: Connection, desk: Desk) -> None:
    customer_verbs.deactivate(conn, desk.billed, today=TODAY, user=desk.user)


def cancel(conn: Connection, desk: Desk) -> None:
    subscriptions.cancel(conn, desk.billed, today=TODAY, user=desk.user)


def mark(conn: Connection, desk: Desk) -> None:
    deletions.mark(conn, desk.billed, today=TODAY, user=desk.user)


def convert(conn: Connection, desk: Desk) -> None:
    customer_verbs.convert_to_billed(conn, desk.test, ends_on=None, today=TODAY, user=desk.user)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (book_users, book_option),
        (book_users_of_the_test, convert),
        (convert, book_users_of_the_test),
        (book_unpriced, set_list_price),
        (set_list_price, book_unpriced),
        (set_individual_price, book_users),
        (adjust, book_users),
        (book_users, deactivate),
        (book_users, cancel),
        (adjust, mark),
    ],
)
def test_charges_hold_what_both_recorded(desk: Desk, first: Write, second: Write) -> None:
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            first(conn, desk)
            waiting = colleague.submit(in_a_transaction, second, desk)
            until_somebody_waits(conn)
            assert not waiting.done()
        waiting.result(timeout=20)
    with db.transaction() as conn:
        assert charges.differences(conn, months=[JUNE]) == []


def move_to_switzerland(conn: Connection, desk: Desk) -> None:
    version = customers.customer(conn, desk.billed).version
    changes = {"country": "CH", "no_tax_id_reason": "too small for one"}
    customers.edit(conn, desk.billed, version=version, changes=changes, today=TODAY, user=desk.user)


@pytest.mark.row("G9")
def test_of_two_who_redeem_a_key_at_once_one_wins(desk: Desk) -> None:
    terms = Terms(Decimal(100), "monthly", 50, 0, True)

    def redeem(conn: Connection, desk: Desk, customer_id: int) -> None:
        project_key_redemptions.redeem(conn, customer_id, KEY, terms, today=TODAY, user=desk.user)

    with db.transaction() as conn:
        hired = people.hire(conn)
        ledgers.product(conn, hired, "ips", price="1")
        other = ledgers.customer(conn, hired, "Bob AG")
        project_key_stock.add(
            conn, key=KEY, ips=50, months=1, purchase_price=Decimal(9), redeem_until=None, today=TODAY, user=desk.user
        )
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            redeem(conn, desk, desk.billed)
            waiting = colleague.submit(in_a_transaction, partial(redeem, customer_id=other), desk)
            until_somebody_waits(conn)
            assert not waiting.done()
        with pytest.raises(Invalid, match="This project key is used: Ada GmbH"):
            waiting.result(timeout=20)
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM bookings WHERE project_key_id IS NOT NULL")) == 2
        assert charges.differences(conn, months=[JUNE]) == []


def test_nobody_moves_between_the_vat_decision_and_the_number(desk: Desk) -> None:
    with db.transaction() as conn:
        closes.complete(conn, desk.user)
        lines = [drafts.DraftLine("Set-up", "", Decimal(1), "", Decimal(100))]
        draft = drafts.create(conn, desk.billed, service_from=JUNE, service_until=TODAY, lines=lines, user=desk.user)
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            issuing.issue(conn, [draft], today=TODAY, user=desk.user)
            waiting = colleague.submit(in_a_transaction, move_to_switzerland, desk)
            until_somebody_waits(conn)
            assert not waiting.done()
        waiting.result(timeout=20)
    with db.transaction() as conn:
        issued = conn.execute(text("SELECT vat_category, buyer ->> 'country' AS country FROM invoices")).one()
    assert (issued.vat_category, issued.country) == ("S", "DE")


def test_who_adds_something_while_it_is_erased_is_waited_for_or_refused(desk: Desk) -> None:
    with db.transaction() as conn:
        deletions.mark(conn, desk.test, today=TODAY, user=desk.user)
        conn.execute(text("UPDATE deletions SET due_at = now()"))
    late = text("INSERT INTO contacts (customer_id, name) VALUES (:id, 'Late')")
    with ThreadPoolExecutor(1) as worker:
        with db.transaction() as conn:
            # Past the check that it is marked, as if both had begun at the same moment.
            conn.execute(late, {"id": desk.test})
            waiting = worker.submit(deletions.erase_one)
            until_somebody_waits(conn)
            assert not waiting.done()
        assert waiting.result(timeout=20)
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM contacts")) == 0
        assert customers.customer(conn, desk.test).erased_at is not None


def test_who_comes_while_it_is_erased_is_refused(desk: Desk) -> None:
    with db.transaction() as conn:
        deletions.mark(conn, desk.test, today=TODAY, user=desk.user)
        conn.execute(text("UPDATE deletions SET due_at = now()"))
    late = text("INSERT INTO contacts (customer_id, name) VALUES (:id, 'Late')")
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            assert deletions.erase_next(conn)
            waiting = colleague.submit(in_a_transaction, lambda other, d: other.execute(late, {"id": d.test}), desk)
            until_somebody_waits(conn)
        with pytest.raises(DBAPIError, match="were erased"):
            waiting.result(timeout=20)


def test_taking_a_deletion_back_and_the_worker_take_turns(desk: Desk) -> None:
    with db.transaction() as conn:
        deletions.mark(conn, desk.billed, today=TODAY, user=desk.user)
        conn.execute(text("UPDATE deletions SET due_at = now()"))
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            assert deletions.erase_next(conn)
            waiting = colleague.submit(
                in_a_transaction,
                lambda other, d: deletions.take_back(other, d.billed, today=TODAY, user=d.user),
                desk,
            )
            until_somebody_waits(conn)
        with pytest.raises(Conflict, match="was deleted and its data erased"):
            waiting.result(timeout=20)


def in_a_transaction(write: Write, desk: Desk) -> None:
    with db.transaction() as conn:
        write(conn, desk)


def until_somebody_waits(conn: Connection) -> None:
    """Until another connection to this database waits for a lock."""
    deadline = monotonic() + 20
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not conn.scalar(waiting):
        assert monotonic() < deadline, "nobody waits"
        sleep(0.02)
        conn.execute(text("SELECT pg_stat_clear_snapshot()"))
