"""Payment methods: which are offered, and that nobody gets one that isn't (row G16)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import audit, bulk, customers, db, payment_methods
from lib.auth import Role, User
from lib.bulk import Change, Kind
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed
from tests import people, uploads

TODAY = date(2026, 6, 15)
CREDITOR = "DE98ZZZ09999999999"
pytestmark = pytest.mark.row("G16")


@pytest.fixture
def staff(conn: Connection) -> dict[Role, User]:
    return people.open_company(conn)


def add(conn: Connection, user: User, name: str, **details: Any) -> int:
    values = {"name": name} | details
    return customers.create(conn, details=values, billed=True, ends_on=None, today=TODAY, user=user)


def active(conn: Connection) -> list[str]:
    return [one.code for one in payment_methods.methods(conn) if one.active]


def test_all_are_offered_until_one_is_deactivated(conn: Connection, staff: dict[Role, User]) -> None:
    finance = staff[Role.FINANCE]
    assert list(payment_methods.offered(conn)) == ["bank_transfer", "direct_debit", "card", "project_key", "free"]
    payment_methods.deactivate(conn, "card", user=finance)
    assert active(conn) == ["bank_transfer", "direct_debit", "project_key", "free"]
    assert "card" not in payment_methods.offered(conn)
    assert payment_methods.offered(conn, beside="card")["card"] == "Credit card"
    with pytest.raises(AlreadyDone, match="inactive already"):
        payment_methods.deactivate(conn, "card", user=finance)
    payment_methods.activate(conn, "card", user=finance)
    with pytest.raises(AlreadyDone, match="active already"):
        payment_methods.activate(conn, "card", user=finance)
    entries, _ = audit.entries(conn, object_type="payment method")
    assert [(one.action, one.changes) for one in entries] == [
        ("activate", {"active": [False, True]}), ("deactivate", {"active": [True, False]})
    ]  # fmt: skip


def test_one_that_customers_have_stays_and_they_are_named(conn: Connection, staff: dict[Role, User]) -> None:
    for name in ("Eta KG", "Ada GmbH", "Berta AG", "Cora SE", "Dora eG"):
        add(conn, staff[Role.SALES], name, payment_method="card")
    with pytest.raises(Conflict, match=r"5 customers have it: Ada GmbH, Berta AG, Cora SE and 2 more\. Choose"):
        payment_methods.deactivate(conn, "card", user=staff[Role.FINANCE])
    add(conn, staff[Role.SALES], "Frei e.V.", payment_method="free")
    with pytest.raises(Conflict, match=r"1 customer has it: Frei e\.V\.\. Choose"):
        payment_methods.deactivate(conn, "free", user=staff[Role.FINANCE])
    assert {one.code: one.customers for one in payment_methods.methods(conn)} == {
        "bank_transfer": 0, "direct_debit": 0, "card": 5, "project_key": 0, "free": 1
    }  # fmt: skip


def test_the_last_one_stays(conn: Connection, staff: dict[Role, User]) -> None:
    for code in ("bank_transfer", "direct_debit", "card", "project_key"):
        payment_methods.deactivate(conn, code, user=staff[Role.FINANCE])
    with pytest.raises(Conflict, match="One payment method has to stay"), conn.begin_nested():
        payment_methods.deactivate(conn, "free", user=staff[Role.FINANCE])
    assert active(conn) == ["free"]


def test_an_inactive_one_is_chosen_by_no_form_and_no_bulk_change(conn: Connection, staff: dict[Role, User]) -> None:
    sales = staff[Role.SALES]
    ada = add(conn, sales, "Ada GmbH")
    payment_methods.deactivate(conn, "card", user=staff[Role.FINANCE])
    with pytest.raises(Invalid, match="Credit card is not offered any more") as refusal:
        add(conn, sales, "Berta AG", payment_method="card")
    assert refusal.value.field == "payment_method"
    with pytest.raises(Invalid, match="not offered"):
        customers.edit(conn, ada, version=1, changes={"payment_method": "card"}, today=TODAY, user=sales)
    change = Change(Kind.PAYMENT_METHOD, "card")
    with pytest.raises(Invalid, match="not offered"):
        bulk.plan(conn, [ada], change)
    with pytest.raises(Invalid, match="not offered"):
        bulk.apply(conn, [ada], change, today=TODAY, user=sales)
    # Whoever has one that became inactive by another way keeps it through other edits.
    conn.execute(text("UPDATE customers SET payment_method = 'card'"))
    customers.edit(conn, ada, version=1, changes={"payment_method": "card", "city": "Kiel"}, today=TODAY, user=sales)


def test_a_file_can_not_choose_an_inactive_one_either(conn: Connection, staff: dict[Role, User]) -> None:
    sales = staff[Role.SALES]
    number = customers.customer(conn, add(conn, sales, "Ada GmbH")).number
    conn.execute(text("UPDATE customers SET payment_method = 'free'"))  # inactive by another way
    for code in ("card", "free"):
        conn.execute(text("UPDATE payment_methods SET active = false WHERE code = :code"), {"code": code})
    rows = (f"{number}|Ada GmbH|card", "|Neu AG|card", "|Gut AG|bank_transfer")
    report = uploads.check(conn, "customers", uploads.written("Number|Name|Payment method", *rows), sales)
    assert [(line, "not offered any more" in why) for line, _, why in uploads.faults(report)] == [(2, True), (3, True)]
    same = uploads.written("Number|Name|City|Payment method", f"{number}|Ada GmbH|Kiel|free")
    assert uploads.faults(uploads.check(conn, "customers", same, sales)) == []
    payment_methods.deactivate(conn, "bank_transfer", user=staff[Role.FINANCE])
    uploads.apply(conn, "customers", uploads.written("Name", "Ohne AG"), sales)
    chosen = conn.scalar(text("SELECT payment_method FROM customers WHERE name = 'Ohne AG'"))
    assert chosen == "direct_debit"


def test_a_new_customer_gets_the_first_that_is_offered(conn: Connection, staff: dict[Role, User]) -> None:
    payment_methods.deactivate(conn, "bank_transfer", user=staff[Role.FINANCE])
    assert customers.customer(conn, add(conn, staff[Role.SALES], "Ada GmbH")).payment_method == "direct_debit"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_change_nothing(conn: Connection, staff: dict[Role, User], role: Role) -> None:
    for write in (payment_methods.activate, payment_methods.deactivate):
        with pytest.raises(NotAllowed, match="change payment methods"):
            write(conn, "card", user=staff[role])
    with pytest.raises(NotAllowed, match="change payment methods"):
        payment_methods.set_creditor_id(conn, version=1, creditor_id=CREDITOR, user=staff[role])


def test_one_that_does_not_exist_is_refused(conn: Connection, staff: dict[Role, User]) -> None:
    with pytest.raises(Invalid, match="choose one of"):
        payment_methods.deactivate(conn, "shells", user=staff[Role.FINANCE])


def test_the_creditor_identifier_is_checked(conn: Connection, staff: dict[Role, User]) -> None:
    finance = staff[Role.FINANCE]
    payment_methods.set_creditor_id(conn, version=1, creditor_id="de98 zzz 0999 9999 999", user=finance)
    assert payment_methods.creditor_id(conn) == CREDITOR
    with pytest.raises(Conflict, match="after you opened it"):
        payment_methods.set_creditor_id(conn, version=1, creditor_id="", user=finance)
    for wrong in ("DE98ZZZ09999999998", "x", "DE98ZZZ0999999999"):
        with pytest.raises(Invalid, match="not a creditor identifier") as refusal:
            payment_methods.set_creditor_id(conn, version=2, creditor_id=wrong, user=finance)
        assert refusal.value.field == "creditor_id"


def test_of_two_at_once_either_the_customer_gets_it_or_it_goes(begin: Any) -> None:
    staff = begin(people.open_company)

    def attempt(index: int) -> str:
        try:
            with db.transaction() as conn:
                if index % 2:
                    payment_methods.deactivate(conn, "card", user=staff[Role.FINANCE])
                else:
                    add(conn, staff[Role.SALES], f"Ada {index}", payment_method="card")
        except BillingError as refusal:
            return type(refusal).__name__
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    with db.transaction() as conn:
        [card] = [one for one in payment_methods.methods(conn) if one.code == "card"]
    assert (card.active, card.customers > 0) in ((True, True), (False, False)), outcomes
