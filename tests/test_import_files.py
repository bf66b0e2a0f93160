"""CSV files in whatever form people have them are recognised, or refused with a sentence."""

import csv
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lib import import_downloads, import_fields, import_files, import_rows, money
from lib.errors import Invalid
from lib.import_files import DELIMITERS, ENCODINGS, Form
from lib.import_kinds import KINDS
from tests.uploads import written

pytestmark = pytest.mark.row("B11")
CUSTOMERS = KINDS["customers"]
HEADINGS = [field.label for field in CUSTOMERS.fields]


def opened(content: bytes) -> import_files.Sheet:
    return import_files.read(content, import_files.recognise(content, CUSTOMERS.is_heading))


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------------------------- recognised

CELLS = st.text(
    st.characters(codec="cp1252", exclude_categories=("Cs", "Cc")) | st.sampled_from([";", ",", "\t", '"', "\n", "'"]),
    max_size=12,
).map(lambda cell: cell.replace("\n", "\r\n"))


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Headings that are known, and some rows of anything, none of them empty."""
    header = draw(st.lists(st.sampled_from(HEADINGS), min_size=2, max_size=6, unique=True))
    row = st.lists(CELLS, min_size=len(header), max_size=len(header)).filter(any)
    return [header, *draw(st.lists(row, min_size=1, max_size=8))]


@given(
    table=tables(),
    delimiter=st.sampled_from(sorted(DELIMITERS)),
    encoding=st.sampled_from([*ENCODINGS, "utf-8-sig"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\r\n", "\n"]),
)
def test_what_was_written_is_read_whatever_the_form(
    table: list[list[str]], delimiter: str, encoding: str, quoting: int, ending: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows(table)
    content = out.getvalue().encode(encoding)
    if encoding == "cp1252" and not content.isascii():
        assume(not is_utf8(content))  # the same bytes are a text in UTF-8, too: nobody can tell
    sheet = opened(content)
    assert sheet.form.delimiter == delimiter
    assert [sheet.header, *map(list, zip(*sheet.columns, strict=True))] == [table[0], *table[1:]]
    assert sheet.torn == {}


def test_line_numbers_are_those_of_an_editor() -> None:
    content = b'Number;Name\r\n\r\nA;"two\r\nlines"\r\n;;;\r\nB;one\r\n'
    sheet = opened(content)
    assert sheet.lines == [3, 6]
    assert sheet.columns == [["A", "B"], ["two\r\nlines", "one"]]


def test_excels_hint_at_the_delimiter_is_no_heading() -> None:
    sheet = opened(b"sep=,\r\nNumber,Name\r\nA,Ada\r\n")
    assert (sheet.form.delimiter, sheet.header, sheet.lines) == (",", ["Number", "Name"], [3])


@pytest.mark.parametrize(
    ("headings", "fields"),
    [
        ("Kunden-Nr.;Firma;Straße;PLZ;Ort;Land", ["number", "name", "street", "postcode", "city", "country"]),
        ("customer no.;COMPANY;e-mail;VAT_ID", ["number", "name", "contact_email", "vat_id"]),
        ("USt-IdNr.;Zahlungsart;Zahlungsziel (Tage);Enddatum", ["vat_id", "payment_method", "payment_days", "ends_on"]),
        ("Name;Unknown thing;Name", ["name"]),
    ],
)
def test_columns_are_matched_by_german_and_english_names(headings: str, fields: list[str]) -> None:
    header = headings.split(";")
    matched = CUSTOMERS.matched(header)
    assert sorted(matched, key=matched.__getitem__) == fields


def test_no_heading_names_two_fields_of_a_kind() -> None:
    for kind in KINDS.values():
        for field in kind.fields:
            for heading in (field.label, field.name):
                assert kind.matched([heading]) == {field.name: 0}, (kind.name, heading)


def test_the_documentation_names_every_column() -> None:
    told = (Path(__file__).parents[1] / "docs" / "imports.md").read_text()
    for kind in KINDS.values():
        section = told.split(f"\n## {kind.label}\n")[1].split("\n## ")[0]
        named = [
            line.split("|")[1].replace("\\*", "").strip() for line in section.splitlines() if line.startswith("| ")
        ]
        assert named[1:] == [field.label for field in kind.fields], kind.name


def test_the_template_of_a_kind_is_a_file_that_is_read() -> None:
    for kind in KINDS.values():
        content = import_downloads.template(kind)
        sheet = import_files.read(content, import_files.recognise(content, kind.is_heading))
        assert kind.matched(sheet.header) == {field.name: index for index, field in enumerate(kind.fields)}
        for field, column in zip(kind.fields, sheet.columns, strict=True):
            if column[0]:
                field.read(import_files.plain(column[0]))


# ---------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b"\r\n\r\n", "The file is empty."),
        (b"Number;Name\r\n", "no rows below them"),
        (b"PK\x03\x04rest", "an Excel workbook, not a CSV file"),
        (b"%PDF-1.7", "a PDF, not a CSV file"),
        ("Number;Name\r\nA;Ada".encode("utf-16"), "written in UTF-16"),
        (b"Number;Name\r\nA;A\0da\r\n", "Line 2 contains a NUL character"),
        (b'Number;Name\r\nA;"Ada\r\n', "a quotation mark is opened and never closed"),
        (b'Number;Name\r\nA;"Ada"s\r\n', "Line 2: there is text after a closing quotation mark"),
        (b'Number;Name\r\nA;"' + b"x" * 200_000 + b'"\r\n', "a cell has more than 131,072 characters"),
        (b"Number;Name\r\nA;\x81\r\n", "Line 2 is not written in Windows-1252"),
        (b";".join([b"x"] * 300) + b"\r\nA\r\n", "The file has 300 columns, at most 200"),
    ],
)
def test_what_is_no_such_file_is_refused_in_words(content: bytes, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        opened(content)
    assert sentence in str(refused.value)


def test_a_file_that_is_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(Invalid, match="The file has 200 MB, at most 50 MB can be imported"):
        opened(bytes(200 * 1024 * 1024))


def test_too_many_rows_are_refused_with_the_limit() -> None:
    with pytest.raises(Invalid, match="more than 200,000 rows"):
        opened(b"Number;Name\n" + b"A;B\n" * 200_001)


def test_a_row_with_too_many_or_too_few_cells_is_named_and_the_others_are_read() -> None:
    sheet = opened(b"Number;Name\nA;Ada\nB\nC;Cem;x\nD;Dora;\n")
    assert sheet.torn == {3: 1, 4: 3}
    assert (sheet.lines, sheet.columns, sheet.rows) == ([2, 5], [["A", "D"], ["Ada", "Dora"]], 4)


def test_a_form_that_was_chosen_by_hand_is_used() -> None:
    content = written("Number|Name", "A|Müller", encoding="cp1252")
    assert import_files.read(content, Form("cp1252", ";")).columns[1] == ["Müller"]
    with pytest.raises(Invalid, match="Line 2 is not written in UTF-8"):
        import_files.read(content, Form("utf-8", ";"))


# ---------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (" Ada ", "Ada"),
        ('="00123"', "00123"),  # Excel keeps leading zeros so
        ("'=1+1", "=1+1"),  # as exports write it
        ("'+49 30 1", "+49 30 1"),
        ("+49 30 1", "+49 30 1"),
        ("@home GmbH", "@home GmbH"),
        ("'s-Hertogenbosch", "'s-Hertogenbosch"),
    ],
)
def test_a_cell_says_what_a_spreadsheet_shows(cell: str, said: str) -> None:
    assert import_files.plain(cell) == said


def test_a_formula_is_refused() -> None:
    with pytest.raises(Invalid, match="is a formula"):
        import_files.plain('=HYPERLINK("https://elsewhere.example";"x")')


@pytest.mark.parametrize("cell", ["2026-06-30", "30.06.2026", "30.6.2026"])
def test_days_are_read_in_both_ways(cell: str) -> None:
    assert import_fields.day(cell) == date(2026, 6, 30)


@pytest.mark.parametrize("cell", ["31.06.2026", "06/30/2026", "2026-6-30", "30.06.26", "gestern", "30.06.1999"])
def test_what_is_no_day_is_refused(cell: str) -> None:
    with pytest.raises(Invalid):
        import_fields.day(cell)


@pytest.mark.parametrize(
    ("cell", "amount"), [("1.234,56", "1234.56"), ("1,234.56", "1234.56"), ("0,125", "0.125"), ("12", "12")]
)
def test_amounts_are_read_in_both_ways(cell: str, amount: str) -> None:
    assert import_fields.amount(cell) == Decimal(amount)


@pytest.mark.parametrize(
    ("cells", "amounts"),
    [
        (["1.234", "12.5"], ["1.234", "12.5"]),
        (["1.234", "12,5"], ["1234", "12.5"]),
        (["1,234", "1.234.567"], ["1.234", "1234567"]),
        (["1,234", "0.5", "7"], ["1234", "0.5", "7"]),
        (["-1.234", "1.234,5"], ["-1234", "1234.5"]),
    ],
)
def test_what_can_be_read_in_two_ways_is_read_as_the_rest_of_its_column(cells: list[str], amounts: list[str]) -> None:
    sign = import_fields.decimal_sign(cells)
    read = [money.parse(import_fields.told_apart(cell, sign), decimals=3, negative=True) for cell in cells]
    assert read == [Decimal(amount) for amount in amounts]


@pytest.mark.parametrize("cells", [["1.234", "5"], ["1.234", "12.5", "12,5"], ["1.234"]])
def test_where_nothing_tells_it_is_refused(cells: list[str]) -> None:
    with pytest.raises(Invalid, match="can be read in two ways"):
        import_fields.amount(import_fields.told_apart(cells[0], import_fields.decimal_sign(cells)))


@pytest.mark.parametrize(("cell", "said"), [("Ja", True), ("x", True), ("1", True), ("nein", False), ("FALSE", False)])
def test_yes_and_no_in_both_languages(cell: str, said: bool) -> None:
    assert import_fields.yes_or_no(cell) is said


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("country", "Österreich", "AT"),
        ("country", "germany", "DE"),
        ("country", "ch", "CH"),
        ("payment_method", "SEPA-Lastschrift", "direct_debit"),
        ("payment_method", "Bank transfer", "bank_transfer"),
        ("service_mode", "Self-Service", "self_service"),
        ("language", "Deutsch", "de"),
        ("phase", "Ja", "billed"),
        ("phase", "Test", "test"),
        ("max_users", "1.200", 1200),
        ("number", "c-10001", "C-10001"),
    ],
)
def test_choices_are_known_by_their_words(field: str, cell: str, value: object) -> None:
    assert CUSTOMERS.field(field).read(cell) == value


@pytest.mark.parametrize(
    "cell", ["Ada GmbH", "Werkstr. 5", "-", "+49 30", "Müller", " x ", "'=1", "=1", "x" * 200, "x" * 201, "a  b"]
)
def test_a_cell_that_says_itself_is_read_as_by_the_form(cell: str) -> None:
    field = CUSTOMERS.field("street")
    try:
        by_form: Any = field.read(import_files.plain(cell))
    except Invalid as refused:
        by_form = str(refused)
    content = f"Number;Street\nK-1;{cell}\n".encode()
    sheet = import_files.read(content, Form("utf-8", ";"))
    rows = import_rows.read(sheet, CUSTOMERS, import_rows.Reading(sheet.form, {"number": 0, "street": 1}))
    read = rows.faults.found[0].message if rows.faults.found else rows.values["street"][0]
    assert read == by_form
