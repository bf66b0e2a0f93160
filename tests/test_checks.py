"""The ledger's invariants: a company that was billed by the app breaks none, and each can be provoked (row N1)."""

import pytest
from sqlalchemy import Connection, text

from lib import charges, checks, db
from tests import closes
from tests.closes import JULY


def billed_in_june(conn: Connection) -> None:
    """June is closed and issued, July is open and rated."""
    closes.issued(conn)
    charges.ensure_rated(conn, JULY)


BEGINS_WITH = billed_in_june


@pytest.fixture
def billed(conn: Connection) -> Connection:
    """No trigger stands in the way of what follows."""
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    return conn


def test_what_the_app_did_breaks_no_rule(billed: Connection) -> None:
    assert checks.findings(billed) == []


def test_an_empty_database_breaks_no_rule(database: str) -> None:
    with db.transaction() as conn:
        assert checks.findings(conn) == []


KEPT = {"charges are", "statement is", "totals of"}


@pytest.mark.parametrize(
    ("damage", "rules"),
    [
        ("UPDATE charges SET amount = 46 WHERE month = '2026-06-01' AND amount = 45", KEPT),
        ("UPDATE charges SET changes = 'x' WHERE month = '2026-07-01' AND amount = 45", {"charges are"}),
        ("DELETE FROM charges WHERE month = '2026-06-01' AND amount = 460", KEPT),
        ("UPDATE statements SET amount = 44 WHERE amount = 45 AND month < '2026-07-01'",
         {"statement is", "What was charged"}),
        ("DELETE FROM statements WHERE month = '2026-07-01'", {"statement is"}),
        ("UPDATE month_totals SET amount = amount - 1", {"totals of"}),
        ("UPDATE month_totals SET quantity = 0", {"totals of"}),
        ("UPDATE month_totals SET purchase = purchase + 1, internal = internal + 1", {"totals of"}),
        ("UPDATE charges SET purchase = 1 WHERE month = '2026-07-01' AND amount = 45", {"charges are", "totals of"}),
        ("DELETE FROM rated_months WHERE month = '2026-06-01'", {"Every closed month"}),
        ("DELETE FROM months WHERE state = 'open'", {"Months are closed"}),
        ("UPDATE months SET month = '2026-05-01' WHERE state <> 'open'", {"Months are closed", "Every closed month"}),
        ("UPDATE invoices SET net = net + 1, gross = gross + 1", {"net amount"}),
        ("UPDATE invoices SET vat = vat + 1, gross = gross + 1", {"VAT is computed"}),
        ("UPDATE invoice_lines SET vat_rate = 7 WHERE amount = 45", {"VAT is computed"}),
        ("UPDATE invoice_lines SET vat_treatment = 'exempt', exempt_reason = 'x' WHERE amount = 45",
         {"No VAT is on what is exempt"}),
        ("DELETE FROM invoice_lines WHERE amount = 45", {"net amount", "VAT is computed", "What was charged"}),
        ("UPDATE invoice_lines SET invoice_id = -1 WHERE amount = 45",
         {"has its document", "net amount", "VAT is computed", "What was charged"}),
        ("UPDATE invoices SET customer_id = -1 WHERE net = 45", {"has its document", "belongs to"}),
        ("UPDATE invoices SET number_index = 7, number = 'RE-7' WHERE number_index = 2", {"no gap", "counter stands"}),
        ("UPDATE number_counters SET last = last + 1", {"counter stands"}),
        ("DELETE FROM number_counters", {"counter stands"}),
        ("UPDATE invoices SET state = 'cancelled'", {"belongs to"}),
        ("UPDATE bookings SET quantity = 11 WHERE quantity = 10", {"charges are"}),
        ("UPDATE price_tiers SET unit_price = 5 WHERE unit_price = 4.5", {"charges are"}),
        ("INSERT INTO quotas (customer_id, kind, amount, used, from_day) "
         "SELECT min(id), 'credits', 10, 5, '2026-06-01' FROM customers", {"used of a quota"}),
        ("UPDATE customers SET marked_for_deletion_at = now(), erased_at = now(), settled_at = now()",
         {"erased customer"}),
        ("UPDATE customers SET marked_for_deletion_at = now(), erased_at = now(), contact_name = 'Ada'",
         {"erased customer"}),
    ],
)  # fmt: skip
def test_each_rule_is_found_broken(billed: Connection, damage: str, rules: set[str]) -> None:
    """Whatever went around the triggers, it is seen."""
    assert billed.execute(text(damage)).rowcount > 0
    found = checks.findings(billed)
    assert found
    broken = {finding.rule for finding in found}
    assert {name for name in rules if not any(name in rule for rule in broken)} == set()
    assert {rule for rule in broken if not any(name in rule for name in rules)} == set()


def test_charges_that_were_released_are_allowed(billed: Connection) -> None:
    """Unbilled charges are listed for finance; they are no defect."""
    billed.execute(text("UPDATE statements SET invoice_id = NULL WHERE month = '2026-06-01'"))
    assert checks.findings(billed) == []


def test_many_findings_are_counted(billed: Connection) -> None:
    extra = "SELECT '2026-06-01', 9000 + n, 1, 1, 1, '', NULL, 1 FROM generate_series(1, 50) n"
    billed.execute(text(f"INSERT INTO charges {extra}"))
    details = [found.detail for found in checks.findings(billed) if found.rule.startswith("The charges")]
    assert len(details) == checks.MOST_SHOWN + 1 and details[-1] == "and 30 more"


def test_progress_names_each_rule(conn: Connection) -> None:
    seen: list[str] = []
    checks.findings(conn, progress=seen.append)
    assert len(seen) == len(set(seen)) > 8
