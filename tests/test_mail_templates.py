"""Templates of mails: what is filled in, what is refused, and the way back to what was delivered."""

import pytest
from sqlalchemy import Connection

from lib import audit, mail_templates
from lib.auth import User
from lib.errors import Conflict, Invalid, NotAllowed
from lib.mail_templates import KINDS, LANGUAGES, LINK, SAMPLES
from lib.mail_texts import DEFAULTS

EVERY = [(kind, language) for kind in KINDS for language in LANGUAGES]


def change(conn: Connection, user: User, **typed: object) -> None:
    given = {"subject": "Post für {customer}", "body": "{greeting} {link}", "version": 0} | typed
    mail_templates.edit(conn, "invite", "de", user=user, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_every_delivered_text_passes_its_own_check(kind: str, language: str) -> None:
    subject, body = DEFAULTS[kind][language]
    assert mail_templates.checked(kind, subject=subject, body=body) == {"subject": subject, "body": body}


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_every_preview_is_filled_in_everywhere(kind: str, language: str) -> None:
    subject, body = mail_templates.preview(mail_templates.default(kind, language), company="Muster IT")
    assert "{" not in subject + body
    assert set(KINDS[kind].given) | set(KINDS[kind].known) <= set(SAMPLES[language])


def test_the_greeting_knows_a_person_or_none() -> None:
    template = mail_templates.Template("erased", "de", "{company}", "{greeting}")
    assert mail_templates.filled(template, {"name": "Ada Müller"})[1] == "Guten Tag Ada Müller,"
    assert mail_templates.filled(template, {"name": ""})[1] == "Guten Tag,"


def test_a_value_is_never_taken_for_a_place() -> None:
    template = mail_templates.Template("erased", "en", "{customer}", "{customer} {company}")
    assert mail_templates.filled(template, {"customer": "{company}", "company": "Us"}) == ("{company}", "{company} Us")


def test_a_line_break_in_a_value_stays_out_of_the_subject() -> None:
    template = mail_templates.Template("erased", "en", "To {customer}", "x")
    subject, _ = mail_templates.filled(template, {"customer": "Ada\r\nBcc: all@company.example"})
    assert subject == "To Ada Bcc: all@company.example"


def test_an_empty_sentence_leaves_no_gap() -> None:
    template = mail_templates.Template("invoice", "en", "s", "one\n\n{payment}\n\ntwo")
    assert mail_templates.filled(template, {"payment": ""})[1] == "one\n\ntwo"


def test_a_change_counts_for_its_language_alone_and_is_in_the_log(conn: Connection, admin: User) -> None:
    change(conn, admin)
    found = mail_templates.template(conn, "invite", "de")
    assert (found.subject, found.version) == ("Post für {customer}", 1)
    assert mail_templates.template(conn, "invite", "en") == mail_templates.default("invite", "en")
    entry = audit.entries(conn, object_type="mail template")[0][0]
    assert (entry.action, entry.object_id) == ("edit", "invite de")
    assert entry.changes["subject"] == [DEFAULTS["invite"]["de"][0], "Post für {customer}"]


def test_nothing_is_saved_where_nothing_changed(conn: Connection, admin: User) -> None:
    subject, body = DEFAULTS["invite"]["de"]
    change(conn, admin, subject=subject, body=body)
    assert mail_templates.template(conn, "invite", "de").version == 0
    assert audit.entries(conn, object_type="mail template")[1] == 0


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"subject": ""}, "subject", "required"),
        ({"subject": "a\nb"}, "subject", "can't be printed"),
        ({"subject": "x" * 201}, "subject", "too long"),
        ({"subject": "{link}"}, "subject", "{link} is nothing that is filled in here"),
        ({"subject": "{amount}"}, "subject", "There are: {greeting}, {company}, {customer}."),
        ({"body": ""}, "body", "required"),
        ({"body": "{link} {Link}"}, "body", "{Link} is nothing"),
        ({"body": "{link} {}"}, "body", "{} is nothing"),
        ({"body": "{link} {name}"}, "body", "{name} is nothing"),
        ({"body": "{greeting}"}, "body", "must contain {link}"),
        ({"body": "{link}" + "x" * 10_000}, "body", "too long"),
    ],
)
def test_what_is_refused_is_said_at_its_field(
    conn: Connection, admin: User, typed: dict[str, str], field: str, words: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        change(conn, admin, **typed)
    assert refusal.value.field == field and words in str(refusal.value)
    assert mail_templates.template(conn, "invite", "de").version == 0


def test_braces_that_close_nothing_are_text(conn: Connection, admin: User) -> None:
    change(conn, admin, body="{link} } or {")
    assert mail_templates.template(conn, "invite", "de").body == "{link} } or {"


def test_an_old_form_is_refused(conn: Connection, admin: User) -> None:
    change(conn, admin)
    with pytest.raises(Conflict, match="after you opened it"):
        change(conn, admin, subject="Anders", version=0)
    change(conn, admin, subject="Anders", version=1)
    with pytest.raises(Conflict, match="after you opened it"):
        mail_templates.reset(conn, "invite", "de", version=1, user=admin)


def test_back_to_what_was_delivered(conn: Connection, admin: User) -> None:
    change(conn, admin)
    mail_templates.reset(conn, "invite", "de", version=1, user=admin)
    assert mail_templates.template(conn, "invite", "de") == mail_templates.default("invite", "de")
    assert audit.entries(conn, object_type="mail template")[0][0].action == "reset"
    with pytest.raises(Conflict, match="nothing to take back"):
        mail_templates.reset(conn, "invite", "de", version=0, user=admin)


def test_only_an_admin_changes_templates(conn: Connection, finance: User) -> None:
    with pytest.raises(NotAllowed):
        change(conn, finance)
    with pytest.raises(NotAllowed):
        mail_templates.reset(conn, "invite", "de", version=0, user=finance)


def test_there_is_no_other_kind_or_language(conn: Connection) -> None:
    for kind, language in (("spam", "de"), ("invite", "fr")):
        with pytest.raises(Invalid, match="no mail template"):
            mail_templates.template(conn, kind, language)


def test_the_link_is_left_for_the_sender() -> None:
    _, body = mail_templates.filled(mail_templates.default("invite", "en"), {"name": "", "company": "Us"})
    assert f"{{{LINK}}}" in body
