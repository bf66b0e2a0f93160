"""Direct debits on the page of payment methods: the next file for the bank, and what became of the last ones."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from uuid import UUID

import streamlit as st

from lib import clock, db, debit_candidates, debits, sessions, settings
from lib.debits import Debit, Run
from lib.errors import NotAllowed
from pages.shared import forms, late_renewals, session, ui

FORM, RETURN = "debit", "debit_return"
CHOSEN = "debit_run"
# Rows that a table shows: who reads more reads the file.
MOST_SHOWN = 500


# ---------------------------------------------------------------------------------- what the clicks do


def _make(today: date, request_key: UUID) -> None:
    typed = forms.typed(FORM, ("month", "collect_on", "late"))
    made = forms.save(
        FORM, debits.make, typed["month"], collect_on=typed["collect_on"], late=bool(typed["late"]), today=today,
        request_key=request_key,
        success="The file is made. Download it below and hand it to your bank.",
    )  # fmt: skip
    if made:
        st.session_state[CHOSEN] = session.result()
        forms.fill(FORM, typed)


def _collect(run_id: int, today: date) -> None:
    if session.attempt(debits.collect, run_id, today=today, success="The payments are recorded."):
        st.session_state["debits_left"] = session.result().left
        with session.reading() as conn:
            collected = [one.invoice_id for one in debits.debits_of(conn, run_id)]
        late_renewals.tell(collected)


def _come_back(debit_id: int, today: date) -> None:
    reason = st.session_state.get(f"{RETURN}_reason", "")
    success = "The debit came back. Its invoice is open again."
    forms.save(RETURN, debits.come_back, debit_id, reason=reason, today=today, success=success)


def _file(run_id: int) -> Callable[[], bytes]:
    """What the download button calls, outside of the page: for who may still have it."""
    token = session.token()

    def made() -> bytes:
        with db.transaction() as conn:
            user = sessions.user_of(conn, token)
            if user is None or user.unready:
                raise NotAllowed("You are signed out. Sign in and download again.")
            return debits.file(conn, run_id, user=user)[1]

    return made


# ---------------------------------------------------------------------------------- the tab


def draw() -> None:
    """The next run with what it would collect, and the runs that were made."""
    with session.reading() as conn:
        today, zone = clock.today(conn), settings.company(conn).timezone
        missing, months, runs = debit_candidates.lacks(conn), debit_candidates.months(conn), debits.runs(conn)
    if missing:
        st.info(f"Before a file can be made, enter {' and '.join(missing)}.", icon=":material/info:")
    _draw_next(months, today, ready=not missing)
    _draw_left()
    if runs:
        _draw_runs(runs, today, zone)


def _draw_next(months: list[date], today: date, *, ready: bool) -> None:
    st.subheader("Next file for the bank", anchor=False)
    if not months:
        ui.empty("No invoice is issued yet, so nothing can be collected.", icon=":material/receipt_long:")
        return
    with session.reading() as conn:
        usual = debit_candidates.usual_day(conn, months[0], today=today)
    forms.begin(FORM, {"month": months[0], "collect_on": usual, "late": False})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        month = st.selectbox("Invoices of", months, format_func=ui.month, key=f"{FORM}_month", width=200)
        collect_on = st.date_input("Collected on", key=f"{FORM}_collect_on", format="YYYY-MM-DD", width=200)
        with session.reading() as conn:
            late = bool(st.session_state[f"{FORM}_late"])
            found = debit_candidates.candidates(conn, month, collect_on=collect_on, late=late)
        refusal = debit_candidates.why_not(collect_on, today=today)
        good = [one for one in found if not one.why]
        st.button(
            "Make file", key="debit_make", type="primary", icon=":material/note_add:",
            disabled=not (ready and good) or bool(refusal), on_click=_make, args=(today, forms.request_key(FORM)),
        )  # fmt: skip
    forms.problem(refusal)
    st.checkbox(
        "Also what was announced for an earlier day: these customers have been told the new one", key=f"{FORM}_late"
    )
    total = sum((one.amount for one in good), Decimal(0))
    left_out = len(found) - len(good)
    st.markdown(
        f"**{ui.number(len(good))} of {ui.number(len(found))} invoices** of customers that pay by direct debit, "
        f"**{ui.money(total)} EUR**." + (f" {ui.number(left_out)} can’t be collected: see why." if left_out else "")
    )
    if not found:
        ui.empty("No invoice of this month is one of a customer that pays by direct debit.", icon=":material/inbox:")
        return
    rows = [
        {
            "number": one.number, "customer": one.customer, "due": ui.day(one.due_on),
            "announced": ui.day(one.announced) if one.announced else "–", "amount": ui.money(one.amount),
            "why": one.why or "Will be collected",
        }
        for one in sorted(found, key=lambda one: not one.why)[:MOST_SHOWN]
    ]  # fmt: skip
    columns = {
        "number": ui.text_column("Invoice", width=120, pinned=True),
        "why": ui.text_column("In this file", width=300),
        "customer": ui.text_column("Customer", width=200),
        "due": ui.text_column("Due", width=110),
        "announced": ui.text_column("Announced", width=110),
        "amount": ui.figure_column("Open, EUR", width=110),
    }
    ui.table(rows, columns, key="debit_candidates", alt="What the file would collect, and what not and why")
    if len(found) > MOST_SHOWN:
        st.caption(f"The first {MOST_SHOWN:,} of them; what is left out comes first.")


def _draw_left() -> None:
    """What the last click could not record."""
    left = st.session_state.pop("debits_left", None)
    if left:
        points = "\n".join(f"- {ui.escaped(one)}" for one in left)
        st.warning(
            f"Not recorded, because something happened to the invoice meanwhile:\n{points}\n\nClear it with the "
            "customer, or mark the debit as come back.",
            icon=":material/warning:",
        )


def _draw_runs(runs: list[Run], today: date, zone: str) -> None:
    st.subheader("Files that were made", anchor=False)
    by_id = {one.id: one for one in runs}
    chosen = st.selectbox("File", list(by_id), key=CHOSEN, format_func=lambda one: _label(by_id[one]))
    run = by_id[chosen]
    with session.reading() as conn:
        found = debits.debits_of(conn, run.id)
    with st.container(horizontal=True, vertical_alignment="center"):
        ui.badge(run.state)
        st.caption(f"Made by {ui.escaped(run.recorded_by)} on {ui.moment(run.recorded_at, zone)}", width="content")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download", _file(run.id), f"direct-debits-{run.month:%Y-%m}-{run.message_id}.xml", "application/xml",
            key="debit_file", icon=":material/download:", disabled=not run.has_file, on_click="ignore",
            help=None if run.has_file else "Somebody in it was erased since, and the file with them.",
        )  # fmt: skip
        if run.state == "waiting":
            st.button(
                "Record payments", key="debit_collect", icon=":material/payments:", on_click=_collect,
                args=(run.id, today), disabled=today < run.collect_on,
                help=f"On {ui.day(run.collect_on)}, once the money is there." if today < run.collect_on else None,
            )  # fmt: skip
            if st.button("Withdraw", key="debit_withdraw", icon=":material/undo:"):
                ui.confirm(
                    "Withdraw this file?",
                    "Only if your bank has not got it: its invoices can then go into another file, and would be "
                    "collected twice otherwise.",
                    "Withdraw file",
                    debits.withdraw,
                    run.id,
                    success="The file is withdrawn.",
                )
        _draw_return(found, run, today)
    _draw_debits(found)


def _draw_return(found: list[Debit], run: Run, today: date) -> None:
    standing = {one.id: one for one in found if one.returned_at is None}
    if not standing or run.withdrawn_at is not None:
        return
    picked = st.menu_button(
        "Came back …", list(standing), key="debit_return", icon=":material/keyboard_return:",
        format_func=lambda one: _told(standing[one]) if one in standing else "",
    )  # fmt: skip
    if picked is not None:
        forms.fill(RETURN, {"reason": ""})
        _ask_return(standing[picked], today)


def _ask_return(one: Debit, today: date) -> None:
    @st.dialog("This debit came back?", icon=":material/keyboard_return:")
    def asked() -> None:
        session.close_or_explain()
        reversed_too = " Its payment is reversed." if one.paid else ""
        st.markdown(f"{ui.escaped(_told(one))}: the bank gave it back.{reversed_too} The invoice is open again.")
        with st.form(RETURN, border=False):
            forms.text(RETURN, "reason", "Reason", placeholder="As the bank says it: AC04, account closed")
            st.form_submit_button(
                "Came back", key="debit_return_go", type="primary", on_click=_come_back, args=(one.id, today)
            )

    asked()


def _draw_debits(found: list[Debit]) -> None:
    rows = [
        {
            "number": one.number, "customer": one.customer, "amount": ui.money(one.amount),
            "mandate": one.mandate or None, "sequence": one.sequence, "state": _state(one),
        }
        for one in sorted(found, key=lambda one: one.returned_at is None)[:MOST_SHOWN]
    ]  # fmt: skip
    columns = {
        "number": ui.text_column("Invoice", width=120, pinned=True),
        "state": ui.text_column("State", width=220),
        "customer": ui.text_column("Customer", width=200),
        "amount": ui.figure_column("EUR", width=100),
        "mandate": ui.text_column("Mandate", width=130),
        "sequence": ui.text_column("Sequence", width=90, help="FRST: the first by this mandate; RCUR: all later ones."),
    }
    ui.table(rows, columns, key="debits", alt="What this file collects, and what became of it")


def _state(one: Debit) -> str:
    if one.returned_at is not None:
        return f"Came back: {one.return_reason}"
    return "Paid" if one.paid else "Waiting"


def _told(one: Debit) -> str:
    return f"{one.number}, {one.customer}: {ui.money(one.amount)} EUR"


def _label(run: Run) -> str:
    back = f", {run.returned} came back" if run.returned and run.state == "collected" else ""
    return (
        f"{ui.day(run.collect_on)}: {ui.money(run.amount)} EUR of {ui.month(run.month)}, "
        f"{run.debits} invoice{'' if run.debits == 1 else 's'}{back}"
    )
