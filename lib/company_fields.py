"""Checks of what is typed in Settings. Each refuses with a sentence at its field."""

import io
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import pycountry
from babel.numbers import get_currency_precision
from PIL import Image
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from stdnum.de import stnr

from lib import fields, rendering, vat
from lib.errors import Invalid

# The series of document numbers, in the order in which people meet them.
SERIES = {"invoice": "Invoices", "credit_note": "Credit notes", "cancellation": "Cancellations"}
# The rules of VAT in `lib.vat` are those of a seller in Germany.
SELLER_COUNTRY = "DE"
MOST_PIXELS = 4000
# Enough for a small picture on a fine screen; a page that shows all of a large one would compute for seconds.
_SHOWN_PIXELS = 480
LONGEST_TERMS = 50_000
# Thirty days: whoever asks to be erased is not made to wait longer (Art. 12 (3) GDPR).
LONGEST_DELAY = 43_200
_LINES = {
    "name": "The company's name",
    "street": "The street",
    "postcode": "The postcode",
    "city": "The city",
    "register_entry": "The register entry",
    "managing_directors": "The managing directors",
    "phone": "The phone number",
    "website": "The website",
    "bank_name": "The bank's name",
    "self_service_article_name": "The article name",
    "self_service_article_number": "The article number",
}
_LONGEST = {"postcode": 12, "phone": 40, "self_service_article_name": 120, "self_service_article_number": 40}
_BLOCKS = {
    "intro_de": "The German opening text",
    "intro_en": "The English opening text",
    "closing_de": "The German closing text",
    "closing_en": "The English closing text",
}
_WEBSITE = re.compile(r"(https?://)?[^\s/?#@]+\.[^\s/?#@.]{2,}(/\S*)?", re.IGNORECASE)


def checked(changes: Mapping[str, Any], *, country: str) -> dict[str, Any]:
    """The company's typed values, in the form they are stored. Raises Invalid at the field."""
    with fields.all_of() as check:
        return {name: check(_checked_field, name, value, country=country) for name, value in changes.items()}


@cache
def currencies() -> dict[str, str]:
    """The currencies to choose from, by code: those with cents, as amounts here have two decimals."""
    found = {currency.alpha_3: currency.name for currency in pycountry.currencies}
    special = ("X", "CHE", "CHW", "COU", "CLF", "MXV", "USN", "UYI", "UYW", "BOV")  # metals, funds, tests
    return {
        code: f"{code} · {name}"
        for code, name in sorted(found.items())
        if not code.startswith(special) and get_currency_precision(code) == 2
    }


@cache
def time_zones() -> list[str]:
    """The time zones to choose from, by their IANA names."""
    return sorted(
        zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix", "right"))
    )


def checked_series(*, prefix: str, digits: Any) -> dict[str, Any]:
    """Prefix and number of digits of a series."""
    with fields.all_of() as check:
        return {
            "prefix": check(_prefix, prefix),
            "digits": check(fields.whole, digits, field="digits", label="The number of digits", lowest=3, highest=10),
        }


def _prefix(typed: str) -> str:
    plain = fields.line(typed, field="prefix", label="The prefix", required=True, longest=10).upper()
    if not re.fullmatch(r"[A-Z0-9-]{1,10}", plain):
        raise Invalid("A prefix has only letters A–Z, digits and hyphens.", field="prefix")
    return plain


def checked_article(*, name: str, number: str) -> dict[str, Any]:
    """Name and number of the self-service article, by their columns; refused at `name` and `number`."""
    checked_values = {}
    with fields.all_of() as check:
        for field, value in (("name", name), ("number", number)):
            column = f"self_service_article_{field}"
            checked_values[column] = check(
                fields.line, value, field=field, label=_LINES[column], longest=_LONGEST[column]
            )
    return checked_values


def require_rate(rate: Decimal) -> None:
    """Refuse what is not a percentage with at most two decimals."""
    if not rate.is_finite() or not 0 <= rate <= 100:
        raise Invalid("A VAT rate is between 0 and 100 %.", field="rate")
    if rate != rate.quantize(Decimal("0.01")):
        raise Invalid(f"{rate} has more than 2 decimals.", field="rate")


def require_portal(company: Mapping[str, Any]) -> None:
    """Refuse self-registration without what it needs: the address that its mails lead to, and terms (row G14)."""
    if company["self_registration"] and not company["portal_url"]:
        raise Invalid("People confirm by a link that leads to the portal. Enter its address first.", field="portal_url")
    if company["self_registration"] and not company["registration_terms"]:
        raise Invalid("Whoever registers accepts terms. Enter them first.", field="registration_terms")


