"""Settings → VAT rates: the German standard and reduced rate by date."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib import money, vat_rates
from lib.db import Connection
from lib.errors import Invalid
from lib.vat_rates import KINDS, VatRate
from pages.shared import forms, session, ui

VAT = "vat"
EMPTY = {"treatment": "standard", "valid_from": None, "rate": ""}


def draw() -> None:
    """Both rates, the newest first, and a form for a new one."""
    with session.reading() as conn:
        rates = vat_rates.rates(conn)
    st.caption(
        "A line of a document has the rate of the day on which its service ends. Which of the two, or whether it is "
        "exempt, is said by the product under *Prices*."
    )
    for column, (kind, name) in zip(st.columns(2), KINDS.items(), strict=True):
        with column:
            _draw_kind(name, [rate for rate in rates if rate.treatment == kind])
    forms.begin(VAT, EMPTY)
    with st.form("vat_form"):
        left, middle, right = st.columns(3)
        with left:
            forms.choice(VAT, "treatment", "Kind of rate", KINDS, lambda kind: KINDS[kind])
        with middle:
            st.date_input("First day of the rate", key=f"{VAT}_valid_from", format="DD.MM.YYYY", value=None)
            forms.error(VAT, "valid_from")
        with right:
            forms.text(VAT, "rate", "Rate in percent", placeholder="19")
        st.form_submit_button("Save rate", key="vat_save", type="primary", on_click=_set)


def _draw_kind(name: str, rates: Sequence[VatRate]) -> None:
    st.subheader(f"{name} rate", anchor=False)
    if not rates:
        ui.empty(f"There is none: what is taxed at the {name.lower()} rate can't be issued.")
        return
    rows = [
        {
            "Valid": f"from {ui.day(rate.valid_from)}",
            "Rate": f"{ui.money(rate.rate)} %",
            "State": "Rules closed months: stays" if rate.closed else "Can be changed",
        }
        for rate in rates
    ]
    st.table(rows, border="horizontal", alt=f"{name} VAT rates, the newest first")
    with st.container(horizontal=True):
        for rate in rates:
            kind = "" if rate.treatment == "standard" else f"{rate.treatment}_"
            button = f"vat_remove_{kind}{rate.valid_from}"
            if not rate.closed and st.button(f"Remove {ui.day(rate.valid_from)}", key=button, type="tertiary"):
                ui.confirm(
                    f"Remove the {name.lower()} rate from {ui.day(rate.valid_from)}?",
                    "The rate before it goes on. Documents already issued keep theirs.",
                    "Remove rate",
                    vat_rates.remove_rate,
                    valid_from=rate.valid_from,
                    treatment=rate.treatment,
                    success=f"The {name.lower()} rate from {ui.day(rate.valid_from)} is removed.",
                )


def _set() -> None:
    typed = forms.typed(VAT, EMPTY)
    day = typed["valid_from"]

    def action(conn: Connection, **given: Any) -> None:
        if day is None:
            raise Invalid("Choose the first day of the rate.", field="valid_from")
        rate = money.parse(typed["rate"], field="rate")
        vat_rates.set_rate(conn, valid_from=day, rate=rate, treatment=typed["treatment"], **given)

    if forms.save(VAT, action, success=f"The {KINDS[typed['treatment']].lower()} rate rules from {ui.day(day)}."):
        forms.fill(VAT, EMPTY)
