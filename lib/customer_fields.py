"""What a customer's fields may hold: choices, and checks of what was typed (rows N4, N5, S1)."""

from collections.abc import Mapping
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

_LINES = {
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


def checked(changes: Mapping[str, Any], *, before: Mapping[str, Any], today: date) -> dict[str, Any]:
    """The typed values, checked and in the form they are stored. Raises Invalid at the field.

    `before` holds the row's present values, by column; it is empty for a new customer.
    """
    values: dict[str, Any] = {}
    for name, value in changes.items():
        values[name] = _checked_field(name, value)
    country = values.get("country", before.get("country", "DE"))
    if "vat_id" in values or "country" in values:
        typed = values.get("vat_id", before.get("vat_id", ""))
        values["vat_id"], values["vat_id_valid"] = vat.checked(typed, country=country)
        values["vat_id_checked_on"] = today if values["vat_id"] else None
    after = dict(before) | values
    if after.get("separate_billing"):
        for name in ("billing_name", "billing_street", "billing_postcode", "billing_city"):
            fields.line(after.get(name), field=name, label=_LINES[name], required=True)
    return values


def _checked_field(name: str, value: Any) -> Any:
    if name == "name":
        return fields.line(value, field=name, label="The name", required=True)
    if name in _LINES:
        return fields.line(value, field=name, label=_LINES[name])
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
    choices = {"service_mode": SERVICE_MODES, "payment_method": PAYMENT_METHODS, "language": LANGUAGES}
    if name in choices:
        return fields.one_of(value, choices[name], field=name, label=name.replace("_", " ").capitalize())
    if name in ("separate_billing", "users_beyond_max"):
        return bool(value)
    raise Invalid(f"A customer has no field {name}.", field=name)
