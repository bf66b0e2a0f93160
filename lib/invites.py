"""Invites: a customer's user gets in by a link that is mailed, and that sets a password once (row G4).

We invite, and so do the customer's users among themselves. How far an invite is says `customer_users.CustomerUser`.
"""

from uuid import UUID

from sqlalchemy import Connection, func

from lib import audit, customer_user_fields, customer_users, customers, links, mails, passwords
from lib.auth import Permission, PortalUser, User, require
from lib.customers import Customer
from lib.errors import Conflict, Invalid
from lib.requests import once


def invite(
    conn: Connection,
    customer_id: int,
    *,
    email: str,
    salutation: str = "",
    first_name: str = "",
    surname: str = "",
    main: bool = False,
    send: bool = True,
    user: User | PortalUser,
    request_key: UUID | None = None,
) -> int:
    """Add a user and queue the mail with their invite; returns the id (row G4). The e-mail is the login.

    The first user of a customer becomes its main user. Without `send` nothing is mailed until
    `resend`: for an import. Raises Invalid at the field, also where somebody signs in with
    this address already.
    """
    customer_users.require_may_change(user, customer_id)
    once(conn, request_key)
    customer = customers.held_for_change(conn, customer_id)
    given = {"salutation": salutation, "first_name": first_name, "surname": surname, "email": email}
    new_id = customer_users.add(conn, customer, given, main=main, user=user, action="invite" if send else "add")
    if send:
        _send_invite(conn, customer, new_id, user)
    return new_id


def invite_contact(conn: Connection, customer_id: int, *, user: User, request_key: UUID | None = None) -> int:
    """Invite the contact that stands in the customer's data, as its main user (rows N2, G4)."""
    require(user, Permission.EDIT_CUSTOMERS)
    contact = customers.customer(conn, customer_id)
    if not contact.contact_email:
        raise Invalid("To invite the contact, enter their e-mail address: it is the login.", field="contact_email")
    first_name, surname = customer_user_fields.split_name(contact.contact_name)
    try:
        return invite(
            conn, customer_id, email=contact.contact_email, first_name=first_name, surname=surname, user=user,
            request_key=request_key,
        )  # fmt: skip
    except Invalid as refusal:
        raise Invalid(str(refusal), field="contact_email") from refusal


def resend(conn: Connection, user_id: int, *, user: User | PortalUser, request_key: UUID | None = None) -> None:
    """Mail a new invite to a user who has not registered; the link of the one before is void (row G4)."""
    customer, person = customer_users.held_by(conn, user_id, user)
    once(conn, request_key)
    if person.deactivated_at is not None:
        raise Conflict(f"{person.name} is deactivated. Activate them first, then send the invite.")
    if person.registered_at is not None:
        raise Conflict(f"{person.name} has registered already, so there is nothing to invite them to.")
    _send_invite(conn, customer, user_id, user)
    customer_users.record(conn, "resend invite" if person.invited_at else "invite", person, user)


def accept(conn: Connection, secret: str, password: str) -> int:
    """Set the password of the user whom this invite's link belongs to; returns their id (row G4).

    Works once: the user has registered then. Raises Invalid at `password`, and in words why the link
    or the access doesn't work any more.
    """
    user_id = links.use(conn, secret, "invite")
    person = customer_users.customer_user(conn, user_id)
    customer = customers.customer(conn, person.customer_id)
    if person.deactivated_at is not None or customer.marked_for_deletion_at is not None:
        raise Conflict("This access was closed. Ask whoever invited you.")
    if person.registered_at is not None:
        raise Conflict("You have registered already. Sign in with your e-mail address and your password.")
    customer_user_fields.require_good_password(password, email=person.email)
    customer_users.rewrite(conn, user_id, {"password_hash": passwords.hashed(password), "registered_at": func.now()})
    audit.record(
        conn, "accept invite", "customer user", user_id, user_id=None, customer_user_id=user_id,
        customer_id=person.customer_id, changes={"user": (None, person.email), "registered": (False, True)},
    )  # fmt: skip
    return user_id


def _send_invite(conn: Connection, customer: Customer, user_id: int, user: User | PortalUser) -> None:
    staff_id = audit.actor(user)["user_id"]
    customer_users.rewrite(conn, user_id, {"invited_at": func.now(), "invited_by": staff_id})
    person = customer_users.customer_user(conn, user_id)
    mails.queue(
        conn,
        "invite",
        recipient=person.email,
        language=customer.language,
        values={"name": customer_users.addressed(person, customer.language), "customer": customer.name},
        customer_id=customer.id,
        link_id=links.create(conn, user_id, "invite"),
        user_id=staff_id,
    )
