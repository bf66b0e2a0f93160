"""Notices of new prices: prepared with the price for whom it touches, sent by mail once approved (row B5).

Whoever has a price of their own is not touched, and not told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from lib import audit, document_words, mail_server, mail_templates, mails, price_effects, prices
from lib.auth import Permission, User, require
from lib.contacts import DOCUMENT_EMAIL
from lib.errors import Conflict, NotFound
from lib.prices import Tier

# How many mails are written in one statement.
CHUNK = 5_000
# The contact is told, by name; where none is known, whoever gets the documents. Alias c is customers.
_RECIPIENT = f"coalesce(nullif(c.contact_email, ''), {DOCUMENT_EMAIL}, '')"
# Whoever is deleted meanwhile is told of nothing.
_TOLD = "c.marked_for_deletion_at IS NULL"
_RANGES = {
    "de": {"other": "{first} bis {last}: {price}", "last": "ab {first}: {price}"},
    "en": {"other": "{first} to {last}: {price}", "last": "from {first}: {price}"},
}


@dataclass(frozen=True)
class Survey:
    """How far the notices of a price are. `ready`: prepared, with an address; `sent_at`: of the last that was sent."""

    ready: int
    without_address: int
    sent: int
    dropped: int
    sent_at: datetime | None

    @property
    def prepared(self) -> int:
        """How many wait for somebody's approval."""
        return self.ready + self.without_address


@dataclass(frozen=True)
class Notice:
    """A customer to be told, with what the new price does to their first month with it."""

    customer_id: int
    number: str
    name: str
    recipient: str
    before: Decimal | None
    after: Decimal | None
    state: str

    @property
    def difference(self) -> Decimal | None:
        """After less before; None where either has no price."""
        return None if self.before is None or self.after is None else self.after - self.before


def save(
    conn: Connection,
    product_id: int,
    *,
    valid_from: date,
    tiers: Sequence[Tier],
    user: User,
    request_key: UUID | None = None,
) -> int:
    """Save a list price and prepare a notice for each customer whose month it changes; returns the price's id."""
    require(user, Permission.EDIT_PRICES)
    # Compared before the price is saved: afterwards there is no old amount any more.
    compared, values = price_effects.comparison(conn, product_id, tiers=tiers, valid_from=valid_from)
    conn.execute(text("DROP TABLE IF EXISTS noticed"))
    conn.execute(
        text(f"""CREATE TEMP TABLE noticed ON COMMIT DROP AS
                 WITH {compared} SELECT customer_id, before, after FROM compared WHERE changed"""),
        values,
    )
    price_id = prices.set_list_price(
        conn, product_id, valid_from=valid_from, tiers=tiers, user=user, request_key=request_key
    )
    prepared = conn.execute(
        text(f"""INSERT INTO price_notices (price_id, customer_id, before, after)
                 SELECT :id, n.customer_id, n.before, n.after
                   FROM noticed n JOIN customers c ON c.id = n.customer_id WHERE {_TOLD}"""),
        {"id": price_id},
    ).rowcount
    audit.record(conn, "prepare notices", "price", price_id, user_id=user.id, changes={"notices": (None, prepared)})
    return price_id


def surveys(conn: Connection, price_ids: Sequence[int]) -> dict[int, Survey]:
    """How far the notices of these prices are; prices without any are not in it."""
    found = conn.execute(
        text(f"""SELECT n.price_id,
                        count(*) FILTER (WHERE n.state = 'prepared' AND {_TOLD} AND {_RECIPIENT} <> '') AS ready,
                        count(*) FILTER (WHERE n.state = 'prepared' AND {_TOLD} AND {_RECIPIENT} = '')
                          AS without_address,
                        count(*) FILTER (WHERE n.state = 'sent') AS sent,
                        count(*) FILTER (WHERE n.state = 'dropped') AS dropped, max(n.sent_at) AS sent_at
                   FROM price_notices n JOIN customers c ON c.id = n.customer_id
                  WHERE n.price_id = ANY(CAST(:ids AS bigint[])) GROUP BY n.price_id"""),
        {"ids": list(price_ids)},
    )
    return {row.price_id: Survey(row.ready, row.without_address, row.sent, row.dropped, row.sent_at) for row in found}


def page(conn: Connection, price_id: int, *, limit: int = 50, offset: int = 0) -> list[Notice]:
    """The customers to be told, and who was, the largest difference first."""
    found = conn.execute(
        text(f"""SELECT n.customer_id, c.number, c.name, {_RECIPIENT} AS recipient, n.before, n.after, n.state
                   FROM price_notices n JOIN customers c ON c.id = n.customer_id
                  WHERE n.price_id = :id AND (n.state <> 'prepared' OR {_TOLD})
                  ORDER BY abs(n.after - n.before) DESC NULLS LAST, c.sort_name, c.id LIMIT :limit OFFSET :offset"""),
        {"id": price_id, "limit": limit, "offset": offset},
    )
    return [Notice(**row._mapping) for row in found]


def preview(conn: Connection, price_id: int, language: str) -> tuple[str, str]:
    """Subject and text of the notice in this language, as an invented person reads them."""
    sample = mail_templates.SAMPLES[language]
    values = {name: sample[name] for name in ("name", "customer")}
    price = _price(conn, price_id)
    return mail_templates.filled(
        mail_templates.template(conn, "price_notice", language),
        values | _said(price, language, mails.company_name(conn)),
    )


