"""What a column of an import may be: its field, the headings it is known by, and how a cell of it is read (row B11).

A cell is read by the rule of the form that types the same field; what is added here is how files
write things: choices in German or English words, days as 2026-06-30 or 30.06.2026, amounts as
1.234,56 or 1,234.56.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache, partial
from typing import Any

import pycountry
from babel import Locale

from lib import customer_fields, fields, money
from lib.errors import Invalid

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_YES = frozenset("yes y ja j true wahr 1 x on an".split())
_NO = frozenset("no n nein false falsch 0 off aus -".split())
# 1.234: with three decimals or a thousand and more.
_EITHER = re.compile(r"[+-]?(?!0[.,])\d{1,3}[.,]\d{3}")
_GERMAN_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")


@dataclass(frozen=True)
class Field:
    """One field that a column can fill.

    `read` turns what a cell says into the value that is stored and raises Invalid in words. A
    `needed` field must have a column; one that is `filled` has a value in each row. An empty cell of
    the others says nothing, or, where that was asked for and `clears` allows it, that it is `empty` now. A `measured`
    one is a number with decimals, of which 1.234 can be read in two ways: the rest of its column decides. Of a line of
    text `as_is` is the most characters of it: a cell of printable ASCII that isn't longer is its own value.
    """

    name: str
    label: str
    read: Callable[[str], Any]
    headings: tuple[str, ...] = ()
    example: str = ""
    needed: bool = False
    filled: bool = False
    clears: bool = False
    empty: Any = dataclasses.field(default="", hash=False)  # a list of tags can be empty, too
    measured: bool = False
    as_is: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of import: what a row of it is, and the fields that its columns can fill."""

    name: str
    label: str
    row: str
    about: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """One of its fields by name."""
        return next(field for field in self.fields if field.name == name)

    def is_heading(self, heading: str) -> bool:
        """Whether a heading names one of its fields."""
        return _heading(heading) in _known(self)

    def matched(self, header: Sequence[str]) -> dict[str, int]:
        """Field → the number of its column, by the headings; the first of two that fit."""
        found: dict[str, int] = {}
        for index, heading in enumerate(header):
            name = _known(self).get(_heading(heading))
            if name is not None:
                found.setdefault(name, index)
        return found


def folded(words: str) -> str:
    """Words as they are compared: small letters, without umlauts, blanks and signs."""
    return re.sub(r"[^a-z0-9]", "", words.lower().translate(_UMLAUTS))


def _heading(heading: str) -> str:
    # A remark in brackets, and the sign for a required column, are no part of the name.
    return folded(re.sub(r"\(.*?\)|\[.*?\]", "", heading)) or folded(heading)


@cache
def _known(kind: Kind) -> dict[str, str]:
    known: dict[str, str] = {}
    for field in kind.fields:
        for heading in (field.name, field.label, *field.headings):
            known.setdefault(folded(heading), field.name)
    return known


# ---------------------------------------------------------------------------------- reading cells


def of_customer(name: str) -> Callable[[str], Any]:
    """By the rule of the customer's form."""
    return partial(customer_fields.checked_field, name)


def chosen(name: str, *, also: Mapping[str, str]) -> Callable[[str], Any]:
    """A choice by its key or its word; `also` maps further words, German ones say, to keys."""
    choices: dict[str, Mapping[str, str]] = {
        "service_mode": customer_fields.SERVICE_MODES,
        "payment_method": customer_fields.PAYMENT_METHODS,
        "language": customer_fields.LANGUAGES,
        "tenant_type": customer_fields.TENANT_TYPES,
        "storage_region": customer_fields.STORAGE_REGIONS,
    }
    known = {folded(word): key for key, label in choices[name].items() for word in (key, label)}
    known |= {folded(word): key for word, key in also.items()}
    return lambda cell: customer_fields.checked_field(name, known.get(folded(cell), cell))


def country(name: str) -> Callable[[str], Any]:
    """A country by its code, or its English or German name."""

    def read(cell: str) -> Any:
        try:
            return customer_fields.checked_field(name, _countries().get(folded(cell), cell))
        except Invalid as refused:
            raise Invalid(f"“{cell[:60]}” is no country. Write its code, like DE, or its name.") from refused

    return read


def yes_or_no(cell: str) -> bool:
    """Yes or no, as files say it in both languages."""
    said = cell.strip().lower()
    if said in _YES:
        return True
    if said in _NO:
        return False
    raise Invalid(f"“{cell[:60]}” is neither yes nor no.")


def phase(cell: str) -> str:
    """Test or billed: by the word, or as an answer to whether the customer is billed."""
    said = folded(cell)
    if said in ("test", "testkunde", "testcustomer"):
        return "test"
    if said in ("billed", "abgerechnet", "abgerechneterkunde", "billedcustomer"):
        return "billed"
    try:
        return "billed" if yes_or_no(cell) else "test"
    except Invalid as error:
        raise Invalid(f"“{cell[:60]}” is neither test nor billed.") from error


def day(cell: str) -> date:
    """A day: 2026-06-30 or 30.06.2026."""
    typed = cell.strip()
    german = _GERMAN_DAY.fullmatch(typed)
    try:
        if german:
            found = date(int(german[3]), int(german[2]), int(german[1]))
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", typed, re.ASCII):
            found = date.fromisoformat(typed)
        else:
            raise ValueError
    except ValueError as error:
        raise Invalid(f"“{cell[:60]}” is not a day. Write it like 2026-06-30 or 30.06.2026.") from error
    checked = fields.day(found, field="day", label="The day")
    assert checked is not None
    return checked


def whole(label: str, *, highest: int = 10_000_000) -> Callable[[str], int]:
    """A whole number: 1200, 1.200 or 1,200."""
    return partial(fields.whole, field="", label=label, highest=highest)


def amount(cell: str) -> Decimal:
    """A number with up to three decimals: 1.234,5 or 1,234.5."""
    return money.parse(cell, decimals=3)


def decimal_sign(cells: Iterable[str]) -> str | None:
    """The sign before the decimals, where these cells tell it: 12,5 does, and 1.234,5; 1.234 does not."""
    told = set()
    for cell in cells:
        signs = [character for character in cell if character in ".,"]
        if signs and not _EITHER.fullmatch(cell.strip()):
            groups = len(signs) > 1 and len(set(signs)) == 1
            told.add(({".", ","} - set(signs)).pop() if groups else signs[-1])
    return told.pop() if len(told) == 1 else None


def told_apart(cell: str, sign: str | None) -> str:
    """A number that can be read in two ways, written so that it is read as `sign` says."""
    if sign is None or not _EITHER.fullmatch(cell.strip()):
        return cell
    return f"{cell.strip()}0" if sign in cell else re.sub("[.,]", "", cell)


def line(label: str, *, longest: int = fields.LONGEST, filled: bool = False) -> Callable[[str], str]:
    """One line of text."""
    return partial(fields.line, field="", label=label, longest=longest, required=filled)


def number(cell: str) -> str:
    """A customer's number; one of ours is found in small letters, too."""
    typed = fields.line(cell, field="number", label="The customer number", longest=40)
    return typed.upper() if re.fullmatch(r"c-\d+", typed) else typed


@cache
def _countries() -> dict[str, str]:
    known = {folded(one.name): one.alpha_2 for one in pycountry.countries}
    for language in ("de", "en"):
        territories = Locale(language).territories
        codes = {one.alpha_2 for one in pycountry.countries}
        known |= {folded(name): code for code, name in territories.items() if code in codes}
    return known
