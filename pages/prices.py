"""Prices: the catalogue, and for each product what it sells for, to whom apart, and what it costs us."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import streamlit as st

from lib import clock, customer_lists, money, periods, prices, products, settings
from lib.auth import Permission
from lib.db import Connection
from lib.errors import Invalid
from lib.products import Product
from pages.shared import forms, price_versions, product_form, session, tabs, tier_editor, ui

FORM_WIDTH = 720
TYPED_INTO = ("Selling price", "Individual prices", "Purchase price")

user = session.require_user(Permission.READ)


# ---------------------------------------------------------------------------------- what the buttons do


def _purchase(product_id: int) -> str:
    """The form of a product's new purchase price: what was typed for one is not offered for another."""
    return f"purchase_{product_id}"


def _add_purchase_price(product_id: int, request_key: UUID) -> None:
    form = _purchase(product_id)
    month, typed = st.session_state.purchase_from, st.session_state[f"{form}_unit_price"]

    def action(conn: Connection, **given: Any) -> int:
        price = money.parse(typed, decimals=4, field="unit_price")
        return prices.set_purchase_price(conn, product_id, unit_price=price, **given)

    saved = forms.save(
        form, action, valid_from=month, request_key=request_key,
        success=f"The purchase price is saved and rules from {ui.month(month)}.",
    )  # fmt: skip
    if saved:
        forms.fill(form, {"unit_price": ""})


def _chosen(ids: list[int]) -> None:
    cells = st.session_state.catalogue.selection.cells
    if cells:
        st.session_state.product = ids[cells[0][0]]


# ---------------------------------------------------------------------------------- the catalogue


def draw_catalogue(catalogue: list[Product], *, today: date, currency: str) -> None:
    """All products in a table; a click opens one below."""
    month = clock.month_of(today)
    with session.reading() as conn:
        ruling = {product.id: prices.version_in(conn, product.id, month=month) for product in catalogue}
    rows = []
    for product in catalogue:
        version = ruling[product.id]
        rows.append(
            {
                "product": product.name_en,
                "kind": products.KINDS[product.kind],
                "measure": products.MEASURES[product.measure],
                "article": product.article_number or ui.NOTHING,
                "price": prices.described(version.tiers) if version else "No price",
                "sale": ["On sale" if product.on_sale else "Withdrawn"],
            }
        )
    columns = {
        "product": ui.text_column("Product", width="medium", pinned=True),
        "kind": ui.text_column("Kind"),
        "measure": ui.text_column("A month is measured by", width=220),
        "article": ui.text_column("Article no."),
        "price": ui.text_column(f"List price in {ui.month(month)} ({currency})", width=350),
        "sale": st.column_config.MultiselectColumn(
            "State", options=["On sale", "Withdrawn"], color=["green", "gray"], width=95
        ),
    }
    ui.table(
        rows,
        columns,
        key="catalogue",
        alt="Products with their list price",
        on_select=lambda: _chosen([product.id for product in catalogue]),
        selection_mode="single-cell",
    )


# ---------------------------------------------------------------------------------- one product


def draw_selling(product: Product, *, first_open: date, today: date, currency: str) -> None:
    """The list price: its versions, and a new one from a month on."""
    with session.reading() as conn:
        versions = prices.versions(conn, product.id)
    price_versions.history(versions, first_open=first_open, user=user, key="list")
    if not user.may(Permission.EDIT_PRICES):
        return
    editor = f"list_{product.id}"
    with st.container(border=True, width=FORM_WIDTH):
        st.markdown("**New list price**")
        valid_from = price_versions.from_month("list_from", first_open=first_open, today=today)
        ruling = price_versions.tiers_in(versions, valid_from)
        entered = tier_editor.draw(editor, ruling, currency=currency)
        price_versions.review_button(product, entered, valid_from, ruling=ruling, currency=currency, editor=editor)