def on_this_machine(url: str) -> bool:
    """Whether an address leads to the machine that it is opened on."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _portal_url(value: Any) -> str:
    """https, as its cookies demand; http only on this machine, for a try."""
    typed = fields.line(value, field="portal_url", label="The portal's address", longest=200).rstrip("/")
    secure = f"https{typed[4:]}" if typed.startswith("http://") and on_this_machine(typed) else typed
    fields.web_address(secure, field="portal_url", label="The portal's address")
    if urlsplit(typed).path or "?" in typed or "#" in typed:
        raise Invalid(
            "The portal has a host name of its own: write it like https://portal.company.example.", field="portal_url"
        )
    return typed


def _checked_field(name: str, value: Any, *, country: str) -> Any:
    if name in _LINES:
        required = name == "name"
        return _line(
            name, fields.line(value, field=name, label=_LINES[name], required=required, longest=_LONGEST.get(name, 200))
        )
    if name in _BLOCKS:
        return fields.block(value, field=name, label=_BLOCKS[name])
    if name == "email":
        return fields.email(value, field=name)
    if name == "payment_days":
        return fields.whole(value, field=name, label="The payment term", highest=365)
    if name == "erasure_delay_minutes":
        return fields.whole(value, field=name, label="The delay", highest=LONGEST_DELAY)
    if name == "renewal_days":
        return fields.whole(value, field=name, label="The days before the end", lowest=1, highest=28)
    if name == "change_threshold_percent":
        return fields.whole(value, field=name, label="The threshold", lowest=1, highest=1000)
    special = {
        "country": _country,
        "tax_number": _tax_number,
        "iban": _iban,
        "bic": _bic,
        "currency": _currency,
        "timezone": _timezone,
        "portal_url": _portal_url,
    }
    if name in special:
        return special[name](value)
    if name == "vat_id":
        return _vat_id(value, country=country)
    if name == "logo":
        return _logo(value)
    if name in ("check_vies", "self_registration"):
        return bool(value)
    if name == "registration_terms":
        return fields.block(value, field=name, label="The terms", longest=LONGEST_TERMS)
    raise Invalid(f"The company has no field {name}.", field=name)


def _line(name: str, typed: str) -> str:
    if name == "website" and typed and not _WEBSITE.fullmatch(typed):
        raise Invalid(f"“{typed[:60]}” is not a web address. Write it like www.company.example.", field=name)
    return typed


def _country(value: Any) -> str:
    code = fields.country(value, field="country")
    if code != SELLER_COUNTRY:
        raise Invalid("The VAT rules here are those of a seller in Germany; choose Germany.", field="country")
    return code


def _vat_id(value: Any, *, country: str) -> str:
    typed = fields.line(value, field="vat_id", label="The VAT ID", longest=30)
    try:
        return vat.checked(typed, country=country)[0]
    except Invalid as refusal:
        raise Invalid(
            f"{typed} is not a valid VAT ID: write DE and nine digits, the last of which is a check digit.",
            field="vat_id",
        ) from refusal


def _tax_number(value: Any) -> str:
    typed = fields.line(value, field="tax_number", label="The tax number", longest=30)
    if typed and not stnr.is_valid(typed):
        raise Invalid(f"{typed} is not a German tax number. Write it like 181/815/08155.", field="tax_number")
    return typed


def _iban(value: Any) -> str:
    typed = fields.line(value, field="iban", label="The IBAN", longest=50)
    if not typed:
        return ""
    try:
        return str(IBAN(typed).compact)
    except SchwiftyException as error:
        raise Invalid(f"{typed} is not an IBAN: its length or a digit is wrong.", field="iban") from error


def _bic(value: Any) -> str:
    typed = fields.line(value, field="bic", label="The BIC", longest=20)
    if not typed:
        return ""
    try:
        return str(BIC(typed.upper()).compact)
    except SchwiftyException as error:
        raise Invalid(
            f"{typed} is not a BIC: it has 8 or 11 letters and digits, like COBADEFFXXX.", field="bic"
        ) from error


def _currency(value: Any) -> str:
    code = str(value or "").strip().upper()
    if code not in currencies():
        raise Invalid("Choose a currency with cents by its code, like EUR.", field="currency")
    return code


def _timezone(value: Any) -> str:
    zone = str(value or "").strip()
    if zone not in available_timezones():
        raise Invalid("Choose a time zone by its name, like Europe/Berlin.", field="timezone")
    return zone


def logo_on_paper(logo: bytes) -> bytes:
    """A stored logo as documents show it, as PNG: on white, also where the screen is dark and the logo transparent."""
    with Image.open(io.BytesIO(logo)) as opened:
        opened.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS))
        picture = opened.convert("RGBA")
    margin = max(picture.size) // 20
    paper = Image.new("RGBA", (picture.width + 2 * margin, picture.height + 2 * margin), "white")
    paper.alpha_composite(picture, (margin, margin))
    content = io.BytesIO()
    paper.convert("RGB").save(content, "PNG")
    return content.getvalue()


def _logo(value: Any) -> bytes | None:
    """The picture by its first bytes, whatever the file's name says; None removes the logo."""
    if value is None:
        return None
    content = bytes(value)
    if not content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        raise Invalid("The logo must be a PNG or JPEG picture.", field="logo")
    if len(content) > rendering.LARGEST_LOGO:
        raise Invalid(f"The logo is larger than {rendering.LARGEST_LOGO // 1000} kB. Save it smaller.", field="logo")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            size = picture.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise Invalid("This picture can't be read. Save it anew as PNG or JPEG.", field="logo") from error
    if max(size) > MOST_PIXELS:
        raise Invalid(f"The logo has more than {MOST_PIXELS} pixels on a side. Save it smaller.", field="logo")
    return rendering.checked_logo(content)
