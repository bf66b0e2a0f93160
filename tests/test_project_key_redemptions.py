"""Redeeming project keys: who may, what each key costs in each month, and what it forbids while it runs (row G9)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    billing,
    bookings,
    bulk,
    charges,
    checks,
    customer_lists,
    customer_verbs,
    customers,
    explanations,
    months,
    overview_tables,
    price_effects,
    prices,
    project_key_redemptions,
    project_key_stock,
    project_keys,
    simulations,
    subscriptions,
    timelines,
)
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.project_key_redemptions import Terms
from tests import ledgers
from tests.ledgers import JUNE, People

TODAY = date(2026, 6, 16)
JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)
KEY = "PRJ-2026-ALPHA-0001-WXYZ"


@dataclass(frozen=True)
class Shop:
    """A billed, managed customer with 300 IPs since June, and a key for 500 IPs over 3 months that cost us 900."""

    people: People
    customer: int
    ips: int
    key: int

    @property
    def sales(self) -> User:
        return self.people[Role.SALES]


@pytest.fixture
def shop(conn: Connection, set_up: Callable[..., People]) -> Shop:
    people = set_up(JUNE)
    ips = ledgers.product(conn, people, "ips", price=ledgers.RANGES)
    prices.set_purchase_price(conn, ips, valid_from=JUNE, unit_price=Decimal("0.50"), user=people[Role.ADMIN])
    made = Shop(people, ledgers.customer(conn, people), ips, entered(conn, people))
    ledgers.book(conn, people, made.customer, ips, 300, JUNE)
    return made


def entered(conn: Connection, people: People, key: str = KEY, **given: Any) -> int:
    """A key in stock."""
    values = {"ips": 500, "months": 3, "purchase_price": Decimal(900), "redeem_until": None} | given
    return project_key_stock.add(conn, key=key, today=JUNE, user=people[Role.ADMIN], **values)


def terms(price: str = "400", charging: str = "monthly", *, internal: int = 100, **given: Any) -> Terms:
    values = {"external": 500 - internal, "instantly": True} | given
    return Terms(Decimal(price), charging, internal, **values)


def redeem(conn: Connection, shop: Shop, wanted: Terms | None = None, **given: Any) -> None:
    values = {"typed": KEY, "terms": wanted or terms(), "today": TODAY, "user": shop.sales} | given
    project_key_redemptions.redeem(conn, given.pop("customer", shop.customer), **{
        name: value for name, value in values.items() if name != "customer"
    })  # fmt: skip


def ip_lines(conn: Connection, shop: Shop, month: date) -> list[tuple[int, int, Decimal | None, bool]]:
    """Days, quantity, amount and whether by key."""
    return [
        (line.days, line.quantity, line.amount, line.project_key_id is not None)
        for line in billing.lines(conn, months=[month], customers=[shop.customer])
    ]


def purchase(conn: Connection, shop: Shop, month: date) -> Decimal | None:
    charges.ensure_rated(conn, month)
    return conn.scalar(
        text("SELECT purchase FROM charges WHERE customer_id = :id AND month = :month AND product_id = :ips"),
        {"id": shop.customer, "month": month, "ips": shop.ips},
    )


# ---------------------------------------------------------------------------------- what it does


@pytest.mark.row("G9")
def test_monthly_it_costs_its_price_by_days(conn: Connection, shop: Shop) -> None:
    """300 IPs until 15 June are half of 460.00; then 400.00 a month by days, until 15 September."""
    redeem(conn, shop)
    assert ip_lines(conn, shop, JUNE) == [
        (15, 300, Decimal("230.00"), False),
        (15, 500, Decimal("200.00"), True),
    ]
    assert ip_lines(conn, shop, JULY) == [(31, 500, Decimal("400.00"), True)]
    assert ip_lines(conn, shop, date(2026, 9, 1)) == [(15, 500, Decimal("200.00"), True)]
    assert ip_lines(conn, shop, date(2026, 10, 1)) == []
    # Its purchase price over its months by days, beside that of the list's IPs: 150 × 15/30 + 300 × 15/30.
    assert purchase(conn, shop, JUNE) == Decimal("225.00")
    assert purchase(conn, shop, JULY) == Decimal("300.00")


@pytest.mark.row("G9")
def test_once_it_costs_all_of_its_price_as_it_starts(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop, terms("1300", "once"))
    assert ip_lines(conn, shop, JUNE)[1] == (15, 500, Decimal("1300.00"), True)
    assert ip_lines(conn, shop, JULY) == [(31, 500, Decimal("0.00"), True)]
    assert purchase(conn, shop, JUNE) == Decimal("975.00")
    assert purchase(conn, shop, JULY) == Decimal("0.00")


@pytest.mark.row("G9")
def test_the_customer_pays_by_project_key_and_the_key_says_by_whom(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    assert customers.customer(conn, shop.customer).payment_method == "project_key"
    key = project_keys.key(conn, shop.key, today=TODAY)
    assert (key.customer_id, key.redeemed_by, key.state) == (shop.customer, "Samuel", "in_force")
    assert (key.from_day, key.until_day) == (TODAY, date(2026, 9, 16))
    [[entry, *_], _] = audit.entries(conn, customer_id=shop.customer)
    assert (entry.action, entry.person) == ("redeem", "Samuel")
    assert entry.changes["payment_method"] == ["Bank transfer", "Project key"]
    assert "ALPHA" not in str(entry.changes) and "900" not in str(entry.changes)


@pytest.mark.row("G9")
def test_fewer_ips_start_with_the_next_month(conn: Connection, shop: Shop) -> None:
    entered(conn, shop.people, "PRJ-SMALL-000001", ips=200)
    small = terms(internal=0, external=200)
    offer = project_key_redemptions.offered(
        conn, shop.customer, "prj small 000001", today=TODAY, user=shop.sales
    )  # typed as one reads it out
    assert offer.decrease and offer.held.quantity == 300
    with pytest.raises(Invalid, match="decrease takes effect with the next month, on 01 Jul 2026") as refused:
        redeem(conn, shop, small, typed="PRJ-SMALL-000001")
    assert refused.value.field == "instantly"
    redeem(conn, shop, terms(internal=0, external=200, instantly=False), typed="PRJ-SMALL-000001")
    assert [line[1] for line in ip_lines(conn, shop, JUNE)] == [300] * 3
    assert ip_lines(conn, shop, JULY) == [(31, 200, Decimal("400.00"), True)]


@pytest.mark.row("G9")
def test_what_was_booked_for_later_is_taken_back(conn: Connection, shop: Shop) -> None:
    bookings.book(
        conn, shop.customer, shop.ips, effective_on=JULY, quantity=250, today=TODAY, user=shop.sales, internal=250
    )
    seen = project_key_redemptions.preview(conn, shop.customer, KEY, terms(), today=TODAY, user=shop.sales)
    assert seen.pending == 1
    redeem(conn, shop)
    assert [b.quantity for b in bookings.pending(conn, shop.customer, today=TODAY)] == [0]


@pytest.mark.row("G9")
@pytest.mark.parametrize(
    ("charging", "total", "this", "following"),
    [("monthly", "1200.00", "-30", "-60"), ("once", "400.00", "170", "-460")],
)
def test_the_summary_says_what_finish_does(
    conn: Connection, shop: Shop, charging: str, total: str, this: str, following: str
) -> None:
    """460.00 a month become 430.00 and 400.00, 1,200.00 in all; or 630.00 and nothing, 400.00 in all."""
    before = bookings.standing(conn, shop.customer)
    seen = project_key_redemptions.preview(
        conn, shop.customer, KEY, terms(charging=charging), today=TODAY, user=shop.sales
    )
    assert (seen.from_day, seen.last_day, seen.total) == (TODAY, date(2026, 9, 15), Decimal(total))
    assert [effect.difference for effect in seen.effects] == [Decimal(this), Decimal(following)]
    assert bookings.standing(conn, shop.customer) == before
    assert project_keys.key(conn, shop.key, today=TODAY).state == "unused"


@pytest.mark.parametrize(
    ("start", "key_months", "last"),
    [
        (date(2026, 7, 31), 1, date(2026, 8, 30)),
        (date(2026, 7, 31), 7, date(2027, 2, 27)),
        (date(2026, 7, 1), 12, date(2027, 6, 30)),
    ],
)
def test_its_last_day_is_that_before_the_same_day_of_the_month(
    conn: Connection, shop: Shop, start: date, key_months: int, last: date
) -> None:
    entered(conn, shop.people, "PRJ-OTHER-000001", months=key_months)
    given: dict[str, Any] = {"typed": "PRJ-OTHER-000001", "terms": terms(), "today": start, "user": shop.sales}
    seen = project_key_redemptions.preview(conn, shop.customer, **given)
    redeem(conn, shop, **given)
    until_day = project_keys.until(conn, [shop.customer], today=start)[shop.customer]
    assert seen.last_day == last == date.fromordinal(until_day.toordinal() - 1)


def test_once_it_waits_for_the_first_day_that_counts(conn: Connection, shop: Shop) -> None:
    """Deactivated over its start, the price isn't lost: it comes with the first day that is charged."""
    redeem(conn, shop, terms("1300", "once", instantly=False))
    customer_verbs.deactivate(conn, shop.customer, today=date(2026, 6, 20), user=shop.sales)
    customer_verbs.activate(conn, shop.customer, today=date(2026, 8, 10), user=shop.sales)
    assert ip_lines(conn, shop, JULY) == []
    assert ip_lines(conn, shop, AUGUST) == [(22, 500, Decimal("1300.00"), True)]


