"""The editable table of a draft's lines written by hand: text cells, each checked when it is committed.

Nothing that was typed is lost: the table keeps its text until the draft is saved or the edit discarded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd
import streamlit as st

from lib import money, vat
from lib.drafts import DraftLine
from lib.errors import Invalid
from lib.invoices import InvoiceLine
from pages.shared import forms

COLUMNS = {
    "name": "Text",
    "detail": "Detail",
    "quantity": "Quantity",
    "unit": "Unit",
    "unit_price": "Unit price",
    "vat_treatment": "VAT",
    "exempt_reason": "If exempt: why",
}
STANDARD = vat.TREATMENTS["standard"]
_TREATMENTS = {label: name for name, label in vat.TREATMENTS.items()}


@dataclass(frozen=True)
class Entered:
    """What stands in the table: the lines that can be read, and a sentence for each cell that can't."""

    lines: list[DraftLine]
    problems: list[str]


def draw(key: str, stored: Sequence[InvoiceLine], *, currency: str) -> Entered:
    """The table, filled with `stored` when it is opened, and below it the sentences about its cells."""
    # A dynamic table starts over when its input changes; while it is open, a colleague's save must not do that.
    grid = _grid(key)
    if grid not in st.session_state or _start(key) not in st.session_state:
        st.session_state[_start(key)] = as_text(stored)
    typed = st.data_editor(
        pd.DataFrame(st.session_state[_start(key)], columns=list(COLUMNS), dtype="str"),
        key=grid,
        num_rows="dynamic",
        hide_index=True,
        placeholder="",
        column_config={
            "name": st.column_config.TextColumn(COLUMNS["name"], width=220),
            "detail": st.column_config.TextColumn(COLUMNS["detail"], width=150),
            "quantity": st.column_config.TextColumn(
                COLUMNS["quantity"], width=90, alignment="right", help="Up to 4 decimals. Negative for a credit."
            ),
            "unit": st.column_config.TextColumn(COLUMNS["unit"], width=80),
            "unit_price": st.column_config.TextColumn(
                f"{COLUMNS['unit_price']} ({currency})",
                width=125,
                alignment="right",
                help="Net, up to 4 decimals; 1.50 and 1,50 are the same.",
            ),
            "vat_treatment": st.column_config.SelectboxColumn(
                COLUMNS["vat_treatment"],
                width=115,
                options=list(vat.TREATMENTS.values()),
                default=STANDARD,
                required=True,
                help="For customers in Germany; abroad their country decides.",
            ),
            "exempt_reason": st.column_config.TextColumn(
                COLUMNS["exempt_reason"], width=185, help=f"Printed, for example: {vat.EXAMPLES['de']}."
            ),
        },
        alt="Lines written by hand: text, detail, quantity, unit, unit price, VAT and why it is exempt",
    )
    entered = check(typed.to_dict("records"))
    for problem in entered.problems:
        forms.problem(problem)
    return entered


def entered_now(key: str) -> Entered:
    """What stands in the table at the moment of a click. For callbacks: a cell and a button may arrive together."""
    rows: list[dict[Any, Any]] = [dict(zip(COLUMNS, row, strict=True)) for row in st.session_state[_start(key)]]
    changes = st.session_state.get(_grid(key)) or {}
    for place, cells in changes.get("edited_rows", {}).items():
        rows[int(place)].update(cells)
    gone = set(changes.get("deleted_rows", []))
    kept = [row for place, row in enumerate(rows) if place not in gone]
    return check(kept + [dict.fromkeys(COLUMNS) | row for row in changes.get("added_rows", [])])


def reset(key: str) -> None:
    """Forget the edit: the next run shows the stored lines. For callbacks."""
    st.session_state[f"{key}_round"] = st.session_state.get(f"{key}_round", 0) + 1


def as_text(stored: Sequence[InvoiceLine]) -> list[list[str]]:
    """The cells of stored lines."""
    return [
        [one.name, one.detail, plain(one.quantity), one.unit, plain(one.unit_price, 2),
         vat.TREATMENTS[one.vat_treatment], one.exempt_reason]
        for one in stored
    ]  # fmt: skip


def plain(value: Decimal, decimals: int = 0) -> str:
    """A number with at least so many decimals and without groups; 1.125 as 1.1250, which reads only one way."""
    shown = f"{value.normalize():f}"
    places = len(shown.partition(".")[2])
    return f"{value:.{max(decimals, 4 if places == 3 else places)}f}"


def check(rows: Sequence[Mapping[Any, Any]]) -> Entered:
    """Read the cells; empty rows don't count. Names row and column of each that can't be read."""
    lines: list[DraftLine] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=1):
        cells = {name: "" if pd.isna(row.get(name)) else str(row[name]).strip() for name in COLUMNS}
        taxed = cells["vat_treatment"] or STANDARD
        treatment = _TREATMENTS.get(taxed, taxed)
        if not any(value for name, value in cells.items() if name != "vat_treatment"):
            continue
        quantity = _number(cells["quantity"], number, "quantity", problems, negative=True)
        unit_price = _number(cells["unit_price"], number, "unit_price", problems)
        if not cells["name"]:
            problems.append(named(number, "name", "Enter what is billed."))
        if quantity == 0:
            problems.append(named(number, "quantity", "The quantity is 0."))
        try:
            vat.treatment(treatment, cells["exempt_reason"])
        except Invalid as refusal:
            problems.append(named(number, refusal.field or "vat_treatment", str(refusal)))
        figures = (quantity or Decimal(0), cells["unit"], unit_price or Decimal(0))
        lines.append(DraftLine(cells["name"], cells["detail"], *figures, treatment, cells["exempt_reason"]))
    return Entered(lines, problems)


def named(row: int, column: str, message: str) -> str:
    """A sentence with the cell that it is about."""
    return f"Row {row}, {COLUMNS[column]}: {message}"


def _number(typed: str, row: int, column: str, problems: list[str], *, negative: bool = False) -> Decimal | None:
    if not typed:
        problems.append(named(row, column, "Enter a number."))
        return None
    try:
        return money.parse(typed, decimals=4, negative=negative)
    except Invalid as refusal:
        hint = " For a credit, make the quantity negative." if typed.startswith(("-", "−")) else ""
        problems.append(named(row, column, f"{refusal}{hint}"))
        return None


def _grid(key: str) -> str:
    return f"{key}_grid_{st.session_state.get(f'{key}_round', 0)}"


def _start(key: str) -> str:
    return f"{key}_start_{st.session_state.get(f'{key}_round', 0)}"
