"""What a new company still has to enter before its first invoice."""

from datetime import date

import streamlit as st

from lib import periods, prices, products, vat_rates
from lib.settings import Company
from pages.shared import session


def draw(company: Company, today: date) -> None:
    """What a legal invoice still lacks, and what else the first one needs; nothing once all is there."""
    with session.reading() as conn:
        month = periods.open_month(conn)
        rated = any(rate.valid_from <= today for rate in vat_rates.rates(conn) if rate.treatment == "standard")
        catalogue = products.catalogue(conn)
        priced = any(prices.versions(conn, product.id) for product in catalogue)
    seller = [(f"{label} (§ 14 (4) UStG)", given) for label, given in company.required.items()]
    others = [
        ("First booking month", month is not None),
        ("VAT rate for today", rated),
        ("A product with a selling price (page Prices)", priced),
    ]
    lacking = [(label, given) for label, given in seller + others if not given]
    if not lacking:
        return
    with st.container(border=True):
        st.markdown(f"**Before the first invoice: {len(lacking)} of {len(seller + others)} still missing**")
        with st.grid(2, gap="xsmall", min_column_width=280):
            for label, given in seller + others:
                mark = ":green[:material/check_circle: Done]" if given else ":red[:material/cancel: Missing]"
                st.markdown(f"{mark}: {label}")
