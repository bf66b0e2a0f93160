"""export_csv, export_memory: the Cost Overview's CSV against COPY of the same rows."""

import json
import os
import subprocess
import sys
from functools import partial
from statistics import median

import psycopg

from bench.servers import ROOT, TODAY, Bench, filled, in_use, log, peak_memory, ratio, seconds
from lib import db, report_files, reports
from lib.clock import month_of, next_month

LAST = next_month(month_of(TODAY), by=-2)


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """One month as the page exports it, against COPY of the stored rows; and memory for 12 months over one."""
    url = filled(bench, "pages", customers=bench.customers, months=24, documents=2)
    ours, copied = [], []
    with in_use(url):
        for run in range(bench.runs):
            ours.append(seconds(_export))
            copied.append(seconds(lambda: _copy(url)))
            log(f"export {run + 1}: ours {ours[-1]:.2f} s, COPY {copied[-1]:.2f} s")
    one, many = (median(_memory(url, months) for _ in range(3)) for months in (1, 12))
    return [("export_csv", ratio(ours, copied), 3.0), ("export_memory", many / one, 1.1)]


def _export(months: int = 1) -> int:
    filters = reports.Filters(first=next_month(LAST, by=1 - months), last=LAST)
    with db.transaction() as conn:
        return sum(len(block) for block in report_files.export_csv(conn, filters))


def _copy(url: str) -> int:
    """The rows as they lie: month, names, quantities, changes, amount."""
    statement = """
        COPY (SELECT h.month, c.number, c.name, p.name_en, h.start_quantity, h.changes, h.end_quantity, h.amount
                FROM charges h JOIN customers c ON c.id = h.customer_id JOIN products p ON p.id = h.product_id
               WHERE h.month = %s) TO STDOUT (FORMAT csv)"""
    with psycopg.connect(url) as conn, conn.cursor().copy(statement, (LAST,)) as rows:
        return sum(len(block) for block in rows)


def _memory(url: str, months: int) -> int:
    """Peak memory in bytes of a process that exports so many months."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench.export", str(months)],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        check=True,
        text=True,
    )
    return int(json.loads(answer.stdout))


if __name__ == "__main__":
    print(json.dumps(peak_memory(partial(_export, int(sys.argv[1])))))
