"""VAT: what a customer's country and VAT ID mean for its documents, and whether a VAT ID is well-formed.

Germany is taxed at the rate of the day the service ends, standard or reduced as the product says, or exempt; a business
elsewhere in the EU with a valid VAT ID owes the tax itself (category AE, § 13b UStG, Art. 196 of Directive
2006/112/EC); one without blocks the document; elsewhere the service is not taxable here (category O, § 3a (2) UStG).
Northern Ireland's XI covers goods only, so its services count as elsewhere.
"""

import importlib
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text
from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_11_10

from lib import fields
from lib.errors import Invalid

EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split())
_GERMAN = re.compile("DE[1-9][0-9]{8}")
_SIGNS = re.compile(r"[\s.\-/]")
# VAT IDs of Greece start with EL.
_PREFIX = {"GR": "EL"}
_MODULE = {"CH": "stdnum.ch.vat", "GB": "stdnum.gb.vat", "NO": "stdnum.no.mva", "LI": "stdnum.ch.vat"}

STANDARD, REVERSE_CHARGE, OUTSIDE = "S", "AE", "O"

# The decision in SQL, for one customer or 100,000; NULL where it is blocked. Alias c is customers.
DECISION = f"""CASE WHEN c.country = 'DE' THEN 'S'
    WHEN c.country NOT IN ({", ".join(f"'{code}'" for code in sorted(EU))}) THEN 'O'
    WHEN c.vat_id_valid THEN 'AE' END"""

# How a line is taxed where the customer's category is S. Category E of a group of lines: exempt.
TREATMENTS = {"standard": "Standard rate", "reduced": "Reduced rate", "exempt": "Exempt"}
# How a reason may read, by the document's language.
EXAMPLES = {"de": "Steuerfrei nach § 4 Nr. 21 UStG", "en": "VAT exempt under § 4 No. 21 UStG"}
EXEMPT = "E"

# The rate that rules a day, in SQL; {treatment} and {day} are expressions.
RATE = """(SELECT rate FROM vat_rates WHERE treatment = {treatment} AND valid_from <= {day}
            ORDER BY valid_from DESC LIMIT 1)"""
# The rate of a line of category S: exempt lines have none to look up. Needs {treatment} and {day}, too.
RATE_OF_LINE = f"CASE {{treatment}} WHEN 'exempt' THEN 0 ELSE {RATE} END"

MISSING = "a valid VAT ID: a business in the EU outside Germany is billed without VAT only against one"


def checked(vat_id: str, *, country: str, field: str = "vat_id") -> tuple[str, bool]:
    """The VAT ID without spaces, and whether format and check digit are right for the country (row G10).

    Raises Invalid where the country has a rule and the ID breaks it. Countries without a rule
    here keep what was typed, as not checked.
    """
    compact = _SIGNS.sub("", vat_id or "").upper()
    if not compact:
        return "", False
    if country == "DE" and _GERMAN.fullmatch(compact) and mod_11_10.is_valid(compact[2:]):
        return compact, True  # what the module below would say, for the many in a tenth of the time
    if country in EU:
        prefix = _PREFIX.get(country, country)
        if not compact.startswith(prefix):
            raise Invalid(f"A VAT ID of this customer's country starts with {prefix}.", field=field)
        module = "stdnum.eu.vat"
    elif country in _MODULE:
        module = _MODULE[country]
    else:
        return compact[:30], False
    try:
        return str(importlib.import_module(module).validate(compact)), True
    except ValidationError as error:
        raise Invalid(
            f"{vat_id} is not a valid VAT ID: a character or the check digit is wrong.", field=field
        ) from error


def asks_vies(conn: Connection, *, country: str) -> bool:
    """Whether VAT IDs of a country count as valid only once VIES said so: a setting, and not for ours."""
    return country in EU and country != "DE" and bool(conn.scalar(text("SELECT check_vies FROM company")))


def as_vies_said(before: Mapping[str, Any], vat_id: str) -> dict[str, Any]:
    """Where VIES is asked, an ID that stays keeps its answer, and another one has none yet (`lib/vat_checks.py`).

    `before` is the customer's row by column, empty for a new one; the answer is columns of it.
    """
    if before and vat_id == before["vat_id"]:
        return {"vat_id_valid": before["vat_id_valid"], "vat_id_checked_on": before["vat_id_checked_on"]}
    return {"vat_id_valid": False, "vat_id_checked_on": None}


def treatment(value: Any, reason: Any, *, field: str = "vat_treatment", reason_field: str = "exempt_reason") -> str:
    """How something is taxed, and that it goes with its reason: § 14 (4) no. 8 UStG asks for one where it is exempt.

    `reason` is the trimmed text. Raises Invalid at `reason_field` where it is missing, or stands beside a rate.
    """
    chosen = fields.one_of(value, TREATMENTS, field=field, label="VAT")
    if chosen == "exempt" and not reason:
        raise Invalid(f"Say why it is exempt, for example: {EXAMPLES['de']}.", field=reason_field)
    if chosen != "exempt" and reason:
        raise Invalid("A reason belongs to what is exempt. Choose Exempt, or empty it.", field=reason_field)
    return chosen
