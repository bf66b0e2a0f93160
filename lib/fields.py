"""Checks of typed values that more than one noun needs. Each refuses with a sentence at its field."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, ParamSpec, TypeVar

import pycountry

from lib.errors import Invalid

LONGEST = 200
_EMAIL = re.compile(r"[^@\s,;<>\"']{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?\.[A-Za-z]{2,63}")
# Digits, in groups of three where somebody groups them.
_WHOLE = re.compile(r"[+-]?(\d+|\d{1,3}([., ])\d{3}(\2\d{3})*)", re.ASCII)
# No @ before the path: an address that seems to lead to one host and leads to another.
_HTTPS = re.compile(r"https://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(?::\d{1,5})?(?:[/?#][!-~]*)?", re.I)
# Of whole numbers.
MOST = 10_000_000
EARLIEST, LATEST = date(2000, 1, 1), date(2199, 12, 31)


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Check:
    """Calls a check and keeps its refusal, so that the next value is looked at, too."""

    def __init__(self) -> None:
        self.refusals: list[Invalid] = []

    def __call__(self, check: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the check returns; None where it refuses, which nobody gets to see: `all_of` raises."""
        try:
            return check(*args, **kwargs)
        except Invalid as refusal:
            self.refusals.append(refusal)
            return None  # type: ignore[return-value]


@contextmanager
def all_of() -> Iterator[Check]:
    """Check several values: whoever typed them is told of all that can't be saved at once. Raises Invalid."""
    check = Check()
    yield check
    if check.refusals:
        raise Invalid.joined(check.refusals)


def line(value: Any, *, field: str, label: str, required: bool = False, longest: int = LONGEST) -> str:
    """One line of text, trimmed; refuses control characters and what is too long."""
    typed = unicodedata.normalize("NFC", str(value or "")).strip()
    # What is printable holds none of those, and is told in a tenth of the time.
    if not typed.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in typed):
        raise Invalid(f"{label} contains a character that can't be printed. Type it anew.", field=field)
    return _sized(typed, field=field, label=label, required=required, longest=longest)


def block(value: Any, *, field: str, label: str, required: bool = False, longest: int = 2000) -> str:
    """Text of several lines, trimmed; refuses control characters other than line breaks and tabs."""
    typed = unicodedata.normalize("NFC", str(value or "")).replace("\r\n", "\n").strip()
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in typed):
        raise Invalid(f"{label} contains a character that can't be printed. Type it anew.", field=field)
    return _sized(typed, field=field, label=label, required=required, longest=longest)


def email(value: Any, *, field: str, label: str = "The e-mail address", required: bool = False) -> str:
    """An e-mail address as mail servers take it."""
    typed = line(value, field=field, label=label, required=required, longest=254)
    if typed and (not _EMAIL.fullmatch(typed) or ".." in typed):
        raise Invalid(f"“{typed[:60]}” is not an e-mail address. Write it like name@company.example.", field=field)
    return typed


def web_address(value: Any, *, field: str, label: str) -> str:
    """An https address that a browser may be sent to as it stands; may be empty."""
    typed = line(value, field=field, label=label, longest=500)
    if not typed:
        return ""
    odd = set(typed) & set('\\"<>^`{|}')
    if not _HTTPS.fullmatch(typed) or odd or ".." in typed.split("/")[2]:
        raise Invalid(f"{label} must look like https://console.example/start. Copy it from your browser.", field=field)
    return "https" + typed[5:]


def day(value: Any, *, field: str, label: str, required: bool = False) -> date | None:
    """A day of this age, given as a date or as YYYY-MM-DD; None where it is empty."""
    if value in (None, ""):
        if required:
            raise Invalid(f"{label} is required.", field=field)
        return None
    try:
        found = value if type(value) is date else date.fromisoformat(str(value).strip())
    except ValueError as error:
        raise Invalid(f"{label} must be a day, like 2026-12-31.", field=field) from error
    if not EARLIEST <= found <= LATEST:
        raise Invalid(f"{label} must be between {EARLIEST:%Y} and {LATEST:%Y}.", field=field)
    return found


def country(value: Any, *, field: str) -> str:
    """A country's two-letter code (ISO 3166-1)."""
    code = str(value or "").strip().upper()
    if pycountry.countries.get(alpha_2=code) is None:
        raise Invalid("Choose a country.", field=field)
    return code


def one_of(value: Any, choices: Mapping[str, str], *, field: str, label: str) -> str:
    """One of the keys of `choices`."""
    if value not in choices:
        raise Invalid(f"{label}: choose one of {', '.join(choices.values())}.", field=field)
    return str(value)


def whole(value: Any, *, field: str, label: str, lowest: int = 0, highest: int = MOST) -> int:
    """A whole number within its limits; takes what people type (1.000)."""
    typed = str(value).strip()
    if not _WHOLE.fullmatch(typed) or len(typed) > 30:
        raise Invalid(f"{label} must be a whole number, for example {min(max(25, lowest), highest)}.", field=field)
    number = int(re.sub(r"[., ]", "", typed))
    if not lowest <= number <= highest:
        raise Invalid(f"{label} must be between {lowest:,} and {highest:,}.", field=field)
    return number


def _sized(typed: str, *, field: str, label: str, required: bool, longest: int) -> str:
    if required and not typed:
        raise Invalid(f"{label} is required.", field=field)
    if len(typed) > longest:
        raise Invalid(f"{label} is too long: {len(typed):,} characters, at most {longest:,}.", field=field)
    return typed
