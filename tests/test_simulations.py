"""Simulating a month: the same engine, another ledger or price list, and nothing written (row B4)."""

import csv
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lib import bookings, charges, issuing, months, prices, simulations
from lib.clock import next_month
from lib.errors import Conflict, Invalid, NotFound
from lib.simulations import NewPrice, NewQuantity, Scenario
from tests import closes, ledgers
from tests.closes import JULY, JUNE, TODAY, Company

pytestmark = pytest.mark.row("B4")


BEGINS_WITH = closes.company


@pytest.fixture
def company(begun: Company) -> Company:
    return begun


def book_for_july(conn: Connection, company: Company, quantity: int) -> None:
    """In June, for July: a decrease never takes effect at once."""
    bookings.book(
        conn, company.with_ips, company.ips, effective_on=JULY, quantity=quantity, internal=quantity, external=0,
        keep_pending=False, today=JUNE, user=company.admin,
    )  # fmt: skip


def fingerprint(conn: Connection) -> dict[str, str]:
    """A hash of every row of every table."""
    tables = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).all()
    return {
        name: conn.scalar(text(f"SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {name} t"))
        for name in tables
    }


def test_a_future_month_costs_what_is_booked_for_it(conn: Connection, company: Company) -> None:
    book_for_july(conn, company, 200)
    found = simulations.simulation(conn, Scenario(month=JULY, against=JUNE))
    # 45.00 for users in both; 300 IPs 460.00, 200 IPs 50 × 2.00 + 150 × 1.50 = 325.00.
    assert (found.before, found.after) == (Decimal("505.00"), Decimal("370.00"))
    assert [(row.id, row.difference) for row in found.customers] == [
        (company.with_ips, Decimal("-135.00")),
        (company.with_users, Decimal("0.00")),
    ]
    assert found.customers_count == 2 and found.unpriced == 0


@pytest.mark.row("B4")
def test_nothing_is_written(conn: Connection, company: Company) -> None:
    charges.ensure_rated(conn, JUNE)
    before = fingerprint(conn)
    tiers = ledgers.tiers((1, None, "3"))
    scenario = Scenario(
        month=date(2027, 2, 1),
        against=JULY,
        price=NewPrice(company.ips, tiers),
        quantity=NewQuantity(company.users, percent=20),
    )
    assert simulations.simulation(conn, scenario).after == Decimal("954.00")  # 300 × 3.00 + 12 × 4.50
    assert fingerprint(conn) == before


@pytest.mark.row("B4")
def test_another_price_list_gives_what_saving_it_would_give(conn: Connection, company: Company) -> None:
    own = ledgers.customer(conn, company.people, "Own Price GmbH")
    closes.book_ips(conn, company.people, own, company.ips, 10, JUNE)
    admin, tiers = company.admin, ledgers.tiers((1, 100, "1.1111"), (101, None, "0.3333"))
    individual = ledgers.tiers((1, None, "5"))
    prices.set_individual_price(conn, company.ips, own, valid_from=JUNE, tiers=individual, user=admin)
    scenario = Scenario(month=JULY, against=JUNE, price=NewPrice(company.ips, tiers))
    found = {row.id: row for row in simulations.simulation(conn, scenario).customers}
    prices.set_list_price(conn, company.ips, valid_from=JULY, tiers=tiers, user=admin)
    for customer in (company.with_ips, own):
        assert found[customer].after == ledgers.amounts(conn, customer, JULY)[company.ips]
        assert found[customer].before == ledgers.amounts(conn, customer, JUNE)[company.ips]
    assert found[own].difference == 0  # an individual price stays


@pytest.mark.row("B4")
@pytest.mark.parametrize("quantity", [0, 1, 51, 1000])
def test_another_quantity_gives_what_booking_it_would_give(conn: Connection, company: Company, quantity: int) -> None:
    scenario = Scenario(
        month=JULY, against=JUNE, customers=(company.with_ips,), quantity=NewQuantity(company.ips, quantity=quantity)
    )
    found = simulations.simulation(conn, scenario)
    book_for_july(conn, company, quantity)
    expected = ledgers.amounts(conn, company.with_ips, JULY).get(company.ips, Decimal("0.00"))
    assert (found.before, found.after, found.customers_count) == (Decimal("460.00"), expected, 1)


def test_a_percentage_changes_what_each_customer_has(conn: Connection, company: Company) -> None:
    found = simulations.simulation(
        conn, Scenario(month=JULY, against=JUNE, quantity=NewQuantity(company.ips, percent=-50))
    )
    assert found.after == Decimal("295.00")  # 150 IPs: 100.00 + 150.00, and the users as before
    gone = Scenario(month=JULY, against=JUNE, quantity=NewQuantity(company.ips, percent=-100))
    assert simulations.simulation(conn, gone).after == Decimal("45.00")


def test_a_closed_month_beside_it_is_read_as_it_was_charged(conn: Connection, company: Company) -> None:
    charges.ensure_rated(conn, JUNE)
    months.approve(conn, JUNE, today=TODAY, user=company.finance)
    issuing.issue_month(conn, JUNE, today=TODAY, user=company.finance)
    found = simulations.simulation(conn, Scenario(month=JULY, against=JUNE), order="name")
    assert (found.before, found.after) == (Decimal("505.00"), Decimal("505.00"))
    assert [row.name.split(" ", 1)[1] for row in found.customers] == ["Ada GmbH", "Berta AG"]
    with pytest.raises(Invalid, match="from July 2026 to July 2031"):
        simulations.simulation(conn, Scenario(month=JUNE, against=JUNE))


