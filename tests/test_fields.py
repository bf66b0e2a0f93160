"""Refusals of several values at once: whoever typed them mends all in one go."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from lib import (
    adjustments,
    company_fields,
    contacts,
    customer_fields,
    customer_user_fields,
    drafts,
    fields,
    mail_server,
    mail_templates,
    mandates,
    products,
    staff,
)
from lib.errors import Invalid
from tests import closes
from tests.closes import JUNE, TODAY, Company

LONG = "x" * 3_000


def read(a: str, b: str, c: str) -> tuple[str, int, int]:
    with fields.all_of() as check:
        return (
            check(fields.line, a, field="a", label="A", required=True),
            check(fields.whole, b, field="b", label="B"),
            check(fields.whole, c, field="a", label="C"),
        )


def test_each_input_has_its_sentence_and_the_first_names_the_field() -> None:
    with pytest.raises(Invalid) as refused:
        read("", "x", "-1")
    sentences = {"a": "A is required.", "b": "B must be a whole number, for example 25."}
    assert (refused.value.field, refused.value.at) == ("a", sentences)
    assert str(refused.value).startswith("A is required. B must be a whole number, for example 25. C must be between")


def divided(name: str, by: int) -> int:
    with fields.all_of() as check:
        check(fields.line, name, field="name", label="The name", required=True)
        return check(lambda: 1 // by)


def test_what_is_right_passes_and_another_error_is_not_hidden() -> None:
    assert read("fine", "1", "2") == ("fine", 1, 2)
    with pytest.raises(ZeroDivisionError):
        divided("", 0)
    assert Invalid("No field.").at == {}


REFUSED: dict[str, tuple[Callable[[Connection, Company], Any], set[str]]] = {
    "adjustment": (
        lambda conn, c: adjustments.add(
            conn, c.with_users, text="", amount="", month_meant=JUNE, reason="", user=c.finance
        ),
        {"text", "reason", "amount"},
    ),
    "mandate": (
        lambda conn, c: mandates.add(
            conn, c.with_users, iban="DE00", holder="", bic="", signed_on=None, reference="ö", today=TODAY, user=c.admin
        ),
        {"iban", "holder", "signed_on", "reference"},
    ),
    "product": (
        lambda conn, c: products.add(
            conn, kind="module", code="", details={"name_de": "", "name_en": "M", "revenue_account": "1"}, user=c.admin
        ),
        {"code", "name_de", "revenue_account"},
    ),
    "colleague": (
        lambda conn, c: staff.add(conn, username="", name="", role="sales", password="1", email="x", user=c.admin),
        {"username", "name", "email", "password"},
    ),
    "draft": (
        lambda conn, c: drafts.edit(
            conn, drafts.create(conn, c.with_users, service_from=JUNE, service_until=JUNE, lines=[], user=c.finance),
            version=1, intro=LONG, closing=LONG, purchase_order=LONG, due_on=None, service_from=JUNE,
            service_until=JUNE, lines=[], user=c.finance,
        ),
        {"intro", "closing", "purchase_order"},
    ),
    "mail server": (
        lambda conn, c: mail_server.edit(
            conn, version=1, changes={"host": "a b", "port": "x", "sender_address": "y"}, user=c.admin
        ),
        {"host", "port", "sender_address"},
    ),
    "series": (lambda conn, c: company_fields.checked_series(prefix="_", digits="99"), {"prefix", "digits"}),
    "article": (lambda conn, c: company_fields.checked_article(name=LONG, number=LONG), {"name", "number"}),
    "contact": (
        lambda conn, c: contacts.checked({"name": "", "phone": LONG, "email": "x", "is_billing": True}),
        {"name", "phone", "email"},
    ),
    "customer's user": (
        lambda conn, c: customer_user_fields.checked({"surname": LONG, "email": "", "salutation": "king"}),
        {"surname", "email", "salutation"},
    ),
    "mail text": (lambda conn, c: mail_templates.checked("invoice", subject="", body=""), {"subject", "body"}),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_every_form_tells_all_that_is_wrong(conn: Connection, what: str) -> None:
    company = closes.company(conn)
    write, wrong = REFUSED[what]
    with pytest.raises(Invalid) as refused:
        write(conn, company)
    assert set(refused.value.at) == wrong


def test_what_follows_from_a_refused_value_is_not_told() -> None:
    def told(changes: dict[str, Any], before: dict[str, Any]) -> set[str]:
        with pytest.raises(Invalid) as refused:
            customer_fields.checked(changes, before=before, today=TODAY)
        assert len(str(refused.value).split(". ")) <= 2 * len(refused.value.at)
        return set(refused.value.at)

    assert told({"country": "XX", "vat_id": "ATU13585627"}, {"country": "DE"}) == {"country"}
    assert told({"billing_name": LONG, "separate_billing": True}, {}) == {"billing_name"}
    assert told({"vat_id": LONG, "street": LONG}, {"country": "AT", "vat_id": ""}) == {"vat_id", "street"}


def test_a_reason_that_is_too_long_is_not_missing(conn: Connection) -> None:
    company = closes.company(conn)
    with pytest.raises(Invalid) as refused:
        adjustments.add(
            conn, company.with_users, text="x", amount="5", month_meant=JUNE, reason="x", vat_treatment="exempt",
            exempt_reason=LONG, user=company.finance,
        )  # fmt: skip
    assert str(refused.value).startswith("The reason of the exemption is too long") and "Say why" not in str(
        refused.value
    )


def test_a_mail_server_of_blanks_is_none(conn: Connection) -> None:
    company = closes.company(conn)
    mail_server.edit(conn, version=1, changes={"host": "  ", "sender_name": "X"}, user=company.admin)
    assert (mail_server.server(conn).host, mail_server.server(conn).sender_name) == ("", "X")
