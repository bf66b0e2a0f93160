"""The five kinds of import with their columns (row B11); `docs/imports.md` shows them in tables."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from lib import contacts, customer_fields, customer_user_fields, fields, usage
from lib.import_fields import (
    Field,
    Kind,
    amount,
    chosen,
    country,
    day,
    line,
    number,
    of_customer,
    phase,
    whole,
    yes_or_no,
)

_NUMBERS = ("Customer number", "Customer no.", "Kundennummer", "Kunden-Nr.", "Kundennr.", "Kdnr", "Nummer", "No.")


def _customer(example: str = "C-10001") -> Field:
    """Whose row it is."""
    headings = (*_NUMBERS, "Kunde", "Number")
    return Field("customer", "Customer", number, headings, example, needed=True, filled=True)


def _text(name: str, label: str, *headings: str, example: str = "") -> Field:
    """A customer's field that an empty cell may empty."""
    as_is = fields.LONGEST if name in customer_fields.LINES else 0
    return Field(name, label, of_customer(name), headings, example, clears=True, as_is=as_is)


def _expiry(cell: str) -> Any:
    return customer_fields.checked_field("licence_expires_on", day(cell))


def _tags(cell: str) -> list[str]:
    """Tags with commas or semicolons between; they replace those that a customer has."""
    return customer_fields.checked_tags([tag for tag in re.split("[,;]", cell) if tag.strip()], field="tags")


def _contact(name: str) -> Callable[[str], Any]:
    """By the rule of the contact's form."""
    return partial(contacts.checked_field, name)


def _user(name: str) -> Callable[[str], Any]:
    """By the rule of the user's form."""
    return lambda cell: customer_user_fields.checked({name: cell})[name]


def _usage(name: str, parsed: Callable[[str], Any]) -> Callable[[str], Any]:
    """By the rule of usage itself."""

    def read(cell: str) -> Any:
        value = {"day": fields.EARLIEST} | {name: parsed(cell)}
        return getattr(usage.Usage(0, **value), name)

    return read


