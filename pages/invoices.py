"""Invoices: found, drafted by hand, issued one or many; and the charges that are on no document (rows S3, B1)."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from lib import (
    clock,
    close_drafts,
    customer_lists,
    drafts,
    invoice_mails,
    invoices,
    issuing,
    months,
    payments,
    settings,
)
from lib.auth import Permission
from lib.errors import Invalid
from lib.invoices import MOST_COUNTED, Filters, Invoice
from pages.shared import documents, invoice_mail, late_renewals, payment_list, session, ui, work

PAGE = 25
MOST_UNBILLED = 200
VIEWS = ["Documents", "Unbilled"]
ORDERS = {
    "newest": "Newest first",
    "number": "Number",
    "due": "Due date",
    "amount": "Amount",
    "customer": "Customer",
}
_OPEN, _CHOSEN = "invoices_open", "invoices_chosen"

user = session.require_user(Permission.READ)
may_write = user.may(Permission.EDIT_INVOICES)


# ---------------------------------------------------------------------------------- what the clicks do


def _first_page() -> None:
    st.session_state.invoice_page = 1


def _selected(table: str, ids: list[int]) -> None:
    """A click on a cell opens its document, one on its link only the PDF; ticked rows are kept by id."""
    selection = st.session_state[table].selection
    if selection.cells and selection.cells[0][1] != "pdf":
        st.session_state[_OPEN] = ids[selection.cells[0][0]]
    st.session_state[_CHOSEN] = (table, [ids[row] for row in selection.rows])


def _draft_again(released: list[tuple[int, date]]) -> None:
    customer_id, month = released[st.session_state.draft_again.row]
    if session.attempt(close_drafts.draft_unbilled, customer_id, month, success="The charges are drafted again."):
        st.session_state[_OPEN] = session.result()


def _create(customer_id: int | None, request_key: UUID) -> None:
    if customer_id is None:
        session.attempt(_no_customer)
        return
    if session.attempt(
        drafts.create,
        customer_id,
        service_from=st.session_state.new_from,
        service_until=st.session_state.new_until,
        lines=[],
        request_key=request_key,
        success="The draft is there. Add its lines.",
    ):
        st.session_state[_OPEN] = session.result()


def _no_customer(*_: Any, **__: Any) -> None:
    raise Invalid("Choose a customer.", field="customer")


def open_new(today: date) -> None:
    """The dialog for a document written by hand."""
    key = uuid4()

    @st.dialog("New invoice", icon=":material/add:")
    def asked() -> None:
        session.close_or_explain()
        search = st.text_input(
            "Find customer", key="new_search", live="300ms", placeholder="Name, number or contact", max_chars=200
        )
        with session.reading() as conn:
            found = {one.id: one for one in customer_lists.find(conn, search or "", limit=20)}
        if len(found) == 1:
            st.session_state.new_customer = next(iter(found))
        elif st.session_state.get("new_customer") not in found:
            st.session_state.new_customer = None
        customer_id = st.selectbox(
            "Customer",
            list(found),
            index=None,
            format_func=lambda one: f"{found[one].number} {found[one].name}" if one in found else str(one),
            key="new_customer",
            placeholder="Choose a customer" if found else "No customer matches",
        )
        session.field_error("customer")
        first = clock.month_of(today)
        with st.container(horizontal=True):
            st.date_input("Service from", first, key="new_from", format="DD.MM.YYYY", required=True)
            last = clock.next_month(first).replace(day=1) - date.resolution
            st.date_input("Service until", last, key="new_until", format="DD.MM.YYYY", required=True)
        session.field_error("service_until")
        st.button("Create draft", key="new_go", type="primary", on_click=_create, args=(customer_id, key))

    asked()


# ---------------------------------------------------------------------------------- the list


def draw_filters(known: list[date]) -> tuple[Filters, str]:
    """The filters above the list, kept in the URL."""
    bound: dict[str, Any] = {"bind": "query-params", "on_change": _first_page}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="invoice_search", type="search", live="300ms", placeholder="Number or customer",
            max_chars=200, width=230, **bound,
        )  # fmt: skip
        month = st.selectbox(
            "Month", known, index=None, format_func=ui.month, key="invoice_month", placeholder="All months",
            width=150, **bound,
        )  # fmt: skip
        states = st.multiselect(
            "State", documents.STATES, format_func=ui.word, key="invoice_state", placeholder="All states",
            width=190, **bound,
        )  # fmt: skip
        kinds = st.multiselect(
            "Kind", list(invoices.KINDS), format_func=lambda kind: invoices.KINDS[kind], key="invoice_kind",
            placeholder="All kinds", width=230, **bound,
        )  # fmt: skip
        order = st.selectbox(
            "Order", list(ORDERS), format_func=lambda one: ORDERS[one], key="invoice_order", width=150, **bound
        )
    return Filters(month=month, states=tuple(states), kinds=tuple(kinds), search=search or ""), order


def draw_list(today: date, currency: str) -> None:
    """The documents that match, a page of them, with what they add up to."""
    with session.reading() as conn:
        known = months.known(conn)
    filters, order = draw_filters(known)
    with session.reading() as conn:
        totals = invoices.totals(conn, filters, today=today)
    if not totals.count:
        draw_nothing(filters, known)
        return
    actions = st.container(horizontal=True, vertical_alignment="center")
    listed = st.container()
    # The pages are drawn first and stand last: on the first run only the widget knows the address's page.
    with st.container(horizontal=True, vertical_alignment="center"):
        caption = st.empty()
        st.space("stretch")
        pages = -(-min(totals.count, MOST_COUNTED) // PAGE)
        number = st.pagination(pages, key="invoice_page", max_visible_pages=5, bind="query-params")
    with session.reading() as conn:
        found = invoices.page(conn, filters, today=today, order=order, limit=PAGE, offset=(number - 1) * PAGE)
    caption.caption(shown(totals, number, len(found), currency))
    with listed:
        chosen = draw_table(found, today, currency)
    with actions:
        draw_actions(chosen, today, currency)


def draw_table(found: list[Invoice], today: date, currency: str) -> list[Invoice]:
    """A page of documents; returns those that are ticked."""
    ids = [one.id for one in found]
    with session.reading() as conn:
        mailed = invoice_mails.sendings(conn, ids)
        zone = settings.company(conn).timezone
    # Other documents, or other states of them, are another table: nothing that was ticked before is ticked in it.
    table = f"documents_{hash(tuple((one.id, one.state) for one in found))}"
    ui.table(
        [documents.row(one, today=today, mailed=invoice_mail.state(mailed.get(one.id), zone)) for one in found],
        documents.columns(currency),
        key=table,
        alt="Documents that match the filters",
        on_select=lambda: _selected(table, ids),
        selection_mode=["multi-row", "single-cell"] if may_write else "single-cell",
    )
    chosen_table, chosen = st.session_state.get(_CHOSEN, ("", []))
    return [one for one in found if chosen_table == table and one.id in chosen]


def shown(totals: invoices.Totals, number: int, on_page: int, currency: str) -> str:
    """Which documents these are, and what all that match add up to."""
    first = (number - 1) * PAGE + 1
    if totals.count > MOST_COUNTED:
        return f"{first:,}–{first + on_page - 1:,} of more than {MOST_COUNTED:,} documents; narrow the search for sums"
    return (
        f"{first:,}–{first + on_page - 1:,} of {totals.count:,} documents · together net "
        f"{ui.money(totals.net)} {currency}, {gross_of(totals.gross, totals.undecided, currency)}"
    )


def gross_of(gross: Decimal, undecided: int, currency: str) -> str:
    """A sum of gross amounts, with what it leaves out: drafts whose VAT isn't decided have none yet."""
    without = f" without {ui.count(undecided, 'draft')} whose VAT isn't decided" if undecided else ""
    return f"gross {ui.money(gross)} {currency}{without}"


