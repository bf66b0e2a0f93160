"""close_100k, close_100k_bare, close_memory: the month close against SQL that inserts the same rows.

The reference gets the finished rows ready in tables of their own and only inserts them: into the
same tables with all constraints, indexes and triggers (close_100k), or into tables that have a
primary key and nothing else (close_100k_bare). Each measurement works on a fresh copy.
"""

import json
import os
import subprocess
import sys
from functools import partial
from statistics import median

import psycopg

from bench.servers import ROOT, TODAY, Bench, copied, filled, in_use, log, peak_memory, ratio, seconds
from lib import db, issuing, months, staff
from lib.auth import Role, User
from lib.clock import month_of, next_month

MONTH = next_month(month_of(TODAY), by=-1)
WRITTEN = ("charges", "statements", "invoices", "invoice_lines", "audit_log")


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """The three figures, runs alternating."""
    base = filled(bench, "close", customers=bench.customers, months=3, documents=0)
    _forget_rating(base)
    with copied(bench, base, "bench_close_source") as source:
        last_entry = _last_entry(source)
        _close(source)
        _keep_written_rows(source, last_entry)
        ours, same, bare, memory = [], [], [], []
        for run in range(bench.runs):
            with copied(bench, base, "bench_close_run") as fresh:
                took, grown = _measured_in_a_process(fresh)
                ours.append(took)
                memory.append(grown)
            with copied(bench, source, "bench_close_run") as fresh:
                same.append(seconds(partial(_insert_by_hand, fresh)))
            with copied(bench, source, "bench_close_run") as fresh:
                bare.append(seconds(partial(_insert_bare, fresh)))
            log(f"close {run + 1}: ours {ours[-1]:.1f} s, by hand {same[-1]:.1f} s, bare {bare[-1]:.1f} s")
    return [
        ("close_100k", ratio(ours, same), 2.0),
        ("close_100k_bare", ratio(ours, bare), 4.0),
        ("close_memory", median(memory), 1.5),
    ]


def _forget_rating(url: str) -> None:
    """The month to close starts without charges kept ready: rating is part of what is measured."""
    with psycopg.connect(url, autocommit=True) as conn:
        for table in ("charges", "statements", "rated_months"):
            conn.execute(f"DELETE FROM {table} WHERE month = %s", (MONTH,))
        conn.execute("VACUUM FULL ANALYZE")


def _close(url: str) -> None:
    with in_use(url), db.transaction() as conn:
        user = _finance(conn)
        months.approve(conn, MONTH, today=TODAY, user=user)
        issuing.issue_month(conn, MONTH, today=TODAY, user=user)


def _finance(conn: db.Connection) -> User:
    account = next(account for account in staff.accounts(conn) if account.role == Role.FINANCE)
    return User(account.id, account.username, account.name, Role.FINANCE)


