"""A customer's months: what they cost, what is final, and the charges that they consist of."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection

from lib import adjustments, months, statements
from lib.auth import Role
from tests import ledgers
from tests.ledgers import JUNE, People

MAY, TODAY = date(2026, 5, 1), date(2026, 6, 20)


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(MAY)


@pytest.fixture
def customer(conn: Connection, people: People) -> int:
    users = ledgers.product(conn, people, "users", price="5", month=MAY)
    created = ledgers.customer(conn, people, since=MAY)
    ledgers.book(conn, people, created, users, 10, MAY)
    ledgers.book(conn, people, created, users, 12, date(2026, 6, 16))
    return created


@pytest.mark.row("N8")
def test_open_months_are_a_forecast_and_closed_ones_final(conn: Connection, people: People, customer: int) -> None:
    found = statements.statements_of(conn, customer, today=TODAY)
    assert [(one.month, str(one.amount), one.final) for one in found] == [(JUNE, "60.00", False), (MAY, "50.00", False)]
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    june, may = statements.statements_of(conn, customer, today=TODAY)
    assert (june.final, june.invoice_id) == (False, None)
    assert (may.final, may.invoice_state, may.invoice_number) == (True, "draft", None)
    assert may.invoice_id is not None


@pytest.mark.row("N8")
def test_the_charges_add_up_to_the_statement(conn: Connection, people: People, customer: int) -> None:
    finance = people[Role.FINANCE]
    adjustments.add(
        conn, customer, text="Setup", amount=Decimal("-7.50"), month_meant=MAY, reason="x", month=JUNE, user=finance
    )
    charges = statements.charges_of(conn, customer, today=TODAY)
    assert [(one.month, one.kind, one.start_quantity, one.end_quantity, str(one.amount)) for one in charges] == [
        (MAY, "users", 0, 10, "50.00"),
        (JUNE, "users", 10, 12, "60.00"),
        (JUNE, "adjustment", 0, 0, "-7.50"),
    ]
    assert charges[1].changes == "2026-06-16 +2"
    for statement in statements.statements_of(conn, customer, today=TODAY):
        assert statement.amount == sum(one.amount or 0 for one in charges if one.month == statement.month)


def test_only_the_last_months_are_read(conn: Connection, people: People, customer: int) -> None:
    assert [one.month for one in statements.statements_of(conn, customer, today=TODAY, months=1)] == [JUNE]
    assert {one.month for one in statements.charges_of(conn, customer, today=TODAY, months=1)} == {JUNE}


@pytest.mark.row("N7")
def test_a_test_customer_has_no_statement(conn: Connection, people: People, customer: int) -> None:
    test = ledgers.customer(conn, people, "Test", billed=False, ends_on=date(2026, 8, 1))
    assert statements.statements_of(conn, test, today=TODAY) == []
    assert statements.charges_of(conn, test, today=TODAY) == []


def test_a_month_without_a_price_has_no_amount(conn: Connection, people: People, customer: int) -> None:
    module = ledgers.product(conn, people, "module")
    ledgers.book(conn, people, customer, module, 1, JUNE)
    june = statements.statements_of(conn, customer, today=TODAY)[0]
    assert (june.month, june.amount) == (JUNE, None)
