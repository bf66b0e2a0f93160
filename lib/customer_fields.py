"""What a customer's fields may hold: choices, and checks of what was typed (rows N4, N5, S1, D1, D2)."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from lib import fields, vat
from lib.errors import Invalid

SERVICE_MODES = {"managed": "Managed service", "self_service": "Self-service"}
PAYMENT_METHODS = {
    "bank_transfer": "Bank transfer",
    "direct_debit": "SEPA direct debit",
    "card": "Credit card",
    "project_key": "Project key",
    "free": "Free",
}
LANGUAGES = {"de": "German", "en": "English"}
PHASES = {"test": "Test", "billed": "Billed"}
TENANT_TYPES = {"evaluation": "Evaluation", "sandbox": "Sandbox", "commercial": "Commercial"}
STORAGE_REGIONS = {
    "eu-central": "Germany (Frankfurt)",
    "eu-west": "Ireland (Dublin)",
    "eu-north": "Sweden (Stockholm)",
    "eu-south": "Italy (Milan)",
    "ch": "Switzerland (Zurich)",
    "uk": "United Kingdom (London)",
    "us-east": "United States (Virginia)",
    "us-west": "United States (Oregon)",
    "ca": "Canada (Montreal)",
    "ap-south": "India (Mumbai)",
    "ap-east": "Japan (Tokyo)",
    "au": "Australia (Sydney)",
}

# Where a self-service customer is, and who it is for the tax office: its main user edits that in the portal (row G3).
OF_MAIN_USER = (
    *("street", "postcode", "city", "country", "separate_billing", "billing_name", "billing_street"),
    *("billing_postcode", "billing_city", "billing_country"),
    *("vat_id", "tax_number", "no_tax_id_reason"),
)

# What the last invoice of a deleted customer needs: kept, and editable, until that is issued and settled (row G12).
OF_LAST_INVOICE = (*OF_MAIN_USER, "billing_email", "purchase_order")

# What decides about VAT, and what a country demands (row G10).
TAX = frozenset({"country", "vat_id", "tax_number", "no_tax_id_reason"})

MODE_HAS_VERBS = (
    "The service mode isn't edited. Actions → Convert to managed service does the one; select customers on the list "
    "and set the service mode there to let them serve themselves."
)
MOST_TAGS = 20
_TAG = re.compile(r"[^\W_][\w .&+-]{0,29}")
LINES = {
    "contact_name": "The contact's name",
    "phone": "The phone number",
    "street": "The street",
    "postcode": "The postcode",
    "city": "The city",
    "billing_name": "The billing name",
    "billing_street": "The billing street",
    "billing_postcode": "The billing postcode",
    "billing_city": "The billing city",
    "tax_number": "The tax number",
    "no_tax_id_reason": "The reason",
    "purchase_order": "The purchase-order reference",
}
_SERVICE = ("account_name", "tenant_type", "storage_region", "console_url", "licence_expires_on")
# Fields whose rules look at one another; `together` reads these and no others.
LINKED = (
    *("country", "vat_id", "tenant_type", "separate_billing"),
    *("billing_name", "billing_street", "billing_postcode", "billing_city"),
)


def checked_tag(value: Any, *, field: str) -> str:
    """A tag: a word or a few, up to 30 characters."""
    tag = fields.line(value, field=field, label="The tag", required=True, longest=30)
    if not _TAG.fullmatch(tag):
        raise Invalid("A tag begins with a letter or digit and has letters, digits, spaces and . & + - _", field=field)
    return tag


def checked_tags(values: Sequence[Any], *, field: str) -> list[str]:
    """Tags in their order, each once; at most MOST_TAGS of them."""
    tags = list(dict.fromkeys(checked_tag(value, field=field) for value in values))
    if len(tags) > MOST_TAGS:
        raise Invalid(f"A customer has at most {MOST_TAGS} tags.", field=field)
    return tags


def require_tax_id(customer: Mapping[str, Any]) -> None:
    """Outside Germany: in the EU a VAT ID, elsewhere one, a tax number, or the reason why there is none (row G10)."""
    country, given = customer["country"], [customer[name] for name in ("vat_id", "tax_number", "no_tax_id_reason")]
    if country == "DE" or given[0]:
        return
    if country in vat.EU:
        raise Invalid("A business in the EU outside Germany needs its VAT ID.", field="vat_id")
    if not any(given):
        raise Invalid("Enter a VAT ID, a tax number, or why there is neither.", field="tax_number")


def checked(changes: Mapping[str, Any], *, before: Mapping[str, Any], today: date) -> dict[str, Any]:
    """The typed values, checked and in the form they are stored. Raises Invalid at the field.

    `before` holds the row's present values, by column; it is empty for a new customer.
    """
    with fields.all_of() as check:
        values = {name: check(checked_field, name, value) for name, value in changes.items()}
        refused = {refusal.field for refusal in check.refusals}
        # Where one of these can't be read, what follows from them isn't known.
        derived = {} if refused.intersection(LINKED) else check(together, values, before=before, today=today)
    return values | derived


def together(values: Mapping[str, Any], *, before: Mapping[str, Any], today: date) -> dict[str, Any]:
    """What follows from checked values with those beside them (LINKED). Raises Invalid at the field."""
    after = dict(before) | dict(values)
    with fields.all_of() as check:
        derived = check(_vat_id, values, before=before, today=today)
        check(_require_tenant_type, values, before=before)
        if after.get("separate_billing"):
            for name in ("billing_name", "billing_street", "billing_postcode", "billing_city"):
                check(fields.line, after.get(name), field=name, label=LINES[name], required=True)
    return derived


def _vat_id(values: Mapping[str, Any], *, before: Mapping[str, Any], today: date) -> dict[str, Any]:
    if "vat_id" not in values and "country" not in values:
        return {}
    typed, country = values.get("vat_id", before.get("vat_id", "")), values.get("country", before.get("country", "DE"))
    number, valid = vat.checked(typed, country=country)
    return {"vat_id": number, "vat_id_valid": valid, "vat_id_checked_on": today if number else None}


def _require_tenant_type(values: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    if before.get("tenant_type") == "commercial" and values.get("tenant_type", "commercial") != "commercial":
        raise Invalid("A commercial tenant never becomes another type again.", field="tenant_type")


def _checked_service(name: str, value: Any) -> Any:
    """Fields of the account and the service: who has them given doesn't empty them again (rows D1, D2)."""
    if name == "account_name":
        return fields.line(value, field=name, label="The account name", required=True)
    if name == "console_url":
        return fields.web_address(value, field=name, label="The address of the console")
    if name == "licence_expires_on":
        return fields.day(value, field=name, label="The day on which the licence expires")
    if not value:
        raise Invalid(f"Choose a {name.replace('_', ' ')}.", field=name)
    choices = TENANT_TYPES if name == "tenant_type" else STORAGE_REGIONS
    return fields.one_of(value, choices, field=name, label=name.replace("_", " ").capitalize())


