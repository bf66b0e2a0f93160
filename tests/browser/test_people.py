"""The people of a customer with a real browser: invited, edited, another main user; contacts added and removed."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from lib import db, invites, links
from lib.auth import Role
from tests import ledgers, people
from tests.browser.accessibility import violations

SignIn = Callable[..., Page]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def team(app_database: str) -> str:
    """A customer with two users who have registered, the first of them the main user."""
    with db.transaction() as conn:
        hired = people.hire(conn)
        customer_id = ledgers.customer(conn, hired, "Cirrus AG")
        for first_name in ("Olga", "Piet"):
            email = f"{first_name.lower()}@cirrus.example"
            user_id = invites.invite(
                conn, customer_id, email=email, first_name=first_name, send=False, user=hired[Role.SALES]
            )
            secret = links.secret(conn, links.create(conn, user_id, "invite"))
            invites.accept(conn, secret, "a-heron-in-june")
    return f"/customer?id={customer_id}"


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def person(page: Page, name: str) -> Locator:
    """The box of one user or contact."""
    return page.locator("[class*=st-key-user_], [class*=st-key-contact_]").filter(has_text=name).first


def choose(page: Page, name: str, action: str) -> None:
    """What the menu of a user offers."""
    person(page, name).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name=action).click()


def saved(page: Page, told: str) -> None:
    expect(page.get_by_test_id("stToast").filter(has_text=told)).to_be_visible()
    expect(dialog(page)).to_have_count(0)


@pytest.mark.row("N2", "G4", "S1", "S2")
def test_from_an_invited_contact_to_a_changed_address(sign_in: SignIn) -> None:
    page = sign_in(Role.SALES)
    page.get_by_role("button", name="New customer").click()
    dialog(page).get_by_role("textbox", name="Company name").fill("Einladung GmbH")
    dialog(page).get_by_role("textbox", name="Contact name").fill("Anke Ahlbeck")
    dialog(page).get_by_text("Invite the contact to the portal").click()
    dialog(page).get_by_role("button", name="Create customer").click()
    expect(dialog(page)).to_contain_text("enter their e-mail address: it is the login")
    dialog(page).get_by_role("textbox", name="Contact e-mail").fill("anke@einladung.example")
    dialog(page).get_by_role("button", name="Create customer").dblclick()
    expect(page).to_have_url(re.compile(r"/customer\?id=\d+"))
    expect(page.get_by_test_id("stMainBlockContainer").get_by_text("Invited", exact=True)).to_be_visible()

    page.get_by_role("tab", name="Users", exact=True).click()
    expect(person(page, "Anke Ahlbeck")).to_contain_text("The invite waits to be sent")
    expect(page.get_by_text("There is no mail server yet, so invites wait")).to_be_visible()
    page.get_by_role("button", name="Invite user").click()
    dialog(page).get_by_role("textbox", name="E-mail").fill("ANKE@einladung.example")
    dialog(page).get_by_role("button", name="Invite", exact=True).click()
    expect(dialog(page)).to_contain_text("Somebody signs in with this e-mail address already")
    dialog(page).get_by_role("textbox", name="E-mail").fill("bernd@einladung.example")
    dialog(page).get_by_role("button", name="Invite", exact=True).click()
    saved(page, "the invite waits for a mail server")

    choose(page, "bernd@einladung.example", "Edit")
    expect(dialog(page)).to_contain_text("nothing is sent to it")
    dialog(page).get_by_role("textbox", name="Surname").fill("Berg")
    dialog(page).get_by_role("textbox", name="E-mail").fill("berg@einladung.example")
    dialog(page).get_by_role("button", name="Save user").click()
    saved(page, "nothing was sent, so tell the person")
    expect(person(page, "Berg")).to_contain_text("No invite that works")
    choose(page, "Berg", "Resend invite")
    dialog(page).get_by_role("button", name="Send invite").click()
    expect(person(page, "Berg")).to_contain_text("The invite waits to be sent")


@pytest.mark.row("G11")
def test_another_main_user(sign_in: SignIn, team: str) -> None:
    page = sign_in(Role.SALES, f"{team}&tab=Users")
    expect(person(page, "Olga")).to_contain_text("Main user")
    page.get_by_role("button", name="Change main user").click()
    expect(dialog(page)).to_contain_text("Olga is the main user now")
    dialog(page).get_by_role("button", name="Change main user").click()
    expect(person(page, "Piet")).to_contain_text("Main user")
    choose(page, "Olga", "Deactivate")
    dialog(page).get_by_role("button", name="Deactivate").click()
    expect(person(page, "Olga")).to_contain_text("Deactivated")
    assert violations(page) == []


@pytest.mark.row("D4")
def test_contacts_come_and_go(sign_in: SignIn, team: str) -> None:
    page = sign_in(Role.SALES, f"{team}&tab=Contacts")
    page.get_by_role("button", name="Add contact").click()
    dialog(page).get_by_role("textbox", name="Name").fill("Bookkeeping")
    dialog(page).get_by_text("Billing contact: documents go to this address").click()
    dialog(page).get_by_role("button", name="Add contact").click()
    expect(dialog(page)).to_contain_text("The billing contact needs an e-mail address")
    dialog(page).get_by_role("textbox", name="E-mail").fill("books@cirrus.example")
    dialog(page).get_by_role("button", name="Add contact").click()
    expect(page.get_by_text("Documents go to books@cirrus.example.")).to_be_visible()
    assert violations(page) == []
    person(page, "Bookkeeping").get_by_role("button", name="Remove").click()
    dialog(page).get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No contact yet.")).to_be_visible()
