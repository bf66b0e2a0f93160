"""Standard, reduced and exempt on one document: by product, adjustment and line, to the cent (rows S3, B1)."""

import io
from dataclasses import astuple, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lib import (
    adjustments,
    audit,
    cancellations,
    checks,
    close_drafts,
    close_previews,
    documents,
    drafts,
    invoices,
    issuing,
    products,
    vat_rates,
)
from lib.auth import Role
from lib.drafts import DraftLine
from lib.errors import Conflict, Invalid, NotAllowed
from lib.invoices import Invoice
from lib.money import rounded
from tests import closes, ledgers, termed
from tests.closes import END_OF_JUNE, JULY, JUNE, TODAY, Company

REASON = {"de": "Steuerfrei nach § 4 Nr. 21 UStG", "en": "VAT exempt under § 4 No. 21 UStG"}
EXEMPT = {"vat_treatment": "exempt", "exempt_reason_de": REASON["de"], "exempt_reason_en": REASON["en"]}


@dataclass(frozen=True)
class Shop(Company):
    """The company of the closes, and Ada has an option at the reduced rate and an exempt module, too."""

    book: int
    course: int


def shop(conn: Connection) -> Shop:
    """In June Ada has 45.00 at the standard rate, 20.00 at the reduced one and 30.00 exempt."""
    made = closes.company(conn)
    book = ledgers.product(conn, made.people, "option", code="book", price="20")
    course = ledgers.product(conn, made.people, "module", code="course", price="30")
    tax(conn, made, book, vat_treatment="reduced")
    tax(conn, made, course, **EXEMPT)
    for product in (book, course):
        ledgers.book(conn, made.people, made.with_users, product, 1, JUNE)
    return Shop(**vars(made), book=book, course=course)


BEGINS_WITH = shop


@pytest.fixture
def company(begun: Shop) -> Shop:
    return begun


def tax(conn: Connection, company: Company, product_id: int, **changes: str) -> None:
    version = products.product(conn, product_id).version
    products.edit(conn, product_id, version=version, changes=changes, user=company.admin)


def line(amount: str, treatment: str = "standard", reason: str = "", *, name: str = "Workshop") -> DraftLine:
    return DraftLine(name, "", Decimal(1), "", Decimal(amount), treatment, reason)


def write(conn: Connection, company: Company, *lines: DraftLine, until: date = END_OF_JUNE) -> int:
    return drafts.create(
        conn, company.with_users, service_from=min(until, JUNE), service_until=until, lines=lines, user=company.finance
    )


def of_month(conn: Connection, customer_id: int, month: date = JUNE) -> Invoice:
    return next(one for one in invoices.invoices_of(conn, customer_id) if one.month == month)


def taxes(conn: Connection, invoice_id: int) -> list[tuple[str, str, str, str]]:
    return [tuple(str(value) for value in astuple(one)) for one in invoices.taxes(conn, invoice_id)]


def treated(conn: Connection, invoice_id: int) -> list[tuple[str, str | None]]:
    """Treatment and rate of each line."""
    found = invoices.lines(conn, invoice_id)
    return [(one.vat_treatment, None if one.vat_rate is None else str(one.vat_rate)) for one in found]


def printed(conn: Connection, invoice_id: int) -> str:
    pages = PdfReader(io.BytesIO(documents.pdf(conn, invoice_id)[1])).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


# ---------------------------------------------------------------------------------- documents


@pytest.mark.row("B1")
def test_the_close_taxes_each_line_as_its_product_says(conn: Connection, company: Shop) -> None:
    closes.approve(conn, company)
    draft = of_month(conn, company.with_users)
    assert treated(conn, draft.id) == [("standard", "19.00"), ("reduced", "7.00"), ("exempt", "0.00")]
    assert taxes(conn, draft.id) == [
        ("19.00", "S", "45.00", "8.55"), ("7.00", "S", "20.00", "1.40"), ("0.00", "E", "30.00", "0.00")
    ]  # fmt: skip
    assert (draft.net, draft.vat, draft.gross) == (Decimal("95.00"), Decimal("9.95"), Decimal("104.95"))
    assert closes.issue(conn, company).blocked == []
    assert checks.findings(conn) == []
    said = printed(conn, draft.id)
    for words in (
        "45,00 8,55", "zzgl. 7 % USt auf 20,00 1,40", "steuerfrei auf 30,00 0,00", "Gesamtbetrag EUR 104,95",
        "20,00 7 % 20,00", "30,00 frei 30,00", f"Umsatzsteuerfreie Leistung Pos. 3: {REASON['de']}",
    ):  # fmt: skip
        assert words in said


