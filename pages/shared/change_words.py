"""What an entry of the audit log says, in words."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from lib.audit import Entry
from pages.shared import ui

LONGEST = 300
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# Abbreviations that a field's name holds in small letters.
_SHORT = {"vat": "VAT", "id": "ID", "iban": "IBAN", "bic": "BIC", "de": "(German)", "en": "(English)", "ips": "IPs"}


def field(name: str) -> str:
    """valid_from → Valid from."""
    words = " ".join(_SHORT.get(word, word) for word in name.replace("_", " ").split())
    return words[:1].upper() + words[1:]


def value(stored: Any) -> str:
    """A stored value as a person reads it."""
    if stored is None or stored == "":
        return ui.NOTHING
    if isinstance(stored, list):
        return ", ".join(map(value, stored)) or ui.NOTHING
    if isinstance(stored, date):
        return ui.day(stored)
    if isinstance(stored, bool):
        return "yes" if stored else "no"
    if isinstance(stored, str) and _DAY.fullmatch(stored):
        return ui.day(date.fromisoformat(stored))
    return str(stored)


def change(entry: Entry) -> str:
    """All changes of an entry in one cell: Rate: 19.00 → 20.00; …"""
    return told(entry.changes)


def told(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Changes of fields (before, after) in one cell."""
    texts = (
        # What was not there before has no before: a new row reads as its values.
        f"{field(name)}: " + (f"{value(before)} → {value(after)}" if before is not None else value(after))
        for name, (before, after) in changes.items()
        if (before, after) not in ((None, None), (None, ""), (None, False))
    )
    text = "; ".join(texts)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
