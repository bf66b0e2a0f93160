"""Self-Service: the price per IP range, what it costs any quantity, and the article's name (rows G14, G15)."""

from contextlib import suppress
from datetime import date

import streamlit as st

from lib import clock, money, periods, prices, products, quotes, settings
from lib.auth import Permission, User
from lib.errors import Invalid
from lib.prices import Tier, Version
from lib.products import Product
from lib.quotes import Quote
from lib.settings import Company
from pages.shared import figures, forms, numbers, price_versions, session, tier_editor, ui

EDITOR = "ranges"
ARTICLE = "article"
USUAL = 300
SLIDER_MOST = 1_000
CURVE_POINTS = 60

user = session.require_user(Permission.READ)


def _slid() -> None:
    st.session_state.ips = str(st.session_state.ips_slider)


def _typed() -> None:
    with suppress(Invalid):  # told at the field
        asked = numbers.typed_whole("ips", field="ips", name="IPs")
        st.session_state.ips_slider = min(asked, SLIDER_MOST)


def _save_article() -> None:
    typed = forms.typed(ARTICLE, ("name", "number"))
    saved = forms.save(
        ARTICLE, settings.edit_article, **typed, version=forms.version(ARTICLE), success="The article is saved."
    )
    if saved:
        with session.reading() as conn:
            _fill_article(settings.company(conn))


def _fill_article(company: Company) -> None:
    values = {"name": company.self_service_article_name, "number": company.self_service_article_number}
    forms.fill(ARTICLE, values, version=company.version)


def draw_ranges(
    product: Product, versions: list[Version], *, first_open: date, today: date, company: Company
) -> list[Tier] | None:
    """The editable ranges with their month. Returns them once every cell can be read."""
    with st.container(border=True):
        st.subheader("Price per IP range", anchor=False)
        st.caption(
            "Graduated: each IP costs the price of the range it falls in. "
            "The upper bound is included; the last range has none."
        )
        if user.may(Permission.EDIT_PRICES):
            valid_from = price_versions.from_month("ranges_from", first_open=first_open, today=today)
            ruling = price_versions.tiers_in(versions, valid_from)
            entered = tier_editor.draw(EDITOR, ruling, currency=company.currency)
            price_versions.review_button(
                product, entered, valid_from, ruling=ruling, currency=company.currency, editor=EDITOR
            )
        else:
            st.caption(f"These prices rule {ui.month(clock.month_of(today))}; sales and admins change them.")
            ruling = price_versions.tiers_in(versions, today)
            entered = tier_editor.draw(EDITOR, ruling, currency=company.currency, disabled=True)
    return entered.tiers


