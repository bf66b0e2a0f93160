"""The month close in its steps: preview, exceptions, approve, issue, lock; reopen while nothing is issued (row B1)."""

import re
from datetime import date

import streamlit as st

from lib import clock, close_previews, issuing, months, periods, settings
from lib.auth import Permission
from lib.close_previews import Preview
from lib.months import Month
from pages.shared import close_mails, close_preview, documents, explain, session, ui, work

STEPS = ("Preview", "Approve", "Issue", "Lock")
APPROVE, REOPEN, LOCK = "approve", "reopen", "lock"

user = session.require_user(Permission.READ)
may_close = user.may(Permission.CLOSE_MONTHS)


# ---------------------------------------------------------------------------------- which month


def chosen_month(listed: list[Month], first_open: date, today: date) -> Month:
    """The month that the address names (2026-10), else the one with something to do.

    That is the next one to close; until it has ended, the one closed last, while it has drafts.
    """
    by_month = {one.month: one for one in listed}
    wanted = st.query_params.get("month", "")
    if re.fullmatch(r"\d{4}-\d{2}", wanted):
        for one in listed:
            if f"{one.month:%Y-%m}" == wanted:
                return one
    last = by_month.get(clock.next_month(first_open, by=-1))
    if last is not None and last.drafts and today < clock.next_month(first_open):
        return last
    return by_month.get(first_open, listed[0])


def _go_to(shown: list[date]) -> None:
    cells = st.session_state.month_history.selection.cells
    if cells:
        st.query_params["month"] = f"{shown[cells[0][0]]:%Y-%m}"
        work.forget()


# ---------------------------------------------------------------------------------- the steps


def draw_head(month: Month) -> None:
    """The month, how far it is, and its steps."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"Month close: {ui.month(month.month)}", anchor=False, width="content")
        if month.state == "locked":
            ui.badge("final", "Locked")
        else:
            ui.badge(month.state)
    done = steps_done(month)
    with st.container(horizontal=True, gap="small"):
        for index, step in enumerate(STEPS):
            if index < done:
                st.badge(f"{index + 1} {step}: done", icon=":material/check:", color="green")
            elif index == done:
                st.badge(f"{index + 1} {step}: now", icon=":material/arrow_forward:", color="blue")
            else:
                st.badge(f"{index + 1} {step}", color="gray")


def steps_done(month: Month) -> int:
    """How many of STEPS lie behind the month."""
    if month.state == "open":
        return 0
    if month.state == "locked":
        return len(STEPS)
    return 2 if month.drafts else 3


def draw_open(month: Month, first_open: date, today: date, currency: str) -> None:
    """A month that isn't closed: what it would bill, what to look at before, and the approval."""
    with session.reading() as conn:
        preview = close_previews.preview(conn, month.month, today=today)
    reason = why_not(month.month, first_open, today)
    if reason:
        st.info(reason, icon=":material/event_upcoming:")
    if preview.missing_prices:
        st.error(
            f"**Something is booked without a price ({preview.missing_prices:,} "
            f"{'customer' if preview.missing_prices == 1 else 'customers'}).** Set the price first: without it "
            "there is no amount, and the month can't be approved.",
            icon=":material/error:",
        )
    close_preview.draw_deadline(month.month, preview.reverse_charge, today)
    close_preview.draw_totals(preview, currency)
    close_preview.draw_exceptions(preview, today, currency)
    explain.open_asked(currency)
    if may_close:
        blocked = bool(reason) or preview.missing_prices > 0
        if st.button(
            f"Approve {ui.month(month.month)}", key="month_approve", type="primary", icon=":material/task_alt:",
            disabled=blocked,
        ):  # fmt: skip
            # The page stays with this month, whose documents are issued next.
            st.query_params["month"] = f"{month.month:%Y-%m}"
            ask_approve(preview, today, currency)
    else:
        st.caption(f"Your role ({user.role}) may look at the month close. Finance and admins close months.")


def why_not(month: date, first_open: date, today: date) -> str:
    """Why an open month can't be closed today, in a sentence; empty where it can."""
    following = clock.next_month(month)
    if month != first_open:
        return f"Months close in order: {ui.month(first_open)} comes first. Until then this is a forecast."
    if today < following:
        return (
            f"{ui.month(month)} can be closed from {ui.day(following)} on, after its last day. "
            "Until then this is a forecast with what is booked today."
        )
    return ""