@pytest.mark.parametrize("measure", ["peak", "end", "full"])
def test_another_measure_looks_at_the_days_without_a_key(conn: Connection, shop: Shop, measure: str) -> None:
    conn.execute(text("UPDATE products SET measure = :measure WHERE id = :id"), {"measure": measure, "id": shop.ips})
    redeem(conn, shop)
    listed = sum((amount or 0 for _, _, amount, by_key in ip_lines(conn, shop, JUNE) if not by_key), Decimal(0))
    assert listed == (0 if measure == "end" else Decimal("460.00"))
    assert ip_lines(conn, shop, JUNE)[-1] == (15, 500, Decimal("200.00"), True)


# ---------------------------------------------------------------------------------- which keys, and whose


@pytest.mark.row("G9")
def test_unknown_used_and_expired_are_told_apart(conn: Connection, shop: Shop) -> None:
    entered(conn, shop.people, "PRJ-EXPIRED-0001", redeem_until=date(2026, 6, 15))
    entered(conn, shop.people, "PRJ-USED-00000001")
    other = ledgers.customer(conn, shop.people, "Bob AG")
    redeem(conn, shop, customer=other, typed="PRJ-USED-00000001")
    for typed, why in (
        ("", "Enter the project key"),
        ("PRJ-NEVER-HEARD-OF", "There is no such project key"),
        ("PRJ-USED-00000001", r"is used: Bob AG \(C-\d+\) redeemed it"),
        ("PRJ-EXPIRED-0001", "has expired: it could be redeemed until 15 Jun 2026"),
    ):
        for act in (offered, redeem):
            with pytest.raises(Invalid, match=why) as refused:
                act(conn, shop, typed=typed)
            assert refused.value.field == "key"


