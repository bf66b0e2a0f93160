"""The stock of project keys: entered, imported, found by what is typed, revealed and deleted by an admin (row G9)."""

import os
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import audit, project_key_files, project_key_redemptions, project_key_stock, project_keys, vault
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 16)
KEY = "prj-2026-alpha-0001-wxYZ"
HEADER = "Key;IPs;Months;Purchase price;Redeem until\r\n"


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(JUNE)


@pytest.fixture
def boss(people: People) -> User:
    return people[Role.ADMIN]


def add(conn: Connection, boss: User, key: str = KEY, **given: Any) -> int:
    values = {"ips": 500, "months": 12, "purchase_price": Decimal("1200"), "redeem_until": None} | given
    return project_key_stock.add(conn, key=key, today=TODAY, user=boss, **values)


def listed(conn: Connection, boss: User, **asked: Any) -> list[str]:
    return [key.ending for key in project_keys.keys(conn, today=TODAY, user=boss, **asked)[0]]


def stored(conn: Connection) -> str:
    """All that the database holds, as a backup would have it."""
    tables = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).all()
    return " ".join(str(conn.execute(text(f"SELECT * FROM {table}")).all()) for table in tables)


@pytest.mark.row("G9")
def test_a_key_is_stored_where_nobody_reads_it(conn: Connection, boss: User) -> None:
    id_ = add(conn, boss)
    everything = stored(conn).lower()
    for secret in ("alpha", project_keys.normal(KEY).lower()):
        assert secret not in everything
    [key], count = project_keys.keys(conn, today=TODAY, user=boss)
    assert (key.id, key.masked, key.ips, key.months, key.purchase_price, key.state, count) == (
        id_, "·····wxYZ", 500, 12, Decimal("1200.00"), "unused", 1,
    )  # fmt: skip
    sealed = conn.scalar(text("SELECT sealed FROM project_keys"))
    with pytest.raises(Invalid, match="can't be opened"):  # the row is part of what is sealed
        vault.opened(sealed, about="project_keys.0")


@pytest.mark.row("G9")
def test_revealing_it_is_in_the_log_and_for_admins(conn: Connection, people: People, boss: User) -> None:
    id_ = add(conn, boss)
    assert project_key_stock.reveal(conn, id_, user=boss) == KEY
    [[entry, *_], _] = audit.entries(conn, object_type="project key")
    assert (entry.action, entry.object_id) == ("reveal", str(id_))
    for role in (Role.VIEWER, Role.SALES, Role.FINANCE):
        with pytest.raises(NotAllowed):
            project_key_stock.reveal(conn, id_, user=people[role])
        with pytest.raises(NotAllowed):
            add(conn, people[role], "PRJ-ANOTHER-0002")
        with pytest.raises(NotAllowed):
            project_keys.keys(conn, today=TODAY, user=people[role])
        with pytest.raises(NotAllowed):
            project_key_files.checked(conn, b"", today=TODAY, user=people[role])
    with pytest.raises(NotFound):
        project_key_stock.reveal(conn, 4_000_000, user=boss)


@pytest.mark.row("G9")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", ""), ("key", "short-0001"), ("key", "PRJ-ÄÖÜ-00000001"), ("key", "PRJ 2026\x00ALPHA"),
        ("ips", "0"), ("ips", "many"), ("months", "121"), ("months", ""), ("purchase_price", Decimal("-1")),
        ("purchase_price", Decimal("1.001")), ("redeem_until", date(2026, 6, 15)),
    ],
)  # fmt: skip
def test_what_is_typed_is_refused_at_its_field(conn: Connection, boss: User, field: str, value: Any) -> None:
    given = {"key": KEY} | {field: value}
    with pytest.raises(Invalid) as refused:
        add(conn, boss, **given)
    assert refused.value.field == field


@pytest.mark.row("G9")
def test_a_key_is_entered_once_however_it_is_grouped(conn: Connection, boss: User) -> None:
    request = uuid4()
    add(conn, boss, request_key=request)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        add(conn, boss, "PRJ-OTHER-KEY-02", request_key=request)
    for again in (KEY, KEY.upper(), KEY.replace("-", " "), KEY.replace("-", "–")):
        with pytest.raises(Invalid, match="entered already"):
            add(conn, boss, again)


@pytest.mark.row("G9")
def test_the_list_is_searched_by_key_ending_and_state(conn: Connection, boss: User) -> None:
    add(conn, boss)
    add(conn, boss, "PRJ-2026-BETA-0002", redeem_until=TODAY)
    conn.execute(text("UPDATE project_keys SET redeem_until = '2026-06-15' WHERE ending = '0002'"))
    assert listed(conn, boss) == ["0002", "wxYZ"]
    assert listed(conn, boss, states=["expired"]) == ["0002"]
    assert listed(conn, boss, search="WXYZ") == listed(conn, boss, search="·····wxyz") == ["wxYZ"]
    assert listed(conn, boss, search=KEY.replace("-", " ").upper()) == ["wxYZ"]
    assert listed(conn, boss, search="%") == []
    assert listed(conn, boss, limit=1, offset=1) == ["wxYZ"]


@pytest.mark.row("G9")
def test_an_unused_key_is_deleted(conn: Connection, people: People, boss: User) -> None:
    id_ = add(conn, boss)
    with pytest.raises(NotAllowed):
        project_key_stock.delete(conn, id_, user=people[Role.FINANCE])
    project_key_stock.delete(conn, id_, user=boss)
    with pytest.raises(NotFound):
        project_key_stock.delete(conn, id_, user=boss)


