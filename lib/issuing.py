"""Issuing: gapless numbers, frozen sides, § 14 (4) UStG complete (rows S3, B1).

Issuing is one transaction: claim the drafts, check what the law demands, lock the series, take the
numbers, freeze seller and buyer. Documents are cancelled in `lib/cancellations.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from lib import advance_invoices, audit, collection_notices, contacts, drafts, vat
from lib.auth import Permission, User, require
from lib.clock import next_month
from lib.errors import Conflict, Invalid, NotFound

# The address that the document goes to. Alias c is customers.
_BILLING = {
    "name": "CASE WHEN c.separate_billing THEN c.billing_name ELSE c.name END",
    "street": "CASE WHEN c.separate_billing THEN c.billing_street ELSE c.street END",
    "postcode": "CASE WHEN c.separate_billing THEN c.billing_postcode ELSE c.postcode END",
    "city": "CASE WHEN c.separate_billing THEN c.billing_city ELSE c.city END",
    "country": "CASE WHEN c.separate_billing AND c.billing_country <> '' THEN c.billing_country ELSE c.country END",
}
_BUYER = f"""jsonb_object('{{number,{",".join(_BILLING)},vat_id,contact_name,email,payment_method}}', ARRAY[
    c.number, {", ".join(_BILLING.values())}, c.vat_id, c.contact_name, {contacts.DOCUMENT_EMAIL},
    {collection_notices.ASKED}])"""

# What the VAT decision was based on. Aliases c and i, invoices.
_DECIDED_BY = """jsonb_build_object('country', c.country, 'vat_id', c.vat_id, 'valid', c.vat_id_valid,
                                    'checked_on', c.vat_id_checked_on)"""
_EVIDENCE = f"""CASE WHEN i.vat_category = 'AE'
    THEN {_DECIDED_BY} || (
         SELECT jsonb_build_object('vies', coalesce(jsonb_agg(
                    jsonb_build_object('reference', k.reference, 'checked_at', k.checked_at)), '[]'))
           FROM vat_checks k WHERE k.customer_id = c.id AND k.vat_id = c.vat_id AND k.valid)
    ELSE {_DECIDED_BY} END"""

# What the buyer's side of a document lacks, in words; an empty array where nothing does.
_OF_BUYER = f"""
    CASE WHEN ({_BILLING["street"]}) = '' THEN 'the street' END,
    CASE WHEN ({_BILLING["postcode"]}) = '' THEN 'the postcode' END,
    CASE WHEN ({_BILLING["city"]}) = '' THEN 'the city' END"""
MISSING_OF_BUYER = f"array_remove(ARRAY[{_OF_BUYER}], NULL)"

# The German rate of the day on which a line's service ends. Aliases l and i.
_RATE_OF_LINE = vat.RATE_OF_LINE.format(treatment="l.vat_treatment", day="coalesce(l.service_until, i.service_until)")

# Whether a line has no rate yet. Asked first of all documents at once: hardly any has such a line.
_UNRATED = "i.id IN (SELECT invoice_id FROM invoice_lines WHERE vat_rate IS NULL)"
# Which rates lines without one wait for, in words. Aliases l and i.
_MISSING_RATES = f"""ARRAY(
    SELECT DISTINCT CASE l.vat_treatment WHEN 'reduced' THEN 'a reduced VAT rate' ELSE 'a VAT rate' END
                    || ' for the service period (Settings → VAT rates)'
      FROM invoice_lines l WHERE l.invoice_id = i.id AND l.vat_rate IS NULL AND {_RATE_OF_LINE} IS NULL ORDER BY 1)"""


def _shown(index: str) -> str:
    """A number as it is printed, in SQL, of a series whose prefix and digits are at hand. Needs :year."""
    digits = f"CAST({index} AS text)"
    return f"prefix || '-' || CAST(:year AS int) || '-' || lpad({digits}, greatest(digits, length({digits})), '0')"


_ISSUED = f"""
numbered AS (
    SELECT i.id, f.first + row_number() OVER (PARTITION BY i.kind ORDER BY i.id) AS number_index, s.prefix, s.digits
      FROM invoices i
      JOIN unnest(CAST(:kinds AS text[]), CAST(:firsts AS int[])) AS f(kind, first) ON f.kind = i.kind
      JOIN number_series s ON s.kind = i.kind
     WHERE {{condition}}
), issued AS (
    UPDATE invoices i
       SET state = 'issued', number_year = :year, number_index = n.number_index, number = {_shown("n.number_index")},
           issued_on = :today, seller_id = :seller,
           due_on = coalesce(i.due_on, CAST(:today AS date) + coalesce(c.payment_days, o.payment_days)),
           buyer = coalesce(i.buyer, {_BUYER.replace("{", "{{").replace("}", "}}")}),
           vat_evidence = coalesce(i.vat_evidence, {_EVIDENCE}), version = i.version + 1
      FROM numbered n, customers c, company o
     WHERE {{condition}} AND n.id = i.id AND c.id = i.customer_id
    RETURNING i.id, i.customer_id, i.kind, i.number, i.number_index, i.gross
)"""


@dataclass(frozen=True)
class Blocked:
    """A draft that can't be issued, and what it lacks."""

    invoice_id: int
    customer: str
    missing: list[str]