def test_ten_lines_of_13_cents_are_rounded_once_at_each_rate(conn: Connection, company: Shop) -> None:
    lines = [line("0.13"), line("0.13", "reduced"), line("0.13", "exempt", REASON["de"])] * 10
    draft = invoices.invoice(conn, write(conn, company, *lines))
    assert [one[2:] for one in taxes(conn, draft.id)] == [("1.30", "0.25"), ("1.30", "0.09"), ("1.30", "0.00")]
    assert (draft.net, draft.vat, draft.gross) == (Decimal("3.90"), Decimal("0.34"), Decimal("4.24"))


def test_a_document_that_is_exempt_as_a_whole_says_why_once(conn: Connection, company: Shop) -> None:
    draft = write(conn, company, line("10", "exempt", REASON["de"]), line("5", "exempt", REASON["de"]))
    said = printed(conn, draft)
    assert f"Umsatzsteuerfreie Leistung {REASON['de']}" in said and "steuerfrei auf 15,00 0,00" in said
    assert "Pos. 1, 2" not in said and "frei 10,00" not in said
    version = invoices.invoice(conn, draft).version
    more = (line("10", "exempt", REASON["de"]), line("5", "exempt", "Heilbehandlung, § 4 Nr. 14 UStG"), line("1"))
    given = {"intro": "", "closing": "", "purchase_order": "", "due_on": None, "user": company.finance}
    period = {"service_from": JUNE, "service_until": END_OF_JUNE}
    drafts.edit(conn, draft, version=version, lines=more, **period, **given)
    assert f"Pos. 1: {REASON['de']} Pos. 2: Heilbehandlung, § 4 Nr. 14 UStG" in printed(conn, draft)


@pytest.mark.parametrize("country", ["FR", "CH"])
def test_where_the_country_decides_it_rules_all_lines(conn: Connection, company: Shop, country: str) -> None:
    abroad = closes.abroad(conn, company, "Elsewhere SA", country, "FR40303265045" if country == "FR" else "")
    for product in (company.book, company.course):
        ledgers.book(conn, company.people, abroad, product, 1, JUNE)
    closes.approve(conn, company)
    closes.issue(conn, company)
    document = of_month(conn, abroad)
    assert [rate for _, rate in treated(conn, document.id)] == ["0.00"] * 3
    [(rate, category, net, vat)] = taxes(conn, document.id)
    assert (rate, category, net, vat) == ("0.00", "AE" if country == "FR" else "O", "95.00", "0.00")
    said = printed(conn, document.id)
    assert REASON["en"] not in said and "xempt" not in said


def test_the_reason_is_printed_in_the_customers_language(conn: Connection, company: Shop) -> None:
    conn.execute(text("UPDATE customers SET language = 'en' WHERE id = :id"), {"id": company.with_users})
    closes.approve(conn, company)
    draft = of_month(conn, company.with_users)
    assert [one.exempt_reason for one in invoices.lines(conn, draft.id)] == ["", "", REASON["en"]]
    assert f"Exempt from VAT No. 3: {REASON['en']}" in printed(conn, draft.id)
    assert "exempt from VAT on 30.00 0.00" in printed(conn, draft.id)


def test_a_cancellation_copies_how_each_line_was_taxed(conn: Connection, company: Shop) -> None:
    closes.approve(conn, company)
    closes.issue(conn, company)
    original = of_month(conn, company.with_users)
    tax(conn, company, company.course, vat_treatment="standard")
    copy = cancellations.cancel(conn, original.id, reason="wrong", today=TODAY, user=company.finance)
    assert treated(conn, copy) == treated(conn, original.id)
    assert taxes(conn, copy) == [
        ("19.00", "S", "-45.00", "-8.55"), ("7.00", "S", "-20.00", "-1.40"), ("0.00", "E", "-30.00", "0.00")
    ]  # fmt: skip
    assert REASON["de"] in printed(conn, copy)
    assert checks.findings(conn) == []


