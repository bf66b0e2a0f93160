"""What every part of a customer's page is given."""

from dataclasses import dataclass
from datetime import date

from lib import clock, customer_statuses, customer_users, customers, periods, settings, subscriptions
from lib.auth import Permission, User
from lib.customer_states import Action, Booked, offers
from lib.customers import Customer
from lib.errors import NotFound
from pages.shared import session, ui


@dataclass(frozen=True)
class View:
    """The customer that is open, who looks, and the company's day, currency and time zone."""

    customer: Customer
    status: str
    user: User
    today: date
    first_open: date | None
    currency: str
    zone: str
    booked: Booked
    # The state of its main user, None where it has none.
    main: str | None

    @property
    def offers(self) -> frozenset[Action]:
        """What the customer's state allows now, whoever asks; nothing before the company is set up."""
        return frozenset() if self.first_open is None else offers(self.customer, self.booked, self.main)

    @property
    def may_edit(self) -> bool:
        """Whether this person writes this customer's data and bookings, and its state allows it."""
        return self.user.may(Permission.EDIT_CUSTOMERS) and Action.EDIT in self.offers


def read(customer_id: int, reader: User) -> View | None:
    """The customer as this person sees it now, or None where there is none."""
    with session.reading() as conn:
        try:
            customer = customers.customer(conn, customer_id)
        except NotFound:
            return None
        today, company = clock.today(conn), settings.company(conn)
        main = customer_users.main_user(conn, customer.id)
        return View(
            customer=customer,
            status=customer_statuses.status(conn, customer.id, today=today),
            user=reader,
            today=today,
            first_open=periods.open_month(conn),
            currency=company.currency,
            zone=company.timezone,
            booked=subscriptions.booked(conn, customer.id, today=today),
            main=None if main is None else main.state,
        )


def not_charged(view: View, what: str) -> bool:
    """For a test customer, say why there is nothing to see (row N7); True if it was said."""
    if view.customer.billed:
        return False
    ui.empty(f"{what}: a test customer has no charges. It begins when the customer is converted to billed.")
    return True
