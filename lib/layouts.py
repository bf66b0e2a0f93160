"""What a document says and in which order: plain data in, the texts of `templates/invoice.typ` out.

Everything is formatted here, in the document's language; the template only places it.
"""

import re
import unicodedata
from datetime import date
from typing import Any

from babel import Locale

from lib.document_words import (
    amount,
    announced,
    day,
    iban,
    number,
    payment,
    period,
    plain_rate,
    rate,
)
from lib.papers import Buyer, Carried, Document, Line, Seller

# Where the postcode follows the town.
POSTCODE_LAST = {"GB", "IE", "US", "CA", "AU", "NZ"}
# Invisible characters could turn the reading order round or hide text.
UNWANTED = {"Cc", "Cf", "Cs", "Co", "Cn"}
LONGEST_WORD = 36
EXEMPT = "E"


def content(document: Document) -> dict[str, Any]:
    """Everything that the template prints, formatted, as JSON can carry it."""
    words = document.words
    title = words["advance_invoice" if document.advance_period and document.kind == "invoice" else document.kind]
    draft = document.number is None
    texts = {
        "language": document.language,
        "draft": words["draft"].upper() if draft else "",
        "title": f"{title} – {words['draft']}" if draft else f"{title} {document.number}",
        "subtitle": _named_original(document, "cancels"),
        "seller": document.seller.name,
        "sender": _joined(" · ", document.seller.name, document.seller.street, _town(document.seller)),
        "address": address(document),
        "info": _info(document),
        "intro": document.intro.strip(),
        "closing": document.closing.strip(),
        "head": _head(document),
        "lines": _lines(document),
        "totals": _totals(document),
        "gross": [words["gross"], _gross(document)],
        "notes": _notes(document),
        "payment": _payment(document),
        "account": _account(document),
        "girocode": words["girocode"],
        "footer": _footer(document),
        "page": words["page"],
    }
    return {key: _clean(value) for key, value in texts.items()}


# ---------------------------------------------------------------- the parts, from top to bottom
def address(document: Document) -> list[str]:
    """The lines of the address field: to whom the document goes, as it is printed."""
    buyer = document.buyer
    lines = [buyer.name, buyer.contact_name if buyer.contact_name != buyer.name else "", buyer.street, _town(buyer)]
    if _goes_abroad(document):
        # In capitals, as the post office asks for letters abroad.
        lines.append(_country(document, buyer).upper())
    return [line for line in lines if line.strip()]


def _info(document: Document) -> list[list[str]]:
    words, seller = document.words, document.seller
    pairs = [
        (words[f"{document.kind}_number"], document.number or words["draft_number"]),
        (words[f"{document.kind}_date"], day(document.language, document.issued_on) or words["draft_number"]),
        (words["customer_number"], document.buyer.number),
        (words["period"], document.advance_period or _period(document)),
        (words["due"], day(document.language, document.due_on) if document.is_payable else ""),
        (words["purchase_order"], document.purchase_order),
        (words["your_vat_id"], document.buyer.vat_id),
        (words["our_vat_id"], seller.vat_id),
        # § 14 (4) no. 2 UStG wants one of the two.
        (words["our_tax_number"], "" if seller.vat_id else seller.tax_number),
    ]
    return [[label, value] for label, value in pairs if value.strip()]


def _period(document: Document) -> str:
    return period(document.language, *document.period)


def _head(document: Document) -> list[str]:
    words = document.words
    return [
        words["position"],
        words["text"],
        words["quantity"],
        f"{words['unit_price']} {document.currency}",
        words["rate"] if _shows_rates(document) else "",
        f"{words['amount']} {document.currency}",
    ]


