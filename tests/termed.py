"""A small company that sells plans and modules in advance: what the tests of terms begin with."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lib import invoices, issuing, payments, products, term_actions, term_invoices, term_offers, terms
from lib.auth import Role, User
from lib.invoices import Invoice
from lib.term_offers import Card, TermAction
from lib.terms import Term
from tests import closes, ledgers

JUNE = date(2026, 6, 1)
# The day on which most of it happens.
DAY = date(2026, 6, 10)


@dataclass(frozen=True)
class Shop:
    """Plans: basic at 30 a month and 300 a year, plus at 60 and 600. A module at 10 a month, 100 a year. All can be
    tried for 14 days.

    Ada is billed and has users, Tess is a test customer.
    """

    people: dict[Role, User]
    ada: int
    tess: int
    basic: int
    plus: int
    module: int

    @property
    def sales(self) -> User:
        return self.people[Role.SALES]

    @property
    def finance(self) -> User:
        return self.people[Role.FINANCE]

    @property
    def admin(self) -> User:
        return self.people[Role.ADMIN]


def shop(conn: Connection) -> Shop:
    """The company in June 2026, its first month."""
    company = closes.company(conn)
    staff = company.people
    made = {
        code: ledgers.product(conn, staff, kind, code=code, price=price)
        for code, kind, price in (("basic", "plan", "30"), ("plus", "plan", "60"), ("watch", "module", "10"))
    }
    for code, yearly in (("basic", "300"), ("plus", "600"), ("watch", "100")):
        changes = {"test_days": "14", "yearly_price": yearly}
        products.edit(conn, made[code], version=1, changes=changes, user=staff[Role.ADMIN])
    tess = ledgers.customer(conn, staff, "Tess GmbH", billed=False, ends_on=date(2026, 12, 31))
    return Shop(staff, company.with_users, tess, made["basic"], made["plus"], made["watch"])


def card(conn: Connection, customer_id: int, product_id: int, *, today: date = DAY) -> Card:
    """The card of a plan or module."""
    kind = products.product(conn, product_id).kind
    return next(c for c in term_offers.cards(conn, customer_id, kind, today=today) if c.product.id == product_id)


def own(conn: Connection, customer_id: int, product_id: int, *, today: date = DAY) -> Term:
    """What is active of it, or comes."""
    found = card(conn, customer_id, product_id, today=today).own
    assert found is not None
    return found


def order(
    conn: Connection, shop: Shop, product_id: int, action: TermAction = TermAction.YEARLY, *, today: date = DAY
) -> int:
    """The draft of an invoice for Ada."""
    return term_invoices.make(conn, shop.ada, product_id, action, today=today, user=shop.finance)


def issue(conn: Connection, shop: Shop, invoice_id: int, *, today: date = DAY) -> Invoice:
    """The document, issued."""
    done = issuing.issue(conn, [invoice_id], today=today, user=shop.finance)
    assert done.count == 1, done.blocked
    return invoices.invoice(conn, invoice_id)


def pay(conn: Connection, shop: Shop, invoice_id: int, amount: Decimal | None = None, *, day: date = DAY) -> int:
    """A payment, of all unless told."""
    left = payments.open_amount(conn, invoice_id) if amount is None else amount
    return payments.record(
        conn, invoice_id, amount=left, paid_on=day, method="bank_transfer", today=day, user=shop.finance
    )


def bought(
    conn: Connection, shop: Shop, product_id: int, action: TermAction = TermAction.YEARLY, *, today: date = DAY
) -> Term:
    """A term that Ada has ordered, got the invoice of and paid, all on one day."""
    invoice_id = order(conn, shop, product_id, action, today=today)
    issue(conn, shop, invoice_id, today=today)
    pay(conn, shop, invoice_id, day=today)
    return own(conn, shop.ada, product_id, today=today)


def act(conn: Connection, shop: Shop, verb: str, product_id: int, *, today: date = DAY, **more: Any) -> None:
    """One of the verbs that need no invoice, for Ada."""
    user = more.pop("user", shop.admin)
    getattr(term_actions, verb)(conn, shop.ada, product_id, today=today, user=user, **more)


def span(term: Term) -> tuple[str, date | None, date | None]:
    """Its state and its days, half-open."""
    return term.state, term.from_day, term.until_day


def states(conn: Connection, customer_id: int) -> list[str]:
    """Of all terms of a customer, the oldest first."""
    return [term.state for term in terms.terms_of(conn, customer_id)[::-1]]


def count(conn: Connection, query: str) -> int:
    """How many rows."""
    return conn.scalar(text(f"SELECT count(*) FROM {query}")) or 0
