"""What the erasure of a customer deletes and keeps, and the record of it (rows G12, N10).

Two steps, each one transaction. `erase` deletes all that no document needs. What the last invoice needs is kept,
listed with its reason, and deleted by `settle` once that invoice is issued and settled. What stays for good is a
tombstone: the number, the name as on the documents, and accounting records that hold nothing personal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, func, insert, text, update

from lib import (
    audit,
    cards,
    contacts,
    customer_user_fields,
    customer_users,
    customers,
    debits,
    document_words,
    mails,
    mandates,
    notes,
    quotas,
    sessions,
    usage,
    vat_checks,
)
from lib.customer_fields import OF_LAST_INVOICE
from lib.customers import Customer
from lib.tables import deletions, duties

DUTIES = ("Drop the customer's SQL database", "Remove existing backups")
LAST_INVOICE = "What the last invoice needs"
MEANS = "SEPA mandate and card that the last invoice is paid by"
DOCUMENTS = "Issued documents"
# § 147 (3) AO and § 14b (1) UStG: counted from the end of the year in which a document was issued.
YEARS = 8

# What stands in the way of deleting what the last invoice needs, in words; a row for each. Alias c is customers.
WAITS = """
SELECT to_char(c.ends_on, 'FMMonth YYYY') || ' is not closed yet' AS reason
 WHERE c.phase = 'billed' AND c.ends_on >= open_month()
UNION ALL
SELECT CASE count(*) WHEN 1 THEN 'a draft is not issued' ELSE count(*) || ' drafts are not issued' END
  FROM invoices i WHERE i.customer_id = c.id AND i.state = 'draft' HAVING count(*) > 0
UNION ALL
SELECT 'charges of ' || to_char(s.month, 'FMMonth YYYY') || ' are on no document'
  FROM statements s
 WHERE s.customer_id = c.id AND s.month < open_month() AND s.invoice_id IS NULL AND s.amount <> 0
UNION ALL
SELECT 'an adjustment of ' || to_char(a.month, 'FMMonth YYYY') || ' is not billed yet'
  FROM adjustments a WHERE a.customer_id = c.id AND a.withdrawn_at IS NULL AND a.month >= open_month()
UNION ALL
SELECT min(i.number) || CASE count(*) WHEN 1 THEN ' is' ELSE ' and ' || count(*) - 1 || ' more are' END
       || ' not settled'
  FROM invoices i
 WHERE i.customer_id = c.id AND i.kind IN ('invoice', 'credit_note') AND i.state IN ('issued', 'partly_paid')
   AND i.gross <> 0
