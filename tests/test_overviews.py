"""The first page's figures, by hand (row G17)."""

import json
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lib import adjustments, bookings, checks, kept_figures, overview_tables, overviews, payments, prices, products
from lib.auth import Role, User
from lib.errors import NotAllowed
from lib.overviews import Notice, Receivables
from tests import closes, ledgers, people
from tests.closes import JULY, JUNE, Company

MAY = date(2026, 5, 1)
TODAY = date(2026, 6, 20)
SHOWN = (MAY, JUNE, JULY)


def share(conn: Connection, made: Company, internal: int, external: int, day: date) -> None:
    bookings.book(
        conn, made.with_ips, made.ips, effective_on=day, quantity=internal + external, internal=internal,
        external=external, keep_pending=True, today=day, user=made.people[Role.SALES],
    )  # fmt: skip


def bought(conn: Connection, made: Company, product_id: int, price: str, month: date = MAY) -> int:
    return prices.set_purchase_price(
        conn, product_id, valid_from=month, unit_price=Decimal(price), user=made.people[Role.ADMIN]
    )


@pytest.fixture
def company(conn: Connection) -> Company:
    """A closed May; in June 100 external IPs more from the 16th on; users cost us 2.00, IPs 0.50."""
    made = closes.company(conn, first_month=MAY)
    bought(conn, made, made.users, "2")
    bought(conn, made, made.ips, "0.5")
    closes.approve(conn, made, MAY, today=date(2026, 6, 3))
    share(conn, made, 300, 100, date(2026, 6, 16))
    return made


@pytest.mark.row("G17")
def test_three_months_by_hand(conn: Connection, company: Company) -> None:
    """45.00 for users; 460.00 for 300 IPs, 580.00 for 400, in June 15 days each."""
    assert overviews.shown_months(conn, today=TODAY) == SHOWN
    found = overviews.history(conn, today=TODAY)
    assert [(m.month, m.final, str(m.income)) for m in found] == [
        (MAY, True, "505.00"), (JUNE, False, "565.00"), (JULY, False, "625.00"),
    ]  # fmt: skip
    assert [(m.ips, m.ips_internal, m.ips_external) for m in found] == [(300, 300, 0), (400, 300, 100), (400, 300, 100)]
    assert [str(round(m.average_ip_price or Decimal(0), 4)) for m in found] == ["1.5333", "1.3000", "1.4500"]


@pytest.mark.row("G17")
def test_purchases_by_hand_and_for_finance_and_admins_only(conn: Connection, company: Company) -> None:
    """20.00 for ten users; half a euro for each IP, in June 300 and 400 of them for 15 days each."""
    for role in (Role.FINANCE, Role.ADMIN):
        found = overviews.purchases(conn, SHOWN, user=company.people[role])
        assert {month: (one.amount, one.margin, one.without) for month, one in found.items()} == {
            MAY: (Decimal("170.00"), Decimal("335.00"), ()),
            JUNE: (Decimal("195.00"), Decimal("370.00"), ()),
            JULY: (Decimal("220.00"), Decimal("405.00"), ()),
        }
    for role in (Role.VIEWER, Role.SALES):
        with pytest.raises(NotAllowed, match="see purchase prices"):
            overviews.purchases(conn, SHOWN, user=company.people[role])


def test_a_purchase_price_rates_the_open_months_anew(conn: Connection, company: Company) -> None:
    overviews.history(conn, today=TODAY)
    later = bought(conn, company, company.users, "3", JULY)
    assert overviews.purchases(conn, SHOWN, user=company.admin)[JULY].amount == Decimal("230.00")
    prices.withdraw_purchase_price(conn, later, user=company.admin)
    assert overviews.purchases(conn, SHOWN, user=company.admin)[JULY].amount == Decimal("220.00")
    assert checks.findings(conn) == []


def test_moving_ips_changes_their_shares_and_no_amount(conn: Connection, company: Company) -> None:
    before = overviews.history(conn, today=TODAY)
    share(conn, company, 50, 350, TODAY)
    after = overviews.history(conn, today=TODAY)
    assert [m.income for m in after] == [m.income for m in before]
    assert [(m.ips, m.ips_internal) for m in after] == [(300, 300), (400, 50), (400, 50)]


