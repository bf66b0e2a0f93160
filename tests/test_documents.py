"""Documents: rendered from the frozen copy, stored once, and the same ever after."""

import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import Connection, func, insert, select, update

from lib import documents, tables
from lib.errors import NotFound
from lib.papers import Document

# The check of the billing rules: 300 IPs cost 460.00. Text, quantity, unit price, amount.
TIERS = (("Bereich 1–50", 50, "2", 100), ("Bereich 51–250", 200, "1.5", 300), ("Bereich 251–500", 50, "1.2", 60))
SUMS = {"net": Decimal("460.00"), "vat": Decimal("87.40"), "gross": Decimal("547.40")}


def assert_says(content: bytes, *expected: str) -> None:
    text = text_of(content)
    missing = [words for words in expected if words not in text]
    assert not missing, f"{missing} not in: {text}"


def text_of(content: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).split())


@pytest.fixture
def draft_id(conn: Connection) -> int:
    """A draft of three tiers for a customer with an address of its own for invoices."""
    address = {"street": "Weg 1", "postcode": "10115", "city": "Berlin", "contact_email": "a@b.example"}
    billing = {"billing_name": "Rechnungsstelle AG", "billing_street": "Gasse 2"}
    town = {"billing_postcode": "50667", "billing_city": "Köln"}
    customer = insert(tables.customers).values(
        number="C-7", name="Kunde AG", phase="test", separate_billing=True, **address, **billing, **town
    )
    customer_id = conn.scalar(customer.returning(tables.customers.c.id))
    conn.execute(update(tables.company).values(name="Heutige GmbH", street="Allee 3", iban="DE02120300000000202051"))
    return _drafted(conn, customer_id=customer_id)


def _drafted(conn: Connection, *, sign: int = 1, **values: Any) -> int:
    sums = {name: sign * amount for name, amount in SUMS.items()}
    period = {"service_from": date(2026, 6, 1), "service_until": date(2026, 6, 30)}
    row = insert(tables.invoices).values(vat_category="S", **values, **sums, **period)
    invoice_id: int | None = conn.scalar(row.returning(tables.invoices.c.id))
    assert invoice_id is not None
    for position, (detail, quantity, price, amount) in enumerate(TIERS, start=1):
        named = {"position": position, "product_id": 3, "name": "IP-Scans", "detail": detail, "unit": "IPs"}
        figures = {"quantity": sign * quantity, "unit_price": Decimal(price), "amount": sign * amount, "vat_rate": 19}
        conn.execute(insert(tables.invoice_lines).values(invoice_id=invoice_id, **named, **figures))
    return invoice_id


def _issued(conn: Connection, invoice_id: int, *, number: str) -> int:
    frozen = insert(tables.sellers).values(content={"name": "Frozen GmbH", "vat_id": "DE1"}, content_hash=number)
    values = {
        "state": "issued",
        "number": number,
        "number_year": 2026,
        "number_index": 12,
        "issued_on": date(2026, 7, 1),
        "due_on": date(2026, 7, 15),
        "seller_id": conn.scalar(frozen.returning(tables.sellers.c.id)),
        "buyer": {"number": "C-7", "name": "Damaliger Name AG", "city": "Bonn"},
    }
    conn.execute(update(tables.invoices).where(tables.invoices.c.id == invoice_id).values(values))
    return invoice_id


def _count(conn: Connection) -> int:
    return int(conn.execute(select(func.count()).select_from(tables.documents)).scalar_one())


def test_a_draft_is_rendered_from_todays_data_and_not_kept(conn: Connection, draft_id: int) -> None:
    name, content = documents.pdf(conn, draft_id)
    assert name == f"Entwurf-{draft_id}.pdf"
    assert_says(content, "ENTWURF", "Heutige GmbH", "Rechnungsstelle AG Gasse 2 50667 Köln", "EUR 547,40")
    assert _count(conn) == 0


def test_an_issued_invoice_is_rendered_from_its_frozen_copy_and_kept(conn: Connection, draft_id: int) -> None:
    _issued(conn, draft_id, number="RE-2026-00012")
    name, content = documents.pdf(conn, draft_id)
    assert name == "RE-2026-00012.pdf"
    assert_says(content, "Frozen GmbH", "Damaliger Name AG Bonn", "IP-Scans, Bereich 51–250", "EUR 547,40")
    assert "Heutige" not in text_of(content) and "Rechnungsstelle" not in text_of(content)
    kept = conn.execute(select(tables.documents)).one()
    assert (bytes(kept.content), bytes(kept.sha256)) == (content, sha256(content).digest())


def test_the_payment_method_is_todays_on_a_draft_and_the_frozen_one_once_issued(
    conn: Connection, draft_id: int
) -> None:
    conn.execute(update(tables.customers).values(payment_method="free"))
    assert_says(documents.pdf(conn, draft_id)[1], "Für Ihr Kundenkonto ist keine Zahlung vereinbart.")
    # Collected without a mandate: nobody can, so a transfer is asked for.
    conn.execute(update(tables.customers).values(payment_method="direct_debit"))
    assert_says(documents.pdf(conn, draft_id)[1], "Bitte überweisen Sie den Gesamtbetrag von 547,40 EUR")
    conn.execute(update(tables.customers).values(payment_method="free"))
    # Issued before the payment method was frozen: it stays the transfer that it was.
    _issued(conn, draft_id, number="RE-2026-00012")
    assert_says(documents.pdf(conn, draft_id)[1], "Bitte überweisen Sie den Gesamtbetrag von 547,40 EUR")


def test_the_stored_file_is_handed_out_without_rendering(
    conn: Connection, draft_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(conn, draft_id, number="RE-2026-00012")
    first = documents.pdf(conn, draft_id)
    monkeypatch.setattr(documents, "rendered", _must_not_be_called)
    assert documents.pdf(conn, draft_id) == first


def _must_not_be_called(document: Document) -> bytes:
    raise AssertionError("rendered again")


def test_of_two_at_once_both_get_what_was_stored_first(
    conn: Connection, draft_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(conn, draft_id, number="RE-2026-00012")
    monkeypatch.setattr(documents, "rendered", _slower_than_somebody_else(conn, draft_id))
    assert documents.pdf(conn, draft_id)[1] == b"stored first"
    assert _count(conn) == 1


def _slower_than_somebody_else(conn: Connection, invoice_id: int) -> Callable[[Document], bytes]:
    def render(document: Document) -> bytes:
        first = {"content": b"stored first", "sha256": sha256(b"stored first").digest()}
        conn.execute(insert(tables.documents).values(invoice_id=invoice_id, **first))
        return b"rendered second"

    return render


def test_a_cancellation_reads_its_originals_number_and_date(conn: Connection, draft_id: int) -> None:
    _issued(conn, draft_id, number="RE-2026-00012")
    customer_id = conn.scalar(select(tables.invoices.c.customer_id))
    cancellation = _drafted(conn, sign=-1, customer_id=customer_id, kind="cancellation", cancels_id=draft_id)
    name, content = documents.pdf(conn, _issued(conn, cancellation, number="ST-2026-00001"))
    assert name == "ST-2026-00001.pdf"
    assert_says(content, "zur Rechnung RE-2026-00012 vom 01.07.2026", "−50 IPs 2,00 −100,00", "EUR −547,40")


def test_an_invoice_that_does_not_exist_is_not_found(conn: Connection) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        documents.pdf(conn, 0)
