"""The floors of the house: what may import what, and that every page asks who is there before anything else."""

import ast
import re
from pathlib import Path

import pytest

from lib import tables
from pages.shared import frame

ROOT = Path(__file__).parents[1]
LIB = sorted((ROOT / "lib").rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))
GUARDED = [path for path in PAGES if path.parent.name == "pages" and path.name not in ("__init__.py", "main.py")]

# The phases of a document's life, a module each; `payment_rows` follows what was paid.
DOCUMENT = {
    "drafts",
    "close_drafts",
    "advance_invoices",
    "collection_notices",
    "issuing",
    "cancellations",
    "payment_rows",
}
# A table is written by one module, but for these. Where there are two, the second imports many rows at once, works in
# the background, or is the portal's.
WRITERS = {
    "invoices": DOCUMENT,
    "invoice_lines": DOCUMENT - {"collection_notices", "issuing", "payment_rows"},
    "bookings": {"bookings", "import_bookings"},
    "customers": {"customers", "import_customer_writes"},
    "contacts": {"contacts", "import_people"},
    "customer_users": {"customer_users", "import_people"},
    "deletions": {"deletions", "erasures"},
    "duties": {"deletions", "erasures"},
    "imports": {"imports", "import_applying"},
    "mails": {"mails", "mail_sending"},
    "sessions": {"sessions", "portal_sessions"},
    "sign_in_tickets": {"sessions", "portal_sessions"},
    # A payment that goes over to another document takes the debit along that collected it.
    "debits": {"debits", "payment_rows"},
}
# Fills a database with many customers for measuring, not by the app.
FILLS = ROOT / "lib" / "demo_fill.py"
WRITES = re.compile(r"(?:INSERT INTO|DELETE FROM|TRUNCATE)\s+(\w+)|UPDATE\s+(\w+)(?:\s+\w+)?\s+SET\b")

# The portal's pages but for those that a stranger opens: a mailed link, or the way to such a mail.
OPEN = ("main", "accept", "forgotten", "reset", "register", "confirm")
OF_PORTAL = [path for path in sorted((ROOT / "pages" / "portal").glob("*.py")) if path.stem not in ("__init__", *OPEN)]


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", LIB, ids=shown)
def test_lib_knows_no_page_and_no_streamlit(path: Path) -> None:
    assert not imported(path) & {"streamlit", "streamlit_authenticator", "pages", "app", "portal"}


def written(path: Path) -> set[str]:
    """The tables that a module of lib writes, in SQL or by SQLAlchemy's functions."""
    source = path.read_text()
    found = {name for match in WRITES.findall(source) for name in match}
    names = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "lib.tables":
            names |= {name.asname or name.name: name.name for name in node.names}
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("insert", "update", "delete", "upsert"):
            found.add(names.get(ast.unparse(node.args[0]), ""))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("copied", "_write"):
            found.add(str(getattr(node.args[1], "value", "")))
    return found & set(tables.metadata.tables)


def test_a_table_is_written_by_one_module() -> None:
    writers: dict[str, set[str]] = {}
    for path in LIB:
        if path != FILLS and "migrations" not in path.parts:
            for table in written(path):
                writers.setdefault(table, set()).add(path.stem)
    assert {table: modules for table, modules in writers.items() if len(modules) > 1} == WRITERS
    assert len(writers) > 50


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_pages_know_no_database(path: Path) -> None:
    assert not imported(path) & {"sqlalchemy", "psycopg", "app"}
    source = path.read_text()
    assert not any(word in source for word in ("SELECT ", "INSERT INTO", "DELETE FROM", "unsafe_allow_html=True"))


@pytest.mark.parametrize("path", GUARDED, ids=shown)
def test_a_pages_first_statement_asks_for_the_user(path: Path) -> None:
    first = first_statement(path)
    assert first.startswith(("user = session.require_user(Permission.", "session.require_user(Permission.")), first


@pytest.mark.parametrize("path", OF_PORTAL, ids=shown)
def test_a_page_of_the_portal_asks_for_the_customers_user_first(path: Path) -> None:
    assert first_statement(path) == "user = session.require_user()"
    assert "from pages.portal.shared import" in path.read_text()
    assert not re.search(r"\b(customers|invoices|bookings|documents|settings)\.\w+\(", path.read_text()), (
        "lib.portal reads"
    )


def test_the_menu_lists_a_page_for_exactly_those_whom_it_opens_for() -> None:
    for entry in frame.PAGES:
        asked = first_statement(ROOT / "pages" / entry.file)
        assert f"require_user(Permission.{entry.permission.name})" in asked, entry.file


def first_statement(path: Path) -> str:
    """What a page does first, after its imports, functions and constants."""
    body = ast.parse(path.read_text()).body
    runs = [
        node
        for node in body
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not is_constant(node)
    ]
    assert runs
    return ast.unparse(runs[0])


def is_constant(node: ast.stmt) -> bool:
    """NAME = a literal, a compiled pattern, the first of another constant: it reads nothing."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = all(name.id.isupper() for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
        calls = {ast.unparse(part.func) for part in ast.walk(node.value) if isinstance(part, ast.Call)}
        return names and calls <= {"re.compile", "next", "iter"}
    return False