@dataclass(frozen=True)
class Issued:
    """What an issue did: the documents that got a number, and those that lack something.

    `series` has the first and the last number of each series that was used.
    """

    count: int
    first_number: str | None
    last_number: str | None
    blocked: list[Blocked] = field(default_factory=list)
    series: list[tuple[str, str]] = field(default_factory=list)


def issue(conn: Connection, invoice_ids: Sequence[int], *, today: date, user: User) -> Issued:
    """Issue these drafts that are complete; the others are returned with what they lack.

    Raises NotFound or Conflict where one of them is no draft any more: nothing is issued then.
    """
    require(user, Permission.EDIT_INVOICES)
    wanted = sorted(set(invoice_ids))
    found = conn.execute(
        text("SELECT id, state FROM invoices WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE"),
        {"ids": wanted},
    ).all()
    if len(found) < len(wanted):
        raise NotFound("A draft does not exist any more. Nothing was issued: reload the list.")
    if any(row.state != "draft" for row in found):
        raise Conflict(
            "A document was already issued, perhaps by a colleague. Nothing was issued now: reload the list."
        )
    return _issue(conn, "i.id = ANY(CAST(:ids AS bigint[]))", {"ids": wanted}, today=today, user=user)


def issue_month(conn: Connection, month: date, *, today: date, user: User) -> Issued:
    """Issue all complete drafts of a closed month."""
    require(user, Permission.EDIT_INVOICES)
    # FOR UPDATE: no charges are drafted again for the month between counting its drafts and numbering them.
    state = conn.scalar(text("SELECT state FROM months WHERE month = :month FOR UPDATE"), {"month": month})
    if state not in ("approved", "locked"):
        raise Conflict(f"{month:%B %Y} is not closed, so it has no documents to issue. Approve it first.")
    condition = "i.month = :month AND i.state = 'draft'"
    held = f"SELECT i.id FROM invoices i WHERE {condition} ORDER BY i.id FOR UPDATE"
    conn.execute(text(f"SELECT count(*) FROM ({held}) held"), {"month": month})
    return _issue(conn, condition, {"month": month}, today=today, user=user)


def issue_one(conn: Connection, invoice_id: int, *, today: date, user: User | None) -> str:
    """Issue a draft that a payment has made necessary, and return its number. Raises Conflict with what it lacks.

    Who may record the payment may do this, too, or nobody of us did anything: no permission is asked for.
    """
    done = _issue(conn, "i.id = :id", {"id": invoice_id}, today=today, user=user)
    if done.blocked or done.first_number is None:
        missing = ", ".join(done.blocked[0].missing) if done.blocked else "its draft"
        raise Conflict(f"It can't be issued again before this is entered: {missing}.")
    return done.first_number


