"""From the cells of a file to values, and what is wrong with them by line and column (row B11).

The cells of a column repeat themselves, so each different one is read once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.errors import Invalid
from lib.import_fields import Field, Kind, decimal_sign, told_apart
from lib.import_files import Form, Sheet, plain, shortened

# Nobody corrects more than that from a list; how many there are in all is said.
MOST_FAULTS = 10_000
# What an empty cell says of its field: nothing. None is a value: no maximum, say.
SILENT: Any = object()


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: its form, the column (from 0) of each field, and what an empty cell says.

    `empties`: an empty cell empties its field; else it leaves the field as it is.
    """

    form: Form
    columns: Mapping[str, int]
    empties: bool = False

    def stored(self) -> dict[str, Any]:
        """As it is kept with an import."""
        return {
            "encoding": self.form.encoding,
            "delimiter": self.form.delimiter,
            "columns": dict(self.columns),
            "empties": self.empties,
        }

    @classmethod
    def loaded(cls, stored: Mapping[str, Any]) -> "Reading":
        """What `stored` gave."""
        return cls(Form(stored["encoding"], stored["delimiter"]), stored["columns"], stored["empties"])


@dataclass(frozen=True)
class Fault:
    """What is wrong with a cell, or with a whole row where there is no column."""

    line: int
    column: str
    value: str
    message: str


@dataclass
class Faults:
    """The faults of a file, by line: the first ones in full, all of them counted."""

    header: Sequence[str]
    columns: Mapping[str, int]
    found: list[Fault] = field(default_factory=list)
    count: int = 0
    lines: set[int] = field(default_factory=set)
    cells: set[tuple[int, str]] = field(default_factory=set)

    def add(self, line: int, message: str, *, name: str | None = None, value: Any = "") -> None:
        """Note one; `name` is the field whose column it is in. Of a cell the first counts: others follow from it."""
        if name is not None and (line, name) in self.cells:
            return
        self.cells.add((line, name or ""))
        self.lines.add(line)
        self.count += 1
        if len(self.found) < MOST_FAULTS:
            column = self.header[self.columns[name]] if name and name in self.columns else ""
            self.found.append(Fault(line, column, shortened(str(value or "")), message))

    def sorted(self) -> list[Fault]:
        """By line, then by column from left to right."""
        order = {heading: index for index, heading in enumerate(self.header)}
        return sorted(self.found, key=lambda fault: (fault.line, order.get(fault.column, -1)))


@dataclass(frozen=True)
class Rows:
    """The values of a file by field, each as long as `lines`; SILENT where a cell is empty or faulty."""

    lines: list[int]
    values: dict[str, list[Any]]
    faults: Faults

    def column(self, name: str) -> list[Any]:
        """The values of a field; silent throughout where it has no column."""
        return self.values.get(name) or [SILENT] * len(self.lines)


def read(sheet: Sheet, kind: Kind, reading: Reading) -> Rows:
    """Read all cells that fill a field. Raises Invalid where a needed field has no column."""
    _require_columns(sheet, kind, reading)
    faults = Faults(sheet.header, reading.columns)
    for line, torn in sheet.torn.items():
        faults.add(line, _torn(torn, len(sheet.header), reading.form.delimiter))
    values = {}
    for one in kind.fields:
        if one.name in reading.columns:
            cells = sheet.columns[reading.columns[one.name]]
            values[one.name] = _read(cells, sheet.lines, one, faults, empties=reading.empties and one.clears)
    return Rows(sheet.lines, values, faults)


def _read(cells: list[str], lines: list[int], one: Field, faults: Faults, *, empties: bool) -> list[Any]:
    known: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    sign = decimal_sign(set(cells)) if one.measured else None
    for cell in set(cells):
        if one.as_is and _says_itself(cell, one.as_is):
            known[cell] = cell
            continue
        try:
            known[cell] = _value(told_apart(cell, sign), one, empties=empties)
        except Invalid as refusal:
            known[cell], wrong[cell] = SILENT, str(refusal)
    if wrong:
        for line, cell in zip(lines, cells, strict=True):
            if cell in wrong:
                faults.add(line, wrong[cell], name=one.name, value=cell)
    return [known[cell] for cell in cells]


def _says_itself(cell: str, longest: int) -> bool:
    """Whether a cell is its own value: printable ASCII without blanks around it or a spreadsheet's signs before it."""
    return (
        0 < len(cell) <= longest and cell.isascii() and cell.isprintable() and cell[0] not in " '=" and cell[-1] != " "
    )


def _value(cell: str, one: Field, *, empties: bool) -> Any:
    typed = plain(cell)
    if typed:
        return one.read(typed)
    if one.filled:
        raise Invalid(f"{one.label} is required: fill the cell in.")
    return one.empty if empties else SILENT


def _require_columns(sheet: Sheet, kind: Kind, reading: Reading) -> None:
    for name, index in reading.columns.items():
        if not 0 <= index < len(sheet.header):
            raise Invalid(f"The file has no column {index + 1} for {kind.field(name).label}. Match the columns anew.")
    if len(set(reading.columns.values())) < len(reading.columns):
        raise Invalid("A column of the file is matched to two fields. Choose one of them.")
    missing = [one.label for one in kind.fields if one.needed and one.name not in reading.columns]
    if missing:
        raise Invalid(f"No column is matched to {' and '.join(missing)}. Choose it below.")


def _torn(cells: int, headings: int, delimiter: str) -> str:
    sign = "tab" if delimiter == "\t" else delimiter
    cause = f"A cell that holds {sign} must stand in quotation marks." if cells > headings else f"Is a {sign} missing?"
    return f"The row has {cells} cells, but there are {headings} headings. {cause}"
