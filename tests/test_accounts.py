"""A customer's account and service: the fields and their rules, the plan, and the way to its console."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request

import app
from lib import audit, bookings, consoles, customer_verbs, customers, db, plans
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.sessions import SESSION_COOKIE
from pages.shared import consoles as route
from tests import ledgers
from tests import people as staff
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 15)
JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)
MISSING = 4_000_000
CONSOLE = "https://console.example:8443/tenants/7?tab=start&x=%20#top"


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def ada(conn: Connection, people: People) -> int:
    """A billed customer."""
    return ledgers.customer(conn, people)


@pytest.fixture
def trial(conn: Connection, people: People) -> int:
    """A test customer."""
    return ledgers.customer(conn, people, "Testfall KG", billed=False, ends_on=AUGUST)


def edit(conn: Connection, people: People, customer_id: int, role: Role = Role.SALES, **changes: Any) -> None:
    version = customers.customer(conn, customer_id).version
    customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=people[role])


# ---------------------------------------------------------------------------------- account and service


@pytest.mark.row("D1", "D2")
def test_account_and_service_are_edited_and_logged(conn: Connection, people: People, trial: int) -> None:
    given = {
        "account_name": "testfall", "name": "Testfall & Co. KG", "phone": "+49 30 1", "street": "Weg 2",
        "postcode": "10115", "city": "Berlin", "country": "DE", "tenant_type": "sandbox",
        "storage_region": "eu-central", "console_url": CONSOLE, "licence_expires_on": date(2027, 1, 31),
    }  # fmt: skip
    edit(conn, people, trial, **given)
    saved = vars(customers.customer(conn, trial))
    assert {name: saved[name] for name in given} == given
    entry = audit.entries(conn, customer_id=trial)[0][0]
    assert entry.changes["storage_region"] == ["", "eu-central"]
    assert entry.changes["tenant_type"] == ["evaluation", "sandbox"]


@pytest.mark.row("D1", "D2")
@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("account_name", "  ", "account name is required"),
        ("name", "", "name is required"),
        ("tenant_type", "", "Choose a tenant type"),
        ("tenant_type", None, "Choose a tenant type"),
        ("storage_region", "", "Choose a storage region"),
        ("storage_region", None, "Choose a storage region"),
    ],
)
def test_what_is_required_is_asked_for_at_its_field(
    conn: Connection, people: People, trial: int, field: str, value: Any, why: str
) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        edit(conn, people, trial, **{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_name", "a\x00b"),
        ("account_name", "x" * 10_000),
        ("phone", "x" * 10_000),
        ("tenant_type", "trial"),
        ("tenant_type", "x" * 10_000),
        ("storage_region", "moon"),
        ("storage_region", "\x00"),
        ("licence_expires_on", "soon"),
        ("licence_expires_on", "-1"),
        ("licence_expires_on", "9" * 10_000),
        ("licence_expires_on", "\x00"),
        ("licence_expires_on", date(1999, 12, 31)),
        ("licence_expires_on", date(9999, 12, 31)),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(
    conn: Connection, people: People, trial: int, field: str, value: Any
) -> None:
    with pytest.raises(Invalid) as refused:
        edit(conn, people, trial, **{field: value})
    assert refused.value.field == field


@pytest.mark.row("D5")
@pytest.mark.parametrize(
    "typed",
    [
        "javascript:alert(1)",
        "JavaScript://console.example/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "http://console.example",
        "//console.example",
        "/customers",
        "console.example",
        "https://",
        "https:///path",
        "https://good.example@evil.example",
        "https://good.example\\@evil.example",
        "https://a..b/",
        "https://-a.example",
        "https://console.example/a b",
        "https://console.example/\r\nSet-Cookie: x=1",
        "https://console.example/\x00",
        "https://console.example/<script>",
        "https://konsole.müller.example",
        "https://console.example/" + "x" * 10_000,
        "-1",
    ],
)
def test_a_console_has_an_https_address_and_no_other(conn: Connection, people: People, ada: int, typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        edit(conn, people, ada, console_url=typed)
    assert refused.value.field == "console_url"


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("", ""), (f"  {CONSOLE} ", CONSOLE), ("HTTPS://console.example", "https://console.example")],
)
def test_an_address_is_stored_as_a_browser_takes_it(
    conn: Connection, people: People, ada: int, typed: str, stored: str
) -> None:
    edit(conn, people, ada, console_url=typed)
    assert customers.customer(conn, ada).console_url == stored


def test_the_database_takes_no_other_address_either(conn: Connection, ada: int) -> None:
    with pytest.raises(DBAPIError, match="console_url_https"):
        conn.execute(text("UPDATE customers SET console_url = 'javascript:alert(1)' WHERE id = :id"), {"id": ada})


# ---------------------------------------------------------------------------------- tenant type


@pytest.mark.row("D2")
def test_a_test_is_an_evaluation_and_a_billed_customer_commercial(conn: Connection, ada: int, trial: int) -> None:
    assert customers.customer(conn, ada).tenant_type == "commercial"
    assert customers.customer(conn, trial).tenant_type == "evaluation"


@pytest.mark.row("D2")
def test_commercial_never_reverts(conn: Connection, people: People, ada: int, trial: int) -> None:
    edit(conn, people, trial, tenant_type="commercial")
    assert not customers.customer(conn, trial).billed
    for customer_id in (ada, trial):
        for other in ("evaluation", "sandbox"):
            with pytest.raises(Invalid, match="never becomes another type") as refused:
                edit(conn, people, customer_id, tenant_type=other)
            assert refused.value.field == "tenant_type"
        edit(conn, people, customer_id, tenant_type="commercial")
    with pytest.raises(DBAPIError, match="never becomes another type"):
        conn.execute(text("UPDATE customers SET tenant_type = 'sandbox' WHERE id = :id"), {"id": ada})


@pytest.mark.row("D2")
def test_converting_makes_a_tenant_commercial(conn: Connection, people: People, trial: int) -> None:
    edit(conn, people, trial, tenant_type="sandbox")
    customer_verbs.convert_to_billed(conn, trial, ends_on=None, today=TODAY, user=people[Role.SALES])
    assert customers.customer(conn, trial).tenant_type == "commercial"
    assert audit.entries(conn, customer_id=trial)[0][0].changes["tenant_type"] == ["sandbox", "commercial"]


def test_a_new_customer_may_bring_its_tenant_type(conn: Connection, people: People) -> None:
    new: dict[str, Any] = {"today": TODAY, "user": people[Role.SALES]}
    details = {"name": "Neu AG", "tenant_type": "sandbox"}
    created = customers.create(conn, details=details, billed=False, ends_on=AUGUST, **new)
    assert customers.customer(conn, created).tenant_type == "sandbox"
    with pytest.raises(Invalid, match="commercial") as refused:
        customers.create(conn, details=details, billed=True, ends_on=None, **new)
    assert refused.value.field == "tenant_type"


def test_who_may_not_and_what_is_stale(conn: Connection, people: People, ada: int) -> None:
    with pytest.raises(NotAllowed):
        edit(conn, people, ada, Role.VIEWER, account_name="x")
    edit(conn, people, ada, account_name="x")
    with pytest.raises(Conflict):
        customers.edit(
            conn, ada, version=1, changes={"account_name": "y"}, today=TODAY, user=people[Role.SALES]
        )  # fmt: skip
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now() WHERE id = :id"), {"id": ada})
    with pytest.raises(Conflict, match="marked for deletion"):
        edit(conn, people, ada, account_name="y")


# ---------------------------------------------------------------------------------- plan


@pytest.fixture
def offered(conn: Connection, people: People) -> tuple[int, int]:
    """Two plans of the catalogue."""
    basic = ledgers.product(conn, people, "plan", code="basic", price="30")
    return basic, ledgers.product(conn, people, "plan", code="plus", price="60")


def choose(conn: Connection, people: People, customer_id: int, product_id: int | None, **given: Any) -> None:
    options = {"effective_on": TODAY, "today": TODAY, "user": people[Role.SALES]} | given
    plans.choose(conn, customer_id, product_id, **options)


def plan(conn: Connection, customer_id: int, day: date) -> int | None:
    held = plans.plan_on(bookings.standing(conn, customer_id), day)
    return held and held.product_id


@pytest.mark.row("D2")
def test_a_plan_is_chosen_from_the_catalogue_and_changed(
    conn: Connection, people: People, ada: int, offered: tuple[int, int]
) -> None:
    basic, plus = offered
    choose(conn, people, ada, basic)
    choose(conn, people, ada, plus, effective_on=JULY)
    days = (date(2026, 6, 14), TODAY, date(2026, 6, 30), JULY)
    assert [plan(conn, ada, day) for day in days] == [None, basic, basic, plus]
    # Basic from the 15th: 16 of 30 days; plus for all of July.
    assert ledgers.amounts(conn, ada)[basic] == 16
    assert ledgers.amounts(conn, ada, JULY) == {plus: 60}
    assert {entry.action for entry in audit.entries(conn, customer_id=ada, object_type="booking")[0]} == {"book"}


def test_a_planned_end_gives_way_to_a_new_plan(
    conn: Connection, people: People, ada: int, offered: tuple[int, int]
) -> None:
    basic, plus = offered
    ledgers.book(conn, people, ada, basic, 1, JUNE, until=date(2026, 7, 31))
    choose(conn, people, ada, plus)
    assert [plan(conn, ada, day) for day in (JUNE, TODAY, AUGUST)] == [basic, plus, plus]


def test_what_stands_in_the_way_of_a_plan(conn: Connection, people: People, ada: int, offered: tuple[int, int]) -> None:
    basic, plus = offered
    choose(conn, people, ada, basic)
    choose(conn, people, ada, plus, effective_on=JULY)
    refusals: list[tuple[int | None, date | None, type[Exception], str]] = [
        (basic, TODAY, Invalid, "already"),
        (plus, date(2026, 6, 20), Conflict, "Another change of plan is booked for 01 Jul 2026"),
        (plus, JUNE, Invalid, "The plan changed on 15 Jun 2026"),
        (plus, None, Invalid, "first day is required"),
        (plus, date(2026, 5, 31), Invalid, "."),
        (plus, date(2099, 1, 1), Invalid, "."),
        (None, TODAY, Invalid, "Choose a plan"),
        (MISSING, TODAY, NotFound, "."),
    ]
    for product_id, day, kind, why in refusals:
        with pytest.raises(kind, match=why), conn.begin_nested():
            choose(conn, people, ada, product_id, effective_on=day)
    assert [plan(conn, ada, day) for day in (TODAY, JULY)] == [basic, plus]


def test_only_a_plan_is_chosen_as_a_plan(conn: Connection, people: People, ada: int) -> None:
    users = ledgers.product(conn, people, "users", price="5")
    with pytest.raises(Invalid, match="Choose a plan"):
        choose(conn, people, ada, users)


def test_a_plan_is_chosen_once_and_by_who_may(
    conn: Connection, people: People, ada: int, offered: tuple[int, int]
) -> None:
    with pytest.raises(NotAllowed):
        choose(conn, people, ada, offered[0], user=people[Role.VIEWER])
    key = uuid4()
    choose(conn, people, ada, offered[0], request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        choose(conn, people, ada, offered[1], request_key=key)
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now() WHERE id = :id"), {"id": ada})
    with pytest.raises(Conflict, match="marked for deletion"):
        choose(conn, people, ada, offered[1], effective_on=JULY)


# ---------------------------------------------------------------------------------- console


def ask(customer_id: int, token: str = "", **headers: str) -> Any:
    """What the route answers a browser with this session cookie."""
    sent = {"cookie": f"{SESSION_COOKIE}={token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http", "method": "GET", "scheme": "http", "server": ("127.0.0.1", 8501), "path": "/", "query_string":
        b"to=https://evil.example", "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "path_params": {"customer_id": customer_id},
    }  # fmt: skip
    return route.console(Request(scope))


def openings() -> list[tuple[str, int | None]]:
    with db.transaction() as conn:
        entries, _ = audit.entries(conn, search="open console")
    return [(entry.person, entry.customer_id) for entry in entries]


@pytest.mark.row("D5")
def test_opening_a_console_leads_to_its_address_and_stands_in_the_log(database: str) -> None:
    with db.transaction() as conn:
        made = staff.open_company(conn)
        with_console, without = ledgers.customer(conn, made), ledgers.customer(conn, made, "Berta AG")
        edit(conn, made, with_console, console_url=CONSOLE)
        token = staff.sign_in(conn, made[Role.VIEWER])
    answer = ask(with_console, token, sec_fetch_site="same-origin")
    assert (answer.status_code, answer.headers["location"]) == (303, CONSOLE)
    assert answer.headers["referrer-policy"] == "no-referrer" and "no-store" in answer.headers["cache-control"]
    assert openings() == [("Vera", with_console)]
    ask(with_console, token)
    assert len(openings()) == 2
    # Signed out, from another site, without a console, not there: no address, and nobody opened anything.
    assert ask(with_console).status_code == ask(with_console, "made-up").status_code == 401
    assert ask(with_console, token, sec_fetch_site="cross-site").status_code == 403
    for customer_id in (without, MISSING, 0, 10**40):
        refused = ask(customer_id, token)
        assert refused.status_code == 404 and "location" not in refused.headers
    assert len(openings()) == 2


def test_the_console_is_a_route_of_the_app() -> None:
    assert "/console/{customer_id:int}" in [entry.path for entry in app.ROUTES]
    assert route.address(7) == "/console/7"


def test_a_console_that_is_not_there(conn: Connection, people: People, ada: int) -> None:
    with pytest.raises(NotFound, match="has no console"):
        consoles.opened(conn, ada, user=people[Role.VIEWER])
