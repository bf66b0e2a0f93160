"""Payments by card given back from here: once, by whom it may be done, and recorded as Stripe says (row G16)."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from lib import audit, card_refunds, db
from lib.auth import Role
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.stripe_client import Refused, Unreachable
from tests import test_cards
from tests.beginnings import Begin
from tests.closes import Company
from tests.stripe_server import GOOD, Stripe
from tests.test_cards import GROSS, invoice, link, look, paid, work

pytestmark = pytest.mark.row("G16")


@pytest.fixture
def company(begin: Begin, fake: Stripe) -> Company:
    """Ada's invoice is paid by card."""
    made = begin(test_cards._issued)
    fake.type_card(link(made), GOOD)
    look()
    assert paid(made) == [(GROSS, "System")]
    return made


def refundable(company: Company) -> list[card_refunds.Refundable]:
    with db.transaction() as conn:
        return card_refunds.refundable(conn, invoice(company).id)


def ask(company: Company, amount: str, **more: Any) -> card_refunds.Refund:
    """The click, before Stripe is asked."""
    [one] = refundable(company)
    given: dict[str, Any] = {"reason": "Booked twice", "seen": one.received, "user": company.finance}
    with db.transaction() as conn:
        return card_refunds.refund(conn, one.id, amount=Decimal(amount), **(given | more))


def refunds(fake: Stripe) -> list[int]:
    """What Stripe gave back."""
    return [one["amount"] for one in fake.objects.values() if one["object"] == "refund"]


def test_a_part_and_then_the_rest_go_back(company: Company, fake: Stripe) -> None:
    card_refunds.carry_out(ask(company, "10"))
    work()
    assert paid(company)[1:] == [(-GROSS, "System"), (Decimal("43.55"), "System")]
    card_refunds.carry_out(ask(company, "43.55"))
    work()
    assert sum(amount for amount, _ in paid(company)) == 0
    assert (refunds(fake), invoice(company).state, refundable(company)) == ([1000, 4355], "issued", [])
    with db.transaction() as conn:
        entries = audit.entries(conn, object_type="invoice", object_id=invoice(company).id)[0]
    asked = [one for one in entries if one.action == "refund by card"]
    assert [one.person for one in asked] == ["Fiona", "Fiona"]
    assert asked[-1].changes == {"amount": [None, "10.00 EUR"], "reason": [None, "Booked twice"]}


def test_a_click_that_is_repeated_refunds_once(company: Company, fake: Stripe) -> None:
    key = uuid4()
    first = ask(company, "10", request_key=key)
    with pytest.raises(AlreadyDone):
        ask(company, "10", request_key=key)
    second = ask(company, "10", request_key=uuid4())  # a colleague at the same moment
    for one in (first, second, first):
        card_refunds.carry_out(one)
    work()
    assert refunds(fake) == [1000]
    assert sum(amount for amount, _ in paid(company)) == Decimal("43.55")


def test_another_amount_before_the_first_is_recorded_is_refused(company: Company, fake: Stripe) -> None:
    first, second = ask(company, "10"), ask(company, "20")
    card_refunds.carry_out(first)
    with pytest.raises(Refused):
        card_refunds.carry_out(second)
    work()
    assert refunds(fake) == [1000]
    with pytest.raises(Conflict, match="went back meanwhile"):
        ask(company, "20", seen=GROSS)


def test_an_answer_that_is_lost_and_a_stripe_that_is_down(company: Company, fake: Stripe) -> None:
    asked = ask(company, "10")
    fake.loses = 1
    with pytest.raises(Unreachable):
        card_refunds.carry_out(asked)
    card_refunds.carry_out(asked)
    work()
    assert (refunds(fake), refundable(company)[0].received) == ([1000], Decimal("43.55"))
    fake.down = True
    with pytest.raises(Unreachable):
        card_refunds.carry_out(ask(company, "5"))
    fake.down = False
    look()
    assert refundable(company)[0].received == Decimal("43.55")


@pytest.mark.parametrize(("amount", "reason", "field"), [
    ("53.56", "x", "amount"), ("0", "x", "amount"), ("1.001", "x", "amount"), ("1", " ", "reason")
])  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(company: Company, amount: str, reason: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        ask(company, amount, reason=reason)
    assert refusal.value.field == field


def test_who_may_not_and_what_cannot_be_refunded(company: Company, fake: Stripe) -> None:
    for role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed):
            ask(company, "1", user=company.people[role])
    with pytest.raises(NotFound), db.transaction() as conn:
        card_refunds.refund(conn, 0, amount=Decimal(1), reason="x", seen=GROSS, user=company.finance)
    [one] = refundable(company)
    fake.dispute(str(fake.events[-1]["data"]["object"]["payment_intent"]), 1000)
    look()
    assert refundable(company) == []
    with pytest.raises(Conflict, match="disputes this payment"), db.transaction() as conn:
        card_refunds.refund(conn, one.id, amount=Decimal(1), reason="x", seen=GROSS, user=company.finance)
