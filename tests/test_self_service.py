"""In self-service a customer's users change IPs and their distribution, by our rules; in managed service they don't."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    bookings,
    customer_verbs,
    db,
    deletions,
    prices,
    self_service,
    settings,
    subscriptions,
    timelines,
)
from lib.auth import PortalUser
from lib.errors import AlreadyDone, BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import ledgers, portals
from tests.portals import Portal

# June is closed, July is open.
TODAY, JUNE, JULY, AUGUST = date(2026, 7, 16), date(2026, 6, 16), date(2026, 7, 1), date(2026, 8, 1)


@pytest.fixture
def made(conn: Connection) -> Portal:
    """Berta has 300 internal IPs, and is in self-service, too."""
    found = portals.filled(conn)
    conn.execute(text("UPDATE customers SET service_mode = 'self_service' WHERE id = :id"), {"id": found.berta})
    return found


@pytest.fixture
def berit(conn: Connection, made: Portal) -> PortalUser:
    return portals.user(conn, "berit")


def order(conn: Connection, user: PortalUser, internal: int, external: int = 0, **given: Any) -> None:
    seen = self_service.ips(conn, user=user, today=TODAY)
    assert seen
    wanted: dict[str, Any] = {
        "quantity": internal + external, "internal": internal, "external": external, "effective_on": TODAY,
        "keep_pending": None, "accepted": True, "seen": seen.seen, "today": TODAY, "user": user,
    }  # fmt: skip
    self_service.change(conn, **(wanted | given))


def own(conn: Connection, user: PortalUser) -> self_service.Ips:
    found = self_service.ips(conn, user=user, today=TODAY)
    assert found
    return found


@pytest.mark.row("G2", "G6")
def test_an_increase_is_at_once_and_a_decrease_waits_for_the_months_end(
    conn: Connection, made: Portal, berit: PortalUser
) -> None:
    order(conn, berit, 300, 100)
    assert (own(conn, berit).held.quantity, own(conn, berit).held.external) == (400, 100)
    with pytest.raises(Invalid, match="A decrease takes effect with the next month"):
        order(conn, berit, 50)
    order(conn, berit, 50, effective_on=AUGUST)
    found = own(conn, berit)
    assert found.held.quantity == 400
    assert [(one.effective_on, one.quantity, one.recorded_by) for one in found.pending] == [
        (AUGUST, 50, "berit@ada.example")
    ]
    order(conn, berit, 60, effective_on=AUGUST)  # changed
    assert [one.quantity for one in own(conn, berit).pending] == [60]
    self_service.take_back(conn, own(conn, berit).pending[0].id, today=TODAY, user=berit)
    assert own(conn, berit).pending == []


@pytest.mark.row("G2")
def test_they_see_the_price_lines_and_what_this_month_changes_by(
    conn: Connection, made: Portal, berit: PortalUser
) -> None:
    found = own(conn, berit)
    assert found.quote and (str(found.quote.amount), len(found.quote.lines)) == ("460.00", 3)
    quoted = self_service.quotes(conn, quantities=[300, 400], month=JULY, user=berit)
    assert quoted and [str(one.amount) for one in quoted] == ["460.00", "580.00"]
    effects = self_service.effect(
        conn, quantity=400, internal=300, external=100, effective_on=TODAY, keep_pending=None, today=TODAY, user=berit
    )
    # 460.00 × 15/31 + 580.00 × 16/31, each rounded
    assert [(one.month, str(one.before), str(one.after)) for one in effects] == [
        (JULY, "460.00", "521.93"), (AUGUST, "460.00", "580.00"),
    ]  # fmt: skip
    assert own(conn, berit).held.quantity == 300
    own_price = ledgers.tiers((1, None, "1"))
    prices.set_individual_price(
        conn, made.company.ips, made.berta, valid_from=JULY, tiers=own_price, user=made.company.admin
    )
    found = own(conn, berit)
    assert found.individual and found.quote and str(found.quote.amount) == "300.00"


@pytest.mark.row("G2", "G8")
def test_none_from_the_next_month_on_cancels_and_a_new_count_reactivates(
    conn: Connection, made: Portal, berit: PortalUser
) -> None:
    order(conn, berit, 0, effective_on=AUGUST)
    later = replace(berit)
    found = self_service.ips(conn, user=later, today=AUGUST)
    assert found and found.held.quantity == 0 and not found.refusal
    order(conn, later, 20, effective_on=AUGUST, today=AUGUST, seen=found.seen)
    found = self_service.ips(conn, user=later, today=AUGUST)
    assert found and found.held.quantity == 20


@pytest.mark.row("G2")
def test_the_confirmation_is_in_the_log_with_the_user(conn: Connection, made: Portal, berit: PortalUser) -> None:
    conn.execute(text("UPDATE company SET registration_terms = 'Be kind.'"))
    with pytest.raises(Invalid) as refusal:
        order(conn, berit, 400, accepted=False)
    assert refusal.value.field == "accepted"
    order(conn, berit, 400)
    logged = audit.entries(conn, customer_id=made.berta, object_type="booking")[0]
    assert [(one.action, one.person) for one in logged[:2]] == [
        ("confirm order", "berit@ada.example"), ("book", "berit@ada.example"),
    ]  # fmt: skip
    assert logged[0].changes["price_of_a_month"] == [None, "580.00"]
    assert len(logged[0].changes["terms_sha256"][1]) == 64
    newest = timelines.changes(conn, made.berta, today=TODAY)[0]
    assert (newest.after.quantity, newest.recorded_by) == (400, "berit@ada.example")


@pytest.mark.row("G2")
def test_a_second_click_orders_nothing_more(conn: Connection, made: Portal, berit: PortalUser) -> None:
    key, before = uuid4(), own(conn, berit).seen
    order(conn, berit, 400, request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        order(conn, berit, 400, request_key=key, seen=before)
    assert own(conn, berit).held.quantity == 400
    booked = "SELECT count(*) FROM bookings WHERE customer_user_id = :id"
    assert conn.scalar(text(booked), {"id": berit.id}) == 1


@pytest.mark.row("G2")
def test_what_was_seen_must_still_hold(conn: Connection, made: Portal, berit: PortalUser) -> None:
    seen = own(conn, berit).seen
    order(conn, berit, 350)
    with pytest.raises(Conflict, match="changed after you opened"):
        order(conn, berit, 400, seen=seen)
    seen = own(conn, berit).seen
    prices.set_list_price(
        conn, made.company.ips, valid_from=AUGUST, tiers=ledgers.tiers((1, None, "9")), user=made.company.admin
    )
    with pytest.raises(Conflict, match="changed after you opened"):
        order(conn, berit, 400, effective_on=AUGUST, seen=seen)


@pytest.mark.row("G2")
def test_in_managed_service_everything_is_seen_and_nothing_changed(
    conn: Connection, made: Portal, berit: PortalUser
) -> None:
    conn.execute(text("UPDATE customers SET service_mode = 'managed' WHERE id = :id"), {"id": made.berta})
    found = own(conn, berit)
    assert found.held.quantity == 300 and found.quote and "We change IPs" in found.refusal
    # Neither here nor by the function that we book by, and not by a person who claims another mode.
    for user in (berit, replace(berit, self_service=True)):
        with pytest.raises(NotAllowed, match="We change IPs and their distribution for you"):
            order(conn, user, 400)
        with pytest.raises(NotAllowed):
            bookings.book(
                conn, made.berta, made.company.ips, effective_on=TODAY, quantity=400, internal=400, external=0,
                today=TODAY, user=user,
            )  # fmt: skip
    ledgers.book(conn, made.company.people, made.berta, made.company.ips, 500, TODAY)
    bookings.book(
        conn, made.berta, made.company.ips, effective_on=AUGUST, quantity=10, internal=10, external=0, today=TODAY,
        user=made.sales,
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        self_service.take_back(conn, own(conn, berit).pending[0].id, today=TODAY, user=berit)


@pytest.mark.row("G2")
def test_of_another_customer_nothing_is_changed(conn: Connection, made: Portal, berit: PortalUser) -> None:
    olga = portals.user(conn, "olga")
    order(conn, berit, 50, effective_on=AUGUST)
    pending = own(conn, berit).pending[0].id
    before = conn.scalar(text("SELECT count(*) FROM bookings"))
    for booking_id in (pending, 0, 2**62):
        with pytest.raises(NotFound, match="This change does not exist"):
            self_service.take_back(conn, booking_id, today=TODAY, user=olga)
    with pytest.raises(NotFound):
        bookings.book(conn, made.berta, made.company.ips, effective_on=TODAY, quantity=1, today=TODAY, user=olga)
    assert conn.scalar(text("SELECT count(*) FROM bookings")) == before


@pytest.mark.row("G2")
def test_nothing_but_ips_is_changed(conn: Connection, made: Portal) -> None:
    olga = portals.user(conn, "olga")
    with pytest.raises(NotAllowed, match="Only IPs"):
        bookings.book(conn, made.ada, made.company.users, effective_on=TODAY, quantity=1, today=TODAY, user=olga)


STATES: dict[str, Callable[[Connection, Portal], Any]] = {
    "locked": lambda conn, made: customer_verbs.lock(conn, made.berta, user=made.sales),
    "deactivated": lambda conn, made: customer_verbs.deactivate(
        conn, made.berta, today=TODAY, reason="", user=made.company.admin
    ),
    "ended": lambda conn, made: customer_verbs.set_end_date(
        conn, made.berta, ends_on=date(2026, 7, 10), today=TODAY, user=made.sales
    ),
    "marked": lambda conn, made: deletions.mark(
        conn, made.berta, typed=deletions.WORD, today=TODAY, user=made.company.admin
    ),
}  # fmt: skip


@pytest.mark.row("G2")
@pytest.mark.parametrize("state", STATES)
def test_a_state_that_forbids_it_is_told(conn: Connection, made: Portal, berit: PortalUser, state: str) -> None:
    STATES[state](conn, made)
    assert own(conn, berit).refusal
    with pytest.raises(BillingError) as refusal:
        order(conn, berit, 400)
    assert str(refusal.value) == own(conn, berit).refusal
    assert own(conn, berit).held.quantity == 300


@pytest.mark.row("G2")
@pytest.mark.parametrize("day", [JUNE, date(2026, 7, 1), date(2026, 7, 17), date(2026, 9, 1)])
def test_only_today_or_the_next_month_and_never_a_closed_one(
    conn: Connection, made: Portal, berit: PortalUser, day: date
) -> None:
    with pytest.raises(Invalid) as refusal:
        order(conn, berit, 400, effective_on=day)
    assert refusal.value.field == "effective_on"


@pytest.mark.row("G2", "G8")
def test_a_cancellation_of_ours_is_not_taken_back_there(conn: Connection, made: Portal, berit: PortalUser) -> None:
    subscriptions.cancel(conn, made.berta, today=TODAY, user=made.sales)
    with pytest.raises(NotAllowed, match="We cancelled"):
        self_service.take_back(conn, own(conn, berit).pending[0].id, today=TODAY, user=berit)
    order(conn, berit, 10, effective_on=AUGUST)  # a count reactivates
    assert [one.quantity for one in own(conn, berit).pending] == [10]


@pytest.mark.row("G2", "G14")
def test_the_article_is_called_as_the_settings_say(conn: Connection, made: Portal, berit: PortalUser) -> None:
    version = settings.company(conn).version
    settings.edit_article(conn, name="Scans by yourself", number="S-200", version=version, user=made.company.admin)
    assert (own(conn, berit).name, own(conn, berit).article) == ("Scans by yourself", "S-200")


def test_without_terms_the_price_alone_is_confirmed(conn: Connection, made: Portal, berit: PortalUser) -> None:
    conn.execute(text("UPDATE company SET registration_terms = ''"))
    order(conn, berit, 310)
    logged = audit.entries(conn, customer_id=made.berta, object_type="booking")[0]
    assert "terms_sha256" not in logged[0].changes


@pytest.mark.row("G2")
def test_of_two_who_order_at_once_the_later_one_looks_again(database: str) -> None:
    with db.transaction() as conn:
        made = portals.filled(conn)
        conn.execute(text("UPDATE customers SET service_mode = 'self_service'"))
        portals.registered(conn, made.berta, "bodo", user=made.sales)
        people = [portals.user(conn, name) for name in ("berit", "bodo")]
        seen = own(conn, people[0]).seen

    def click(user: PortalUser) -> str:
        try:
            with db.transaction() as conn:
                order(conn, user, 300 + user.id, seen=seen)
        except Conflict as refusal:
            return str(refusal)
        return ""

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(click, people)) == ["", self_service.STALE]
