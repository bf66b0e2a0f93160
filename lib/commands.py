"""The commands of `python -m lib`, apart from those that need no account. Each acts as a named person.

What the person's role may not do is refused, and what a command changes is in the audit log, as if
the person had clicked. Nothing here knows a rule of its own: every command calls what a page calls.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterable
from datetime import date
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from lib import (
    audit,
    backups,
    checks,
    clock,
    close_previews,
    customer_exports,
    db,
    debits,
    demo,
    demo_fill,
    demo_seed,
    issuing,
    mail_server,
    mandates,
    months,
    prices,
    products,
    project_key_stock,
    quotes,
    report_files,
    report_filters,
    second_factors,
    settings,
    staff,
    stripe_account,
    vault,
    worker,
)
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid, NotAllowed
from lib.money import shown

FOUND_SOMETHING = 1
# Every column that holds sealed secrets, by the function that seals them with the current key.
RESEALS = {
    "the mail server's password": mail_server.reseal,
    "second factors": second_factors.reseal,
    "mandates": mandates.reseal,
    "files of direct debits": debits.reseal,
    "Stripe's keys": stripe_account.reseal,
    "project keys": project_key_stock.reseal,
}


def costs(given: argparse.Namespace) -> int:
    """Print what billed customers cost in a month or a range, as the Cost Overview exports it."""
    with db.transaction() as conn:
        require(_acting(conn, given), Permission.READ)
        filters = report_filters.chosen(
            conn,
            today=clock.today(conn),
            month=given.month,
            until=given.until,
            search=given.search,
            customers=given.customer,
            products=given.product,
        )
        if given.format == "json":
            _print(report_files.export_json(conn, filters))
        else:
            _print(report_files.export_csv(conn, filters, german=given.german))
    return 0


def customers(given: argparse.Namespace) -> int:
    """Print the customers, as the customer list exports them."""
    with db.transaction() as conn:
        require(_acting(conn, given), Permission.READ)
        asked, today = customer_exports.asked(partial(_given, given)), clock.today(conn)
        if given.format == "json":
            _print(customer_exports.export_json(conn, asked, today=today))
        else:
            _print(customer_exports.export_csv(conn, asked, today=today, german=given.german))
    return 0


def _given(given: argparse.Namespace, name: str) -> list[str]:
    """All that the options say for a name, as an address would."""
    value = getattr(given, name, None)
    return value if isinstance(value, list) else [value] if value else []


def quote(given: argparse.Namespace) -> int:
    """Print what a number of IPs costs a month at today's list price, range by range."""
    with db.transaction() as conn:
        require(_acting(conn, given), Permission.READ)
        ips = products.product_of_kind(conn, "ips")
        if ips is None:
            raise Conflict("There is no product of the kind IP scans yet. Add it under Prices.")
        month = clock.month_of(clock.today(conn))
        [found] = quotes.quotes(conn, ips.id, quantities=[given.quantity], month=month)
        currency = settings.company(conn).currency
    if any(line.amount is None for line in found.lines):
        raise Conflict(f"{ips.name_en} has no price in {month:%B %Y}. Set one under Self-Service.")
    for line in found.lines:
        assert line.unit_price is not None
        upper = line.last_unit if line.last_unit is not None else "…"
        price = prices.price_shown(line.unit_price)
        print(f"{line.first_unit}–{upper}: {line.units} × {price} = {shown(line.amount)} {currency}")
    print(f"{given.quantity} {ips.name_en}: {shown(found.amount)} {currency} a month, net")
    print(f"Average: {shown(found.average, decimals=4)} {currency}")
    return 0


def close(given: argparse.Namespace) -> int:
    """Show what closing a month would bill (--preview), or close it and issue its documents (--issue)."""
    month, drafted = _month(given.month), None
    with db.transaction() as conn:
        user, today = _acting(conn, given), clock.today(conn)
        require(user, Permission.CLOSE_MONTHS)
        if given.preview:
            return _preview(conn, month, today)
        state = {each.month: each.state for each in months.months(conn, today=today)}.get(month)
        if state is None or state == "open":
            drafted = months.approve(conn, month, today=today, user=user, progress=_say)
    if drafted is not None:
        print(f"{month:%B %Y} is approved: {drafted:,} documents drafted.")
    # Approved for good, whatever becomes of the issue: a second call then issues what is left.
    with db.transaction() as conn:
        issued = issuing.issue_month(conn, month, today=today, user=_acting(conn, given))
    numbers = f", {issued.first_number} to {issued.last_number}" if issued.count else ""
    print(f"{issued.count:,} documents issued{numbers}.")
    for blocked in issued.blocked:
        print(f"Not issued, {blocked.customer}: {', '.join(blocked.missing)} missing.", file=sys.stderr)
    return FOUND_SOMETHING if issued.blocked else 0


