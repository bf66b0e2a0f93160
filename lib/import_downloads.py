"""What is downloaded around an import: a template to fill in, and the list of what is wrong (row B11).

Both as a German Excel opens them by a double click, and as the import reads them: semicolons, UTF-8
with a byte order mark.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from lib.import_fields import Kind
from lib.import_rows import Fault

_BOM = "\ufeff"


def template(kind: Kind) -> bytes:
    """A file with the headings of all fields, and one row as an example."""
    return _written([[field.label for field in kind.fields], [field.example for field in kind.fields]])


def faults(found: Iterable[Fault]) -> bytes:
    """What is wrong by line and column."""
    rows = [[str(one.line), one.column, one.value, one.message] for one in found]
    return _written([["Line", "Column", "Cell", "What is wrong"], *rows])


def _written(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=";", lineterminator="\r\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return (_BOM + out.getvalue()).encode()


def _harmless(cell: str) -> str:
    """With an apostrophe before what a spreadsheet would run; `import_files.plain` takes it away again."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
