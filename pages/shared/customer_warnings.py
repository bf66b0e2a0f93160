"""What there is to warn of at a customer: quotas and the licence (row D3)."""

import streamlit as st

from lib import quota_warnings, quotas
from lib.quota_warnings import Warned
from pages.shared import session, ui
from pages.shared.customer_view import View


def draw(view: View) -> None:
    """All warnings in one box; nothing where there are none."""
    with session.reading() as conn:
        found = quota_warnings.warnings_of(conn, view.customer.id, today=view.today)
    if not found:
        return
    serious = any(one.level in ("reached", "ended") for one in found)
    text = "  \n".join(told(one) for one in found)
    (st.error if serious else st.warning)(text, icon=":material/data_usage:")


def told(warned: Warned) -> str:
    """A warning as a sentence of markdown."""
    if warned.about == "licence":
        verb = "expired" if warned.level == "ended" else "expires"
        return f"**Licence**: it {verb} on {ui.day(warned.day)}. That ends nothing; renew it or change the day."
    name = quotas.KINDS[warned.about]
    if warned.used is not None and warned.amount is not None:
        unit = quotas.UNITS[warned.about]
        share = ui.percent(warned.used / warned.amount)
        return f"**{name}**: {ui.amount(warned.used)} of {ui.amount(warned.amount)} {unit} are used, {share}."
    verb = "ended" if warned.level == "ended" else "ends"
    return f"**{name}**: the quota {verb} on {ui.day(warned.day)}, and no other follows."
