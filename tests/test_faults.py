"""The power fails: a process or the database is killed in mid-close. Nothing is half done; the close then completes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lib import cancellations, charges, db, invoices, issuing, months, periods, postgres
from lib.auth import Role
from tests import closes, databases, ledgers, people
from tests.beginnings import Begin
from tests.closes import JULY, JUNE, TODAY, Company

ROOT = Path(__file__).parents[1]
# Approves and issues June in one transaction, as `python -m lib close` does, and stops at the named point until killed.
CLOSER = """
import sys, time
from lib import db, issuing, months
from lib.auth import Role
from tests import people
from tests.beginnings import Begin
from tests.closes import JUNE, TODAY

def reached(point):
    if point == sys.argv[1]:
        print("reached", flush=True)
        time.sleep(600)

with db.transaction() as conn:
    finance = people.hire(conn)[Role.FINANCE]
    months.approve(conn, JUNE, today=TODAY, user=finance, progress=reached)
    reached("approved")
    issuing.issue_month(conn, JUNE, today=TODAY, user=finance)
    reached("issued")
"""
CUSTOMERS = 12


def company(conn: Connection) -> Company:
    """Some customers to bill."""
    made = closes.company(conn)
    for index in range(CUSTOMERS - 2):
        customer_id = ledgers.customer(conn, made.people, f"Number {index:02d}")
        ledgers.book(conn, made.people, customer_id, made.users, 1 + index, JUNE)
    return made


def assert_nothing_half_done() -> None:
    """June is as open as before, and no number is used up."""
    with db.transaction() as conn:
        assert periods.open_month(conn) == JUNE
        for table in ("invoices", "invoice_lines", "number_counters", "documents"):
            assert closes.count(conn, table) == 0, table
        assert closes.count(conn, "statements", "invoice_id IS NOT NULL") == 0
        assert closes.count(conn, "audit_log", "action IN ('approve', 'issue')") == 0


def assert_close_completes() -> None:
    """The same close, done again by somebody, ends as if nothing had happened."""
    with db.transaction() as conn:
        finance = people.hire(conn)[Role.FINANCE]
        assert months.approve(conn, JUNE, today=TODAY, user=finance) == CUSTOMERS
        outcome = issuing.issue_month(conn, JUNE, today=TODAY, user=finance)
        assert (outcome.count, outcome.blocked) == (CUSTOMERS, [])
    with db.transaction() as conn:
        months.lock(conn, JUNE, user=finance)
        assert closes.numbers(conn) == [f"RE-2026-{index:05d}" for index in range(1, CUSTOMERS + 1)]
        assert charges.differences(conn, months=[JUNE]) == []
        assert periods.open_month(conn) == JULY


@pytest.mark.row("B1")
@pytest.mark.parametrize("point", ["Rating all customers", "Drafting documents", "approved", "issued"])
def test_a_process_killed_in_mid_close_leaves_nothing_half_done(begin: Begin, point: str) -> None:
    begin(company)
    environment = os.environ | {"DATABASE_URL": begin.url, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSER, point], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "reached\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert_nothing_half_done()
    assert_close_completes()


def test_a_process_killed_while_it_issues_leaves_drafts(begin: Begin) -> None:
    made = begin(company)
    with db.transaction() as conn:
        closes.approve(conn, made)
    script = CLOSER.replace("    months.approve(conn, JUNE, today=TODAY, user=finance, progress=reached)\n", "")
    process = subprocess.Popen(
        [sys.executable, "-c", script, "issued"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": begin.url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "reached\n"
    finally:
        process.kill()
        process.communicate()
    with db.transaction() as conn:
        assert closes.numbers(conn) == []
        assert closes.count(conn, "invoices", "state = 'draft'") == CUSTOMERS
    with db.transaction() as conn:
        assert closes.issue(conn, made).series == [("RE-2026-00001", f"RE-2026-{CUSTOMERS:05d}")]


@pytest.mark.row("B1")
def test_a_database_killed_in_mid_close_comes_back_with_nothing_half_done() -> None:
    with databases.folder() as folder, postgres.server(folder) as url:
        with databases.in_use(postgres.database(url, "company")):
            with db.transaction() as conn:
                db.migrate(conn)
                made = company(conn)

            def pull_the_plug(step: str) -> None:
                if step == "Drafting documents":
                    kill_server(folder)

            with pytest.raises(DBAPIError), db.transaction() as conn:
                months.approve(conn, JUNE, today=TODAY, user=made.finance, progress=pull_the_plug)
        with postgres.server(folder) as again, databases.in_use(postgres.database(again, "company")):
            assert_nothing_half_done()
            assert_close_completes()
            with pytest.raises(DBAPIError):
                cancel_without_power(folder, made)
        with postgres.server(folder) as again, databases.in_use(postgres.database(again, "company")):
            with db.transaction() as conn:
                assert closes.count(conn, "invoices", "state = 'issued'") == CUSTOMERS
            with db.transaction() as conn:
                cancellations.cancel(conn, newest(), reason="now", today=TODAY, user=made.finance)
                assert "ST-2026-00001" in closes.numbers(conn)


def cancel_without_power(folder: Path, made: Company) -> None:
    """Cancel a document; the database goes before it is committed."""
    with db.transaction() as conn:
        cancellations.cancel(conn, newest(), reason="the plug again", today=TODAY, user=made.finance)
        kill_server(folder)


def newest() -> int:
    """The id of the document issued last."""
    with db.transaction() as conn:
        return invoices.page(conn, invoices.Filters(), today=TODAY, limit=1)[0].id


def kill_server(folder: Path) -> None:
    """End the server of `folder` and all its processes as a power failure would."""
    data = (folder / "server").resolve() / "data"
    postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
    assert postmaster.name() == "postgres"
    victims = [postmaster, *postmaster.children(recursive=True)]
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=20)
