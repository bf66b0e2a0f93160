"""The portal's own database role: all that the portal does, and no other table or customer's row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from lib import (
    billing,
    customer_users,
    db,
    invites,
    issuing,
    links,
    payments,
    portal,
    portal_passwords,
    portal_role,
    portal_scope,
    portal_sessions,
    project_key_redemptions,
    project_key_stock,
    registrations,
    self_service,
    term_invoices,
)
from lib.auth import PortalUser
from lib.errors import Conflict, Invalid
from lib.term_offers import TermAction
from tests import ledgers, portal_roles, portals
from tests.portal_roles import PASSWORD, ROLE, acting
from tests.portals import Portal
from tests.test_registrations import COMPANY, PERSON

TODAY, AUGUST = date(2026, 7, 3), date(2026, 8, 1)


@pytest.fixture
def made(database: str) -> Portal:
    """Ada and Berta, and the role, which may do its part in their database."""
    with db.transaction() as conn:
        found = portals.filled(conn)
        conn.execute(text("UPDATE customers SET service_mode = 'self_service'"))
        conn.execute(
            text("""UPDATE company SET self_registration = true, registration_terms = 'Be kind.',
                           portal_url = 'https://portal.m.example'""")
        )
    portal_roles.give()
    return found


@pytest.fixture
def role(database: str, made: Portal) -> Iterator[str]:
    with portal_roles.address(database) as url:
        yield url


def signed_in(url: str, name: str) -> PortalUser:
    with acting(url) as conn:
        claim = portal_sessions.claim(conn, username=f"{name}@ada.example", address="10.0.0.1")
    with acting(url) as conn:
        ticket = portal_sessions.ticket(conn, claim, password=portals.PASSWORD, nonce="nonce")
    with acting(url) as conn:
        token = portal_sessions.redeem(conn, ticket or "", nonce="nonce")
    with acting(url) as conn:
        user = portal_sessions.user_of(conn, token)
    assert user
    return user


def secret_of(email: str, purpose: str) -> str:
    """What the worker, as the owner, would have mailed."""
    with db.transaction() as conn:
        person = customer_users.by_email(conn, email)
        assert person
        return portals.link(conn, person.id, purpose)


# ---------------------------------------------------------------------------------- what it may


def test_people_sign_in_read_order_and_invite(role: str, made: Portal) -> None:
    berit = signed_in(role, "berit")
    with acting(role, berit) as conn:
        assert portal.company(conn, user=berit).name == "Berta AG"
        assert portal.subscription(conn, user=berit, today=TODAY)[0].quantity == 300
        assert len(portal.team(conn, user=berit)) == 1
        [document] = portal.own_documents(conn, user=berit)
        assert portal.pdf(conn, document.id, user=berit)[1].startswith(b"%PDF")
        ips = self_service.ips(conn, user=berit, today=TODAY)
        assert ips
        wanted: dict[str, Any] = {
            "quantity": 200, "internal": 150, "external": 50, "effective_on": AUGUST, "keep_pending": None,
            "today": TODAY, "user": berit,
        }  # fmt: skip
        assert [str(one.after) for one in self_service.effect(conn, **wanted)] == ["460.00", "325.00"]
        self_service.change(conn, **wanted, accepted=True, seen=ips.seen)
    with acting(role, berit) as conn:
        ips = self_service.ips(conn, user=berit, today=TODAY)
        assert ips
        self_service.take_back(conn, ips.pending[0].id, today=TODAY, user=berit)
        changes = dict.fromkeys(("street", "billing_name", "billing_street", "billing_city"), "Neu 2") | {
            "separate_billing": True, "billing_postcode": "20095", "vat_id": "DE136695976", "phone": "1",
        }  # fmt: skip
        version = portal.company(conn, user=berit).version
        portal.edit_address(conn, version=version, changes=changes, today=TODAY, user=berit)
        new = invites.invite(conn, made.berta, email="timo@ada.example", user=berit)
        invites.resend(conn, new, user=berit)
        version = customer_users.customer_user(conn, new).version
        customer_users.deactivate(conn, new, version=version, user=berit)
    with db.transaction() as conn:
        total = text("SELECT sum(t.amount) - (SELECT sum(amount) FROM charges c) FROM month_totals t")
        assert conn.scalar(total) == 0


def test_documents_of_a_renewal_that_was_paid_late_are_read(role: str, made: Portal) -> None:
    """What they say of each other stands with the customer's own terms."""
    ordered, due, late = date(2026, 7, 3), date(2026, 7, 25), date(2026, 8, 10)
    finance = made.company.finance
    with db.transaction() as conn:
        plan = ledgers.product(conn, made.company.people, "plan", code="basic", price="30", month=date(2026, 7, 1))
        first = term_invoices.make(conn, made.berta, plan, TermAction.MONTHLY, today=ordered, user=finance)
        for day, paid_on in ((ordered, ordered), (due, late)):
            if day == due:
                assert term_invoices.renew_next(conn, today=due)
            draft = first if day == ordered else conn.scalar(text("SELECT max(id) FROM invoices")) or 0
            issuing.issue(conn, [draft], today=day, user=finance)
            left = payments.open_amount(conn, draft)
            payments.record(conn, draft, amount=left, paid_on=paid_on, method="cash", today=paid_on, user=finance)
    berit = signed_in(role, "berit")
    with acting(role, berit) as conn:
        found = portal.own_documents(conn, user=berit)
        assert len(found) == 5
        for document in found:
            assert portal.pdf(conn, document.id, user=berit)[1].startswith(b"%PDF")
        assert conn.scalar(text("SELECT count(id) FROM terms")) == 3
    olga = signed_in(role, "olga")
    with acting(role, olga) as conn:
        assert conn.scalar(text("SELECT count(id) FROM terms")) == 0
        with pytest.raises(ProgrammingError), conn.begin_nested():
            conn.execute(text("SELECT price FROM terms"))