def _lines(document: Document) -> list[dict[str, Any]]:
    language = document.language
    return [
        {
            "position": str(line.position),
            "name": line.name.strip(),
            "detail": _joined("\n", line.detail.strip(), _own_period(document, line)),
            # Ranges of one product stand together: the template sets its name once in bold.
            "continues": line.product_id is not None
            and before is not None
            and (before.product_id, before.name) == (line.product_id, line.name),
            "quantity": number(language, line.quantity),
            "unit": line.unit,
            "unit_price": number(language, line.unit_price, at_least=2),
            "rate": _rate(document, line),
            "amount": amount(language, line.amount),
        }
        for before, line in zip((None, *document.lines), document.lines, strict=False)
    ]


def _rate(document: Document, line: Line) -> str:
    if _is_exempt(document, line):
        return document.words["rate_E"]
    return rate(document.language, line.vat_rate) if line.vat_rate is not None else ""


def _own_period(document: Document, line: Line) -> str:
    """The line's period where the document's doesn't say it: § 14 (4) no. 6 UStG."""
    first, last = line.service_from, line.service_until
    if first is None or last is None or document.service_from <= first <= last <= document.service_until:
        return ""
    if document.period == (first, last):
        return ""
    return document.words["line_period"].format(period=period(document.language, first, last))


def _totals(document: Document) -> list[list[str]]:
    words = document.words
    rows = [[words["net"], amount(document.language, document.net)]]
    if document.vat_category is None:
        return [*rows, [words["vat_none"], words["vat_later"]]]
    for tax in document.taxes:
        label = words[f"vat_{EXEMPT if tax.category == EXEMPT else document.vat_category}"]
        values = {"rate": plain_rate(document.language, tax.rate), "net": amount(document.language, tax.net)}
        rows.append([label.format(**values), amount(document.language, tax.vat)])
    return rows


def _gross(document: Document) -> str:
    return f"{document.currency} {amount(document.language, document.gross)}" if document.vat_category else "–"


def _notes(document: Document) -> list[list[str]]:
    """Why no VAT is charged: §§ 14 (4) no. 8, 14a (1) and (5) UStG; in both languages for reverse charge."""
    words = document.words
    if document.vat_category == "AE":
        ids = words["note_AE_ids"].format(buyer=document.buyer.vat_id, seller=document.seller.vat_id)
        return [[words["note_AE"], ids]]
    if document.vat_category == "O":
        return [[words["note_O"], ""]]
    return _exemptions(document)


def _exemptions(document: Document) -> list[list[str]]:
    """The reason of each exemption, with the positions it is about unless it is about all of them."""
    positions: dict[str, list[str]] = {}
    for line in document.lines:
        if _is_exempt(document, line):
            positions.setdefault(line.exempt_reason, []).append(str(line.position))
    words, every = document.words, sum(map(len, positions.values())) == len(document.lines)
    if every and len(positions) == 1:
        return [[words["note_E"], reason] for reason in positions]
    reasons = [f"{words['position']} {', '.join(which)}: {reason}" for reason, which in positions.items()]
    return [[words["note_E"], "\n".join(reasons)]] if reasons else []


def _payment(document: Document) -> str:
    if document.original is not None or document.vat_category is None:
        return _named_original(document, "carried" if document.carried else "cancelled")
    if document.carried is not None:
        return _replacing(document, document.carried)
    if document.gross == 0:
        return document.words["nothing"]
    values: dict[str, Any] = {"gross": abs(document.gross), "currency": document.currency}
    if document.gross < 0:
        return document.words["credit"].format(**values | {"gross": amount(document.language, values["gross"])})
    buyer = document.buyer
    if buyer.mandate or buyer.card:
        return announced(document.language, card=buyer.card, collect_on=_collected_on(document), **values)
    return payment(document.language, method=buyer.payment_method, due=document.due_on, **values)


