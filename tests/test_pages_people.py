"""The tabs Users and Contacts of a customer's page: who and what is listed, and for whom there are buttons."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from streamlit.testing.v1 import AppTest

from lib import contacts, customer_users, db, invites
from lib.auth import Role
from tests import ledgers, people
from tests.beginnings import Begin

OpenPage = Callable[..., AppTest]
# AppTest knows no menu button: what it offers is shown by the browser test.
ACTIONS = ("users_main", "users_invite", "contact_add", "contact_edit", "contact_remove")


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-20")


def with_contacts(conn: Connection) -> str:
    """A customer with an invited main user, another who is deactivated, and two contacts."""
    hired = people.open_company(conn)
    sales = hired[Role.SALES]
    customer_id = ledgers.customer(conn, hired)
    invites.invite(
        conn, customer_id, email="anke@ada.example", salutation="ms", first_name="Anke", surname="*Ahlbeck*",
        user=sales,
    )  # fmt: skip
    gone = invites.invite(conn, customer_id, email="gone@ada.example", user=sales)
    customer_users.deactivate(conn, gone, version=2, user=sales)
    contacts.add(conn, customer_id, name="Night *shift*", phone="+49 40 66969 1", user=sales)
    contacts.add(conn, customer_id, name="Bookkeeping", email="books@ada.example", is_billing=True, user=sales)
    return str(customer_id)


@pytest.fixture
def customer(begin: Begin) -> str:
    return begin(with_contacts)


def opened(open_page: OpenPage, customer_id: str, tab: str, role: Role = Role.SALES) -> AppTest:
    app = open_page("customer.py", role, id=customer_id, tab=tab)
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    return "\n".join(
        str(one.value) for kind in (app.markdown, app.text, app.caption, app.warning, app.info) for one in kind
    )


def buttons(app: AppTest) -> set[str]:
    return {button.key for button in app.button if button.key and button.key.startswith(ACTIONS)}


@pytest.mark.row("S1", "G4")
def test_users_are_shown_with_what_became_of_their_invite(customer: str, open_page: OpenPage) -> None:
    page = shown(app := opened(open_page, customer, "Users"))
    assert r"**Ms Anke \*Ahlbeck\***" in page and "anke@ada.example" in page
    assert ":violet-badge" in page and "Main user" in page
    assert "The invite waits to be sent" in page and "There is no mail server yet, so invites wait" in page
    assert ":gray-badge[Deactivated]" in page and "Since " in page
    assert buttons(app) == {"users_main", "users_invite"}
    with db.transaction() as conn:
        conn.execute(text("UPDATE mails SET state = 'failed', last_error = 'No such *mailbox*.'"))
    page = shown(app.run())
    assert r"The invite was not sent\. No such \*mailbox\*\." in page and "no mail server" not in page


@pytest.mark.row("S1")
def test_users_are_searched(customer: str, open_page: OpenPage) -> None:
    app = opened(open_page, customer, "Users")
    app.text_input(key="users_search").set_value("GONE@").run()
    assert "Deactivated" in shown(app) and "Ahlbeck" not in shown(app)
    app.text_input(key="users_search").set_value("*nobody*").run()
    assert r"Nobody matches “\*nobody\*”" in shown(app)


@pytest.mark.row("D4")
def test_contacts_are_shown_with_where_documents_go(customer: str, open_page: OpenPage) -> None:
    app = opened(open_page, customer, "Contacts")
    page = shown(app)
    assert "Documents go to books@ada.example." in page
    assert r"**Night \*shift\***" in page and "+49 40 66969 1" in page
    assert page.count("Billing contact") == 1
    assert {key.rpartition("_")[0] if key[-1].isdigit() else key for key in buttons(app)} == {
        "contact_add", "contact_edit", "contact_remove",
    }  # fmt: skip
    app.text_input(key="contacts_search").set_value("66969").run()
    assert "Bookkeeping" not in shown(app)


@pytest.mark.parametrize("tab", ["Users", "Contacts"])
def test_a_viewer_sees_them_and_has_no_buttons(customer: str, open_page: OpenPage, tab: str) -> None:
    app = opened(open_page, customer, tab, Role.VIEWER)
    assert ("anke@ada.example" if tab == "Users" else "books@ada.example") in shown(app)
    assert buttons(app) == set()


@pytest.mark.parametrize("tab", ["Users", "Contacts"])
def test_nobody_yet(open_page: OpenPage, database: str, tab: str) -> None:
    with db.transaction() as conn:
        customer_id = ledgers.customer(conn, people.open_company(conn))
    app = opened(open_page, str(customer_id), tab)
    assert ("Nobody signs in" if tab == "Users" else "No contact yet") in shown(app)
    assert "users_main" not in buttons(app), "there is no main user to change"
