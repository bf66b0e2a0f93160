"""Own invoices are paid by card in the portal: as its own role asks, by the page that the worker makes (G16)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from lib import (
    audit,
    card_answers,
    cards,
    checks,
    db,
    debit_candidates,
    invoices,
    payment_methods,
    payments,
    portal_payments,
    stripe_account,
)
from lib.auth import PortalUser
from lib.errors import Conflict, Invalid, NotFound
from tests import portal_roles, portals, test_cards, test_debits
from tests.portal_roles import acting
from tests.portals import Portal
from tests.stripe_server import DECLINED, GOOD, Stripe
from tests.test_cards import deliver, look, work

GROSS = Decimal("53.55")
ADDRESS = "https://portal.m.example"
pytestmark = pytest.mark.row("G16")


@pytest.fixture
def made(database: str, fake: Stripe) -> Portal:
    """Ada's and Berta's June is issued, our keys are entered, the portal has its role."""
    with db.transaction() as conn:
        found = portals.filled(conn)
        test_cards.enter(conn, found.company)
        conn.execute(text("UPDATE company SET portal_url = :url"), {"url": ADDRESS})
    portal_roles.give()
    return found


@pytest.fixture
def role(database: str, made: Portal) -> Iterator[str]:
    with portal_roles.address(database) as url:
        yield url


@pytest.fixture
def olga(made: Portal) -> PortalUser:
    with db.transaction() as conn:
        return portals.user(conn)


def ask(role: str, user: PortalUser, invoice_id: int) -> int:
    """A click on *Pay by card*."""
    with acting(role, user) as conn:
        return cards.pay_link_of_customer(conn, invoice_id, user=user)


def shown(role: str, user: PortalUser, invoice_id: int) -> portal_payments.Payable | None:
    with acting(role, user) as conn:
        return portal_payments.payable(conn, [invoice_id], user=user).get(invoice_id)


def returned(role: str, user: PortalUser, invoice_id: int) -> str:
    with acting(role, user) as conn:
        found = portal_payments.came_back(conn, invoice_id, user=user)
        return found.state if found else ""


def paid(invoice_id: int) -> list[Decimal]:
    with db.transaction() as conn:
        assert checks.findings(conn) == []
        return [one.amount for one in payments.payments_of(conn, invoice_id)]


def page_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_an_own_invoice_is_paid_and_said_so_once_it_is_recorded(
    role: str, made: Portal, olga: PortalUser, fake: Stripe
) -> None:
    mine = made.invoices["ada"]
    before = shown(role, olga, mine)
    assert before == portal_payments.Payable(GROSS, "offered", "")
    request_id = ask(role, olga, mine)
    making = shown(role, olga, mine)
    assert making is not None and (making.state, making.url, fake.calls) == ("making", "", [])
    work()
    ready = shown(role, olga, mine)
    assert ready is not None and (ready.state, ready.open) == ("open", GROSS)
    # Again is the same page.
    assert ask(role, olga, mine) == request_id
    assert fake.type_card(page_of(ready.url), DECLINED) == "Your card was declined."
    assert fake.type_card(page_of(ready.url), GOOD) == f"{ADDRESS}/stripe/done?invoice={mine}"
    assert returned(role, olga, mine) == "waiting"
    with acting(role, olga) as conn:
        cards.look_now(conn, user=olga)
    work()  # no webhook came
    assert (returned(role, olga, mine), shown(role, olga, mine), paid(mine)) == ("paid", None, [GROSS])
    deliver(fake.events[-1])
    work()
    assert paid(mine) == [GROSS]
    with pytest.raises(Conflict, match="Nothing is open"):
        ask(role, olga, mine)
    with db.transaction() as conn:
        actions = {one.action: one.person for one in audit.entries(conn, object_type="invoice", object_id=mine)[0]}
        assert actions["pay link"] == "olga@ada.example"
        assert cards.asked_for_invoice(conn, mine)[0].recorded_by == "Customer"


def test_two_clicks_at_once_make_one_page(role: str, made: Portal, olga: PortalUser, fake: Stripe) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = set(pool.map(lambda _: ask(role, olga, made.invoices["ada"]), range(2)))
    work()
    assert len(asked) == 1
    assert sum(one["object"] == "checkout.session" for one in fake.objects.values()) == 1


def test_what_belongs_to_another_is_not_there(role: str, made: Portal, olga: PortalUser) -> None:
    theirs = made.invoices["berta"]
    with pytest.raises(NotFound, match="does not exist"):
        ask(role, olga, theirs)
    with pytest.raises(NotFound, match="does not exist"), db.transaction() as conn:  # as the owner, by lib alone
        cards.pay_link_of_customer(conn, theirs, user=olga)
    with db.transaction() as conn:
        cards.pay_link(conn, theirs, return_to=ADDRESS, user=made.company.finance)
    assert (shown(role, olga, theirs), returned(role, olga, theirs)) == (None, "")
    forged = "INSERT INTO stripe_requests (kind, mode, customer_id, invoice_id, amount) VALUES "
    for values in (f"('payment', 'test', {made.ada}, {theirs}, 1)", f"('setup', 'test', {made.ada}, NULL, NULL)"):
        with pytest.raises(ProgrammingError, match="row-level security"), acting(role, olga) as conn:
            conn.execute(text(forged + values))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT secret_key FROM stripe_account",
        "SELECT secret_key_ending FROM stripe_account",
        "SELECT stripe_customer FROM stripe_cards",
        "SELECT reference FROM stripe_requests",
        "SELECT iban FROM mandates",
        "SELECT content FROM debit_runs",
        "SELECT reference FROM payments",
        "UPDATE stripe_requests SET amount = 1",
        "UPDATE invoices SET gross = 1",
        "DELETE FROM stripe_requests",
    ],
)
def test_nothing_secret_is_readable_nor_changed(role: str, made: Portal, olga: PortalUser, query: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), acting(role, olga) as conn:
        conn.execute(text(query))


def test_an_amount_that_somebody_forged_makes_no_page(role: str, made: Portal, olga: PortalUser, fake: Stripe) -> None:
    mine = made.invoices["ada"]
    with acting(role, olga) as conn:
        conn.execute(
            text("""INSERT INTO stripe_requests (kind, mode, customer_id, invoice_id, amount, currency)
                    VALUES ('payment', 'test', :customer, :invoice, 0.01, 'EUR')"""),
            {"customer": made.ada, "invoice": mine},
        )
        with pytest.raises(ProgrammingError, match="row-level security"), conn.begin_nested():
            conn.execute(text("UPDATE invoices SET version = 9"))
    work()
    assert (fake.calls, returned(role, olga, mine)) == ([], "failed")
    assert shown(role, olga, mine) == portal_payments.Payable(GROSS, "offered", "")


def test_what_was_paid_otherwise_or_is_collected_is_not_paid_by_card(
    role: str, made: Portal, olga: PortalUser, fake: Stripe
) -> None:
    mine, finance = made.invoices["ada"], made.company.finance
    ask(role, olga, mine)
    with db.transaction() as own:
        payments.record(
            own, mine, amount=Decimal("3.55"), paid_on=date(2026, 7, 3), method="cash", today=date(2026, 7, 3),
            user=finance,
        )  # fmt: skip
    work()  # what was asked for is not what is open any more
    assert (fake.calls, returned(role, olga, mine)) == ([], "failed")
    found = shown(role, olga, mine)
    assert found is not None and (found.open, found.state) == (Decimal("50.00"), "offered")
    with db.transaction() as own:
        payments.settle(own, [mine], paid_on=date(2026, 7, 3), method="cash", today=date(2026, 7, 3), user=finance)
    with pytest.raises(Conflict, match="Nothing is open"):
        ask(role, olga, mine)
    assert shown(role, olga, mine) is None


def test_without_method_or_keys_nothing_is_offered(role: str, made: Portal, olga: PortalUser) -> None:
    mine = made.invoices["ada"]
    with db.transaction() as conn:
        payment_methods.deactivate(conn, "card", user=made.company.finance)
    assert shown(role, olga, mine) == portal_payments.Payable(GROSS, "", "")
    with pytest.raises(Invalid, match="not offered any more"):
        ask(role, olga, mine)
    with db.transaction() as conn:
        payment_methods.activate(conn, "card", user=made.company.finance)
        stripe_account.remove(conn, version=stripe_account.account(conn).version, user=made.company.admin)
    assert shown(role, olga, mine) == portal_payments.Payable(GROSS, "", "")
    with pytest.raises(Conflict, match="not possible at the moment"):
        ask(role, olga, mine)


def test_stripe_down_says_that_it_takes_longer_and_goes_on_later(
    role: str, made: Portal, olga: PortalUser, fake: Stripe
) -> None:
    mine = made.invoices["ada"]
    fake.down = True
    ask(role, olga, mine)
    work()
    with db.transaction() as conn:
        conn.execute(text("UPDATE stripe_requests SET recorded_at = recorded_at - interval '30 seconds'"))
    found = shown(role, olga, mine)
    assert found is not None and found.state == "slow"
    fake.down = False
    look()
    found = shown(role, olga, mine)
    assert found is not None and found.state == "open"


def test_a_page_that_expired_is_made_anew(role: str, made: Portal, olga: PortalUser, fake: Stripe) -> None:
    mine = made.invoices["ada"]
    for _ in range(2):
        ask(role, olga, mine)
        work()
        found = shown(role, olga, mine)
        assert found is not None and found.state == "open"
        fake.let_expire(page_of(found.url))
        look()
        assert returned(role, olga, mine) == "failed"


def test_a_file_for_the_bank_and_a_card_never_collect_the_same(database: str, fake: Stripe) -> None:
    """While either is under way, the other is refused."""
    with db.transaction() as conn:
        company = test_debits.BEGINS_WITH(conn)
        test_cards.enter(conn, company)
        test_debits.prepare(conn, company)
        mine = invoices.invoices_of(conn, company.with_users)[0].id
        run_id = test_debits.make(conn, company)
        with pytest.raises(Conflict, match="is being collected by direct debit"):
            cards.pay_link(conn, mine, return_to=ADDRESS, user=company.finance)
        test_debits.debits.withdraw(conn, run_id, user=company.finance)
        cards.pay_link(conn, mine, return_to=ADDRESS, user=company.finance)
        [one] = debit_candidates.candidates(conn, test_debits.JUNE, collect_on=test_debits.COLLECT)
        assert "A payment by card is under way" in one.why
    assert card_answers.ask_one() is False  # a click has just asked