def draw_individual(product: Product, *, first_open: date, today: date, currency: str) -> None:
    """Prices that single customers have: all of them, or those of the customer that was picked."""
    customer = pick_customer()
    if customer is None:
        _all_individual(product, currency)
        return
    with session.reading() as conn:
        found = prices.versions(conn, product.id, customer_id=customer.id)
    price_versions.history(found, first_open=first_open, user=user, key="individual")
    if not user.may(Permission.EDIT_PRICES):
        return
    editor = f"individual_{product.id}_{customer.id}"
    with st.container(border=True, width=FORM_WIDTH):
        st.markdown(f"**New price for {session.escaped(customer.name)}**")
        valid_from = price_versions.from_month("individual_from", first_open=first_open, today=today)
        with session.reading() as conn:
            ruling = prices.version_in(conn, product.id, month=valid_from, customer_id=customer.id)
        entered = tier_editor.draw(editor, ruling.tiers if ruling else [], currency=currency)
        _individual_buttons(product, customer, entered, valid_from, editor, has_own=bool(found and found[0].tiers))


def _individual_buttons(
    product: Product,
    customer: customer_lists.Found,
    entered: tier_editor.Entered,
    valid_from: date,
    editor: str,
    *,
    has_own: bool,
) -> None:
    shared = {"valid_from": valid_from, "editor": editor}
    with st.container(horizontal=True):
        st.button(
            f"Save from {ui.month(valid_from)}",
            key=f"{editor}_save",
            type="primary",
            disabled=entered.tiers is None,
            on_click=price_versions.new_individual,
            args=(product, customer.id, customer.name),
            kwargs=shared | {"tiers": entered.tiers},
        )
        if has_own:
            st.button(
                f"Return to list price from {ui.month(valid_from)}",
                key=f"{editor}_return",
                on_click=price_versions.new_individual,
                args=(product, customer.id, customer.name),
                kwargs=shared | {"tiers": []},
            )
        st.button(
            "Discard changes", key=f"{editor}_discard", type="tertiary", on_click=tier_editor.reset, args=(editor,)
        )


