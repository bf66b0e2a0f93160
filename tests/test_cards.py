"""Cards by Stripe, against a small Stripe of ours: each payment counts once, whatever the network does (row G16)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    card_answers,
    cards,
    checks,
    customers,
    db,
    deletions,
    documents,
    erasures,
    invoices,
    mandates,
    overviews,
    payment_methods,
    payments,
    stripe_account,
    stripe_client,
    stripe_events,
    stripe_requests,
    vault,
)
from lib.auth import Role
from lib.errors import BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import closes, stripe_server
from tests.beginnings import Begin
from tests.closes import TODAY, Company
from tests.stripe_server import DECLINED, GOOD, NEEDS_ACTION, PUBLISHABLE, SECRET, SIGNING, Stripe, signed
from tests.test_documents import assert_says, text_of

GROSS = Decimal("53.55")
BACK = "http://127.0.0.1:8501"
IBAN = "DE89370400440532013000"
pytestmark = pytest.mark.row("G16")


@pytest.fixture
def company(begin: Begin, fake: Stripe) -> Company:
    """June is issued, and our keys are entered."""
    return begin(_issued)


def _issued(conn: Connection) -> Company:
    made = closes.issued(conn)
    enter(conn, made)
    return made


def enter(conn: Connection, company: Company, **more: Any) -> None:
    keys = {"secret_key": SECRET, "publishable_key": PUBLISHABLE, "webhook_secret": SIGNING}
    given: dict[str, Any] = keys | {"version": stripe_account.account(conn).version, "user": company.admin}
    stripe_account.edit(conn, **(given | more))


def invoice(company: Company) -> invoices.Invoice:
    with db.transaction() as conn:
        return invoices.invoices_of(conn, company.with_users)[0]


def paid(company: Company) -> list[tuple[Decimal, str]]:
    """What is recorded on Ada's invoice."""
    with db.transaction() as conn:
        found = payments.payments_of(conn, invoices.invoices_of(conn, company.with_users)[0].id)
        assert checks.findings(conn) == []
    return [(one.amount, one.recorded_by) for one in found]


def asked(company: Company) -> cards.Asked:
    with db.transaction() as conn:
        return cards.asked_for_invoice(conn, invoices.invoices_of(conn, company.with_users)[0].id)[0]


def do(ask: Callable[..., int], *args: Any, **more: Any) -> str:
    """A click: ask, then have it carried out. Returns why it isn't done."""
    with db.transaction() as conn:
        request_id = ask(conn, *args, **more)
    return card_answers.carry_out(request_id)


def link(company: Company) -> str:
    """A pay link for Ada's invoice; returns the id of Stripe's page."""
    assert do(cards.pay_link, invoice(company).id, return_to=BACK, user=company.finance) == ""
    return asked(company).url.rpartition("/")[2]


def save(company: Company, fake: Stripe, number: str = GOOD) -> None:
    """Ada saves a card."""
    assert do(cards.save_card, company.with_users, return_to=BACK, user=company.people[Role.SALES]) == ""
    with db.transaction() as conn:
        [one, *_] = cards.asked_for_customer(conn, company.with_users)
    fake.type_card(one.url.rpartition("/")[2], number)
    look()


def look() -> None:
    """The worker asks about everything, though nothing is due yet."""
    with db.transaction() as conn:
        conn.execute(text("UPDATE stripe_requests SET due_at = now() - interval '1 second' WHERE due_at IS NOT NULL"))
    while card_answers.ask_one():
        pass


def deliver(event: dict[str, Any], **more: Any) -> str:
    """The network delivers an event."""
    with db.transaction() as conn:
        return stripe_events.take(conn, *signed(event, **more))


def work() -> None:
    """The worker does what is due."""
    while card_answers.ask_one():
        pass


# ---------------------------------------------------------------------------------- the keys


