"""What the log can be asked, and how it finds an entry (row B10)."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import audit, drafts, invoices, prices
from lib.auth import Role
from pages.shared import change_words
from tests import closes, ledgers
from tests.ledgers import JUNE, People


@pytest.fixture
def staff(set_up: Callable[..., People]) -> People:
    return set_up(JUNE)


@pytest.mark.row("B10")
def test_the_filter_offers_each_kind_of_object_once(conn: Connection, staff: People) -> None:
    user_id = staff[Role.ADMIN].id
    for kind in ("term", "invoice", "contact", "invoice", "term"):
        audit.record(conn, "edit", kind, 1, user_id=user_id, customer_id=7)
    kinds = conn.scalars(text("SELECT DISTINCT object_type FROM audit_log ORDER BY 1")).all()
    assert audit.object_types(conn) == list(kinds)
    assert {"term", "invoice", "contact"} <= set(kinds)


def test_an_empty_log_offers_none(conn: Connection) -> None:
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    conn.execute(text("DELETE FROM audit_log"))
    assert audit.object_types(conn) == []


def test_an_entry_of_a_document_names_the_customer_by_which_it_is_found(conn: Connection, staff: People) -> None:
    with pytest.raises(DBAPIError, match="document_has_customer"), conn.begin_nested():
        audit.record(conn, "issue", "invoice", 1, user_id=staff[Role.ADMIN].id)


def test_who_was_faster_is_named_by_the_last_entry_of_the_object(conn: Connection, staff: People) -> None:
    for role, customer_id, object_id in ((Role.SALES, 7, 1), (Role.ADMIN, 7, 1), (Role.FINANCE, 7, 2)):
        audit.record(conn, "edit", "invoice", object_id, user_id=staff[role].id, customer_id=customer_id)
    said = audit.overtaken(conn, "this draft", "invoice", 1, customer_id=7)
    assert said.startswith(f"{staff[Role.ADMIN].name} changed this draft at ")
    assert audit.overtaken(conn, "this draft", "invoice", 3, customer_id=7).startswith(
        "Somebody changed this draft, after"
    )


@pytest.mark.row("B10")
def test_what_was_changed_is_called_by_its_name_and_found_by_it(conn: Connection) -> None:
    company = closes.issued(conn)
    user_id = company.admin.id
    issued = invoices.invoices_of(conn, company.with_users)[0]
    draft = drafts.create(conn, company.with_ips, service_from=JUNE, service_until=JUNE, lines=[], user=company.finance)
    gone = drafts.create(conn, company.with_ips, service_from=JUNE, service_until=JUNE, lines=[], user=company.finance)
    drafts.remove(conn, gone, user=company.finance)
    audit.record(conn, "edit", "price", 10**30, user_id=user_id)
    audit.record(conn, "reset password", "staff", company.finance.id, user_id=user_id)

    def found(search: str) -> set[tuple[str, str]]:
        return {(change_words.of(one), one.action) for one in audit.entries(conn, search=search)[0]}

    assert found(f" {(issued.number or '').lower()} ") == {(f"Invoice {issued.number}", "issue")}
    assert {(f"Draft {draft}", "create draft"), (f"Draft {gone} (deleted)", "delete draft")} <= found("draft")
    assert found("users") == {
        ("Product Users", "create"), ("Price of Users", "set"), ("Booking Users", "book"),
    }  # fmt: skip
    assert ("Staff Fiona", "reset password") in found("fiona")
    assert {("June 2026", "approve")} == {one for one in found("2026-06") if one[1] == "approve"}
    assert (f"Price {10**30}", "edit") in found("edit")


def test_an_individual_price_is_found_by_its_customer(conn: Connection) -> None:
    company = closes.company(conn)
    tiers = ledgers.tiers((1, None, "4"))
    prices.set_individual_price(
        conn, company.users, company.with_users, valid_from=JUNE, tiers=tiers, user=company.admin
    )

    def found(search: str) -> list[int | None]:
        return [one.customer_id for one in audit.entries(conn, search=search)[0] if one.object_type == "price"]

    assert (found("users"), found("ada gmbh")) == ([None], [company.with_users])


def test_a_search_is_no_pattern_for_numbers_either(conn: Connection) -> None:
    closes.issued(conn)
    assert audit.entries(conn, search="RE-2026-0000_")[1] == 0
