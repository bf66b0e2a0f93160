"""What the fields of a customer's user may hold, and how a person is named (rows G4, S2)."""

import re
from collections.abc import Mapping
from typing import Any

from lib import fields, passwords
from lib.errors import Invalid

# All that can be edited of a user (row S2).
EDITABLE = ("salutation", "first_name", "surname", "email")
SALUTATIONS = {"": "None", "ms": "Ms", "mr": "Mr"}
# How a salutation is written in mails, and how else in files that are imported.
_WRITTEN = {"de": {"ms": "Frau", "mr": "Herr"}, "en": {"ms": "Ms", "mr": "Mr"}}
_ALSO = {"frau": "ms", "mrs": "ms", "miss": "ms", "herr": "mr", "ms.": "ms", "mrs.": "ms", "mr.": "mr", "none": ""}
# The last word, with the particles before it that begin with a small letter: Ludwig | van Beethoven.
_SURNAME = re.compile(r"(?<=\s)(?:[^\W\dA-ZÄÖÜ]\S*\s)*\S+$")


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The typed values in the form they are stored. Raises Invalid at the field, and for any other field."""
    with fields.all_of() as check:
        return {name: check(_checked_field, name, value) for name, value in given.items()}


def _checked_field(name: str, value: Any) -> str:
    if name not in EDITABLE:
        raise Invalid("Of a user only salutation, first name, surname and e-mail can be changed.", field=name)
    if name == "email":
        # In small letters, so that it is one login however it is typed.
        return fields.email(value, field=name, required=True).lower()
    if name == "salutation":
        typed = str(value or "").strip().lower()
        return fields.one_of(_ALSO.get(typed, typed), SALUTATIONS, field=name, label="Salutation")
    label = "The first name" if name == "first_name" else "The surname"
    return fields.line(value, field=name, label=label, longest=100)


def shown(name: str, value: Any) -> Any:
    """A stored value as a person reads it."""
    return SALUTATIONS[value] if name == "salutation" and value else value


def split_name(name: str) -> tuple[str, str]:
    """First name and surname of a whole name, as far as its words tell: the surname is the last, with its particles."""
    whole = " ".join(name.split())
    surname = _SURNAME.search(whole)
    return (whole[: surname.start()].strip(), surname[0]) if surname else ("", whole)


def addressed(*, salutation: str, first_name: str, surname: str, language: str) -> str:
    """How a mail addresses a person: Frau Ahlbeck, Ms Ahlbeck, Anke Ahlbeck; nothing where no name is known."""
    title = _WRITTEN[language].get(salutation, "")
    return f"{title} {surname}" if title and surname else f"{first_name} {surname}".strip()


def require_good_password(password: str, *, email: str) -> None:
    """Refuse with Invalid at `password` what is short, among what everybody tries first, or the own address."""
    passwords.require_good(password, username=email.lower(), field="password")
    own = email.lower().partition("@")[0]
    # Shorter ones stand in many a good password by chance.
    if len(own) >= 4 and own in password.lower():
        raise Invalid("A password can't contain your e-mail address or its first part.", field="password")
