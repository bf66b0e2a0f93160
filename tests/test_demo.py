"""The demo company is right to the cent, complete, and closes; the load filler obeys the same rules."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lib import (
    charges,
    checks,
    close_previews,
    contacts,
    customer_fields,
    customer_users,
    db,
    demo,
    demo_fill,
    demo_seed,
    documents,
    invoices,
    issuing,
    months,
    passwords,
    periods,
    prices,
    products,
    quota_warnings,
)
from lib.auth import Role, User
from lib.clock import months_between
from lib.customer_statuses import STATUS
from lib.errors import Conflict
from tests import databases

TODAY = date(2026, 11, 21)
OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
SEED_MONTHS = months_between(demo.FIRST_MONTH, NOVEMBER)


@pytest.fixture(scope="module")
def demo_database(server: str, template: str) -> Iterator[str]:
    """A database with the demo company, that the tests read and roll back."""
    with databases.copy(server, template) as url:
        # In use only while it is loaded: fixtures that other tests bring may outlive this one.
        with databases.in_use(url), db.transaction() as conn:
            demo.load(conn, today=TODAY)
            charges.ensure_rated(conn, *periods.open_months(conn, today=TODAY))
        yield url


@pytest.fixture
def company(demo_database: str) -> Iterator[Connection]:
    """A connection to the demo company whose changes are gone after the test."""
    with databases.in_use(demo_database), db.engine().connect() as conn, conn.begin() as transaction:
        yield conn
        transaction.rollback()


def person(conn: Connection, role: Role) -> User:
    row = conn.execute(text("SELECT id, username, name FROM staff WHERE role = :role"), {"role": role}).one()
    return User(row.id, row.username, row.name, role)


def customer_id(conn: Connection, name: str) -> int:
    return conn.execute(text("SELECT id FROM customers WHERE name LIKE :name"), {"name": f"{name}%"}).scalar_one()


def costs(conn: Connection, name: str) -> dict[str, Decimal]:
    """What a customer costs by month."""
    found = conn.execute(
        text("SELECT to_char(month, 'YYYY-MM') AS month, amount FROM statements WHERE customer_id = :id"),
        {"id": customer_id(conn, name)},
    )
    return {row.month: row.amount for row in found}


@pytest.mark.row("G15")
def test_three_customers_can_be_checked_by_hand(company: Connection) -> None:
    steady = costs(company, "Dreihundert IP GmbH")
    assert {steady[f"2026-{month:02}"] for month in range(1, 12)} == {Decimal("460.00")}
    assert costs(company, "Zuwachs & Söhne KG")["2026-06"] == Decimal("392.50")
    assert costs(company, "Augusta Modulbau GmbH")["2026-08"] == Decimal("35.48")


def test_an_invoice_prints_the_same_amounts(company: Connection) -> None:
    documents_of = invoices.invoices_of(company, customer_id(company, "Zuwachs & Söhne KG"))
    june = next(document for document in documents_of if document.month == date(2026, 6, 1))
    assert [line.amount for line in invoices.lines(company, june.id)] == [Decimal("162.50"), Decimal("230.00")]
    assert (june.net, june.vat, june.gross) == (Decimal("392.50"), Decimal("74.58"), Decimal("467.08"))


def test_todays_ranges_are_those_of_the_billing_rules(company: Connection) -> None:
    ips = products.product_of_kind(company, "ips")
    assert ips is not None
    now = prices.version_in(company, ips.id, month=OCTOBER)
    assert now is not None
    assert prices.described(now.tiers) == "1–50 at 2.00, 51–250 at 1.50, 251–500 at 1.20, from 501 at 1.00"


def test_every_month_is_what_a_full_rating_gives(company: Connection) -> None:
    assert charges.differences(company, months=SEED_MONTHS) == []
    assert checks.findings(company) == []


def test_the_months_are_closed_but_the_last_that_ended(company: Connection) -> None:
    states = {month.month: month.state for month in months.months(company, today=TODAY)}
    assert list(states) == SEED_MONTHS[::-1]
    assert {month for month, state in states.items() if state == "open"} == {OCTOBER, NOVEMBER}
    assert {states[month] for month in SEED_MONTHS[:-2]} == {"locked"}


def test_the_customers_are_of_every_kind(company: Connection) -> None:
    def count(where: str) -> int:
        return int(company.execute(text(f"SELECT count(*) FROM customers WHERE {where}")).scalar_one())

    assert (count("phase = 'test'"), count("phase = 'billed'")) == (13, 48)
    for column, kinds in (
        ("service_mode", customer_fields.SERVICE_MODES),
        ("payment_method", customer_fields.PAYMENT_METHODS),
        ("language", customer_fields.LANGUAGES),
    ):
        assert set(company.scalars(text(f"SELECT DISTINCT {column} FROM customers"))) == set(kinds)
    assert {"DE", "AT", "FR", "NL", "IT", "CH", "US"} == set(company.scalars(text("SELECT country FROM customers")))
    statuses = company.scalars(text(f"SELECT DISTINCT {STATUS} FROM customers c"), {"today": TODAY})
    assert set(statuses) >= {"erased", "active", "inactive", "invited", "locked", "deactivated", "ending", "ended"}
    assert count("phase = 'test' AND ends_on < '2026-11-21'") == 1
    assert count("separate_billing") == 3
    assert count("purchase_order <> ''") >= 5
    assert count("vat_id <> '' AND NOT vat_id_valid") == 0
    assert count("contact_email NOT LIKE '%.example' AND erased_at IS NULL") == 0
    resumed = "SELECT count(*) FROM counting_spans WHERE customer_id = :id"
    assert company.scalar(text(resumed), {"id": customer_id(company, "Wiederkehr")}) == 2


def test_customers_have_users_and_contacts(company: Connection) -> None:
    team = customer_users.users_of(company, customer_id(company, "Cirrus"))
    assert [(person.email.partition("@")[0], person.state, person.is_main) for person in team] == [
        ("olga", "active", True), ("ap", "invited", False), ("piet", "deactivated", False),
    ]  # fmt: skip
    assert {person.invite for person in team} == {"", "waiting"}
    emails = company.scalars(text("SELECT email FROM customer_users UNION ALL SELECT email FROM contacts")).all()
    assert all(email == "" or email.endswith(".example") for email in emails)
    assert contacts.document_email(company, customer_id(company, "Beispielkonzern")).startswith("bernd.clasen@")
    passwords.require_good(demo_seed.PORTAL_PASSWORD, username="", field="password")


@pytest.mark.row("D3")
def test_quotas_are_nearly_used_up_whenever_the_demo_is_loaded(company: Connection) -> None:
    found = {
        row.name.split()[0]: sorted(
            (one.about, one.level, one.amount and one.used and percent(one.used, one.amount))
            for one in quota_warnings.warnings_of(company, row.id, today=TODAY)
        )
        for row in company.execute(text("SELECT id, name FROM customers WHERE account_name <> '' ORDER BY id"))
    }
    assert found == {
        "Ährenfeld": [("credits", "near", 85)],
        "Eiswerk": [("credits", "reached", 115.2), ("storage", "near", 95)],
        "Gezeiten": [],
        "Kieselgrund": [("storage", "ending", None)],
        "Beispielkonzern": [("licence", "ending", None)],
    }


def percent(used: Decimal, amount: Decimal) -> float:
    return float(round(used / amount * 100, 1))


def test_all_kinds_of_bookings_and_prices_are_there(company: Connection) -> None:
    def count(query: str) -> int:
        return int(company.execute(text(f"SELECT count(*) FROM {query}")).scalar_one())

    assert set(company.scalars(text("SELECT DISTINCT kind FROM bookings"))) == set(products.BOOKABLE)
    assert set(company.scalars(text("SELECT DISTINCT measure FROM products"))) == set(products.MEASURES)
    shrinking = """(SELECT quantity - lag(quantity) OVER (PARTITION BY customer_id ORDER BY effective_on) AS step
                      FROM standing_bookings WHERE kind = '{}') moved WHERE step < 0"""
    assert count(shrinking.format("users")) > 10
    assert count("standing_bookings WHERE kind = 'ips' AND effective_on = '2026-12-01'") == 1  # a pending decrease
    assert count("standing_bookings WHERE kind = 'ips' AND extract(day FROM effective_on) > 1") > 20
    assert count("bookings WHERE kind IN ('option', 'plan') AND quantity = 0") > 10
    assert count("prices WHERE customer_id IS NOT NULL") >= 5
    assert count("prices WHERE returns_to_list") == 1
    assert count("prices WHERE customer_id IS NULL AND valid_from > '2024-12-01'") >= 3
    assert count("purchase_prices") >= 5
    assert count("adjustments WHERE amount < 0") >= 3


def test_plans_and_modules_are_free_tried_paid_and_waiting(company: Connection) -> None:
    found = company.execute(text("SELECT cycle, state, from_day FROM terms ORDER BY id")).tuples().all()
    assert found == [
        ("yearly", "active", date(2026, 11, 11)),
        ("monthly", "active", date(2026, 11, 2)),
        ("free", "active", date(2026, 11, 2)),
        ("trial", "active", date(2026, 11, 9)),
        ("yearly", "waiting", None),
    ]


def test_the_documents_run_without_a_gap(company: Connection) -> None:
    found = company.execute(
        text("""SELECT kind, number_year, count(*) AS numbers, max(number_index) AS last FROM invoices
                 WHERE number IS NOT NULL GROUP BY kind, number_year""")
    ).all()
    assert {row.kind for row in found} == set(invoices.KINDS)
    assert all(row.numbers == row.last for row in found)
    states = company.execute(text("SELECT state, count(*) AS documents FROM invoices GROUP BY state"))
    counted = {row.state: row.documents for row in states}
    assert (counted["cancelled"], counted["draft"]) == (2, 1)
    assert [row.name for row in invoices.unbilled(company)] == ["Quellstein Brunnenbau GmbH"]


def test_an_invoice_of_it_becomes_a_pdf(company: Connection) -> None:
    newest = invoices.page(company, invoices.Filters(states=("issued",)), today=TODAY, limit=1)[0]
    name, content = documents.pdf(company, newest.id)
    assert newest.number in name
    assert content.startswith(b"%PDF")


@pytest.mark.row("B1")
def test_october_shows_the_exceptions_and_can_be_closed(company: Connection) -> None:
    finance = person(company, Role.FINANCE)
    preview = close_previews.preview(company, OCTOBER, today=TODAY)
    assert set(preview.exceptions) == set(close_previews.EXCEPTIONS) - set(close_previews.BLOCKING)
    assert set(close_previews.preview(company, NOVEMBER, today=TODAY).exceptions) == set(close_previews.EXCEPTIONS)
    assert preview.credit_notes == 1
    assert months.approve(company, OCTOBER, today=TODAY, user=finance) == preview.documents
    issued = issuing.issue_month(company, OCTOBER, today=TODAY, user=finance)
    assert issued.count == preview.documents - 2
    assert {draft.customer.split(" ")[1] for draft in issued.blocked} == {"Heimatlos", "Esempio"}
    with pytest.raises(Conflict, match="2 drafts of October 2026"):
        months.lock(company, OCTOBER, user=finance)


def test_who_acted_is_in_the_audit_log(company: Connection) -> None:
    roles = company.scalars(text("SELECT DISTINCT s.role FROM audit_log a JOIN staff s ON s.id = a.staff_id"))
    assert {"sales", "finance", "admin"} == set(roles)


def test_the_sign_ins_are_those_of_the_staff(company: Connection) -> None:
    hashes = {row.username: row for row in company.execute(text("SELECT username, role, password_hash FROM staff"))}
    assert {(hashes[name].role, name) for name in hashes} == {(role, name) for role, name, _ in demo_seed.SIGN_INS}
    for _, name, password in demo_seed.SIGN_INS:
        passwords.require_good(password, username=name, field="password")
        assert passwords.matches(password, hashes[name].password_hash)


def test_it_goes_into_no_database_that_is_set_up(company: Connection) -> None:
    with pytest.raises(Conflict, match="set up already"):
        demo.load(company, today=TODAY)
    with pytest.raises(Conflict, match="set up already"):
        demo_fill.fill(company, customers=10, today=TODAY)


def test_it_starts_with_its_first_month(conn: Connection) -> None:
    with pytest.raises(Conflict, match="starts in December 2024"):
        demo.load(conn, today=date(2024, 11, 30))


@pytest.mark.parametrize("today", [date(2025, 2, 9), date(2027, 2, 9)])
def test_another_today_closes_as_many_months(conn: Connection, today: date) -> None:
    """Before the seed's end nothing later is entered; after it, months go on closing."""
    demo.load(conn, today=today)
    last_that_ended = today.replace(day=1) - timedelta(days=1)
    found = {month.month: month for month in months.months(conn, today=today)}
    assert {month for month, entry in found.items() if entry.state != "locked"} == {
        today.replace(day=1),
        last_that_ended.replace(day=1),
    }
    assert conn.scalar(text("SELECT max(effective_on) FROM lifecycle")) <= today
    assert charges.differences(conn, months=list(found)) == []


