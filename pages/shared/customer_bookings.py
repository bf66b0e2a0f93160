"""The dialogs that change what a customer has: users, options, modules and a plan (rows N4, S4).

That for IPs is in `ip_distribution.py`.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import bookings, clock, effects
from lib.bookings import NOTHING, Booking, Holding
from lib.db import Connection
from lib.errors import Invalid
from lib.products import Product
from pages.shared import customer_form, later_changes, numbers, session, ui
from pages.shared.customer_view import View


def open_users(view: View, product: Product, held: Holding) -> None:
    """Open the dialog for licensed users."""
    st.session_state.book_quantity = str(held.quantity)
    st.session_state.book_from = view.today
    _users(view, product, held, uuid4())


def open_start(view: View, offered: Sequence[Product]) -> None:
    """Open the dialog that books an option, a module or a plan."""
    st.session_state.book_from = view.today
    st.session_state.book_until = None
    _start(view, {product.id: product for product in offered}, uuid4())


def open_end(view: View, product: Product) -> None:
    """Open the dialog that ends an option, a module or a plan."""
    st.session_state.book_last = view.today
    _end(view, product, uuid4())


def book(view: View, product: Product, key: UUID, day: date | None, asked: Callable[[], dict[str, Any]]) -> None:
    """Book what `asked` reads from the inputs; what can't be read is refused at its field."""
    keep = later_changes.kept()

    def action(conn: Connection, **given: Any) -> None:
        quantities = asked()
        if day is None:
            raise Invalid("Choose a day.", field="effective_on")
        bookings.book(conn, view.customer.id, product.id, effective_on=day, **quantities, **given)

    session.attempt(
        action,
        keep_pending=keep,
        today=view.today,
        request_key=key,
        success=f"{product.name_en}: the change is booked.",
    )


# ---------------------------------------------------------------------------------- users


@st.dialog("Licensed users", icon=":material/group:")
def _users(view: View, product: Product, held: Holding, key: UUID) -> None:
    session.close_or_explain()
    asked = numbers.whole("Users", key="book_quantity", field="quantity")
    _licence(view)
    _first_day("From")
    _ask_pending(view, product, st.session_state.book_from)
    _whole_month(view, product, held.quantity, asked)
    st.button("Book users", key="book_go", type="primary", on_click=_book_users, args=(view, product, key))


def _book_users(view: View, product: Product, key: UUID) -> None:
    def asked() -> dict[str, Any]:
        return {"quantity": numbers.typed_whole("book_quantity", field="quantity", name="Users")}

    book(view, product, key, st.session_state.book_from, asked)


def _licence(view: View) -> None:
    most = view.customer.max_users
    if most is not None:
        beyond = "more may be booked" if view.customer.users_beyond_max else "more are refused"
        st.caption(f"The licence allows {most:,} users; {beyond}.")


# ---------------------------------------------------------------------------------- on and off


@st.dialog("Add to the contract", icon=":material/add:")
def _start(view: View, offered: dict[int, Product], key: UUID) -> None:
    session.close_or_explain()
    chosen: int = st.selectbox(
        "Option, module or plan", list(offered), key="book_product",
        format_func=lambda one: offered[one].name_en if one in offered else "",
    )  # fmt: skip
    session.field_error("product")
    session.field_error("quantity")
    product = offered[chosen]
    if product.description_en:
        st.caption(ui.escaped(product.description_en))
    _first_day("First day")
    st.date_input("Last day (empty: until it is ended)", value=None, key="book_until", format=customer_form.DAY)
    session.field_error("ends_on")
    _ask_pending(view, product, st.session_state.book_from)
    _whole_month(view, product, 0, 1)
    st.button("Book", key="book_go", type="primary", on_click=_book_start, args=(view, product, key))


def _book_start(view: View, product: Product, key: UUID) -> None:
    until: date | None = st.session_state.book_until
    book(view, product, key, st.session_state.book_from, lambda: {"quantity": 1, "ends_on": until})


@st.dialog("End", icon=":material/event_busy:")
def _end(view: View, product: Product, key: UUID) -> None:
    session.close_or_explain()
    st.markdown(f"**{ui.escaped(product.name_en)}** is charged up to its last day.")
    st.date_input("Last day", value=None, key="book_last", format=customer_form.DAY)
    session.field_error("effective_on")
    session.field_error("quantity")
    last: date | None = st.session_state.book_last
    _ask_pending(view, product, clock.next_day(last or view.today))
    st.button("End it", key="book_go", type="primary", on_click=_book_end, args=(view, product, key))


def _book_end(view: View, product: Product, key: UUID) -> None:
    last: date | None = st.session_state.book_last
    book(view, product, key, last and clock.next_day(last), lambda: {"quantity": 0})


# ---------------------------------------------------------------------------------- what the dialogs share


def _first_day(label: str) -> None:
    st.date_input(label, value=None, key="book_from", format=customer_form.DAY)
    session.field_error("effective_on")


def _ask_pending(view: View, product: Product, day: date | None) -> None:
    """Ask whether changes that are booked for later days stay, where there are any."""
    with session.reading() as conn:
        standing = bookings.standing(conn, view.customer.id, product_id=product.id)
    later_changes.ask(standing[::-1], day or view.today, counted=product.counted)


def _whole_month(view: View, product: Product, before: int, after: int | None) -> None:
    """What a whole month of the quantity costs, now and then, by the customer's price; nothing for no number."""
    if after is None:
        return
    month = clock.month_of(view.today)
    with session.reading() as conn:
        found = effects.whole_months(conn, view.customer.id, product.id, quantities=[before, after], month=month)
    if found is None:
        st.caption(f"There is no price for {ui.escaped(product.name_en)} in {ui.month(month)} yet.")
        return
    now, then = found
    change = f"{ui.money(now.amount)} → **{ui.money(then.amount)}**" if before != after else ui.money(now.amount)
    st.caption(f"A whole month, net in {view.currency}: {change}")


def shown(product: Product, held: Booking | Holding) -> str:
    """A quantity in words."""
    if product.kind == "ips":
        held = Holding(held.quantity, held.internal or 0, held.external or 0)
    return later_changes.shown(held, counted=product.counted)


def held_on(standing: Sequence[Booking], product_id: int, day: date) -> Holding:
    """What a list of standing bookings, the latest first, says for a day."""
    for booking in standing:
        if booking.product_id == product_id and booking.effective_on <= day:
            return Holding(booking.quantity, booking.internal, booking.external)
    return NOTHING
