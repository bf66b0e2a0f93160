"""`python -m lib`: acts as a named person, prints what the pages export, and refuses in one sentence."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lib import (
    __main__,
    audit,
    customer_exports,
    customer_filters,
    db,
    local,
    mail_server,
    portal_role,
    report_files,
    vault,
)
from lib.report_filters import Filters
from tests import closes
from tests.beginnings import Begin
from tests.closes import JUNE


@pytest.fixture(autouse=True)
def company(begin: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """June can be closed; today is 3 July 2026. No demo of this machine is touched."""
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-03")
    monkeypatch.delenv("MANDANT_USER", raising=False)
    monkeypatch.setattr(local, "DATA", tmp_path / "no-demo-here")
    begin(closes.company)


def run(capsysbinary: Any, *arguments: str) -> tuple[int, bytes, str]:
    """Exit code, standard output, standard error."""
    try:
        code = __main__.main(list(arguments))
    except SystemExit as left:
        code = int(left.code or 0)
    captured = capsysbinary.readouterr()
    return code, captured.out, captured.err.decode()


@pytest.mark.row("N11")
@pytest.mark.parametrize("options", [(), ("--german",), ("--format", "json")])
def test_costs_are_the_bytes_of_the_page(capsysbinary: Any, options: tuple[str, ...]) -> None:
    code, out, err = run(capsysbinary, "costs", "2026-06", "--until", "2026-07", "--as", "vera", *options)
    with db.transaction() as conn:
        filters = Filters(JUNE, date(2026, 7, 1))
        if "json" in options:
            expected = b"".join(report_files.export_json(conn, filters))
        else:
            expected = b"".join(report_files.export_csv(conn, filters, german="--german" in options))
    assert (code, out, err) == (0, expected, "")
    assert b"460.00" in out or b"460,00" in out


def test_costs_of_one_customer_and_product(capsysbinary: Any) -> None:
    with db.transaction() as conn:
        number = conn.scalar(text("SELECT number FROM customers WHERE name = 'Ada GmbH'"))
    code, out, _ = run(capsysbinary, "costs", "2026-06", "--customer", number, "--product", "users", "--as", "VERA")
    assert code == 0 and [line.split(",")[7] for line in out.decode().splitlines()] == ["Net amount", "45.00"]


@pytest.mark.row("G13")
def test_customers_are_the_bytes_of_the_page(capsysbinary: Any) -> None:
    code, out, _ = run(capsysbinary, "customers", "--format", "json", "--search", "ada", "--as", "vera")
    with db.transaction() as conn:
        asked, today = customer_filters.Filters(search="ada"), date(2026, 7, 3)
        in_json = b"".join(customer_exports.export_json(conn, asked, today=today))
        in_csv = b"".join(customer_exports.export_csv(conn, asked, today=today, german=True))
    assert code == 0 and out == in_json and len(json.loads(out)["customers"]) == 1
    options = ("--format", "csv", "--german", "--search", "ada", "--phase", "billed", "--ends-until", "")
    assert run(capsysbinary, "customers", *options, "--as", "vera")[:2] == (0, in_csv)
    code, _, said = run(capsysbinary, "customers", "--ends-until", "soon", "--as", "vera")
    assert code == 2 and "must be a day" in said


def test_quote_with_its_ranges(capsysbinary: Any) -> None:
    code, out, _ = run(capsysbinary, "quote", "300", "--as", "vera")
    assert code == 0 and out.decode().splitlines() == [
        "1–50: 50 × 2.00 = 100.00 EUR",
        "51–250: 200 × 1.50 = 300.00 EUR",
        "251–500: 50 × 1.20 = 60.00 EUR",
        "300 Ips: 460.00 EUR a month, net",
        "Average: 1.5333 EUR",
    ]
    assert run(capsysbinary, "quote", "0", "--as", "vera")[1].decode().splitlines()[-1] == "Average: – EUR"
    assert run(capsysbinary, "quote", "-3", "--as", "vera")[0] == 2


def test_a_month_is_shown_closed_and_issued_once(capsysbinary: Any) -> None:
    """The close is in the audit log under the person's name; a second call changes nothing."""
    code, out, _ = run(capsysbinary, "close", "2026-06", "--preview", "--as", "fiona")
    assert code == 0 and "net 505.00" in out.decode()
    assert count("invoices") == 0
    code, out, _ = run(capsysbinary, "close", "2026-06", "--issue", "--as", "fiona")
    assert code == 0 and "2 documents drafted" in out.decode() and "2 documents issued" in out.decode()
    code, out, _ = run(capsysbinary, "close", "2026-06", "--issue", "--as", "fiona")
    assert code == 0 and out.decode() == "0 documents issued.\n"
    assert count("invoices", "state = 'issued'") == 2
    with db.transaction() as conn:
        who = conn.scalars(text("SELECT DISTINCT s.username FROM audit_log a JOIN staff s ON s.id = a.staff_id"
                                " WHERE a.action = 'approve'")).all()  # fmt: skip
    assert who == ["fiona"]


def test_check_ends_with_1_where_a_rule_is_broken(capsysbinary: Any) -> None:
    assert run(capsysbinary, "check", "--as", "vera")[:2] == (0, b"All rules hold.\n")
    run(capsysbinary, "costs", "2026-06", "--as", "vera")  # rates June
    with db.transaction() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE statements SET amount = 1 WHERE amount = 45"))
    code, out, _ = run(capsysbinary, "check", "--as", "vera")
    assert code == 1 and "1.00 stated, 45.00 charged" in out.decode() and "1 findings." in out.decode()