def test_what_was_closed_before_it_was_kept_is_not_known(conn: Connection, company: Company) -> None:
    conn.execute(text("UPDATE month_totals SET purchase = NULL, internal = NULL WHERE month = :may"), {"may": MAY})
    may_bought = overviews.purchases(conn, [MAY], user=company.admin)[MAY]
    assert (may_bought.amount, may_bought.margin, may_bought.without) == (None, None, ())
    [may, *_] = overviews.history(conn, today=TODAY)
    assert (may.ips, may.ips_internal, may.ips_external) == (300, None, None)
    rows, _ = overview_tables.by_price(conn, MAY, user=company.admin)
    assert [row.margin for row in rows] == [None, None]


@pytest.mark.row("G17")
def test_open_and_overdue_amounts(conn: Connection, company: Company) -> None:
    """Issued on 3 June, due 14 days later: 45.00 and 460.00, with 19 % VAT 53.55 and 547.40; 100.00 of it is paid."""
    assert overviews.receivables(conn, today=TODAY) == Receivables(Decimal(0), 0, Decimal(0), 0)
    closes.issue(conn, company, MAY, today=date(2026, 6, 3))
    invoice = conn.scalar(text("SELECT id FROM invoices WHERE net = 460"))
    assert invoice is not None
    payments.record(
        conn, invoice, amount=Decimal(100), paid_on=TODAY, method="bank_transfer", today=TODAY, user=company.finance
    )
    due = conn.scalar(text("SELECT max(due_on) FROM invoices"))
    assert due is not None
    assert overviews.receivables(conn, today=due) == Receivables(Decimal("500.95"), 2, Decimal(0), 0)
    after = due + date.resolution
    assert overviews.receivables(conn, today=after) == Receivables(Decimal("500.95"), 2, Decimal("500.95"), 2)
    payments.record(
        conn, invoice, amount=Decimal("447.40"), paid_on=TODAY, method="cash", today=TODAY, user=company.finance
    )
    assert overviews.receivables(conn, today=after) == Receivables(Decimal("53.55"), 1, Decimal("53.55"), 1)


@pytest.mark.row("G17")
def test_subscriptions_by_kind(conn: Connection, company: Company) -> None:
    """Two managed ones since May; in June a project, one in self-service, one that pays nothing, and a test."""
    for name, column, value in (
        ("P", "payment_method", "project_key"), ("S", "service_mode", "self_service"), ("F", "payment_method", "free"),
    ):  # fmt: skip
        made = ledgers.customer(conn, company.people, name, since=JUNE, ends_on=TODAY if name == "P" else None)
        conn.execute(text(f"UPDATE customers SET {column} = :value WHERE id = :id"), {"value": value, "id": made})
    test = ledgers.customer(conn, company.people, "T", since=TODAY, billed=False, ends_on=date(2026, 7, 18))
    gone = ledgers.customer(conn, company.people, "D", since=JUNE)
    conn.execute(text("UPDATE customers SET active = false WHERE id = :id"), {"id": gone})
    found = overviews.subscriptions(conn, SHOWN, today=TODAY)
    assert found[MAY] == {"managed": 2, "project": 0, "self_service": 0, "free": 0}
    assert found[JUNE] == {"managed": 2, "project": 1, "self_service": 1, "free": 2}
    assert found[JULY] == {"managed": 2, "project": 0, "self_service": 1, "free": 2}
    conn.execute(text("UPDATE customers SET ends_on = :day WHERE id = :id"), {"day": TODAY, "id": test})
    assert overviews.subscriptions(conn, SHOWN, today=TODAY)[JULY]["free"] == 1


def test_figures_of_a_large_company_are_kept_for_a_minute(
    conn: Connection, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_figures, "LARGE", -2)
    before = overviews.subscriptions(conn, SHOWN, today=TODAY)
    ledgers.customer(conn, company.people, "New", since=JUNE)
    assert overviews.subscriptions(conn, SHOWN, today=TODAY) == before
    assert kept_figures.ageing(conn) == []
    conn.execute(text("UPDATE kept_figures SET at = at - interval '31 seconds'"))
    assert kept_figures.ageing(conn) == ["subscriptions"]
    conn.execute(text("UPDATE kept_figures SET at = at - interval '31 seconds'"))
    assert overviews.subscriptions(conn, SHOWN, today=TODAY)[JUNE]["managed"] == 3
    # Another day, other months: never those of yesterday.
    assert set(overviews.subscriptions(conn, (JUNE, JULY), today=JULY)) == {JUNE, JULY}