@given(
    drawn=st.lists(
        st.tuples(
            st.decimals("-500", "500", places=2).filter(bool), st.sampled_from(("standard", "reduced", "exempt"))
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_are_those_of_plain_arithmetic(conn: Connection, company: Shop, drawn: list[tuple[Decimal, str]]) -> None:
    lines = [
        DraftLine("x", "", Decimal(1 if amount > 0 else -1), "", abs(amount), kind, "why" if kind == "exempt" else "")
        for amount, kind in drawn
    ]
    draft = invoices.invoice(conn, write(conn, company, *lines))
    rates = {"standard": Decimal(19), "reduced": Decimal(7), "exempt": Decimal(0)}
    kinds = {kind for _, kind in drawn}
    nets = {kind: sum((amount for amount, of in drawn if of == kind), Decimal(0)) for kind in kinds}
    vat = sum((rounded(net * rates[kind] / 100) for kind, net in nets.items()), Decimal(0))
    assert (draft.net, draft.vat) == (sum(nets.values()), vat)
    found = invoices.taxes(conn, draft.id)
    assert sum(one.net for one in found) + sum(one.vat for one in found) == draft.gross
    assert {("exempt" if one.category == "E" else one.rate): one.net for one in found} == {
        ("exempt" if kind == "exempt" else rates[kind]): net for kind, net in nets.items()
    }


# ---------------------------------------------------------------------------------- which rate, and when


@pytest.mark.parametrize(
    ("until", "standard", "reduced"),
    [
        (date(2020, 6, 30), "19.00", "7.00"), (date(2020, 7, 1), "16.00", "5.00"),
        (date(2020, 12, 31), "16.00", "5.00"), (date(2021, 1, 1), "19.00", "7.00"),
    ],
)  # fmt: skip
def test_the_rates_of_2020(conn: Connection, company: Shop, until: date, standard: str, reduced: str) -> None:
    draft = write(conn, company, line("1"), line("1", "reduced"), until=until)
    assert treated(conn, draft) == [("standard", standard), ("reduced", reduced)]


def test_a_change_of_the_reduced_rate_reaches_the_lines_of_its_days(conn: Connection, company: Shop) -> None:
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(5), treatment="reduced", user=company.admin)
    closes.approve(conn, company)
    adjustments.add(
        conn, company.with_users, text="For June", amount=Decimal("10.00"), month_meant=JUNE, reason="late",
        vat_treatment="reduced", user=company.finance,
    )  # fmt: skip
    closes.approve(conn, company, JULY, today=date(2026, 8, 1))
    assert treated(conn, of_month(conn, company.with_users).id)[1] == ("reduced", "7.00")
    july = of_month(conn, company.with_users, JULY).id
    assert treated(conn, july)[1:] == [("reduced", "5.00"), ("exempt", "0.00"), ("reduced", "7.00")]


def test_a_draft_by_hand_gets_the_reduced_rate_of_its_issue(conn: Connection, company: Shop) -> None:
    draft = write(conn, company, line("100", "reduced"), line("1"), until=JULY)
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(6), treatment="reduced", user=company.admin)
    issuing.issue(conn, [draft], today=TODAY, user=company.finance)
    assert invoices.invoice(conn, draft).vat == Decimal("6.19")


def test_another_treatment_holds_for_what_is_drafted_afterwards(conn: Connection, company: Shop) -> None:
    by_hand = write(conn, company, line("1", "exempt", "why"))
    closes.approve(conn, company)
    draft = of_month(conn, company.with_users).id
    tax(conn, company, company.book, **EXEMPT)
    tax(conn, company, company.course, vat_treatment="standard")
    as_drafted = [("standard", "19.00"), ("reduced", "7.00"), ("exempt", "0.00")]
    drafts.recompute(conn, [draft, by_hand])
    assert (treated(conn, draft), treated(conn, by_hand)) == (as_drafted, [("exempt", "0.00")])
    drafts.remove(conn, draft, user=company.finance)
    again = close_drafts.draft_unbilled(conn, company.with_users, JUNE, user=company.finance)
    assert treated(conn, again) == [("standard", "19.00"), ("exempt", "0.00"), ("standard", "19.00")]


def test_what_is_paid_in_advance_is_taxed_as_its_product(conn: Connection, company: Shop) -> None:
    plans = {
        code: ledgers.product(conn, company.people, "plan", code=code, price=price)
        for code, price in (("small", "30"), ("large", "60"))
    }
    for code, treatment in (("small", {"vat_treatment": "reduced"}), ("large", EXEMPT)):
        tax(conn, company, plans[code], yearly_price="365" if code == "small" else "730", **treatment)
    sold = termed.Shop(company.people, company.with_users, 0, plans["small"], plans["large"], 0)
    termed.bought(conn, sold, plans["small"])
    first = next(one for one in invoices.invoices_of(conn, company.with_users) if one.advance_period)
    assert taxes(conn, first.id) == [("7.00", "S", "365.00", "25.55")]
    tax(conn, company, plans["small"], vat_treatment="standard")
    upgrade = termed.order(conn, sold, plans["large"], termed.TermAction.UPGRADE_YEARLY, today=date(2026, 6, 20))
    # The credit is taxed as the line that it credits was: 355 of 365 days at the reduced rate.
    assert treated(conn, upgrade) == [("exempt", "0.00"), ("reduced", "7.00")]
    assert taxes(conn, upgrade) == [("7.00", "S", "-355.00", "-24.85"), ("0.00", "E", "730.00", "0.00")]


# ---------------------------------------------------------------------------------- what is missing or refused


def test_a_missing_reduced_rate_blocks_in_words_until_it_is_there(conn: Connection, company: Shop) -> None:
    assert "no_vat_decision" not in close_previews.preview(conn, JUNE, today=TODAY).exceptions
    conn.execute(text("DELETE FROM vat_rates WHERE treatment = 'reduced'"))
    [warned] = close_previews.exceptions(conn, JUNE, today=TODAY, kind="no_vat_decision")
    assert (warned.customer_id, warned.detail) == (
        company.with_users, "needs a reduced VAT rate (Settings → VAT rates)"
    )  # fmt: skip
    closes.approve(conn, company)
    draft = of_month(conn, company.with_users)
    assert treated(conn, draft.id)[1] == ("reduced", None)
    missing = "a reduced VAT rate for the service period (Settings → VAT rates)"
    assert issuing.lacks(conn, draft.id, today=TODAY) == [missing]
    [blocked] = closes.issue(conn, company).blocked
    assert (blocked.invoice_id, blocked.missing) == (draft.id, [missing])
    # Its month is closed, but nothing was issued there at a reduced rate.
    vat_rates.set_rate(conn, valid_from=date(2026, 1, 1), rate=Decimal(7), treatment="reduced", user=company.admin)
    assert closes.issue(conn, company).blocked == []
    assert invoices.invoice(conn, draft.id).vat == Decimal("9.95")


def test_a_reduced_rate_of_closed_months_stays(conn: Connection, company: Shop) -> None:
    given: dict[str, Any] = {"treatment": "reduced", "user": company.admin}
    with pytest.raises(Conflict, match="closed month"):
        vat_rates.set_rate(conn, valid_from=date(2026, 5, 1), rate=Decimal(5), **given)
    with pytest.raises(Conflict, match="closed month"):
        vat_rates.remove_rate(conn, valid_from=date(2021, 1, 1), **given)
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(5), **given)
    newest = [(one.treatment, one.valid_from) for one in vat_rates.rates(conn) if one.valid_from >= JUNE]
    assert newest == [("reduced", JULY)]
    entry = audit.entries(conn, limit=1)[0][0]
    assert (entry.object_type, entry.changes) == ("reduced VAT rate", {"rate": [None, "5"]})
    vat_rates.remove_rate(conn, valid_from=JULY, **given)
    with pytest.raises(Invalid, match="choose one of Standard, Reduced"):
        vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(5), treatment="exempt", user=company.admin)


