"""How a document speaks its two languages: words, numbers, days. Sentences take their values by name."""

from datetime import date
from decimal import Decimal

from babel.dates import format_date

from lib import money

WORDS: dict[str, dict[str, str]] = {
    "de": {
        "invoice": "Rechnung",
        # § 14 (4) no. 6 UStG: the time of a payment that has not come yet needs not be stated.
        "advance_invoice": "Vorausrechnung",
        # „Gutschrift“ would be an invoice that the customer issues: § 14 (2) sentence 5 UStG.
        "credit_note": "Rechnungskorrektur",
        "cancellation": "Stornorechnung",
        "invoice_number": "Rechnungs-Nr.",
        "credit_note_number": "Korrektur-Nr.",
        "cancellation_number": "Storno-Nr.",
        "draft": "Entwurf",
        "draft_number": "bei Ausstellung",
        "invoice_date": "Rechnungsdatum",
        "credit_note_date": "Datum",
        "cancellation_date": "Datum",
        "customer_number": "Kunden-Nr.",
        "period": "Leistungszeitraum",
        "due": "Fällig am",
        "purchase_order": "Ihre Bestellung",
        "your_vat_id": "Ihre USt-IdNr.",
        "our_vat_id": "Unsere USt-IdNr.",
        "our_tax_number": "Steuernummer",
        # Among what is credited there may be a charge: only the total is sure to be a credit.
        "credited": "Den Gesamtbetrag der folgenden Positionen schreiben wir Ihnen gut:",
        "cancels_invoice": "zur Rechnung {number} vom {date}",
        "cancels_credit_note": "zur Rechnungskorrektur {number} vom {date}",
        "position": "Pos.",
        "text": "Bezeichnung",
        "quantity": "Menge",
        "unit_price": "Einzelpreis",
        "rate": "USt",
        "amount": "Betrag",
        "net": "Nettobetrag",
        "vat_S": "zzgl. {rate} % USt auf {net}",
        "vat_AE": "0 % USt (Reverse charge) auf {net}",
        "vat_O": "keine USt auf {net}",
        "vat_E": "steuerfrei auf {net}",
        "rate_E": "frei",
        "vat_none": "USt",
        "vat_later": "wird bei Ausstellung ermittelt",
        "gross": "Gesamtbetrag",
        "note_AE": "Steuerschuldnerschaft des Leistungsempfängers / Reverse charge",
        "note_AE_ids": "USt-IdNr. des Leistungsempfängers: {buyer} · USt-IdNr. des leistenden Unternehmers: {seller}",
        "note_O": "Nicht im Inland steuerbare Leistung (§ 3a Abs. 2 UStG)",
        "note_E": "Umsatzsteuerfreie Leistung",
        "pay": "Bitte überweisen Sie den Gesamtbetrag von {gross} {currency} ohne Abzug bis zum {due}.",
        "pay_draft": "Bitte überweisen Sie den Gesamtbetrag von {gross} {currency} ohne Abzug.",
        "pay_direct_debit": "Den Gesamtbetrag von {gross} {currency} ziehen wir zum {due} per SEPA-Lastschrift von"
        " Ihrem Konto ein.",
        "pay_direct_debit_draft": "Den Gesamtbetrag von {gross} {currency} ziehen wir per SEPA-Lastschrift von Ihrem"
        " Konto ein.",
        "pay_collected": "Den Gesamtbetrag von {gross} {currency} ziehen wir am {day} per SEPA-Lastschrift von Ihrem"
        " Konto ein. Sie müssen nichts überweisen.",
        "pay_collected_draft": "Den Gesamtbetrag von {gross} {currency} ziehen wir per SEPA-Lastschrift von Ihrem Konto"
        " ein. Sie müssen nichts überweisen.",
        "pay_card": "Den Gesamtbetrag von {gross} {currency} buchen wir von Ihrer Kreditkarte ab.",
        "pay_charged": "Den Gesamtbetrag von {gross} {currency} buchen wir von Ihrer hinterlegten Kreditkarte ab:"
        " {card}. Sie müssen nichts überweisen.",
        "pay_free": "Für Ihr Kundenkonto ist keine Zahlung vereinbart. Bitte zahlen Sie auf dieses Dokument nichts.",
        "credit": "Den Betrag von {gross} {currency} schreiben wir Ihrem Kundenkonto gut. Wir verrechnen ihn mit Ihrer"
        " nächsten Rechnung oder überweisen ihn auf Wunsch.",
        "nothing": "Es ist kein Betrag zu zahlen.",
        "cancelled_invoice": "Diese Stornorechnung hebt die Rechnung {number} vom {date} vollständig auf."
        " Bereits gezahlte Beträge erstatten wir Ihnen.",
        "carried_invoice": "Diese Stornorechnung hebt die Rechnung {number} vom {date} vollständig auf."
        " Was Sie gezahlt haben, ist auf die Rechnung {to} angerechnet.",
        "replaces": "Diese Rechnung ersetzt die Rechnung {number}. Ihre Zahlung von {amount} {currency} ist"
        " angerechnet.",
        "rest": "Bitte zahlen Sie den Rest von {rest} {currency} bis zum {due}.",
        "cancelled_credit_note": "Diese Stornorechnung hebt die Rechnungskorrektur {number} vom {date} vollständig auf."
        " Ein bereits ausgezahltes Guthaben zahlen Sie bitte zurück.",
        "collect_on": "Einzug am",
        "mandate": "Mandatsreferenz",
        "creditor_id": "Gläubiger-ID",
        "your_account": "Ihr Konto",
        "payee": "Empfänger",
        "bank": "Bank",
        "reference": "Verwendungszweck",
        "girocode": "Mit der Banking-App scannen und bezahlen",
        "phone": "Tel.",
        "directors": "Geschäftsführung",
        "vat_id": "USt-IdNr.",
        "tax_number": "St.-Nr.",
        "page": "Seite {page} von {pages}",
        "line_period": "Leistungszeitraum {period}",
    },
    "en": {
        "invoice": "Invoice",
        "advance_invoice": "Advance invoice",
        "credit_note": "Credit note",
        "cancellation": "Cancellation invoice",
        "invoice_number": "Invoice no.",
        "credit_note_number": "Credit note no.",
        "cancellation_number": "Cancellation no.",
        "draft": "Draft",
        "draft_number": "given when issued",
        "invoice_date": "Invoice date",
        "credit_note_date": "Date",
        "cancellation_date": "Date",
        "customer_number": "Customer no.",
        "period": "Service period",
        "due": "Due on",
        "purchase_order": "Your order",
        "your_vat_id": "Your VAT ID",
        "our_vat_id": "Our VAT ID",
        "our_tax_number": "Tax number",
        "credited": "We credit you with the total of the following items:",
        "cancels_invoice": "cancels invoice {number} of {date}",
        "cancels_credit_note": "cancels credit note {number} of {date}",
        "position": "No.",
        "text": "Description",
        "quantity": "Quantity",
        "unit_price": "Unit price",
        "rate": "VAT",
        "amount": "Amount",
        "net": "Net total",
        "vat_S": "plus {rate}% VAT on {net}",
        "vat_AE": "0% VAT (reverse charge) on {net}",
        "vat_O": "no VAT on {net}",
        "vat_E": "exempt from VAT on {net}",
        "rate_E": "exempt",
        "vat_none": "VAT",
        "vat_later": "decided when issued",
        "gross": "Total amount",
        "note_AE": "Reverse charge / Steuerschuldnerschaft des Leistungsempfängers",
        "note_AE_ids": "VAT ID of the recipient: {buyer} · VAT ID of the supplier: {seller}",
        "note_O": "Service not taxable in Germany (section 3a (2) of the German VAT Act, UStG)",
        "note_E": "Exempt from VAT",
        "pay": "Please transfer the total amount of {gross} {currency} without deduction by {due}.",
        "pay_draft": "Please transfer the total amount of {gross} {currency} without deduction.",
        "pay_direct_debit": "We collect the total amount of {gross} {currency} from your account by SEPA direct debit"
        " on {due}.",
        "pay_direct_debit_draft": "We collect the total amount of {gross} {currency} from your account by SEPA direct"
        " debit.",
        "pay_collected": "We collect the total amount of {gross} {currency} from your account by SEPA direct debit on"
        " {day}. You need not transfer anything.",
        "pay_collected_draft": "We collect the total amount of {gross} {currency} from your account by SEPA direct"
        " debit. You need not transfer anything.",
        "pay_card": "We charge the total amount of {gross} {currency} to your credit card.",
        "pay_charged": "We charge the total amount of {gross} {currency} to the credit card that you saved: {card}."
        " You need not transfer anything.",
        "pay_free": "No payment is agreed for your account. Please pay nothing on this document.",
        "credit": "We credit the amount of {gross} {currency} to your customer account. We set it off against your next"
        " invoice or pay it out on request.",
        "nothing": "There is nothing to pay.",
        "cancelled_invoice": "This cancellation invoice cancels invoice {number} of {date} in full."
        " We refund what you have already paid.",
        "carried_invoice": "This cancellation invoice cancels invoice {number} of {date} in full."
        " What you have paid counts on invoice {to}.",
        "replaces": "This invoice replaces invoice {number}. Your payment of {amount} {currency} counts on it.",
        "rest": "Please pay the rest of {rest} {currency} by {due}.",
        "cancelled_credit_note": "This cancellation invoice cancels credit note {number} of {date} in full."
        " Please return a credit that was already paid out.",
        "collect_on": "Collected on",
        "mandate": "Mandate reference",
        "creditor_id": "Creditor ID",
        "your_account": "Your account",
        "payee": "Payee",
        "bank": "Bank",
        "reference": "Reference",
        "girocode": "Scan with your banking app to pay",
        "phone": "Phone",
        "directors": "Managing directors",
        "vat_id": "VAT ID",
        "tax_number": "Tax no.",
        "page": "Page {page} of {pages}",
        "line_period": "Service period {period}",
    },
}


