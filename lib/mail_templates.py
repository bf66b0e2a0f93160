"""The templates of mails: subject and body by kind and language, with named places that are filled in.

Only what somebody changed is stored; the rest stands in `lib/mail_texts.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from lib import audit, fields
from lib.auth import Permission, User, require
from lib.errors import Conflict, Invalid
from lib.mail_texts import DEFAULTS, GREETINGS
from lib.tables import mail_templates as table

LANGUAGES = {"de": "German", "en": "English"}
# Filled in when the mail is sent, not when it is queued: a link's secret is nowhere in the database, and its
# days run from the moment of sending.
LINK, VALID_UNTIL = "link", "valid_until"
LONGEST_SUBJECT = 200
LONGEST_BODY = 10_000
_PLACE = re.compile(r"\{([^{}\n]*)\}")


@dataclass(frozen=True)
class Kind:
    """A kind of mail: what it is called, when it goes out, and its places with what stands in them.

    `given` are the places whose values the sender names; `known` are filled in by `mails` itself.
    """

    label: str
    when: str
    given: Mapping[str, str]
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str]:
        """All places, with their meaning."""
        given = {name: meaning for name, meaning in self.given.items() if name != "name"}
        return {**_EVERYWHERE, **given, **self.known}

    @property
    def has_link(self) -> bool:
        """Whether the mail is useless without its link."""
        return LINK in self.known


@dataclass(frozen=True)
class Template:
    """Subject and body of one kind in one language. `version` 0: as delivered, nobody changed it."""

    kind: str
    language: str
    subject: str
    body: str
    version: int = 0


_EVERYWHERE = {"greeting": "the greeting, with the person's name where it is known", "company": "our company's name"}
_NAME = {"name": "the person's name, or nothing"}
_CUSTOMER = {"customer": "the customer's company name"}
_LINK = {LINK: "the link, which works once", VALID_UNTIL: "until when the link works"}

KINDS: dict[str, Kind] = {
    "invite": Kind(
        "Invite", "A person gets access to the portal, or their invite is sent again.", _NAME | _CUSTOMER, _LINK
    ),
    "password_reset": Kind("Forgotten password", "A person asks for a new password in the portal.", _NAME, _LINK),
    "registration": Kind("Registration", "Somebody registers in the portal.", _NAME | _CUSTOMER, _LINK),
    "registration_known": Kind(
        "Registration: known address",
        "Somebody registers in the portal with an address that signs in there already.",
        _NAME | {"portal": "the portal's address"},
    ),
    "invoice": Kind(
        "Invoice",
        "An invoice, credit note or cancellation is sent; its PDF is attached.",
        _NAME
        | _CUSTOMER
        | {
            "document": "what it is: invoice, credit note or cancellation invoice",
            "number": "the document's number",
            "date": "the day on which it was issued",
            "amount": "the gross amount",
            "currency": "the currency",
            "payment": "a sentence that says until when to pay, or what becomes of a credit",
        },
    ),
    "erased": Kind(
        "Data erased",
        "A customer's data were erased.",
        _NAME | _CUSTOMER | {"date": "the day of the erasure", "kept": "what is kept, until when, and why"},
    ),
    "price_notice": Kind(
        "Price change",
        "A customer is told of new prices.",
        _NAME | _CUSTOMER | {"valid_from": "the first day of the new prices", "prices": "the new prices, one a line"},
    ),
}

# What a preview shows in each place.
SAMPLES: dict[str, dict[str, str]] = {
    "de": {
        "name": "Erika Beispiel", "customer": "Beispiel GmbH", "document": "Rechnung", "number": "RE-2026-00042",
        "date": "31.08.2026", "amount": "1.234,56", "currency": "EUR",
        "payment": "Bitte überweisen Sie den Betrag bis zum 14.09.2026.",
        "kept": "Rechnungen bewahren wir bis zum 31.12.2034 auf, weil das Gesetz es verlangt (§ 147 AO).",
        "valid_from": "01.10.2026", "prices": "IP-Scans: 1 bis 50: 2,00 EUR, ab 51: 1,50 EUR",
        "portal": "https://portal.beispiel.example",
        "link": "https://portal.beispiel.example/accept?link=…", "valid_until": "07.09.2026, 14:30 Uhr",
    },
    "en": {
        "name": "Erika Example", "customer": "Example Ltd", "document": "Invoice", "number": "RE-2026-00042",
        "date": "31 August 2026", "amount": "1,234.56", "currency": "EUR",
        "payment": "Please transfer the amount by 14 September 2026.",
        "kept": "We keep invoices until 31 December 2034, because the law demands it (section 147 AO).",
        "valid_from": "1 October 2026", "prices": "IP scans: 1 to 50: EUR 2.00, from 51: EUR 1.50",
        "portal": "https://portal.example.example",
        "link": "https://portal.example.example/accept?link=…", "valid_until": "7 September 2026, 14:30",
    },
}  # fmt: skip


def template(conn: Connection, kind: str, language: str) -> Template:
    """The template that the next mail of this kind uses. Raises Invalid for a kind or language that isn't there."""
    delivered = default(kind, language)
    query = select(table.c.subject, table.c.body, table.c.version)
    row = conn.execute(query.where(table.c.kind == kind, table.c.language == language)).one_or_none()
    return delivered if row is None else Template(kind, language, **row._mapping)


