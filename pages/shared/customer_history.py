"""The History tab: users over time, every change with its effect in money, and prepaid periods (rows N8, G6, S5)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import streamlit as st

from lib import bookings, clock, products, terms, timelines
from lib.bookings import Booking, Holding
from lib.products import Product
from lib.terms import CYCLES, Term
from lib.timelines import Change
from pages.shared import customer_bookings, customer_pending, figures, session, ui
from pages.shared.customer_view import View, not_charged

MONTHS = 24


def draw(view: View) -> None:
    """What is to come and can be taken back, the chart of users, then every change, the latest first."""
    if not_charged(view, "User history"):
        return
    with session.reading() as conn:
        catalogue = {product.id: product for product in products.catalogue(conn)}
        standing = bookings.standing(conn, view.customer.id)
        changes = timelines.changes(conn, view.customer.id, today=view.today)
        periods = [term for term in terms.terms_of(conn, view.customer.id) if term.state != "void"]
    customer_pending.draw(view, catalogue, standing)
    users = next((product for product in catalogue.values() if product.kind == "users"), None)
    if users is not None:
        _chart(view, users, [booking for booking in standing if booking.product_id == users.id])
    st.subheader("Timeline", anchor=False)
    if changes:
        _table(view, catalogue, changes)
    else:
        ui.empty("Nothing was ever booked." if not periods else "Nothing is charged by the month.")
    if periods:
        _periods(view, periods)


def _chart(view: View, users: Product, booked: Sequence[Booking]) -> None:
    st.subheader("Licensed users", anchor=False)
    if not booked:
        ui.empty("No users were ever booked.")
        return
    first = clock.next_month(clock.month_of(view.today), by=1 - MONTHS)
    days: list[date] = [max(first, min(booking.effective_on for booking in booked))]
    days += sorted(booking.effective_on for booking in booked if days[0] < booking.effective_on <= view.today)
    days.append(view.today)
    quantities = [customer_bookings.held_on(booked, users.id, day).quantity for day in days]
    st.plotly_chart(
        figures.steps(days, quantities, y_title=users.name_en), key="users_chart", config=figures.CONFIG,
        alt=f"Licensed users from {ui.day(days[0])} to today, now {quantities[-1]:,}",
    )  # fmt: skip


def _table(view: View, catalogue: dict[int, Product], changes: Sequence[Change]) -> None:
    rows = [
        {
            "day": ui.day(change.effective_on),
            "product": f"{product.name_en} · {change.project_key}" if change.project_key else product.name_en,
            "state": [ui.word(change.state)],
            "before": ui.NOTHING if change.first else _held(product, change.before),
            "after": _held(product, change.after),
            "price_before": ui.charge(change.price_before),
            "price_after": ui.charge(change.price_after),
            "difference": ui.signed(change.difference),
            "by": change.recorded_by,
            "at": ui.moment(change.recorded_at, view.zone),
        }
        for change in changes
        if (product := catalogue.get(change.product_id))
    ]
    whole = "What a whole month of it costs, net, at the price that the customer had then."
    split = "Of IPs in brackets: internal + external."
    columns = {
        "day": ui.figure_column("From", width=92, pinned=True),
        "product": ui.text_column("Product", width=135, help="Of a project key the last characters."),
        "state": ui.state_column("State", ["planned", "in_force", "over"], width=84),
        "before": ui.figure_column("Before", width=118, help=split),
        "after": ui.figure_column("After", width=118, help=split),
        "price_before": ui.figure_column("Month before", width=92, help=whole),
        "price_after": ui.figure_column("Month after", width=88, help=whole),
        "difference": ui.figure_column(f"{view.currency} a month", width=88, help=whole),
        "by": ui.text_column("Booked by", width=88),
        "at": ui.figure_column("Booked at", width=132),
    }
    ui.table(rows, columns, key="history_table", alt="Every change of a quantity, the latest first")
    st.caption(
        "Amounts are of a whole month at the price that the customer had then, net. "
        "IPs in brackets: internal + external."
    )


def _periods(view: View, periods: Sequence[Term]) -> None:
    st.subheader("Paid in advance, free or on test", anchor=False)
    rows = [
        {
            "from": ui.day(term.from_day) if term.from_day else ui.NOTHING,
            "last": ui.day(term.last_day) if term.last_day else ui.NOTHING,
            "product": term.product,
            "cycle": CYCLES[term.cycle],
            "state": [ui.word(term.standing(view.today))],
            "net": ui.money(term.price or Decimal(0)),
            "invoice": term.invoice_number or (ui.word("draft") if term.invoice_id else ui.NOTHING),
        }
        for term in sorted(periods, key=lambda term: (term.from_day or date.max, term.id), reverse=True)
    ]
    columns = {
        "from": ui.figure_column("From", width=92, pinned=True),
        "last": ui.figure_column("Last day", width=92),
        "product": ui.text_column("Product", width=160),
        "cycle": ui.text_column("Period", width=88),
        "state": ui.state_column("State", ["waiting", "planned", "in_force", "over"], width=96),
        "net": ui.figure_column(f"Net ({view.currency})", width=96, help="For the whole period, before credits."),
        "invoice": ui.text_column("Invoice", width=130),
    }
    ui.table(rows, columns, key="periods_table", alt="Periods of plans and modules, the latest first")
    st.caption("A period that waits begins when its invoice is paid in full. Its amount counts in the invoice's month.")


def _held(product: Product, held: Holding) -> str:
    if product.kind == "ips":
        return f"{held.quantity:,} ({held.internal or 0:,} + {held.external or 0:,})"
    return customer_bookings.shown(product, held)
