"""Customers: what a new one is, and what a form may say."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import audit, customer_verbs, customers, periods
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import People, days_that_count

TODAY = date(2026, 6, 10)
MAY, JULY = date(2026, 5, 1), date(2026, 7, 1)
MISSING = 4_000_000
FORMULA, MARKUP = "=HYPERLINK(1)", "<script>alert(1)</script> [x](http://evil.example) *b*"


@pytest.fixture
def people(set_up: Callable[..., People]) -> People:
    return set_up(MAY)


def add(conn: Connection, people: People, *, role: Role = Role.SALES, **given: Any) -> int:
    """A customer of today; billed without an end unless told."""
    options = {"details": {"name": "Ada GmbH"}, "billed": True, "ends_on": None, "today": TODAY} | given
    return customers.create(conn, user=people[role], **options)


# ---------------------------------------------------------------------------------- creating


@pytest.mark.row("N2", "N3")
def test_a_test_customer_has_no_day_that_counts(conn: Connection, people: People) -> None:
    end = TODAY + customers.FOUR_WEEKS
    created = add(conn, people, billed=False, ends_on=end)
    customer = customers.customer(conn, created)
    assert (customer.phase, customer.billed, customer.billed_from, customer.ends_on) == ("test", False, None, end)
    assert days_that_count(conn, created) == []
    entry = audit.entries(conn, customer_id=created)[0][0]
    assert (entry.action, entry.person, entry.changes["phase"]) == ("create", "Samuel", [None, "Test"])


@pytest.mark.row("N2", "N3")
def test_a_billed_customer_is_charged_from_the_day_it_is_created(conn: Connection, people: People) -> None:
    created = add(conn, people, ends_on=date(2026, 6, 30))
    assert customers.customer(conn, created).billed_from == TODAY
    # The end date is the last charged day.
    assert days_that_count(conn, created) == [(TODAY, date(2026, 7, 1))]


@pytest.mark.row("N2")
def test_only_the_name_is_required(conn: Connection, people: People) -> None:
    with pytest.raises(Invalid, match="name is required") as refused:
        add(conn, people, details={"contact_name": "Ada"})
    assert refused.value.field == "name"
    assert customers.customer(conn, add(conn, people, details={"name": "  Ada  "})).name == "Ada"


@pytest.mark.row("N3")
def test_a_test_needs_an_end_and_a_billed_customer_does_not(conn: Connection, people: People) -> None:
    with pytest.raises(Invalid, match="needs an end date") as refused:
        add(conn, people, billed=False)
    assert refused.value.field == "ends_on"
    assert customers.customer(conn, add(conn, people)).ends_on is None


@pytest.mark.parametrize("ends_on", [TODAY - timedelta(days=1), date(2300, 1, 1)])
def test_a_new_customer_ends_neither_before_it_begins_nor_in_another_age(
    conn: Connection, people: People, ends_on: date
) -> None:
    with pytest.raises(Invalid) as refused:
        add(conn, people, ends_on=ends_on)
    assert refused.value.field == "ends_on"


def test_a_double_click_creates_one_customer(conn: Connection, people: People) -> None:
    key = uuid4()
    add(conn, people, request_key=key)
    with pytest.raises(Conflict, match="already saved"), conn.begin_nested():
        add(conn, people, request_key=key)
    assert conn.scalar(text("SELECT count(*) FROM customers")) == 1


def test_numbers_are_given_in_order(conn: Connection, people: People) -> None:
    first, second = (customers.customer(conn, add(conn, people)).number for _ in range(2))
    assert int(second.removeprefix("C-")) > int(first.removeprefix("C-"))


def test_nobody_is_created_before_the_company_is_set_up(conn: Connection, users: People) -> None:
    with pytest.raises(Conflict, match="first booking month"):
        add(conn, users)


# ---------------------------------------------------------------------------------- who may, and what exists


def test_a_viewer_writes_nothing(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(NotAllowed):
        customers.edit(conn, created, version=1, changes={}, today=TODAY, user=people[Role.VIEWER])
    with pytest.raises(NotAllowed):
        add(conn, people, role=Role.VIEWER)


def test_a_customer_that_does_not_exist_is_not_found(conn: Connection, people: People) -> None:
    with pytest.raises(NotFound):
        customers.edit(conn, MISSING, version=1, changes={}, today=TODAY, user=people[Role.SALES])


def test_finance_writes_customers_too(conn: Connection, people: People) -> None:
    assert customers.customer(conn, add(conn, people, role=Role.FINANCE)).active


# ---------------------------------------------------------------------------------- editing


@pytest.mark.row("S1", "N5")
def test_an_edit_is_saved_and_logged_with_before_and_after(conn: Connection, people: People) -> None:
    created = add(conn, people)
    changes = {"name": "Ada Neu GmbH", "street": "Ring 1", "payment_days": "30", "payment_method": "card"}
    customers.edit(conn, created, version=1, changes=changes, today=TODAY, user=people[Role.SALES])
    saved = customers.customer(conn, created)
    assert (saved.name, saved.street, saved.payment_days, saved.version) == ("Ada Neu GmbH", "Ring 1", 30, 2)
    entry = audit.entries(conn, customer_id=created)[0][0]
    assert entry.changes["name"] == ["Ada GmbH", "Ada Neu GmbH"]
    # What describes a person or says where one lives never stands in the log itself.
    kept = conn.execute(text("SELECT changes::text FROM audit_log WHERE id = :id"), {"id": entry.id}).scalar_one()
    assert "Ring 1" not in kept and entry.changes["street"] == ["", "Ring 1"]


@pytest.mark.row("S1")
def test_a_stale_form_loses_and_is_told_who_was_faster(conn: Connection, people: People) -> None:
    created = add(conn, people)
    customers.edit(conn, created, version=1, changes={"city": "Bonn"}, today=TODAY, user=people[Role.FINANCE])
    # The company's time of day, wherever the database's clock stands.
    conn.execute(text("SET LOCAL timezone = 'Pacific/Auckland'"))
    at = conn.scalar(text("SELECT to_char(now() AT TIME ZONE 'Europe/Berlin', 'HH24:MI')"))
    with pytest.raises(Conflict, match=f"Fiona changed this customer at {at}") as refused:
        customers.edit(conn, created, version=1, changes={"city": "Kiel"}, today=TODAY, user=people[Role.SALES])
    assert "Nothing was saved" in str(refused.value)
    assert customers.customer(conn, created).city == "Bonn"


def test_a_change_of_state_makes_an_open_form_stale(conn: Connection, people: People) -> None:
    created = add(conn, people)
    customer_verbs.deactivate(conn, created, today=TODAY, user=people[Role.FINANCE])
    with pytest.raises(Conflict, match="Fiona changed"):
        customers.edit(conn, created, version=1, changes={"city": "Kiel"}, today=TODAY, user=people[Role.SALES])


@pytest.mark.row("N4")
def test_the_licence_is_edited(conn: Connection, people: People) -> None:
    created = add(conn, people)
    changes = {"max_users": "1.000", "users_beyond_max": True}
    customers.edit(conn, created, version=1, changes=changes, today=TODAY, user=people[Role.SALES])
    saved = customers.customer(conn, created)
    assert (saved.max_users, saved.users_beyond_max) == (1000, True)
    customers.edit(conn, created, version=2, changes={"max_users": ""}, today=TODAY, user=people[Role.SALES])
    assert customers.customer(conn, created).max_users is None


def test_a_vat_id_is_checked_with_the_country(conn: Connection, people: People) -> None:
    created = add(conn, people, details={"name": "Ada", "country": "AT", "vat_id": "ATU 1358 5627"})
    saved = customers.customer(conn, created)
    assert (saved.vat_id, saved.vat_id_valid, saved.vat_id_checked_on) == ("ATU13585627", True, TODAY)
    with pytest.raises(Invalid, match="starts with FR") as refused:
        customers.edit(conn, created, version=1, changes={"country": "FR"}, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == "vat_id"


@pytest.mark.parametrize("missing", ["billing_name", "billing_street", "billing_postcode", "billing_city"])
def test_a_different_billing_address_is_complete(conn: Connection, people: People, missing: str) -> None:
    created = add(conn, people)
    full = {"billing_name": "B", "billing_street": "S 1", "billing_postcode": "1", "billing_city": "C"}
    changes = full | {"separate_billing": True, missing: ""}
    with pytest.raises(Invalid) as refused:
        customers.edit(conn, created, version=1, changes=changes, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == missing
    complete = full | {"separate_billing": True}
    customers.edit(conn, created, version=1, changes=complete, today=TODAY, user=people[Role.SALES])
    with pytest.raises(Invalid) as refused:
        customers.edit(conn, created, version=2, changes={missing: " "}, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == missing


LINES = sorted(
    {"name", "contact_name", "phone", "street", "postcode", "city", "billing_name", "billing_street", "tax_number"}
    | {
        "billing_postcode",
        "billing_city",
        "no_tax_id_reason",
        "purchase_order",
        "vat_id",
        "contact_email",
        "billing_email",
    }
)


@pytest.mark.parametrize("field", LINES)
@pytest.mark.parametrize(
    "typed", ["a\x00b", "x" * 10_000, "two\nlines"], ids=["NUL", "10,000 characters", "line break"]
)
def test_what_no_field_takes_is_refused_there(conn: Connection, people: People, field: str, typed: str) -> None:
    created = add(conn, people)
    with pytest.raises(Invalid) as refused:
        customers.edit(conn, created, version=1, changes={field: typed}, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("typed", [FORMULA, MARKUP, "Ünïcode & Söhne", "'; DROP TABLE customers; --"])
def test_odd_names_are_kept_as_they_are(conn: Connection, people: People, typed: str) -> None:
    created = add(conn, people, details={"name": typed, "contact_name": typed, "purchase_order": typed})
    saved = customers.customer(conn, created)
    assert (saved.name, saved.contact_name, saved.purchase_order) == (typed, typed, typed)


@pytest.mark.parametrize("field", ["max_users", "payment_days"])
@pytest.mark.parametrize("typed", ["-1", "99999999999999999999", "many", "1e3", FORMULA, "\x00", "x" * 10_000])
def test_a_number_that_is_none_is_refused_at_its_field(
    conn: Connection, people: People, field: str, typed: str
) -> None:
    with pytest.raises(Invalid) as refused:
        add(conn, people, details={"name": "Ada", field: typed})
    assert refused.value.field == field


@pytest.mark.parametrize("field", ["contact_email", "billing_email"])
@pytest.mark.parametrize(
    "typed", ["ada", "ada@", "a b@c.example", "ada@c..example", "ada@c.example\nBcc: x@y.example", MARKUP]
)
def test_an_address_that_is_none_is_refused_at_its_field(
    conn: Connection, people: People, field: str, typed: str
) -> None:
    with pytest.raises(Invalid) as refused:
        add(conn, people, details={"name": "Ada", field: typed})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("country", "XX"),
        ("country", "\x00"),
        ("service_mode", "gold"),
        ("payment_method", "barter"),
        ("language", "fr"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(conn: Connection, people: People, field: str, typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        add(conn, people, details={"name": "Ada", field: typed})
    assert refused.value.field == field


def test_a_test_without_a_name_and_an_end_lacks_both(conn: Connection, people: People) -> None:
    with pytest.raises(Invalid) as refused:
        customers.create(conn, details={}, billed=False, ends_on=None, today=TODAY, user=people[Role.SALES])
    assert refused.value.at == {"name": "The name is required.", "ends_on": "A test needs an end date."}


def test_all_that_is_wrong_is_refused_at_once(conn: Connection, people: People) -> None:
    details = {
        "name": " ", "street": "x" * 201, "country": "DE", "vat_id": "DE136695975", "contact_email": "nobody",
        "separate_billing": True, "billing_name": "Buchhaltung", "city": "Köln",
    }  # fmt: skip
    with pytest.raises(Invalid, match=r"The name is required. The street is too long.*The billing city") as refused:
        customers.create(conn, details=details, billed=True, ends_on=None, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == "name"
    assert set(refused.value.at) == {
        "name", "street", "vat_id", "contact_email", "billing_street", "billing_postcode", "billing_city",
    }  # fmt: skip
    assert refused.value.at["contact_email"] == "“nobody” is not an e-mail address. Write it like name@company.example."


@pytest.mark.parametrize("field", ["phase", "number", "version", "billed_from", "active", "id"])
def test_a_form_reaches_no_column_that_has_its_own_action(conn: Connection, people: People, field: str) -> None:
    with pytest.raises(Invalid, match="no field"):
        add(conn, people, details={"name": "Ada", field: "1"})


def test_a_customer_is_never_deleted(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(DBAPIError, match="never"), conn.begin_nested():
        conn.execute(text("DELETE FROM customers WHERE id = :id"), {"id": created})
    assert periods.open_month(conn) == MAY


def test_tags_are_replaced_and_logged(conn: Connection, people: People) -> None:
    customer_id = ledgers.customer(conn, people)
    customers.set_tags(conn, customer_id, tags=["North", " Key account ", "North"], user=people[Role.SALES])
    assert customers.customer(conn, customer_id).tags == ["North", "Key account"]
    with pytest.raises(Invalid) as refusal:
        customers.set_tags(conn, customer_id, tags=["=1+1"], user=people[Role.SALES])
    assert refusal.value.field == "tags"
    with pytest.raises(Invalid, match="at most 20"):
        customers.set_tags(conn, customer_id, tags=[f"t{n}" for n in range(21)], user=people[Role.SALES])
    with pytest.raises(NotAllowed):
        customers.set_tags(conn, customer_id, tags=[], user=people[Role.VIEWER])
    customers.set_tags(conn, customer_id, tags=[], user=people[Role.SALES])
    entries, _ = audit.entries(conn, object_type="customer", customer_id=customer_id)
    assert entries[0].changes == {"tags": [["North", "Key account"], []]}
