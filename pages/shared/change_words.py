"""What an entry of the audit log says, in words."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from lib import project_keys
from lib.audit import Entry
from pages.shared import ui

LONGEST = 2_000
# A day in a text, but none that is part of a file's name.
_DAY = re.compile(r"(?<![\w-])\d{4}-\d{2}-\d{2}(?![\w.-])")
_MONTH = re.compile(r"\d{4}-\d{2}(-01)?")
# Abbreviations that a field's name holds in small letters.
_SHORT = {
    "vat": "VAT",
    "id": "ID",
    "iban": "IBAN",
    "bic": "BIC",
    "de": "(German)",
    "en": "(English)",
    "ips": "IPs",
    "url": "URL",
}
# Of these there is one, whose key says nothing.
_SINGLE = ("company", "keys", "mail server", "stripe account")


def field(name: str) -> str:
    """valid_from → Valid from."""
    words = " ".join(_SHORT.get(word, word) for word in name.replace("_", " ").split())
    return words[:1].upper() + words[1:]


def of(entry: Entry) -> str:
    """What was changed, as people call it: Invoice RE-2026-00012, Price of User licences, a customer by its name."""
    kind, name = entry.object_type, entry.name
    if kind == "customer" and entry.label:
        return entry.label
    if kind in _SINGLE:
        return field(kind)
    if kind == "invoice":
        return name or f"Draft {entry.object_id}" + (" (deleted)" if name is None else "")
    if kind == "month" and _MONTH.fullmatch(entry.object_id):
        return ui.month(date.fromisoformat(f"{entry.object_id[:7]}-01"))
    if name is None:
        return f"{field(kind)} {value(entry.object_id)}"
    if kind in ("price", "purchase price"):
        return f"{field(kind)} of {name}"
    return f"{field(kind)} {project_keys.MASK if kind == 'project key' else ''}{name}"


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
    return _DAY.sub(_day, str(stored))


def _day(found: re.Match[str]) -> str:
    try:
        return ui.day(date.fromisoformat(found[0]))
    except ValueError:  # somebody typed what only looks like a day
        return found[0]


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
