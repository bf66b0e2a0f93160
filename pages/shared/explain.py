"""The panel that explains one amount: its lines, their parts, the price and the bookings behind it (rows N11, B2)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import streamlit as st

from lib import customers, explanations, prices, products, project_keys, settings, term_amounts
from lib.billing import Line
from lib.errors import NotFound
from lib.explanations import Explanation
from pages.shared import session, ui

LABEL = "How this came about"
# The amount that a click asked about: customer, product (None: all of the month), month; apart, what is prepaid.
ASKED, PREPAID, _CHOSEN = "explain_asked", "explain_prepaid_asked", "explain_product"


def ask(customer_id: int, product_id: int | None, month: date, *, prepaid: bool = False) -> None:
    """For a click: the run that follows opens the panel for this amount."""
    st.session_state[PREPAID if prepaid else ASKED] = (customer_id, product_id, month)


def open_asked(currency: str) -> None:
    """At the end of a page: open the panel that a click asked for, if any."""
    asked = st.session_state.pop(ASKED, None)
    if asked is not None:
        st.session_state.pop(_CHOSEN, None)
        customer_id, product_id, month = asked
        panel(customer_id, product_id, month, currency)
    asked = st.session_state.pop(PREPAID, None)
    if asked is not None:
        customer_id, product_id, month = asked
        _prepaid(customer_id, product_id, month, currency)


@st.dialog(LABEL, width="medium", position="right", icon=":material/calculate:")
def panel(customer_id: int, product_id: int | None, month: date, currency: str) -> None:
    """Open the panel for the charge of one customer, product and month; without a product, for all of its month."""
    chosen = product_id or st.session_state.get(_CHOSEN)
    if chosen is None:
        _month(customer_id, month, currency)
        return
    if product_id is None:
        st.button(
            f"All of {ui.month(month)}", key="explain_back", icon=":material/arrow_back:", type="tertiary",
            on_click=lambda: st.session_state.pop(_CHOSEN, None),
        )  # fmt: skip
    try:
        with session.reading() as conn:
            found = explanations.explanation(conn, customer_id, chosen, month=month)
            zone = settings.company(conn).timezone
    except NotFound as missing:
        st.info(str(missing))
        return
    _head(found, currency)
    if found.product.kind == "adjustment":
        _adjustments(found)
        return
    _lines(found)
    _price(found, currency)
    _bookings(found, zone)
    _parts(found)


def _month(customer_id: int, month: date, currency: str) -> None:
    """What a customer's month is the sum of; a click on a product explains that."""
    with session.reading() as conn:
        customer = customers.customer(conn, customer_id)
        charged = explanations.charges_in(conn, customer_id, month=month)
    st.markdown(f"**{ui.escaped(customer.name)}**  \n{ui.month(month)}")
    if not charged:
        ui.empty(f"Nothing is charged in {ui.month(month)}.")
        return
    total = sum((one.amount or Decimal(0) for one in charged), Decimal("0.00"))
    unpriced = any(one.amount is None for one in charged)
    st.metric(f"{'Net amount so far' if unpriced else 'Net amount'} ({currency})", ui.money(total))
    rows = [{"product": one.product, "amount": ui.charge(one.amount)}
            for one in charged]  # fmt: skip
    rows.append({"product": "Sum", "amount": ui.money(total)})
    chosen = [one.product_id for one in charged]
    ui.table(
        rows,
        {"product": ui.text_column("Product"), "amount": ui.figure_column(f"Net ({currency})", width=130)},
        key="explain_month",
        alt="What the month is the sum of",
        on_select=lambda: _choose(chosen),
        selection_mode="single-cell",
    )
    st.caption("A click on a product says how its amount came about.")


