"""The catalogue: what can be added and edited, by whom, and what closed months forbid."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert, text, update
from sqlalchemy.exc import DBAPIError

from lib import audit, bookings, charges, customers, prices, products, tables
from lib.auth import Role, User
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.prices import Tier

NAMES = {"name_de": "Sicherung", "name_en": "Backup"}
LONG = "x" * 10_000
JUNE = date(2026, 6, 1)

SetUp = Callable[..., dict[Role, User]]


def add(conn: Connection, user: User, *, kind: str = "option", code: str = "backup", **details: Any) -> int:
    return products.add(conn, kind=kind, code=code, details=NAMES | details, user=user)


def test_a_product_is_added_with_the_usual_measure_of_its_kind(conn: Connection, admin: User) -> None:
    users = products.product(conn, add(conn, admin, kind="users", code="users"))
    option = products.product(conn, add(conn, admin))
    assert (users.measure, users.counted) == ("peak", True)
    assert (option.measure, option.counted, option.on_sale) == ("daily", False, True)
    entry = audit.entries(conn, limit=1)[0][0]
    assert (entry.action, entry.object_type, entry.changes["name_en"]) == ("create", "product", [None, "Backup"])


def test_the_catalogue_is_in_the_order_of_positions(conn: Connection, admin: User) -> None:
    last = add(conn, admin, position=20)
    first = add(conn, admin, code="other", position=10)
    assert [product.id for product in products.catalogue(conn)] == [first, last]
    assert products.catalogue(conn, kinds=("plan",)) == []


def test_there_is_one_product_for_users_and_one_for_ips(conn: Connection, admin: User) -> None:
    only = add(conn, admin, kind="ips", code="ips")
    found = products.product_of_kind(conn, "ips")
    assert found is not None and found.id == only
    with pytest.raises(Conflict, match="IP scans"):
        add(conn, admin, kind="ips", code="ips-2")


def test_a_code_is_used_once(conn: Connection, admin: User) -> None:
    add(conn, admin)
    with pytest.raises(Conflict, match="code backup"):
        add(conn, admin)


def test_a_double_click_adds_one(conn: Connection, admin: User) -> None:
    key = uuid4()
    products.add(conn, kind="option", code="a", details=NAMES, user=admin, request_key=key)
    with pytest.raises(Conflict, match="already saved"), conn.begin_nested():
        products.add(conn, kind="option", code="b", details=NAMES, user=admin, request_key=key)
    assert [product.code for product in products.catalogue(conn)] == ["a"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_only_admins_change_the_catalogue(conn: Connection, set_up: SetUp, role: Role) -> None:
    people = set_up()
    product_id = add(conn, people[Role.ADMIN])
    with pytest.raises(NotAllowed):
        add(conn, people[role], code="other")
    with pytest.raises(NotAllowed):
        products.edit(conn, product_id, version=1, changes={"name_en": "X"}, user=people[role])


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("name_de", ""),
        ("name_en", "a\0b"),
        ("name_en", LONG),
        ("description_de", LONG),
        ("unit_de", LONG),
        ("article_number", LONG),
        ("measure", "weekly"),
        ("position", "-1"),
        ("position", "first"),
        ("nonsense", "1"),
    ],
)
def test_bad_input_is_refused_at_its_field(conn: Connection, admin: User, field: str, typed: str) -> None:
    with pytest.raises(Invalid) as refusal:
        add(conn, admin, **{field: typed})
    assert refusal.value.field == field


@pytest.mark.parametrize("code", ["", "a b", "ä", "-a", LONG, "a\0"])
def test_a_bad_code_is_refused(conn: Connection, admin: User, code: str) -> None:
    with pytest.raises((Invalid, Conflict)):
        add(conn, admin, code=code)


@pytest.mark.parametrize("kind", ["adjustment", "", "gift"])
def test_an_unknown_kind_is_refused(conn: Connection, admin: User, kind: str) -> None:
    with pytest.raises(Invalid) as refusal:
        add(conn, admin, kind=kind)
    assert refusal.value.field == "kind"


def test_an_edit_is_kept_and_a_stale_one_loses(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    product_id = add(conn, admin)
    products.edit(conn, product_id, version=1, changes={"name_en": "Backups", "on_sale": False}, user=admin)
    after = products.product(conn, product_id)
    assert (after.name_en, after.on_sale, after.version) == ("Backups", False, 2)
    assert audit.entries(conn, limit=1)[0][0].changes == {"name_en": ["Backup", "Backups"], "on_sale": [True, False]}
    with pytest.raises(Conflict, match="Somebody else"):
        products.edit(conn, product_id, version=1, changes={"name_en": "Mine"}, user=admin)


def test_a_product_that_is_not_there_is_not_found(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    with pytest.raises(NotFound):
        products.product(conn, 999_999)
    with pytest.raises(NotFound):
        products.edit(conn, 999_999, version=1, changes=NAMES, user=admin)


def test_another_measure_rates_the_open_month_again(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    product_id = add(conn, admin)
    prices.set_list_price(conn, product_id, valid_from=JUNE, tiers=[Tier(1, None, Decimal(30))], user=admin)
    customer_id = customers.create(conn, details={"name": "Kunde"}, billed=True, ends_on=None, today=JUNE, user=admin)
    half = date(2026, 6, 16)
    bookings.book(conn, customer_id, product_id, effective_on=half, quantity=1, today=JUNE, user=admin)
    charges.ensure_rated(conn, JUNE)
    assert conn.scalar(tables.charges.select().with_only_columns(tables.charges.c.amount)) == Decimal("15.00")
    products.edit(conn, product_id, version=1, changes={"measure": "full"}, user=admin)
    assert conn.scalar(tables.charges.select().with_only_columns(tables.charges.c.amount)) == Decimal("30.00")


def test_a_measure_that_closed_figures_rest_on_stays(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    product_id = add(conn, admin)
    conn.execute(
        insert(tables.month_totals).values(
            month=date(2026, 5, 1), product_id=product_id, amount=1, charges=1, quantity=1
        )
    )
    with pytest.raises(Conflict, match="its measure stays"):
        products.edit(conn, product_id, version=1, changes={"measure": "full"}, user=admin)
    products.edit(conn, product_id, version=1, changes={"name_en": "Backups"}, user=admin)


def test_a_month_must_be_open_to_edit(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    product_id = add(conn, admin)
    conn.execute(update(tables.months).values(state="approved"))
    with pytest.raises(Conflict):
        products.edit(conn, product_id, version=1, changes={"name_en": "Backups"}, user=admin)


@pytest.mark.row("S4")
def test_a_plan_says_what_it_is_sold_for_in_advance(conn: Connection, set_up: SetUp) -> None:
    admin = set_up()[Role.ADMIN]
    plan = add(conn, admin, kind="plan", code="plus", test_days="14", yearly_price="1.200,00", revenue_account="4400")
    found = products.product(conn, plan)
    assert (found.test_days, found.yearly_price, found.revenue_account) == (14, Decimal("1200.00"), "4400")
    products.edit(conn, plan, version=1, changes={"test_days": "", "yearly_price": None}, user=admin)
    emptied = products.product(conn, plan)
    assert (emptied.test_days, emptied.yearly_price) == (None, None)
    entry = audit.entries(conn, limit=1)[0][0]
    assert entry.changes == {"test_days": [14, None], "yearly_price": ["1200.00", None]}


@pytest.mark.parametrize(
    ("kind", "name", "typed", "says"),
    [
        ("option", "test_days", "14", "Only plans and modules"),
        ("users", "yearly_price", "10", "Only plans and modules"),
        ("plan", "test_days", "0", "between 1 and 365"),
        ("plan", "yearly_price", "0", "above zero"),
        ("module", "yearly_price", "cheap", "not an amount"),
        ("option", "revenue_account", "44", "four to eight digits"),
        ("option", "revenue_account", "44a0", "four to eight digits"),
    ],
)
def test_what_is_sold_in_advance_is_checked(
    conn: Connection, admin: User, kind: str, name: str, typed: str, says: str
) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        add(conn, admin, kind=kind, **{name: typed})
    assert refused.value.field == name


@pytest.mark.row("S4")
def test_no_product_is_ever_deleted(conn: Connection, admin: User) -> None:
    add(conn, admin)
    with pytest.raises(DBAPIError, match="never deleted"), conn.begin_nested():
        conn.execute(text("DELETE FROM products WHERE code = 'backup'"))
