"""The PDF of an invoice: what the law and the letter ask for is on it, and customer text stays text."""

import io
import threading
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import typst
import zxingcpp
from PIL import Image
from pypdf import PdfReader

from lib import rendering
from lib.errors import Invalid
from lib.money import rounded
from lib.papers import Buyer, Document, Line, Original, Seller, Tax

SELLER = Seller(
    name="Nordlicht Systeme GmbH",
    street="Hafenstraße 12",
    postcode="20457",
    city="Hamburg",
    vat_id="DE123456788",
    tax_number="27/123/45678",
    register_entry="Amtsgericht Hamburg, HRB 123456",
    managing_directors="Dr. Anna Müller",
    email="rechnung@nordlicht.example",
    phone="+49 40 123456",
    bank_name="Musterbank",
    iban="DE02120300000000202051",
    bic="BYLADEM1001",
)
BUYER = Buyer("10023", "Bergmann & Söhne GmbH", "Industrieweg 7", "80331", "München", "DE", "DE987654321")
MM = 72 / 25.4


def line(position: int, quantity: str, price: str, **values: Any) -> Line:
    """A position whose amount follows from quantity and price."""
    amount = rounded(Decimal(quantity) * Decimal(price))
    given: dict[str, Any] = {"name": "IP-Scans", "vat_rate": Decimal(19)} | values
    return Line(position=position, quantity=Decimal(quantity), unit_price=Decimal(price), amount=amount, **given)


TIERS = (
    line(1, "50", "2", detail="Bereich 1–50", unit="IPs", product_id=3),
    line(2, "200", "1.5", detail="Bereich 51–250", unit="IPs", product_id=3),
    line(3, "50", "1.2", detail="Bereich 251–500", unit="IPs", product_id=3),
)


def paper(*lines: Line, **values: Any) -> Document:
    """An issued German invoice over the lines, changed by `values`."""
    lines = lines or TIERS
    taxed = values.get("vat_category", "S") == "S"
    taxes = []
    for rate in sorted({line.vat_rate or Decimal(0) for line in lines}):
        net = sum((line.amount for line in lines if line.vat_rate == rate), Decimal(0))
        charged = rate if taxed else Decimal(0)
        taxes.append(Tax(charged, "S", net, rounded(net * charged / 100)))
    net, vat = sum((t.net for t in taxes), Decimal(0)), sum((t.vat for t in taxes), Decimal(0))
    given: dict[str, Any] = {
        "kind": "invoice",
        "language": "de",
        "currency": "EUR",
        "seller": SELLER,
        "buyer": BUYER,
        "service_from": date(2026, 6, 1),
        "service_until": date(2026, 6, 30),
        "vat_category": "S",
        "number": "RE-2026-00012",
        "issued_on": date(2026, 7, 1),
        "due_on": date(2026, 7, 15),
    }
    return Document(net=net, vat=vat, gross=net + vat, lines=lines, taxes=tuple(taxes), **(given | values))


def pages_of(content: bytes) -> list[str]:
    """The text of each page, with runs of spaces made one and the break marks of long words removed."""
    pages = PdfReader(io.BytesIO(content)).pages
    return [" ".join(page.extract_text().replace("\u200b", "").split()) for page in pages]


def text_of(document: Document) -> str:
    return " ".join(pages_of(rendering.rendered(document)))


def assert_says(text: str, *expected: str) -> None:
    missing = [words for words in expected if words not in text]
    assert not missing, f"{missing} not in: {text}"


# ---------------------------------------------------------------- what is on it
def test_a_german_invoice_has_every_field_of_section_14_4() -> None:
    text = text_of(paper())
    assert_says(
        text, "Rechnung RE-2026-00012", "Rechnungsdatum 01.07.2026", "Leistungszeitraum 01.06.2026 – 30.06.2026"
    )
    assert_says(
        text, "Nordlicht Systeme GmbH · Hafenstraße 12 · 20457 Hamburg", "USt-IdNr. DE123456788", "27/123/45678"
    )
    assert_says(text, "Bergmann & Söhne GmbH Industrieweg 7 80331 München", "Kunden-Nr. 10023")
    assert_says(text, "IP-Scans Bereich 1–50 50 IPs 2,00 100,00", "IP-Scans, Bereich 51–250 200 IPs 1,50 300,00")
    assert_says(text, "Nettobetrag 460,00", "zzgl. 19 % USt auf 460,00 87,40", "Gesamtbetrag EUR 547,40")
    assert_says(text, "547,40 EUR ohne Abzug bis zum 15.07.2026", "DE02 1203 0000 0000 2020 51", "Seite 1 von 1")
    assert_says(text, "Amtsgericht Hamburg, HRB 123456", "Geschäftsführung: Dr. Anna Müller")