def _issue(conn: Connection, condition: str, values: dict[str, Any], *, today: date, user: User | None) -> Issued:
    # No customer may move to another country between the VAT decision and the frozen address.
    conn.execute(text("LOCK TABLE customers IN SHARE MODE"))
    missing_of_seller = seller_lacks(conn)
    if missing_of_seller:
        raise Invalid(f"The company's data is incomplete: {', '.join(missing_of_seller)}. See Settings → Company.")
    advance_invoices.refresh(conn, condition, values, today=today)
    # The customer's country or VAT ID, or the rate of an open month, changed since it was drafted.
    # Lines of the close lie in closed months, whose rates can't change; what had none may have got one.
    stale = conn.scalars(
        text(f"""SELECT i.id FROM invoices i JOIN customers c ON c.id = i.customer_id
                  WHERE {condition} AND (i.vat_category IS DISTINCT FROM {vat.DECISION}
                        OR {_UNRATED}
                        OR i.vat_category = 'S' AND (i.month IS NULL OR i.version > 1) AND EXISTS (
                            SELECT FROM invoice_lines l WHERE l.invoice_id = i.id AND NOT l.from_close
                               AND l.vat_rate IS DISTINCT FROM {_RATE_OF_LINE}))"""),
        values,
    ).all()
    if stale:
        drafts.recompute(conn, stale)
    blocked = _blocked(conn, condition, values | {"today": today})
    complete = f"{condition} AND NOT i.id = ANY(CAST(:blocked AS bigint[]))"
    values = values | {"blocked": [draft.invoice_id for draft in blocked]}
    collection_notices.freeze(conn, _BUYER, complete, values, today=today)
    return number(conn, complete, values, today=today, user=user, action="issue", blocked=blocked)


def lacks(conn: Connection, invoice_id: int, *, today: date) -> list[str]:
    """What keeps a draft from being issued today, in words: our side's data, the customer's, the document's."""
    condition, values = "i.id = :id AND i.state = 'draft'", {"id": invoice_id, "today": today}
    blocked = _blocked(conn, condition, values, decided=vat.DECISION)
    return [f"{what} of our company" for what in seller_lacks(conn)] + (blocked[0].missing if blocked else [])


def lacks_anew(conn: Connection, invoice_id: int) -> list[str]:
    """`lacks` of an issued document as if it were issued again today, with a due date of its own."""
    blocked = _blocked(conn, "i.id = :id", {"id": invoice_id, "today": date.min}, decided=vat.DECISION)
    return [f"{what} of our company" for what in seller_lacks(conn)] + (blocked[0].missing if blocked else [])


def blocked_in(conn: Connection, month: date, *, today: date, limit: int = 50) -> tuple[list[Blocked], int]:
    """The month's first drafts that could not be issued today, with what the customer's side lacks; how many in all."""
    condition, values = "i.month = :month AND i.state = 'draft'", {"month": month, "today": today}
    return _found_blocked(conn, condition, values, decided=vat.DECISION, limit=limit)


def reverse_charge_drafts(conn: Connection, month: date) -> int:
    """How many drafts of a closed month will be issued under reverse charge."""
    waiting: int = conn.execute(
        text(f"""SELECT count(*) FROM invoices i JOIN customers c ON c.id = i.customer_id
                  WHERE i.month = :month AND i.state = 'draft' AND {vat.DECISION} = 'AE'"""),
        {"month": month},
    ).scalar_one()
    return waiting


def seller_lacks(conn: Connection) -> list[str]:
    """What our own side of a document lacks under § 14 (4) UStG, in words."""
    row = conn.execute(text("SELECT * FROM company")).one()
    return [
        f"the {label}"
        for label, value in (
            ("name", row.name),
            ("street", row.street),
            ("postcode", row.postcode),
            ("city", row.city),
            ("tax number or VAT ID", row.tax_number or row.vat_id),
        )
        if not value
    ]


def _blocked(
    conn: Connection,
    condition: str,
    values: dict[str, Any],
    *,
    decided: str = "i.vat_category",
) -> list[Blocked]:
    """The drafts of `condition` that lack something. `decided` is the VAT category they will have, in SQL."""
    return _found_blocked(conn, condition, values, decided=decided, limit=None)[0]


def _found_blocked(
    conn: Connection, condition: str, values: dict[str, Any], *, decided: str, limit: int | None
) -> tuple[list[Blocked], int]:
    found = conn.execute(
        text(f"""
            SELECT id, customer, missing, count(*) OVER () AS in_all FROM (
                SELECT i.id, c.number || ' ' || c.name AS customer, array_remove(ARRAY[{_OF_BUYER},
                           CASE WHEN {decided} IS NULL THEN CAST(:vat AS text) END,
                           CASE WHEN {decided} = 'AE' AND o.vat_id = '' THEN 'our own VAT ID' END,
                           CASE WHEN i.net = 0 AND NOT EXISTS (SELECT FROM invoice_lines l WHERE l.invoice_id = i.id)
                                THEN 'a line' END,
                           CASE WHEN i.due_on < :today THEN 'a due date that is not past' END], NULL)
                       || CASE WHEN {decided} = 'S' AND {_UNRATED} THEN {_MISSING_RATES} ELSE '{{}}' END AS missing
                  FROM invoices i JOIN customers c ON c.id = i.customer_id CROSS JOIN company o
                 WHERE {condition}) looked_at
             WHERE cardinality(missing) > 0 ORDER BY id LIMIT :limit"""),
        values | {"vat": vat.MISSING, "limit": limit},
    ).all()
    return [Blocked(row.id, row.customer, list(row.missing)) for row in found], found[0].in_all if found else 0


