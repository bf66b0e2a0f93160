"""Jobs: the work that goes on after a click, for admins: what waits, runs, failed and why."""

import math
from functools import partial
from typing import Any

import streamlit as st

from lib import jobs, mail_server, settings
from lib.auth import Permission
from lib.jobs import Filters, Job
from pages.shared import session, ui

PAGE = 50
_OPEN = "job_open"

user = session.require_user(Permission.EDIT_SETTINGS)


# ---------------------------------------------------------------------------------- what the clicks do


def _first_page() -> None:
    st.session_state.jobs_page = 1


def _clicked(listed: list[tuple[str, int]]) -> None:
    cells = st.session_state.jobs_table.selection.cells
    if cells:
        st.session_state[_OPEN] = listed[cells[0][0]]


def _picked() -> None:
    st.session_state[_OPEN] = st.session_state.job_picked
    st.session_state.job_picked = None


def _retry_failed(kind: str) -> None:
    session.attempt(jobs.retry_failed, kind, success="All of them are started again.")


# ---------------------------------------------------------------------------------- the parts of the page


def draw_warnings(counts: dict[str, int]) -> None:
    """What an admin should look after first."""
    with session.reading() as conn:
        late = jobs.late_minutes(conn)
        ready = mail_server.ready(conn)
        waiting = jobs.total(conn, Filters(kinds=("mail",), states=("waiting",)))
    if late:
        st.warning(
            f"The oldest job has been due for {late:,} minutes. Is a worker running? `python -m lib work` starts one.",
            icon=":material/warning:",
        )
    if waiting and not ready:
        st.info(f"{_many(waiting, 'mail')} waiting. {mail_server.NOT_READY}", icon=":material/schedule_send:")
    with st.container(horizontal=True):
        for state, count in counts.items():
            st.metric(jobs.STATES[state], ui.number(count), border=True, width=150)


def draw_filters() -> Filters:
    """Kind and state, kept in the address."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": _first_page}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kinds = st.multiselect(
            "Kind", list(jobs.KINDS), format_func=lambda one: jobs.KINDS[one], key="job_kind",
            placeholder="All kinds", width=240, **bound,
        )  # fmt: skip
        states = st.pills(
            "State", list(jobs.STATES), default=list(jobs.OPEN), format_func=lambda one: jobs.STATES[one],
            key="job_state", selection_mode="multi", **bound,
        )  # fmt: skip
        st.space("stretch")
        st.button("Refresh", key="jobs_refresh", icon=":material/refresh:")
    return Filters(kinds=tuple(kinds), states=tuple(states))


def draw_list(filters: Filters) -> None:
    """The jobs that match, a page of them."""
    with session.reading() as conn:
        total = jobs.total(conn, filters)
    if not total:
        ui.empty(_why_empty(filters), icon=":material/task_alt:")
        return
    listed = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        caption = st.empty()
        st.space("stretch")
        pages = math.ceil(min(total, jobs.MOST_COUNTED) / PAGE)
        number = st.pagination(pages, key="jobs_page", max_visible_pages=5, bind="query-params")
    with session.reading() as conn:
        found = jobs.page(conn, filters, limit=PAGE, offset=(number - 1) * PAGE)
        zone = settings.company(conn).timezone
    more = "more than " if total > jobs.MOST_COUNTED else ""
    caption.caption(f"{more}{_many(min(total, jobs.MOST_COUNTED), 'job')}".capitalize())
    with listed:
        draw_table(found, zone)
    opened = st.session_state.pop(_OPEN, None)
    for job in found:
        if (job.kind, job.id) == opened:
            show(job, zone)


def draw_table(found: list[Job], zone: str) -> None:
    """The table; a click opens a job, and so does the box below."""
    columns = {
        "kind": ui.text_column("Kind", width=70, pinned=True),
        "subject": ui.text_column("About", width=300),
        "state": ui.state_column("State", list(jobs.STATES), width=88),
        "reason": ui.text_column("Why", width=310),
        "attempts": ui.figure_column("Attempts", width=78),
        "created": ui.figure_column("Made", width=140),
    }
    rows = [
        {
            "kind": jobs.KINDS[job.kind],
            "subject": job.subject,
            "state": [jobs.STATES[job.state]],
            "reason": job.last_error or ui.NOTHING,
            "attempts": ui.number(job.attempts),
            "created": ui.moment(job.created_at, zone),
        }
        for job in found
    ]
    keys = [(job.kind, job.id) for job in found]
    ui.table(
        rows, columns, key="jobs_table", on_select=partial(_clicked, keys), selection_mode="single-cell",
        alt="Jobs: failed ones first, then the newest; the box below opens one without the mouse",
    )  # fmt: skip
    names = {key: f"{jobs.KINDS[job.kind]} {job.id} · {job.subject}" for key, job in zip(keys, found, strict=True)}
    st.selectbox(
        "Open a job", keys, index=None, key="job_picked", placeholder="Open …", width=340,
        format_func=lambda one: names.get(one, ""), label_visibility="collapsed", on_change=_picked,
    )  # fmt: skip


def show(job: Job, zone: str) -> None:
    """All of one job in a drawer, with the way to start it again."""

    @st.dialog(f"{jobs.KINDS[job.kind]} {job.id}", width="medium", position="right", icon=":material/pending_actions:")
    def drawer() -> None:
        session.close_or_explain()
        facts = {
            "About": job.subject,
            "State": jobs.STATES[job.state],
            "Made": ui.moment(job.created_at, zone),
            "Attempts": ui.number(job.attempts),
        }
        if job.state == "waiting":
            facts["Due"] = ui.moment(job.due_at, zone)
        if job.done_at is not None:
            facts["Done"] = ui.moment(job.done_at, zone)
        ui.facts(facts, alt="The job")
        if job.last_error:
            st.error(ui.escaped(job.last_error), icon=":material/error:")
        if job.state in ("waiting", "failed") and job.kind in jobs.RETRIES:
            st.button(
                "Try again" if job.state == "failed" else "Try now", key="job_again", type="primary",
                icon=":material/replay:", on_click=session.click, args=(jobs.retry, job.kind, job.id),
                kwargs={"success": "The job is started again within seconds."},
            )  # fmt: skip
        if job.customer_id is not None:
            st.page_link(
                "customer.py", label="The customer", icon=":material/person:",
                query_params={"id": str(job.customer_id), "tab": "Mails"} if job.kind == "mail"
                else {"id": str(job.customer_id)},
            )  # fmt: skip

    drawer()


def _why_empty(filters: Filters) -> str:
    if set(filters.states) == set(jobs.OPEN) and not filters.kinds:
        return "Nothing waits, nothing runs, and nothing has failed."
    return "No job matches these filters."


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


# ---------------------------------------------------------------------------------- the page

with session.reading() as connection:
    open_ones = jobs.counts(connection)
    failed = {kind: jobs.total(connection, Filters(kinds=(kind,), states=("failed",))) for kind in jobs.RETRIES}
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Jobs", anchor=False)
    st.space("stretch")
    for kind_failed, number_failed in failed.items():
        if number_failed:
            st.button(
                f"Try {_many(number_failed, f'failed {jobs.KINDS[kind_failed].lower()}')} again",
                key=f"retry_{kind_failed}", icon=":material/replay:", on_click=_retry_failed, args=(kind_failed,),
            )  # fmt: skip
st.caption("Work that goes on after a click: mails that are sent, data that are erased, files that are imported.")
draw_warnings(open_ones)
with st.container(border=True):
    draw_list(draw_filters())