CUSTOMERS = Kind(
    "customers",
    "Customers",
    "a customer",
    "A row whose number is known changes that customer; any other adds one. Phase and service mode are those of new "
    "customers: what is there is converted on its own page.",
    (
        Field("number", "Number", number, (*_NUMBERS, "Kunde"), "C-10001"),
        Field("name", "Name", of_customer("name"), ("Company name", "Company", "Customer", "Firma", "Firmenname"),
              "Musterwerk GmbH", as_is=fields.LONGEST),
        Field("phase", "Phase", phase, ("Billed", "Abgerechnet", "Test or billed"), "billed"),
        Field("ends_on", "End date", day, ("Ends on", "Enddatum", "Ende", "Vertragsende"), ""),
        _text("contact_name", "Contact name", "Contact", "Ansprechpartner", "Kontakt", "Kontaktname",
              example="Ada Ahlers"),
        _text("contact_email", "Contact e-mail", "E-mail", "E-Mail-Adresse", "Mail", "Kontakt-E-Mail",
              example="ada@musterwerk.example"),
        _text("phone", "Phone", "Phone number", "Telefon", "Telefonnummer", "Tel", example="+49 30 123456"),
        _text("street", "Street", "Street and number", "Straße", "Straße und Hausnummer", "Anschrift", "Address",
              example="Werkstr. 5"),
        _text("postcode", "Postcode", "PLZ", "Postleitzahl", "ZIP", "Zip code", "Postal code", example="10115"),
        _text("city", "City", "Town", "Ort", "Stadt", example="Berlin"),
        Field("country", "Country", country("country"), ("Land", "Country code"), "DE"),
        Field("separate_billing", "Separate billing address", yes_or_no,
              ("Different billing address", "Abweichende Rechnungsadresse"), "no"),
        _text("billing_name", "Billing name", "Rechnungsname", "Rechnungsempfänger"),
        _text("billing_street", "Billing street", "Rechnungsstraße"),
        _text("billing_postcode", "Billing postcode", "Rechnungs-PLZ", "Rechnungspostleitzahl"),
        _text("billing_city", "Billing city", "Rechnungsort", "Rechnungsstadt"),
        Field("billing_country", "Billing country", country("billing_country"), ("Rechnungsland",), clears=True),
        _text("billing_email", "Billing e-mail", "E-mail for invoices", "Rechnungs-E-Mail", "Rechnungsmail"),
        _text("vat_id", "VAT ID", "VAT number", "USt-IdNr.", "USt-ID", "Umsatzsteuer-ID", "UID",
              example="DE136695976"),
        _text("tax_number", "Tax number", "Steuernummer", "St-Nr."),
        _text("no_tax_id_reason", "Why there is neither", "No tax ID reason", "Grund ohne Steuernummer"),
        _text("purchase_order", "Purchase order", "Purchase-order reference", "PO", "Bestellnummer", "Bestellreferenz"),
        Field("language", "Language", chosen("language", also={"Deutsch": "de", "Englisch": "en"}),
              ("Sprache", "Language of documents", "Belegsprache"), "de"),
        Field("service_mode", "Service mode",
              chosen("service_mode", also={
                  "Managed": "managed", "Betreut": "managed", "Selbstbedienung": "self_service",
              }),
              ("Servicemodus", "Betriebsart", "Service"), "managed"),
        Field("payment_method", "Payment method",
              chosen("payment_method", also={
                  "Überweisung": "bank_transfer", "Rechnung": "bank_transfer", "Lastschrift": "direct_debit",
                  "SEPA-Lastschrift": "direct_debit", "Kreditkarte": "card", "Projektschlüssel": "project_key",
                  "Kostenlos": "free", "Frei": "free",
              }),
              ("Billing method", "Zahlungsart", "Zahlungsweise", "Zahlungsmethode"), "bank_transfer"),
        Field("payment_days", "Days to pay", of_customer("payment_days"),
              ("Payment days", "Payment term", "Zahlungsziel", "Zahlungsfrist"), "14", clears=True, empty=None),
        Field("max_users", "Maximum of users", of_customer("max_users"),
              ("Max users", "Maximum number of licensed users", "Max. Benutzer", "Maximale Benutzer"), "50",
              clears=True, empty=None),
        Field("users_beyond_max", "Users beyond the maximum", yes_or_no,
              ("Users beyond max", "Benutzer über Maximum"), "no"),
        Field("account_name", "Account name", of_customer("account_name"), ("Kontoname", "Account")),
        Field("tenant_type", "Tenant type", chosen("tenant_type", also={"Kommerziell": "commercial"}),
              ("Mandantentyp", "Tenant")),
        Field("storage_region", "Storage region", chosen("storage_region", also={}),
              ("Region", "Speicherregion", "Speicherort")),
        _text("console_url", "Console address", "Console URL", "Console", "Konsole"),
        Field("licence_expires_on", "Licence expires on", _expiry, ("Licence expiry", "Lizenzablauf", "Lizenz bis"),
              clears=True, empty=None),
        Field("tags", "Tags", _tags, ("Tag list", "Labels", "Schlagworte", "Schlagwörter", "Etiketten"),
              "Key account, Nord", clears=True, empty=[]),
    ),
)  # fmt: skip

CONTACTS = Kind(
    "contacts",
    "Contacts",
    "a contact person",
    "A contact is known by its name among those of its customer: a row with that name changes it, any other adds one.",
    (
        _customer(),
        Field("name", "Name", _contact("name"), ("Contact", "Contact name", "Ansprechpartner", "Kontakt", "Person"),
              "Ada Ahlers", needed=True, filled=True),
        Field("phone", "Phone", _contact("phone"),
              ("Phone number", "Telefon", "Telefonnummer", "Tel"), "+49 30 123456", clears=True),
        Field("email", "E-mail", _contact("email"), ("Mail", "E-Mail-Adresse", "Contact e-mail"),
              "ada@musterwerk.example", clears=True),
        Field("is_billing", "Billing contact", yes_or_no,
              ("Is billing", "Rechnungskontakt", "Rechnungsempfänger"), "no"),
    ),
)  # fmt: skip

