"""Settings: what the company may be called, its VAT rates, its number series, its first month."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Connection, insert, select, text, update

from lib import audit, company_fields, customers, settings, tables, vat_rates
from lib.auth import Role, User
from lib.errors import Conflict, Invalid, NotAllowed, NotFound

TODAY = date(2026, 6, 15)
LONG = "x" * 10_000


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 20)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, "navy").save(buffer, kind)
    return buffer.getvalue()


def edit(conn: Connection, user: User, **changes: Any) -> settings.Company:
    settings.edit_company(conn, version=settings.company(conn).version, changes=changes, user=user)
    return settings.company(conn)


def last_entry(conn: Connection) -> audit.Entry:
    return audit.entries(conn, limit=1)[0][0]


# ---------------------------------------------------------------------------------- the company


def test_a_new_company_lacks_what_the_law_asks_for(conn: Connection, admin: User) -> None:
    assert not any(settings.company(conn).required.values())
    after = edit(
        conn, admin, name="Nord GmbH", street="Weg 1", postcode="20095", city="Hamburg", vat_id="DE 136 695 976"
    )
    assert all(after.required.values())
    assert after.vat_id == "DE136695976"


def test_fields_are_stored_in_their_plain_form(conn: Connection, admin: User) -> None:
    after = edit(
        conn,
        admin,
        name="  Nord GmbH ",
        iban="de89 3704 0044 0532 0130 00",
        bic="cobadeff",
        timezone="Europe/Vienna",
        currency="chf",
        payment_days="30",
        change_threshold_percent="25",
        tax_number="181/815/08155",
        website="www.nord.example",
        intro_de="Guten Tag,\r\nwir berechnen:",
    )
    assert (after.name, after.iban, after.bic) == ("Nord GmbH", "DE89370400440532013000", "COBADEFF")
    assert (after.currency, after.payment_days, after.change_threshold_percent) == ("CHF", 30, 25)
    assert after.intro_de == "Guten Tag,\nwir berechnen:"


def test_an_iban_of_another_country_is_fine(conn: Connection, admin: User) -> None:
    assert edit(conn, admin, iban="AT61 1904 3002 3457 3201").iban == "AT611904300234573201"


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("name", ""),
        ("name", LONG),
        ("name", "Nord\0GmbH"),
        ("street", "x" * 201),
        ("postcode", "1" * 13),
        ("email", "nobody"),
        ("email", f"{LONG}@a.example"),
        ("website", "not a site"),
        ("country", "XX"),
        ("country", "FR"),
        ("vat_id", "DE123456789"),
        ("vat_id", "FR12345678901"),
        ("tax_number", "12"),
        ("tax_number", "abc"),
        ("iban", "DE89370400440532013001"),
        ("iban", LONG),
        ("bic", "NOPE"),
        ("currency", "euro"),
        ("currency", "JPY"),
        ("currency", "XAU"),
        ("timezone", "Europe/Nowhere"),
        ("timezone", "../etc/passwd"),
        ("payment_days", "-1"),
        ("payment_days", "366"),
        ("payment_days", "soon"),
        ("change_threshold_percent", "0"),
        ("change_threshold_percent", "99999999999999999999"),
        ("intro_de", LONG),
        ("closing_en", "a\0b"),
        ("logo", b"GIF89a"),
        ("logo", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
        ("logo", b"\x89PNG\r\n\x1a\nbroken"),
        ("logo", b"\xff\xd8\xff" + b"0" * 600_000),
        ("nonsense", "1"),
    ],
)
def test_bad_input_is_refused_at_its_field(conn: Connection, admin: User, field: str, typed: Any) -> None:
    before = settings.company(conn)
    with pytest.raises(Invalid) as refusal:
        edit(conn, admin, **{field: typed})
    assert refusal.value.field == field
    assert len(str(refusal.value)) < 300
    assert settings.company(conn) == before


def test_markup_and_formulas_are_text_like_any_other(conn: Connection, admin: User) -> None:
    assert edit(conn, admin, name="=cmd|'/c calc'!A1 <b>*x*</b>").name == "=cmd|'/c calc'!A1 <b>*x*</b>"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_logo_is_kept_and_removed(conn: Connection, admin: User, kind: str) -> None:
    content = picture(kind)
    assert edit(conn, admin, logo=content).has_logo
    assert settings.logo(conn) == content
    assert last_entry(conn).changes == {"logo": [None, f"{len(content)} bytes"]}
    assert not edit(conn, admin, logo=None).has_logo


def test_a_transparent_logo_is_shown_on_white() -> None:
    drawn = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    drawn.putpixel((5, 5), (200, 0, 0, 255))
    content = BytesIO()
    drawn.save(content, "PNG")
    shown = Image.open(BytesIO(company_fields.logo_on_paper(content.getvalue())))
    assert (shown.size, shown.mode) == ((44, 24), "RGB")
    assert shown.getpixel((0, 0)) == shown.getpixel((20, 20)) == (255, 255, 255)
    assert shown.getpixel((7, 7)) == (200, 0, 0)
    large = Image.open(BytesIO(company_fields.logo_on_paper(picture(size=(4000, 1000)))))
    assert large.size == (528, 168)


def test_a_picture_of_too_many_pixels_is_refused(conn: Connection, admin: User) -> None:
    with pytest.raises(Invalid, match="4000 pixels"):
        edit(conn, admin, logo=picture(size=(5000, 10)))


def test_a_save_is_audited_from_what_to_what(conn: Connection, admin: User) -> None:
    edit(conn, admin, name="Nord GmbH")
    edit(conn, admin, name="Süd GmbH", city="")
    entry = last_entry(conn)
    assert (entry.person, entry.action, entry.object_type) == ("Adam", "edit", "company")
    assert entry.changes == {"name": ["Nord GmbH", "Süd GmbH"]}


def test_a_save_without_a_change_leaves_no_trace(conn: Connection, admin: User) -> None:
    before = edit(conn, admin, name="Nord GmbH")
    assert edit(conn, admin, name="Nord GmbH") == before


def test_a_stale_form_loses_and_names_who_was_faster(conn: Connection, admin: User) -> None:
    version = settings.company(conn).version
    settings.edit_company(conn, version=version, changes={"name": "Nord GmbH"}, user=admin)
    with pytest.raises(Conflict, match="Adam changed the company at"):
        settings.edit_company(conn, version=version, changes={"city": "Kiel"}, user=admin)
    assert settings.company(conn).city == ""


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_only_admins_change_settings(conn: Connection, users: dict[Role, User], role: Role) -> None:
    user = users[role]
    writes: list[Callable[[], None]] = [
        lambda: edit(conn, user, name="x") and None,
        lambda: vat_rates.set_rate(conn, valid_from=TODAY, rate=Decimal(20), user=user),
        lambda: vat_rates.remove_rate(conn, valid_from=date(2021, 1, 1), user=user),
        lambda: settings.edit_number_series(conn, "invoice", prefix="X", digits=5, version=1, today=TODAY, user=user),
        lambda: settings.set_first_month(conn, date(2026, 6, 1), user=user),
    ]
    for write in writes:
        with pytest.raises(NotAllowed):
            write()


def test_the_currency_stays_once_there_are_documents(conn: Connection, set_up: Any) -> None:
    admin = set_up()[Role.ADMIN]
    conn.execute(update(tables.months).values(state="approved"))
    with pytest.raises(Invalid, match="documents in EUR") as refusal:
        edit(conn, admin, currency="CHF")
    assert refusal.value.field == "currency"


def test_sales_edits_the_self_service_article(conn: Connection, sales: User, viewer: User) -> None:
    version = settings.company(conn).version
    settings.edit_article(conn, name="Security scan", number="IP-100", version=version, user=sales)
    after = settings.company(conn)
    assert (after.self_service_article_name, after.self_service_article_number) == ("Security scan", "IP-100")
    with pytest.raises(Conflict):
        settings.edit_article(conn, name="Other", number="", version=version, user=sales)
    with pytest.raises(NotAllowed):
        settings.edit_article(conn, name="Other", number="", version=after.version, user=viewer)
    with pytest.raises(Invalid) as refusal:
        settings.edit_article(conn, name=LONG, number="", version=after.version, user=sales)
    assert refusal.value.field == "name"


# ---------------------------------------------------------------------------------- VAT rates


def test_a_rate_rules_from_its_day_and_can_be_taken_back(conn: Connection, set_up: Any) -> None:
    admin = set_up()[Role.ADMIN]
    vat_rates.set_rate(conn, valid_from=date(2026, 7, 1), rate=Decimal("20.50"), user=admin)
    newest = vat_rates.rates(conn)[0]
    assert (newest.valid_from, newest.rate, newest.closed) == (date(2026, 7, 1), Decimal("20.50"), False)
    vat_rates.set_rate(conn, valid_from=date(2026, 7, 1), rate=Decimal(21), user=admin)
    assert last_entry(conn).changes == {"rate": ["20.50", "21"]}
    vat_rates.remove_rate(conn, valid_from=date(2026, 7, 1), user=admin)
    assert vat_rates.rates(conn)[0].valid_from == date(2021, 1, 1)
    with pytest.raises(NotFound):
        vat_rates.remove_rate(conn, valid_from=date(2026, 7, 1), user=admin)


def test_rates_of_closed_months_stay(conn: Connection, set_up: Any) -> None:
    admin = set_up()[Role.ADMIN]
    with pytest.raises(Conflict, match="from 01 Jun 2026"):
        vat_rates.set_rate(conn, valid_from=date(2026, 5, 31), rate=Decimal(20), user=admin)
    with pytest.raises(Conflict, match="closed month"):
        vat_rates.remove_rate(conn, valid_from=date(2021, 1, 1), user=admin)


@pytest.mark.parametrize("rate", ["-1", "100.01", "19.001", "NaN", "1E+30"])
def test_a_rate_is_a_percentage(conn: Connection, admin: User, rate: str) -> None:
    with pytest.raises(Invalid) as refusal:
        vat_rates.set_rate(conn, valid_from=TODAY, rate=Decimal(rate), user=admin)
    assert refusal.value.field == "rate"


def test_the_same_rate_twice_is_refused(conn: Connection, admin: User) -> None:
    vat_rates.set_rate(conn, valid_from=TODAY, rate=Decimal(20), user=admin)
    with pytest.raises(Invalid, match="already"):
        vat_rates.set_rate(conn, valid_from=TODAY, rate=Decimal(20), user=admin)


def test_a_rate_of_an_absurd_day_is_refused(conn: Connection, admin: User) -> None:
    with pytest.raises(Invalid) as refusal:
        vat_rates.set_rate(conn, valid_from=date(9999, 1, 1), rate=Decimal(20), user=admin)
    assert refusal.value.field == "valid_from"


# ---------------------------------------------------------------------------------- number series


def series(conn: Connection, kind: str = "invoice") -> settings.NumberSeries:
    return next(one for one in settings.number_series(conn) if one.kind == kind)


def test_a_series_shows_its_next_number(conn: Connection, admin: User) -> None:
    settings.edit_number_series(conn, "invoice", prefix=" inv ", digits="4", version=1, today=TODAY, user=admin)
    assert (
        series(conn).number(year=2026, index=settings.numbers_used(conn, year=2026)["invoice"] + 1) == "INV-2026-0001"
    )
    assert last_entry(conn).changes == {"prefix": ["RE", "INV"], "digits": [5, 4]}
    assert series(conn).number(year=2026, index=123_456) == "INV-2026-123456"


def test_two_series_never_share_a_prefix(conn: Connection, admin: User) -> None:
    with pytest.raises(Conflict, match="Another series"):
        settings.edit_number_series(
            conn, "invoice", prefix=series(conn, "cancellation").prefix, digits=5, version=1, today=TODAY, user=admin
        )


def test_a_stale_series_form_loses_and_is_told_who_was_faster(conn: Connection, admin: User) -> None:
    settings.edit_number_series(conn, "invoice", prefix="INV", digits=5, version=1, today=TODAY, user=admin)
    with pytest.raises(Conflict, match=r"Adam changed the numbers of invoices at \d\d:\d\d, after you opened it"):
        settings.edit_number_series(conn, "invoice", prefix="R", digits=6, version=1, today=TODAY, user=admin)
    assert (series(conn).prefix, series(conn).digits, series(conn).version) == ("INV", 5, 2)
    settings.edit_number_series(conn, "invoice", prefix="INV", digits=5, version=2, today=TODAY, user=admin)
    assert series(conn).version == 2, "nothing changed"


def test_a_prefix_stays_in_a_year_that_has_numbers(conn: Connection, admin: User) -> None:
    conn.execute(insert(tables.number_counters).values(kind="invoice", year=2026, last=3))
    with pytest.raises(Conflict, match="2027"):
        settings.edit_number_series(conn, "invoice", prefix="INV", digits=5, version=1, today=TODAY, user=admin)
    settings.edit_number_series(conn, "invoice", prefix="RE", digits=6, version=1, today=TODAY, user=admin)
    next_year = date(2027, 1, 1)
    settings.edit_number_series(conn, "invoice", prefix="INV", digits=6, version=2, today=next_year, user=admin)
    assert series(conn).prefix == "INV"


@pytest.mark.parametrize(
    ("prefix", "digits", "field"),
    [
        ("", 5, "prefix"),
        ("RE/26", 5, "prefix"),
        ("R" * 11, 5, "prefix"),
        ("R\0", 5, "prefix"),
        (LONG, 5, "prefix"),
        ("RE", 2, "digits"),
        ("RE", 11, "digits"),
        ("RE", "five", "digits"),
    ],
)
def test_a_bad_series_is_refused_at_its_field(
    conn: Connection, admin: User, prefix: str, digits: Any, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        settings.edit_number_series(conn, "invoice", prefix=prefix, digits=digits, version=1, today=TODAY, user=admin)
    assert refusal.value.field == field


def test_an_unknown_series_is_not_found(conn: Connection, admin: User) -> None:
    with pytest.raises(NotFound):
        settings.edit_number_series(conn, "quote", prefix="Q", digits=5, version=1, today=TODAY, user=admin)


# ---------------------------------------------------------------------------------- the first month


def test_the_first_month_can_move_until_something_depends_on_it(conn: Connection, admin: User) -> None:
    settings.set_first_month(conn, date(2026, 6, 1), user=admin)
    settings.set_first_month(conn, date(2026, 5, 1), user=admin)
    assert conn.execute(select(tables.months.c.month, tables.months.c.state)).all() == [(date(2026, 5, 1), "open")]
    assert last_entry(conn).changes == {"month": ["2026-06-01", "2026-05-01"]}
    customers.create(conn, details={"name": "Kunde"}, billed=False, ends_on=date(2026, 7, 1), today=TODAY, user=admin)
    assert settings.first_month_is_fixed(conn)
    with pytest.raises(Conflict, match="fixed"):
        settings.set_first_month(conn, date(2026, 6, 1), user=admin)


@pytest.mark.parametrize("month", [date(2026, 6, 2), date(1999, 12, 1), date(2101, 1, 1)])
def test_a_first_month_is_the_first_of_a_sensible_month(conn: Connection, admin: User, month: date) -> None:
    with pytest.raises(Invalid) as refusal:
        settings.set_first_month(conn, month, user=admin)
    assert refusal.value.field == "first_month"


def test_setting_the_same_month_again_is_refused(conn: Connection, admin: User) -> None:
    settings.set_first_month(conn, date(2026, 6, 1), user=admin)
    with pytest.raises(Invalid, match="already"):
        settings.set_first_month(conn, date(2026, 6, 1), user=admin)


def test_the_choices_offered_are_choices_taken(conn: Connection, admin: User) -> None:
    known = set(conn.scalars(text("SELECT name FROM pg_timezone_names")))
    assert "Europe/Berlin" in company_fields.time_zones()
    assert {"Europe/Berlin", "Europe/Zurich", "America/New_York"} <= known
    assert {"EUR", "CHF", "USD", "GBP"} <= set(company_fields.currencies())
    assert not {"JPY", "XAU", "XXX", "XTS"} & set(company_fields.currencies())