def checked_field(name: str, value: Any) -> Any:
    """One typed value in the form it is stored, checked by itself. Raises Invalid at the field."""
    if name == "name":
        return fields.line(value, field=name, label="The name", required=True)
    if name in LINES:
        return fields.line(value, field=name, label=LINES[name])
    if name in ("contact_email", "billing_email"):
        return fields.email(value, field=name)
    if name == "vat_id":
        return fields.line(value, field=name, label="The VAT ID", longest=30)
    if name == "country" or (name == "billing_country" and value):
        return fields.country(value, field=name)
    if name == "billing_country":
        return ""
    if name in ("payment_days", "max_users"):
        highest = 365 if name == "payment_days" else 10_000_000
        label = "The payment term" if name == "payment_days" else "The maximum number of users"
        return None if value in (None, "") else fields.whole(value, field=name, label=label, highest=highest)
    if name in _SERVICE:
        return _checked_service(name, value)
    choices = {"service_mode": SERVICE_MODES, "payment_method": PAYMENT_METHODS, "language": LANGUAGES}
    if name in choices:
        return fields.one_of(value, choices[name], field=name, label=name.replace("_", " ").capitalize())
    if name in ("separate_billing", "users_beyond_max"):
        return bool(value)
    raise Invalid(f"A customer has no field {name}.", field=name)