def number(
    conn: Connection,
    condition: str,
    values: dict[str, Any],
    *,
    today: date,
    user: User | None,
    action: str,
    blocked: Sequence[Blocked] = (),
) -> Issued:
    """Give the drafts of `condition` their numbers and freeze them. Numbers follow the drafts' order."""
    counts = conn.execute(
        text(f"SELECT kind, count(*) AS drafts FROM invoices i WHERE {condition} GROUP BY kind ORDER BY kind DESC"),
        values,
    ).all()
    last = {row.kind: _take(conn, row.kind, today.year, row.drafts) for row in counts}
    first_index = {row.kind: last[row.kind] - row.drafts for row in counts}
    issued = values | {
        "today": today, "year": today.year, "seller": _frozen_seller(conn),
        "kinds": list(first_index), "firsts": list(first_index.values()),
    }  # fmt: skip
    # The documents and their entries in the log are written by one statement.
    audit.record_all(
        conn,
        action,
        "invoice",
        source=_ISSUED.format(condition=condition),
        query="""
            SELECT id AS object_id, customer_id,
                   format('{"number": [null, "%s"], "gross": [null, "%s"]}', number, gross)::jsonb AS changes
              FROM issued ORDER BY kind DESC, number_index""",
        values=issued,
        user_id=user.id if user else None,
    )
    total = sum(row.drafts for row in counts)
    series = [_ends(conn, kind, today.year, first_index[kind] + 1, last[kind]) for kind in first_index]
    first, final = (series[0][0], series[-1][1]) if series else (None, None)
    return Issued(total, first, final, list(blocked), series)


def _ends(conn: Connection, kind: str, year: int, first: int, last: int) -> tuple[str, str]:
    """The first and the last of the numbers that a series just gave, as they are printed."""
    row = conn.execute(
        text(f"SELECT {_shown(':first')} AS first, {_shown(':last')} AS last FROM number_series WHERE kind = :kind"),
        {"kind": kind, "year": year, "first": first, "last": last},
    ).one()
    return row.first, row.last


def _take(conn: Connection, kind: str, year: int, count: int) -> int:
    """Take `count` numbers of a series and return the last; holds the series until the transaction ends."""
    last: int = conn.execute(
        text("""INSERT INTO number_counters AS n (kind, year, last) VALUES (:kind, :year, :count)
                ON CONFLICT (kind, year) DO UPDATE SET last = n.last + excluded.last RETURNING last"""),
        {"kind": kind, "year": year, "count": count},
    ).scalar_one()
    return last


def _frozen_seller(conn: Connection) -> int:
    """The row of `sellers` that equals the company as it is now; added where there is none."""
    conn.execute(
        text("""
            INSERT INTO sellers (content, content_hash, logo)
            SELECT content, encode(sha256(convert_to(content::text, 'UTF8') || coalesce(logo, ''::bytea)), 'hex'), logo
              FROM (SELECT to_jsonb(company) - '{id,logo,version,intro_de,intro_en,closing_de,closing_en,timezone,
                           payment_days,change_threshold_percent,self_service_article_name,
                           self_service_article_number,portal_url,self_registration,
                           registration_terms,erasure_delay_minutes,check_vies,second_factor_roles,
                           renewal_days}'::text[] AS content,
                         logo FROM company) now
            ON CONFLICT (content_hash) DO NOTHING""")
    )
    seller_id: int = conn.execute(
        text("""SELECT s.id FROM sellers s, company o
                 WHERE s.content <@ to_jsonb(o) AND s.logo IS NOT DISTINCT FROM o.logo ORDER BY s.id DESC LIMIT 1""")
    ).scalar_one()
    return seller_id


def reverse_charge_deadline(month: date) -> date:
    """The day until which reverse-charge invoices of a month must be issued (§ 14a (1) UStG)."""
    return next_month(month).replace(day=15)