def pick_customer() -> customer_lists.Found | None:
    """Find a customer by typing; the database answers with the first twenty."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Find a customer",
            key="customer_search",
            type="search",
            live="300ms",
            placeholder="Name, number or e-mail",
            width=280,
        )
        with session.reading() as conn:
            found = customer_lists.find(conn, search or "", limit=20)
        names = {customer.id: f"{customer.number} {customer.name}" for customer in found}
        chosen = st.selectbox(
            "Customer",
            list(names),
            index=None,
            format_func=lambda key: names[key],
            key="customer",
            placeholder="All customers",
            width=340,
        )
    return next((customer for customer in found if customer.id == chosen), None)


def _all_individual(product: Product, currency: str) -> None:
    wanted = st.session_state.get(f"individual_page_{product.id}") or 1
    with session.reading() as conn:
        found, total = prices.individual_versions(conn, product.id, page=wanted)
    pages = max(1, -(-total // prices.PAGE))
    page = min(wanted, pages)
    if not found:
        ui.empty("No customer has a price of their own for this product.", icon=":material/person:")
        return
    rows = [
        {
            "customer": version.customer,
            "valid": price_versions.span(version),
            "price": prices.described(version.tiers) if version.tiers else "List price",
        }
        for version in found
    ]
    columns = {
        "customer": ui.text_column("Customer", width="medium"),
        "valid": ui.text_column("Valid", width="medium"),
        "price": ui.text_column(f"Price ({currency})", width="large"),
    }
    ui.table(rows, columns, key=f"individual_table_{page}", alt="Customers with a price of their own")
    if pages > 1:
        st.pagination(pages, key=f"individual_page_{product.id}")


def draw_purchase(product: Product, *, first_open: date, today: date, currency: str) -> None:
    """What a unit costs us: the versions, and a new one for admins."""
    with session.reading() as conn:
        found = prices.purchase_versions(conn, product.id, user=user)
    if found:
        st.table(
            [
                {
                    "Valid": f"from {ui.month(version.valid_from)}",
                    f"Purchase price ({currency})": prices.price_shown(version.unit_price),
                    "Saved by": session.escaped(f"{version.recorded_by}, {ui.day(version.recorded_at.date())}"),
                }
                for version in found
            ],
            border="horizontal",
            alt="Purchase prices, the newest first",
        )
    else:
        ui.empty("No purchase price: this product is our own, or nobody entered one.", icon=":material/shopping_cart:")
    if not user.may(Permission.EDIT_PURCHASE_PRICES):
        return
    for version in found:
        month = ui.month(version.valid_from)
        if version.valid_from >= first_open and st.button(
            f"Withdraw {month}", key=f"purchase_withdraw_{version.id}", icon=":material/undo:", type="tertiary"
        ):
            ui.confirm(
                f"Withdraw the purchase price from {month}?", "The one before it goes on.", "Withdraw purchase price",
                prices.withdraw_purchase_price, version.id, success=f"The purchase price from {month} is withdrawn.",
            )  # fmt: skip
    with st.container(border=True, width=FORM_WIDTH):
        st.markdown("**New purchase price**")
        with st.container(horizontal=True, vertical_alignment="top"):
            with st.container(width=220):
                price_versions.from_month("purchase_from", first_open=first_open, today=today)
            with st.container(width=220):
                typed = forms.text(_purchase(product.id), "unit_price", f"Unit price ({currency})")
                problem = _unreadable(typed)
                forms.problem(problem)
        st.button(
            "Save purchase price",
            key="purchase_save",
            type="primary",
            disabled=bool(problem),
            on_click=_add_purchase_price,
            args=(product.id, forms.request_key(_purchase(product.id))),
        )


def _unreadable(typed: str) -> str:
    """Why a typed price can't be read; empty where it can, or where nothing is typed yet."""
    try:
        money.parse(typed, decimals=4)
    except Invalid as refusal:
        return str(refusal) if typed.strip() else ""
    return ""


# ---------------------------------------------------------------------------------- the page


def draw() -> None:
    """The catalogue, and below it the product that was opened."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Prices", anchor=False)
        st.space("stretch")
        adding = user.may(Permission.EDIT_PRODUCTS) and st.button(
            "Add product", key="product_add", icon=":material/add:"
        )
    with session.reading() as conn:
        company = settings.company(conn)
        first_open = periods.open_month(conn)
        catalogue = products.catalogue(conn)
        today = clock.today(conn)
    if adding:
        product_form.open_drawer(None)
    if first_open is None:
        st.warning(periods.NOT_SET_UP, icon=":material/event:")
    if not catalogue:
        ui.empty("No product yet. An admin adds the first one.", icon=":material/sell:")
        return
    draw_catalogue(catalogue, today=today, currency=company.currency)
    names = {product.id: product.name_en for product in catalogue}
    chosen = st.selectbox(
        "Product",
        list(names),
        format_func=lambda key: names.get(key, ""),
        key="product",
        bind="query-params",
        width=420,
    )
    product = next(product for product in catalogue if product.id == chosen)
    if first_open is None:
        product_form.facts(product, user=user, currency=company.currency)
        return
    shared: dict[str, Any] = {"first_open": first_open, "today": today, "currency": company.currency}
    draws: dict[str, Callable[[], None]] = {
        "Selling price": lambda: draw_selling(product, **shared),
        "Individual prices": lambda: draw_individual(product, **shared),
        "Purchase price": lambda: draw_purchase(product, **shared),
        "Product": lambda: product_form.facts(product, user=user, currency=company.currency),
    }
    if not user.may(Permission.SEE_PURCHASE_PRICES):
        del draws["Purchase price"]
    tabs.draw(draws, key="section", typed_into=TYPED_INTO, of=product.id)


draw()