def draw_calculator(
    product: Product, saved: Version | None, edited: list[Tier] | None, *, today: date, company: Company
) -> list[Quote]:
    """What a quantity costs for a whole month, at the saved ranges or at the edited ones.

    Returns that quote and those of the curve; nothing where there are no ranges to calculate with.
    """
    with st.container(border=True):
        st.subheader("Price calculator", anchor=False)
        source = st.segmented_control(
            "Prices", ["Saved", "Edited"], default="Saved", required=True, key="calculator_source"
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            asked = numbers.whole(
                "IPs", key="ips", field="ips", value=str(USUAL), on_change=_typed, width=130, bind="query-params"
            )
            st.session_state.setdefault("ips_slider", min(asked or 0, SLIDER_MOST))
            st.slider("IPs, by slider", 0, SLIDER_MOST, key="ips_slider", on_change=_slid)
        if asked is None:
            ui.empty("Enter how many IPs; then they are calculated here.", icon=":material/edit:")
            return []
        if source == "Edited" and edited is None:
            ui.empty("Correct the ranges first; then they are calculated here.", icon=":material/edit:")
            return []
        if source == "Saved" and saved is None:
            ui.empty("No price is saved yet.", icon=":material/sell:")
            return []
        tiers = edited if source == "Edited" else None
        month = saved.valid_from if saved is not None and saved.valid_from > today else clock.month_of(today)
        if tiers is None:
            st.caption(f"At the list price of {ui.month(month)}.")
        points = curve_points(asked, edited or (saved.tiers if saved else []))
        with session.reading() as conn:
            found = quotes.quotes(conn, product.id, quantities=[asked, *points], month=month, tiers=tiers)
        _draw_quote(found[0], company.currency)
    return found


def curve_points(quantity: int, tiers: list[Tier]) -> list[int]:
    """Quantities that show the curve: evenly spread, and where a range begins."""
    bounds = [tier.last_unit for tier in tiers if tier.last_unit]
    most = max(100, int(quantity * 1.25), int(max(bounds, default=0) * 1.25))
    even = {round(most * step / CURVE_POINTS) for step in range(1, CURVE_POINTS + 1)}
    return sorted(even | {1, *bounds, *(bound + 1 for bound in bounds)})


def _draw_quote(quote: Quote, currency: str) -> None:
    with st.grid(2, gap="small", min_column_width=120):
        st.metric(f"Total a month ({currency})", ui.money(quote.amount), border=True)
        st.metric(f"Average per IP ({currency})", _average(quote), border=True)
    rows = [
        {
            "range": f"{line.first_unit}–{line.last_unit}" if line.last_unit else f"from {line.first_unit}",
            "units": ui.number(line.units),
            "price": prices.price_shown(line.unit_price) if line.unit_price is not None else "–",
            "amount": ui.money(line.amount),
        }
        for line in quote.lines
    ]
    columns = {
        "range": ui.text_column("Range"),
        "units": ui.figure_column("IPs"),
        "price": ui.figure_column(f"Unit price ({currency})"),
        "amount": ui.figure_column(f"Amount ({currency})"),
    }
    if rows:
        ui.table(rows, columns, key="quote_lines", alt="The lines of the price, one per range used")


def _average(quote: Quote) -> str:
    return ui.NOTHING if quote.average is None else money.shown(quote.average, decimals=4)


def draw_curves(found: list[Quote], currency: str) -> None:
    """Price and average over quantity, the asked quantity marked."""
    asked, quotes = found[0], found[1:]
    quantities = [quote.quantity for quote in quotes]
    totals = figures.curve(
        quantities, [quote.amount for quote in quotes], unit="IPs", y_title=currency, decimals=2,
        marked=(asked.quantity, asked.amount),
    )  # fmt: skip
    averages = figures.curve(
        quantities, [quote.average for quote in quotes], unit="IPs", y_title=currency, decimals=4,
        marked=(asked.quantity, asked.average),
    )  # fmt: skip
    with st.grid(2, gap="small", min_column_width=300):
        with st.container(border=True):
            st.subheader("Price of a month", anchor=False)
            st.plotly_chart(totals, key="curve_total", config=figures.CONFIG, alt="Price of a month over the IPs")
        with st.container(border=True):
            st.subheader("Average per IP", anchor=False)
            st.plotly_chart(averages, key="curve_average", config=figures.CONFIG, alt="Average price over the IPs")


def draw_article(company: Company) -> None:
    """Name and number of the article as customers see them."""
    with st.container(border=True):
        st.subheader("Article", anchor=False)
        if not user.may(Permission.EDIT_PRICES):
            ui.facts(
                {"Name": company.self_service_article_name, "Number": company.self_service_article_number},
                alt="The self-service article",
            )
            return
        if f"{ARTICLE}_name" not in st.session_state:
            _fill_article(company)
        with st.form("article_form", border=False):
            left, right = st.columns([2, 1])
            with left:
                forms.text(ARTICLE, "name", "Article name", help="As customers see it when they book IPs themselves.")
            with right:
                forms.text(ARTICLE, "number", "Article number")
            st.form_submit_button("Save article", key="article_save", on_click=_save_article)


def draw(user: User) -> None:
    """The page."""
    st.title("Self-Service", anchor=False)
    with session.reading() as conn:
        company = settings.company(conn)
        first_open = periods.open_month(conn)
        product = products.product_of_kind(conn, "ips")
        versions = prices.versions(conn, product.id) if product else []
    today = session.today()
    if first_open is None:
        st.warning(periods.NOT_SET_UP, icon=":material/event:")
    if product is None:
        ui.empty("There is no product of the kind IP scans yet. An admin adds it in Prices.", icon=":material/sell:")
    elif first_open is not None:
        ruling = [version for version in versions if version.valid_from <= today]
        saved = ruling[0] if ruling else (versions[-1] if versions else None)
        left, right = st.columns(2)
        with left:
            edited = draw_ranges(product, versions, first_open=first_open, today=today, company=company)
        with right:
            found = draw_calculator(product, saved, edited, today=today, company=company)
        if found:
            draw_curves(found, company.currency)
        with st.container(border=True):
            st.subheader("Versions", anchor=False)
            price_versions.history(versions, first_open=first_open, user=user, key="ranges")
    draw_article(company)


draw(user)
