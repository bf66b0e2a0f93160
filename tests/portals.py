"""Two customers with a team, a subscription and an invoice each, and how their users sign in to the portal."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from lib import invites, links, portal_sessions
from lib.auth import PortalUser, Role, User
from tests import closes

PASSWORD = "a-heron-in-june"


@dataclass(frozen=True)
class Portal:
    """Ada (10 users, self-service) and Berta (300 IPs, managed): ids of users and invoices by their names."""

    company: closes.Company
    ada: int
    berta: int
    people: dict[str, int]
    invoices: dict[str, int]

    @property
    def sales(self) -> User:
        """Who of us acts."""
        return self.company.people[Role.SALES]


def filled(conn: Connection) -> Portal:
    """June is closed; Olga (main) and Piet sign in for Ada, Berit for Berta."""
    made = closes.company(conn)
    closes.approve(conn, made)
    closes.issue(conn, made)
    ada, berta = made.with_users, made.with_ips
    conn.execute(text("UPDATE customers SET service_mode = 'self_service' WHERE id = :id"), {"id": ada})
    sales = made.people[Role.SALES]
    people = {
        name: registered(conn, customer_id, name, user=sales)
        for name, customer_id in (("olga", ada), ("piet", ada), ("berit", berta))
    }
    found = conn.execute(text("SELECT customer_id, id FROM invoices WHERE number IS NOT NULL"))
    by_customer = {row.customer_id: row.id for row in found}
    return Portal(made, ada, berta, people, {"ada": by_customer[ada], "berta": by_customer[berta]})


def registered(conn: Connection, customer_id: int, name: str, *, user: User) -> int:
    """A user of a customer who has set a password."""
    user_id = invites.invite(conn, customer_id, email=f"{name}@ada.example", first_name=name.title(), user=user)
    invites.accept(conn, link(conn, user_id, "invite"), PASSWORD)
    return user_id


def link(conn: Connection, user_id: int, purpose: str) -> str:
    """The secret of the newest link that a user has, as its mail would hold it."""
    newest = text("SELECT max(id) FROM user_links WHERE user_id = :id AND purpose = :purpose")
    return links.secret(conn, conn.execute(newest, {"id": user_id, "purpose": purpose}).scalar_one())


def ticket(conn: Connection, name: str = "olga", *, password: str = PASSWORD, address: str = "10.0.0.1") -> str | None:
    """What the sign-in form earns."""
    claim = portal_sessions.claim(conn, username=f"{name}@ada.example", address=address)
    return portal_sessions.ticket(conn, claim, password=password, nonce="nonce")


def sign_in(conn: Connection, name: str = "olga") -> str:
    """A session; returns the token that the cookie would hold."""
    earned = ticket(conn, name)
    token = earned and portal_sessions.redeem(conn, earned, nonce="nonce")
    assert token
    return token


def user(conn: Connection, name: str = "olga") -> PortalUser:
    """The person as each click looks them up."""
    found = portal_sessions.user_of(conn, sign_in(conn, name))
    assert found
    return found
