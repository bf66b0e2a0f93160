"""The advance invoices of prepaid terms: drafted, and brought up to date as they are issued (rows S4, S5).

Such a document says "12 months from receipt of full payment" instead of days of service. Its days of service are those
that follow from a payment today; they decide the VAT rate. The lines of the term are never edited, only others added.
"""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import audit, drafts, terms
from lib.auth import User
from lib.document_words import day as day_in
from lib.tables import invoice_lines
from lib.terms import Term

_PERIODS = {
    ("de", 1): "1 Monat ab vollständigem Zahlungseingang",
    ("de", 12): "12 Monate ab vollständigem Zahlungseingang",
    ("en", 1): "1 month from receipt of full payment",
    ("en", 12): "12 months from receipt of full payment",
}
# A renewal goes on where the term before it ends.
_NOT_BEFORE = {"de": "{period}, frühestens ab dem {day}", "en": "{period}, from {day} at the earliest"}
_CREDIT = {
    "de": ("Anrechnung {product}", "{unused} von {days} Tagen sind nicht genutzt"),
    "en": ("Credit for {product}", "{unused} of {days} days are unused"),
}


def period(language: str, months: int, not_before: date | None) -> str:
    """What the document prints instead of days of service."""
    said = _PERIODS[(language, months)]
    if not_before is None:
        return said
    return _NOT_BEFORE[language].format(period=said, day=day_in(language, not_before))


def draft(
    conn: Connection,
    customer_id: int,
    product_id: int,
    *,
    cycle: str,
    price: Decimal,
    not_before: date | None,
    today: date,
    user_id: int | None,
) -> int:
    """Write the draft of a term's invoice, still without its credit, and return its id."""
    language: str = conn.execute(
        text("SELECT language FROM customers WHERE id = :id"), {"id": customer_id}
    ).scalar_one()
    months = terms.MONTHS[cycle]
    said = period(language, months, not_before)
    first = max(today, not_before or today)
    values: dict[str, Any] = {
        "customer": customer_id, "product": product_id, "price": price, "period": said, "user": user_id,
        "first": first, "last": terms.after(first, months) - timedelta(days=1),
    }  # fmt: skip
    invoice_id: int = conn.execute(
        text("""
            INSERT INTO invoices (customer_id, service_from, service_until, language, currency, purchase_order,
                                  intro, closing, advance_period, created_by)
            SELECT c.id, :first, :last, c.language, o.currency, c.purchase_order,
                   CASE c.language WHEN 'de' THEN o.intro_de ELSE o.intro_en END,
                   CASE c.language WHEN 'de' THEN o.closing_de ELSE o.closing_en END, :period, :user
              FROM customers c CROSS JOIN company o WHERE c.id = :customer RETURNING id"""),
        values,
    ).scalar_one()
    conn.execute(
        text("""
            INSERT INTO invoice_lines (invoice_id, position, product_id, from_close, name, detail, quantity, unit_price,
                                       amount, service_from, service_until, vat_treatment, exempt_reason)
            SELECT :invoice, 1, id, true, CASE :language WHEN 'de' THEN name_de ELSE name_en END, :period, 1, :price,
                   :price, :first, :last, vat_treatment,
                   CASE :language WHEN 'de' THEN exempt_reason_de ELSE exempt_reason_en END
              FROM products WHERE id = :product"""),
        values | {"invoice": invoice_id, "language": language},
    )
    drafts.recompute(conn, [invoice_id])
    audit.record(
        conn, "create draft", "invoice", invoice_id, user_id=user_id, customer_id=customer_id,
        changes={"net": (None, price)},
    )  # fmt: skip
    return invoice_id


# Of a line that is written anew for other days, all but these is as it was.
_LINE = [column.name for column in invoice_lines.columns]
_OTHER_DAYS = {
    "invoice_id": ":new",
    "detail": "CASE WHEN from_close AND quantity > 0 THEN :period ELSE detail END",
    "service_from": "CASE WHEN from_close THEN :first ELSE service_from END",
    "service_until": "CASE WHEN from_close THEN :last ELSE service_until END",
}


def again(conn: Connection, invoice_id: int, *, months: int, first: date, user_id: int | None) -> int:
    """Write a draft of a document anew, for a period that begins with its payment on `first`; returns its id.

    Prices, lines and texts are those of the document; VAT is that of the new days, and of the customer as it is now.
    """
    language: str = conn.execute(text("SELECT language FROM invoices WHERE id = :id"), {"id": invoice_id}).scalar_one()
    values: dict[str, Any] = {
        "old": invoice_id, "first": first, "last": terms.after(first, months) - timedelta(days=1), "user": user_id,
        "period": period(language, months, None),
    }  # fmt: skip
    new_id: int = conn.execute(
        text("""
            INSERT INTO invoices (customer_id, service_from, service_until, language, currency, purchase_order,
                                  intro, closing, advance_period, created_by)
            SELECT customer_id, :first, :last, language, currency, purchase_order, intro, closing, :period, :user
              FROM invoices WHERE id = :old RETURNING id"""),
        values,
    ).scalar_one()
    copied = ", ".join(_OTHER_DAYS.get(name, name) for name in _LINE)
    conn.execute(
        text(f"""INSERT INTO invoice_lines ({", ".join(_LINE)})
                 SELECT {copied} FROM invoice_lines WHERE invoice_id = :old ORDER BY position"""),
        values | {"new": new_id},
    )
    drafts.recompute(conn, [new_id])
    made = conn.execute(text("SELECT customer_id, net FROM invoices WHERE id = :id"), {"id": new_id}).one()
    audit.record(
        conn, "create draft", "invoice", new_id, user_id=user_id, customer_id=made.customer_id,
        changes={"net": (None, made.net)},
    )  # fmt: skip
    return new_id


