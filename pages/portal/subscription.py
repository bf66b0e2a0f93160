"""What the own company has booked today, with its prices; in self-service its users change the IPs (row G2)."""

from typing import Any

import streamlit as st

from lib import portal, prices, products, self_service
from lib.portal import Booked
from pages.portal.shared import ips, session
from pages.shared import ui

user = session.require_user()


def draw(found: list[Booked], currency: str) -> None:
    """A row for each product that is booked."""
    st.subheader("Booked today", anchor=False)
    if not found:
        ui.empty("Nothing is booked today.")
        return
    st.caption(f"On {ui.day(today)}. Prices are net, for a month, in {currency}.")
    ui.table(
        [_row(booked) for booked in found],
        {
            "product": ui.text_column("Product", width=200, pinned=True),
            "article": ui.text_column("Article", width=100),
            "kind": ui.text_column("Kind", width=120),
            "quantity": ui.figure_column("Quantity", width=90),
            "since": ui.figure_column("Since", width=110),
            "price": ui.text_column(f"Price ({currency})", width=430),
            "next": ui.text_column("Changes", width=190),
        },
        key="subscription_table",
        alt="What is booked today, with its price",
    )


def _row(booked: Booked) -> dict[str, Any]:
    own = "your price: " if booked.individual else ""
    upcoming = "ends" if not booked.changes_to else ui.number(booked.changes_to)
    return {
        "product": booked.name,
        "article": booked.article or None,
        "kind": products.KINDS[booked.kind],
        "quantity": ui.number(booked.quantity) if booked.counted else "on",
        "since": ui.day(booked.since),
        "price": booked.by_key or (own + prices.described(booked.tiers) if booked.tiers else ui.NOTHING),
        "next": f"{upcoming} from {ui.day(booked.changes_on)}" if booked.changes_on else None,
    }


today = session.today()
with session.reading() as connection:
    booked_today = portal.subscription(connection, user=user, today=today)
    own_ips = self_service.ips(connection, user=user, today=today)
    unit = portal.currency(connection)
st.title("Subscription", anchor=False)
if own_ips is not None and (own_ips.held.quantity or own_ips.pending or user.self_service):
    ips.draw(user, own_ips, today=today, currency=unit)
draw(booked_today, unit)
