"""Prices by version: who sets them, from when, in which ranges, and what a change does to whom."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import Connection, delete, insert

from lib import (
    audit,
    billing,
    bookings,
    charges,
    customer_verbs,
    customers,
    price_effects,
    prices,
    products,
    quotes,
    tables,
)
from lib.auth import Role, User
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from lib.prices import Tier
from tests import ledgers

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)
# `billing-rules`, Prices: the ranges of the check.
RANGES = [
    Tier(1, 50, Decimal("2.00")),
    Tier(51, 250, Decimal("1.50")),
    Tier(251, 500, Decimal("1.20")),
    Tier(501, None, Decimal("1.00")),
]
CHECK = {
    0: "0.00",
    1: "2.00",
    50: "100.00",
    51: "101.50",
    250: "400.00",
    251: "401.20",
    300: "460.00",
    500: "700.00",
    501: "701.00",
}


def flat(price: str) -> list[Tier]:
    return [Tier(1, None, Decimal(price))]


@dataclass
class Shop:
    """A company in June 2026 with IP scans at the ranges of the check."""

    conn: Connection
    people: dict[Role, User]
    product_id: int

    def customer(self, ips: int) -> int:
        admin = self.people[Role.ADMIN]
        customer_id = customers.create(
            self.conn, details={"name": f"Kunde {ips}"}, billed=True, ends_on=None, today=JUNE, user=admin
        )
        bookings.book(
            self.conn,
            customer_id,
            self.product_id,
            effective_on=JUNE,
            quantity=ips,
            internal=ips,
            external=0,
            today=JUNE,
            user=admin,
        )
        return customer_id

    def close_june(self) -> None:
        """Move the border; what a close does besides is shown elsewhere."""
        self.conn.execute(delete(tables.months))
        self.conn.execute(insert(tables.months).values(month=JUNE, state="locked"))
        self.conn.execute(insert(tables.months).values(month=JULY))

    def amount(self, customer_id: int, month: date = JUNE) -> Decimal | None:
        lines = billing.lines(self.conn, months=[month], customers=[customer_id])
        return sum((line.amount for line in lines if line.amount is not None), Decimal(0)) if lines else None


@pytest.fixture
def shop(conn: Connection, set_up: Callable[..., dict[Role, User]]) -> Shop:
    people = set_up()
    details = {"name_de": "IP-Scans", "name_en": "IP scans"}
    product_id = products.add(conn, kind="ips", code="ips", details=details, user=people[Role.ADMIN])
    prices.set_list_price(conn, product_id, valid_from=JUNE, tiers=RANGES, user=people[Role.SALES])
    return Shop(conn, people, product_id)


# ---------------------------------------------------------------------------------- what a quantity costs


@pytest.mark.row("G15")
def test_a_graduated_price_costs_what_the_rules_say(conn: Connection, shop: Shop) -> None:
    found = quotes.quotes(conn, shop.product_id, quantities=list(CHECK), month=JUNE)
    assert {quote.quantity: str(quote.amount) for quote in found} == CHECK
    three_hundred = found[list(CHECK).index(300)]
    lines = [(line.units, line.unit_price, line.amount) for line in three_hundred.lines]
    assert lines == [(50, Decimal("2.0000"), 100), (200, Decimal("1.5000"), 300), (50, Decimal("1.2000"), 60)]
    assert found[0].average is None


def test_ranges_that_are_not_saved_are_quoted_by_the_same_rules(conn: Connection, shop: Shop) -> None:
    (quote,) = quotes.quotes(conn, shop.product_id, quantities=[300], month=JULY, tiers=flat("1.1"))
    assert (quote.amount, quote.average) == (Decimal("330.00"), Decimal("1.1"))
    assert len(prices.versions(conn, shop.product_id)) == 1


# ---------------------------------------------------------------------------------- versions


def test_a_version_rules_until_the_next_one_starts(conn: Connection, shop: Shop) -> None:
    later = prices.set_list_price(
        conn, shop.product_id, valid_from=AUGUST, tiers=flat("1"), user=shop.people[Role.ADMIN]
    )
    newest, first = prices.versions(conn, shop.product_id)
    assert (newest.id, newest.valid_from, newest.until_month, newest.recorded_by) == (later, AUGUST, None, "Adam")
    assert (first.valid_from, first.until_month, first.tiers) == (JUNE, AUGUST, RANGES)
    for month, expected in ((JUNE, first), (JULY, first), (AUGUST, newest), (date(2027, 1, 1), newest)):
        assert prices.version_in(conn, shop.product_id, month=month) == expected
    assert prices.version_in(conn, shop.product_id, month=date(2026, 5, 1)) is None


def test_a_saved_price_changes_the_charges_kept_ready(conn: Connection, shop: Shop) -> None:
    customer_id = shop.customer(300)
    charges.ensure_rated(conn, JULY)
    assert shop.amount(customer_id, JULY) == Decimal("460.00")
    prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=shop.people[Role.SALES])
    kept = tables.charges.select().with_only_columns(tables.charges.c.amount).where(tables.charges.c.month == JULY)
    assert conn.scalar(kept) == Decimal("300.00")
    assert shop.amount(customer_id, JUNE) == Decimal("460.00")


def test_setting_a_price_is_audited(conn: Connection, shop: Shop) -> None:
    entry = audit.entries(conn, object_type="price", limit=1)[0][0]
    assert (entry.person, entry.action) == ("Samuel", "set")
    assert entry.changes["IP scans"] == [None, "1–50 at 2.00, 51–250 at 1.50, 251–500 at 1.20, from 501 at 1.00"]


def test_a_second_price_from_the_same_month_is_refused(conn: Connection, shop: Shop) -> None:
    with pytest.raises(Conflict, match="already a price from that month"):
        prices.set_list_price(conn, shop.product_id, valid_from=JUNE, tiers=flat("1"), user=shop.people[Role.SALES])


def test_a_double_click_saves_once(conn: Connection, shop: Shop) -> None:
    key, sales = uuid4(), shop.people[Role.SALES]
    prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=sales, request_key=key)
    with pytest.raises(Conflict, match="already saved"), conn.begin_nested():
        prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=sales, request_key=key)
    assert len(prices.versions(conn, shop.product_id)) == 2


def test_a_price_of_a_missing_product_or_customer_is_refused(conn: Connection, shop: Shop) -> None:
    sales = shop.people[Role.SALES]
    with pytest.raises(NotFound):
        prices.set_list_price(conn, 999_999, valid_from=JUNE, tiers=flat("1"), user=sales)
    with pytest.raises(NotFound, match="customer does not exist"):
        prices.set_individual_price(conn, shop.product_id, 999_999, valid_from=JUNE, tiers=flat("1"), user=sales)


def test_individual_prices_are_read_page_by_page_and_no_list_price_with_them(
    conn: Connection, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "PAGE", 2)
    sales = shop.people[Role.SALES]
    found = [shop.customer(ips) for ips in (10, 20, 30)]
    for customer_id in found:
        prices.set_individual_price(conn, shop.product_id, customer_id, valid_from=JULY, tiers=flat("1"), user=sales)
    pages = [prices.individual_versions(conn, shop.product_id, page=page) for page in (1, 2, 3)]
    assert [[one.customer_id for one in listed] for listed, _ in pages] == [found[:2], found[2:], found[2:]]
    assert [total for _, total in pages] == [3, 3, 3]
    assert [one.customer_id for one in prices.versions(conn, shop.product_id, customer_id=found[1])] == [found[1]]
    prices.withdraw(conn, pages[1][0][0].id, user=sales)
    left, total = prices.individual_versions(conn, shop.product_id, page=2)
    assert ([one.customer_id for one in left], total) == (found[:2], 2)


def test_adjustments_have_no_price(conn: Connection, shop: Shop) -> None:
    adjustment = products.product_of_kind(conn, "adjustment")
    assert adjustment is not None
    with pytest.raises(Invalid) as refusal:
        prices.set_list_price(conn, adjustment.id, valid_from=JUNE, tiers=flat("1"), user=shop.people[Role.SALES])
    assert refusal.value.field == "product"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE])
def test_only_sales_and_admins_change_selling_prices(conn: Connection, shop: Shop, role: Role) -> None:
    user, version = shop.people[role], prices.versions(conn, shop.product_id)[0]
    customer_id = shop.customer(10)
    for write in (
        lambda: prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=user),
        lambda: prices.set_individual_price(conn, shop.product_id, customer_id, valid_from=JULY, tiers=[], user=user),
        lambda: prices.withdraw(conn, version.id, user=user),
    ):
        with pytest.raises(NotAllowed):
            write()


def test_a_closed_month_takes_no_price_and_gives_none_back(conn: Connection, shop: Shop) -> None:
    sales, version = shop.people[Role.SALES], prices.versions(conn, shop.product_id)[0]
    shop.close_june()
    with pytest.raises(Invalid, match="July 2026") as refusal:
        prices.set_list_price(conn, shop.product_id, valid_from=JUNE, tiers=flat("1"), user=sales)
    assert refusal.value.field == "valid_from"
    with pytest.raises(Conflict, match="closed month"):
        prices.withdraw(conn, version.id, user=sales)


def test_a_price_starts_with_a_month(conn: Connection, shop: Shop) -> None:
    with pytest.raises(Invalid) as refusal:
        prices.set_list_price(
            conn, shop.product_id, valid_from=date(2026, 7, 2), tiers=flat("1"), user=shop.people[Role.SALES]
        )
    assert refusal.value.field == "valid_from"


def test_a_withdrawn_price_gives_way_to_the_one_before(conn: Connection, shop: Shop) -> None:
    sales = shop.people[Role.SALES]
    price_id = prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=sales)
    prices.withdraw(conn, price_id, user=sales)
    assert [version.valid_from for version in prices.versions(conn, shop.product_id)] == [JUNE]
    with pytest.raises(Conflict, match="already withdrawn"):
        prices.withdraw(conn, price_id, user=sales)
    with pytest.raises(NotFound):
        prices.withdraw(conn, 999_999, user=sales)
    assert prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("3"), user=sales)


# ---------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("tiers", "field", "says"),
    [
        ([], "1.first_unit", "at least one"),
        ([Tier(2, None, Decimal(1))], "1.first_unit", "start at 1"),
        ([Tier(1, 50, Decimal(1)), Tier(52, None, Decimal(1))], "2.first_unit", "gap"),
        ([Tier(1, 50, Decimal(1)), Tier(50, None, Decimal(1))], "2.first_unit", "overlaps"),
        ([Tier(1, 50, Decimal(1))], "1.last_unit", "open"),
        ([Tier(1, None, Decimal(1)), Tier(51, None, Decimal(1))], "1.last_unit", "upper bound"),
        ([Tier(1, 0, Decimal(1)), Tier(1, None, Decimal(1))], "1.last_unit", "ends before"),
        ([Tier(1, 10_000_001, Decimal(1)), Tier(10_000_002, None, Decimal(1))], "1.last_unit", "10,000,000"),
        (flat("-0.01"), "1.unit_price", "negative"),
        (flat("1.00001"), "1.unit_price", "4 decimals"),
        (flat("1000000000"), "1.unit_price", "too large"),
        (flat("NaN"), "1.unit_price", "endless"),
        ([Tier(n, n, Decimal(1)) for n in range(1, 51)] + [Tier(51, None, Decimal(1))], "51.first_unit", "50 ranges"),
    ],
)
@pytest.mark.row("G15")
def test_wrong_ranges_are_refused_at_their_cell(
    conn: Connection, shop: Shop, tiers: list[Tier], field: str, says: str
) -> None:
    with pytest.raises(Invalid, match=says) as refusal:
        prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=tiers, user=shop.people[Role.SALES])
    assert refusal.value.field == field


def test_a_price_may_have_four_decimals_or_be_nothing(conn: Connection, shop: Shop) -> None:
    prices.require_tiers(flat("0.0001"))
    prices.require_tiers(flat("0"))
    assert prices.price_shown(Decimal("0.0001")) == "0.0001"
    assert prices.price_shown(Decimal("1.5000")) == "1.50"


# ---------------------------------------------------------------------------------- individual prices


def test_an_individual_price_wins_until_the_list_price_returns(conn: Connection, shop: Shop) -> None:
    sales, customer_id, other = shop.people[Role.SALES], shop.customer(100), shop.customer(200)
    own = prices.set_individual_price(conn, shop.product_id, customer_id, valid_from=JUNE, tiers=flat("1"), user=sales)
    prices.set_individual_price(conn, shop.product_id, customer_id, valid_from=AUGUST, tiers=[], user=sales)
    assert [shop.amount(customer_id, month) for month in (JUNE, JULY, AUGUST)] == [100, 100, 175]
    assert shop.amount(other) == Decimal("325.00")
    ruling = prices.version_in(conn, shop.product_id, month=JULY, customer_id=customer_id)
    assert ruling is not None and ruling.id == own
    returned, first = prices.versions(conn, shop.product_id, customer_id=customer_id)
    assert returned.returns_to_list and first.customer.endswith("Kunde 100")
    listed = prices.version_in(conn, shop.product_id, month=AUGUST, customer_id=customer_id)
    assert listed is not None and listed.customer_id is None


def test_an_individual_price_of_a_closed_month_stays(conn: Connection, shop: Shop) -> None:
    sales, customer_id = shop.people[Role.SALES], shop.customer(100)
    own = prices.set_individual_price(conn, shop.product_id, customer_id, valid_from=JUNE, tiers=flat("1"), user=sales)
    shop.close_june()
    with pytest.raises(Conflict):
        prices.withdraw(conn, own, user=sales)


# ---------------------------------------------------------------------------------- what a change does


@pytest.mark.row("G15")
def test_the_preview_names_who_changes_and_by_how_much(conn: Connection, shop: Shop) -> None:
    small, large, apart = shop.customer(40), shop.customer(300), shop.customer(60)
    sales = shop.people[Role.SALES]
    prices.set_individual_price(conn, shop.product_id, apart, valid_from=JUNE, tiers=flat("1"), user=sales)
    cheaper = [*RANGES[:2], Tier(251, None, Decimal("1.00"))]
    found = price_effects.effects(conn, shop.product_id, tiers=cheaper, valid_from=JULY)
    rows = {effect.customer_id: effect for effect in found.rows}
    assert list(rows) == [large, apart], "who changes, then who has a price of its own"
    assert (rows[large].before, rows[large].after) == (Decimal("460.00"), Decimal("450.00"))
    assert (rows[large].difference, rows[large].quantity) == (Decimal("-10.00"), 300)
    assert rows[apart].individual and rows[apart].before == rows[apart].after == Decimal("60.00")
    assert not rows[large].individual and small not in rows
    assert (found.changed, found.individual, found.same) == (1, 1, 1)
    assert (found.before, found.after, found.difference) == (Decimal("460.00"), Decimal("450.00"), Decimal("-10.00"))
    assert len(prices.versions(conn, shop.product_id)) == 1


def test_the_preview_is_paged_and_its_totals_are_of_all(conn: Connection, shop: Shop) -> None:
    ids = [shop.customer(quantity) for quantity in (10, 30, 20, 20)]

    def page(limit: int, offset: int) -> price_effects.Effects:
        return price_effects.effects(
            conn, shop.product_id, tiers=flat("1"), valid_from=JULY, limit=limit, offset=offset
        )

    first, last, beyond = page(3, 0), page(3, 3), page(3, 6)
    assert [effect.customer_id for effect in (*first.rows, *last.rows)] == [ids[1], ids[2], ids[3], ids[0]]
    assert beyond.rows == []
    for found in (first, last, beyond):
        assert (found.listed, found.before, found.after) == (4, Decimal("160.00"), Decimal("80.00"))
    nothing = price_effects.effects(conn, shop.product_id, tiers=RANGES, valid_from=JULY)
    assert (nothing.listed, nothing.same, nothing.rows, nothing.difference) == (0, 4, [], Decimal(0))


def test_customers_who_have_the_same_are_told_apart_where_they_differ(conn: Connection, shop: Shop) -> None:
    """One is rated for all who are alike: on other days, in another measure of days or with a price they are not."""
    sales, cheaper = shop.people[Role.SALES], flat("1")
    alike, twin, left, later, apart = (shop.customer(100) for _ in range(5))
    customer_verbs.set_end_date(conn, left, ends_on=date(2026, 7, 15), today=JUNE, user=sales)
    ledgers.book(conn, shop.people, later, shop.product_id, 200, JULY)
    prices.set_individual_price(conn, shop.product_id, apart, valid_from=AUGUST, tiers=flat("3"), user=sales)
    found = price_effects.effects(conn, shop.product_id, tiers=cheaper, valid_from=JULY)
    rows = {effect.customer_id: effect for effect in found.rows}
    prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=cheaper, user=sales)
    assert len(rows) == 5
    for customer_id, effect in rows.items():
        assert effect.after == shop.amount(customer_id, JULY)
    assert rows[alike].after == rows[twin].after == Decimal("100.00")
    assert rows[later].after == Decimal("200.00")
    found = price_effects.effects(conn, shop.product_id, tiers=flat("2"), valid_from=AUGUST)
    assert {effect.customer_id for effect in found.rows if effect.individual} == {apart}
    assert left not in {effect.customer_id for effect in found.rows}


def test_the_preview_is_what_the_saved_price_then_costs(conn: Connection, shop: Shop) -> None:
    customer_id = shop.customer(300)
    (effect,) = price_effects.effects(conn, shop.product_id, tiers=flat("1.3333"), valid_from=JULY).rows
    prices.set_list_price(conn, shop.product_id, valid_from=JULY, tiers=flat("1.3333"), user=shop.people[Role.SALES])
    assert shop.amount(customer_id, JULY) == effect.after == Decimal("399.99")


# ---------------------------------------------------------------------------------- purchase prices


def test_purchase_prices_are_set_by_admins_and_seen_by_finance(conn: Connection, shop: Shop) -> None:
    admin = shop.people[Role.ADMIN]
    price_id = prices.set_purchase_price(conn, shop.product_id, valid_from=JUNE, unit_price=Decimal("0.8"), user=admin)
    for role in (Role.FINANCE, Role.ADMIN):
        (found,) = prices.purchase_versions(conn, shop.product_id, user=shop.people[role])
        assert (found.id, found.unit_price, found.recorded_by) == (price_id, Decimal("0.8"), "Adam")
    for role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed):
            prices.purchase_versions(conn, shop.product_id, user=shop.people[role])
    for role in (Role.VIEWER, Role.SALES, Role.FINANCE):
        with pytest.raises(NotAllowed):
            prices.set_purchase_price(
                conn, shop.product_id, valid_from=JULY, unit_price=Decimal(1), user=shop.people[role]
            )
        with pytest.raises(NotAllowed):
            prices.withdraw_purchase_price(conn, price_id, user=shop.people[role])


def test_a_purchase_price_is_withdrawn_once_and_only_while_open(conn: Connection, shop: Shop) -> None:
    admin = shop.people[Role.ADMIN]
    first = prices.set_purchase_price(conn, shop.product_id, valid_from=JUNE, unit_price=Decimal(1), user=admin)
    later = prices.set_purchase_price(conn, shop.product_id, valid_from=JULY, unit_price=Decimal(2), user=admin)
    with pytest.raises(Conflict, match="already"), conn.begin_nested():
        prices.set_purchase_price(conn, shop.product_id, valid_from=JULY, unit_price=Decimal(3), user=admin)
    prices.withdraw_purchase_price(conn, later, user=admin)
    with pytest.raises(Conflict, match="already withdrawn"):
        prices.withdraw_purchase_price(conn, later, user=admin)
    with pytest.raises(NotFound):
        prices.withdraw_purchase_price(conn, 999_999, user=admin)
    shop.close_june()
    with pytest.raises(Conflict, match="closed"):
        prices.withdraw_purchase_price(conn, first, user=admin)


@pytest.mark.parametrize("price", ["-1", "1.00001", "1000000000", "NaN"])
def test_a_bad_purchase_price_is_refused_at_its_field(conn: Connection, shop: Shop, price: str) -> None:
    with pytest.raises(Invalid) as refusal:
        prices.set_purchase_price(
            conn, shop.product_id, valid_from=JULY, unit_price=Decimal(price), user=shop.people[Role.ADMIN]
        )
    assert refusal.value.field == "unit_price"


def test_the_preview_leaves_other_products_and_adjustments_out(conn: Connection, shop: Shop) -> None:
    customer_id, admin = shop.customer(300), shop.people[Role.ADMIN]
    other = products.add(
        conn, kind="option", code="backup", details={"name_de": "Sicherung", "name_en": "Backup"}, user=admin
    )
    prices.set_list_price(conn, other, valid_from=JUNE, tiers=flat("50"), user=admin)
    bookings.book(conn, customer_id, other, effective_on=JUNE, quantity=1, today=JUNE, user=admin)
    (effect,) = price_effects.effects(conn, shop.product_id, tiers=flat("1"), valid_from=JULY).rows
    assert (effect.before, effect.after) == (Decimal("460.00"), Decimal("300.00"))


def test_a_price_of_a_later_month_leaves_the_earlier_charges_as_they_are(conn: Connection, shop: Shop) -> None:
    shop.customer(300)
    charges.ensure_rated(conn, JUNE)
    charges.ensure_rated(conn, JULY)
    price_id = prices.set_list_price(
        conn, shop.product_id, valid_from=JULY, tiers=flat("1"), user=shop.people[Role.SALES]
    )
    kept = tables.charges.select().with_only_columns(tables.charges.c.amount).order_by(tables.charges.c.month)
    assert list(conn.scalars(kept)) == [Decimal("460.00"), Decimal("300.00")]
    prices.withdraw(conn, price_id, user=shop.people[Role.SALES])
    assert list(conn.scalars(kept)) == [Decimal("460.00"), Decimal("460.00")]