def test_people_forget_passwords_and_register(role: str, made: Portal) -> None:
    with acting(role) as conn:
        portal_passwords.forgotten(conn, email="olga@ada.example")
        portal_passwords.forgotten(conn, email="nobody@ada.example")
    secret, new = secret_of("olga@ada.example", "password_reset"), "three-otters-upstream"
    with acting(role) as conn:
        links.require_working(conn, secret, "password_reset")
        portal_passwords.reset(conn, secret, password=new, again=new)
    for _ in range(2):  # the second one replaces what the first one typed
        with acting(role) as conn:
            registrations.register(
                conn, company=COMPANY, person=PERSON, password=new, again=new, accepted=True, today=TODAY
            )
    with acting(role) as conn:  # known, and told so by mail
        person = PERSON | {"email": "olga@ada.example"}
        registrations.register(
            conn, company=COMPANY, person=person, password=new, again=new, accepted=True, today=TODAY
        )
    with acting(role) as conn:
        registrations.confirm(conn, secret_of(PERSON["email"], "registration"), password=new)
    with acting(role) as conn:
        claim = portal_sessions.claim(conn, username=PERSON["email"], address="10.0.0.1")
        assert portal_sessions.ticket(conn, claim, password=new, nonce="nonce")


# ---------------------------------------------------------------------------------- what it may not