def send(conn: Connection, price_id: int, *, user: User) -> int:
    """Approve the notices that are prepared: their mails are queued. Returns how many.

    Those without an address stay prepared. Raises Conflict where the price was withdrawn, no mail server is set up,
    or nothing is left to send; so the second of two clicks sends nothing.
    """
    require(user, Permission.EDIT_PRICES)
    mail_server.require_ready(conn)
    price = _price(conn, price_id, hold=True)
    if price.withdrawn:
        raise Conflict("This price was withdrawn. Nobody is told of it any more.")
    waiting = conn.execute(
        text(f"""SELECT n.customer_id, c.name AS customer, c.language, {_RECIPIENT} AS recipient,
                        CASE WHEN c.contact_email <> '' THEN c.contact_name ELSE '' END AS name
                   FROM price_notices n JOIN customers c ON c.id = n.customer_id
                  WHERE n.price_id = :id AND n.state = 'prepared' AND {_TOLD} AND {_RECIPIENT} <> ''
                  ORDER BY c.sort_name, c.id"""),
        {"id": price_id},
    ).all()
    if not waiting:
        raise Conflict("No notice is left to send: they were sent or dropped, or no e-mail address is known.")
    company = mails.company_name(conn)
    said = {language: _said(price, language, company) for language in mail_templates.LANGUAGES}
    templates = {
        language: mail_templates.template(conn, "price_notice", language) for language in mail_templates.LANGUAGES
    }
    for first in range(0, len(waiting), CHUNK):
        letters = [
            mails.Letter(
                one.recipient,
                *mail_templates.filled(
                    templates[one.language], said[one.language] | {"name": one.name, "customer": one.customer}
                ),
                one.customer_id,
                None,
            )
            for one in waiting[first : first + CHUNK]
        ]
        mails.add_all(conn, "price_notice", letters, user_id=user.id)
    conn.execute(
        text("""UPDATE price_notices SET state = 'sent', sent_at = now(), sent_by = :user
                 WHERE price_id = :id AND customer_id = ANY(CAST(:customers AS bigint[]))"""),
        {"id": price_id, "user": user.id, "customers": [one.customer_id for one in waiting]},
    )
    audit.record(conn, "send notices", "price", price_id, user_id=user.id, changes={"notices": (None, len(waiting))})
    return len(waiting)


def drop(conn: Connection, price_id: int, *, user: User) -> int:
    """Tell nobody (else): what is prepared is not sent. Returns how many notices that were."""
    require(user, Permission.EDIT_PRICES)
    _price(conn, price_id, hold=True)
    dropped = conn.execute(
        text("UPDATE price_notices SET state = 'dropped' WHERE price_id = :id AND state = 'prepared'"),
        {"id": price_id},
    ).rowcount
    if not dropped:
        raise Conflict("No notice is left to drop: they were sent or dropped already.")
    audit.record(conn, "drop notices", "price", price_id, user_id=user.id, changes={"notices": (dropped, None)})
    return dropped


@dataclass(frozen=True)
class _Price:
    """What a notice says of a price; `name` by language."""

    valid_from: date
    withdrawn: bool
    currency: str
    name: dict[str, str]
    tiers: list[Tier]


def _price(conn: Connection, price_id: int, *, hold: bool = False) -> _Price:
    """A price. `hold`: two who approve or drop its notices take turns."""
    row = conn.execute(
        text(f"""SELECT p.valid_from, p.withdrawn_at, o.currency, r.name_de, r.name_en,
                        CASE WHEN r.kind = 'ips' THEN o.self_service_article_name ELSE '' END AS article
                   FROM prices p JOIN products r ON r.id = p.product_id CROSS JOIN company o
                  WHERE p.id = :id {"FOR UPDATE OF p" if hold else ""}"""),
        {"id": price_id},
    ).one_or_none()
    if row is None:
        raise NotFound("This price does not exist.")
    # IPs go by the name under which customers book them.
    names = {"de": row.article or row.name_de, "en": row.article or row.name_en}
    tiers = conn.execute(
        text("SELECT first_unit, last_unit, unit_price FROM price_tiers WHERE price_id = :id ORDER BY first_unit"),
        {"id": price_id},
    )
    found = [Tier(**tier._mapping) for tier in tiers]
    return _Price(row.valid_from, row.withdrawn_at is not None, row.currency, names, found)


def _said(price: _Price, language: str, company: str) -> dict[str, str]:
    """What a notice says of the price, in a language."""
    name, ranges = price.name[language], [_range(tier, language, price.currency) for tier in price.tiers]
    if len(ranges) == 1:
        said = f"{name}: {_unit_price(price.tiers[0], language, price.currency)}"
    else:
        said = "\n".join([f"{name}:", *ranges])
    return {"company": company, "valid_from": document_words.day(language, price.valid_from), "prices": said}


def _range(tier: Tier, language: str, currency: str) -> str:
    first, last = (document_words.number(language, Decimal(bound or 0)) for bound in (tier.first_unit, tier.last_unit))
    words = _RANGES[language]["last" if tier.last_unit is None else "other"]
    return words.format(first=first, last=last, price=_unit_price(tier, language, currency))


def _unit_price(tier: Tier, language: str, currency: str) -> str:
    price = document_words.number(language, tier.unit_price, at_least=2)
    return f"{price} {currency}" if language == "de" else f"{currency} {price}"