@pytest.mark.row("G9")
def test_after_a_new_key_of_the_vault_it_is_found_before_and_after_the_rotation(
    conn: Connection, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = add(conn, boss)
    before = os.environ[vault.VARIABLE]
    monkeypatch.setenv(vault.VARIABLE, f"{vault.new_key()},{before}")
    assert project_key_stock.typed(conn, KEY, today=TODAY).id == id_
    with pytest.raises(Invalid, match="entered already"):
        add(conn, boss)
    assert project_key_stock.reseal(conn) == 1
    assert project_key_stock.reseal(conn) == 0
    monkeypatch.setenv(vault.VARIABLE, os.environ[vault.VARIABLE].split(",")[0])
    assert project_key_stock.typed(conn, KEY, today=TODAY).id == id_
    assert project_key_stock.reveal(conn, id_, user=boss) == KEY


# ---------------------------------------------------------------------------------- files


@pytest.mark.row("G9")
def test_a_file_is_entered_as_a_whole(conn: Connection, boss: User) -> None:
    content = (
        "Schlüssel,Anzahl IPs,Laufzeit (Monate),EK,Gültig bis\r\n"
        'PRJ-FILE-AAAA-0001,500,12,"1.200,50",31.12.2026\r\nPRJ-FILE-BBBB-0002,1.000,6,800,\r\n'
    ).encode("cp1252")
    found = project_key_files.checked(conn, content, today=TODAY, user=boss)
    assert (len(found.keys), found.faults) == (2, [])
    assert listed(conn, boss) == []  # said, not done
    request = uuid4()
    assert project_key_files.enter(conn, content, today=TODAY, user=boss, request_key=request) == 2
    first = project_keys.keys(conn, today=TODAY, user=boss)[0][1]
    assert (first.ips, first.purchase_price, first.redeem_until) == (500, Decimal("1200.50"), date(2026, 12, 31))
    with pytest.raises(AlreadyDone), conn.begin_nested():
        project_key_files.enter(conn, content, today=TODAY, user=boss, request_key=request)
    again = project_key_files.checked(conn, content, today=TODAY, user=boss)
    assert [fault.message for fault in again.faults] == ["This key is entered already."] * 2


@pytest.mark.row("G9")
def test_all_that_is_wrong_is_said_by_line_and_column_and_nothing_is_entered(conn: Connection, boss: User) -> None:
    content = (HEADER + (
        "PRJ-FILE-AAAA-0001;500;12;1200;\r\n"
        "PRJ-FILE-BBBB-0002;none;12;1200;\r\n"
        "PRJ-FILE-CCCC-0003;500;12;cheap;\r\n"
        "PRJ-FILE-DDDD-0004;500;12;1200;32.13.2026\r\n"
        "PRJ-FILE-EEEE-0005;500;12;1200;2026-01-01\r\n"
        "PRJ-FILE-AAAA-0001;500;12;1200;\r\n"
        "short;1;1;1;\r\n"
        "PRJ-FILE-FFFF-0006;500\r\n"
    )).encode()  # fmt: skip
    found = project_key_files.checked(conn, content, today=TODAY, user=boss)
    assert [(fault.line, fault.column) for fault in found.faults] == [
        (3, "IPs"), (4, "Purchase price"), (5, "Redeem until"), (6, "Redeem until"), (7, "Key"), (8, "Key"), (9, ""),
    ]  # fmt: skip
    with pytest.raises(Invalid, match=r"Line 3: The number of IPs must be a whole number.* Nothing was imported"):
        project_key_files.enter(conn, content, today=TODAY, user=boss)
    assert listed(conn, boss) == []


@pytest.mark.row("G9")
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"PK\x03\x04", "Excel workbook"),
        (HEADER.encode(), "no rows below"),
        (b"Key;IPs;Months\nPRJ-FILE-AAAA-0001;1;1\n", "Purchase price is missing"),
        (b"Key;IPs;IPs;Months;Purchase price\nx;1;1;1;1\n", "is there twice"),
        (b"Key;Colour;IPs;Months;Purchase price\nx;1;1;1;1\n", "is no column of project keys"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(conn: Connection, boss: User, content: bytes, why: str) -> None:
    found = project_key_files.checked(conn, content, today=TODAY, user=boss)
    assert [why in fault.message for fault in found.faults] == [True]


def test_a_key_that_was_redeemed_never_changes(conn: Connection, people: People, boss: User) -> None:
    """Not by any session: triggers keep it."""
    ledgers.product(conn, people, "ips", price="1")
    ada = ledgers.customer(conn, people)
    id_ = add(conn, boss)
    wanted = project_key_redemptions.Terms(Decimal(10), "once", 500, 0, True)
    project_key_redemptions.redeem(conn, ada, KEY, wanted, today=TODAY, user=boss)
    with pytest.raises(Conflict, match="It stays, since charges rest on it"):
        project_key_stock.delete(conn, id_, user=boss)
    for change in (
        "UPDATE project_keys SET ips = 1", "UPDATE project_keys SET selling_price = 0", "DELETE FROM project_keys",
        "UPDATE project_keys SET customer_id = NULL", "TRUNCATE project_keys CASCADE",
        "INSERT INTO bookings (customer_id, product_id, kind, effective_on, quantity, internal, external,"
        f" project_key_id) SELECT {ada}, id, 'ips', '2026-07-01', 1, 1, 0, {id_} FROM products WHERE kind = 'ips'",
    ):  # fmt: skip
        refusals = r"never change|not deleted|has the customer, the days"
        with pytest.raises(DBAPIError, match=refusals), conn.begin_nested():
            conn.execute(text(change))