def drop(conn: Connection, invoice_id: int, *, user: User) -> None:
    """Delete the draft of a term that is not wanted any more; the term is void. The caller holds both."""
    terms.void_waiting(conn, invoice_id, deleted=True, user=user)
    deleted = conn.execute(
        text("DELETE FROM invoices WHERE id = :id AND state = 'draft' RETURNING customer_id, net"), {"id": invoice_id}
    ).one()
    audit.record(
        conn, "delete draft", "invoice", invoice_id, user_id=user.id, customer_id=deleted.customer_id,
        changes={"net": (deleted.net, None)},
    )  # fmt: skip


def refresh(conn: Connection, condition: str, values: dict[str, Any], *, today: date) -> None:
    """Bring the drafts of terms among those of `condition` up to date, as of today: days of service and credit.

    A renewal that is issued when the term before it is over names no earliest day any more.

    `condition` is on invoices, alias i. Documents that are for no term cost nothing here.
    """
    found = conn.execute(
        text(f"""SELECT i.id, i.language, t.id AS term_id FROM terms t JOIN invoices i ON i.id = t.invoice_id
                  WHERE t.state = 'waiting' AND {condition} AND i.state = 'draft' ORDER BY i.id"""),
        values,
    ).all()
    for row in found:
        waiting = terms.term(conn, row.term_id)
        followed = terms.term(conn, waiting.follows_id) if waiting.follows_id else None
        months, ended = terms.MONTHS[waiting.cycle], followed.until_day if followed else None
        # What follows a term that never began is issued again: its days are those from its payment on.
        first = waiting.ordered_on if followed and ended is None else max(today, ended or today)
        days = {"id": row.id, "first": first, "last": terms.after(first, months) - timedelta(days=1)}
        conn.execute(text("UPDATE invoices SET service_from = :first, service_until = :last WHERE id = :id"), days)
        if followed is not None:
            _say_period(conn, row.id, period(row.language, months, ended if ended and ended > today else None))
        conn.execute(
            text("""UPDATE invoice_lines SET service_from = :first, service_until = :last
                     WHERE invoice_id = :id AND from_close"""),
            days,
        )
        if waiting.replaces_id is not None:
            _credit(conn, row.id, row.language, terms.term(conn, waiting.replaces_id), days, today=today)
        drafts.recompute(conn, [row.id])


def _say_period(conn: Connection, invoice_id: int, said: str) -> None:
    values = {"id": invoice_id, "period": said}
    conn.execute(text("UPDATE invoices SET advance_period = :period WHERE id = :id"), values)
    conn.execute(
        text("UPDATE invoice_lines SET detail = :period WHERE invoice_id = :id AND from_close AND quantity > 0"), values
    )


def _credit(
    conn: Connection, invoice_id: int, language: str, replaced: Term, days: dict[str, Any], *, today: date
) -> None:
    """Write the line with the unused days of the replaced term anew: a negative quantity at a positive price.

    It is taxed, or exempt, as the line that it credits was.
    """
    conn.execute(
        text("DELETE FROM invoice_lines WHERE invoice_id = :id AND from_close AND quantity < 0"), {"id": invoice_id}
    )
    unused = replaced.worth(today)
    if not unused:
        return
    name, detail = _CREDIT[language]
    conn.execute(
        text("""
            INSERT INTO invoice_lines (invoice_id, position, product_id, from_close, name, detail, quantity, unit_price,
                                       amount, service_from, service_until, vat_treatment, exempt_reason)
            SELECT :id, (SELECT max(position) + 1 FROM invoice_lines WHERE invoice_id = :id), p.id, true,
                   replace(:name, '{product}', CASE :language WHEN 'de' THEN p.name_de ELSE p.name_en END), :detail,
                   -1, :credit, -CAST(:credit AS numeric), :first, :last, b.vat_treatment, b.exempt_reason
              FROM products p
              LEFT JOIN invoice_lines b
                     ON b.invoice_id = :billed AND b.product_id = p.id AND b.from_close AND b.quantity > 0
             WHERE p.id = :product"""),
        days
        | {
            "name": name, "language": language, "credit": unused, "product": replaced.product_id,
            "detail": detail.format(unused=replaced.unused_days(today), days=replaced.days),
            "billed": replaced.invoice_id,
        },
    )  # fmt: skip