def test_a_table_that_is_not_listed_is_refused(role: str, made: Portal) -> None:
    relations = (
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r','v')"
    )
    with db.transaction() as conn:
        known = set(conn.scalars(text(relations)))
    closed = known - set(portal_role.GRANTS)
    assert {"second_factors", "imports", "purchase_prices", "month_totals", "stripe_cards", "notes", "usage"} <= closed
    partly = (
        "staff",
        "mail_server",
        "mails",
        "audit_personal",
        "payments",
        "debits",
        "stripe_account",
        "stripe_requests",
    )
    for table in (*sorted(closed), *partly):
        with acting(role) as conn, pytest.raises(ProgrammingError, match="permission denied"):
            conn.execute(text(f"SELECT * FROM {table}"))
    for statement in (
        "UPDATE bookings SET quantity = 1",
        "DELETE FROM audit_log",
        "UPDATE company SET name = 'x'",
        "INSERT INTO prices (product_id, valid_from) VALUES (1, '2026-08-01')",
        "UPDATE customers SET phase = 'billed'",
        "UPDATE invoices SET state = 'paid'",
        "CREATE TABLE mine (id int)",
        "UPDATE months SET state = 'approved' WHERE state = 'open'",
    ):
        with acting(role) as conn, pytest.raises(ProgrammingError, match=r"permission denied|row-level security"):
            conn.execute(text(statement))


@pytest.mark.row("G9")
def test_a_project_key_is_seen_by_its_customer_and_opened_by_nobody(role: str, made: Portal) -> None:
    with db.transaction() as conn:
        conn.execute(text("UPDATE customers SET service_mode = 'managed'"))
        key, boss = "PRJ-PORTAL-0001-ABCD", made.company.admin
        given: dict[str, Any] = {"ips": 500, "months": 12, "purchase_price": Decimal(700), "redeem_until": None}
        project_key_stock.add(conn, key=key, today=TODAY, user=boss, **given)
        terms = project_key_redemptions.Terms(Decimal(1200), "once", 500, 0, True)
        project_key_redemptions.redeem(conn, made.berta, key, terms, today=TODAY, user=boss)
    berit, olga = signed_in(role, "berit"), signed_in(role, "olga")
    with acting(role, berit) as conn:
        [booked] = portal.subscription(conn, user=berit, today=TODAY)
        assert booked.by_key == "Project key ·····ABCD until 2 Jul 2027: 1,200.00 once, at its start"
        ips = self_service.ips(conn, user=berit, today=TODAY)
        assert ips and (ips.quote, ips.key_price, ips.by_key) == (None, Decimal("100.00"), booked.by_key)
        lines = billing.lines(conn, months=[date(2026, 7, 1)], customers=[made.berta])
        assert [line.amount for line in lines if line.project_key_id] == [Decimal("1200.00")]
        for column in ("sealed", "digest"):
            with pytest.raises(ProgrammingError, match="permission denied"), conn.begin_nested():
                conn.execute(text(f"SELECT {column} FROM project_keys"))
    with acting(role, olga) as conn:
        assert conn.scalar(text("SELECT count(id) FROM project_keys")) == 0


def test_rows_are_those_of_the_one_customer_alone(role: str, made: Portal) -> None:
    shared = {"prices", "price_tiers", "months", "sign_in_attempts"}
    narrowed = sorted(set(portal_role.ROWS) - shared - {"audit_personal"})
    with acting(role) as conn:  # nobody is signed in
        for table in narrowed:
            assert conn.scalar(text(f"SELECT count(id) FROM {table}" if table == "mails" else _count(table))) == 0, (
                table
            )
    for own, other in ((made.ada, made.berta), (made.berta, made.ada)):
        with acting(role) as conn:
            portal_scope.enter(conn, own)
            for table in ("customers", "customer_users", "bookings", "lifecycle", "charges", "invoices", "mails"):
                column = "id" if table == "customers" else "customer_id"
                assert set(conn.scalars(text(f"SELECT {column} FROM {table}"))) == {own}, table
            for view in ("standing_bookings", "booked_spans", "counting_spans"):
                assert set(conn.scalars(text(f"SELECT customer_id FROM {view}"))) == {own}, view
            lines = "SELECT i.customer_id FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id"
            assert set(conn.scalars(text(lines))) == {own}
            for statement in (
                "INSERT INTO audit_log (action, object_type, object_id, customer_id) VALUES ('a', 'b', '1', :other)",
                "INSERT INTO lifecycle (customer_id, effective_on, billed, active)"
                " VALUES (:other, '2026-07-03', true, true)",
            ):
                with pytest.raises(ProgrammingError, match="row-level security"), conn.begin_nested():
                    conn.execute(text(statement), {"other": other})
            moved = conn.execute(text("UPDATE customers SET city = 'X' WHERE id = :other"), {"other": other})
            assert moved.rowcount == 0