def test_an_english_invoice_writes_words_numbers_and_dates_in_english() -> None:
    text = text_of(paper(line(1, "1250", "1.5", unit="IPs"), language="en"))
    assert_says(text, "Invoice RE-2026-00012", "Invoice date 1 July 2026", "Service period 1–30 June 2026")
    assert_says(text, "1,250 IPs 1.50 1,875.00", "plus 19% VAT on 1,875.00 356.25", "Total amount EUR 2,231.25")
    assert_says(text, "by 15 July 2026", "Page 1 of 1")
    assert "Rechnung " not in text


@pytest.mark.parametrize("language", ["de", "en"])
def test_reverse_charge_names_the_law_in_both_languages_and_both_vat_ids(language: str) -> None:
    buyer = replace(BUYER, country="AT", vat_id="ATU12345678", postcode="1070", city="Wien")
    text = text_of(paper(vat_category="AE", buyer=buyer, language=language))
    assert_says(text, "Steuerschuldnerschaft des Leistungsempfängers", "Reverse charge", "ATU12345678", "DE123456788")
    assert_says(text, "1070 Wien ÖSTERREICH" if language == "de" else "1070 Wien AUSTRIA")
    assert_says(text, "EUR 460,00" if language == "de" else "EUR 460.00")
    assert "19" not in text.split("Betrag EUR" if language == "de" else "Amount EUR")[1].split("EUR 460")[0]


def test_outside_the_eu_the_reason_for_no_vat_is_given() -> None:
    buyer = replace(BUYER, country="CH", vat_id="", postcode="8001", city="Zürich")
    assert_says(text_of(paper(vat_category="O", buyer=buyer)), "Nicht im Inland steuerbare Leistung (§ 3a Abs. 2 UStG)")
    english = text_of(paper(vat_category="O", buyer=buyer, language="en"))
    assert_says(english, "not taxable in Germany (section 3a (2)", "SWITZERLAND")


def test_a_credit_note_is_a_rechnungskorrektur_and_asks_for_no_money() -> None:
    text = text_of(paper(line(1, "-1", "460"), kind="credit_note", number="GS-2026-00001"))
    assert_says(text, "Rechnungskorrektur GS-2026-00001", "−460,00", "Den Betrag von 547,40 EUR schreiben wir")
    assert "überweisen Sie" not in text and "Fällig" not in text


@pytest.mark.parametrize(
    ("kind", "sign", "named"), [("invoice", "-1", "Rechnung"), ("credit_note", "1", "Rechnungskorrektur")]
)
def test_a_cancellation_names_its_original(kind: str, sign: str, named: str) -> None:
    original = Original(kind, "XX-2026-00007", date(2026, 7, 1))
    text = text_of(paper(line(1, sign, "460"), kind="cancellation", number="ST-2026-00001", original=original))
    assert_says(text, "Stornorechnung ST-2026-00001", f"zur {named} XX-2026-00007 vom 01.07.2026", "vollständig auf")
    assert "überweisen Sie" not in text


def test_two_rates_show_a_rate_per_line_and_a_sum_per_rate() -> None:
    text = text_of(paper(line(1, "1", "100"), line(2, "1", "50", name="Buch", vat_rate=Decimal("7"))))
    assert_says(text, "100,00 19 % 100,00", "50,00 7 % 50,00", "7 % USt auf 50,00 3,50", "19 % USt auf 100,00 19,00")


def test_prices_show_the_decimals_they_need_and_quantities_none_too_many() -> None:
    text = text_of(paper(line(1, "12500.0000", "0.0035"), line(2, "1.5000", "2.1000", unit="h")))
    assert_says(text, "12.500 0,0035 43,75", "1,5 h 2,10 3,15")


def test_a_line_of_another_period_says_so() -> None:
    may = {"service_from": date(2026, 5, 1), "service_until": date(2026, 5, 31)}
    june = {"service_from": date(2026, 6, 16), "service_until": date(2026, 6, 30)}
    text = text_of(paper(line(1, "1", "10", name="Nachberechnung", **may), line(2, "1", "10", name="Teil", **june)))
    assert_says(text, "Leistungszeitraum 01.05.2026 – 31.05.2026")
    assert "16.06.2026" not in text