HAVING count(*) > 0
"""

# Of the customer's own row: what no document needs at all, and what only an address that isn't used holds.
_NEEDED_BY_NONE = (
    *("contact_name", "contact_email", "phone", "account_name", "storage_region", "console_url"),
    *("deactivation_reason", "licence_expires_on", "tags"),
)
_OWN_ADDRESS = ("street", "postcode", "city")
_OTHER_ADDRESS = ("billing_name", "billing_street", "billing_postcode", "billing_city", "billing_country")
# The country stays: VAT was decided by it, and a country is nobody's address.
_OF_LAST_INVOICE = tuple(name for name in OF_LAST_INVOICE if name != "country")
_EMPTY: Mapping[str, Any] = {"licence_expires_on": None, "tags": [], "separate_billing": False}

_KEPT_WORDS = {
    "de": {
        "last": "Was Ihre letzte Rechnung braucht (Name, Anschrift, USt-IdNr. und E-Mail-Adresse für Rechnungen), "
        "behalten wir, bis sie gestellt und bezahlt ist.",
        "documents": "Ihre Rechnungen bewahren wir bis zum {day} auf, weil das Gesetz es verlangt "
        "(§ 147 AO, § 14b UStG).",
        "nothing": "Wir behalten nur Ihre Kundennummer und Ihren Firmennamen.",
    },
    "en": {
        "last": "What your last invoice needs (name, address, VAT ID and e-mail address for invoices) is kept until "
        "it is issued and settled.",
        "documents": "We keep your invoices until {day}, because the law demands it (section 147 AO, section 14b "
        "UStG).",
        "nothing": "We keep only your customer number and your company's name.",
    },
}


@dataclass(frozen=True)
class _Item:
    """A line of the record: what was erased, or, with a reason, what is kept and until when."""

    what: str
    count: int
    kept_until: date | None = None
    reason: str = ""


def waits_for(conn: Connection, customer_id: int) -> list[str]:
    """What has to happen before what the last invoice needs can be erased, in words; nothing: it can be."""
    query = f"SELECT w.reason FROM customers c CROSS JOIN LATERAL ({WAITS}) w WHERE c.id = :id"
    return list(conn.scalars(text(query), {"id": customer_id}))


def erase(conn: Connection, deletion_id: int, customer_id: int, *, today: date) -> None:
    """The first step: erase what no document needs, write the record and our duties, queue the confirmation."""
    _hold_alone(conn, customer_id)
    customer = customers.customer(conn, customer_id)
    confirmation = _confirmation(conn, customer)
    needed = bool(waits_for(conn, customer_id))
    last_documents = _documents(conn, customer_id)
    erased = _delete_rows(conn, customer_id)
    email = contacts.document_email(conn, customer_id)
    erased.append(_Item("Contacts", contacts.forget(conn, customer_id)))
    names = (*_NEEDED_BY_NONE, *(_OWN_ADDRESS if customer.separate_billing else _OTHER_ADDRESS))
    erased.append(_Item("Contact, console and addresses that no document needs", _filled(customer, names)))
    customers.rewrite(conn, customer_id, **_emptied(names), billing_email=email, erased_at=func.now())
    kept = _kept(conn, customers.customer(conn, customer_id), last_documents, needed=needed, today=today)
    conn.execute(update(deletions).where(deletions.c.id == deletion_id).values(erased_at=func.now(), last_error=""))
    conn.execute(insert(duties), [{"deletion_id": deletion_id, "what": what} for what in DUTIES])
    audit.record(conn, "erase", "customer", customer_id, user_id=None, customer_id=customer_id)
    erased.append(_Item("Personal values in the audit log", audit.forget(conn, customer_id)))
    _write(conn, deletion_id, [*erased, *kept])
    if not needed:
        settle(conn, deletion_id, customer_id)
    if confirmation is not None:
        _confirm(conn, customer, confirmation, needed=needed, documents_until=last_documents[1], today=today)


def settle(conn: Connection, deletion_id: int, customer_id: int) -> None:
    """The second step: nothing needs the billing data any more. What is left is the tombstone."""
    _hold_alone(conn, customer_id)
    customer = customers.customer(conn, customer_id)
    printed = conn.scalar(
        text("""SELECT buyer ->> 'name' FROM invoices
                 WHERE customer_id = :id AND buyer IS NOT NULL ORDER BY issued_on DESC, id DESC LIMIT 1"""),
        {"id": customer_id},
    )
    vat_checks.forget(conn, customer_id)
    mandates.forget(conn, customer_id, valid=True)
    cards.forget(conn, customer_id)
    debits.forget_files(conn, customer_id)
    customers.rewrite(
        conn,
        customer_id,
        **_emptied(_OF_LAST_INVOICE),
        name=printed or customer.name,
        vat_id_valid=False,
        vat_id_checked_on=None,
        settled_at=func.now(),
    )
    mails.forget(conn, customer_id, unsent_invoices=True)
    audit.record(conn, "erase what the last invoice needed", "customer", customer_id, user_id=None,
                 customer_id=customer_id)  # fmt: skip
    audit.forget(conn, customer_id)
    count, until = _documents(conn, customer_id)
    conn.execute(update(deletions).where(deletions.c.id == deletion_id).values(settled_at=func.now(), last_error=""))
    conn.execute(
        text("""UPDATE deletion_items SET treatment = 'erased', done_at = now(), reason = ''
                 WHERE deletion_id = :id AND what = ANY(:what)"""),
        {"id": deletion_id, "what": [LAST_INVOICE, MEANS]},
    )
    # The last invoice is among them now.
    conn.execute(
        text("""UPDATE deletion_items SET count = CASE WHEN what = :documents THEN :count ELSE count END,
                       kept_until = :until
                 WHERE deletion_id = :id AND treatment = 'kept' AND (what = :documents OR kept_until IS NOT NULL)"""),
        {"id": deletion_id, "documents": DOCUMENTS, "count": count, "until": until},
    )


def _hold_alone(conn: Connection, customer_id: int) -> None:
    """Wait for everybody who is writing something about the customer, and let nobody begin before we end.

    FOR UPDATE: stronger than `customers.held`, it also waits for rows of other tables that name the customer.
    """
    conn.execute(text("SELECT 1 FROM customers WHERE id = :id FOR UPDATE"), {"id": customer_id})


def _delete_rows(conn: Connection, customer_id: int) -> list[_Item]:
    return [
        # Before the users: afterwards nobody knows whose attempts these were.
        _Item("Attempts to sign in to the portal", sessions.forget_attempts(conn, customer_id)),
        _Item("Mails, with their recipients and texts", mails.forget(conn, customer_id, unsent_invoices=False)),
        _Item("Users, with their invites and sessions", customer_users.forget(conn, customer_id)),
        _Item("Revoked SEPA mandates", mandates.forget(conn, customer_id, valid=False)),
        _Item("Notes", notes.forget(conn, customer_id)),
        _Item("Quotas", quotas.forget(conn, customer_id)),
        _Item("Days of usage", usage.forget(conn, customer_id)),
    ]


def _kept(
    conn: Connection, customer: Customer, documents: tuple[int, date | None], *, needed: bool, today: date
) -> list[_Item]:
    count, until = documents
    # A document that is still to come is of this year at the earliest.
    law = _until(today) if needed else until
    # Periods that were free, tried or paid in advance are bookings, too.
    ledger = """SELECT (SELECT count(*) FROM bookings WHERE customer_id = :id)
                     + (SELECT count(*) FROM terms WHERE customer_id = :id)"""
    booked = conn.scalar(text(ledger), {"id": customer.id}) or 0
    items = [_Item(LAST_INVOICE, _filled(customer, _OF_LAST_INVOICE), None, "The last invoice is not settled yet")]
    means = sum(1 for one in mandates.mandates_of(conn, customer.id) if one.revoked_at is None)
    means += cards.saved_card(conn, customer.id) is not None
    items.append(_Item(MEANS, means, None, "The last invoice is not settled yet"))
    if law is not None:
        items.append(_Item(DOCUMENTS, count, law, "The law demands it: § 147 (3) AO, § 14b (1) UStG"))
    items.append(_Item("Bookings, with their charges", booked, None, "Accounting records; they hold nothing personal"))
    items.append(_Item("Customer number and name", 2, law, "So that documents and our duties say whom they are about"))
    return items


def _documents(conn: Connection, customer_id: int) -> tuple[int, date | None]:
    """How many documents were issued to a customer, and until when the law wants the last one kept."""
    row = conn.execute(
        text("""SELECT count(*) AS issued, max(issued_on) AS last
                  FROM invoices WHERE customer_id = :id AND state <> 'draft'"""),
        {"id": customer_id},
    ).one()
    return row.issued, None if row.last is None else _until(row.last)


def _until(issued_on: date) -> date:
    return date(issued_on.year + YEARS, 12, 31)


def _filled(customer: Customer, names: Sequence[str]) -> int:
    """How many of these fields say something."""
    return sum(1 for name in names if getattr(customer, name))


def _emptied(names: Sequence[str]) -> dict[str, Any]:
    return {name: _EMPTY.get(name, "") for name in names}


def _write(conn: Connection, deletion_id: int, items: Sequence[_Item]) -> None:
    """The record; of what there was none, it says nothing."""
    found = [item for item in items if item.count or item.what == DOCUMENTS]
    conn.execute(
        text("""INSERT INTO deletion_items (deletion_id, position, what, treatment, count, kept_until, reason, done_at)
                VALUES (:deletion_id, :position, :what, CASE :reason WHEN '' THEN 'erased' ELSE 'kept' END, :count,
                        :kept_until, :reason, CASE :reason WHEN '' THEN now() END)"""),
        [vars(item) | {"deletion_id": deletion_id, "position": at} for at, item in enumerate(found, start=1)],
    )


def _confirmation(conn: Connection, customer: Customer) -> tuple[str, str] | None:
    """Whom the confirmation goes to, and how they are addressed; read before they are erased. None: no address."""
    person = customer_users.main_user(conn, customer.id)
    if person is not None:
        name = customer_user_fields.addressed(
            salutation=person.salutation, first_name=person.first_name, surname=person.surname,
            language=customer.language,
        )  # fmt: skip
        return person.email, name
    if customer.contact_email:
        return customer.contact_email, customer.contact_name
    return (customer.billing_email, "") if customer.billing_email else None


def _confirm(
    conn: Connection,
    customer: Customer,
    to: tuple[str, str],
    *,
    needed: bool,
    documents_until: date | None,
    today: date,
) -> None:
    words = _KEPT_WORDS[customer.language]
    said = [words["last"]] if needed else []
    if documents_until is not None:
        said.append(words["documents"].format(day=document_words.day(customer.language, documents_until)))
    recipient, name = to
    mails.queue(
        conn,
        "erased",
        recipient=recipient,
        language=customer.language,
        values={
            "name": name,
            "customer": customer.name,
            "date": document_words.day(customer.language, today),
            "kept": "\n\n".join(said) or words["nothing"],
        },
        customer_id=customer.id,
    )