def _measured_in_a_process(url: str) -> tuple[float, float]:
    """Seconds of the close, and its peak memory over that of the idle app, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench.close"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    return found["seconds"], found["memory"]


def _last_entry(url: str) -> int:
    """The id of the newest entry in the audit log: those of the close come after it."""
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT coalesce(max(id), 0) FROM audit_log").fetchone()
    assert found is not None
    return int(found[0])


def _keep_written_rows(url: str, last_entry: int) -> None:
    """Move what the close wrote into tables of their own and undo it, so that it can be inserted again."""
    closed = f"month = DATE '{MONTH}'"
    of_month = f"invoice_id IN (SELECT id FROM invoices WHERE {closed})"
    conditions = {
        "charges": closed,
        "statements": closed,
        "invoices": closed,
        "invoice_lines": of_month,
        "audit_log": f"id > {last_entry}",
    }
    with psycopg.connect(url, autocommit=True) as conn:
        for table, condition in conditions.items():
            conn.execute(f"CREATE TABLE source_{table} AS SELECT * FROM {table} WHERE {condition}")
        conn.execute("CREATE TABLE source_counters AS SELECT * FROM number_counters")
        conn.execute("SET session_replication_role = replica")
        for table in ("invoice_lines", "audit_log", "statements", "charges", "invoices"):
            conn.execute(f"DELETE FROM {table} WHERE {conditions[table]}")
        conn.execute("DELETE FROM month_totals WHERE month = %s", (MONTH,))
        conn.execute("DELETE FROM number_counters")
        conn.execute("DELETE FROM months")
        conn.execute("INSERT INTO months (month) VALUES (%s)", (MONTH,))
        conn.execute("SET session_replication_role = origin")
        for table in WRITTEN:
            conn.execute(f"CREATE TABLE bare_{table} (LIKE {table})")
            conn.execute(f"ALTER TABLE bare_{table} ADD PRIMARY KEY ({_primary_key(conn, table)})")
        conn.execute("VACUUM FULL ANALYZE")


def _primary_key(conn: psycopg.Connection, table: str) -> str:
    found = conn.execute(
        """SELECT string_agg(a.attname, ', ' ORDER BY array_position(i.indkey::int[], a.attnum::int))
             FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
            WHERE i.indrelid = %s::regclass AND i.indisprimary""",
        (table,),
    ).fetchone()
    assert found is not None
    return str(found[0])


def _columns(conn: psycopg.Connection, table: str) -> str:
    found = conn.execute(
        """SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = %s::regclass AND attnum > 0""",
        (table,),
    ).fetchone()
    assert found is not None
    return str(found[0])


def _insert_by_hand(url: str) -> None:
    """The same rows into the same tables. Lines are refused under an issued document, so it is issued last."""
    with psycopg.connect(url) as conn:
        drafts = _columns(conn, "invoices")
        as_draft = drafts.replace("state", "'draft'").replace("number_year", "NULL").replace("number_index", "NULL")
        as_draft = ", ".join("NULL" if c in ("number", "issued_on", "seller_id") else c for c in as_draft.split(", "))
        for table in ("charges", "statements"):
            columns = _columns(conn, table)
            values = columns.replace("invoice_id", "NULL")
            conn.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM source_{table}")
        conn.execute("UPDATE months SET state = 'approved'")
        conn.execute("INSERT INTO months (month) VALUES (%s)", (next_month(MONTH),))
        conn.execute(
            f"""INSERT INTO invoices ({drafts}) OVERRIDING SYSTEM VALUE
                SELECT {as_draft} FROM source_invoices ORDER BY id"""
        )
        conn.execute("INSERT INTO invoice_lines SELECT * FROM source_invoice_lines")
        conn.execute(
            """UPDATE statements s SET invoice_id = f.invoice_id FROM source_statements f
                WHERE f.month = s.month AND f.customer_id = s.customer_id"""
        )
        conn.execute("INSERT INTO number_counters SELECT * FROM source_counters")
        conn.execute(
            """UPDATE invoices d SET state = f.state, number = f.number, number_year = f.number_year,
                      number_index = f.number_index, issued_on = f.issued_on, seller_id = f.seller_id
                 FROM source_invoices f WHERE f.id = d.id"""
        )
        conn.execute("INSERT INTO audit_log OVERRIDING SYSTEM VALUE SELECT * FROM source_audit_log")


def _insert_bare(url: str) -> None:
    with psycopg.connect(url) as conn:
        for table in WRITTEN:
            conn.execute(f"INSERT INTO bare_{table} SELECT * FROM source_{table}")


def _in_this_process() -> None:
    """Close once and print seconds and memory: everything that the app loads is loaded first."""
    import gc

    import psutil

    import app  # noqa: F401 – the server's own imports are part of its idle memory
    from pages.shared import serving

    for name in serving.PRELOADED:
        __import__(name)
    with db.transaction() as conn:
        user = _finance(conn)
    gc.collect()
    idle = psutil.Process().memory_info().rss

    def close() -> None:
        with db.transaction() as conn:
            months.approve(conn, MONTH, today=TODAY, user=user)
            issuing.issue_month(conn, MONTH, today=TODAY, user=user)

    took: list[float] = []
    peak = peak_memory(lambda: took.append(seconds(close)))
    print(json.dumps({"seconds": took[0], "memory": max(peak, idle) / idle}))


if __name__ == "__main__":
    _in_this_process()
