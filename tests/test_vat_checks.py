"""VIES's answers as evidence, and what they decide (row G10)."""

from datetime import date

import pytest
import stdnum.eu.vat
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from stdnum.iso7064 import mod_11_10

from lib import customers, settings, vat, vat_checks
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.vies import Answer
from tests import closes, ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 20)
FRENCH = "FR40303265045"
YES = Answer(True, "WAPIAAAAX1", "registered to EXEMPLE SARL")
NO = Answer(False, "WAPIAAAAX2", "not registered")
SILENT = Answer(None, "", "VIES did not answer: it could not be reached. Try again later; nothing was assumed.")


@pytest.fixture
def people(conn: Connection, set_up: object) -> People:
    return set_up()  # type: ignore[no-any-return, operator]


@pytest.fixture
def french(conn: Connection, people: People) -> int:
    customer_id = ledgers.customer(conn, people, "Exemple SARL", since=JUNE)
    edit(conn, people, customer_id, country="FR", vat_id=FRENCH)
    return customer_id


def edit(conn: Connection, people: People, customer_id: int, **changes: str) -> None:
    version = customers.customer(conn, customer_id).version
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=people[Role.SALES])


def decision(conn: Connection, customer_id: int) -> str | None:
    """The VAT category of a customer's documents: S, AE, O, or None where it is blocked."""
    query = text(f"SELECT {vat.DECISION} FROM customers c WHERE id = :id")
    return conn.scalar(query, {"id": customer_id})


def ask_vies(conn: Connection, people: People) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"check_vies": True}, user=people[Role.ADMIN])


def record(conn: Connection, people: People, customer_id: int, answer: Answer, role: Role = Role.SALES) -> None:
    vat_checks.record(conn, customer_id, vat_id=FRENCH, answer=answer, today=TODAY, user=people[role])


@pytest.mark.row("G10")
def test_where_vies_is_asked_an_id_is_valid_once_vies_said_so(conn: Connection, people: People, french: int) -> None:
    assert decision(conn, french) == "AE"  # VIES is off: format and check digit suffice
    ask_vies(conn, people)
    edit(conn, people, french, vat_id="FR 83404833048")
    assert decision(conn, french) is None
    edit(conn, people, french, vat_id=FRENCH)
    record(conn, people, french, SILENT)
    assert decision(conn, french) is None  # nothing is assumed
    record(conn, people, french, YES)
    assert decision(conn, french) == "AE"
    record(conn, people, french, NO)
    assert decision(conn, french) is None
    assert [(check.valid, check.reference, check.person) for check in vat_checks.checks_of(conn, french)] == [
        (False, "WAPIAAAAX2", "Samuel"),
        (True, "WAPIAAAAX1", "Samuel"),
        (None, "", "Samuel"),
    ]


def test_a_reverse_charge_invoice_keeps_the_answer_as_evidence(conn: Connection) -> None:
    company = closes.company(conn)
    french = closes.abroad(conn, company, "Exemple SARL", "FR", FRENCH)
    record(conn, company.people, french, YES)
    closes.approve(conn, company)
    closes.issue(conn, company)
    query = text("SELECT vat_evidence FROM invoices WHERE customer_id = :id")
    evidence = conn.scalar(query, {"id": french})
    assert (evidence["vat_id"], evidence["valid"]) == (FRENCH, True)
    assert [answer["reference"] for answer in evidence["vies"]] == ["WAPIAAAAX1"]
    assert "vies" not in conn.scalar(query, {"id": company.with_ips})


def test_an_unchanged_id_keeps_its_answer(conn: Connection, people: People, french: int) -> None:
    ask_vies(conn, people)
    record(conn, people, french, YES)
    edit(conn, people, french, vat_id=FRENCH, country="FR", phone="+33 1")
    assert decision(conn, french) == "AE"


def test_an_answer_that_comes_too_late(conn: Connection, people: People, french: int) -> None:
    edit(conn, people, french, vat_id="FR83404833048")
    with pytest.raises(Conflict, match="changed while VIES"):
        record(conn, people, french, YES)


def test_who_may_and_for_whom(conn: Connection, people: People, french: int) -> None:
    with pytest.raises(NotAllowed):
        record(conn, people, french, YES, Role.VIEWER)
    with pytest.raises(NotFound):
        record(conn, people, 10**9, YES)


def test_the_log_names_no_person(conn: Connection, people: People, french: int) -> None:
    record(conn, people, french, YES)
    logged = conn.scalar(text("SELECT changes::text FROM audit_log WHERE action = 'check VAT ID'"))
    assert "WAPIAAAAX1" in logged and "EXEMPLE" not in logged


@pytest.mark.row("G10")
@given(st.from_regex(r"[0-9]{7,10}", fullmatch=True))
def test_a_german_id_is_checked_as_by_the_library(digits: str) -> None:
    try:
        assert vat.checked(f"de {digits}", country="DE") == (f"DE{digits}", True)
        found = True
    except Invalid:
        found = False
    assert found == stdnum.eu.vat.is_valid(f"DE{digits}")
    if len(digits) >= 8:  # and one whose check digit is right
        right = digits[:8] + mod_11_10.calc_check_digit(digits[:8])
        assert (right[0] == "0") or vat.checked(f"DE{right}", country="DE") == (f"DE{right}", True)


@pytest.mark.row("G10")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"country": "FR", "vat_id": ""}, "vat_id"),
        ({"country": "CH", "tax_number": "", "no_tax_id_reason": ""}, "tax_number"),
        ({"country": "US"}, "tax_number"),
    ],
)
def test_abroad_something_names_the_business(
    conn: Connection, people: People, changes: dict[str, str], field: str
) -> None:
    customer_id = ledgers.customer(conn, people)
    with pytest.raises(Invalid) as refusal:
        edit(conn, people, customer_id, **changes)
    assert refusal.value.field == field


@pytest.mark.row("G10")
@pytest.mark.parametrize(
    "changes",
    [
        {"country": "DE", "vat_id": ""},
        {"country": "US", "tax_number": "12-3456789"},
        {"country": "US", "no_tax_id_reason": "Founded last week"},
        {"country": "CH", "vat_id": "CHE-107.787.577 IVA"},
    ],
)
def test_what_suffices_by_country(conn: Connection, people: People, changes: dict[str, str]) -> None:
    customer_id = ledgers.customer(conn, people)
    edit(conn, people, customer_id, **changes)
    assert customers.customer(conn, customer_id).country == changes["country"]


@pytest.mark.parametrize(
    ("country", "asked"), [("FR", True), ("GR", True), ("DE", False), ("CH", False), ("XI", False)]
)
def test_whom_vies_knows(conn: Connection, people: People, country: str, asked: bool) -> None:
    assert not vat.asks_vies(conn, country=country)
    ask_vies(conn, people)
    assert vat.asks_vies(conn, country=country) == asked
