"""What the log can be asked, and how it finds an entry (row B10)."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import audit
from lib.auth import Role
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