def draw_nothing(filters: Filters, known: list[date]) -> None:
    """Why the list is empty."""
    if filters != Filters():
        ui.empty("No document matches these filters.", icon=":material/search_off:")
    elif not known:
        ui.empty("Billing has not begun: an admin sets the first booking month in Settings.")
    else:
        ui.empty("There are no documents yet. The month close drafts them; single ones are written by *New invoice*.")


def draw_actions(chosen: list[Invoice], today: date, currency: str) -> None:
    """What can be done with the ticked documents."""
    if not may_write:
        st.caption("A click on a document opens it.")
        return
    waiting = [one for one in chosen if one.state == "draft"]
    clicked = st.button(
        f"Issue selected ({len(waiting)})", key="issue_selected", icon=":material/send:", disabled=not waiting
    )
    issued = len(chosen) - len(waiting)
    if st.button(f"Send selected ({issued})", key="send_selected", icon=":material/mail:", disabled=not issued):
        invoice_mail.open_many(chosen)
    payable = [one for one in chosen if one.kind == "invoice" and one.gross > 0 and one.state in payments.PAYABLE]
    if st.button(
        f"Record as paid ({len(payable)})", key="settle_selected", icon=":material/payments:", disabled=not payable
    ):
        payment_list.ask_settle(payable, today, currency)
    if not chosen:
        st.caption("Tick documents to issue, send or settle them. A click on one opens it.")
    if clicked:
        decided = [one.gross for one in waiting if one.vat_category is not None]
        total = gross_of(sum(decided, Decimal(0)), len(waiting) - len(decided), currency)
        many = "1 draft" if len(waiting) == 1 else f"{len(waiting)} drafts"
        work.ask(
            f"Issue {many}?",
            f"**{many}, {total}.**\n\nEach gets the next number and never changes "
            "afterwards: a mistake is then corrected by a cancellation. Drafts that lack something stay drafts.",
            "Issue",
            work.Job(
                documents.ISSUE,
                "Issuing …",
                "Issuing is done.",
                issuing.issue,
                ([one.id for one in waiting],),
                {"today": today},
            ),
            icon=":material/send:",
        )