@pytest.mark.row("N1")
def test_backup_and_restore(capsysbinary: Any, tmp_path: Path) -> None:
    file = str(tmp_path / "mandant.backup")
    assert run(capsysbinary, "backup", file, "--as", "adam")[::2] == (0, "")
    assert count("audit_log", "action = 'back up'") == 1
    assert run(capsysbinary, "restore", file)[0] == 2  # not empty
    with db.transaction() as conn:
        conn.execute(text("UPDATE company SET name = 'Changed since'"))
    assert run(capsysbinary, "restore", file, "--replace")[::2] == (0, "")
    assert count("company", "name = 'Muster IT GmbH'") == 1
    assert count("audit_log", "action = 'restore'") == 1


def test_the_portals_role_is_granted_and_renewed(capsysbinary: Any) -> None:
    code, _, err = run(capsysbinary, "grant-portal", "nobody_at_all")
    assert code == 2 and err.startswith("There is no role nobody_at_all. Make it first: CREATE ROLE")
    with db.transaction() as conn:
        portal_role.make(conn, "mandant_portal_test", password="only-on-this-machine")
    for _ in range(2):
        code, out, _ = run(capsysbinary, "grant-portal", "mandant_portal_test")
        assert code == 0 and b"mandant_portal_test has the portal's rights, and no others" in out
    code, out, _ = run(capsysbinary, "migrate")
    assert code == 0 and b"mandant_portal_test has the portal's rights in it" in out


def test_keys_are_made_and_rotated(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (run(capsysbinary, "new-key")[1].decode().strip() for _ in range(2))
    monkeypatch.setenv(vault.VARIABLE, old)
    with db.transaction() as conn:
        conn.execute(
            text("UPDATE mail_server SET password = :sealed"),
            {"sealed": vault.sealed("secret", about=mail_server.ABOUT)},
        )
    assert run(capsysbinary, "rotate-keys", "--as", "fiona")[0] == 2, "admins alone"
    monkeypatch.setenv(vault.VARIABLE, f"{new},{old}")
    code, out, err = run(capsysbinary, "rotate-keys", "--as", "adam")
    assert (code, err) == (0, "") and b"the mail server's password: sealed anew" in out
    assert b"the mail server's password: nothing to do" in run(capsysbinary, "rotate-keys", "--as", "adam")[1]
    monkeypatch.setenv(vault.VARIABLE, new)
    with db.transaction() as conn:
        sealed = conn.scalar(text("SELECT password FROM mail_server"))
        assert vault.opened(bytes(sealed or b""), about=mail_server.ABOUT) == "secret"
        assert new.partition(":")[2] not in str(audit.entries(conn, object_type="keys"))
    monkeypatch.delenv(vault.VARIABLE)
    assert "no key for that yet" in run(capsysbinary, "rotate-keys", "--as", "adam")[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("costs", "2026-06"), "Say as whom"),
        (("costs", "2026-06", "--as", "nobody"), "no user"),
        (("costs", "2026-13", "--as", "vera"), "not a month"),
        (("costs", "2026-06", "--customer", "C-1", "--as", "vera"), "no customer"),
        (("close", "2026-06", "--issue", "--as", "sales"), "no user"),
        (("close", "2026-06", "--issue", "--as", "samuel"), "may not close months"),
        (("close", "2026-07", "--issue", "--as", "fiona"), "the next month to close is June 2026"),
        (("close", "June", "--preview", "--as", "fiona"), "not a month"),
        (("backup", "x", "--as", "fiona"), "may not change settings"),
        (("restore", "/nowhere/x"), "no file"),
        (("demo",), "empty"),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(
    capsysbinary: Any, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, err = run(capsysbinary, *arguments)
    assert (code, out) == (2, b"")
    assert sentence in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err


def test_the_person_comes_from_the_environment(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_USER", "vera")
    assert run(capsysbinary, "quote", "1")[0] == 0
    with db.transaction() as conn:
        conn.execute(text("UPDATE staff SET disabled_at = now() WHERE username = 'vera'"))
    assert run(capsysbinary, "quote", "1")[0] == 2


def test_a_password_that_must_be_changed_comes_first(capsysbinary: Any) -> None:
    with db.transaction() as conn:
        conn.execute(text("UPDATE staff SET must_change_password = true WHERE username = 'vera'"))
    code, _, err = run(capsysbinary, "quote", "1", "--as", "vera")
    assert code == 2 and "choose a password" in err


def test_help_says_what_each_command_does(capsysbinary: Any) -> None:
    code, out, _ = run(capsysbinary, "--help")
    assert code == 0
    for command in (
        "migrate",
        "create-admin",
        "costs",
        "customers",
        "quote",
        "close",
        "check",
        "backup",
        "restore",
        "demo",
        "work",
        "new-key",
        "rotate-keys",
    ):
        assert f"\n    {command}".encode() in out
        assert run(capsysbinary, command, "--help")[0] == 0


def count(table: str, where: str = "true") -> int:
    with db.transaction() as conn:
        return closes.count(conn, table, where)
