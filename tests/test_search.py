"""One search for customers, their people and documents."""

import pytest
from sqlalchemy import Connection, insert, text

from lib import customers, search, tables
from lib.auth import Role
from tests import closes, ledgers
from tests.closes import JUNE, TODAY, Company


@pytest.fixture
def company(conn: Connection) -> Company:
    company = closes.company(conn)
    customer = customers.customer(conn, company.with_users)
    changes = {"contact_email": "anton@ada.example", "vat_id": "DE136695976"}
    customers.edit(
        conn, customer.id, version=customer.version, changes=changes, today=JUNE, user=company.people[Role.SALES]
    )
    values = {"customer_id": company.with_ips, "email": "Erika.Muster@berta.example"}
    conn.execute(insert(tables.customer_users).values(values))
    return company


def found(conn: Connection, typed: str) -> list[tuple[str, int]]:
    return [(hit.kind, hit.id) for hit in search.hits(conn, typed)]


@pytest.mark.parametrize("typed", ["ada", "ADA gmbh", "gmbh ada", "anton@ada", "136695976", "  Ada  "])
def test_a_customer_by_what_is_known_of_it(conn: Connection, company: Company, typed: str) -> None:
    assert found(conn, typed) == [("customer", company.with_users)]


def test_a_customer_by_its_number_or_by_the_address_of_a_user(conn: Connection, company: Company) -> None:
    number = customers.customer(conn, company.with_ips).number
    assert found(conn, number) == [("customer", company.with_ips)]
    hits = search.hits(conn, "erika.muster")
    assert [(hit.id, hit.title, hit.detail) for hit in hits] == [
        (company.with_ips, "Berta AG", f"{number} · Erika.Muster@berta.example")
    ]


@pytest.mark.parametrize("typed", ["RE-2026-00001", "re-2026-1", " re-2026-0000001 "])
def test_a_document_by_its_number(conn: Connection, company: Company, typed: str) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company, today=TODAY)
    first = conn.scalar(text("SELECT id FROM invoices WHERE number = 'RE-2026-00001'"))
    assert found(conn, typed) == [("document", first)]


@pytest.mark.parametrize(
    "typed", ["", "  ", "a", "ad", "\x00", "%%%", "___", "ada berta", "RE-2026-9", "'; --", "x" * 9999]
)
def test_nothing(conn: Connection, company: Company, typed: str) -> None:
    assert found(conn, typed) == []


def test_no_more_than_asked_for(conn: Connection, company: Company) -> None:
    for number in range(12):
        ledgers.customer(conn, company.people, f"Reihe {number:02}")
    titles = [hit.title for hit in search.hits(conn, "reihe")]
    assert titles == [f"Reihe {number:02}" for number in range(search.LIMIT)]


def test_an_erased_customer_is_not_found(conn: Connection, company: Company) -> None:
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now(), erased_at = now() WHERE name = 'Ada GmbH'"))
    assert found(conn, "ada gmbh") == []