# ---------------------------------------------------------------------------------- unbilled


def draw_unbilled(currency: str) -> None:
    """Charges of closed months that no document has: their draft was deleted, or their invoice cancelled."""
    with session.reading() as conn:
        found = invoices.unbilled(conn, limit=MOST_UNBILLED)
    if not found:
        ui.empty("All charges of closed months are on a document.", icon=":material/task_alt:")
        return
    st.caption(
        "Charges of closed months that are on no document, because their draft was deleted or their invoice cancelled."
    )
    rows = [
        {
            "month": ui.month(one.month),
            "number": one.number,
            "name": one.name,
            "amount": ui.money(one.amount),
            "again": ":material/edit_document: Draft again",
        }
        for one in found
    ]
    columns = {
        "month": ui.text_column("Month", width=130, pinned=True),
        "number": ui.text_column("Customer no.", width=110),
        "name": ui.text_column("Customer", width="large"),
        "amount": ui.figure_column(f"Net ({currency})", width=120),
    }
    if may_write:
        columns["again"] = st.column_config.ButtonColumn(
            "", key="draft_again", on_click=_draft_again, args=([(one.customer_id, one.month) for one in found],)
        )
    ui.table(rows, columns, key="unbilled", alt="Charges of closed months that are on no document")
    total = sum((one.amount for one in found), Decimal(0))
    many = "1 statement" if len(found) == 1 else f"{len(found):,} statements"
    oldest = "The oldest " if len(found) == MOST_UNBILLED else ""
    st.caption(f"{oldest}{many} · net {ui.money(total)} {currency}")


# ---------------------------------------------------------------------------------- the page

with session.reading() as connection:
    day = clock.today(connection)
    money_of = settings.company(connection).currency
if opened := st.session_state.pop(_OPEN, None):
    session.open_made("invoice.py", opened)

with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Invoices", anchor=False)
    st.space("stretch")
    if may_write and st.button("New invoice", key="new_invoice", type="primary", icon=":material/add:"):
        open_new(day)
work.run()
documents.show_report()
late_renewals.draw_waiting(user)
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], key="invoice_view", label_visibility="collapsed", required=True,
    bind="query-params",
)  # fmt: skip
with st.container(border=True):
    if view == "Unbilled":
        draw_unbilled(money_of)
    else:
        draw_list(day, money_of)