def test_a_document_about_other_months_only_is_of_their_period() -> None:
    april = {"service_from": date(2026, 4, 1), "service_until": date(2026, 4, 30)}
    may = {"service_from": date(2026, 5, 1), "service_until": date(2026, 5, 31)}
    corrected = text_of(paper(line(1, "-1", "10", name="Korrektur", **may), kind="credit_note"))
    assert_says(corrected, "Leistungszeitraum 01.05.2026 – 31.05.2026")
    assert corrected.count("Leistungszeitraum") == 1
    ahead = {"service_from": date(2026, 7, 1), "service_until": date(2026, 7, 31)}
    advance = text_of(paper(line(1, "1", "10", name="Juli", **ahead)))
    assert_says(advance, "Leistungszeitraum 01.07.2026 – 31.07.2026")
    assert advance.count("Leistungszeitraum") == 1
    both = text_of(paper(line(1, "-1", "10", name="Eins", **april), line(2, "-1", "10", name="Zwei", **may)))
    assert_says(both, "Leistungszeitraum 01.04.2026 – 31.05.2026", "Leistungszeitraum 01.04.2026 – 30.04.2026")
    by_hand = text_of(paper(line(1, "-1", "10", name="Korrektur", **may), line(2, "1", "10", name="Arbeit")))
    assert_says(by_hand, "Leistungszeitraum 01.06.2026 – 30.06.2026", "Leistungszeitraum 01.05.2026 – 31.05.2026")


@pytest.mark.parametrize(
    ("method", "language", "sentence"),
    [
        ("direct_debit", "de", "547,40 EUR ziehen wir zum 15.07.2026 per SEPA-Lastschrift von Ihrem Konto ein."),
        ("direct_debit", "en", "547.40 EUR from your account by SEPA direct debit on 15 July 2026."),
        ("card", "de", "Den Gesamtbetrag von 547,40 EUR buchen wir von Ihrer Kreditkarte ab."),
        ("card", "en", "We charge the total amount of 547.40 EUR to your credit card."),
        ("free", "de", "Für Ihr Kundenkonto ist keine Zahlung vereinbart."),
        ("free", "en", "No payment is agreed for your account."),
    ],
)
def test_who_pays_otherwise_is_asked_for_no_bank_transfer(method: str, language: str, sentence: str) -> None:
    issued = paper(buyer=replace(BUYER, payment_method=method), language=language)
    draft = replace(issued, number=None, issued_on=None, due_on=None)
    for document in (issued, draft):
        text = text_of(document)
        assert not [words for words in ("überweisen", "transfer", "Verwendungszweck", "Empfänger") if words in text]
        assert rendering.girocode(document) == ""
    assert_says(text_of(issued), sentence)
    assert ("Fällig am" in text_of(issued) or "Due on" in text_of(issued)) == (method != "free")
    assert "None" not in text_of(draft) and "zum ." not in text_of(draft)


@pytest.mark.parametrize("method", ["", "bank_transfer", "project_key"])
def test_a_transfer_is_asked_for_where_nothing_else_is_agreed(method: str) -> None:
    issued = paper(buyer=replace(BUYER, payment_method=method))
    assert_says(text_of(issued), "547,40 EUR ohne Abzug bis zum 15.07.2026", "Verwendungszweck RE-2026-00012")
    assert rendering.girocode(issued) != ""


def test_a_total_of_zero_asks_for_nothing() -> None:
    assert_says(text_of(paper(line(1, "0", "5"))), "Es ist kein Betrag zu zahlen.")


def test_a_draft_is_marked_and_has_neither_number_nor_payment_code() -> None:
    draft = paper(number=None, issued_on=None, due_on=None)
    assert_says(text_of(draft), "ENTWURF", "Rechnung – Entwurf", "bei Ausstellung")
    assert rendering.girocode(draft) == ""
    undecided = text_of(replace(draft, vat_category=None, taxes=(), language="en"))
    assert_says(undecided, "DRAFT", "VAT decided when issued", "Total amount –")
    assert "ENTWURF" not in text_of(paper())


# ---------------------------------------------------------------- the letter
def test_the_address_stands_in_the_window_of_din_5008_form_b() -> None:
    places: dict[str, tuple[float, float]] = {}

    def note(text: str, cm: list[float], tm: list[float], *_: Any) -> None:
        if text.strip():
            places[text.strip()] = ((tm[4] + cm[4]) / MM, 297 - (tm[5] * cm[3] + cm[5]) / MM)

    PdfReader(io.BytesIO(rendering.rendered(paper()))).pages[0].extract_text(visitor_text=note)
    for words in (BUYER.name, BUYER.street, "80331 München"):
        x, y = next(place for text, place in places.items() if words in text)
        assert 20 <= x <= 30, (words, x)
        assert 45 + 17.7 <= y <= 90, (words, y)
    _, y = next(place for text, place in places.items() if "Rechnung RE-2026-00012" in text)
    assert 98.46 <= y <= 106


def test_sixty_lines_take_three_pages_with_number_and_table_head_on_each() -> None:
    lines = [line(i, "7", "1.25", name=f"Leistung {i}.", detail="je Monat\n" * (i % 2)) for i in range(1, 61)]
    pages = pages_of(rendering.rendered(paper(*lines)))
    assert len(pages) == 3
    for index, page in enumerate(pages, start=1):
        assert_says(page, "RE-2026-00012", f"Seite {index} von 3", "Bezeichnung Menge Einzelpreis EUR Betrag EUR")
    assert all(f"{i} Leistung {i}. " in " ".join(pages) for i in range(1, 61))