def test_the_only_reduced_rate_stays(conn: Connection, company: Shop) -> None:
    conn.execute(text("DELETE FROM vat_rates WHERE treatment = 'reduced'"))
    vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(7), treatment="reduced", user=company.admin)
    with pytest.raises(Conflict, match="the only reduced VAT rate"):
        vat_rates.remove_rate(conn, valid_from=JULY, treatment="reduced", user=company.admin)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"vat_treatment": "zero"}, "vat_treatment", "choose one of Standard rate"),
        ({"vat_treatment": "exempt"}, "exempt_reason_de", "Say why it is exempt"),
        ({"vat_treatment": "exempt", "exempt_reason_de": "x", "exempt_reason_en": " "}, "exempt_reason_en", "Say why"),
        ({"exempt_reason_en": "because"}, "exempt_reason_en", "Choose Exempt, or empty it"),
        (EXEMPT | {"exempt_reason_de": "x" * 201}, "exempt_reason_de", "too long"),
        (EXEMPT | {"exempt_reason_de": "a\nb"}, "exempt_reason_de", "can't be printed"),
    ],
)
def test_how_a_product_is_taxed_is_checked_at_its_field(
    conn: Connection, company: Shop, changes: dict[str, str], field: str, says: str
) -> None:
    with pytest.raises(Invalid, match=says) as refusal:
        tax(conn, company, company.users, **changes)
    assert refusal.value.field == field


