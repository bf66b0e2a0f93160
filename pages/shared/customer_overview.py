"""The Overview tab: the contract, the licence, what is booked today and what is booked for later (rows N4, N5)."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib import bookings, clock, customer_fields, prices, products, project_keys
from lib.auth import Permission
from lib.bookings import Booking
from lib.products import Product
from lib.project_keys import ProjectKey
from pages.shared import customer_bookings, customer_data, customer_pending, ip_distribution, session, ui
from pages.shared.customer_view import View


def draw(view: View) -> None:
    """Contract and licence side by side, below them what is booked."""
    with session.reading() as conn:
        catalogue = products.catalogue(conn)
        standing = bookings.standing(conn, view.customer.id)
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        _contract(view)
    with right.container(border=True, height="stretch"):
        _licence(view, catalogue, standing)
    _booked(view, catalogue, standing)
    customer_pending.draw(view, {product.id: product for product in catalogue}, standing)


def _heading(title: str, button: str | None, key: str) -> bool:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False)
        st.space("stretch")
        return button is not None and st.button(button, key=key, icon=":material/edit:", type="tertiary")


def _contract(view: View) -> None:
    customer = view.customer
    if _heading("Contract", "Edit" if view.may_edit else None, "contract_edit"):
        customer_data.open_contract(view)
    ui.facts(
        {
            "Billed from": ui.day(customer.billed_from) if customer.billed else "Not billed: a test",
            "Last charged day" if customer.billed else "Last day of the test": ui.day(customer.ends_on),
            "Service mode": customer_fields.SERVICE_MODES[customer.service_mode],
            "Payment method": customer_fields.PAYMENT_METHODS[customer.payment_method],
            "Days to pay": "As in the settings" if customer.payment_days is None else str(customer.payment_days),
            "Purchase-order reference": customer.purchase_order,
            "Language of documents": customer_fields.LANGUAGES[customer.language],
        },
        alt="Contract",
    )


def _licence(view: View, catalogue: Sequence[Product], standing: Sequence[Booking]) -> None:
    customer = view.customer
    if _heading("Licence", "Edit" if view.may_edit else None, "licence_edit"):
        customer_data.open_licence(view)
    users = next((product for product in catalogue if product.kind == "users"), None)
    ips = next((product for product in catalogue if product.kind == "ips"), None)
    most = ui.number(customer.max_users) if customer.max_users is not None else "No maximum"
    facts = {"Maximum of licensed users": most}
    if customer.max_users is not None:
        facts["Users beyond it"] = "May be created" if customer.users_beyond_max else "Refused"
    if users:
        facts["Licensed users today"] = f"{customer_bookings.held_on(standing, users.id, view.today).quantity:,}"
    if ips:
        held = customer_bookings.held_on(standing, ips.id, view.today)
        if (key := _key(view)) is not None:
            facts["Project key"] = _told(view, key)
        facts["IPs today"] = f"{held.quantity:,}: {held.internal or 0:,} internal, {held.external or 0:,} external"
    ui.facts(facts, alt="Licence")
    if not view.may_edit:
        return
    with st.container(horizontal=True):
        for product, icon in ((users, "group"), (ips, "lan")):
            if product and st.button(
                f"Change {'users' if product.kind == 'users' else 'IPs'}",
                key=f"change_{product.kind}", icon=f":material/{icon}:",
            ):  # fmt: skip
                held = customer_bookings.held_on(standing, product.id, view.today)
                opened = ip_distribution.open_dialog if product.kind == "ips" else customer_bookings.open_users
                opened(view, product, held)


def _booked(view: View, catalogue: Sequence[Product], standing: Sequence[Booking]) -> None:
    """What the customer has today, with the price of the month."""
    today = {
        product.id: next((b for b in standing if b.product_id == product.id and b.effective_on <= view.today), None)
        for product in catalogue
    }
    active = [product for product in catalogue if (booking := today[product.id]) and booking.quantity]
    switches = [product for product in catalogue if not product.counted]
    offered = [product for product in switches if product not in active and product.on_sale]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Booked today", anchor=False)
        st.space("stretch")
        if view.may_edit and offered and st.button("Add option, module or plan", key="book", icon=":material/add:"):
            customer_bookings.open_start(view, offered)
        ending = [product for product in active if not product.counted]
        if view.may_edit and ending:
            _end_menu(view, ending)
    if not active:
        ui.empty("Nothing is booked today.")
        return
    ui.table(
        [_row(view, product, today[product.id]) for product in active],
        {
            "product": ui.text_column("Product", width=190, pinned=True),
            "kind": ui.text_column("Kind", width=110),
            "quantity": ui.figure_column("Quantity", width=80),
            "since": ui.figure_column("Since", width=95),
            "price": ui.text_column(f"Price in {ui.month(view.today)} ({view.currency})", width=430),
        },
        key="booked_table",
        alt="What is booked today",
    )


def _end_menu(view: View, ending: Sequence[Product]) -> None:
    names = {product.id: product for product in ending}
    chosen = st.menu_button(
        "End …", list(names), key="book_end", icon=":material/event_busy:",
        format_func=lambda one: ui.escaped(names[one].name_en) if one in names else "",
    )  # fmt: skip
    if chosen is not None:
        customer_bookings.open_end(view, names[chosen])


def _key(view: View) -> ProjectKey | None:
    """The project key that runs or is to; nothing else is asked for where there is none."""
    if view.booked.key_until is None:
        return None
    with session.reading() as conn:
        found = project_keys.of_customer(conn, view.customer.id, today=view.today)
    return next((key for key in found if key.state in ("in_force", "planned")), None)


def _told(view: View, key: ProjectKey) -> str:
    """The key in words; to who may see what it costs us, also what it leaves."""
    each = "a month" if key.charging == "monthly" else "once"
    told = f"{key.masked}: {key.ips:,} IPs, {ui.day(key.from_day)} – {ui.day(key.last_day)}, "
    told += f"{ui.money(key.selling_price)} {view.currency} {each}"
    if view.user.may(Permission.SEE_PURCHASE_PRICES):
        told += f". It cost us {ui.money(key.purchase_price)}"
    return told


def _row(view: View, product: Product, booking: Booking | None) -> dict[str, Any]:
    assert booking is not None
    key = _key(view) if booking.project_key_id is not None else None
    with session.reading() as conn:
        price = prices.version_in(conn, product.id, month=clock.month_of(view.today), customer_id=view.customer.id)
    own = "individual: " if price and price.customer_id else ""
    return {
        "product": product.name_en,
        "kind": products.KINDS[product.kind],
        "quantity": f"{booking.quantity:,}" if product.counted else "on",
        "since": ui.day(booking.effective_on),
        "price": project_keys.described(key)
        if key is not None
        else own + prices.described(price.tiers)
        if price
        else "no price",
    }
