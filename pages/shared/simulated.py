"""The panel that explains a customer's simulated month: its lines by product, and at which price (rows B2, B4)."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

import streamlit as st

from lib import adjustments, prices, products, simulations
from lib.billing import Line
from lib.products import Product
from lib.simulations import Compared, Scenario
from pages.shared import explain, session, ui

# The id of the price list that was typed in, which no stored price has (`quotes.PROPOSED_PRICE`).
TYPED_IN = -1


@st.dialog(explain.LABEL, width="medium", position="right", icon=":material/calculate:")
def panel(scenario: Scenario, asked: Compared, currency: str) -> None:
    """Open the panel for one customer of the simulation."""
    with session.reading() as conn:
        lines = simulations.lines_of(conn, scenario, asked.id)
        known = {product.id: product for product in products.catalogue(conn)}
        added = [one for one in adjustments.adjustments_of(conn, asked.id) if one.month == scenario.month]
    st.markdown(f"**{ui.escaped(asked.name)}**  \n{ui.month(scenario.month)}, simulated")
    st.metric(f"Net amount ({currency})", ui.money(asked.after))
    for said in what_if(scenario, known):
        st.caption(f":material/science: {ui.escaped(said)}")
    if not lines and not added:
        ui.empty(f"Nothing is charged in {ui.month(scenario.month)}.")
    for product_id, found in groupby(lines, attrgetter("product_id")):
        _product(known[product_id], list(found), scenario, asked.id)
    for one in added:
        st.markdown(f"**Adjustment**: {ui.escaped(one.text)}, {ui.money(one.amount)}")
    st.page_link(
        "customer.py", label="Open the customer", icon=":material/open_in_new:", query_params={"id": str(asked.id)}
    )


def what_if(scenario: Scenario, known: dict[int, Product]) -> list[str]:
    """What is different from what is booked and priced, a sentence each."""
    said = []
    if scenario.price is not None:
        name = known[scenario.price.product_id].name_en
        said.append(f"{name} at another list price: {prices.described(scenario.price.tiers)}.")
    if scenario.quantity is not None:
        asked, name = scenario.quantity, known[scenario.quantity.product_id].name_en
        other = f"{asked.quantity:,}" if asked.quantity is not None else f"{asked.percent:+} %"
        said.append(f"Another quantity of {name}: {other}.")
    return said or ["As it is booked and priced today."]


def _product(product: Product, lines: Sequence[Line], scenario: Scenario, customer_id: int) -> None:
    amounts = [line.amount for line in lines if line.amount is not None]
    total = sum(amounts, Decimal("0.00")) if len(amounts) == len(lines) else None
    st.markdown(f"**{ui.escaped(product.name_en)}**")
    explain.lines_table(lines, total, key=f"simulated_{product.id}")
    if any(line.project_key_id is None for line in lines):
        st.caption(ui.escaped(_price(product, lines, scenario, customer_id)))


def _price(product: Product, lines: Sequence[Line], scenario: Scenario, customer_id: int) -> str:
    if any(line.price_id == TYPED_IN for line in lines):
        return "At the price list that was typed in."
    with session.reading() as conn:
        ruling = prices.version_in(conn, product.id, month=scenario.month, customer_id=customer_id)
    if ruling is None:
        return f"No price is valid in {ui.month(scenario.month)}."
    kind = "Individual price" if ruling.customer_id is not None else "List price"
    return f"{kind} from {ui.month(ruling.valid_from)}: {prices.described(ruling.tiers)}"
