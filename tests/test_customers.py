"""Customers: from test to billed, ended, deactivated and back; and what a form may say."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert, text, update
from sqlalchemy.exc import DBAPIError

from lib import audit, charges, customers, months, periods, tables
from lib.auth import Role
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers
from tests.ledgers import JUNE, People

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


def days_that_count(conn: Connection, customer_id: int) -> list[tuple[date, date | None]]:
    """The stretches in which the customer is charged; the second day no longer counts."""
    found = conn.execute(
        text("SELECT from_day, until_day FROM counting_spans WHERE customer_id = :id ORDER BY from_day"),
        {"id": customer_id},
    )
    return [(row.from_day, row.until_day) for row in found]


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


WRITES: dict[str, Callable[..., Any]] = {
    "edit": lambda conn, id_, user: customers.edit(conn, id_, version=1, changes={}, today=TODAY, user=user),
    "convert": lambda conn, id_, user: customers.convert_to_billed(conn, id_, ends_on=None, today=TODAY, user=user),
    "end": lambda conn, id_, user: customers.set_end_date(conn, id_, ends_on=None, today=TODAY, user=user),
    "deactivate": lambda conn, id_, user: customers.deactivate(conn, id_, today=TODAY, user=user),
    "activate": lambda conn, id_, user: customers.activate(conn, id_, today=TODAY, user=user),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_viewer_writes_nothing(conn: Connection, people: People, write: Callable[..., Any]) -> None:
    created = add(conn, people)
    with pytest.raises(NotAllowed):
        write(conn, created, people[Role.VIEWER])
    with pytest.raises(NotAllowed):
        add(conn, people, role=Role.VIEWER)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_customer_that_does_not_exist_is_not_found(
    conn: Connection, people: People, write: Callable[..., Any]
) -> None:
    with pytest.raises(NotFound):
        write(conn, MISSING, people[Role.SALES])


def test_finance_writes_customers_too(conn: Connection, people: People) -> None:
    assert customers.customer(conn, add(conn, people, role=Role.FINANCE)).active


# ---------------------------------------------------------------------------------- converting


@pytest.mark.row("N6")
def test_a_converted_test_is_charged_from_that_day(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    later = TODAY + timedelta(days=5)
    customers.convert_to_billed(conn, created, ends_on=None, today=later, user=people[Role.SALES])
    customer = customers.customer(conn, created)
    # The end of the test is gone: it is asked anew.
    assert (customer.phase, customer.billed_from, customer.ends_on) == ("billed", later, None)
    assert days_that_count(conn, created) == [(later, None)]
    with pytest.raises(Conflict, match="already billed"):
        customers.convert_to_billed(conn, created, ends_on=None, today=later, user=people[Role.SALES])


@pytest.mark.row("N6")
def test_the_database_refuses_the_way_back_to_a_test(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(update(tables.customers).values(phase="test", billed_from=None))
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(update(tables.customers).values(billed_from=TODAY + timedelta(days=1)))
    with pytest.raises(DBAPIError, match="never becomes a test"), conn.begin_nested():
        conn.execute(
            insert(tables.lifecycle).values(customer_id=created, effective_on=TODAY, billed=False, active=True)
        )


def test_conversion_asks_for_an_end_that_lies_ahead(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    with pytest.raises(Invalid) as refused:
        customers.convert_to_billed(
            conn, created, ends_on=TODAY - timedelta(days=1), today=TODAY, user=people[Role.SALES]
        )
    assert refused.value.field == "ends_on"


# ---------------------------------------------------------------------------------- end dates


def end(conn: Connection, people: People, customer_id: int, ends_on: date | None, today: date = TODAY) -> None:
    customers.set_end_date(conn, customer_id, ends_on=ends_on, today=today, user=people[Role.SALES])


@pytest.mark.row("N3")
def test_an_end_date_is_moved_and_emptied(conn: Connection, people: People) -> None:
    created = add(conn, people, ends_on=date(2026, 6, 20))
    end(conn, people, created, date(2026, 7, 31))
    assert days_that_count(conn, created) == [(TODAY, date(2026, 8, 1))]
    end(conn, people, created, None)
    assert days_that_count(conn, created) == [(TODAY, None)]
    end(conn, people, created, None)
    assert [entry.action for entry in audit.entries(conn, customer_id=created)[0]] == ["change end date"] * 2 + [
        "create"
    ]


@pytest.mark.row("N3")
def test_a_test_keeps_an_end_date(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    with pytest.raises(Invalid, match="needs an end date"):
        end(conn, people, created, None)
    end(conn, people, created, TODAY + customers.FOUR_WEEKS)
    assert days_that_count(conn, created) == []


@pytest.mark.row("N3")
def test_an_end_in_the_past_stops_the_charges_from_the_day_after(conn: Connection, people: People) -> None:
    created = add(conn, people, today=date(2026, 6, 2))
    end(conn, people, created, date(2026, 6, 5))
    assert days_that_count(conn, created) == [(date(2026, 6, 2), date(2026, 6, 6))]


@pytest.mark.row("N3")
def test_who_had_ended_is_charged_again_from_today_and_not_for_the_days_between(
    conn: Connection, people: People
) -> None:
    created = add(conn, people, today=date(2026, 6, 2), ends_on=date(2026, 6, 5))
    end(conn, people, created, date(2026, 6, 20))
    assert days_that_count(conn, created) == [(date(2026, 6, 2), date(2026, 6, 6)), (TODAY, date(2026, 6, 21))]


@pytest.mark.row("N3")
def test_an_end_date_is_not_moved_into_a_closed_month(conn: Connection, people: People) -> None:
    created = add(conn, people, today=date(2026, 5, 3))
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    with pytest.raises(Invalid, match="01 Jun 2026") as refused:
        end(conn, people, created, date(2026, 5, 20))
    assert refused.value.field == "ends_on"
    end(conn, people, created, JUNE)
    assert days_that_count(conn, created) == [(date(2026, 5, 3), date(2026, 6, 2))]


# ---------------------------------------------------------------------------------- deactivating


@pytest.mark.row("N9")
def test_deactivated_days_are_not_charged_and_everything_comes_back(conn: Connection, people: People) -> None:
    module = ledgers.product(conn, people, "module", price="30")
    created = ledgers.customer(conn, people, since=JUNE)
    ledgers.book(conn, people, created, module, 1, JUNE)
    before = customers.customer(conn, created)
    customers.deactivate(conn, created, reason="  does not pay ", today=date(2026, 6, 11), user=people[Role.SALES])
    stopped = customers.customer(conn, created)
    assert (stopped.active, stopped.deactivation_reason) == (False, "does not pay")
    assert str(ledgers.amounts(conn, created)[module]) == "10.00"
    customers.activate(conn, created, today=date(2026, 6, 21), user=people[Role.SALES])
    after = customers.customer(conn, created)
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 11)), (date(2026, 6, 21), None)]
    assert str(ledgers.amounts(conn, created)[module]) == "20.00"
    assert vars(after) | {"version": before.version} == vars(before)


@pytest.mark.row("N9")
def test_a_test_customer_is_deactivated_and_activated_too(conn: Connection, people: People) -> None:
    created = add(conn, people, billed=False, ends_on=TODAY)
    customers.deactivate(conn, created, today=TODAY, user=people[Role.SALES])
    assert not customers.customer(conn, created).active
    customers.activate(conn, created, today=TODAY, user=people[Role.SALES])
    assert customers.customer(conn, created).active


def test_the_second_click_changes_nothing(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(Conflict, match="already active"):
        customers.activate(conn, created, today=TODAY, user=people[Role.SALES])
    customers.deactivate(conn, created, today=TODAY, user=people[Role.SALES])
    with pytest.raises(Conflict, match="already deactivated"):
        customers.deactivate(conn, created, today=TODAY, user=people[Role.SALES])


@pytest.mark.row("N3", "N9")
def test_end_dates_and_deactivations_keep_each_others_history(conn: Connection, people: People) -> None:
    created = add(conn, people, today=JUNE)
    sales = people[Role.SALES]
    customers.deactivate(conn, created, today=date(2026, 6, 5), user=sales)
    customers.activate(conn, created, today=date(2026, 6, 8), user=sales)
    # The end is entered later and lies after all of it: the pause of the days before stays.
    end(conn, people, created, date(2026, 6, 25), today=date(2026, 6, 12))
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 5)), (date(2026, 6, 8), date(2026, 6, 26))]
    customers.deactivate(conn, created, today=date(2026, 6, 15), user=sales)
    end(conn, people, created, None, today=date(2026, 6, 16))
    assert days_that_count(conn, created) == [(JUNE, date(2026, 6, 5)), (date(2026, 6, 8), date(2026, 6, 15))]
    customers.activate(conn, created, today=date(2026, 6, 28), user=sales)
    assert days_that_count(conn, created)[-1] == (date(2026, 6, 28), None)


def test_a_pause_inside_a_closed_month_stays_as_it_was_billed(conn: Connection, people: People) -> None:
    created = add(conn, people, today=MAY)
    customers.deactivate(conn, created, today=date(2026, 5, 10), user=people[Role.SALES])
    months.approve(conn, MAY, today=TODAY, user=people[Role.FINANCE])
    customers.activate(conn, created, today=TODAY, user=people[Role.SALES])
    end(conn, people, created, date(2026, 6, 30))
    assert days_that_count(conn, created) == [(MAY, date(2026, 5, 10)), (TODAY, JULY)]
    with pytest.raises(DBAPIError, match="closed month"), conn.begin_nested():
        conn.execute(insert(tables.lifecycle).values(customer_id=created, effective_on=MAY, billed=True, active=True))


def test_the_ready_charges_follow_each_change(conn: Connection, people: People) -> None:
    module = ledgers.product(conn, people, "module", price="30")
    created = ledgers.customer(conn, people, since=JUNE)
    ledgers.book(conn, people, created, module, 1, JUNE)
    for month in (MAY, JUNE):
        charges.ensure_rated(conn, month)

    def charged() -> str:
        return str(conn.scalar(text("SELECT amount FROM statements WHERE month = :june"), {"june": JUNE}))

    assert charged() == "30.00"
    end(conn, people, created, date(2026, 6, 15))
    assert charged() == "15.00"
    customers.deactivate(conn, created, today=date(2026, 6, 6), user=people[Role.SALES])
    assert charged() == "5.00"


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
    customers.deactivate(conn, created, today=TODAY, user=people[Role.FINANCE])
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


@pytest.mark.parametrize("field", ["phase", "number", "version", "billed_from", "active", "id"])
def test_a_form_reaches_no_column_that_has_its_own_action(conn: Connection, people: People, field: str) -> None:
    with pytest.raises(Invalid, match="no field"):
        add(conn, people, details={"name": "Ada", field: "1"})


def test_a_reason_of_10000_characters_is_refused(conn: Connection, people: People) -> None:
    created = add(conn, people)
    with pytest.raises(Invalid) as refused:
        customers.deactivate(conn, created, reason="x" * 10_000, today=TODAY, user=people[Role.SALES])
    assert refused.value.field == "reason"


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
