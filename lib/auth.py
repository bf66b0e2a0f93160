"""Who may do what. One table of roles and permissions; every write in `lib` asks it."""

from dataclasses import dataclass
from enum import StrEnum

from lib.errors import NotAllowed, NotFound


class Role(StrEnum):
    """What somebody of us is here to do; each has its row of permissions."""

    VIEWER = "viewer"
    SALES = "sales"
    FINANCE = "finance"
    ADMIN = "admin"


class Permission(StrEnum):
    """Named by what it allows, so that a refusal can quote it."""

    READ = "read"
    EDIT_CUSTOMERS = "edit customers and what they have booked"
    # The five verbs that end something, each for itself: what a role may do of them can be told apart.
    LOCK_CUSTOMERS = "lock and unlock customers"
    DEACTIVATE_CUSTOMERS = "deactivate and activate customers"
    CANCEL_SUBSCRIPTIONS = "cancel subscriptions"
    WITHDRAW_PRODUCTS = "withdraw what is booked"
    DELETE_CUSTOMERS = "delete customers"
    EDIT_PRICES = "change selling prices"
    SEE_PURCHASE_PRICES = "see purchase prices and margins"
    EDIT_PURCHASE_PRICES = "change purchase prices"
    EDIT_ADJUSTMENTS = "add adjustments"
    EDIT_INVOICES = "write, issue and cancel invoices"
    RECORD_PAYMENTS = "record and reverse payments"
    EDIT_PAYMENT_METHODS = "change payment methods"
    CLOSE_MONTHS = "close months"
    READ_AUDIT = "read the audit log"
    EDIT_PRODUCTS = "change the catalogue"
    ALLOW_TRIALS = "allow a test time again"
    EDIT_SETTINGS = "change settings"
    EDIT_STAFF = "manage staff"
    EDIT_PROJECT_KEYS = "manage project keys"


_CUSTOMERS = {
    Permission.EDIT_CUSTOMERS,
    Permission.LOCK_CUSTOMERS,
    Permission.DEACTIVATE_CUSTOMERS,
    Permission.CANCEL_SUBSCRIPTIONS,
    Permission.WITHDRAW_PRODUCTS,
    Permission.DELETE_CUSTOMERS,
}
_SALES = {Permission.READ, Permission.EDIT_PRICES, *_CUSTOMERS}
_FINANCE = {
    Permission.READ,
    *_CUSTOMERS,
    Permission.EDIT_ADJUSTMENTS,
    Permission.EDIT_INVOICES,
    Permission.RECORD_PAYMENTS,
    Permission.EDIT_PAYMENT_METHODS,
    Permission.CLOSE_MONTHS,
    Permission.SEE_PURCHASE_PRICES,
    Permission.READ_AUDIT,
}
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.SALES: frozenset(_SALES),
    Role.FINANCE: frozenset(_FINANCE),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True)
class User:
    """The person who acts: a staff row, looked up anew for each action."""

    id: int
    username: str
    name: str
    role: Role
    must_change_password: bool = False
    must_set_up_second_factor: bool = False

    @property
    def unready(self) -> bool:
        """Whether something has to be done about the account before anything else."""
        return self.must_change_password or self.must_set_up_second_factor

    def may(self, permission: Permission) -> bool:
        """Whether this person's role allows it."""
        return permission in PERMISSIONS[self.role]


def require(user: User, permission: Permission) -> None:
    """Refuse with NotAllowed unless the person's role allows it. First line of every write."""
    if not user.may(permission):
        raise NotAllowed(f"Your role ({user.role}) may not {permission}. Ask an admin if you need to.")


@dataclass(frozen=True)
class PortalUser:
    """One of a customer's users, who acts in the portal: looked up anew for each action, and good for that customer."""

    id: int
    customer_id: int
    email: str
    name: str
    is_main: bool
    self_service: bool
    customer_name: str

    @property
    def may_edit_address(self) -> bool:
        """Whether this person edits their company's address (row G3)."""
        return self.is_main and self.self_service


def require_own(user: PortalUser, customer_id: int | None, *, what: str) -> None:
    """Refuse with NotFound what belongs to another customer, in the words for what doesn't exist at all."""
    if customer_id != user.customer_id:
        raise NotFound(f"This {what} does not exist.")
