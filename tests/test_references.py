"""What documents belong to, kept by triggers that look at all rows at once: no orphan, also when two write at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from lib import db, drafts, issuing
from tests import closes
from tests.closes import END_OF_JUNE, JUNE, TODAY, Company, line
from tests.test_races import until_somebody_waits

ADD_A_LINE = """INSERT INTO invoice_lines (invoice_id, position, name, quantity, unit_price, amount)
                VALUES (:id, 99, 'x', 1, 1, 1)"""
DELETE = "DELETE FROM invoices WHERE id = :id"


@dataclass(frozen=True)
class Drafted:
    """A company and the draft of one of its customers."""

    company: Company
    id: int


def drafted(conn: Connection) -> Drafted:
    company = closes.company(conn)
    period = {"service_from": JUNE, "service_until": END_OF_JUNE}
    draft_id = drafts.create(conn, company.with_users, **period, lines=[line("100")], user=company.finance)
    return Drafted(company, draft_id)


def lines_of(conn: Connection, invoice_id: int) -> int:
    return closes.count(conn, "invoice_lines", f"invoice_id = {invoice_id}")


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (ADD_A_LINE.replace(":id", "-1"), "belong to a draft"),
        ("UPDATE invoice_lines SET invoice_id = -1 WHERE invoice_id = :id", "keep their id and what they belong to"),
        ("UPDATE invoices SET customer_id = -1 WHERE id = :id", "keep their id and what they belong to"),
        ("UPDATE invoices SET id = DEFAULT WHERE id = :id", "keep their id and what they belong to"),
        ("UPDATE customers SET id = DEFAULT", "keep their id and what they belong to"),
        ("DELETE FROM customers", "never changed"),
        (
            """INSERT INTO invoices (customer_id, service_from, service_until)
               SELECT -1, service_from, service_until FROM invoices WHERE id = :id""",
            "belongs to a customer",
        ),
        (
            """INSERT INTO invoices (customer_id, kind, cancels_id, service_from, service_until)
               SELECT customer_id, 'cancellation', id, service_from, service_until FROM invoices WHERE id = :id""",
            "to an issued document",
        ),
    ],
)
def test_the_database_refuses_an_orphan(conn: Connection, statement: str, rule: str) -> None:
    """A line without its document, a document without its customer, a cancellation of what isn't issued."""
    made = drafted(conn)
    with pytest.raises(IntegrityError, match=rule), conn.begin_nested():
        conn.execute(text(statement), {"id": made.id})


def test_a_deleted_draft_takes_its_lines_with_it(conn: Connection) -> None:
    made = drafted(conn)
    conn.execute(text(DELETE), {"id": made.id})
    assert lines_of(conn, made.id) == 0


def add_a_line(conn: Connection, made: Drafted) -> None:
    conn.execute(text(ADD_A_LINE), {"id": made.id})


def delete(conn: Connection, made: Drafted) -> None:
    conn.execute(text(DELETE), {"id": made.id})


def issue(conn: Connection, made: Drafted) -> None:
    issuing.issue(conn, [made.id], today=TODAY, user=made.company.finance)


Write = Callable[[Connection, Drafted], object]


@pytest.mark.parametrize(
    ("first", "second", "refused", "lines"),
    [
        (add_a_line, delete, False, 0),
        (delete, add_a_line, True, 0),
        (add_a_line, issue, False, 2),
        (issue, add_a_line, True, 1),
    ],
)
def test_two_at_once_leave_no_orphan_and_change_nothing_issued(
    database: str, first: Write, second: Write, refused: bool, lines: int
) -> None:
    """The second waits for the first, and then sees what that did."""
    with db.transaction() as conn:
        made = drafted(conn)
    with ThreadPoolExecutor(1) as colleague:
        with db.transaction() as conn:
            first(conn, made)
            waiting = colleague.submit(in_a_transaction, second, made)
            until_somebody_waits(conn)
            assert not waiting.done()
        assert isinstance(waiting.exception(timeout=20), IntegrityError) is refused
    with db.transaction() as conn:
        assert lines_of(conn, made.id) == lines


def in_a_transaction(write: Write, made: Drafted) -> None:
    with db.transaction() as conn:
        write(conn, made)


def test_a_draft_is_not_deleted_under_an_old_snapshot(database: str) -> None:
    """It would not see, and so not delete, a line that was committed while it waited."""
    with db.transaction() as conn:
        made = drafted(conn)
    repeatable = db.engine().connect().execution_options(isolation_level="REPEATABLE READ")
    with repeatable as conn, pytest.raises(IntegrityError, match="READ COMMITTED"), conn.begin():
        delete(conn, made)