def draw_closed(month: Month, first_open: date, today: date, currency: str) -> None:
    """A month whose figures are frozen: its documents, what is left to issue, the lock."""
    with st.grid(4, gap="small"):
        st.metric(f"Net ({currency})", ui.money(month.net), border=True, height="stretch")
        st.metric("Drafts", f"{month.drafts:,}", border=True, height="stretch")
        st.metric("Issued", f"{month.issued:,}", border=True, height="stretch")
        st.metric("Unbilled statements", f"{month.unbilled:,}", border=True, height="stretch")
    blocked = 0
    if month.drafts:
        with session.reading() as conn:
            waiting = issuing.reverse_charge_drafts(conn, month.month)
            listed, blocked = issuing.blocked_in(conn, month.month, today=today)
            lacking = issuing.seller_lacks(conn)
        close_preview.draw_deadline(month.month, waiting, today)
        if lacking:
            st.error(
                f"No document can be issued. Our company's data lacks {', '.join(lacking)}: see Settings.",
                icon=":material/error:",
            )
        if blocked:
            draw_blocked(listed, blocked)
    with st.container(horizontal=True, vertical_alignment="center"):
        if may_close:
            draw_next(month, first_open, today, blocked=blocked)
        st.page_link(
            "invoices.py", label=f"Documents of {ui.month(month.month)}", icon=":material/receipt_long:",
            query_params={"invoice_month": ui.month(month.month)},
        )  # fmt: skip
        if month.unbilled:
            st.page_link(
                "invoices.py", label="Unbilled charges", icon=":material/pending_actions:",
                query_params={"invoice_view": "Unbilled"},
            )  # fmt: skip
    if month.issued:
        close_mails.draw(month.month, user)


def draw_blocked(listed: list[issuing.Blocked], blocked: int) -> None:
    """Drafts that would stay drafts, the first of them; a click opens one."""
    ids = [one.invoice_id for one in listed]

    def opened() -> None:
        cells = st.session_state.blocked_drafts.selection.cells
        if cells:
            st.session_state["close_draft"] = ids[cells[0][0]]

    with st.container(border=True):
        st.subheader("Drafts that lack something", anchor=False)
        documents.blocked_table(
            [(one.customer, one.missing) for one in listed],
            key="blocked_drafts",
            on_select=opened,
            selection_mode="single-cell",
        )
        first = f"The first {len(listed)} of {blocked:,}. " if blocked > len(listed) else ""
        st.caption(f"{first}They can't be issued until it is there. A click on a line opens the draft.")


def draw_next(month: Month, first_open: date, today: date, *, blocked: int) -> None:
    """The buttons of the steps that a closed month can take; `blocked` of its drafts lack something."""
    name = ui.month(month.month)
    if month.drafts and st.button(
        f"Issue {month.drafts - blocked:,} of {month.drafts:,}" if blocked else f"Issue all ({month.drafts:,})",
        key="month_issue",
        type="primary",
        icon=":material/send:",
        disabled=blocked == month.drafts,
    ):
        ask_issue(month, today, blocked=blocked)
    if month.state == "approved" and not month.drafts and st.button(
        f"Lock {name}", key="month_lock", type="primary", icon=":material/lock:"
    ):  # fmt: skip
        work.ask(
            f"Lock {name}?",
            "All its drafts are issued or deleted. A locked month is never reopened; a cancelled document's charges "
            "can still be drafted again.",
            "Lock",
            work.Job(LOCK, f"Locking {name} …", f"{name} is locked.", months.lock, (month.month,)),
            icon=":material/lock:",
        )
    if (
        month.state == "approved"
        and not month.issued
        and clock.next_month(month.month) == first_open
        and st.button("Reopen", key="month_reopen", icon=":material/lock_open:")
    ):
        work.ask(
            f"Reopen {name}?",
            f"Its **{month.drafts:,} drafts are deleted**, with the lines written into them by hand, and its charges "
            "follow the bookings again. This is possible as long as none of its documents is issued.",
            "Reopen",
            work.Job(REOPEN, f"Reopening {name} …", f"{name} is open again.", months.reopen, (month.month,)),
            icon=":material/lock_open:",
        )


