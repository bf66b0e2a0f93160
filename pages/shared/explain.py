"""The panel that explains one amount: its lines, their parts, the price and the bookings behind it (row N11)."""

from datetime import date

import streamlit as st

from lib import explanations, prices, products
from lib.errors import NotFound
from lib.explanations import Explanation
from pages.shared import session, ui


@st.dialog("What this amount rests on", width="medium", position="right", icon=":material/calculate:")
def panel(customer_id: int, product_id: int, month: date, currency: str) -> None:
    """Open the panel for the charge of one customer, product and month."""
    try:
        with session.reading() as conn:
            found = explanations.explanation(conn, customer_id, product_id, month=month)
    except NotFound as missing:
        st.info(str(missing))
        return
    _head(found, currency)
    if found.product.kind == "adjustment":
        _adjustments(found)
        return
    _lines(found)
    _price(found, currency)
    _bookings(found)
    _parts(found)


def _head(found: Explanation, currency: str) -> None:
    st.markdown(
        f"**{ui.escaped(found.customer.name)}**  \n{ui.escaped(found.product.name_en)}, {ui.month(found.month)}"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        ui.badge("final" if found.final else "forecast")
        if found.amount is None:
            st.badge("No price", color="red")
    st.metric(f"Net amount ({currency})", ui.money(found.amount))
    if found.product.kind != "adjustment":
        values = {
            "Measured by": products.MEASURES[found.product.measure],
            "Start of the month": ui.number(found.start),
            "Changes": changes(found.changes) or "none",
            "End of the month": ui.number(found.end),
        }
        ui.facts(values, alt="How the month was measured")
    st.page_link(
        "customer.py",
        label="Open the customer",
        icon=":material/open_in_new:",
        query_params={"id": str(found.customer.id)},
    )


def _lines(found: Explanation) -> None:
    st.markdown("**Lines**, each rounded once")
    if not found.lines:
        ui.empty("No day of the month counts: there is nothing to charge.")
        return
    ui.table(
        [
            {
                "line": f"{line.quantity:,} for {line.days} of {line.month_days} days"
                if line.prorated
                else f"{_range(line.first_unit, line.last_unit)} of {line.quantity:,}",
                "days": _stretch(line.from_day, line.until_day),
                "units": ui.number(line.units),
                "price": prices.price_shown(line.unit_price) if line.unit_price is not None else ui.NOTHING,
                "amount": ui.money(line.amount),
            }
            for line in found.lines
        ],
        {
            "line": ui.text_column("Line"),
            "days": ui.text_column("Days"),
            "units": ui.figure_column("Units"),
            "price": ui.figure_column("Unit price"),
            "amount": ui.figure_column("Amount"),
        },
        key="explain_lines",
        alt="The lines that the amount is the sum of",
    )


def _price(found: Explanation, currency: str) -> None:
    if found.price is None:
        st.warning(
            f"No price is valid in {ui.month(found.month)}, so nothing can be charged. Set one under Prices.",
            icon=":material/sell:",
        )
        return
    kind = "Individual price" if found.price.customer_id is not None else "List price"
    st.markdown(f"**{kind}** in {currency}, valid from {ui.month(found.price.valid_from)}")
    st.caption(ui.escaped(prices.described(found.price.tiers)))


def _bookings(found: Explanation) -> None:
    st.markdown("**Bookings**")
    ui.table(
        [
            {
                "from": ui.day(booking.effective_on),
                "quantity": ui.number(booking.quantity),
                "split": ui.NOTHING
                if booking.internal is None
                else f"{booking.internal:,} internal, {booking.external or 0:,} external",
                "by": booking.recorded_by,
            }
            for booking in found.bookings
        ],
        {
            "from": ui.text_column("From"),
            "quantity": ui.figure_column("Quantity"),
            **({"split": ui.text_column("Split")} if found.product.kind == "ips" else {}),
            "by": ui.text_column("Recorded by"),
        },
        key="explain_bookings",
        alt="The bookings that rule the month",
    )


def _parts(found: Explanation) -> None:
    if not found.parts or all(line.unit_price is not None for line in found.lines):
        return  # the lines already say all of it
    with st.expander("Exact parts, before rounding"):
        ui.table(
            [
                {
                    "days": f"{_stretch(part.from_day, part.until_day)} ({part.days}/{part.month_days})",
                    "range": _range(part.first_unit, part.last_unit),
                    "units": ui.number(part.units),
                    "price": ui.NOTHING if part.unit_price is None else prices.price_shown(part.unit_price),
                    "amount": ui.NOTHING if part.amount is None else f"{part.amount:,.6f}",
                }
                for part in found.parts
            ],
            {
                "days": ui.text_column("Days"),
                "range": ui.text_column("Range"),
                "units": ui.figure_column("Units"),
                "price": ui.figure_column("Unit price"),
                "amount": ui.figure_column("Exact amount"),
            },
            key="explain_parts",
            alt="Units times unit price times share of the month",
        )


def _adjustments(found: Explanation) -> None:
    st.markdown("**Adjustments**")
    for entry in found.adjustments:
        values = {
            "Text": entry.text,
            "Net amount": ui.money(entry.amount),
            "Month meant": ui.month(entry.month_meant),
            "Reason": entry.reason,
            "Recorded": f"{ui.day(entry.recorded_at)}, {entry.recorded_by}",
        }
        ui.facts(values, alt=f"Adjustment {entry.id}")


def changes(stored: str) -> str:
    """2026-06-16 +100 as 16 Jun +100."""
    moves = (move.split(" ") for move in stored.split("; ") if move)
    return ", ".join(f"{date.fromisoformat(day):%-d %b} {step.replace('-', '−')}" for day, step in moves)


def _range(first: int | None, last: int | None) -> str:
    if first is None:
        return ui.NOTHING
    return f"{first:,}–{last:,}" if last else f"From {first:,}"


def _stretch(first: date, until: date) -> str:
    last = date.fromordinal(until.toordinal() - 1)
    return f"{first:%-d}–{last:%-d %b}" if first != last else f"{first:%-d %b}"
