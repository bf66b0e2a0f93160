"""What every part of a customer's page is given."""

from dataclasses import dataclass
from datetime import date

from lib.auth import Permission, User
from lib.customer_states import Action, Booked, offers
from lib.customers import Customer
from pages.shared import ui


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

    @property
    def offers(self) -> frozenset[Action]:
        """What the customer's state allows now, whoever asks; nothing before the company is set up."""
        return frozenset() if self.first_open is None else offers(self.customer, self.booked)

    @property
    def may_edit(self) -> bool:
        """Whether this person writes this customer's data and bookings, and its state allows it."""
        return self.user.may(Permission.EDIT_CUSTOMERS) and Action.EDIT in self.offers


def not_charged(view: View, what: str) -> bool:
    """For a test customer, say why there is nothing to see (row N7); True if it was said."""
    if view.customer.billed:
        return False
    ui.empty(f"{what}: a test customer has no charges. It begins when the customer is converted to billed.")
    return True
