"""A customer's contact persons: added, edited, removed; one of them gets the documents."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text, update

from lib import audit, contacts, customers, documents, invoices
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.tables import customers as customers_table
from tests import closes, ledgers
from tests.closes import TODAY
from tests.ledgers import People

MISSING = 4_000_000


@pytest.fixture
def staff(set_up: Callable[..., People]) -> People:
    return set_up()


@pytest.fixture
def customer(conn: Connection, staff: People) -> int:
    return ledgers.customer(conn, staff)


def add(conn: Connection, staff: People, customer_id: int, name: str, **more: Any) -> int:
    return contacts.add(conn, customer_id, name=name, user=staff[Role.SALES], **more)


def edit(conn: Connection, staff: People, contact_id: int, **changes: Any) -> None:
    version = contacts.contact(conn, contact_id).version
    contacts.edit(conn, contact_id, version=version, changes=changes, user=staff[Role.SALES])


def newest(conn: Connection) -> audit.Entry:
    return audit.entries(conn, object_type="contact", limit=1)[0][0]


# ---------------------------------------------------------------------------------- adding, editing, removing


@pytest.mark.row("D4")
def test_any_number_of_contacts_is_added_edited_and_removed(conn: Connection, staff: People, customer: int) -> None:
    ids = [add(conn, staff, customer, f"Person {number}") for number in range(30)]
    first = ids[0]
    edit(conn, staff, first, name=" Ada Ahlbeck ", phone="+49 40 66969 100", email="ada@ada.example")
    stored = contacts.contact(conn, first)
    assert (stored.name, stored.phone, stored.email) == ("Ada Ahlbeck", "+49 40 66969 100", "ada@ada.example")
    assert newest(conn).changes == {
        "name": ["Person 0", "Ada Ahlbeck"], "phone": ["", "+49 40 66969 100"], "email": ["", "ada@ada.example"],
    }  # fmt: skip
    contacts.remove(conn, first, version=2, user=staff[Role.SALES])
    assert newest(conn).changes["name"] == ["Ada Ahlbeck", None]
    assert len(contacts.of(conn, customer)) == 29


def test_persons_stand_apart_in_the_log(conn: Connection, staff: People, customer: int) -> None:
    contact_id = add(conn, staff, customer, "Ada Ahlbeck", email="ada@ada.example", is_billing=True)
    edit(conn, staff, contact_id, phone="1")
    contacts.remove(conn, contact_id, version=2, user=staff[Role.SALES])
    kept = conn.scalars(text("SELECT changes::text FROM audit_log WHERE object_type = 'contact'")).all()
    assert kept == ["{}"] * 3
    told = text("SELECT changes::text FROM audit_personal WHERE customer_id = :id ORDER BY audit_id DESC LIMIT 3")
    assert ["Ada Ahlbeck" in changes for changes in conn.scalars(told, {"id": customer})] == [True] * 3


def test_a_double_click_adds_and_removes_once(conn: Connection, staff: People, customer: int) -> None:
    key = uuid4()
    contact_id = add(conn, staff, customer, "Ada", request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        add(conn, staff, customer, "Ada", request_key=key)
    for _ in range(2):
        contacts.edit(conn, contact_id, version=1, changes={"phone": "1"}, user=staff[Role.SALES])
    assert contacts.contact(conn, contact_id).version == 2
    contacts.remove(conn, contact_id, version=2, user=staff[Role.SALES])
    with pytest.raises(AlreadyDone, match="removed already"):
        contacts.remove(conn, contact_id, version=2, user=staff[Role.SALES])


def test_a_stale_form_loses(conn: Connection, staff: People, customer: int) -> None:
    contact_id = add(conn, staff, customer, "Ada")
    edit(conn, staff, contact_id, phone="1")
    with pytest.raises(Conflict, match="Somebody changed this contact"):
        contacts.edit(conn, contact_id, version=1, changes={"phone": "2"}, user=staff[Role.SALES])
    with pytest.raises(Conflict, match="Somebody changed this contact"):
        contacts.remove(conn, contact_id, version=1, user=staff[Role.SALES])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 201),
        ("name", "two\nlines"),
        ("phone", "1" * 51),
        ("phone", "a\x00b"),
        ("email", "no address"),
        ("email", "a@b.example\nBcc: c@d.example"),
        ("customer_id", 1),
    ],
)
def test_bad_input_gets_a_sentence_at_its_field(
    conn: Connection, staff: People, customer: int, field: str, value: Any
) -> None:
    contact_id = add(conn, staff, customer, "Ada")
    with pytest.raises(Invalid) as refused:
        edit(conn, staff, contact_id, **{field: value})
    assert refused.value.field == field


WRITES: dict[str, Callable[..., Any]] = {
    "edit": lambda conn, id_, user: contacts.edit(conn, id_, version=1, changes={"name": "X"}, user=user),
    "remove": lambda conn, id_, user: contacts.remove(conn, id_, version=1, user=user),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_a_viewer_changes_nothing_and_a_missing_contact_is_said(
    conn: Connection, staff: People, customer: int, write: Callable[..., Any]
) -> None:
    with pytest.raises(NotAllowed):
        write(conn, MISSING, staff[Role.VIEWER])
    with pytest.raises((NotFound, AlreadyDone), match=r"does not exist|removed already"):
        write(conn, MISSING, staff[Role.SALES])
    with pytest.raises(NotAllowed):
        contacts.add(conn, customer, name="Ada", user=staff[Role.VIEWER])
    with pytest.raises(NotFound):
        contacts.add(conn, MISSING, name="Ada", user=staff[Role.SALES])


@pytest.mark.parametrize("erased", [False, True])
def test_the_contacts_of_a_customer_that_is_deleted_stay_as_they_are(
    conn: Connection, staff: People, customer: int, erased: bool
) -> None:
    contact_id = add(conn, staff, customer, "Ada")
    values = {"marked_for_deletion_at": text("now()"), "erased_at": text("now()") if erased else None}
    conn.execute(update(customers_table).where(customers_table.c.id == customer).values(**values))
    for write in WRITES.values():
        with pytest.raises(Conflict, match="erased" if erased else "marked for deletion"):
            write(conn, contact_id, staff[Role.SALES])
    with pytest.raises(Conflict):
        add(conn, staff, customer, "Berta")
    assert contacts.forget(conn, customer) == 1
    assert contacts.of(conn, customer) == []


def test_contacts_are_listed_and_searched(conn: Connection, staff: People, customer: int) -> None:
    add(conn, staff, customer, "berta", phone="0123", email="b_1@ada.example")
    add(conn, staff, customer, "Ägidius")
    add(conn, staff, customer, "Zoe", email="z@ada.example", is_billing=True)
    add(conn, staff, ledgers.customer(conn, staff, "Berta AG"), "Elsewhere")
    assert contacts.of(conn, customer)[0].name == "Zoe", "the billing contact comes first"
    for search, names in (("ÄGI", ["Ägidius"]), ("0123", ["berta"]), ("b_1@", ["berta"]), ("%", []), ("\x00%", [])):
        assert [one.name for one in contacts.of(conn, customer, search)] == names


# ---------------------------------------------------------------------------------- the billing contact


@pytest.mark.row("D4")
def test_one_contact_gets_the_documents(conn: Connection, staff: People, customer: int) -> None:
    first = add(conn, staff, customer, "Ada", email="ada@ada.example", is_billing=True)
    second = add(conn, staff, customer, "Berta", email="berta@ada.example", is_billing=True)
    assert newest(conn).changes["billing_contact"] == ["Ada", "Berta"]
    assert [contacts.contact(conn, id_).is_billing for id_ in (first, second)] == [False, True]
    edit(conn, staff, first, is_billing=True)
    assert newest(conn).changes == {"contact": [None, "Ada"], "billing_contact": ["Berta", "Ada"]}
    edit(conn, staff, first, is_billing=False)
    assert newest(conn).changes == {"contact": [None, "Ada"], "billing_contact": ["Ada", None]}
    assert not any(one.is_billing for one in contacts.of(conn, customer))


@pytest.mark.row("D4")
def test_the_billing_contact_needs_an_address(conn: Connection, staff: People, customer: int) -> None:
    with pytest.raises(Invalid, match="needs an e-mail address") as refused:
        add(conn, staff, customer, "Ada", is_billing=True)
    assert refused.value.field == "email"
    contact_id = add(conn, staff, customer, "Ada", email="ada@ada.example", is_billing=True)
    with pytest.raises(Invalid, match="needs an e-mail address"):
        edit(conn, staff, contact_id, email="")


@pytest.mark.row("D4")
def test_a_document_keeps_the_billing_contacts_address(conn: Connection) -> None:
    company = closes.company(conn)
    customer_id = company.with_users

    def set_data(**changes: str) -> None:
        version = customers.customer(conn, customer_id).version
        customers.edit(conn, customer_id, version=version, changes=changes, today=TODAY, user=company.admin)

    assert contacts.document_email(conn, customer_id) == ""
    set_data(contact_email="contact@ada.example")
    assert contacts.document_email(conn, customer_id) == "contact@ada.example"
    set_data(billing_email="invoices@ada.example")
    assert contacts.document_email(conn, customer_id) == "invoices@ada.example"
    billing = add(conn, company.people, customer_id, "Ada", email="billing@ada.example", is_billing=True)
    assert contacts.document_email(conn, customer_id) == "billing@ada.example"
    closes.approve(conn, company)
    [draft] = invoices.invoices_of(conn, customer_id)
    assert documents.document(conn, draft.id).buyer.email == "billing@ada.example"
    closes.issue(conn, company)
    contacts.remove(conn, billing, version=1, user=company.admin)
    query = text("SELECT buyer ->> 'email' FROM invoices WHERE customer_id = :id")
    assert conn.execute(query, {"id": customer_id}).scalar_one() == "billing@ada.example"
    assert contacts.document_email(conn, customer_id) == "invoices@ada.example"
