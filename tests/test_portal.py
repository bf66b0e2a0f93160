"""What a customer's user sees and changes: their own, and nothing of anybody else's whatever id they try."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import (
    customer_users,
    customer_verbs,
    customers,
    drafts,
    invites,
    links,
    portal,
    portal_passwords,
    portal_sessions,
    settings,
)
from lib.auth import PortalUser
from lib.errors import BillingError, Conflict, Invalid, NotAllowed, NotFound
from tests import closes, portals
from tests.portals import PASSWORD, Portal

TODAY = date(2026, 7, 3)
NEW = "three-otters-upstream"


BEGINS_WITH = portals.filled


@pytest.fixture
def made(begun: Portal) -> Portal:
    return begun


@pytest.fixture
def olga(conn: Connection, made: Portal) -> PortalUser:
    return portals.user(conn)


@pytest.fixture
def piet(conn: Connection, made: Portal) -> PortalUser:
    return portals.user(conn, "piet")


@pytest.fixture
def berit(conn: Connection, made: Portal) -> PortalUser:
    return portals.user(conn, "berit")


# ---------------------------------------------------------------------------------- reading


def test_everything_read_is_the_own_customers(conn: Connection, made: Portal, olga: PortalUser) -> None:
    assert portal.company(conn, user=olga).name == "Ada GmbH"
    assert {person.id for person in portal.team(conn, user=olga)} == {made.people["olga"], made.people["piet"]}
    [booked] = portal.subscription(conn, user=olga, today=TODAY)
    assert (booked.kind, booked.quantity, booked.individual) == ("users", 10, False)
    assert [document.id for document in portal.own_documents(conn, user=olga)] == [made.invoices["ada"]]


def test_the_subscription_is_told_in_the_customers_language(conn: Connection, made: Portal, olga: PortalUser) -> None:
    assert portal.subscription(conn, user=olga, today=TODAY)[0].name == "users (de)"
    conn.execute(text("UPDATE customers SET language = 'en' WHERE id = :id"), {"id": made.ada})
    assert portal.subscription(conn, user=olga, today=TODAY)[0].name == "Users"


@pytest.mark.row("G14")
def test_in_self_service_ips_have_the_articles_name_and_number(
    conn: Connection, made: Portal, berit: PortalUser
) -> None:
    version = settings.company(conn).version
    settings.edit_article(conn, name="Scans by yourself", number="S-200", version=version, user=made.company.admin)
    [managed] = portal.subscription(conn, user=berit, today=TODAY)
    [own] = portal.subscription(conn, user=replace(berit, self_service=True), today=TODAY)
    assert (managed.name, managed.article) == ("ips (de)", "")
    assert (own.name, own.article) == ("Scans by yourself", "S-200")


def test_a_pdf_is_the_owners_alone(conn: Connection, made: Portal, olga: PortalUser, berit: PortalUser) -> None:
    name, content = portal.pdf(conn, made.invoices["ada"], user=olga)
    assert name == "RE-2026-00001.pdf" and content.startswith(b"%PDF")
    for invoice_id in (made.invoices["ada"], 0, 4_711, 2**63 - 1):
        with pytest.raises(NotFound, match="This document does not exist"):
            portal.pdf(conn, invoice_id, user=berit)


def test_a_draft_is_nobodys_business(conn: Connection, made: Portal, olga: PortalUser) -> None:
    draft = drafts.create(
        conn, made.ada, service_from=TODAY, service_until=TODAY, lines=[closes.line("5")], user=made.company.finance
    )
    with pytest.raises(NotFound):
        portal.pdf(conn, draft, user=olga)
    assert draft not in [document.id for document in portal.own_documents(conn, user=olga)]


# ---------------------------------------------------------------------------------- another customer's ids


def deactivated(conn: Connection, user_id: int, user: PortalUser) -> None:
    customer_users.deactivate(conn, user_id, version=customer_users.customer_user(conn, user_id).version, user=user)


OF_ANOTHER: dict[str, Callable[[Connection, int, int, PortalUser], Any]] = {
    "invite": lambda conn, customer_id, _, user: invites.invite(conn, customer_id, email="new@ada.example", user=user),
    "resend": lambda conn, _, user_id, user: invites.resend(conn, user_id, user=user),
    "deactivate": lambda conn, _, user_id, user: deactivated(conn, user_id, user),
    "activate": lambda conn, _, user_id, user: customer_users.activate(conn, user_id, version=1, user=user),
}


@pytest.mark.parametrize("name", OF_ANOTHER)
def test_of_another_customer_nothing_can_be_changed(
    conn: Connection, made: Portal, olga: PortalUser, name: str
) -> None:
    before = conn.execute(text("SELECT id, version FROM customer_users ORDER BY id")).all()
    with pytest.raises(NotFound, match="This user does not exist"):
        OF_ANOTHER[name](conn, made.berta, made.people["berit"], olga)
    assert conn.execute(text("SELECT id, version FROM customer_users ORDER BY id")).all() == before


@pytest.mark.parametrize("user_id", [0, 4_711, 2**63 - 1])
def test_what_is_not_there_is_told_in_the_same_words(
    conn: Connection, made: Portal, olga: PortalUser, user_id: int
) -> None:
    with pytest.raises(NotFound, match="This user does not exist"):
        invites.resend(conn, user_id, user=olga)


# ---------------------------------------------------------------------------------- the team


@pytest.mark.row("G5")
def test_everybody_of_the_team_invites(conn: Connection, made: Portal, olga: PortalUser, piet: PortalUser) -> None:
    for user, email in ((olga, "rosa@ada.example"), (piet, "timo@ada.example")):
        new = invites.invite(conn, made.ada, email=email, user=user)
        assert not customer_users.customer_user(conn, new).is_main
        assert invites.accept(conn, portals.link(conn, new, "invite"), PASSWORD) == new
    assert len(portal.team(conn, user=olga)) == 4
    who = "SELECT staff_id, customer_user_id FROM audit_log WHERE action = 'invite' ORDER BY id DESC LIMIT 1"
    assert tuple(conn.execute(text(who)).one()) == (None, made.people["piet"])


@pytest.mark.row("G5")
def test_a_colleague_is_deactivated_and_activated(conn: Connection, made: Portal, olga: PortalUser) -> None:
    token = portals.sign_in(conn, "piet")
    deactivated(conn, made.people["piet"], olga)
    assert portal_sessions.user_of(conn, token) is None
    version = customer_users.customer_user(conn, made.people["piet"]).version
    customer_users.activate(conn, made.people["piet"], version=version, user=olga)
    assert portals.sign_in(conn, "piet")


@pytest.mark.row("G5", "G11")
def test_nobody_deactivates_the_main_user_or_themselves(conn: Connection, made: Portal, piet: PortalUser) -> None:
    with pytest.raises(Conflict, match="Ask us to make somebody else the main user"):
        deactivated(conn, made.people["olga"], piet)
    with pytest.raises(Conflict, match="can't deactivate yourself"):
        deactivated(conn, made.people["piet"], piet)


# ---------------------------------------------------------------------------------- the address


def address(conn: Connection, user: PortalUser, version: int | None = None, **changes: Any) -> None:
    current = portal.company(conn, user=user).version if version is None else version
    portal.edit_address(conn, version=current, changes=changes, today=TODAY, user=user)


@pytest.mark.row("G3")
def test_the_main_user_of_a_self_service_customer_edits_the_address(
    conn: Connection, made: Portal, olga: PortalUser
) -> None:
    address(conn, olga, street="Neue Str. 2", postcode="20095", city="Hamburg", phone="")
    company = portal.company(conn, user=olga)
    assert (company.street, company.postcode, company.city) == ("Neue Str. 2", "20095", "Hamburg")
    newest = conn.execute(text("SELECT action, customer_user_id FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert tuple(newest) == ("edit", olga.id)


@pytest.mark.row("G3")
def test_nobody_else_edits_it(conn: Connection, made: Portal, piet: PortalUser, berit: PortalUser) -> None:
    for user, why in ((piet, "Ask your main user"), (berit, "Please tell us")):
        with pytest.raises(NotAllowed, match=why):
            address(conn, user, street="Neue Str. 2")


@pytest.mark.row("G3", "G10")
def test_the_main_user_edits_the_tax_ids_by_the_rules_of_ours(conn: Connection, made: Portal, olga: PortalUser) -> None:
    customers.rewrite(conn, made.ada, country="FR")
    for typed, field in (("", "vat_id"), ("FR40303265046", "vat_id"), ("DE136695976", "vat_id")):
        with pytest.raises(Invalid) as refusal:
            address(conn, olga, vat_id=typed)
        assert refusal.value.field == field
    address(conn, olga, vat_id="FR 40303265045")
    found = customers.customer(conn, made.ada)
    assert (found.vat_id, found.vat_id_valid, found.vat_id_checked_on) == ("FR40303265045", True, TODAY)
    # Where VIES is asked, another ID is not valid until it has said so.
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"check_vies": True}, user=made.company.admin)
    address(conn, olga, vat_id="FR83404833048")
    assert not customers.customer(conn, made.ada).vat_id_valid
    customers.rewrite(conn, made.ada, country="US", vat_id="")
    with pytest.raises(Invalid, match="tax number"):
        address(conn, olga, vat_id="", tax_number="", no_tax_id_reason="")
    address(conn, olga, vat_id="", tax_number="12-3456789", no_tax_id_reason="")


@pytest.mark.parametrize("field", ["name", "country", "service_mode", "payment_method", "tags", "id"])
def test_nothing_else_is_edited(conn: Connection, made: Portal, olga: PortalUser, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        address(conn, olga, **{field: "x"})
    assert refusal.value.field == field


@pytest.mark.parametrize("field", ["street", "postcode", "city"])
def test_an_address_stays_complete(conn: Connection, made: Portal, olga: PortalUser, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        address(conn, olga, **{field: " "})
    assert refusal.value.field == field


def test_an_old_form_loses(conn: Connection, made: Portal, olga: PortalUser) -> None:
    version = portal.company(conn, user=olga).version
    customers.rewrite(conn, made.ada, phone="1")
    with pytest.raises(Conflict, match="after you opened"):
        address(conn, olga, version, street="Neue Str. 2")


# ---------------------------------------------------------------------------------- passwords


def mails_to(conn: Connection, email: str, kind: str = "password_reset") -> int:
    query = text("SELECT count(*) FROM mails WHERE recipient = :email AND kind = :kind")
    return conn.execute(query, {"email": email, "kind": kind}).scalar_one()


def test_a_forgotten_password_is_set_by_a_link(conn: Connection, made: Portal) -> None:
    token = portals.sign_in(conn)
    portal_passwords.forgotten(conn, email=" Olga@Ada.example ")
    secret = portals.link(conn, made.people["olga"], "password_reset")
    with pytest.raises(Invalid, match="differ"), conn.begin_nested():
        portal_passwords.reset(conn, secret, password=NEW, again="other")
    assert portal_passwords.reset(conn, secret, password=NEW, again=NEW) == made.people["olga"]
    assert portal_sessions.user_of(conn, token) is None
    assert portals.ticket(conn) is None and portals.ticket(conn, password=NEW)
    with pytest.raises(Conflict, match="used already"):
        portal_passwords.reset(conn, secret, password=NEW, again=NEW)


def test_who_asks_learns_nothing_and_fills_no_mailbox(conn: Connection, made: Portal) -> None:
    for email in ("olga@ada.example", "olga@ada.example", "nobody@ada.example", "", "\x00"):
        portal_passwords.forgotten(conn, email=email)
    assert mails_to(conn, "olga@ada.example") == 1
    assert mails_to(conn, "nobody@ada.example") == 0
    waits = [portal_passwords.claim(conn, address="10.0.0.9").wait_seconds for _ in range(6)]
    assert waits[:5] == [0] * 5 and waits[5] > 0


def test_who_may_not_sign_in_gets_no_link(conn: Connection, made: Portal) -> None:
    customer_verbs.lock(conn, made.ada, user=made.sales)
    portal_passwords.forgotten(conn, email="olga@ada.example")
    assert mails_to(conn, "olga@ada.example") == 0


@pytest.mark.parametrize("purpose", ["invite", "registration"])
def test_a_link_is_good_for_its_purpose_alone(conn: Connection, made: Portal, purpose: str) -> None:
    portal_passwords.forgotten(conn, email="olga@ada.example")
    secret = portals.link(conn, made.people["olga"], "password_reset")
    with pytest.raises(NotFound):
        links.use(conn, secret, purpose)


@pytest.mark.parametrize("state", ["void", "expired"])
def test_a_link_that_is_void_or_expired_says_so(conn: Connection, made: Portal, state: str) -> None:
    portal_passwords.forgotten(conn, email="olga@ada.example")
    secret = portals.link(conn, made.people["olga"], "password_reset")
    column = "voided_at = now()" if state == "void" else "expires_at = now() - interval '1 second'"
    conn.execute(text(f"UPDATE user_links SET {column} WHERE purpose = 'password_reset'"))
    with pytest.raises(Conflict):
        links.require_working(conn, secret, "password_reset")
    with pytest.raises(Conflict):
        portal_passwords.reset(conn, secret, password=NEW, again=NEW)


@pytest.mark.parametrize("forged", ["", "x", "\x00", "é" * 43, "A" * 43, "A" * 10_000])
def test_a_forged_link_is_not_known(conn: Connection, made: Portal, forged: str) -> None:
    for purpose in links.DAYS:
        with pytest.raises(NotFound, match="This link is not known"):
            links.require_working(conn, forged, purpose)
    with pytest.raises(NotFound):
        portal_passwords.reset(conn, forged, password=NEW, again=NEW)


def test_the_own_password_is_changed_and_other_browsers_are_signed_out(conn: Connection, made: Portal) -> None:
    here, there = portals.sign_in(conn), portals.sign_in(conn)
    user = portal_sessions.user_of(conn, here)
    assert user
    for field, typed in {
        "current": ("wrong", NEW, NEW), "password": (PASSWORD, "short", "short"), "again": (PASSWORD, NEW, "other"),
    }.items():  # fmt: skip
        with pytest.raises(Invalid) as refusal:
            portal_passwords.change_own(conn, current=typed[0], password=typed[1], again=typed[2], user=user)
        assert refusal.value.field == field
    portal_passwords.change_own(conn, current=PASSWORD, password=NEW, again=NEW, keep=here, user=user)
    assert portal_sessions.user_of(conn, here) and not portal_sessions.user_of(conn, there)
    assert portals.ticket(conn, password=NEW)


def test_an_invite_is_accepted_with_the_password_typed_twice(conn: Connection, made: Portal) -> None:
    new = invites.invite(conn, made.ada, email="rosa@ada.example", user=made.sales)
    secret = portals.link(conn, new, "invite")
    with pytest.raises(BillingError, match="differ"):
        portal_passwords.accept(conn, secret, password=PASSWORD, again="other")
    portal_passwords.accept(conn, secret, password=PASSWORD, again=PASSWORD)
    assert portals.sign_in(conn, "rosa")