def test_what_is_not_exempt_any_more_loses_its_reasons(conn: Connection, company: Shop) -> None:
    tax(conn, company, company.course, vat_treatment="reduced", **{k: v for k, v in EXEMPT.items() if "reason" in k})
    found = products.product(conn, company.course)
    assert (found.vat_treatment, found.exempt_reason_de, found.exempt_reason_en) == ("reduced", "", "")
    entry = audit.entries(conn, limit=1)[0][0]
    assert entry.changes["vat_treatment"] == ["exempt", "reduced"]


def test_a_save_of_a_stale_product_changes_nothing(conn: Connection, company: Shop) -> None:
    with pytest.raises(Conflict, match="Somebody else changed this product"):
        products.edit(conn, company.book, version=1, changes={"vat_treatment": "standard"}, user=company.admin)
    assert products.product(conn, company.book).vat_treatment == "reduced"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_who_may_say_how_something_is_taxed(conn: Connection, company: Shop, role: Role) -> None:
    user = company.people[role]
    for attempt in (
        lambda: vat_rates.set_rate(conn, valid_from=JULY, rate=Decimal(5), treatment="reduced", user=user),
        lambda: vat_rates.remove_rate(conn, valid_from=JULY, treatment="reduced", user=user),
        lambda: adjustments.add(
            conn, company.with_users, text="x", amount=Decimal(1), month_meant=JUNE, reason="x",
            vat_treatment="reduced", user=user,
        ),
    ):  # fmt: skip
        with pytest.raises(NotAllowed):
            attempt()
    with pytest.raises(NotAllowed):
        products.edit(
            conn, company.book, version=2, changes={"vat_treatment": "standard"}, user=company.people[Role.VIEWER]
        )


def test_an_exempt_adjustment_prints_its_reason(conn: Connection, company: Shop) -> None:
    given: dict[str, Any] = {"text": "Course", "amount": Decimal("12.00"), "month_meant": JUNE, "reason": "agreed"}
    given["user"] = company.finance
    with pytest.raises(Invalid, match="Say why it is exempt"):
        adjustments.add(conn, company.with_ips, vat_treatment="exempt", **given)
    adjustments.add(conn, company.with_ips, vat_treatment="exempt", exempt_reason=REASON["de"], **given)
    assert adjustments.adjustments_of(conn, company.with_ips)[0].vat_treatment == "exempt"
    closes.approve(conn, company)
    draft = of_month(conn, company.with_ips)
    assert taxes(conn, draft.id) == [("19.00", "S", "460.00", "87.40"), ("0.00", "E", "12.00", "0.00")]
    assert f"Pos. 4: {REASON['de']}" in printed(conn, draft.id)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (line("1", "exempt"), "2.exempt_reason"), (line("1", "reduced", "why"), "2.exempt_reason"),
        (line("1", "free"), "2.vat_treatment"), (line("1", "exempt", "x" * 201), "2.exempt_reason"),
    ],
)  # fmt: skip
def test_a_line_by_hand_is_checked_at_its_cell(conn: Connection, company: Shop, wrong: DraftLine, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        write(conn, company, line("1"), wrong)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE products SET vat_treatment = 'exempt'",
        "UPDATE products SET exempt_reason_de = 'x' WHERE vat_treatment = 'reduced'",
        "UPDATE invoice_lines SET vat_treatment = 'exempt'",
        "UPDATE invoice_lines SET exempt_reason = 'x'",
        "INSERT INTO vat_rates (treatment, valid_from, rate) VALUES ('exempt', '2026-01-01', 0)",
    ],
)
def test_the_database_keeps_a_reason_beside_what_is_exempt_alone(
    conn: Connection, company: Shop, statement: str
) -> None:
    write(conn, company, line("1"))
    with pytest.raises(DBAPIError, match=r"vat_treatment_explained|treatment_known"):
        conn.execute(text(statement))
