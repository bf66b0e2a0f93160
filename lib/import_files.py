"""CSV files as people have them: delimiter and encoding recognised, cells read, what is wrong said in words (row B11).

A file has one line of headings and below it one line per row. Line numbers are those that an editor
shows; a cell with line breaks covers several.
"""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from lib.errors import Invalid

MOST_BYTES = 50 * 1024 * 1024
MOST_ROWS = 200_000
MOST_COLUMNS = 200
ENCODINGS = {"utf-8": "UTF-8", "cp1252": "Windows-1252"}
DELIMITERS = {";": "Semicolon", ",": "Comma", "\t": "Tab"}

# As many records as tell the delimiter.
_SAMPLE_RECORDS = 50
_SAMPLE_CHARACTERS = 200_000
_WORKBOOK = "This is an Excel workbook, not a CSV file. In Excel: Save as → CSV UTF-8, then upload that file."
_KNOWN_BEGINNINGS = {
    b"PK\x03\x04": _WORKBOOK,
    b"\xd0\xcf\x11\xe0": _WORKBOOK,
    b"%PDF": "This is a PDF, not a CSV file.",
    b"\x1f\x8b": "This file is compressed. Unpack it, then upload the CSV file that is in it.",
    b"\xff\xfe": "This file is written in UTF-16. Save it as CSV UTF-8, then upload it again.",
    b"\xfe\xff": "This file is written in UTF-16. Save it as CSV UTF-8, then upload it again.",
}
# Excel's way to keep leading zeros: ="00123" is the text 00123.
_KEPT_AS_TEXT = re.compile(r'="([^"]*)"')
# What exports put an apostrophe in front of, so that no spreadsheet runs it.
_MADE_HARMLESS = re.compile(r"'[=+\-@\t\r]")


@dataclass(frozen=True)
class Form:
    """How a file is written: a key of ENCODINGS and one of DELIMITERS."""

    encoding: str
    delimiter: str


@dataclass(frozen=True)
class Sheet:
    """A file that was read: its headings, its cells by column, and the line on which each row begins.

    `torn` are the rows (by line) that don't have as many cells as there are headings, and how many they have.
    They are in no column.
    """

    form: Form
    header: list[str]
    columns: list[list[str]]
    lines: list[int]
    torn: dict[int, int]

    @property
    def rows(self) -> int:
        """How many rows there are below the headings."""
        return len(self.lines) + len(self.torn)


def recognise(content: bytes, is_heading: Callable[[str], bool]) -> Form:
    """Encoding and delimiter of a file. `is_heading` says whether a text is the name of a known column.

    Text is UTF-8 where it can be, else Windows-1252. The delimiter is the one by which most headings
    are known; then the one that cuts most rows into as many cells as there are headings.
    """
    require_text(content)
    encoding = "utf-8"
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
    sample = _decoded(content, encoding)[:_SAMPLE_CHARACTERS]
    return Form(encoding, max(DELIMITERS, key=lambda delimiter: _fits(sample, delimiter, is_heading)))


def read(content: bytes, form: Form) -> Sheet:
    """Read a file that is written in this form. Raises Invalid in words where it can't be read as a whole."""
    require_text(content)
    text = io.StringIO(_decoded(content, form.encoding), newline="")
    reader = csv.reader(text, delimiter=form.delimiter, strict=True)
    header: list[str] = []
    cells: list[list[str]] = []
    lines: list[int] = []
    torn: dict[int, int] = {}
    following = 1
    try:
        for row in reader:
            line, following = following, reader.line_num + 1
            if not any(row) or (line == 1 and row[0].lower().startswith("sep=")):  # Excel's hint at the delimiter
                continue
            if not header:
                header = _headings(row)
                continue
            if len(row) != len(header):
                if len(row) < len(header) or any(row[len(header) :]):
                    torn[line] = len(row)
                    continue
                del row[len(header) :]
            cells.append(row)
            lines.append(line)
            if len(lines) > MOST_ROWS:
                raise Invalid(f"The file has more than {MOST_ROWS:,} rows. Split it, and import the parts one by one.")
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num or 1}: {_explained(error)}") from error
    if not header:
        raise Invalid("The file is empty. Its first line must hold the headings of its columns.")
    if not cells and not torn:
        raise Invalid("The file has headings and no rows below them.")
    columns = [list(column) for column in zip(*cells, strict=True)] or [[] for _ in header]
    return Sheet(form, header, columns, lines, torn)


def plain(cell: str) -> str:
    """What a cell says: without the blanks around it, and without what keeps a spreadsheet from changing or running it.

    Raises Invalid for a formula: a file carries values.
    """
    typed = cell.strip()
    if _MADE_HARMLESS.match(typed):
        return typed[1:]
    if typed.startswith("="):
        kept = _KEPT_AS_TEXT.fullmatch(typed)
        if kept is None:
            raise Invalid(f"“{shortened(typed)}” is a formula. Put its result into the file.")
        return kept[1].strip()
    return typed


def shortened(cell: str, longest: int = 60) -> str:
    """A cell as a sentence can quote it."""
    return cell if len(cell) <= longest else f"{cell[:longest]}…"


def require_text(content: bytes) -> None:
    """Refuse with Invalid what is too large, empty, or no text at all."""
    if len(content) > MOST_BYTES:
        size, most = len(content) / 2**20, MOST_BYTES // 2**20
        raise Invalid(f"The file has {size:,.0f} MB, at most {most} MB can be imported. Split it into several files.")
    for beginning, sentence in _KNOWN_BEGINNINGS.items():
        if content.startswith(beginning):
            raise Invalid(sentence)
    nul = content.find(b"\0")
    if nul >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise Invalid(f"Line {line} contains a NUL character, which no text has. The file is damaged, or no CSV file.")


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        said = ENCODINGS[encoding]
        raise Invalid(f"Line {line} is not written in {said}. Save the file as CSV UTF-8, then upload it again.") from (
            error
        )


def _fits(sample: str, delimiter: str, is_heading: Callable[[str], bool]) -> tuple[int, float, int]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if any(row) and not row[0].lower().startswith("sep="):
                rows.append(row)
            if len(rows) > _SAMPLE_RECORDS:
                break
    except csv.Error:
        return 0, 0.0, 0
    if not rows:
        return 0, 0.0, 0
    header, *below = rows
    as_long = sum(len(row) == len(header) for row in below) / len(below) if below and len(header) > 1 else 0.0
    return sum(map(is_heading, header)), as_long, len(header)


def _headings(row: list[str]) -> list[str]:
    while row and not row[-1].strip():  # a delimiter at the end of the line
        row = row[:-1]
    if len(row) > MOST_COLUMNS:
        raise Invalid(f"The file has {len(row):,} columns, at most {MOST_COLUMNS} can be read. Is the delimiter right?")
    return [" ".join(heading.split()) for heading in row]


def _explained(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quotation mark is opened and never closed."
    if "expected after" in said:
        return "there is text after a closing quotation mark. A quotation mark in a cell is written twice."
    if "field larger" in said:
        return "a cell has more than 131,072 characters. Is a quotation mark missing?"
    return f"the file can't be read ({said})."