def test_what_has_no_price_is_counted_and_in_no_sum(conn: Connection, company: Company) -> None:
    module = ledgers.product(conn, company.people, "module")
    ledgers.book(conn, company.people, company.with_users, module, 1, JUNE)
    found = simulations.simulation(conn, Scenario(month=JULY, against=JUNE))
    assert (found.unpriced, found.after) == (1, Decimal("505.00"))
    assert [(row.before, row.after, row.difference) for row in found.products][-1] == (None, None, None)
    by_customer = {row.id: row.after for row in found.customers}
    assert by_customer[company.with_users] == Decimal("45.00")
    priced = NewPrice(module, ledgers.tiers((1, None, "9")))
    apart = simulations.simulation(conn, Scenario(month=JULY, against=JUNE, price=priced))
    assert [(row.before, row.after, row.difference) for row in apart.products][-1] == (None, Decimal("9.00"), None)


def test_pages_of_customers(conn: Connection, company: Company) -> None:
    scenario = Scenario(month=JULY, against=JUNE)
    first = simulations.simulation(conn, scenario, order="amount", limit=1)
    second = simulations.simulation(conn, scenario, order="amount", limit=1, offset=1)
    assert [row.id for row in first.customers + second.customers] == [company.with_ips, company.with_users]
    assert first.products == second.products


def test_months_that_can_be_simulated(conn: Connection, company: Company) -> None:
    offered = simulations.months(conn)
    assert (offered[0], offered[-1]) == (JUNE, next_month(JUNE, by=simulations.MONTHS_AHEAD))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"month": date(2026, 7, 2)}, "month"),
        ({"month": date(2050, 1, 1)}, "month"),
        ({"against": date(2050, 1, 1)}, "against"),
        ({"customers": tuple(range(51))}, "customers"),
        ({"quantity": NewQuantity(1)}, "quantity"),
        ({"quantity": NewQuantity(1, quantity=5, percent=5)}, "quantity"),
        ({"quantity": NewQuantity(1, quantity=5)}, "quantity"),
        ({"quantity": NewQuantity(1, quantity=-5), "customers": (1,)}, "quantity"),
        ({"quantity": NewQuantity(1, percent=-101)}, "percent"),
        ({"quantity": NewQuantity(1, percent=1001)}, "percent"),
    ],
)
def test_what_cannot_be_simulated_is_said_at_its_field(
    conn: Connection, company: Company, asked: dict[str, object], field: str
) -> None:
    if isinstance(quantity := asked.get("quantity"), NewQuantity):
        asked["quantity"] = NewQuantity(company.ips, quantity=quantity.quantity, percent=quantity.percent)
    with pytest.raises(Invalid) as refusal:
        simulations.simulation(conn, Scenario(**({"month": JULY, "against": JUNE} | asked)))  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_a_switch_has_no_percentage_and_is_one_or_none(conn: Connection, company: Company) -> None:
    module = ledgers.product(conn, company.people, "module", price="50")
    for quantity in (NewQuantity(module, percent=10), NewQuantity(module, quantity=2)):
        with pytest.raises(Invalid):
            simulations.simulation(
                conn, Scenario(month=JULY, against=JUNE, customers=(company.with_users,), quantity=quantity)
            )
    on = Scenario(JULY, JUNE, customers=(company.with_users,), quantity=NewQuantity(module, quantity=1))
    assert simulations.simulation(conn, on).after == Decimal("95.00")


def test_an_unknown_product_and_a_company_that_is_not_set_up(conn: Connection, company: Company) -> None:
    with pytest.raises(NotFound):
        simulations.simulation(conn, Scenario(JULY, JUNE, quantity=NewQuantity(10**9, percent=1)))
    conn.execute(text("DELETE FROM months"))
    with pytest.raises(Conflict, match="not set"):
        simulations.simulation(conn, Scenario(JULY, JUNE))


@pytest.mark.row("B4")
def test_the_rows_of_the_export_add_up(conn: Connection, company: Company) -> None:
    scenario = Scenario(JULY, JUNE, quantity=NewQuantity(company.ips, percent=100))
    rows = list(csv.DictReader(b"".join(simulations.export_csv(conn, scenario)).decode().splitlines()))
    found = simulations.simulation(conn, scenario)
    total = sum(Decimal(row["2026-07 simulated"]) for row in rows)
    assert total == found.after == Decimal("845.00")  # 600 IPs: 800.00
    assert sum(Decimal(row["Difference"]) for row in rows) == found.after - found.before
    assert [row["Customer"] for row in rows] == ["Ada GmbH", "Berta AG"]


def test_the_same_month_without_a_what_if_differs_in_nothing(conn: Connection, company: Company) -> None:
    found = simulations.simulation(conn, Scenario(JULY, JULY))
    assert found.before == found.after == Decimal("505.00")


@pytest.mark.row("B2", "B4")
def test_the_lines_of_a_simulated_amount_add_up_to_it(conn: Connection, company: Company) -> None:
    dearer = NewPrice(company.ips, ledgers.tiers((1, 100, "2"), (101, None, "1.5")))
    fewer = NewQuantity(company.ips, quantity=200)
    for scenario in (
        Scenario(month=JULY, against=JUNE),
        Scenario(month=JULY, against=JUNE, price=dearer),
        Scenario(month=JULY, against=JUNE, customers=(company.with_ips,), quantity=fewer),
        Scenario(month=JULY, against=JUNE, customers=(company.with_ips,), price=dearer, quantity=fewer),
    ):
        found = {row.id: row.after for row in simulations.simulation(conn, scenario).customers}
        lines = simulations.lines_of(conn, scenario, company.with_ips)
        assert sum(line.amount or 0 for line in lines) == found[company.with_ips]
    # 100 × 2.00 + 100 × 1.50, at the price that was typed in.
    assert [(line.units, line.unit_price, line.price_id) for line in lines] == [(100, 2, -1), (100, Decimal("1.5"), -1)]
