"""The file that a bank collects direct debits by: pain.008.001.08, checked against its schema (row G16)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sepaxml import SepaDD
from sepaxml.validation import ValidationError
from text_unidecode import unidecode

from lib.errors import Conflict

SCHEMA = "pain.008.001.08"
# What every bank takes (EPC 217-08); the rest is written by the nearest of these.
_OTHER = re.compile(r"[^A-Za-z0-9/?:().,'+ -]+")


@dataclass(frozen=True)
class Creditor:
    """Who collects, to which account."""

    name: str
    iban: str
    bic: str
    creditor_id: str


@dataclass(frozen=True)
class Collection:
    """One amount that is collected. `address` is empty, or street, postcode, town and country of the holder."""

    amount: Decimal
    iban: str
    bic: str
    holder: str
    mandate: str
    signed_on: date
    sequence: str
    end_to_end: str
    text: str
    address: dict[str, str]


def written(creditor: Creditor, collections: Iterable[Collection], *, collect_on: date) -> tuple[str, bytes]:
    """The message's id and the file. Raises Conflict where it doesn't fit the schema."""
    config = {
        "name": plain(creditor.name)[:70],
        "IBAN": creditor.iban,
        "batch": True,
        "creditor_id": creditor.creditor_id,
        "currency": "EUR",
    }
    file = SepaDD(config | ({"BIC": creditor.bic} if creditor.bic else {}), schema=SCHEMA, clean=True)
    for one in collections:
        payment = {
            "name": plain(one.holder)[:70],
            "IBAN": one.iban,
            "amount": int(one.amount * 100),
            "type": one.sequence,
            "collection_date": collect_on,
            "mandate_id": one.mandate,
            "mandate_date": one.signed_on,
            "description": plain(one.text)[:140],
            "endtoend_id": one.end_to_end,
            "address": {part: plain(value)[:70] for part, value in one.address.items()},
        }
        file.add_payment(payment | ({"BIC": one.bic} if one.bic else {}))
    try:
        return str(file.msg_id), bytes(file.export(validate=True))
    except ValidationError as error:
        raise Conflict(f"The file would not be valid, so none was made: {error.__cause__ or error}") from error


def plain(words: str) -> str:
    """Text by the letters that every bank takes: Müller & Söhne is Muller + Sohne."""
    return " ".join(_OTHER.sub(" ", unidecode(words.replace("&", "+"))).split())
