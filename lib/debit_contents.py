"""What the file of a run says of each invoice that it collects (row G16); how it is written: `lib/debit_files.py`."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, text

from lib import debit_files, mandates, payment_methods


def sequences(chosen: Sequence[Row[Any]]) -> dict[int, str]:
    """FRST for the first debit by a mandate that stood, RCUR for all after it."""
    found, begun = {}, set()
    for row in chosen:
        found[row.invoice_id] = "RCUR" if row.stood or row.mandate_id in begun else "FRST"
        begun.add(row.mandate_id)
    return found


def written(
    conn: Connection, chosen: Sequence[Row[Any]], sequence_of: dict[int, str], *, collect_on: date
) -> tuple[str, bytes]:
    """The identifier and the bytes of the file that collects these candidates on that day."""
    company: Any = conn.execute(text("SELECT name, iban, bic FROM company")).one()
    creditor = debit_files.Creditor(company.name, company.iban, company.bic, payment_methods.creditor_id(conn))
    accounts = mandates.accounts(conn, [row.mandate_id for row in chosen])
    counted = [_collection(row, sequence_of[row.invoice_id], *accounts[row.mandate_id]) for row in chosen]
    return debit_files.written(creditor, counted, collect_on=collect_on)


def _collection(row: Row[Any], sequence: str, iban: str, bic: str) -> debit_files.Collection:
    # Banks outside the EEA ask for the address, too.
    buyer = row.buyer if iban[:2] in mandates.BIC_NEEDED else {}
    parts = {"street_name": "street", "postcode": "postcode", "town": "city", "country": "country"}
    return debit_files.Collection(
        amount=row.amount, iban=iban, bic=bic, holder=row.holder, mandate=row.reference, signed_on=row.signed_on,
        sequence=sequence, end_to_end=row.number[:35], text=row.number,
        address={part: buyer[name] for part, name in parts.items() if buyer.get(name)},
    )  # fmt: skip