def test_the_files_hold_nothing_that_is_never_read() -> None:
    keys = {row["key"] for row in demo_seed.rows("customers")}
    codes = {row["code"] for row in demo_seed.rows("products")}
    assert {row["customer"] for row in demo_seed.rows("services")} <= keys
    for name in ("bookings", "lifecycle", "adjustments", "invoices", "prices", "users", "contacts"):
        rows = demo_seed.rows(name)
        assert {row["customer"] for row in rows} <= keys | {""}
        assert {row.get("product", "users") for row in rows} <= codes
        days = [row["day"] for row in rows]
        assert days == sorted(days), f"{name}.csv is in the order of its days"


def test_a_fill_obeys_the_rules(conn: Connection) -> None:
    demo_fill.fill(conn, customers=200, today=TODAY, months=6)
    found = months.months(conn, today=TODAY)
    assert [(month.state, month.customers, month.issued) for month in found] == [
        ("open", 200, 0),
        ("open", 200, 0),
        ("locked", 200, 200),
        ("locked", 200, 200),
        ("locked", 200, 0),
        ("locked", 200, 0),
    ]
    assert charges.differences(conn, months=[month.month for month in found]) == []
    assert checks.findings(conn) == []
    assert invoices.unbilled(conn) == []
    assert conn.scalar(text("SELECT count(*) FROM charges")) == 200 * 4 * 6
    # One document for the months before, whose sum is what their statements say.
    together = text("""SELECT count(*), count(*) FILTER (WHERE i.net = s.amount) AS right_ones
                         FROM invoices i JOIN (SELECT invoice_id, sum(amount) AS amount FROM statements
                                                GROUP BY invoice_id) s ON s.invoice_id = i.id""")
    assert conn.execute(together).one() == (600, 600)
    assert conn.scalar(text("SELECT count(DISTINCT name) FROM customers")) > 190
    conn.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
