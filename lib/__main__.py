"""`python -m lib`: what operators and cron do. Each command acts as a click does, audit log and all."""

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext

from sqlalchemy.exc import OperationalError

from lib import commands, db, local, portal_role, staff
from lib.errors import BillingError

Command = Callable[[argparse.Namespace], int]


def migrate(_: argparse.Namespace) -> int:
    """Bring the database's schema to the version that this program needs."""
    with db.transaction() as conn:
        db.migrate(conn)
        print(f"The database is at version {db.schema_version(conn)}.")
    with db.transaction() as conn:
        for role in portal_role.renew(conn):
            print(f"{role} has the portal's rights in it, and no others.")
    return 0


def grant_portal(given: argparse.Namespace) -> int:
    """Give a database role exactly the rights that the portal needs, for PORTAL_DATABASE_URL."""
    with db.transaction() as conn:
        portal_role.grant(conn, given.role)
    print(f"{given.role} has the portal's rights, and no others. Point PORTAL_DATABASE_URL to it.")
    return 0


def create_admin(given: argparse.Namespace) -> int:
    """Make the first account, which can then add the others. The password is asked for, or read from a pipe."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            print("The two passwords differ; nothing was saved.", file=sys.stderr)
            return 2
    else:
        password = sys.stdin.readline().rstrip("\n")
    with db.transaction() as conn:
        user = staff.create_first_admin(
            conn,
            username=given.username,
            name=given.name or given.username,
            password=password,
            email=given.email,
        )
    print(f"{user.username} can sign in as admin.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Refusals are one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m lib", description=__doc__)
    known = parser.add_subparsers(required=True, metavar="command")

    _add(known, "migrate", migrate)
    _add(known, "grant-portal", grant_portal).add_argument("role", help="a role that exists and may sign in")
    first = _add(known, "create-admin", create_admin)
    first.add_argument("username")
    first.add_argument("--name", help="the person's name (default: the user name)")
    first.add_argument("--email", default="", help="the address by which a sign-in service knows the person")
    commands.add_to(known)

    given = parser.parse_args(arguments)
    try:
        # Beside a demo that `make run` made, the commands work on its database.
        own = local.DATA.exists() or getattr(given, "own_database", False)
        with local.database() if own else nullcontext():
            code: int = given.run(given)
    except (BillingError, RuntimeError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except OperationalError as failure:
        print(f"The database does not answer: {str(failure.orig).strip().splitlines()[0]}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads us (`| head`, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _add(
    known: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command
) -> argparse.ArgumentParser:
    """A subcommand whose help is its function's docstring."""
    text = run.__doc__ or ""
    parser = known.add_parser(name, help=text.split("\n")[0], description=text)
    parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
