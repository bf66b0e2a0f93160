"""Customers that register themselves, where a setting lets them: a free trial in self-service (row G14).

What was typed waits as a test customer whose user has not confirmed. The mailed link and the password together
confirm: whoever registers another person's address never gets in, nor does that person by a click too many.
Everybody is told the same; an address that is known gets a mail that says so.
"""

from collections.abc import Mapping
from datetime import date
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, func, text

from lib import (
    audit,
    customer_fields,
    customer_user_fields,
    customer_users,
    customers,
    fields,
    links,
    mails,
    passwords,
    portal_scope,
    sessions,
    settings,
)
from lib.customer_users import CustomerUser
from lib.errors import Conflict, Invalid, NotAllowed
from lib.sessions import Claim

SENT = "A mail is on its way to this address. Open the link in it to confirm; it works for seven days."
COMPANY = ("name", "street", "postcode", "city", "country", "language")
PERSON = ("salutation", "first_name", "surname", "email")
_LABELS = {"street": "The street", "postcode": "The postcode", "city": "The city"}
# Nobody's mailbox is filled by a stranger who registers it again and again.
AGAIN_AFTER, KNOWN_AGAIN_AFTER = "5 minutes", "1 day"


def claim(conn: Connection, *, address: str) -> Claim:
    """Count somebody's registering; how long to wait where one address does it too often. Commit before `register`."""
    return sessions.claim(conn, username="", address=address, site="portal registration")


def register(
    conn: Connection,
    *,
    company: Mapping[str, str],
    person: Mapping[str, str],
    password: str,
    again: str,
    accepted: bool,
    today: date,
) -> None:
    """Take a registration, and mail the link that confirms it (rows G3, G14).

    `company` maps COMPANY and `person` PERSON to what was typed. Raises Invalid at the field. Says nothing of
    whether the address is known.
    """
    terms = _require_enabled(conn)
    details = _checked(company, person, today=today)
    email = str(person["email"]).strip().lower()
    customer_user_fields.require_good_password(password, email=email)
    if password != again:
        raise Invalid("The two passwords differ. Type the same one twice.", field="again")
    if not accepted:
        raise Invalid("Accept the terms to register.", field="accepted")
    # Two at once with one address take turns: the second one finds the first.
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:email, 1))"), {"email": email})
    portal_scope.enter_by_email(conn, email)
    known = customer_users.by_email(conn, email)
    if known is None:
        customer_id = customers.register(conn, details=details, ends_on=today + customers.FOUR_WEEKS, today=today)
        user_id = customer_users.add_registering(conn, customer_id, password=password, **dict(person))
    elif _waits(conn, known):
        user_id, customer_id = known.id, known.customer_id
        _replace(conn, known, details, person, password, today=today)
    else:
        passwords.hashed(password)  # takes as long as for an address that is new
        _tell_known(conn, known)
        return
    audit.record(
        conn, "accept terms", "customer user", user_id, user_id=None, customer_user_id=user_id,
        customer_id=customer_id, changes={"terms_sha256": (None, sha256(terms.encode()).hexdigest())},
    )  # fmt: skip
    _mail_link(conn, user_id)


def confirm(conn: Connection, secret: str, *, password: str) -> int:
    """Confirm by the mailed link and the password that was chosen; returns whose it is. They may sign in now.

    Raises Invalid at `password`, and in words why the link doesn't work any more.
    """
    user_id = links.use(conn, secret, "registration")
    person = customer_users.customer_user(conn, user_id)
    customer = customers.customer(conn, person.customer_id)
    if person.state != "invited" or customer.marked_for_deletion_at is not None:
        raise Conflict("This registration was closed. Register again, or ask us.")
    stored = conn.scalar(text("SELECT password_hash FROM customer_users WHERE id = :id"), {"id": user_id})
    if not passwords.matches(password, stored):
        raise Invalid(
            "This is not the password that you chose. If you don't know it, register again.", field="password"
        )
    customer_users.rewrite(conn, user_id, {"registered_at": func.now()})
    audit.record(
        conn, "confirm registration", "customer user", user_id, user_id=None, customer_user_id=user_id,
        customer_id=person.customer_id, changes={"user": (None, person.email), "registered": (False, True)},
    )  # fmt: skip
    return user_id


