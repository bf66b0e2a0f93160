"""Amounts: read as people type them, rounded half away from zero, never a float."""

import re
from decimal import ROUND_HALF_UP, Decimal

from babel.numbers import format_decimal

from lib.errors import Invalid

CENT = Decimal("0.01")
# What a person may type. The columns are wider, so that no product or sum of such amounts overflows.
LARGEST = Decimal("999999999.99")
_GROUPS = re.compile(r"\d{1,3}([.,' ]\d{3})+")


def rounded(value: Decimal) -> Decimal:
    """To the cent, half away from zero (`billing-rules`, Money)."""
    return value.quantize(CENT, ROUND_HALF_UP)


def parse(text: str, *, decimals: int = 2, field: str | None = None, negative: bool = False) -> Decimal:
    """The amount that was typed: 1.234,56 and 1,234.56 are the same. Raises Invalid in words.

    The last of two different separators is the decimal one. A single separator before exactly
    three digits can be meant either way (1.234), and a slip would be a thousandfold: it is refused. A minus may be
    that of documents (−), from where amounts are copied.
    """
    typed = (text or "").strip().replace("€", "").replace("\u00a0", " ").replace("−", "-").strip()
    if not typed:
        raise Invalid("Enter an amount.", field=field)
    if not re.fullmatch(r"[+-]?[\d.,' ]*\d", typed) or len(typed) > 40:
        raise Invalid(f"“{text[:40]}” is not an amount. Write it like 1234.56 or 1.234,56.", field=field)
    value = Decimal(_normalised(typed, decimals=decimals, field=field))
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > decimals:
        raise Invalid(f"{typed} has more than {decimals} decimals.", field=field)
    if value < 0 and not negative:
        raise Invalid("The amount can't be negative.", field=field)
    if abs(value) > LARGEST:
        raise Invalid(f"{typed} is too large; the largest amount is {shown(LARGEST)}.", field=field)
    return value


def shown(value: Decimal | None, *, decimals: int = 2, language: str = "en") -> str:
    """An amount for a person to read: 1,234.56, or – where there is none."""
    if value is None:
        return "–"
    # Rounded before formatting: babel itself rounds half to even.
    exact = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return str(format_decimal(exact, format=f"#,##0.{'0' * decimals}", locale=language))


def _normalised(typed: str, *, decimals: int, field: str | None) -> str:
    sign, digits = ("-", typed[1:]) if typed[0] == "-" else ("", typed.lstrip("+"))
    last = max(digits.rfind("."), digits.rfind(","))
    whole, fraction = (digits[:last], digits[last + 1 :]) if last >= 0 else (digits, "")
    if last >= 0 and digits[last] in whole:  # the same separator again: it only groups
        whole, fraction = digits, ""
    elif last >= 0 and len(fraction) == 3 and not re.search(r"[.,]", whole) and 0 < len(whole) <= 3 and whole != "0":
        other = f"{whole}.{fraction}0" if decimals >= 3 else f"no more than {decimals} decimals"
        raise Invalid(f"“{typed}” can be read in two ways. Write {whole}{fraction} or {other}.", field=field)
    if re.search(r"[.,' ]", whole):
        if not _GROUPS.fullmatch(whole):
            raise Invalid(f"“{typed}” is not an amount. Write it like 1234.56 or 1.234,56.", field=field)
        whole = re.sub(r"[.,' ]", "", whole)
    return f"{sign}{whole or '0'}.{fraction or '0'}"