def test_keys_are_sealed_and_never_shown(company: Company) -> None:
    with db.transaction() as conn:
        stored = conn.execute(text("SELECT secret_key, publishable_key, webhook_secret FROM stripe_account")).one()
        assert not any(b"_test_" in bytes(one) or b"whsec" in bytes(one) for one in stored)
        kept = stripe_account.account(conn)
        assert (kept.mode, kept.secret_key_ending, kept.webhook_secret_ending) == ("test", SECRET[-4:], SIGNING[-4:])
        logged = str(conn.execute(text("SELECT changes FROM audit_log WHERE object_type = 'stripe account'")).all())
        assert SECRET not in logged
        assert "set anew" in logged


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"secret_key": "pk_test_12345678"}, "secret_key", "begins with sk_test_ or sk_live_"),
        ({"publishable_key": stripe_server.LIVE_PUBLISHABLE}, "publishable_key", "one for|One key is for tests"),
        ({"secret_key": stripe_server.LIVE_SECRET}, "secret_key", "One key is for tests"),
        ({"webhook_secret": "hello"}, "webhook_secret", "begins with whsec_"),
        ({}, "secret_key", "Enter the keys"),
        (
            {"secret_key": stripe_server.LIVE_SECRET, "publishable_key": stripe_server.LIVE_PUBLISHABLE},
            "webhook_secret", "is that of test mode",
        ),
    ],
)  # fmt: skip
def test_test_and_live_keys_are_never_mixed(company: Company, given: dict[str, str], field: str, said: str) -> None:
    with db.transaction() as conn:
        version = stripe_account.account(conn).version
    with pytest.raises(Invalid, match=said) as refusal, db.transaction() as conn:
        stripe_account.edit(conn, version=version, user=company.admin, **given)
    assert refusal.value.field == field


def test_keys_stay_while_something_is_open(company: Company) -> None:
    link(company)
    with db.transaction() as conn:
        version = stripe_account.account(conn).version
        with pytest.raises(Conflict, match="1 request to Stripe is still open in test mode"):
            stripe_account.remove(conn, version=version, user=company.admin)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_only_admins_change_keys(company: Company, role: Role) -> None:
    user = company.people[role]
    with db.transaction() as conn:
        for write in (
            lambda: stripe_account.edit(conn, version=1, user=user),
            lambda: stripe_account.remove(conn, version=1, user=user),
            lambda: stripe_account.trial(conn, user=user),
        ):
            with pytest.raises(NotAllowed, match="change settings"):
                write()


def test_the_connection_is_tried_by_a_real_call(company: Company, fake: Stripe) -> None:
    with db.transaction() as conn:
        found = stripe_account.trial(conn, user=company.admin)
    assert stripe_account.try_out(found) == "Muster IT"
    assert fake.calls[-1][:2] == ("GET", "/v1/account")
    with pytest.raises(Conflict, match="doesn't know this secret key"):
        stripe_account.try_out("sk_test_somebodyelse")
    fake.down = True
    with pytest.raises(stripe_client.Unreachable, match="does not answer"):
        stripe_account.try_out(found)