USERS = Kind(
    "users",
    "Users",
    "a user of the portal",
    "A user is known by the e-mail address. New ones are added without an invite; send it from the customer's Users "
    "tab. They are something else than licensed users: those are bookings.",
    (
        _customer(),
        Field("email", "E-mail", _user("email"), ("Mail", "E-Mail-Adresse", "Login"), "ada@musterwerk.example",
              needed=True, filled=True),
        Field("salutation", "Salutation", _user("salutation"), ("Anrede", "Title"), "Ms"),
        Field("first_name", "First name", _user("first_name"), ("Vorname", "Given name"), "Ada", clears=True),
        Field("surname", "Surname", _user("surname"), ("Last name", "Nachname", "Name", "Family name"), "Ahlers",
              clears=True),
        Field("main", "Main user", yes_or_no, ("Main", "Hauptbenutzer", "Hauptnutzer"), "yes"),
    ),
)  # fmt: skip

BOOKINGS = Kind(
    "bookings",
    "Bookings",
    "a quantity from a day on",
    "From the day on, the customer has this quantity of the product. Later changes that are booked stay. Days in "
    "closed months are refused.",
    (
        _customer(),
        Field("product", "Product", line("The product"),
              ("Product code", "Code", "Produkt", "Artikel", "Artikelnummer", "Article number"), "users",
              needed=True, filled=True),
        Field("effective_on", "From", day,
              ("Effective on", "First day", "Valid from", "Start", "Ab", "Von", "Gültig ab", "Datum", "Date"),
              "2026-07-01", needed=True, filled=True),
        Field("quantity", "Quantity", whole("The quantity"), ("Count", "Menge", "Anzahl", "Stück"), "25",
              needed=True, filled=True),
        Field("internal", "Internal", whole("Internal IPs"), ("Internal IPs", "Intern", "Interne IPs"), ""),
        Field("external", "External", whole("External IPs"), ("External IPs", "Extern", "Externe IPs"), ""),
        Field("ends_on", "Until", day, ("Ends on", "Last day", "End", "Bis", "Letzter Tag", "Ende", "Enddatum"), ""),
    ),
)  # fmt: skip

USAGE = Kind(
    "usage",
    "Usage",
    "what a customer used on a day",
    "A row completes or corrects what is known of that customer's day; an empty cell changes nothing. Usage is no "
    "booking: it changes no charge.",
    (
        _customer(),
        Field("day", "Day", _usage("day", day), ("Date", "Tag", "Datum"), "2026-06-30", needed=True, filled=True),
        Field("users", "Users", _usage("users", whole("Users", highest=usage.MOST_COUNTED)),
              ("Users in use", "Benutzer", "Active users", "Aktive Benutzer"), "23"),
        Field("storage_gb", "Storage (GB)", _usage("storage_gb", amount),
              ("Storage", "Storage GB", "Speicher", "Speicher GB"), "512.5", measured=True),
        Field("credits", "Credits", _usage("credits", amount), ("Credits used", "Guthaben", "Verbrauch"), "12.25",
              measured=True),
        Field("backups_ok", "Backups that worked", _usage("backups_ok", whole("Backups", highest=usage.MOST_COUNTED)),
              ("Backups ok", "Backup jobs ok", "Backups erfolgreich", "Sicherungen erfolgreich"), "7"),
        Field("backups_failed", "Backups that failed",
              _usage("backups_failed", whole("Backups", highest=usage.MOST_COUNTED)),
              ("Backups failed", "Backup jobs failed", "Backups fehlgeschlagen", "Sicherungen fehlgeschlagen"), "0"),
        Field("cloud_status", "Cloud status", _usage("cloud_status", str), ("Status", "Cloud-Status"), "ok"),
    ),
)  # fmt: skip

KINDS = {kind.name: kind for kind in (CUSTOMERS, CONTACTS, USERS, BOOKINGS, USAGE)}
