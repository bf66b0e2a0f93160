"""What a check found: what is wrong by line and column, or what the import would change (row B11)."""

from decimal import Decimal

import streamlit as st

from lib import import_downloads
from lib.import_effects import Effect
from lib.import_rows import MOST_FAULTS
from lib.imports import MOST_SHOWN, Report
from pages.shared import change_words, ui

# A table that is longer scrolls.
_HEIGHT = 420


def draw(report: Report, *, currency: str) -> None:
    """The faults, or the preview with the effect on charges."""
    for note in report.notes:
        st.info(note, icon=":material/info:")
    if report.fault_count:
        _draw_faults(report)
        return
    with st.container(horizontal=True):
        for label, count in (("Added", report.created), ("Changed", report.updated), ("Unchanged", report.unchanged)):
            st.metric(label, ui.number(count), border=True, width=160)
    if not report.changing:
        ui.empty("The file says what is stored already. There is nothing to import.", icon=":material/task_alt:")
        return
    if report.effect is not None:
        _draw_effect(report.effect, currency)
    else:
        st.caption("No charge changes: nothing is booked or priced by this import.")
    _draw_changes(report)


def _draw_faults(report: Report) -> None:
    wrong = "1 thing is" if report.fault_count == 1 else f"{report.fault_count:,} things are"
    where = "1 row" if report.faulty_rows == 1 else f"{report.faulty_rows:,} rows"
    st.error(
        f"{wrong} wrong in {where} of {report.rows:,}. Nothing can be imported until all of them are right: correct "
        "the file and upload it again.",
        icon=":material/error:",
    )
    listed = report.faults[:MOST_SHOWN]
    rows = [
        {"line": f"{one.line:,}", "column": one.column, "value": one.value, "message": one.message} for one in listed
    ]
    columns = {
        "line": ui.figure_column("Line", width=60),
        "column": ui.text_column("Column", width=120),
        "message": ui.text_column("What is wrong", width=560),
        "value": ui.text_column("Cell", width=150),
    }
    ui.table(
        rows, columns, key="import_faults", alt="What is wrong in the file, by line and column",
        height=_HEIGHT if len(rows) > 10 else "content",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        first = f"The first {len(listed):,} are shown." if report.fault_count > len(listed) else ""
        if report.fault_count > MOST_FAULTS:
            first += f" The download holds the first {MOST_FAULTS:,}."
        st.caption(first or "Line 1 is that of the headings.")
        st.space("stretch")
        st.download_button(
            "Download the list (CSV)", lambda: import_downloads.faults(report.faults), "import-errors.csv", "text/csv",
            key="import_faults_csv", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _draw_effect(effect: Effect, currency: str) -> None:
    st.subheader("Effect on the charges", anchor=False)
    with st.container(horizontal=True):
        for month in effect.months:
            change = month.after - month.before
            st.metric(
                f"All customers, {ui.month(month.month)} ({currency})", ui.money(month.all_after),
                ui.signed(change) if change else None, delta_color="off", delta_arrow="off",
                delta_description=f"from {ui.money(month.all_before)}" if change else "as before",
                border=True, width=300,
            )  # fmt: skip
    unpriced = sum(month.unpriced for month in effect.months)
    if unpriced:
        many = (
            "1 customer would have something booked"
            if unpriced == 1
            else f"{unpriced:,} customers would have something"
        )
        st.warning(f"{many} without a price. That blocks the month close until it has one.", icon=":material/warning:")
    if not effect.customers:
        st.caption("No customer's current month changes.")
        return
    rows = [
        {
            "number": one.number,
            "name": one.name,
            "before": ui.money(one.before),
            "after": ui.money(one.after),
            "change": ui.signed(_difference(one.before, one.after)),
        }
        for one in effect.customers
    ]
    columns = {
        "name": ui.text_column("Most affected customers", width="medium"),
        "number": ui.text_column("Number", width=100),
        "before": ui.figure_column(f"Before ({currency})", width=120),
        "after": ui.figure_column("After", width=120),
        "change": ui.figure_column("Change", width=120),
    }
    ui.table(rows, columns, key="import_effect", alt="The customers whose current month changes most")


def _difference(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    return None if before is None or after is None else after - before


def _draw_changes(report: Report) -> None:
    st.subheader("What would change", anchor=False)
    words = {"created": "Added", "updated": "Changed"}
    rows = [
        {
            "line": f"{one.line:,}",
            "outcome": [words[one.outcome]],
            "number": one.number,
            "name": one.name,
            "changes": change_words.told(one.changes),
        }
        for one in report.changes
    ]
    columns = {
        "line": ui.figure_column("Line", width=70),
        "outcome": st.column_config.MultiselectColumn(
            "", options=list(words.values()), color=["green", "blue"], width=90
        ),
        "number": ui.text_column("Number", width=90),
        "name": ui.text_column("Customer", width=220),
        "changes": ui.text_column("Values, or before → after", width="large"),
    }
    ui.table(
        rows, columns, key="import_changes", alt="What each row of the file would change",
        height=_HEIGHT if len(rows) > 10 else "content",
    )  # fmt: skip
    if report.changing > len(rows):
        st.caption(f"The first {len(rows):,} of {report.changing:,} rows that change something are shown.")