def check(given: argparse.Namespace) -> int:
    """Hold the ledger against its rules. Prints what breaks one, and then ends with exit code 1."""
    with db.transaction() as conn:
        require(_acting(conn, given), Permission.READ)
        found = checks.findings(conn, progress=_say)
    for finding in found:
        print(f"{finding.rule}: {finding.detail}")
    print(f"{len(found):,} findings." if found else "All rules hold.")
    return FOUND_SOMETHING if found else 0


def backup(given: argparse.Namespace) -> int:
    """Write the whole database to one file. Only an admin may: it holds everything."""
    with db.transaction() as conn:
        user = _acting(conn, given)
        require(user, Permission.EDIT_SETTINGS)
        size = backups.backup(db.url(), given.file)
        audit.record(conn, "back up", "database", given.file.name, user_id=user.id, changes={"bytes": (None, size)})
    print(f"{given.file}: {size:,} bytes.")
    return 0


def restore(given: argparse.Namespace) -> int:
    """Load a backup into an empty database, or, with --replace, in place of what is there."""
    backups.restore(db.url(), given.file, replace=given.replace)
    with db.transaction() as conn:
        found, wanted = db.schema_version(conn), db.newest_version()
        audit.record(conn, "restore", "database", given.file.name, user_id=None)
    print(f"{given.file} is restored.")
    if found != wanted:
        print("It was made by another version: run `python -m lib migrate` before the app starts.")
    return 0


def load_demo(given: argparse.Namespace) -> int:
    """Fill an empty database with the demo company, or with so many invented customers for load."""
    with db.transaction() as conn:
        db.migrate(conn)
    with db.transaction() as conn:
        today = clock.today(conn)
        if given.customers is None:
            demo.load(conn, today=today)
        else:
            demo_fill.fill(conn, customers=given.customers, today=today, progress=_say)
    if given.customers is not None:
        demo_fill.vacuum()
    for role, username, password in demo_seed.SIGN_INS:
        print(f"{role}: {username}, {password}")
    return 0