def _require_enabled(conn: Connection) -> str:
    company = settings.company(conn)
    if not company.self_registration:
        raise NotAllowed("Nobody can register here at the moment. Please ask us for an account.")
    return company.registration_terms


def _checked(company: Mapping[str, str], person: Mapping[str, str], *, today: date) -> dict[str, Any]:
    """The customer's data, with the contact that the person is."""
    with fields.all_of() as check:
        check(fields.email, person["email"], field="email", required=True)
        for name, label in (("first_name", "The first name"), ("surname", "The surname")):
            check(fields.line, person[name], field=name, label=label, required=True, longest=100)
        for name, label in _LABELS.items():
            check(fields.line, company[name], field=name, label=label, required=True)
    details: dict[str, Any] = {name: company[name] for name in COMPANY}
    details["contact_name"] = f"{person['first_name'].strip()} {person['surname'].strip()}"
    details["contact_email"] = person["email"]
    details["service_mode"] = "self_service"
    customer_fields.checked(details, before={}, today=today)
    return details


def _waits(conn: Connection, known: CustomerUser) -> bool:
    """Whether this is somebody who registered and has not confirmed: nobody was invited, nobody signs in yet."""
    if known.state != "invited" or known.invited_at is not None:
        return False
    customer = customers.customer(conn, known.customer_id)
    registering = conn.scalar(
        text("SELECT password_hash IS NOT NULL FROM customer_users WHERE id = :id"), {"id": known.id}
    )
    return bool(registering) and customer.marked_for_deletion_at is None and customer.locked_at is None


def _replace(
    conn: Connection,
    known: CustomerUser,
    details: Mapping[str, Any],
    person: Mapping[str, str],
    password: str,
    *,
    today: date,
) -> None:
    """Whoever registers again before they confirmed means what they typed last."""
    before = customers.held_for_change(conn, known.customer_id)
    customers.rewrite(conn, before.id, **customer_fields.checked(details, before=vars(before), today=today))
    names = {name: person[name] for name in PERSON if name != "email"}
    values = customer_user_fields.checked(names)
    customer_users.rewrite(conn, known.id, values | {"password_hash": passwords.hashed(password)})


def _mail_link(conn: Connection, user_id: int) -> None:
    person = customer_users.customer_user(conn, user_id)
    customer = customers.customer(conn, person.customer_id)
    fresh = text(f"""SELECT EXISTS (SELECT FROM user_links WHERE user_id = :id AND purpose = 'registration'
                        AND used_at IS NULL AND voided_at IS NULL AND created_at > now() - interval '{AGAIN_AFTER}')""")
    if conn.scalar(fresh, {"id": user_id}):
        return
    mails.queue(
        conn, "registration", recipient=person.email, language=customer.language,
        values={"name": customer_users.addressed(person, customer.language), "customer": customer.name},
        customer_id=customer.id, link_id=links.create(conn, user_id, "registration"),
    )  # fmt: skip


def _tell_known(conn: Connection, known: CustomerUser) -> None:
    customer = customers.customer(conn, known.customer_id)
    told = text(f"""SELECT EXISTS (SELECT FROM mails WHERE customer_id = :customer AND recipient = :to
                       AND kind = 'registration_known' AND created_at > now() - interval '{KNOWN_AGAIN_AFTER}')""")
    if conn.scalar(told, {"customer": customer.id, "to": known.email}) or customer.erased_at is not None:
        return
    mails.queue(
        conn, "registration_known", recipient=known.email, language=customer.language,
        values={
            "name": customer_users.addressed(known, customer.language), "portal": settings.company(conn).portal_url,
        },
        customer_id=customer.id,
    )  # fmt: skip
