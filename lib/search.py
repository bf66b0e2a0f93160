"""One search for all that has a name or a number: customers, their users and contacts, documents.

Each kind is asked by an index of its own and gives a few hits at most, so that the answer comes
while somebody types, with a hundred customers as with 100,000.
"""

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

from lib import customer_lists
from lib.audit import like_escaped

LONGEST = 200
# Two letters stand in nearly every name; no index helps to find them.
SHORTEST = 3
LIMIT = 8
_DOCUMENT = re.compile(r"([A-Z0-9-]{1,10})-(\d{4})-(\d{1,10})")


@dataclass(frozen=True)
class Hit:
    """Something found: a customer or a document, what it is called, and why it was found."""

    kind: str
    id: int
    title: str
    detail: str


def hits(conn: Connection, typed: str, *, limit: int = LIMIT) -> list[Hit]:
    """Documents by their number, then customers by name, number, e-mail or VAT ID, then those of a person's e-mail.

    Every word must be found. Nothing for less than three characters.
    """
    words = typed.replace("\x00", "")[:LONGEST].split()
    if sum(len(word) for word in words) < SHORTEST:
        return []
    found = _documents(conn, typed.strip()[:LONGEST])
    customers = customer_lists.find(conn, " ".join(words), limit=limit)
    found += [Hit("customer", customer.id, customer.name, customer.number) for customer in customers]
    if len(words) == 1 and len(words[0]) >= SHORTEST:
        known = {hit.id for hit in found if hit.kind == "customer"}
        found += [hit for hit in _people(conn, words[0], limit=limit) if hit.id not in known]
    return found[:limit]


def _documents(conn: Connection, typed: str) -> list[Hit]:
    """The document of a number, however many zeros were typed."""
    match = _DOCUMENT.fullmatch(typed.upper())
    if match is None:
        return []
    rows = conn.execute(
        text("""SELECT i.id, i.number, i.buyer ->> 'name' AS buyer FROM number_series s
                  JOIN invoices i ON i.number = s.prefix || '-' || :year || '-'
                                                || lpad(:index, greatest(s.digits, length(:index)), '0')
                 WHERE s.prefix = :prefix"""),
        {"prefix": match[1], "year": match[2], "index": match[3].lstrip("0") or "0"},
    )
    return [Hit("document", row.id, row.number, row.buyer or "") for row in rows]


def _people(conn: Connection, word: str, *, limit: int) -> list[Hit]:
    """Customers one of whose users has this e-mail address."""
    rows = conn.execute(
        text("""SELECT DISTINCT ON (c.sort_name, c.id) c.id, c.name, c.number, u.email
                  FROM (SELECT customer_id, email FROM customer_users WHERE lower(email) LIKE :word LIMIT 100) u
                  JOIN customers c ON c.id = u.customer_id AND c.erased_at IS NULL
                 ORDER BY c.sort_name, c.id, u.email LIMIT :limit"""),
        {"word": f"%{like_escaped(word.lower())}%", "limit": limit},
    )
    return [Hit("customer", row.id, row.name, f"{row.number} · {row.email}") for row in rows]
