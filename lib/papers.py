"""A document before it is laid out: who sells, who buys, lines, taxes and sums, as plain data.

`lib/documents.py` reads it from the database, `lib/layouts.py` says what is printed of it.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from lib.document_words import NOT_TRANSFERRED, WORDS


@dataclass(frozen=True)
class Seller:
    """The company as it was when the document was issued; the keys of sellers.content."""

    name: str = ""
    street: str = ""
    postcode: str = ""
    city: str = ""
    country: str = "DE"
    vat_id: str = ""
    tax_number: str = ""
    register_entry: str = ""
    managing_directors: str = ""
    email: str = ""
    phone: str = ""
    website: str = ""
    bank_name: str = ""
    iban: str = ""
    bic: str = ""


@dataclass(frozen=True)
class Buyer:
    """The customer as it was when the document was issued; the keys of invoices.buyer."""

    number: str = ""
    name: str = ""
    street: str = ""
    postcode: str = ""
    city: str = ""
    country: str = "DE"
    vat_id: str = ""
    email: str = ""
    contact_name: str = ""
    payment_method: str = ""  # empty on documents issued before it was frozen: a transfer
    # What is announced of a collection: empty on older documents, and where nothing is (lib/collection_notices.py).
    mandate: str = ""
    creditor_id: str = ""
    iban_ending: str = ""
    collect_on: str = ""  # as 2026-07-17; a draft has none yet
    card: str = ""


@dataclass(frozen=True)
class Line:
    """One position. `amount` is net and equals quantity × unit price to the cent."""

    position: int
    name: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    detail: str = ""
    unit: str = ""
    product_id: int | None = None
    vat_rate: Decimal | None = None
    service_from: date | None = None
    service_until: date | None = None
    vat_treatment: str = "standard"
    exempt_reason: str = ""


@dataclass(frozen=True)
class Tax:
    """VAT of one rate: on the sum of that rate's lines, rounded once. Exempt lines are category E, apart from 0 %."""

    rate: Decimal
    category: str
    net: Decimal
    vat: Decimal


@dataclass(frozen=True)
class Original:
    """The document that a cancellation cancels."""

    kind: str
    number: str
    issued_on: date


@dataclass(frozen=True)
class Carried:
    """Of a document that was issued again: the other one's number, and on the new one what was paid before."""

    number: str
    amount: Decimal


@dataclass(frozen=True)
class Document:
    """An invoice, credit note or cancellation. Without a number it is a draft. Amounts in `currency`."""

    kind: str
    language: str
    currency: str
    seller: Seller
    buyer: Buyer
    service_from: date
    service_until: date
    net: Decimal
    vat: Decimal
    gross: Decimal
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...] = ()
    vat_category: str | None = None
    number: str | None = None
    issued_on: date | None = None
    due_on: date | None = None
    purchase_order: str = ""
    # Says that it is invoiced in advance, and from when on: printed instead of days of service.
    advance_period: str = ""
    intro: str = ""
    closing: str = ""
    original: Original | None = None
    carried: Carried | None = None
    logo: bytes | None = field(default=None, repr=False)

    @property
    def words(self) -> dict[str, str]:
        """The fixed texts in the document's language."""
        return WORDS[self.language]

    @property
    def period(self) -> tuple[date, date]:
        """The first and the last day of service: the span of the lines where all of them lie outside the document's.

        § 14 (4) no. 6 UStG: a correction of June that July's close credits was no service in July.
        """
        spans = [(line.service_from, line.service_until) for line in self.lines]
        outside = [
            (first, last)
            for first, last in spans
            if first and last and (last < self.service_from or first > self.service_until)
        ]
        if not outside or len(outside) < len(spans):
            return self.service_from, self.service_until
        return min(first for first, _ in outside), max(last for _, last in outside)

    @property
    def to_pay(self) -> Decimal:
        """The total, less what was paid on the document that this one replaces."""
        return self.gross - (self.carried.amount if self.carried else 0)

    @property
    def is_payable(self) -> bool:
        """Whether the customer owes money on it."""
        owed = self.to_pay > 0 and self.kind != "cancellation" and self.vat_category is not None
        return owed and self.buyer.payment_method != "free"

    @property
    def is_transferred(self) -> bool:
        """Whether the customer is asked for a bank transfer."""
        return self.is_payable and self.buyer.payment_method not in NOT_TRANSFERRED