@st.dialog(LABEL, width="medium", position="right", icon=":material/calculate:")
def _prepaid(customer_id: int, product_id: int, month: date, currency: str) -> None:
    """The lines of the advance invoices that were issued in the month, each with its document."""
    with session.reading() as conn:
        customer = customers.customer(conn, customer_id)
        found = [one for one in term_amounts.amounts_of(conn, customer_id, [month]) if one.product_id == product_id]
    if not found:
        st.info("Nothing is prepaid for this product in this month any more. Reload the page.")
        return
    total = sum((one.amount for one in found), Decimal("0.00"))
    st.markdown(f"**{ui.escaped(customer.name)}**  \n{ui.escaped(found[0].product)}, prepaid, {ui.month(month)}")
    st.metric(f"Net amount ({currency})", ui.money(total))
    st.caption(
        "It is invoiced in advance, not charged at the month close, and counts in the month in which its document is "
        "issued; a cancellation counts in its own month."
    )
    rows = [{"document": one.number, "line": one.line, "amount": ui.money(one.amount)} for one in found]
    rows.append({"document": "Sum", "line": "", "amount": ui.money(total)})
    ui.table(
        rows,
        {
            "document": ui.text_column("Document", width=130),
            "line": ui.text_column("Line"),
            "amount": ui.figure_column(f"Net ({currency})", width=110),
        },
        key="explain_prepaid",
        alt="The lines that the amount is the sum of",
    )
    for invoice_id, number in {one.invoice_id: one.number for one in found}.items():
        st.page_link(
            "invoice.py", label=f"Open {number}", icon=":material/receipt:", query_params={"id": str(invoice_id)}
        )


def _choose(product_ids: list[int]) -> None:
    cells = st.session_state.explain_month.selection.cells
    if cells and cells[0][0] < len(product_ids):
        st.session_state[_CHOSEN] = product_ids[cells[0][0]]


def _head(found: Explanation, currency: str) -> None:
    st.markdown(
        f"**{ui.escaped(found.customer.name)}**  \n{ui.escaped(found.product.name_en)}, {ui.month(found.month)}"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        ui.badge(ui.month_state(found.month, final=found.final, today=session.today()))
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
    lines_table(found.lines, found.amount, key="explain_lines")


def lines_table(lines: Sequence[Line], amount: Decimal | None, *, key: str) -> None:
    """The lines of one product with their sum."""
    ui.table(
        [
            {
                "line": f"{'Project key: ' if line.project_key_id else ''}{line.quantity:,} for {line.days} of "
                f"{line.month_days} days"
                if line.prorated
                else f"{_range(line.first_unit, line.last_unit)} of {line.quantity:,}",
                "days": _stretch(line.from_day, line.until_day),
                "units": ui.number(line.units),
                "price": prices.price_shown(line.unit_price) if line.unit_price is not None else ui.NOTHING,
                "amount": ui.money(line.amount),
            }
            for line in lines
        ]
        + [{"line": "Sum", "days": "", "units": "", "price": "", "amount": ui.money(amount)}],
        {
            "line": ui.text_column("Line"),
            "days": ui.text_column("Days"),
            "units": ui.figure_column("Units"),
            "price": ui.figure_column("Unit price"),
            "amount": ui.figure_column("Amount"),
        },
        key=key,
        alt="The lines that the amount is the sum of",
    )


def _price(found: Explanation, currency: str) -> None:
    for key in found.keys:
        st.markdown(f"**Project key {ui.escaped(key.masked)}** in {currency}, for its days instead of the price list")
        st.caption(ui.escaped(project_keys.described(key)))
    if found.lines and all(line.project_key_id is not None for line in found.lines):
        return
    if found.price is None:
        st.warning(
            f"No price is valid in {ui.month(found.month)}, so nothing can be charged. Set one under Prices.",
            icon=":material/sell:",
        )
        return
    kind = "Individual price" if found.price.customer_id is not None else "List price"
    st.markdown(f"**{kind}** in {currency}, valid from {ui.month(found.price.valid_from)}")
    st.caption(ui.escaped(prices.described(found.price.tiers)))


def _bookings(found: Explanation, zone: str) -> None:
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
                "at": ui.moment(booking.recorded_at, zone),
            }
            for booking in found.bookings
        ],
        {
            "from": ui.text_column("From"),
            "quantity": ui.figure_column("Quantity"),
            **({"split": ui.text_column("Split")} if found.product.kind == "ips" else {}),
            "by": ui.text_column("Recorded by"),
            "at": ui.text_column("Recorded at"),
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
                    "range": "Project key" if part.project_key_id else _range(part.first_unit, part.last_unit),
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
    return ", ".join(f"{date.fromisoformat(day):%-d %b} {step}" for day, step in moves)


def _range(first: int | None, last: int | None) -> str:
    if first is None:
        return ui.NOTHING
    return f"{first:,}–{last:,}" if last else f"From {first:,}"


def _stretch(first: date, until: date) -> str:
    last = date.fromordinal(until.toordinal() - 1)
    return f"{first:%-d}–{last:%-d %b}" if first != last else f"{first:%-d %b}"