def _count(table: str) -> str:
    return f"SELECT count({'id' if table == 'audit_log' else '*'}) FROM {table}"


def test_every_row_of_a_granted_table_of_a_customer_is_narrowed(role: str, made: Portal) -> None:
    """A table that names a customer is either out of reach or narrowed: also one that a later migration adds."""
    with db.transaction() as conn:
        named = set(
            conn.scalars(
                text("""SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
                           AND a.attname IN ('customer_id', 'customer_user_id', 'invoice_id')""")
            )
        )
        granted = {table for table in portal_role.GRANTS if table not in portal_role.VIEWS}
        assert (named & granted) - set(portal_role.ROWS) == set()
        narrowed = set(conn.scalars(text("SELECT relname FROM pg_class WHERE relrowsecurity")))
        assert narrowed == set(portal_role.ROWS)


# ---------------------------------------------------------------------------------- giving it


def test_what_runs_with_the_owners_rights_takes_no_temporary_table_for_ours(role: str, made: Portal) -> None:
    """Every role may make temporary tables, and Postgres looks there first unless it is told otherwise."""
    berit = signed_in(role, "berit")
    with acting(role, berit) as conn:
        conn.execute(text("CREATE TEMP TABLE month_totals (LIKE public.products)"))
        conn.execute(text("CREATE TEMP TABLE customer_users (email text, customer_id bigint)"))
        conn.execute(text("INSERT INTO pg_temp.customer_users VALUES ('nobody@ada.example', 1)"))
        conn.execute(text("GRANT ALL ON pg_temp.month_totals, pg_temp.customer_users TO PUBLIC"))
        assert conn.scalar(text("SELECT portal_customer_by('email', 'nobody@ada.example')")) is None
        conn.execute(text("DROP TABLE pg_temp.customer_users"))
        ips = self_service.ips(conn, user=berit, today=TODAY)
        assert ips
        self_service.change(
            conn, quantity=200, internal=150, external=50, effective_on=AUGUST, keep_pending=None, today=TODAY,
            user=berit, accepted=True, seen=ips.seen,
        )  # fmt: skip
    with db.transaction() as conn:
        total = text("SELECT sum(t.amount) - (SELECT sum(amount) FROM charges c) FROM month_totals t")
        assert conn.scalar(total) == 0


def test_nobody_runs_what_has_the_owners_rights_for_rows_of_their_own(role: str, made: Portal) -> None:
    with acting(role, signed_in(role, "berit")) as conn:
        conn.execute(text("CREATE TEMP TABLE made_up (LIKE charges)"))
        with pytest.raises(ProgrammingError, match="permission denied for function charges_counted"):
            conn.execute(
                text("""CREATE TRIGGER made_up AFTER INSERT ON made_up REFERENCING NEW TABLE AS new_rows
                        FOR EACH STATEMENT EXECUTE FUNCTION charges_counted()""")
            )


def test_only_a_role_that_is_bound_gets_it(made: Portal) -> None:
    with db.transaction() as conn:
        owner = str(conn.scalar(text("SELECT current_user")))
        with pytest.raises(Invalid, match="There is no role"):
            portal_role.grant(conn, "nobody_at_all")
        with pytest.raises(Conflict, match="a role of its own"):
            portal_role.grant(conn, owner)


def test_many_may_make_and_grant_it_at_once_and_again(made: Portal) -> None:
    def again(_: int) -> None:
        with db.transaction() as conn:
            portal_role.make(conn, ROLE, password=PASSWORD)
        with db.transaction() as conn:
            portal_role.grant(conn, ROLE)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(again, range(3)))
    with db.transaction() as conn:
        assert portal_role.renew(conn) == [ROLE]