def default(kind: str, language: str) -> Template:
    """The template as it is delivered."""
    if kind not in KINDS or language not in LANGUAGES:
        raise Invalid(f"There is no mail template “{kind}” in the language “{language}”.")
    return Template(kind, language, *DEFAULTS[kind][language])


def edit(conn: Connection, kind: str, language: str, *, subject: str, body: str, version: int, user: User) -> None:
    """Change a template. Raises Invalid at the field, and Conflict where somebody changed it meanwhile."""
    require(user, Permission.EDIT_SETTINGS)
    before = _held(conn, kind, language, version)
    values = checked(kind, subject=subject, body=body)
    changed = audit.difference(vars(before), values)
    if not changed:
        return
    new = upsert(table).values(kind=kind, language=language, **values)
    same = new.on_conflict_do_update(
        index_elements=["kind", "language"],
        set_=values | {"version": table.c.version + 1},
        where=table.c.version == version,
    )
    if conn.scalar(same.returning(table.c.version)) is None:
        raise _changed_meanwhile(kind, language)
    audit.record(conn, "edit", "mail template", f"{kind} {language}", user_id=user.id, changes=changed)


def reset(conn: Connection, kind: str, language: str, *, version: int, user: User) -> None:
    """Take a template back to the text that was delivered."""
    require(user, Permission.EDIT_SETTINGS)
    before = _held(conn, kind, language, version)
    if before.version == 0:
        raise Conflict("This template is as it was delivered; there is nothing to take back.")
    conn.execute(delete(table).where(table.c.kind == kind, table.c.language == language))
    again = default(kind, language)
    changed = audit.difference(vars(before), {"subject": again.subject, "body": again.body})
    audit.record(conn, "reset", "mail template", f"{kind} {language}", user_id=user.id, changes=changed)


def checked(kind: str, *, subject: str, body: str) -> dict[str, str]:
    """Subject and body as they are stored. Raises Invalid at the field that names a place which isn't there."""
    with fields.all_of() as check:
        values = {
            "subject": check(
                fields.line, subject, field="subject", label="The subject", required=True, longest=LONGEST_SUBJECT
            ),
            "body": check(fields.block, body, field="body", label="The text", required=True, longest=LONGEST_BODY),
        }
    places = KINDS[kind].places
    for name, value in values.items():
        allowed = [place for place in places if name == "body" or place not in _LINK]
        for place in _PLACE.findall(value):
            if place not in allowed:
                known = ", ".join(f"{{{one}}}" for one in allowed)
                raise Invalid(f"{{{place[:40]}}} is nothing that is filled in here. There are: {known}.", field=name)
    if KINDS[kind].has_link and f"{{{LINK}}}" not in values["body"]:
        raise Invalid("The text must contain {link}: without the link the mail is of no use.", field="body")
    return values


def filled(template: Template, values: Mapping[str, str]) -> tuple[str, str]:
    """Subject and body with `values` in their places. A place that has no value stays as it is: the link's."""
    greeting = _greeting(template.language, values.get("name", ""))
    known = {**values, "greeting": greeting}
    subject = " ".join(_put(template.subject, known).split())
    # A sentence that is empty this time leaves no gap.
    body = re.sub(r"\n{3,}", "\n\n", _put(template.body, known)).strip()
    return subject, body


def preview(template: Template, *, company: str) -> tuple[str, str]:
    """Subject and body with invented values, as a person will read them."""
    return filled(template, SAMPLES[template.language] | {"company": company or "Muster IT GmbH"})


def _put(text: str, values: Mapping[str, str]) -> str:
    """In one pass: what a customer's name holds is never taken for a place itself."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _greeting(language: str, name: str) -> str:
    to_person, to_company = GREETINGS[language]
    return to_person.replace("{name}", name) if name else to_company


def _held(conn: Connection, kind: str, language: str, version: int) -> Template:
    """The template as it is, if the form was drawn from it."""
    found = template(conn, kind, language)
    if found.version != version:
        raise _changed_meanwhile(kind, language)
    return found


def _changed_meanwhile(kind: str, language: str) -> Conflict:
    return Conflict(
        f"Somebody changed “{KINDS[kind].label}” in {LANGUAGES[language]} after you opened it. Nothing was saved: "
        "reload, look at the change, and enter yours again."
    )