@pytest.mark.row("G17")
def test_what_needs_attention(conn: Connection, company: Company) -> None:
    told = overviews.attention(conn, today=TODAY, user=company.admin)
    assert told == [Notice("drafts", 2)]
    closes.issue(conn, company, MAY, today=date(2026, 6, 3))
    ledgers.customer(conn, company.people, "Ending test", since=JUNE, billed=False, ends_on=date(2026, 7, 18))
    ledgers.customer(conn, company.people, "Later test", since=JUNE, billed=False, ends_on=date(2026, 7, 19))
    leaving = ledgers.customer(conn, company.people, "Leaving", since=JUNE, ends_on=date(2026, 6, 30))
    unpriced = ledgers.product(conn, company.people, "option", code="unpriced", month=JUNE)
    ledgers.book(conn, company.people, leaving, unpriced, 1, JUNE)
    conn.execute(text("UPDATE customers SET licence_expires_on = :day WHERE id = :id"), {"day": JULY, "id": leaving})
    conn.execute(
        text("""INSERT INTO mails (kind, state, recipient, subject, body, message_id)
                VALUES ('invoice', 'failed', 'a@ada.example', 'S', 'B', '<1@ada.example>')""")
    )
    overviews.history(conn, today=TODAY)
    counted = {one.name: one.count for one in overviews.attention(conn, today=TODAY, user=company.admin)}
    assert counted == {
        "unpriced": 1, "overdue": 2, "ending_tests": 1, "ending_billed": 1, "failed_mails": 1, "quota_warnings": 1,
    }  # fmt: skip
    # Who can do nothing about it is not asked to.
    of_viewer = {one.name for one in overviews.attention(conn, today=JULY, user=company.people[Role.VIEWER])}
    of_finance = {one.name for one in overviews.attention(conn, today=JULY, user=company.finance)}
    assert "failed_mails" not in of_viewer | of_finance
    assert of_finance - of_viewer == {"months_to_close"}


@pytest.mark.row("G17")
def test_by_price_adds_up_to_the_month(conn: Connection, company: Company) -> None:
    """The list price first, then who has a price of their own: 10 × 4.00 for Berta's users, who cost us 20.00."""
    ledgers.book(conn, company.people, company.with_ips, company.users, 10, JUNE)
    prices.set_individual_price(
        conn, company.users, company.with_ips, valid_from=JUNE, tiers=ledgers.tiers((1, None, "4")), user=company.admin
    )
    rows, total = overview_tables.by_price(conn, JUNE, user=company.finance)
    told = [
        (r.product, r.customer, r.customers, r.quantity, str(r.income), str(r.purchase), str(r.margin)) for r in rows
    ]
    assert total == 3 and sorted(told, key=lambda row: (row[0], row[1] or "")) == [
        ("Ips", None, 1, 400, "520.00", "175.00", "345.00"),
        ("Users", None, 1, 10, "45.00", "20.00", "25.00"),
        ("Users", "Berta AG", 1, 10, "40.00", "20.00", "20.00"),
    ]
    assert [row.average for row in rows if row.product == "Ips"] == [Decimal("1.3")]
    june = next(m for m in overviews.history(conn, today=TODAY) if m.month == JUNE)
    assert sum(row.income for row in rows) == june.income
    second, _ = overview_tables.by_price(conn, JUNE, user=company.finance, limit=1, offset=1)
    assert second == rows[1:2]


