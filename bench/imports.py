"""import_100k, import_100k_bare, import_usage_100k: an import against COPY of the same rows.

Ours is all that the worker does with a file that waits: it reads and checks all rows, writes them with their history
and an audit entry each, and notes the import. The reference gets the rows ready and only copies them: into the very
table, with its constraints and indexes (import_100k), or into one that has a primary key and nothing else (the others).
"""

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial

import psycopg
from stdnum.iso7064 import mod_11_10

from bench.servers import TODAY, Bench, copied, filled, in_use, log, ratio, seconds
from lib import db, import_applying, imports, staff
from lib.auth import Role, User
from lib.import_fields import Kind
from lib.import_kinds import CUSTOMERS, USAGE

_HEADS = "Ahorn Amsel Anker Birken Blau Eichen Falken Gold Österreich Ähren Linden Mond".split()
_TAILS = "bach berg blick brück burg dorf feld furt hagen".split()
_TRADES = "Agrar Anlagenbau Antriebe Bau Beratung Chemie Druck Energie".split()
_DAYS = 50


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """The three figures, runs alternating, each on a fresh copy of a small company."""
    base = filled(bench, "import", customers=10, months=2, documents=0)
    customers, usage = _file(_customers(bench.customers)), _file(_usage(bench.customers))
    ours: list[float] = []
    same: list[float] = []
    bare: list[float] = []
    ours_of_usage: list[float] = []
    bare_of_usage: list[float] = []
    for run in range(bench.runs):
        with copied(bench, base, "bench_import_run") as fresh:
            ours.append(_imported(fresh, CUSTOMERS, customers))
            bare.append(_copied(fresh, customers, keys=1))
            ours_of_usage.append(_imported(fresh, USAGE, usage))
            bare_of_usage.append(_copied(fresh, usage, keys=2))
            finished = _finished(fresh)
        with copied(bench, base, "bench_import_run") as fresh:
            same.append(seconds(partial(_copy, fresh, *finished)))
        log(
            f"import {run + 1}: customers {ours[-1]:.1f} s, COPY into their table {same[-1]:.1f} s, "
            f"bare {bare[-1]:.2f} s; usage {ours_of_usage[-1]:.1f} s, COPY {bare_of_usage[-1]:.2f} s"
        )
    return [
        ("import_100k", ratio(ours, same), 20.0),
        ("import_100k_bare", ratio(ours, bare), 20.0),
        ("import_usage_100k", ratio(ours_of_usage, bare_of_usage), 20.0),
    ]


def _customers(count: int) -> Iterator[Sequence[object]]:
    """The headings, and rows as another system exports them."""
    yield (
        *("Kundennummer", "Firma", "Phase", "Ansprechpartner", "E-Mail", "Telefon", "Straße", "PLZ", "Ort", "Land"),
        *("USt-IdNr.", "Zahlungsart", "Zahlungsziel", "Sprache", "Servicemodus", "Bestellnummer", "Max. Benutzer"),
    )
    for n in range(count):
        trade = _TRADES[n // 108 % 8]
        digits = str(10_000_000 + n)
        yield (
            *(f"K-{n}", f"{_HEADS[n % 12]}{_TAILS[n // 12 % 9]} {trade} GmbH {n}", "billed" if n % 5 else "test"),
            *("Ada Ahlers", f"ada@{trade.lower()}-{n}.example", f"+49 30 {n}", f"Werkstraße {n % 200}"),
            *(
                10_000 + n % 89_999,
                "Nordwarder",
                "DE",
                f"DE{digits}{mod_11_10.calc_check_digit(digits)}" if n % 3 else "",
            ),
            *("Überweisung", 14, "Deutsch", "Managed", f"PO-{n}" if n % 10 == 0 else "", n % 500),
        )


def _usage(count: int) -> Iterator[Sequence[object]]:
    """The headings, and days of the first customers."""
    yield (
        "Kundennummer",
        "Tag",
        "Benutzer",
        "Speicher (GB)",
        "Credits",
        "Backups ok",
        "Backups fehlgeschlagen",
        "Status",
    )
    for n in range(count):
        day = TODAY.fromordinal(TODAY.toordinal() - n % _DAYS)
        yield f"K-{n // _DAYS}", f"{day:%d.%m.%Y}", n % 50, f"{n % 1000},5", "12,25", 7, n % 3, "ok"


def _file(rows: Iterator[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _imported(url: str, kind: Kind, content: bytes) -> float:
    """Seconds from a waiting file to an applied one."""
    with in_use(url):
        with db.transaction() as conn:
            account = next(account for account in staff.accounts(conn) if account.role == Role.SALES)
            user = User(account.id, account.username, account.name, Role.SALES)
            sheet, reading = imports.opened(content, kind)
            import_id = imports.queue(
                conn, kind, file_name="bench.csv", content=content, reading=reading, rows=sheet.rows, user=user
            )
        took = seconds(import_applying.apply_one)
        with db.transaction() as conn:
            found = imports.import_(conn, import_id)
    if found.state != "applied":
        raise RuntimeError(f"The bench's file was not imported: {found.last_error}")
    return took


def _copied(url: str, content: bytes, *, keys: int) -> float:
    """Seconds of COPY of the file's rows into a table of texts, whose first columns are its primary key."""
    width = content.split(b"\n", 1)[0].count(b";") + 1
    columns = ", ".join(f"c{n} text" for n in range(width))
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS bare")
        conn.execute(f"CREATE TABLE bare ({columns}, PRIMARY KEY ({', '.join(f'c{n}' for n in range(keys))}))")
    return seconds(partial(_copy, url, "bare", "(FORMAT csv, HEADER, DELIMITER ';')", content))


def _finished(url: str) -> tuple[str, str, bytes]:
    """What the import wrote into the customers' table, ready to be copied."""
    with psycopg.connect(url) as conn:
        found = conn.execute(
            """SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = 'customers'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
        ).fetchone()
        assert found is not None
        columns = found[0]
        out = bytearray()
        with conn.cursor().copy(f"COPY (SELECT {columns} FROM customers WHERE number LIKE 'K-%') TO STDOUT") as rows:
            for block in rows:
                out += block
    return f"customers ({columns})", "", bytes(out)


def _copy(url: str, table: str, form: str, content: bytes) -> None:
    with psycopg.connect(url) as conn, conn.cursor().copy(f"COPY {table} FROM STDIN {form}") as copy:
        copy.write(content)
