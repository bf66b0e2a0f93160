"""Notices of new prices: prepared with the price for whom it touches, sent once, by approval (row B5)."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from lib import audit, customers, deletions, mail_server, price_notices, prices, settings
from lib.auth import Role, User
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.price_notices import Survey
from tests import ledgers, people
from tests.ledgers import People, tiers

JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
OLD = [(1, 50, "2"), (51, None, "1.5")]
NEW = tiers((1, 50, "2"), (51, 1500, "1.6"), (1501, None, "0.0125"))
# Two whom the new price touches and one without an address; one below its ranges, one with an own price.
CUSTOMERS: dict[str, tuple[int, dict[str, str]]] = {
    "Ada GmbH": (100, {"contact_name": "Ada Müller", "contact_email": "ada@kunde.example"}),
    "Client Ltd": (300, {"language": "en", "billing_email": "accounts@client.example"}),
    "Stumm AG": (60, {}),
    "Klein KG": (50, {"contact_email": "klein@kunde.example"}),
    "Eigen GmbH": (100, {"contact_email": "eigen@kunde.example"}),
}


@dataclass
class Desk:
    """A company with the customers above, by name, and a mail server."""

    conn: Connection
    staff: People
    ips: int
    ids: dict[str, int]

    @property
    def sales(self) -> User:
        return self.staff[Role.SALES]

    def save(self, **given: Any) -> int:
        wanted: dict[str, Any] = {"valid_from": JULY, "tiers": NEW, "user": self.sales} | given
        return price_notices.save(self.conn, self.ips, **wanted)

    def survey(self, price_id: int) -> Survey:
        return price_notices.surveys(self.conn, [price_id])[price_id]

    def mails(self) -> list[tuple[str, str, str]]:
        found = self.conn.execute(text("SELECT recipient, subject, body FROM mails ORDER BY recipient"))
        return [tuple(row) for row in found]


def filled(conn: Connection) -> tuple[People, int, dict[str, int]]:
    staff = people.open_company(conn)
    sales, ids = staff[Role.SALES], {}
    ips = ledgers.product(conn, staff, "ips", price=OLD)
    for name, (quantity, details) in CUSTOMERS.items():
        ids[name] = ledgers.customer(conn, staff, name)
        version = customers.customer(conn, ids[name]).version
        customers.edit(conn, ids[name], version=version, changes=details, today=JUNE, user=sales)
        ledgers.book(conn, staff, ids[name], ips, quantity, JUNE)
    own = tiers((1, None, "1"))
    prices.set_individual_price(conn, ips, ids["Eigen GmbH"], valid_from=JUNE, tiers=own, user=sales)
    server = {"host": "127.0.0.1", "security": "none", "sender_address": "preise@muster-it.example"}
    version = mail_server.server(conn).version
    mail_server.edit(conn, version=version, changes=server, user=staff[Role.ADMIN])
    return staff, ips, ids


BEGINS_WITH = filled


@pytest.fixture
def desk(conn: Connection, begun: tuple[People, int, dict[str, int]]) -> Desk:
    return Desk(conn, *begun)


@pytest.mark.row("B5")
def test_whom_a_price_touches_gets_a_notice_and_nobody_else(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    assert desk.survey(price_id) == Survey(ready=2, without_address=1, sent=0, dropped=0, sent_at=None)
    assert [(one.name, one.recipient, one.before, one.after) for one in price_notices.page(conn, price_id)] == [
        ("Client Ltd", "accounts@client.example", Decimal("475.00"), Decimal("500.00")),
        ("Ada GmbH", "ada@kunde.example", Decimal("175.00"), Decimal("180.00")),
        ("Stumm AG", "", Decimal("115.00"), Decimal("116.00")),
    ]
    assert desk.mails() == [], "nothing goes out before somebody approves it"
    assert prices.versions(conn, desk.ips)[0].tiers == NEW


@pytest.mark.row("B5")
def test_approved_notices_go_out_in_the_customers_language(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    assert price_notices.send(conn, price_id, user=desk.sales) == 2
    english, german = desk.mails()
    assert english[:2] == ("accounts@client.example", "New prices from 1 July 2026")
    assert "from 1 July 2026 new prices apply to Client Ltd:\n\nIps:\n1 to 50: EUR 2.00\n" in english[2]
    assert "51 to 1,500: EUR 1.60\nfrom 1,501: EUR 0.0125\n" in english[2]
    assert german[:2] == ("ada@kunde.example", "Neue Preise ab 01.07.2026")
    assert german[2].startswith(
        "Guten Tag Ada Müller,\n\nab 01.07.2026 gelten für Ada GmbH neue Preise:\n\nips (de):\n"
    )
    assert "51 bis 1.500: 1,60 EUR\nab 1.501: 0,0125 EUR\n" in german[2]
    found = desk.survey(price_id)
    assert (found.ready, found.without_address, found.sent) == (0, 1, 2) and found.sent_at is not None
    [entry, *_], _ = audit.entries(conn, object_type="price", object_id=price_id)
    assert (entry.action, entry.person, entry.changes) == ("send notices", "Samuel", {"notices": [None, 2]})


def test_a_notice_names_the_article_as_customers_know_it(conn: Connection, desk: Desk) -> None:
    version = settings.company(conn).version
    settings.edit_article(conn, name="Schwachstellen-Scan", number="A-1", version=version, user=desk.staff[Role.ADMIN])
    price_id = desk.save(tiers=tiers((1, None, "1.75")))
    subject, body = price_notices.preview(conn, price_id, "de")
    assert subject == "Neue Preise ab 01.07.2026"
    assert "für Beispiel GmbH neue Preise:\n\nSchwachstellen-Scan: 1,75 EUR\n" in body
    assert "\nSchwachstellen-Scan: EUR 1.75\n" in price_notices.preview(conn, price_id, "en")[1]


def test_approving_twice_sends_once(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    price_notices.send(conn, price_id, user=desk.sales)
    with pytest.raises(Conflict, match="No notice is left to send"):
        price_notices.send(conn, price_id, user=desk.sales)
    assert len(desk.mails()) == 2


def test_whoever_gets_an_address_is_told_later(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    price_notices.send(conn, price_id, user=desk.sales)
    mute = desk.ids["Stumm AG"]
    version = customers.customer(conn, mute).version
    changes = {"contact_email": "neu@kunde.example"}
    customers.edit(conn, mute, version=version, changes=changes, today=JUNE, user=desk.sales)
    assert price_notices.send(conn, price_id, user=desk.sales) == 1
    assert {recipient for recipient, _, _ in desk.mails()} >= {"neu@kunde.example"}


def test_dropped_notices_are_not_sent(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    assert price_notices.drop(conn, price_id, user=desk.sales) == 3
    with pytest.raises(Conflict, match="No notice is left to drop"):
        price_notices.drop(conn, price_id, user=desk.sales)
    with pytest.raises(Conflict, match="No notice is left to send"):
        price_notices.send(conn, price_id, user=desk.sales)
    assert desk.survey(price_id).dropped == 3 and desk.mails() == []


def test_of_a_withdrawn_price_nobody_is_told(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    prices.withdraw(conn, price_id, user=desk.sales)
    with pytest.raises(Conflict, match="withdrawn"):
        price_notices.send(conn, price_id, user=desk.sales)
    assert desk.mails() == []


def test_whoever_is_deleted_meanwhile_is_not_told(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    deletions.mark(conn, desk.ids["Ada GmbH"], today=JUNE, user=desk.staff[Role.ADMIN])
    assert desk.survey(price_id).ready == 1
    assert price_notices.send(conn, price_id, user=desk.sales) == 1
    assert [recipient for recipient, _, _ in desk.mails()] == ["accounts@client.example"]


def test_without_a_mail_server_they_stay_prepared(conn: Connection, desk: Desk) -> None:
    price_id = desk.save()
    version = mail_server.server(conn).version
    mail_server.edit(conn, version=version, changes={"host": ""}, user=desk.staff[Role.ADMIN])
    with pytest.raises(Conflict, match="mail server"):
        price_notices.send(conn, price_id, user=desk.sales)
    assert desk.survey(price_id).ready == 2


def test_a_second_click_prepares_nothing_more(conn: Connection, desk: Desk) -> None:
    key = uuid4()
    price_id = desk.save(request_key=key)
    with pytest.raises(AlreadyDone), conn.begin_nested():
        desk.save(request_key=key)
    assert desk.survey(price_id).prepared == 3


def test_what_is_refused_prepares_nothing(conn: Connection, desk: Desk) -> None:
    with pytest.raises(Invalid, match="gap"), conn.begin_nested():
        desk.save(tiers=tiers((1, 50, "2"), (60, None, "1")))
    with pytest.raises(Invalid, match="June 2026"), conn.begin_nested():
        desk.save(valid_from=date(2026, 5, 1))
    assert conn.scalar(text("SELECT count(*) FROM price_notices")) == 0


@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE])
def test_only_who_sets_prices_tells_of_them(conn: Connection, desk: Desk, role: Role) -> None:
    price_id, user = desk.save(), desk.staff[role]
    for act in (price_notices.send, price_notices.drop):
        with pytest.raises(NotAllowed):
            act(conn, price_id, user=user)
    with pytest.raises(NotAllowed):
        desk.save(user=user)


def test_a_price_that_is_not_there(conn: Connection, desk: Desk) -> None:
    for act in (price_notices.send, price_notices.drop):
        with pytest.raises(NotFound):
            act(conn, 0, user=desk.sales)
    with pytest.raises(NotFound):
        price_notices.preview(conn, 0, "de")
    assert price_notices.surveys(conn, [0]) == {}