@pytest.mark.parametrize("count", range(16, 31))
def test_totals_stand_with_the_last_two_lines(count: int) -> None:
    lines = [line(i, "1", "1", name=f"Leistung {i}.") for i in range(1, count + 1)]
    last = next(page for page in pages_of(rendering.rendered(paper(*lines))) if "Gesamtbetrag EUR" in page)
    assert_says(last, f"Leistung {count - 1}.", f"Leistung {count}.", "Nettobetrag")


def test_endless_words_and_texts_stay_on_the_paper() -> None:
    buyer = replace(BUYER, name="Gesellschaft für " + "sehr lange Namen " * 9, contact_name="Frau " + "Lang-" * 20)
    document = paper(
        line(1, "1", "999999999.99", name="A" * 200, detail="wort " * 1500, unit="Benutzerlizenzen"),
        buyer=buyer,
        purchase_order="Bestellung " * 18,
        intro="I" * 500,
        closing="Gruß\n" * 60,
    )
    pages = pages_of(rendering.rendered(document))
    assert_says(" ".join(pages), "A" * 25, "999.999.999,99", "Gruß")
    assert len(pages) <= 6


@pytest.mark.parametrize(
    "nasty", ["#set page(width: 1mm)", "*x* _y_ $z$ `c` <a> @b", '#panic("no")', "= Titel", "\\u{41}", "//x"]
)
def test_customer_text_is_text_and_never_markup(nasty: str) -> None:
    lines = (line(1, "1", "1", name=nasty, detail=nasty, unit=nasty[:8]),)
    party = {"seller": replace(SELLER, name=nasty), "buyer": replace(BUYER, name=nasty)}
    text = text_of(paper(*lines, intro=nasty, closing=nasty, purchase_order=nasty, **party))
    assert text.count(nasty) >= 5


def test_invisible_characters_are_left_out() -> None:
    assert_says(text_of(paper(line(1, "1", "1", name="Preis\u202e 001\u2066\x07 end"))), "Preis 001 end")


# ---------------------------------------------------------------- the file
def test_the_same_document_gives_the_same_archival_file_in_every_thread() -> None:
    expected = rendering.rendered(paper())
    assert b"pdfaid:part>3<" in expected and b"pdfaid:conformance>B<" in expected
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(rendering.rendered(paper()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [expected] * 4
    information = PdfReader(io.BytesIO(expected)).metadata
    assert information is not None
    assert information.title == "Rechnung RE-2026-00012"
    assert information.creation_date is not None and information.creation_date.date() == date(2026, 7, 1)


def test_a_character_that_the_font_lacks_does_not_stop_the_invoice() -> None:
    assert_says(text_of(paper(buyer=replace(BUYER, name="北京 Trading"))), "Trading", "Gesamtbetrag")


def test_the_payment_code_can_be_scanned_and_says_what_is_owed() -> None:
    svg = rendering.girocode(paper(seller=replace(SELLER, name="Müller & Łódź AG")))
    source = b'#set page(width: 60mm, height: 60mm)\n#image(bytes(sys.inputs.qr), format: "svg", width: 40mm)'
    png = typst.compile(source, format="png", sys_inputs={"qr": svg})
    code = zxingcpp.read_barcode(Image.open(io.BytesIO(png)).convert("L"))
    assert code is not None
    assert code.bytes.decode("utf-8").split("\n") == [
        *("BCD", "002", "1", "SCT", "BYLADEM1001", "Müller & Łódź AG", "DE02120300000000202051", "EUR547.40"),
        *("", "", "RE-2026-00012"),
    ]


@pytest.mark.parametrize(
    "values", [{"currency": "CHF"}, {"seller": replace(SELLER, iban="")}, {"kind": "cancellation"}]
)
def test_no_payment_code_where_it_could_not_be_paid_by_it(values: dict[str, Any]) -> None:
    assert rendering.girocode(paper(**values)) == ""


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 20), "navy").save(buffer, kind)
    return buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


@pytest.mark.parametrize("logo", [picture("PNG"), picture("JPEG"), SVG], ids=["png", "jpeg", "svg"])
def test_a_logo_stands_on_the_document(logo: bytes) -> None:
    assert rendering.checked_logo(logo) == logo
    content = rendering.rendered(paper(logo=logo))
    assert b"pdfaid" in content and content != rendering.rendered(paper())


@pytest.mark.parametrize("logo", [b"", b"GIF89a", b"<svg", b"\x89PNG\r\n\x1a\n broken", b"x" * 500_001])
def test_a_file_that_is_no_logo_is_refused_in_words(logo: bytes) -> None:
    with pytest.raises(Invalid, match="logo") as refusal:
        rendering.checked_logo(logo)
    assert refusal.value.field == "logo"