def _replacing(document: Document, carried: Carried) -> str:
    """What was paid on the document that this one replaces, and what is left to pay."""
    words, language = document.words, document.language
    said = words["replaces"].format(
        number=carried.number, amount=amount(language, carried.amount), currency=document.currency
    )
    if document.to_pay <= 0:
        return f"{said} {words['nothing']}"
    rest = amount(language, document.to_pay)
    return f"{said} {words['rest'].format(rest=rest, currency=document.currency, due=day(language, document.due_on))}"


def _collected_on(document: Document) -> date | None:
    return date.fromisoformat(document.buyer.collect_on) if document.buyer.collect_on else None


def _account(document: Document) -> list[list[str]]:
    if document.is_payable and document.buyer.mandate:
        return _collection(document)
    if not document.is_transferred or not document.seller.iban:
        return []
    words, seller = document.words, document.seller
    pairs = [
        (words["payee"], seller.name),
        ("IBAN", iban(seller.iban)),
        ("BIC", seller.bic),
        (words["bank"], seller.bank_name),
        (words["reference"], document.number or words["draft_number"]),
    ]
    return [[label, value] for label, value in pairs if value]


def _collection(document: Document) -> list[list[str]]:
    """What a SEPA direct debit has to be announced with: by which mandate, by whom, from where and when."""
    words, buyer = document.words, document.buyer
    pairs = [
        (words["collect_on"], day(document.language, _collected_on(document))),
        (words["mandate"], buyer.mandate),
        (words["creditor_id"], buyer.creditor_id),
        (words["your_account"], f"IBAN … {buyer.iban_ending}"),
    ]
    return [[label, value] for label, value in pairs if value]


def _footer(document: Document) -> list[list[str]]:
    words, seller = document.words, document.seller
    columns = [
        [seller.name, seller.street, _town(seller), _country(document, seller) if _goes_abroad(document) else ""],
        [_labelled(words["phone"], seller.phone), seller.email, seller.website],
        [seller.bank_name, _labelled("IBAN", iban(seller.iban)), _labelled("BIC", seller.bic)],
        [
            seller.register_entry,
            _labelled(f"{words['directors']}:", seller.managing_directors),
            _labelled(words["vat_id"], seller.vat_id),
            _labelled(words["tax_number"], seller.tax_number),
        ],
    ]
    return [[line for line in column if line] for column in columns if any(column)]


# ---------------------------------------------------------------- how values are written
def _named_original(document: Document, sentence: str) -> str:
    original = document.original
    if original is None:
        return ""
    kind = "credit_note" if original.kind == "credit_note" else "invoice"
    text = document.words[f"{sentence}_{kind}"]
    to = document.carried.number if document.carried else ""
    return text.format(number=original.number, date=day(document.language, original.issued_on), to=to)


def _shows_rates(document: Document) -> bool:
    """Whether lines bear different VAT, so that each says which."""
    kinds = {(line.vat_rate, _is_exempt(document, line)) for line in document.lines}
    return document.vat_category == "S" and len(kinds) > 1


def _is_exempt(document: Document, line: Line) -> bool:
    """Where the customer's country decides (AE, O), that rules all lines."""
    return document.vat_category == "S" and line.vat_treatment == "exempt"


def _goes_abroad(document: Document) -> bool:
    return document.buyer.country not in ("", document.seller.country)


def _country(document: Document, party: Seller | Buyer) -> str:
    return str(Locale(document.language).territories.get(party.country, party.country))


def _town(party: Seller | Buyer) -> str:
    order = (party.city, party.postcode) if party.country in POSTCODE_LAST else (party.postcode, party.city)
    return _joined(" ", *order)


def _labelled(label: str, value: str) -> str:
    return f"{label} {value}" if value.strip() else ""


def _joined(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part.strip())


def _clean(value: Any) -> Any:
    """Texts without invisible characters, and with places to break in endless words."""
    if isinstance(value, list):
        return [_clean(part) for part in value]
    if isinstance(value, dict):
        return {key: _clean(part) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    text = unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\t", " "))
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in UNWANTED)
    return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: "\u200b".join(word.group()), text)
