"""The Audit log page: found by person, object, customer and day; readable from before to after."""

from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from streamlit.testing.v1 import AppTest

from lib import customers, db, settings
from lib.auth import Role
from pages.shared import change_words
from tests import people
from tests.beginnings import Begin

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 15)


def renamed(conn: Connection) -> None:
    """A company that was renamed by an admin, and a customer added by sales."""
    staff = people.open_company(conn)
    admin = staff[Role.ADMIN]
    settings.edit_company(conn, version=1, changes={"name": "Nord GmbH"}, user=admin)
    settings.edit_company(conn, version=2, changes={"name": "Süd GmbH", "vat_id": "DE136695976"}, user=admin)
    customers.create(
        conn,
        details={"name": "Kunde *AG*", "city": "Köln"},
        billed=False,
        ends_on=date(2026, 7, 1),
        today=TODAY,
        user=staff[Role.SALES],
    )


@pytest.fixture
def history(begin: Begin) -> None:
    begin(renamed)


def rows(page: AppTest) -> list[dict[str, str]]:
    """The entries shown, but for the sign-ins of the tests themselves."""
    assert not page.exception
    found = page.dataframe[0].value.to_dict("records") if page.dataframe else []
    return [row for row in found if row["action"] != "Signed in"]


@pytest.mark.row("B10")
def test_the_log_reads_from_before_to_after(history: None, open_page: OpenPage) -> None:
    found = rows(open_page("audit_log.py", Role.FINANCE))
    assert [row["person"] for row in found] == ["Samuel", "Adam", "Adam", "Adam"]
    renamed = found[1]
    assert (renamed["action"], renamed["object"]) == ("Edit", "Company")
    assert "Name: Nord GmbH → Süd GmbH" in renamed["changes"]
    assert "VAT ID: – → DE136695976" in renamed["changes"]
    assert found[0]["object"].endswith("Kunde *AG*")
    # What was not there before reads as its value.
    assert "City: Köln" in found[0]["changes"] and "1 Jul 2026" in found[0]["changes"]


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("2026-11-04", "4 Nov 2026"),
        ("220.00 EUR of 2026-11-04", "220.00 EUR of 4 Nov 2026"),
        ("usage-2026-11-23.csv", "usage-2026-11-23.csv"),
        ("2026-02-30", "2026-02-30"),
        (["2026-11-04", None], "4 Nov 2026, –"),
        (True, "yes"),
    ],
)
def test_a_stored_value_is_read_as_people_write_it(stored: object, read: str) -> None:
    assert change_words.value(stored) == read


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_not_everybody_reads_the_log(history: None, open_page: OpenPage, role: Role) -> None:
    page = open_page("audit_log.py", role)
    assert not page.dataframe
    assert "may not read the audit log" in page.warning[0].value


@pytest.mark.row("B10")
def test_the_log_is_searched_by_person_object_and_customer(history: None, open_page: OpenPage) -> None:
    page = open_page("audit_log.py")
    with db.transaction() as conn:
        sales = people.hire(conn)[Role.SALES].id
    page.selectbox(key="person").select(sales).run()
    assert [row["person"] for row in rows(page)] == ["Samuel"]
    page.selectbox(key="person").set_value(None).run()
    page.selectbox(key="object").select("company").run()
    assert len(rows(page)) == 2
    page.selectbox(key="object").set_value(None).run()
    page.text_input(key="search").set_value("kunde").run()
    assert len(rows(page)) == 1
    page.text_input(key="search").set_value("100%_").run()
    assert rows(page) == []
    assert "No entry matches" in page.info[0].value


@pytest.mark.row("B10")
def test_the_log_is_searched_by_days(history: None, open_page: OpenPage) -> None:
    page = open_page("audit_log.py")
    with db.transaction() as conn:
        now = conn.exec_driver_sql("SELECT (now() AT TIME ZONE 'Europe/Berlin')::date").scalar_one()
    page.date_input(key="from").set_value(now).run()
    assert len(rows(page)) == 4
    page.date_input(key="from").set_value(None).run()
    page.date_input(key="to").set_value(date(2020, 1, 1)).run()
    assert rows(page) == []
    page.date_input(key="from").set_value(now).run()
    assert "first day lies after the last" in page.warning[0].value


@pytest.mark.parametrize("typed", ["\0", "x" * 10_000, "'; DROP TABLE audit_log; --", "<b>", "=1+1", "\\"])
def test_any_search_is_only_text(history: None, open_page: OpenPage, typed: str) -> None:
    page = open_page("audit_log.py")
    page.text_input(key="search").set_value(typed).run()
    assert not page.exception


@pytest.mark.row("B10")
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_nobody_can_edit_the_log(conn: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError, match="never changed"):
        conn.execute(text(statement + (" CASCADE" if statement.startswith("TRUNCATE") else "")))


def test_filters_come_from_the_address(history: None, open_page: OpenPage) -> None:
    assert len(rows(open_page("audit_log.py", search="kunde"))) == 1


def test_the_log_is_paged(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        admin = people.hire(conn)[Role.ADMIN]
        for version in range(1, 53):
            settings.edit_company(conn, version=version, changes={"city": f"Ort {version}"}, user=admin)
    page = open_page("audit_log.py", object="Company")
    assert len(rows(page)) == 50
    assert any(caption.value == "1–50 of 52" for caption in page.caption)
    page.session_state["audit_page"] = 2
    page.run()
    assert len(rows(page)) == 2
    # Another filter starts at its first page.
    page.text_input(key="search").set_value("edit").run()
    assert len(rows(page)) == 50