def test_another_key_seals_them_anew(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    newer, older = vault.new_key(), os.environ[vault.VARIABLE]
    monkeypatch.setenv(vault.VARIABLE, f"{newer},{older}")
    with db.transaction() as conn:
        assert (stripe_account.reseal(conn), stripe_account.reseal(conn)) == (3, 0)
        monkeypatch.setenv(vault.VARIABLE, newer)
        assert stripe_account.secret(conn) == (SECRET, "test")


# ---------------------------------------------------------------------------------- pay links


def test_a_pay_link_is_paid_once_however_often_it_is_told(company: Company, fake: Stripe) -> None:
    page = link(company)
    assert fake.type_card(page, GOOD) == f"{BACK}/stripe/done"
    [succeeded, completed] = fake.events
    assert [deliver(completed), deliver(completed), deliver(completed)] == ["noted", "again", "again"]
    work()
    assert paid(company) == [(GROSS, "System")]
    assert invoice(company).state == "paid"
    # Late, in another order, by the worker itself: it stays one payment.
    deliver(succeeded)
    look()
    assert paid(company) == [(GROSS, "System")]
    with db.transaction() as conn:
        [entry, *_] = audit.entries(conn, object_type="invoice", object_id=invoice(company).id)[0]
        assert (entry.action, entry.person) == ("pay", "System")


def test_a_lost_webhook_loses_nothing(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    look()
    assert paid(company) == [(GROSS, "System")]
    assert asked(company).state == "done"


def test_a_declined_card_pays_nothing_and_another_one_does(company: Company, fake: Stripe) -> None:
    page = link(company)
    assert fake.type_card(page, DECLINED) == "Your card was declined."
    look()
    assert (paid(company), asked(company).state) == ([], "open")
    fake.type_card(page, GOOD)
    look()
    assert paid(company) == [(GROSS, "System")]


def test_a_refund_reverses_in_full_or_in_part(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    look()
    name = fake.events[-1]["data"]["object"]["payment_intent"]
    fake.refund(name, 1000)
    assert deliver(fake.events[-1]) == "noted"
    work()
    assert paid(company) == [(GROSS, "System"), (-GROSS, "System"), (Decimal("43.55"), "System")]
    assert invoice(company).state == "partly_paid"
    fake.refund(name)
    look()  # this time the webhook is lost
    assert sum(amount for amount, _ in paid(company)) == 0
    assert invoice(company).state == "issued"


def pay(company: Company, fake: Stripe) -> str:
    """Ada's invoice is paid by its link; returns Stripe's name of the payment."""
    fake.type_card(link(company), GOOD)
    look()
    assert paid(company) == [(GROSS, "System")]
    return str(fake.events[-1]["data"]["object"]["payment_intent"])


def noticed(company: Company) -> dict[str, int]:
    """What finance is told to look at; sales is not told of disputes."""
    with db.transaction() as conn:
        sales = overviews.attention(conn, today=TODAY, user=company.people[Role.SALES])
        assert "disputes" not in {one.name for one in sales}
        return {one.name: one.count for one in overviews.attention(conn, today=TODAY, user=company.finance)}


def test_a_dispute_opens_the_invoice_and_one_that_is_won_pays_it_again(company: Company, fake: Stripe) -> None:
    dispute = fake.dispute(pay(company, fake))
    assert [deliver(fake.events[-1]), deliver(fake.events[-1])] == ["noted", "again"]
    work()
    assert paid(company) == [(GROSS, "System"), (-GROSS, "System")]
    assert invoice(company).state == "issued"
    assert asked(company).note.startswith("Disputed by the cardholder: Stripe took 53.55 EUR back.")
    with db.transaction() as conn:
        reversal = payments.payments_of(conn, invoice(company).id)[1]
    assert reversal.reason == "Disputed by the cardholder: 53.55 EUR taken back by Stripe"
    assert reversal.paid_on == TODAY
    assert noticed(company)["disputes"] == 1
    look()
    assert len(paid(company)) == 2
    fake.decide(dispute, "won")
    deliver(fake.events[-1])
    work()
    assert paid(company)[2:] == [(GROSS, "System")]
    assert (invoice(company).state, asked(company).note) == ("paid", "")
    assert "disputes" not in noticed(company)


def test_a_lost_dispute_stays_open_also_where_no_webhook_comes(company: Company, fake: Stripe) -> None:
    dispute = fake.dispute(pay(company, fake), 1000)
    look()
    assert paid(company)[1:] == [(-GROSS, "System"), (Decimal("43.55"), "System")]
    assert invoice(company).state == "partly_paid"
    with db.transaction() as conn:  # while it is undecided, Stripe is asked every day
        assert conn.scalar(text("SELECT due_at < now() + interval '25 hours' FROM stripe_requests WHERE note <> ''"))
    fake.decide(dispute, "lost")
    look()
    assert len(paid(company)) == 3
    assert asked(company).note.startswith("The dispute was lost: 10.00 EUR went back to the cardholder.")
    assert "disputes" not in noticed(company)
    with db.transaction() as conn:
        assert [one.id for one in cards.to_look_at(conn)] == [asked(company).id]


def test_disputes_told_in_any_order_end_as_stripe_says(company: Company, fake: Stripe) -> None:
    """The end before the beginning, an inquiry that takes nothing, and a refund beside."""
    name = pay(company, fake)
    fake.dispute(name, status="warning_needs_response")
    look()
    assert paid(company) == [(GROSS, "System")]
    dispute = fake.dispute(name, 2000)
    fake.refund(name, 1000)
    fake.decide(dispute, "won")
    for event in reversed(fake.events):
        deliver(event)
        work()
    assert sum(amount for amount, _ in paid(company)) == Decimal("43.55")
    assert asked(company).note == ""


def test_what_was_paid_meanwhile_is_too_much_once_the_dispute_is_won(company: Company, fake: Stripe) -> None:
    dispute = fake.dispute(pay(company, fake))
    look()
    with db.transaction() as conn:
        payments.settle(
            conn, [invoice(company).id], paid_on=TODAY, method="bank_transfer", today=TODAY, user=company.finance
        )
    fake.decide(dispute, "won")
    look()
    assert asked(company).note == "53.55 EUR more came in than was open. Refund it at Stripe."
    assert sum(amount for amount, _ in paid(company)) == GROSS


def test_events_out_of_order_are_harmless(company: Company, fake: Stripe) -> None:
    """The refund is told before the payment, and the payment last of all."""
    page = link(company)
    fake.type_card(page, GOOD)
    fake.refund(fake.events[0]["data"]["object"]["id"])
    for event in reversed(fake.events):
        deliver(event)
        work()
    assert sum(amount for amount, _ in paid(company)) == 0
    assert invoice(company).state == "issued"


def test_what_was_paid_otherwise_closes_the_page(company: Company, fake: Stripe) -> None:
    page = link(company)
    with db.transaction() as conn:
        payments.settle(
            conn, [invoice(company).id], paid_on=TODAY, method="bank_transfer", today=TODAY, user=company.finance
        )
    look()
    assert fake.objects[page]["status"] == "expired"
    assert asked(company).state == "expired"


def test_what_came_in_twice_is_said(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    with db.transaction() as conn:
        payments.record(
            conn, invoice(company).id, amount=Decimal(50), paid_on=TODAY, method="bank_transfer", today=TODAY,
            user=company.finance,
        )  # fmt: skip
    look()
    assert paid(company) == [(Decimal(50), "Fiona"), (Decimal("3.55"), "System")]
    assert asked(company).note == "50.00 EUR more came in than was open. Refund it at Stripe."
    with db.transaction() as conn:
        assert [one.id for one in cards.to_look_at(conn)] == [asked(company).id]


def test_one_link_at_a_time_also_of_two_at_once(company: Company, fake: Stripe) -> None:
    number = invoice(company).id

    def attempt(_: int) -> str:
        try:
            return do(cards.pay_link, number, return_to=BACK, user=company.finance)
        except BillingError as refusal:
            return str(refusal)

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(attempt, range(2)))
    assert said[0] == ""
    assert "under way for this invoice" in said[1]
    assert sum(one["object"] == "checkout.session" for one in fake.objects.values()) == 1


def test_an_expired_link_can_be_made_anew(company: Company, fake: Stripe) -> None:
    fake.let_expire(link(company))
    look()
    assert asked(company).state == "expired"
    fake.type_card(link(company), GOOD)
    look()
    assert paid(company) == [(GROSS, "System")]


# ---------------------------------------------------------------------------------- saved cards


def test_a_card_is_saved_and_charged(company: Company, fake: Stripe) -> None:
    save(company, fake)
    with db.transaction() as conn:
        card = cards.saved_card(conn, company.with_users)
        assert card is not None
        assert (card.brand, card.ending, card.expires) == ("visa", "4242", "04/2031")
    assert do(cards.charge, invoice(company).id, user=company.finance) == ""
    assert paid(company) == [(GROSS, "System")]
    look()
    assert paid(company) == [(GROSS, "System")]
    with db.transaction() as conn:
        everything = str(
            [conn.execute(text(f"SELECT * FROM {one}")).all() for one in ("stripe_cards", "stripe_requests")]
        )
    assert GOOD not in everything
    with pytest.raises(Conflict, match="Nothing is open"):
        do(cards.charge, invoice(company).id, user=company.finance)


@pytest.mark.parametrize(
    ("number", "said"), [(DECLINED, "The card was declined"), (NEEDS_ACTION, "wants the customer to confirm")]
)
def test_a_charge_that_fails_says_why_and_a_link_is_possible(
    company: Company, fake: Stripe, number: str, said: str
) -> None:
    save(company, fake, number)
    assert said in do(cards.charge, invoice(company).id, user=company.finance)
    for event in fake.events:
        deliver(event)
    work()
    assert (paid(company), asked(company).state) == ([], "failed")
    fake.type_card(link(company), NEEDS_ACTION)
    look()
    assert paid(company) == [(GROSS, "System")]


def test_an_answer_that_is_lost_charges_once(company: Company, fake: Stripe) -> None:
    save(company, fake)
    fake.loses = 1
    assert "does not answer" in do(cards.charge, invoice(company).id, user=company.finance)
    look()
    assert paid(company) == [(GROSS, "System")]
    assert sum(one["object"] == "charge" for one in fake.objects.values()) == 1


def test_stripe_down_is_said_and_done_later(company: Company, fake: Stripe) -> None:
    fake.down = True
    said = do(cards.pay_link, invoice(company).id, return_to=BACK, user=company.finance)
    assert said == "Stripe does not answer at the moment. Nothing is lost: it is asked again."
    look_once = card_answers.ask_one()
    assert not look_once  # not due yet
    fake.down = False
    look()
    assert asked(company).state == "open"
    assert asked(company).last_error == ""


def test_what_stripe_may_have_forgotten_is_not_asked_again(company: Company, fake: Stripe) -> None:
    """After a day the same key would charge a second time."""
    save(company, fake)
    fake.loses = 1
    do(cards.charge, invoice(company).id, user=company.finance)
    with db.transaction() as conn:
        conn.execute(text("UPDATE stripe_requests SET recorded_at = now() - interval '21 hours'"))
    fake.answered.clear()
    look()
    assert (asked(company).state, paid(company)) == ("failed", [])
    assert "Look in its dashboard whether it was done" in asked(company).note
    assert sum(one["object"] == "charge" for one in fake.objects.values()) == 1


def test_every_create_carries_a_key(company: Company, fake: Stripe) -> None:
    save(company, fake)
    do(cards.charge, invoice(company).id, user=company.finance)
    creates = [(path, key) for method, path, key in fake.calls if method == "POST" and path.count("/") < 5]
    assert {path for path, _ in creates} == {"/v1/customers", "/v1/checkout/sessions", "/v1/payment_intents"}
    assert all(key for _, key in creates)


def test_a_card_is_removed_here_and_there(company: Company, fake: Stripe) -> None:
    save(company, fake)
    with db.transaction() as conn:
        secret, method = cards.removable(conn, company.with_users, user=company.admin)
    stripe_client.detach(secret, method)
    with db.transaction() as conn:
        cards.remove_card(conn, company.with_users, user=company.admin)
        assert cards.saved_card(conn, company.with_users) is None
    assert fake.objects[method]["customer"] is None
    with pytest.raises(NotFound, match="no saved card"), db.transaction() as conn:
        cards.remove_card(conn, company.with_users, user=company.admin)
    with pytest.raises(NotFound, match="no saved card"):
        do(cards.charge, invoice(company).id, user=company.finance)


def test_an_invoice_says_that_the_saved_card_is_charged(company: Company, fake: Stripe) -> None:
    """Where none is saved it asks for a transfer, as what was issued before does for ever."""
    save(company, fake)
    with db.transaction() as conn:
        for customer_id in (company.with_users, company.with_ips):
            version = customers.customer(conn, customer_id).version
            by_card = {"payment_method": "card"}
            customers.edit(conn, customer_id, version=version, changes=by_card, today=TODAY, user=company.admin)
        closes.approve(conn, company, closes.JULY, today=closes.AUGUST)
        closes.issue(conn, company, closes.JULY, today=closes.AUGUST)
        saved, without = (
            documents.pdf(conn, max(one.id for one in invoices.invoices_of(conn, customer_id)))[1]
            for customer_id in (company.with_users, company.with_ips)
        )
        before = documents.pdf(conn, min(one.id for one in invoices.invoices_of(conn, company.with_users)))[1]
    assert_says(saved, "53,55 EUR buchen wir von Ihrer hinterlegten Kreditkarte ab: Visa … 4242.")
    assert "Bitte überweisen" not in text_of(saved)
    for other in (without, before):
        assert_says(other, "Bitte überweisen Sie den Gesamtbetrag von")


def test_who_may_what(company: Company) -> None:
    number = invoice(company).id
    for role in (Role.VIEWER, Role.SALES):
        for ask, more in ((cards.pay_link, {"return_to": BACK}), (cards.charge, {})):
            with pytest.raises(NotAllowed, match="record and reverse payments"):
                do(ask, number, user=company.people[role], **more)
    with pytest.raises(NotAllowed, match="edit customers"):
        do(cards.save_card, company.with_users, return_to=BACK, user=company.people[Role.VIEWER])
    for ask, missing in ((cards.pay_link, 0), (cards.save_card, 0)):
        with pytest.raises(NotFound):
            do(ask, missing, return_to=BACK, user=company.admin)


def test_without_keys_or_with_an_inactive_method_nothing_is_asked(company: Company, fake: Stripe) -> None:
    with db.transaction() as conn:
        payment_methods.deactivate(conn, "card", user=company.finance)
    with pytest.raises(Invalid, match="not offered any more"):
        do(cards.pay_link, invoice(company).id, return_to=BACK, user=company.finance)
    with db.transaction() as conn:
        payment_methods.activate(conn, "card", user=company.finance)
        stripe_account.remove(conn, version=stripe_account.account(conn).version, user=company.admin)
    with pytest.raises(Conflict, match="not set up yet"):
        do(cards.pay_link, invoice(company).id, return_to=BACK, user=company.finance)
    assert fake.calls == []


def test_a_draft_is_not_paid(company: Company) -> None:
    with db.transaction() as conn:
        closes.approve(conn, company, closes.JULY, today=date(2026, 8, 3))
        draft = next(one for one in invoices.invoices_of(conn, company.with_users) if one.number is None)
    with pytest.raises(Conflict, match="Nothing is open on a draft"):
        do(cards.pay_link, draft.id, return_to=BACK, user=company.finance)


def test_erasure_takes_the_card_here_and_at_stripe(company: Company, fake: Stripe) -> None:
    save(company, fake)
    with db.transaction() as conn:
        waiting = cards.save_card(conn, company.with_users, return_to=BACK, user=company.people[Role.SALES])
        payments.settle(
            conn, [invoice(company).id], paid_on=TODAY, method="bank_transfer", today=TODAY, user=company.finance
        )
        deletions.mark(conn, company.with_users, today=TODAY, user=company.admin)
        conn.execute(text("UPDATE deletions SET due_at = now()"))
        deletions.erase_next(conn)
        deletion_id = conn.execute(text("SELECT id FROM deletions")).scalar_one()
        if customers.customer(conn, company.with_users).settled_at is None:
            erasures.settle(conn, deletion_id, company.with_users)
        assert conn.scalar(text("SELECT count(*) FROM stripe_cards")) == 0
        # Nobody asks for what was not asked for yet, and no address leads anywhere.
        found = conn.execute(text("SELECT id, state, due_at FROM stripe_requests WHERE kind <> 'erasure' ORDER BY id"))
        assert [row.state for row in found if row.due_at is None and row.id == waiting] == ["failed"]
        assert conn.scalar(text("SELECT count(*) FROM stripe_requests WHERE url <> '' OR return_to <> ''")) == 0
    assert any(name.startswith("cus_") for name in fake.objects)
    work()
    assert not any(name.startswith("cus_") for name in fake.objects)
    with pytest.raises(Conflict, match="Nothing is open"):
        do(cards.pay_link, invoice(company).id, return_to=BACK, user=company.finance)


def test_what_collected_a_payment_is_handed_on_with_it(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    look()
    with db.transaction() as conn:
        request = "SELECT invoice_id, payment_id, note FROM stripe_requests"
        [(on, payment, _)] = conn.execute(text(request)).all()
        other = invoices.invoices_of(conn, company.with_ips)[0].id
        new = payments.record(
            conn, other, amount=Decimal(1), paid_on=TODAY, method="card", today=TODAY, user=company.finance
        )
        stripe_requests.hand_on(conn, payment, note="Refund 2.00 of it.")
        assert conn.execute(text(request)).all() == [(on, payment, "Refund 2.00 of it.")]
        stripe_requests.hand_on(conn, payment, note="", invoice_id=other, payment_id=new)
        assert conn.execute(text(request)).all() == [(other, new, "Refund 2.00 of it.")]


# ---------------------------------------------------------------------------------- the webhook


def test_forged_old_and_broken_events_are_refused(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    event = fake.events[-1]
    for more in ({"secret": "whsec_guessed00000"}, {"at": int(time.time()) - 3600}):
        with pytest.raises(Invalid, match="signature"):
            deliver(event, **more)
    body, header = signed(event)
    with pytest.raises(Invalid, match="signature"), db.transaction() as conn:
        stripe_events.take(conn, body.replace(b"completed", b"expired"), header)
    with pytest.raises(Invalid), db.transaction() as conn:
        stripe_events.take(conn, *signed({"hello": "you"}))
    with db.transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM stripe_events")) == 0
    assert paid(company) == []


def test_unknown_events_are_kept_and_ignored(company: Company, fake: Stripe) -> None:
    assert deliver(fake.tell("customer.created", {"id": "cus_unknown", "object": "customer"})) == "ignored"
    live = fake.tell("payment_intent.succeeded", {"id": "pi_x", "object": "payment_intent"}) | {"livemode": True}
    assert deliver(live) == "other mode"
    with db.transaction() as conn:
        kept = conn.execute(text("SELECT type, mode, outcome FROM stripe_events ORDER BY received_at")).all()
    assert [tuple(one) for one in kept] == [
        ("customer.created", "test", "ignored"), ("payment_intent.succeeded", "live", "other mode")
    ]  # fmt: skip


def test_one_event_twice_at_once_is_used_once(company: Company, fake: Stripe) -> None:
    fake.type_card(link(company), GOOD)
    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(lambda _: deliver(fake.events[-1]), range(4)))
    assert said == ["again", "again", "again", "noted"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: work(), range(3)))
    assert paid(company) == [(GROSS, "System")]


def test_no_secret_stands_in_the_clear_anywhere(company: Company, fake: Stripe) -> None:
    """A backup holds the same bytes as the tables."""
    save(company, fake)
    with db.transaction() as conn:
        mandates.add(
            conn, company.with_users, holder="Ada", iban=IBAN, signed_on=TODAY, today=TODAY, user=company.admin
        )
        names = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).all()
        for name in names:
            rows = "\n".join(conn.scalars(text(f'SELECT t::text FROM "{name}" t')))
            for clear in (SECRET, PUBLISHABLE, SIGNING, IBAN, GOOD):
                assert clear not in rows, name
                assert clear.encode().hex() not in rows, name