def work(given: argparse.Namespace) -> int:
    """Do the work that outlives a click (mails, imports, erasures, renewals) until Ctrl-C. Any number may run."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    return worker.main(parent=given.parent)


def new_key(_: argparse.Namespace) -> int:
    """Print a fresh key for MANDANT_KEYS, which seals the secrets in the database. Keep it elsewhere, too."""
    print(vault.new_key())
    return 0


def rotate_keys(given: argparse.Namespace) -> int:
    """Seal all secrets with the first key of MANDANT_KEYS. After it, the older keys can go."""
    with db.transaction() as conn:
        user = _acting(conn, given)
        require(user, Permission.EDIT_SETTINGS)
        counts = {name: reseal(conn) for name, reseal in RESEALS.items()}
        audit.record(
            conn, "rotate", "keys", 1, user_id=user.id, changes={name: (None, count) for name, count in counts.items()}
        )
    for name, count in counts.items():
        print(f"{name}: {'sealed anew' if count else 'nothing to do'}{f' ({count:,})' if count > 1 else ''}")
    return 0


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the commands and their options."""
    parser = _command(commands, "costs", costs)
    parser.add_argument("month", help="the month, like 2026-06")
    parser.add_argument("--until", metavar="MONTH", help="the last month of a range")
    parser.add_argument("--search", default="", help="words of a customer's name, number, contact or e-mail")
    parser.add_argument("--customer", action="append", default=[], metavar="NUMBER", help="only this one; repeatable")
    parser.add_argument("--product", action="append", default=[], metavar="CODE", help="only this one; repeatable")
    parser.add_argument("--format", choices=("csv", "json"), default="csv")
    parser.add_argument("--german", action="store_true", help="CSV as a German Excel opens it")

    parser = _command(commands, "customers", customers)
    parser.add_argument("--format", choices=("json", "csv"), default="json")
    parser.add_argument("--german", action="store_true", help="CSV as a German Excel opens it")
    parser.add_argument("--phase", choices=("test", "billed"))
    parser.add_argument("--search", default="", help="words of a customer's name, number, contact or e-mail")
    parser.add_argument("--ends-until", metavar="DAY", help="who ends on this day or before it, like 2026-12-31")
    for name in ("payment-method", "service-mode", "status", "quota-warning", "tag"):
        parser.add_argument(f"--{name}", action="append", default=[], help="repeatable")

    _command(commands, "quote", quote).add_argument("quantity", type=_quantity, help="how many IPs")

    parser = _command(commands, "close", close)
    parser.add_argument("month", help="the month, like 2026-06")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--preview", action="store_true", help="only show it; nothing is changed")
    which.add_argument("--issue", action="store_true", help="approve the month and issue all its documents")

    _command(commands, "check", check)
    _command(commands, "backup", backup).add_argument("file", type=Path)

    parser = _command(commands, "restore", restore, named=False)
    parser.add_argument("file", type=Path)
    parser.add_argument("--replace", action="store_true", help="drop what is in the database now")

    parser = _command(commands, "demo", load_demo, named=False)
    parser.add_argument("--customers", type=_quantity, metavar="N", help="so many invented customers, for load")
    parser.set_defaults(own_database=True)

    parser = _command(commands, "work", work, named=False)
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started it, is gone")
    _command(commands, "new-key", new_key, named=False)
    _command(commands, "rotate-keys", rotate_keys)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: object, *, named: bool = True
) -> argparse.ArgumentParser:
    text = run.__doc__ or ""
    parser = commands.add_parser(name, help=text.split("\n")[0], description=text)
    parser.set_defaults(run=run)
    if named:
        help_as = "the user name to act as (default: MANDANT_USER)"
        parser.add_argument("--as", dest="username", metavar="USERNAME", default=None, help=help_as)
    return parser


def _acting(conn: Connection, given: argparse.Namespace) -> User:
    """The person whose permissions count and whose name the audit log shows."""
    name = given.username or os.environ.get("MANDANT_USER", "")
    if not name:
        raise Invalid("Say as whom: --as USERNAME, or set MANDANT_USER.", field="as")
    for account in staff.accounts(conn):
        if account.username == name.lower() and account.enabled:
            if account.must_change_password:
                raise NotAllowed(f"{account.name} must sign in and choose a password of their own first.")
            return User(account.id, account.username, account.name, account.role, account.must_change_password)
    raise NotAllowed(f"There is no user “{name}” who may sign in.")


def _preview(conn: Connection, month: date, today: date) -> int:
    found = close_previews.preview(conn, month, today=today)
    print(f"{month:%B %Y}: net {shown(found.net)}, the month before {shown(found.previous_net)}")
    print(f"Documents: {found.documents:,}, of them credit notes: {found.credit_notes:,}")
    print(f"Customers with nothing to bill: {found.without_charges:,}")
    for each in found.by_product:
        print(f"  {each.name}: {shown(each.amount)} ({each.charges:,} charges)")
    for kind, count in found.exceptions.items():
        print(f"{close_previews.EXCEPTIONS[kind]}: {count:,}")
    return FOUND_SOMETHING if found.missing_prices else 0


def _month(typed: str) -> date:
    try:
        return date.fromisoformat(f"{typed}-01")
    except ValueError:
        raise Invalid(f"“{typed}” is not a month. Write it like 2026-06.", field="month") from None


def _quantity(typed: str) -> int:
    if not (typed.isascii() and typed.isdigit() and int(typed) <= 10_000_000):
        raise argparse.ArgumentTypeError(f"{typed!r} is not a number from 0 to 10000000.")
    return int(typed)


def _print(blocks: Iterable[bytes]) -> None:
    """The bytes as they are: what a page's download holds."""
    for block in blocks:
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def _say(step: str) -> None:
    if sys.stderr.isatty():
        print(f"{step} …", file=sys.stderr)