# How a credit note opens, as values of a statement: no company's opening text fits one.
CREDITED = {f"credited_{language}": words["credited"] for language, words in WORDS.items()}

# Who pays so is asked for no bank transfer; the sentences are "pay_…" above.
NOT_TRANSFERRED = ("direct_debit", "card", "free")


def payment(language: str, *, method: str, gross: Decimal, currency: str, due: date | None) -> str:
    """How the total is paid by this payment method; a draft has no due day yet. An unknown method is a transfer."""
    key = f"pay_{method}" if method in NOT_TRANSFERRED else "pay"
    if due is None and f"{key}_draft" in WORDS[language]:
        key += "_draft"
    return WORDS[language][key].format(gross=amount(language, gross), currency=currency, due=day(language, due))


def announced(language: str, *, card: str, gross: Decimal, currency: str, collect_on: date | None) -> str:
    """That the total is collected by mandate, or charged to this card; a draft has no day of collection yet."""
    key = "pay_charged" if card else "pay_collected" if collect_on else "pay_collected_draft"
    values = {"gross": amount(language, gross), "currency": currency, "card": card, "day": day(language, collect_on)}
    return WORDS[language][key].format(**values)


def number(language: str, value: Decimal, *, at_least: int = 0, at_most: int = 4) -> str:
    """A number with the decimals it needs: 12.500, 0,0035, 2,00 (de); 12,500, 0.0035, 2.00 (en)."""
    exponent = value.normalize().as_tuple().exponent
    decimals = min(max(-int(exponent), at_least), at_most)
    # A true minus sign: as wide as a digit, never torn from its number.
    return money.shown(value, decimals=decimals, language=language).replace("-", "−")


def amount(language: str, value: Decimal) -> str:
    """An amount to the cent."""
    return number(language, value, at_least=2, at_most=2)


def plain_rate(language: str, value: Decimal) -> str:
    """A VAT rate without its sign: 19, 7,7."""
    return number(language, value, at_most=2)


def rate(language: str, value: Decimal) -> str:
    """A VAT rate: 19 % (de), 19% (en)."""
    return f"{plain_rate(language, value)}{' %' if language == 'de' else '%'}"


def day(language: str, value: date | None) -> str:
    """A date: 21.11.2026 (de), 21 November 2026 (en); empty for none."""
    if value is None:
        return ""
    return f"{value:%d.%m.%Y}" if language == "de" else str(format_date(value, "d MMMM y", locale="en"))


def period(language: str, first: date, last: date) -> str:
    """From the first to the last day, both included: 01.06.2026 – 30.06.2026 (de), 1–30 June 2026 (en)."""
    if first == last:
        return day(language, first)
    if language == "en" and (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{day(language, last)}"
    return f"{day(language, first)} – {day(language, last)}"


def iban(value: str) -> str:
    """An IBAN in groups of four."""
    plain = value.replace(" ", "")
    return " ".join(plain[i : i + 4] for i in range(0, len(plain), 4))
