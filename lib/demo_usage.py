"""The demo company's services: account and console, quotas, and a file with the usage of 60 days, imported.

The days end with yesterday. Everything lies around today, so that a quota nearly used up is one whenever the
demo is loaded. The columns of `data/seed/services.csv` are explained beside it.
"""

import csv
import io
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from lib import customers, demo_seed, import_applying, imports, quotas
from lib.auth import Role, User
from lib.demo_seed import People, Row
from lib.import_kinds import USAGE
from lib.usage import Usage

DAYS = 60
# Quotas begin eight whole weeks before today: what is used of them doesn't hang on the day of the week.
QUOTA_DAYS = 56
SATURDAY = 5


def enter(conn: Connection, known: Mapping[str, int], people: People, *, today: date) -> None:
    """Enter the rows of the customers that are there, as sales does, with the usage that a file would bring."""
    user = people[Role.SALES]
    rows = [row for row in demo_seed.rows("services") if row["customer"] in known]
    recorded: list[Usage] = []
    for row in rows:
        customer_id = known[row["customer"]]
        _details(conn, customer_id, row, today, user)
        recorded += [_day(customer_id, row, today - timedelta(DAYS - n), n) for n in range(DAYS)]
        _quotas(conn, customer_id, row, today, user)
    _import(conn, {known[row["customer"]] for row in rows}, recorded, today, user)


def _import(conn: Connection, customer_ids: set[int], recorded: list[Usage], today: date, user: User) -> None:
    """The vendor's file, imported as a person would."""
    numbers = {customer_id: customers.customer(conn, customer_id).number for customer_id in customer_ids}
    out = io.StringIO()
    names = ("users", "storage_gb", "credits", "backups_ok", "backups_failed", "cloud_status")
    rows = ((numbers[one.customer_id], one.day, *(getattr(one, name) for name in names)) for one in recorded)
    csv.writer(out, delimiter=";").writerows([("customer", "day", *names), *rows])
    content = out.getvalue().encode()
    sheet, reading = imports.opened(content, USAGE)
    import_id = imports.queue(
        conn, USAGE, file_name=f"usage-{today:%Y-%m-%d}.csv", content=content, reading=reading, rows=sheet.rows,
        user=user,
    )  # fmt: skip
    import_applying.apply(conn, import_id, today=today)


def _details(conn: Connection, customer_id: int, row: Row, today: date, user: User) -> None:
    changes: dict[str, object] = {name: row[name] for name in ("account_name", "storage_region", "console_url")}
    licence = demo_seed.number(row["licence_in"])
    if licence is not None:
        changes["licence_expires_on"] = today + timedelta(licence)
    version = customers.customer(conn, customer_id).version
    customers.edit(conn, customer_id, version=version, changes=changes, today=today, user=user)


def _quotas(conn: Connection, customer_id: int, row: Row, today: date, user: User) -> None:
    for kind, column in (("credits", "credit_quota"), ("storage", "storage_quota")):
        if row[column]:
            quotas.add(
                conn, customer_id, kind=kind, amount=Decimal(row[column]), from_day=today - timedelta(QUOTA_DAYS),
                until_day=today + timedelta(int(row["quota_left"])), user=user,
            )  # fmt: skip


def _day(customer_id: int, row: Row, day: date, number: int) -> Usage:
    """The day `number` of the stretch: half the credits on a weekend, a failed backup every so many days."""
    consumed = Decimal(row["credits"])
    jobs, fails_every = int(row["jobs"]), demo_seed.number(row["fails_every"])
    failed = 1 + number % 3 if fails_every and number % fails_every == 0 else 0
    return Usage(
        customer_id,
        day,
        users=int(row["users"]),
        storage_gb=Decimal(row["storage"]) + Decimal(row["growth"]) * number,
        credits=consumed / 2 if day.weekday() >= SATURDAY else consumed,
        backups_ok=jobs - failed,
        backups_failed=failed,
        cloud_status=row["cloud_status"],
    )