@pytest.mark.row("G17")
def test_the_table_shows_what_the_role_may_see_and_exports_it(conn: Connection, company: Company) -> None:
    option = ledgers.product(conn, company.people, "option", code="support", price="7", month=JUNE)
    ledgers.book(conn, company.people, company.with_users, option, 1, JUNE)
    rows, customers = overview_tables.in_detail(conn, JUNE, user=company.finance)
    assert customers == 2
    # What is paid for what has no purchase price nobody knows.
    assert {(r.customer, r.product): (str(r.income), str(r.purchase), str(r.margin)) for r in rows} == {
        ("Ada GmbH", "Users"): ("45.00", "20.00", "25.00"),
        ("Ada GmbH", "Support"): ("7.00", "None", "None"),
        ("Berta AG", "Ips"): ("520.00", "175.00", "345.00"),
    }
    [only] = overview_tables.in_detail(conn, JUNE, user=company.finance, limit=1, offset=1)[0]
    assert only.customer == "Berta AG"
    exported = export(conn, "detail", company.finance)
    assert [(row["customer"], row["product"], row["income"], row["purchase"], row["margin"]) for row in exported] == [
        (r.customer, r.product, *(None if one is None else str(one) for one in (r.income, r.purchase, r.margin)))
        for r in rows
    ]
    for role in (Role.VIEWER, Role.SALES):
        user = company.people[role]
        for view in overview_tables.VIEWS:
            assert not {"purchase", "margin"} & {key for row in export(conn, view, user) for key in row}
        assert {row.margin for row in overview_tables.in_detail(conn, JUNE, user=user)[0]} == {None}
        assert {row.margin for row in overview_tables.by_price(conn, JUNE, user=user)[0]} == {None}
    priced = overview_tables.by_price(conn, JUNE, user=company.admin)[0]
    assert [
        (row["product"], row["price"], row["income"], row["margin"]) for row in export(conn, "price", company.admin)
    ] == [
        (row.product, "list", str(row.income), None if row.margin is None else str(row.margin)) for row in priced
    ]  # fmt: skip


@pytest.mark.row("G17")
def test_what_has_no_price_or_no_purchase_price_is_not_known(conn: Connection, company: Company) -> None:
    """Support costs us nobody knows what, archive is sold for nobody knows what, and a purchase price may be 0.00."""
    for code, price in (("support", "7"), ("archive", None), ("own", "3")):
        option = ledgers.product(conn, company.people, "option", code=code, price=price, month=JUNE)
        ledgers.book(conn, company.people, company.with_users, option, 1, JUNE)
        if code != "support":
            bought(conn, company, option, "0" if code == "own" else "1", JUNE)
    adjustments.add(
        conn, company.with_users, amount=Decimal("-5"), text="Goodwill", reason="Outage", month_meant=JUNE,
        user=company.finance,
    )  # fmt: skip
    told = {
        row.product: (row.income, row.purchase, row.margin, row.average)
        for row in overview_tables.by_price(conn, JUNE, user=company.finance)[0]
    }
    assert told["Support"] == (Decimal(7), None, None, Decimal(7))
    assert told["Archive"] == (None, Decimal(1), None, None)
    assert told["Own"][:3] == (Decimal(3), Decimal(0), Decimal(3))
    [adjusted] = [one for name, one in told.items() if name.startswith("Adjust")]
    assert adjusted[:3] == (Decimal(-5), Decimal(0), Decimal(-5))
    exported = {row["product"]: row for row in export(conn, "price", company.finance)}
    assert (exported["Support"]["purchase"], exported["Support"]["margin"]) == (None, None)
    assert (exported["Archive"]["income"], exported["Archive"]["margin"]) == (None, None)
    june = overviews.purchases(conn, [JUNE], user=company.finance)[JUNE]
    # 370.00 of users and IPs, 3.00, -5.00, and 1.00 that archive costs; support's 7.00 is in no margin.
    assert (june.margin, june.without) == (Decimal("367.00"), ("Support",))
    assert checks.findings(conn) == []


def test_a_month_of_which_no_purchase_price_is_known_has_no_margin(conn: Connection) -> None:
    made = closes.company(conn)
    found = overviews.purchases(conn, [JUNE], user=made.finance)[JUNE]
    assert (found.amount, found.margin, found.without) == (None, None, ("Users", "Ips"))


def export(conn: Connection, view: str, user: User) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(b"".join(overview_tables.export_json(conn, JUNE, view=view, user=user)))
    return found


def test_a_new_company(conn: Connection) -> None:
    assert overviews.shown_months(conn, today=TODAY) is None
    assert overviews.history(conn, today=TODAY) == []
    assert set(overviews.first_steps(conn).values()) == {False}
    hired = people.open_company(conn, first_month=JULY)
    # It looks forward to its first month.
    assert overviews.shown_months(conn, today=TODAY) == (JUNE, JULY, date(2026, 8, 1))
    assert overviews.history(conn, today=TODAY) == []
    assert products.catalogue(conn) == [] and overviews.attention(conn, today=TODAY, user=hired[Role.ADMIN]) == []
