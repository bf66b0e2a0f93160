"""A small company whose June 2026 can be closed: what the tests of the close, drafts and invoices begin with."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, text

from lib import adjustments, bookings, customers, issuing, months, settings
from lib.auth import Role, User
from lib.drafts import DraftLine
from tests import ledgers, people

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)
END_OF_JUNE = date(2026, 6, 30)
# A day on which June can be closed.
TODAY = date(2026, 7, 3)


@dataclass(frozen=True)
class Company:
    """The people, the products, and a customer with users and one with IPs."""

    people: dict[Role, User]
    users: int
    ips: int
    with_users: int
    with_ips: int

    @property
    def finance(self) -> User:
        """Who closes and issues."""
        return self.people[Role.FINANCE]

    @property
    def admin(self) -> User:
        """Who may do everything."""
        return self.people[Role.ADMIN]


def company(conn: Connection, *, first_month: date = JUNE) -> Company:
    """Ten users at 4.50 (45.00) and 300 IPs at the ranges of the billing rules (460.00)."""
    staff = people.open_company(conn, first_month=first_month)
    complete(conn, staff[Role.ADMIN])
    users = ledgers.product(conn, staff, "users", price="4.5", month=first_month)
    ips = ledgers.product(conn, staff, "ips", price=ledgers.RANGES, month=first_month)
    first = ledgers.customer(conn, staff, "Ada GmbH", since=first_month)
    second = ledgers.customer(conn, staff, "Berta AG", since=first_month)
    ledgers.book(conn, staff, first, users, 10, first_month)
    book_ips(conn, staff, second, ips, 300, first_month)
    return Company(staff, users, ips, first, second)


def approved(conn: Connection) -> Company:
    """The same, and June is approved."""
    made = company(conn)
    approve(conn, made)
    return made


def issued(conn: Connection) -> Company:
    """The same, and its documents are issued."""
    made = approved(conn)
    issue(conn, made)
    return made


def complete(conn: Connection, admin: User) -> None:
    """Our own side of a document, as § 14 (4) UStG wants it."""
    changes = {
        "name": "Muster IT GmbH",
        "street": "Hafenstr. 1",
        "postcode": "20457",
        "city": "Hamburg",
        "tax_number": "22/123/45678",
        "vat_id": "DE136695976",
    }
    settings.edit_company(conn, version=settings.company(conn).version, changes=changes, user=admin)


def book_ips(conn: Connection, staff: dict[Role, User], customer_id: int, ips: int, quantity: int, day: date) -> None:
    """So many internal IPs from a day on, booked on that day."""
    bookings.book(
        conn, customer_id, ips, effective_on=day, quantity=quantity, internal=quantity, external=0,
        keep_pending=True, today=day, user=staff[Role.SALES],
    )  # fmt: skip


def abroad(conn: Connection, company: Company, name: str, country: str, vat_id: str = "", *, quantity: int = 10) -> int:
    """A customer in another country with users."""
    details = {
        "name": name, "country": country, "vat_id": vat_id, "street": "Example 1", "postcode": "1000", "city": "Town",
        "language": "en",
    }  # fmt: skip
    customer_id = customers.create(conn, details=details, billed=True, ends_on=None, today=JUNE, user=company.admin)
    ledgers.book(conn, company.people, customer_id, company.users, quantity, JUNE)
    return customer_id


def credit(conn: Connection, company: Company, customer_id: int, amount: str) -> None:
    """An adjustment in June."""
    adjustments.add(
        conn, customer_id, text="Correction", amount=Decimal(amount), month_meant=JUNE, reason="test",
        user=company.finance,
    )  # fmt: skip


def approve(conn: Connection, company: Company, month: date = JUNE, *, today: date = TODAY) -> int:
    """Approve a month as finance."""
    return months.approve(conn, month, today=today, user=company.finance)


def issue(conn: Connection, company: Company, month: date = JUNE, *, today: date = TODAY) -> issuing.Issued:
    """Issue a month as finance."""
    return issuing.issue_month(conn, month, today=today, user=company.finance)


def line(amount: str, *, quantity: str = "1", name: str = "Workshop") -> DraftLine:
    """A line written by hand."""
    return DraftLine(name, "", Decimal(quantity), "", Decimal(amount))


def count(conn: Connection, table: str, where: str = "true") -> int:
    """How many rows of a table there are."""
    return conn.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}")) or 0


def numbers(conn: Connection) -> list[str]:
    """The numbers given, in their order."""
    return list(
        conn.scalars(
            text("SELECT number FROM invoices WHERE number IS NOT NULL ORDER BY kind, number_year, number_index")
        )
    )
