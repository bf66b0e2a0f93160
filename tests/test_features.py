"""docs/features.md tells the truth: a row is shown by exactly the tests that it names, or is *not yet*."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEATURES = ROOT / "docs" / "features.md"


def promised() -> dict[str, set[str]]:
    """Row → the tests that its last column names as `test_file.py::test_name` or `test_file.py`; empty for not yet."""
    rows = {}
    for line in FEATURES.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 3 and re.fullmatch(r"[A-Z]+\d+", cells[0]):
            rows[cells[0]] = set(re.findall(r"test_\w+(?:\.py)?(?:::\w+)?", cells[-1]))
    return rows


def marked() -> dict[str, set[str]]:
    """Row → the tests that carry its mark (on the function, or on the whole file by pytestmark)."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            names = []
            if isinstance(node, ast.FunctionDef):
                names, place = (
                    [row for mark in node.decorator_list for row in rows_of(mark)],
                    f"{path.name}::{node.name}",
                )
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                names, place = rows_of(node.value), path.name
            for row in names:
                found.setdefault(row, set()).add(place)
    return found


def rows_of(tree: ast.expr) -> list[str]:
    """The arguments of pytest.mark.row(…) in an expression."""
    return [
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    ]


def test_the_rows_and_the_marks_agree() -> None:
    rows, marks = promised(), marked()
    assert rows
    assert not set(marks) - set(rows), "marked, but no such row"
    wrong = [
        f"{row}: the document names {sorted(named) or 'not yet'}, marked are {sorted(marks.get(row, set()))}"
        for row, named in rows.items()
        if not agrees(named, marks.get(row, set()))
    ]
    assert not wrong, "\n".join(wrong)


def agrees(named: set[str], carrying: set[str]) -> bool:
    """Every named test (or file) carries the mark, and a row with marks names a test."""
    files = {place.split("::")[0] for place in carrying}
    complete = all(name in carrying or name in files for name in named)
    return complete and bool(named) == bool(carrying)