def offered(conn: Connection, shop: Shop, *, typed: str) -> None:
    project_key_redemptions.offered(conn, shop.customer, typed, today=TODAY, user=shop.sales)


@pytest.mark.row("G9")
def test_a_key_on_its_last_day(conn: Connection, shop: Shop) -> None:
    entered(conn, shop.people, "PRJ-LASTDAY-0001", redeem_until=TODAY)
    redeem(conn, shop, typed="PRJ-LASTDAY-0001")


@pytest.mark.row("G9")
def test_a_second_click_redeems_nothing_more(conn: Connection, shop: Shop) -> None:
    key = uuid4()
    redeem(conn, shop, request_key=key)
    with pytest.raises(AlreadyDone):
        redeem(conn, shop, request_key=key)


@pytest.mark.row("G9", "G3")
def test_only_a_managed_billed_and_active_customer(conn: Connection, shop: Shop) -> None:
    tested = ledgers.customer(conn, shop.people, "Probe AG", billed=False, ends_on=AUGUST)
    own = ledgers.customer(conn, shop.people, "Selbst AG")
    ledgers.serve_itself(conn, shop.people, own)
    paused = ledgers.customer(conn, shop.people, "Pause AG")
    customer_verbs.deactivate(conn, paused, today=TODAY, user=shop.sales)
    ended = ledgers.customer(conn, shop.people, "Ende AG", ends_on=date(2026, 6, 15))
    cancelled = ledgers.customer(conn, shop.people, "Kündig AG")
    ledgers.book(conn, shop.people, cancelled, shop.ips, 5, JUNE)
    subscriptions.cancel(conn, cancelled, today=TODAY, user=shop.sales)
    for id_, why in (
        (tested, "is a test customer"), (own, "is in self-service"), (paused, "is deactivated"),
        (ended, "ends on 15 Jun 2026, before the key would start"), (cancelled, "is cancelled. Take that back"),
    ):  # fmt: skip
        with pytest.raises(Conflict, match=why):
            redeem(conn, shop, customer=id_)
    with pytest.raises(NotFound, match="customer does not exist"):
        redeem(conn, shop, customer=4_000_000)
    assert project_keys.key(conn, shop.key, today=TODAY).state == "unused"


