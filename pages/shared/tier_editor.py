"""The editable table of a price's ranges: text cells, each checked when it is committed.

Nothing that was typed is lost: the table keeps its text until the price is saved or the edit discarded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import streamlit as st

from lib import money, prices
from lib.errors import Invalid
from lib.prices import Tier
from pages.shared import forms

COLUMNS = {"first_unit": "From", "last_unit": "To", "unit_price": "Unit price"}
_WHOLE = re.compile(r"\d{1,9}|\d{1,3}([.,' ]\d{3})+")


@dataclass(frozen=True)
class Entered:
    """What stands in the table: ranges that can be saved, or the problems that are in the way."""

    tiers: list[Tier] | None
    problems: list[str]


def draw(key: str, stored: Sequence[Tier], *, currency: str, disabled: bool = False) -> Entered:
    """The table, filled with `stored` until something is edited, and below it the sentences about its cells."""
    # A dynamic table starts over when its input changes; an edit must outlive a colleague's save and another month.
    start, grid = f"{key}_start", f"{key}_grid_{st.session_state.get(f'{key}_round', 0)}"
    edited = any(st.session_state.get(grid, {}).values())
    if not edited or start not in st.session_state:
        st.session_state[start] = as_text(stored)
    frame = pd.DataFrame(st.session_state[start], columns=list(COLUMNS), dtype="str")
    typed = st.data_editor(
        frame,
        key=grid,
        num_rows="fixed" if disabled else "dynamic",
        hide_index=True,
        disabled=disabled,
        placeholder="",
        column_config={
            "first_unit": st.column_config.TextColumn(COLUMNS["first_unit"], alignment="right"),
            "last_unit": st.column_config.TextColumn(
                COLUMNS["last_unit"], alignment="right", help="Included. Empty in the last range: and above."
            ),
            "unit_price": st.column_config.TextColumn(
                f"{COLUMNS['unit_price']} ({currency})",
                alignment="right",
                help="Up to 4 decimals; 1.50 and 1,50 are the same.",
            ),
        },
        alt="Price ranges: from, to, unit price",
    )
    entered = check(typed.to_dict("records"))
    for problem in entered.problems:
        forms.problem(problem)
    return entered


def reset(key: str) -> None:
    """Forget the edit: the next run shows the stored ranges. For callbacks."""
    st.session_state[f"{key}_round"] = st.session_state.get(f"{key}_round", 0) + 1


def request_key(key: str) -> UUID:
    """The key under which the edit is saved: the same for all clicks on it, another one after `reset`."""
    name = f"{key}_request_{st.session_state.get(f'{key}_round', 0)}"
    stored: UUID = st.session_state.setdefault(name, uuid4())
    return stored


def as_text(tiers: Sequence[Tier]) -> list[list[str]]:
    """The cells of stored ranges; one open range to begin with where there are none."""
    if not tiers:
        return [["1", "", ""]]
    return [
        [
            str(tier.first_unit),
            "" if tier.last_unit is None else str(tier.last_unit),
            prices.price_shown(tier.unit_price),
        ]
        for tier in tiers
    ]


def check(rows: Sequence[dict[Any, Any]]) -> Entered:
    """Read the cells; empty rows don't count. Names all unreadable cells, else the first range that doesn't fit."""
    tiers: list[Tier] = []
    numbers: list[int] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=1):
        cells = {name: "" if pd.isna(row[name]) else str(row[name]).strip() for name in COLUMNS}
        if not any(cells.values()):
            continue
        tier, wrong = _read(cells)
        problems += [_named(number, column, message) for column, message in wrong]
        if tier is not None:
            tiers.append(tier)
            numbers.append(number)
    if not problems:
        try:
            prices.require_tiers(tiers)
            return Entered(tiers, [])
        except Invalid as refusal:
            place, column = (refusal.field or "1.first_unit").split(".")
            row_number = numbers[min(int(place), len(numbers)) - 1] if numbers else 1
            problems = [_named(row_number, column, str(refusal))]
    return Entered(None, problems)


def _read(cells: dict[str, str]) -> tuple[Tier | None, list[tuple[str, str]]]:
    wrong: list[tuple[str, str]] = []
    units: dict[str, int | None] = {}
    for column in ("first_unit", "last_unit"):
        typed = cells[column]
        if not typed and column == "last_unit":
            units[column] = None
        elif _WHOLE.fullmatch(typed):
            units[column] = int(re.sub(r"\D", "", typed))
        else:
            wrong.append(
                (column, f"“{typed[:40]}” is not a whole number." if typed else "Enter the first unit of the range.")
            )
    try:
        price = money.parse(cells["unit_price"], decimals=4)
    except Invalid as refusal:
        wrong.append(("unit_price", str(refusal) if cells["unit_price"] else "Enter a price."))
    if wrong or units["first_unit"] is None:
        return None, wrong
    return Tier(units["first_unit"], units["last_unit"], price), []


def _named(row: int, column: str, message: str) -> str:
    return f"Row {row}, {COLUMNS[column]}: {message}"
