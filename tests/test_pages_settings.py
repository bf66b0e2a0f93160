"""The Settings page: a new company is set up from it to its first invoice, and wrong input gets a sentence."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from io import BytesIO

import pytest
from PIL import Image
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from lib import customers, db, issuing, periods, settings, tables, vat_rates
from lib.auth import Role
from tests import people

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 15)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())


def section(page: AppTest, name: str) -> AppTest:
    page.query_params["section"] = page.session_state["section"] = name
    return page.run()


def texts(page: AppTest) -> str:
    found = [*page.markdown, *page.error, *page.warning, *page.info, *page.caption, *page.toast]
    return "\n".join(element.value for element in found)


def missing(page: AppTest) -> list[str]:
    return [element.value.split(": ", 2)[-1] for element in page.markdown if "Missing]" in element.value]


def company() -> settings.Company:
    with db.transaction() as conn:
        return settings.company(conn)


def fill(page: AppTest, form: str, **typed: str) -> AppTest:
    for name, value in typed.items():
        page.text_input(key=f"{form}_{name}").set_value(value)
    return page.button(key=f"{form}_save").click().run()


def test_a_new_company_is_set_up_from_here(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    assert not page.exception
    assert len(missing(page)) == 6
    assert any("VAT ID or tax number" in text for text in missing(page))
    fill(page, "company", name="Nord GmbH", street="Weg 1", postcode="20095", city="Hamburg")
    section(page, "Bank and tax")
    fill(page, "bank", vat_id="DE 136695976", iban="DE89 3704 0044 0532 0130 00", bic="COBADEFFXXX")
    assert page.text_input(key="bank_iban").value == "DE89370400440532013000"
    section(page, "Booking months")
    page.selectbox(key="month_month").set_value(5)
    page.selectbox(key="month_year").set_value(2026)
    page.button(key="month_save").click().run()
    assert not page.exception and not page.error
    assert missing(page) == ["A product with a selling price (page Prices)"]
    assert all(company().required.values())
    with db.transaction() as conn:
        assert periods.open_month(conn) == date(2026, 5, 1)
        assert issuing.seller_lacks(conn) == []


@pytest.mark.looks
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_settings_are_for_admins(open_page: OpenPage, role: Role) -> None:
    page = open_page("settings.py", role)
    assert not page.exception
    assert "may not change settings" in texts(page)
    assert not page.main.text_input


@pytest.mark.parametrize(
    ("tab", "form", "field", "typed", "says"),
    [
        ("Company", "company", "name", "", "required"),
        ("Company", "company", "street", "x" * 10_000, "too long"),
        ("Company", "company", "city", "a\0b", "can't be printed"),
        ("Company", "company", "email", "nobody", "not an e-mail address"),
        ("Bank and tax", "bank", "iban", "DE00", "not an IBAN"),
        ("Bank and tax", "bank", "bic", "<b>", "not a BIC"),
        ("Bank and tax", "bank", "vat_id", "=1+1", "not a valid VAT ID"),
        ("Bank and tax", "bank", "tax_number", "12", "not a German tax number"),
        ("Bank and tax", "bank", "payment_days", "-1", "between 0 and 365"),
        ("Booking months", "time", "change_threshold_percent", "lots", "whole number"),
        ("Booking months", "time", "renewal_days", "90", "between 1 and 28"),
    ],
)
def test_bad_input_gets_a_sentence_at_its_field_and_stays(
    open_page: OpenPage, tab: str, form: str, field: str, typed: str, says: str
) -> None:
    page = open_page("settings.py")
    page.text_input(key="company_name").set_value("Nord GmbH")
    page.button(key="company_save").click().run()
    section(page, tab)
    before = company()
    fill(page, form, **{field: typed})
    assert not page.exception
    assert says in page.error[0].value.replace("\\", "")
    assert any(says in element.value.replace("\\", "") and ":red[" in element.value for element in page.markdown)
    assert page.text_input(key=f"{form}_{field}").value == typed
    assert company() == before


def test_what_is_typed_stays_while_another_tab_is_saved(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    # As a browser keeps it, which tells nobody what is typed into a form before it is sent.
    page.session_state["company_city"] = "Kiel"
    section(page, "Bank and tax")
    fill(page, "bank", payment_days="21")
    section(page, "Company")
    assert page.text_input(key="company_city").value == "Kiel"
    assert not any("another tab" in one.value for one in page.info)
    fill(page, "company", name="Nord GmbH")
    assert (company().city, company().name, company().payment_days) == ("Kiel", "Nord GmbH", 21)


def test_a_tab_out_of_sight_takes_over_what_a_colleague_stores(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    page.session_state["company_city"] = "Kiel"
    section(page, "Number series")
    with db.transaction() as conn:
        admin = people.hire(conn)[Role.ADMIN]
        settings.edit_company(conn, version=1, changes={"phone": "030 1"}, user=admin)
    section(section(page, "Texts"), "Company")
    assert any("changed while another tab was open" in one.value for one in page.info)
    assert [page.text_input(key=f"company_{name}").value for name in ("city", "phone")] == ["Kiel", "030 1"]


def test_tabs_out_of_sight_are_in_no_other_tabs_way(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    for tab in [one.label for one in page.tabs] * 2:
        assert not section(page, tab).exception
    for key in ("company_name", "bank_iban", "series_invoice_prefix", "portal_portal_url"):
        assert page.text_input(key=key) is not None
    assert not any("another tab" in one.value for one in page.info)


def test_a_password_is_not_kept_out_of_sight(open_page: OpenPage) -> None:
    page = open_page("settings.py", section="Mail server")
    assert "mail_server_password" in {one.key for one in page.text_input}
    section(page, "Company")
    assert "mail_server_password" not in {one.key for one in page.text_input}
    section(page, "Texts")
    assert "company_city" in {one.key for one in page.text_input}


def test_ones_own_first_month_is_no_news(open_page: OpenPage) -> None:
    page = open_page("settings.py", section="Booking months")
    page.selectbox(key="month_month").set_value(3)
    page.button(key="month_save").click().run()
    section(section(page, "Texts"), "Booking months")
    assert not any("another tab" in one.value for one in page.info)


def test_the_address_names_the_tab(open_page: OpenPage) -> None:
    page = open_page("settings.py", section="Texts")
    assert page.text_area(key="texts_intro_de").value == company().intro_de
    assert open_page("settings.py", section="Nothing like it").text_input(key="company_name") is not None


def test_all_that_a_form_lacks_is_told_at_once(open_page: OpenPage) -> None:
    page = section(open_page("settings.py"), "Bank and tax")
    fill(page, "bank", iban="DE00", bic="<b>", payment_days="-1")
    told = "".join(one.value.replace("\\", "") for one in page.markdown if ":red[" in one.value)
    assert "not an IBAN" in told and "not a BIC" in told and "between 0 and 365" in told


def test_texts_are_saved(open_page: OpenPage) -> None:
    page = section(open_page("settings.py"), "Texts")
    page.text_area(key="texts_intro_de").set_value("Guten Tag,\nwir berechnen:")
    page.button(key="texts_save").click().run()
    assert company().intro_de == "Guten Tag,\nwir berechnen:"


def test_a_stale_form_loses_and_says_who_was_faster(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    with db.transaction() as conn:
        admin = people.hire(conn)[Role.ADMIN]
        settings.edit_company(conn, version=1, changes={"name": "Süd GmbH"}, user=admin)
    fill(page, "company", name="Nord GmbH")
    assert "Adam changed the company at" in page.error[0].value
    # And again: a second click doesn't get the save through.
    page.button(key="company_save").click().run()
    assert page.error and company().name == "Süd GmbH"


def test_a_logo_is_saved_and_removed(open_page: OpenPage) -> None:
    picture = BytesIO()
    Image.new("RGB", (40, 20), "navy").save(picture, "PNG")
    page = open_page("settings.py")
    page.file_uploader(key="logo_upload").upload("logo.png", picture.getvalue()).run()
    page.button(key="logo_save").click().run()
    assert not page.exception and company().has_logo
    page.button(key="logo_remove").click().run()
    assert not company().has_logo


@pytest.mark.looks
def test_a_file_that_only_claims_to_be_a_picture_is_refused(open_page: OpenPage) -> None:
    page = open_page("settings.py")
    page.file_uploader(key="logo_upload").upload("logo.png", b"<svg><script/></svg>").run()
    page.button(key="logo_save").click().run()
    assert "must be a PNG or JPEG" in page.error[0].value
    assert not company().has_logo


def test_a_vat_rate_is_added_and_removed_again(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        people.open_company(conn)
    page = section(open_page("settings.py"), "VAT rates")
    page.date_input(key="vat_valid_from").set_value(date(2026, 7, 1))
    page.text_input(key="vat_rate").set_value("20,5")
    page.button(key="vat_save").click().run()
    assert page.table[0].value["Rate"].tolist()[0] == "20.50 %"
    page.button(key="vat_remove_2026-07-01").click().run()
    page.button(key="confirm_go").click().run()
    with db.transaction() as conn:
        assert vat_rates.rates(conn)[0].rate == Decimal(19)


def test_a_reduced_rate_stands_beside_the_standard_one(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        people.open_company(conn)
    page = section(open_page("settings.py"), "VAT rates")
    page.selectbox(key="vat_treatment").set_value("reduced")
    page.date_input(key="vat_valid_from").set_value(date(2026, 7, 1))
    page.text_input(key="vat_rate").set_value("5")
    page.button(key="vat_save").click().run()
    assert [table.value["Rate"].tolist()[0] for table in page.table] == ["19.00 %", "5.00 %"]
    page.button(key="vat_remove_reduced_2026-07-01").click().run()
    page.button(key="confirm_go").click().run()
    assert [table.value["Rate"].tolist()[0] for table in page.table] == ["19.00 %", "7.00 %"]


@pytest.mark.parametrize(
    ("day", "rate", "says"),
    [
        (None, "19", "first day of the rate"),
        (date(2026, 7, 1), "", "Enter an amount"),
        (date(2026, 7, 1), "-1", "negative"),
        (date(2026, 7, 1), "101", "between 0 and 100"),
        (date(2026, 7, 1), "x" * 10_000, "not an amount"),
        (date(2026, 5, 31), "20", "closed month"),
    ],
)
def test_a_bad_vat_rate_gets_a_sentence(
    open_page: OpenPage, database: str, day: date | None, rate: str, says: str
) -> None:
    with db.transaction() as conn:
        people.open_company(conn)
    page = section(open_page("settings.py"), "VAT rates")
    page.date_input(key="vat_valid_from").set_value(day)
    page.text_input(key="vat_rate").set_value(rate)
    page.button(key="vat_save").click().run()
    assert not page.exception
    assert says in page.error[0].value


def test_the_next_number_is_shown_as_the_prefix_is_typed(open_page: OpenPage) -> None:
    page = section(open_page("settings.py"), "Number series")
    assert "RE\\-2026\\-00001" in texts(page)
    page.text_input(key="series_invoice_prefix").set_value("inv").run()
    assert "INV\\-2026\\-00001" in texts(page)
    page.text_input(key="series_invoice_prefix").set_value("no/way").run()
    assert "only letters" in texts(page)
    page.text_input(key="series_invoice_prefix").set_value("inv").run()
    page.button(key="series_invoice_save").click().run()
    with db.transaction() as conn:
        assert settings.number_series(conn)[0].prefix == "INV"


def test_a_series_that_somebody_else_changed_is_not_overwritten(open_page: OpenPage, database: str) -> None:
    page = section(open_page("settings.py"), "Number series")
    page.text_input(key="series_invoice_prefix").set_value("inv")
    page.button(key="series_invoice_save").click().run()
    page.button(key="series_invoice_save").click().run()  # as a double click: the form knows what it has saved
    assert not page.error
    with db.transaction() as conn:
        adam = people.hire(conn)[Role.ADMIN]
        settings.edit_number_series(conn, "invoice", prefix="R", digits=5, version=2, today=TODAY, user=adam)
    page.text_input(key="series_invoice_prefix").set_value("X")
    page.button(key="series_invoice_save").click().run()
    assert "Adam changed the numbers of invoices" in page.error[0].value
    with db.transaction() as conn:
        assert settings.number_series(conn)[0].prefix == "R"


def test_a_prefix_stays_once_a_number_was_given_out(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        conn.execute(insert(tables.number_counters).values(kind="invoice", year=2026, last=7))
    page = section(open_page("settings.py"), "Number series")
    assert "RE\\-2026\\-00008" in texts(page)
    page.text_input(key="series_invoice_prefix").set_value("INV").run()
    page.button(key="series_invoice_save").click().run()
    assert "numbers run without a gap" in page.error[0].value


def test_the_first_month_is_fixed_once_there_is_a_customer(open_page: OpenPage, database: str) -> None:
    with db.transaction() as conn:
        admin = people.open_company(conn)[Role.ADMIN]
        customers.create(
            conn, details={"name": "Kunde"}, billed=False, ends_on=date(2026, 7, 1), today=TODAY, user=admin
        )
    page = section(open_page("settings.py"), "Booking months")
    assert "The first open month is **June 2026**" in texts(page)
    with pytest.raises(KeyError):
        page.button(key="month_save")


def test_the_time_zone_is_one_that_exists(open_page: OpenPage) -> None:
    page = section(open_page("settings.py"), "Booking months")
    page.selectbox(key="time_timezone").set_value("Europe/Vienna")
    page.button(key="time_save").click().run()
    assert company().timezone == "Europe/Vienna"