def test_only_who_edits_customers(conn: Connection, shop: Shop) -> None:
    with pytest.raises(NotAllowed):
        redeem(conn, shop, user=shop.people[Role.VIEWER])
    with pytest.raises(NotAllowed):
        project_key_redemptions.offered(conn, shop.customer, KEY, today=TODAY, user=shop.people[Role.VIEWER])


def test_what_is_typed_is_checked_at_its_field(conn: Connection, shop: Shop) -> None:
    for wanted, field in (
        (terms("-1"), "selling_price"), (terms("1.005"), "selling_price"), (terms(charging="weekly"), "charging"),
        (terms(internal=1, external=1), "internal"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as refused:
            redeem(conn, shop, wanted)
        assert refused.value.field == field


def test_not_in_a_closed_month(conn: Connection, shop: Shop) -> None:
    months.approve(conn, JUNE, today=date(2026, 7, 2), user=shop.people[Role.FINANCE])
    with pytest.raises(Invalid, match="is in a closed month") as refused:
        redeem(conn, shop)
    assert refused.value.field == "instantly"
    redeem(conn, shop, terms(instantly=False))


def test_not_once_ips_are_withdrawn_from_sale(conn: Connection, shop: Shop) -> None:
    conn.execute(text("UPDATE products SET on_sale = false WHERE kind = 'ips'"))
    with pytest.raises(Conflict, match="is withdrawn from sale"):
        redeem(conn, shop)


def test_not_while_the_method_is_not_offered(conn: Connection, shop: Shop) -> None:
    conn.execute(text("UPDATE payment_methods SET active = false WHERE code = 'project_key'"))
    with pytest.raises(Invalid, match="Project key is not offered any more"):
        redeem(conn, shop)


# ---------------------------------------------------------------------------------- while it runs


def book(conn: Connection, shop: Shop, quantity: int, day: date, *, today: date = TODAY, **more: Any) -> None:
    bookings.book(
        conn, shop.customer, shop.ips, effective_on=day, quantity=quantity, today=today, user=shop.sales, **more
    )


@pytest.mark.row("G9")
def test_while_it_runs_only_the_distribution_changes(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    stays = r"Project key ·····WXYZ brings 500 IPs until 15 Sep 2026\. Until then only their distribution changes"
    for day in (TODAY, JULY):
        with pytest.raises(Invalid, match=stays) as refused:
            book(conn, shop, 600, day)
        assert refused.value.field == "quantity"
    before = ip_lines(conn, shop, JUNE), ip_lines(conn, shop, JULY)
    book(conn, shop, 500, TODAY, internal=400, external=100)
    book(conn, shop, 500, JULY, internal=0, external=500)
    assert (ip_lines(conn, shop, JUNE), ip_lines(conn, shop, JULY)) == before
    [moved, end] = bookings.pending(conn, shop.customer, today=TODAY)
    assert (moved.quantity, moved.of_key, end.quantity, end.of_key) == (500, False, 0, True)
    bookings.take_back(conn, moved.id, today=TODAY, user=shop.sales)
    with pytest.raises(Conflict, match="belongs to project key ·····WXYZ, which was redeemed"):
        bookings.take_back(conn, end.id, today=TODAY, user=shop.sales)
    # None of it is asked about, and none of it goes.
    book(conn, shop, 500, TODAY, internal=1, external=499, keep_pending=False)
    assert bookings.pending(conn, shop.customer, today=TODAY) == [end]
    assert checks.findings(conn) == []


@pytest.mark.row("G9")
def test_a_key_that_is_still_to_start_stays(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop, terms(instantly=False))
    start, _ = bookings.pending(conn, shop.customer, today=TODAY)
    with pytest.raises(Conflict, match="can't be taken back"):
        bookings.take_back(conn, start.id, today=TODAY, user=shop.sales)
    book(conn, shop, 320, TODAY, internal=320, keep_pending=False)
    book(conn, shop, 500, JULY, internal=7, external=493)
    [moved, _] = bookings.pending(conn, shop.customer, today=TODAY)
    bookings.take_back(conn, moved.id, today=TODAY, user=shop.sales)
    assert bookings.pending(conn, shop.customer, today=TODAY)[0] == start
    with pytest.raises(Invalid, match="which end with it") as refused:
        book(conn, shop, 330, TODAY, internal=330, ends_on=date(2026, 7, 20))
    assert refused.value.field == "ends_on"
    assert ip_lines(conn, shop, JULY) == [(31, 500, Decimal("400.00"), True)]


@pytest.mark.row("G9")
def test_after_it_ips_are_booked_as_before(conn: Connection, shop: Shop) -> None:
    """From the day after its last one, also of the same count: at the list price, as a stretch of their own."""
    redeem(conn, shop)
    after = date(2026, 9, 16)
    assert bookings.holdings(conn, shop.customer, on=after)[shop.ips].quantity == 0
    book(conn, shop, 500, after, today=after, internal=500)
    assert ip_lines(conn, shop, date(2026, 9, 1)) == [
        (15, 500, Decimal("200.00"), True),
        (15, 500, Decimal("350.00"), False),
    ]
    entered(conn, shop.people, "PRJ-FOLLOWING-01")
    redeem(conn, shop, typed="PRJ-FOLLOWING-01", today=after)
    assert ip_lines(conn, shop, date(2026, 9, 1))[1] == (15, 500, Decimal("200.00"), True)


@pytest.mark.row("G9")
def test_one_key_at_a_time(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    entered(conn, shop.people, "PRJ-SECOND-00001")
    with pytest.raises(Conflict, match="has a project key until 15 Sep 2026"):
        redeem(conn, shop, typed="PRJ-SECOND-00001")


@pytest.mark.row("G9")
def test_the_subscription_is_not_cancelled_and_the_customer_not_handed_over(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    with pytest.raises(Conflict, match="IPs by project key until 15 Sep 2026; they end by themselves"):
        subscriptions.cancel(conn, shop.customer, today=TODAY, user=shop.sales)
    change = bulk.Change(bulk.Kind.SERVICE_MODE, "self_service")
    done = bulk.apply(conn, [shop.customer], change, today=TODAY, user=shop.sales)
    assert "which is for managed service only" in done.refused[0].why
    # In the month in which it ends nothing of it runs on.
    subscriptions.booked(conn, shop.customer, today=date(2026, 9, 2))
    module = ledgers.product(conn, shop.people, "module", price="30")
    ledgers.book(conn, shop.people, shop.customer, module, 1, JUNE)
    subscriptions.cancel(conn, shop.customer, today=date(2026, 9, 2), user=shop.sales)
    assert ip_lines(conn, shop, date(2026, 9, 1))[0] == (15, 500, Decimal("200.00"), True)


# ---------------------------------------------------------------------------------- where it is seen


def test_the_timeline_has_its_start_and_its_end_with_their_price(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop, terms("1300", "once"))
    end, start, _ = timelines.changes(conn, shop.customer, today=TODAY)
    assert (start.project_key, start.price_before, start.price_after) == (
        "·····WXYZ", Decimal("460.00"), Decimal("433.33")
    )  # fmt: skip
    assert (end.effective_on, end.price_before, end.price_after) == (
        date(2026, 9, 16), Decimal("433.33"), Decimal("0.00")
    )  # fmt: skip


def test_the_list_shows_the_average_by_the_key(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    [row] = customer_lists.rows(conn, [shop.customer], today=TODAY)
    assert row.average_ip_price == Decimal("0.8")


def test_the_document_names_the_key_masked(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop, terms("1300", "once"))
    months.approve(conn, JUNE, today=JULY, user=shop.people[Role.FINANCE])
    found = conn.execute(text("SELECT detail, quantity, amount, service_until FROM invoice_lines ORDER BY position"))
    assert [tuple(row) for row in found][1] == (
        "Projektschlüssel ·····WXYZ: 16.06.–30.06.2026, 15 von 30 Tagen, 500 Stück, Laufzeit bis 15.09.2026",
        1, Decimal("1300.00"), date(2026, 6, 30),
    )  # fmt: skip
    assert checks.findings(conn) == []


def test_what_ifs_leave_a_key_alone(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    dearer = ledgers.tiers((1, None, "9"))
    shown = price_effects.effects(conn, shop.ips, tiers=dearer, valid_from=JULY)
    assert [(row.individual, row.after) for row in shown.rows] == [(True, Decimal("400.00"))]
    for given in (
        {"price": simulations.NewPrice(shop.ips, dearer)},
        {"quantity": simulations.NewQuantity(shop.ips, percent=50)},
    ):
        scenario = simulations.Scenario(JULY, JULY, **given)  # type: ignore[arg-type]
        assert simulations.simulation(conn, scenario).after == Decimal("400.00")
    fewer = simulations.NewQuantity(shop.ips, quantity=50)
    scenario = simulations.Scenario(JULY, JULY, customers=(shop.customer,), quantity=fewer)
    assert simulations.simulation(conn, scenario).after == Decimal("100.00")


@pytest.mark.row("G17")
def test_by_price_a_key_stands_beside_the_list_price(conn: Connection, shop: Shop) -> None:
    other = ledgers.customer(conn, shop.people, "Bob AG")
    ledgers.book(conn, shop.people, other, shop.ips, 50, JUNE)
    redeem(conn, shop)
    for month, own in ((JUNE, Decimal("430.00")), (JULY, Decimal("400.00"))):
        rows, total = overview_tables.by_price(conn, month, user=shop.people[Role.FINANCE])
        assert [(row.project_key, row.customers, row.income, row.purchase) for row in rows] == [
            ("", 1, Decimal("100.00"), Decimal("25.00")), ("·····WXYZ", 1, own, purchase(conn, shop, month)),
        ]  # fmt: skip
        assert total == 2
    assert {row.purchase for row in overview_tables.by_price(conn, JUNE, user=shop.sales)[0]} == {None}


@pytest.mark.row("B2", "G9")
def test_how_this_came_about_names_the_key(conn: Connection, shop: Shop) -> None:
    redeem(conn, shop)
    found = explanations.explanation(conn, shop.customer, shop.ips, month=JUNE)
    assert (found.amount, sum((part.amount or 0 for part in found.parts), Decimal(0))) == (430, 430)
    assert [(key.masked, project_keys.described(key)) for key in found.keys] == [
        ("·····WXYZ", "Project key ·····WXYZ until 15 Sep 2026: 400.00 a month")
    ]
    assert [booking.quantity for booking in found.bookings] == [300, 500]
