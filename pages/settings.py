"""Settings: the company as its documents name it, taxes, number series, the first booking month, mail."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import streamlit as st

from lib import clock, company_fields, periods, settings
from lib.auth import Permission
from lib.errors import Invalid
from lib.settings import Company, NumberSeries
from pages.shared import (
    checklist,
    forms,
    session,
    settings_deletion,
    settings_mail,
    settings_portal,
    settings_vat,
    tabs,
    ui,
)

MONTH = "month"
LOGO = "logo"
# The fields of each tab's form: a save sends these and no others.
COMPANY_FIELDS = (
    *("name", "street", "postcode", "city", "country", "register_entry", "managing_directors"),
    *("email", "phone", "website"),
)
BANK_FIELDS = ("vat_id", "tax_number", "bank_name", "iban", "bic", "currency", "payment_days", "check_vies")
TEXT_FIELDS = ("intro_de", "closing_de", "intro_en", "closing_en")
TIME_FIELDS = ("timezone", "change_threshold_percent", "renewal_days")

user = session.require_user(Permission.EDIT_SETTINGS)


# ---------------------------------------------------------------------------------- what the buttons do


def _save_company(form: str, names: Sequence[str]) -> None:
    changes = forms.typed(form, names)
    if forms.save(form, settings.edit_company, version=forms.version(form), changes=changes, success="Saved."):
        with session.reading() as conn:
            _fill(form, names, settings.company(conn))


def _fill(form: str, names: Sequence[str], company: Company) -> None:
    forms.fill(form, _texts(company, names), version=company.version)


def _texts(company: Company, names: Sequence[str]) -> Mapping[str, Any]:
    numbers = ("payment_days", "change_threshold_percent", "renewal_days")
    stored = vars(company)
    return {name: str(stored[name]) if name in numbers else stored[name] for name in names}


def _save_logo(version: int, *, remove: bool = False) -> None:
    upload = st.session_state.get("logo_upload")
    if upload is None and not remove:
        return
    content = None if remove or upload is None else upload.getvalue()
    words = "The logo is removed." if remove else "The logo is saved."
    forms.save(LOGO, settings.edit_company, version=version, changes={"logo": content}, success=words)


def _save_series(kind: str, today: date) -> None:
    form = f"series_{kind}"
    typed = forms.typed(form, ("prefix", "digits"))
    saved = forms.save(
        form,
        settings.edit_number_series,
        kind,
        **typed,
        version=forms.version(form),
        today=today,
        success=f"{company_fields.SERIES[kind]}: the numbers are saved.",
    )
    if saved:
        with session.reading() as conn:
            stored = next(one for one in settings.number_series(conn) if one.kind == kind)
        _fill_series(form, stored)


def _fill_series(form: str, stored: NumberSeries) -> None:
    forms.fill(form, {"prefix": stored.prefix, "digits": str(stored.digits)}, version=stored.version)


def _set_first_month() -> None:
    month = date(st.session_state[f"{MONTH}_year"], st.session_state[f"{MONTH}_month"], 1)
    if forms.save(MONTH, settings.set_first_month, month, success=f"Billing starts with {ui.month(month)}."):
        forms.fill(MONTH, {"month": month.month, "year": month.year})


# ---------------------------------------------------------------------------------- the tabs


def draw_company(company: Company) -> None:
    """Name, address and how to reach us, and the logo."""
    forms.begin("company", _texts(company, COMPANY_FIELDS), version=company.version)
    with st.form("company_form"):
        forms.text("company", "name", "Company name", required=True)
        forms.text("company", "street", "Street and number")
        left, middle, right = st.columns([1, 2, 2])
        with left:
            forms.text("company", "postcode", "Postcode")
        with middle:
            forms.text("company", "city", "City")
        with right:
            forms.choice("company", "country", "Country", [company.country], lambda _: "Germany")
        left, right = st.columns(2)
        with left:
            forms.text("company", "register_entry", "Register entry", placeholder="Amtsgericht Musterstadt, HRB 12345")
        with right:
            forms.text("company", "managing_directors", "Managing directors")
        first, second, third = st.columns(3)
        with first:
            forms.text("company", "email", "E-mail")
        with second:
            forms.text("company", "phone", "Phone")
        with third:
            forms.text("company", "website", "Website")
        _save_button("company", COMPANY_FIELDS)
    _draw_logo(company)


def _draw_logo(company: Company) -> None:
    with st.container(border=True):
        st.subheader("Logo", anchor=False)
        if company.has_logo:
            with session.reading() as conn:
                picture = settings.logo(conn)
            if picture:
                st.image(company_fields.logo_on_paper(picture), width=180, alt="The company's logo")
        upload = st.file_uploader(
            "A PNG or JPEG picture of up to 500 kB; it stands at the top of each document.",
            type=["png", "jpg", "jpeg"],
            max_upload_size=1,
            key="logo_upload",
        )
        forms.error(LOGO, "logo")
        with st.container(horizontal=True):
            arguments = (company.version,)
            st.button("Save logo", key="logo_save", disabled=upload is None, on_click=_save_logo, args=arguments)
            if company.has_logo:
                st.button(
                    "Remove logo",
                    key="logo_remove",
                    type="tertiary",
                    on_click=_save_logo,
                    args=arguments,
                    kwargs={"remove": True},
                )


def draw_bank(company: Company) -> None:
    """Taxes, bank account and payment term."""
    forms.begin("bank", _texts(company, BANK_FIELDS), version=company.version)
    with st.form("bank_form"):
        left, right = st.columns(2)
        with left:
            forms.text(
                "bank",
                "vat_id",
                "VAT ID",
                placeholder="DE123456788",
                help="Needed for customers in other EU countries.",
            )
        with right:
            forms.text("bank", "tax_number", "Tax number", placeholder="181/815/08155")
        first, second, third = st.columns([2, 3, 2])
        with first:
            forms.text("bank", "bank_name", "Bank")
        with second:
            forms.text("bank", "iban", "IBAN")
        with third:
            forms.text("bank", "bic", "BIC")
        left, right = st.columns(2)
        with left:
            names = company_fields.currencies()
            forms.choice("bank", "currency", "Currency of prices and documents", names, lambda code: names[code])
        with right:
            forms.text(
                "bank", "payment_days", "Days until payment is due", help="A customer can have a term of its own."
            )
        st.toggle(
            "Ask VIES about the VAT IDs of customers in other EU countries",
            key="bank_check_vies",
            help="The EU's register. An ID counts as valid only once VIES said so; the answer is kept as evidence.",
        )
        _save_button("bank", BANK_FIELDS)


def draw_texts(company: Company) -> None:
    """What stands above and below the lines of each document, in its language."""
    forms.begin("texts", _texts(company, TEXT_FIELDS), version=company.version)
    with st.form("texts_form"):
        for language, name in (("de", "German"), ("en", "English")):
            left, right = st.columns(2)
            with left:
                forms.block("texts", f"intro_{language}", f"Opening text, {name}", height=130)
            with right:
                forms.block("texts", f"closing_{language}", f"Closing text, {name}", height=130)
        _save_button("texts", TEXT_FIELDS)


def draw_series(today: date) -> None:
    """How the numbers of each kind of document look, with the next one."""
    with session.reading() as conn:
        series = settings.number_series(conn)
        used = settings.numbers_used(conn, year=today.year)
    st.caption(
        "Numbers run from 1 in each year, without a gap. "
        "Once a series has given out a number, its prefix stays until the next year."
    )
    with st.grid(3, gap="small", min_column_width=240):
        for one in series:
            with st.container(border=True):
                _draw_one_series(one, used[one.kind], today)


def _draw_one_series(stored: NumberSeries, used: int, today: date) -> None:
    form = f"series_{stored.kind}"
    forms.begin(form, {"prefix": stored.prefix, "digits": str(stored.digits)}, version=stored.version)
    st.subheader(company_fields.SERIES[stored.kind], anchor=False)
    prefix = forms.text(form, "prefix", "Prefix")
    digits = forms.text(form, "digits", "Digits")
    try:
        values = company_fields.checked_series(prefix=prefix, digits=digits)
        preview = NumberSeries(stored.kind, **values, version=stored.version).number(year=today.year, index=used + 1)
        st.markdown(f"Next number: **{ui.escaped(preview)}**")
    except Invalid as refusal:
        forms.problem(str(refusal))
    st.caption(f"{ui.number(used)} given out in {today.year}.")
    st.button("Save", key=f"{form}_save", on_click=_save_series, args=(stored.kind, today))


def draw_months(company: Company, today: date) -> None:
    """The month that billing starts with, the time zone, and when the month close warns."""
    with session.reading() as conn:
        first = periods.open_month(conn)
        fixed = settings.first_month_is_fixed(conn)
    with st.container(border=True):
        st.subheader("First booking month", anchor=False)
        if fixed:
            st.markdown(f"The first open month is **{ui.month(first)}**. The month close moves it on.")
        else:
            st.caption("Billing starts with this month. It can move until the first customer is added.")
            start = first or clock.month_of(today)
            forms.begin(MONTH, {"month": start.month, "year": start.year})
            with st.container(horizontal=True, vertical_alignment="bottom"):
                st.selectbox(
                    "Month",
                    range(1, 13),
                    format_func=lambda number: f"{date(2000, number, 1):%B}",
                    key=f"{MONTH}_month",
                    width=160,
                )
                st.selectbox("Year", range(2000, 2101), key=f"{MONTH}_year", width=130)
                st.button("Set first month", key="month_save", on_click=_set_first_month)
            if first is not None:
                st.markdown(f"Set to **{ui.month(first)}**.")
            forms.error(MONTH, "first_month")
    forms.begin("time", _texts(company, TIME_FIELDS), version=company.version)
    with st.form("time_form"):
        left, right = st.columns(2)
        with left:
            zones = sorted({*company_fields.time_zones(), company.timezone})
            forms.choice("time", "timezone", "Time zone of booking months", zones)
            forms.text(
                "time",
                "renewal_days",
                "Renewals are drafted (days before the end)",
                help="The invoice of a prepaid plan's or module's next month or year. It waits among the drafts.",
            )
        with right:
            forms.text(
                "time",
                "change_threshold_percent",
                "Month close warns at a change of (percent)",
                help="A customer whose month differs by more from the month before is an exception of the close.",
            )
        _save_button("time", TIME_FIELDS)


def _save_button(form: str, names: Sequence[str]) -> None:
    st.form_submit_button("Save", key=f"{form}_save", type="primary", on_click=_save_company, args=(form, names))


def draw() -> None:
    """The page: what is missing, then the tabs."""
    st.title("Settings", anchor=False)
    today = session.today()
    with session.reading() as conn:
        company = settings.company(conn)
    checklist.draw(company, today)
    draws: dict[str, Callable[[], None]] = {
        "Company": lambda: draw_company(company),
        "Bank and tax": lambda: draw_bank(company),
        "Texts": lambda: draw_texts(company),
        "VAT rates": settings_vat.draw,
        "Number series": lambda: draw_series(today),
        "Booking months": lambda: draw_months(company, today),
        "Deletion": lambda: settings_deletion.draw(company),
        "Portal": lambda: settings_portal.draw(company),
        "Mail server": settings_mail.draw_server,
        "Mail templates": settings_mail.draw_templates,
    }
    # A password stays nowhere longer than needed, and goes to no server that a colleague enters meanwhile.
    tabs.draw(draws, key="section", typed_into=set(draws) - {"Mail server"})


draw()