def ask_issue(month: Month, today: date, *, blocked: int) -> None:
    """Say what issuing does, and to how many, and have it done."""
    name, complete = ui.month(month.month), month.drafts - blocked
    many = f"{complete:,} {'draft' if complete == 1 else 'drafts'}"
    left = f" Drafts that lack something stay drafts: {blocked:,}." if blocked else ""
    work.ask(
        f"Issue the documents of {name}?",
        f"**{many}** can be issued: each gets its number, is dated today and never changes afterwards. "
        f"From then on the month can't be reopened.{left}",
        "Issue all" if not blocked else f"Issue {complete:,}",
        work.Job(
            documents.ISSUE, f"Issuing the documents of {name} …",
            f"What was complete of {name} is issued." if blocked else f"{name} is issued.",
            issuing.issue_month, (month.month,), {"today": today},
        ),
        icon=":material/send:",
    )  # fmt: skip


def ask_approve(preview: Preview, today: date, currency: str) -> None:
    """Say what approving does, and have it done."""
    name = ui.month(preview.month)
    left = sum(preview.exceptions.values())
    looked = f"\n\n{left:,} exceptions are listed; approving accepts them." if left else ""
    work.ask(
        f"Approve {name}?",
        f"All customers are rated anew, the charges of **{ui.money(preview.net)} {currency}** net are frozen and "
        f"**{preview.documents:,} documents** drafted. Later changes go "
        f"into {ui.month(clock.next_month(preview.month))}. "
        f"Until the first document is issued, {name} can be reopened.{looked}",
        "Approve",
        work.Job(
            APPROVE, f"Closing {name} …", f"{name} is approved.", months.approve, (preview.month,), {"today": today},
            steps=True,
        ),
        icon=":material/task_alt:",
    )  # fmt: skip


# ---------------------------------------------------------------------------------- the history


def draw_history(listed: list[Month], currency: str, zone: str) -> None:
    """All months with their figures and who closed them; a click shows one above."""
    words = {"open": "Open", "approved": "Approved", "locked": "Locked"}
    rows = [
        {
            "month": ui.month(one.month),
            "state": [words[one.state]],
            "net": ui.money(one.net),
            "customers": f"{one.customers:,}",
            "drafts": f"{one.drafts:,}",
            "issued": f"{one.issued:,}",
            "unbilled": f"{one.unbilled:,}",
            "approved": f"{one.approved_by}, {ui.moment(one.approved_at, zone)}" if one.approved_by else ui.NOTHING,
            "locked": f"{one.locked_by}, {ui.moment(one.locked_at, zone)}" if one.locked_by else ui.NOTHING,
        }
        for one in listed
    ]
    columns = {
        "month": ui.text_column("Month", width=130, pinned=True),
        "state": st.column_config.MultiselectColumn(
            "State", options=list(words.values()), color=["blue", "orange", "green"], width=100
        ),
        "net": ui.figure_column(f"Net ({currency})", width=120),
        "customers": ui.figure_column("Customers", width=90),
        "drafts": ui.figure_column("Drafts", width=80),
        "issued": ui.figure_column("Issued", width=80),
        "unbilled": ui.figure_column("Unbilled", width=80),
        "approved": ui.text_column("Approved by", width=210),
        "locked": ui.text_column("Locked by", width=210),
    }
    shown = [one.month for one in listed]
    with st.container(border=True):
        st.subheader("All months", anchor=False)
        ui.table(
            rows, columns, key="month_history", alt="All booking months with their figures",
            on_select=lambda: _go_to(shown), selection_mode="single-cell", height="auto",
        )  # fmt: skip
        st.caption("A click on a line shows that month above.")


# ---------------------------------------------------------------------------------- the page

if (customer := st.session_state.pop(close_preview.CUSTOMER, None)) is not None:
    st.switch_page("customer.py", query_params={"id": str(customer)})
if (product := st.session_state.pop(close_preview.PRODUCT, None)) is not None:
    name, booked_in = product
    st.switch_page("cost_overview.py", query_params={"cost_month": ui.month(booked_in), "cost_product": name})
if (draft := st.session_state.pop("close_draft", None)) is not None:
    st.switch_page("invoice.py", query_params={"id": str(draft)})
with session.reading() as connection:
    day = clock.today(connection)
    company = settings.company(connection)
    open_month = periods.open_month(connection)
    found_months = months.months(connection, today=day) if open_month else []
if open_month is None:
    st.title("Month close", anchor=False)
    ui.empty(periods.NOT_SET_UP, icon=":material/event_busy:")
else:
    current = chosen_month(found_months, open_month, day)
    draw_head(current)
    work.run()
    documents.show_report(with_blocked=False)
    if current.state == "open":
        draw_open(current, open_month, day, company.currency)
    else:
        draw_closed(current, open_month, day, company.currency)
    draw_history(found_months, company.currency, company.timezone)
