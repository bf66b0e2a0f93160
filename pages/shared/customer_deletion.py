"""Deleting a customer: the dialogs, the notice in the head, and the record with our own duties (rows G12, N10)."""

from collections.abc import Sequence

import streamlit as st

from lib import customers, deletions, erasures
from lib.auth import Permission
from lib.customer_fields import OF_LAST_INVOICE
from lib.customer_states import Action
from lib.deletions import Deletion, Duty, Item
from pages.shared import customer_form, forms, session, ui
from pages.shared.customer_view import View

WORD, LAST = "deletion_typed", "last_invoice"
DUTIES = " and ".join(f"*{duty}*" for duty in erasures.DUTIES)


# ---------------------------------------------------------------------------------- deleting, taking back


def ask(view: View, effect: str) -> None:
    """Open the dialog that marks the customer for deletion; `effect` says what that does to its charges."""
    with session.reading() as conn:
        word, minutes = deletions.needs_word(conn, view.customer.id), deletions.delay_minutes(conn)
    _delete(view, effect, word=word, minutes=minutes)


@st.dialog("Delete customer", icon=":material/delete:", on_dismiss="rerun")
def _delete(view: View, effect: str, *, word: bool, minutes: int) -> None:
    session.explain()
    with session.reading() as conn:
        done = deletions.deletion_of(conn, view.customer.id)
    # Asked of the database: the dialog may be drawn again after the run that said so.
    if done is not None:
        _closing(view, done)
        return
    name = ui.escaped(view.customer.name)
    st.markdown(
        f"**{name}** will be marked for deletion: its users are signed out at once and can't sign in, and its "
        f"subscription ends with this booking month. After {ui.duration(minutes)} its personal data are erased for "
        "good, and that is confirmed by mail. Until then it can be taken back.\n\n"
        "Kept are issued documents, as long as the law demands, with number and name; and what the last invoice "
        "needs, until that is issued and settled."
    )
    st.markdown(effect)
    if word:
        st.text_input(f"Somebody has registered. Type {deletions.WORD} to confirm", key=WORD)
        session.field_error("typed")
    st.button("Delete customer", key="delete_go", type="primary", on_click=_mark, args=(view,))


def _mark(view: View) -> None:
    session.attempt(
        deletions.mark, view.customer.id, typed=st.session_state.get(WORD, ""), today=view.today,
        success=f"{view.customer.name} is marked for deletion.",
    )  # fmt: skip


def _closing(view: View, deletion: Deletion) -> None:
    """What is left to do for us, once it is gone here."""
    st.markdown(
        f"**{ui.escaped(deletion.name)}** is gone here from {ui.moment(deletion.due_at, view.zone)} on. Then two "
        "things are left to us, which nothing here does:"
    )
    for duty in erasures.DUTIES:
        st.markdown(f":material/check_box_outline_blank: {duty}")
    st.markdown("They stand on the page *Customers* until somebody signs them off.")
    if st.button("Close", key="delete_close"):
        st.rerun()


def take_back_button(view: View) -> None:
    """The way back, as long as there is one."""
    if not (Action.KEEP in view.offers and view.user.may(Permission.DELETE_CUSTOMERS)):
        return
    if st.button("Take deletion back", key="keep", icon=":material/undo:"):
        ui.confirm(
            "Take the deletion back?",
            "Everything is as it was before: its users can sign in again with the passwords they had, and its "
            "subscription goes on. Where that has ended meanwhile, it is charged again from today.",
            "Take back", deletions.take_back, view.customer.id, today=view.today,
            success=f"{view.customer.name} is not deleted.",
        )  # fmt: skip


def notice(view: View) -> None:
    """Below the head: that the customer is to be deleted, or that it was."""
    with session.reading() as conn:
        deletion = deletions.deletion_of(conn, view.customer.id)
    if deletion is None:
        return
    if deletion.erased_at is not None:
        _erased_notice(view, deletion)
        return
    st.warning(
        f"Marked for deletion by {ui.escaped(deletion.requested_by)} on {ui.moment(deletion.requested_at, view.zone)}: "
        f"its users can't sign in, and its data are erased from {ui.moment(deletion.due_at, view.zone)} on. "
        "Until then this can be taken back.",
        icon=":material/auto_delete:",
    )


def _erased_notice(view: View, deletion: Deletion) -> None:
    left = (
        "What is left are its number and name, charges and documents."
        if deletion.settled_at
        else "What its last invoice needs is kept until that is issued and settled."
    )
    st.info(f"Deleted: its data were erased on {ui.moment(deletion.erased_at, view.zone)}. {left}",
            icon=":material/auto_delete:")  # fmt: skip


# ---------------------------------------------------------------------------------- the record


def draw(view: View) -> None:
    """The Deletion tab: our duties, what was erased, what is kept, until when and why."""
    with session.reading() as conn:
        deletion = deletions.deletion_of(conn, view.customer.id)
        if deletion is None:
            ui.empty("This customer is not deleted.")
            return
        record, duties = deletions.items(conn, deletion.id), deletions.duties_of(conn, deletion.id)
        waits, mail = erasures.waits_for(conn, view.customer.id), deletions.confirmation(conn, view.customer.id)
    if deletion.last_error:
        st.error(f"The erasure failed and is tried again: {ui.escaped(deletion.last_error)}", icon=":material/error:")
    if deletion.erased_at is None:
        _to_come(view, deletion)
        return
    st.subheader("Our own duties", anchor=False)
    st.caption("What nothing here can do for us. Each stays open until somebody signs it off.")
    for duty in duties:
        draw_duty(duty, zone=view.zone, may_sign=view.user.may(Permission.DELETE_CUSTOMERS))
    _kept(view, deletion, [item for item in record if item.treatment == "kept"], waits)
    _erased(view, [item for item in record if item.treatment == "erased"])
    if mail is None:
        st.caption("No e-mail address was known, so the erasure was confirmed to nobody.")
    else:
        words = {
            "queued": "The mail that confirms the erasure waits to be sent; until then its address is kept.",
            "sent": f"The erasure was confirmed by mail on {ui.moment(mail.sent_at, view.zone)}.",
            "failed": f"The mail that confirms the erasure was not sent: {ui.escaped(mail.last_error)}",
        }
        st.caption(words[mail.state])


def _to_come(view: View, deletion: Deletion) -> None:
    ui.facts(
        {
            "Marked by": deletion.requested_by,
            "Marked at": ui.moment(deletion.requested_at, view.zone),
            "Erased from": ui.moment(deletion.due_at, view.zone),
            "Subscription ends": ui.day(view.customer.ends_on),
        },
        alt="The deletion",
    )
    st.caption(f"Once it is erased, this page lists what was erased and what is kept; and our own duties: {DUTIES}.")


def draw_duty(duty: Duty, *, zone: str, may_sign: bool, named: bool = False) -> None:
    """One duty: open with its button, or signed off by whom and when. `named`: with the customer it is about."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"duty_{duty.id}"):
        ui.badge("open" if duty.signed_off_at is None else "done")
        about = f" · {duty.customer}" if named else ""
        st.markdown(f"**{ui.escaped(duty.what)}**{ui.escaped(about)}")
        st.space("stretch")
        if duty.signed_off_at is not None:
            st.caption(ui.escaped(f"{duty.signed_off_by}, {ui.moment(duty.signed_off_at, zone)}"), width="content")
        elif may_sign and st.button("Sign off", key=f"sign_off_{duty.id}", icon=":material/check:"):
            ui.confirm(
                "Sign this duty off?",
                f"**{ui.escaped(duty.what)}** for {ui.escaped(duty.customer)} is done. Your name and the time are "
                "recorded, and it can't be opened again.",
                "Sign off", deletions.sign_off, duty.id, success="The duty is signed off.",
            )  # fmt: skip


def draw_open_duties() -> None:
    """How many duties are open, with the way to them: they stay in sight until they are signed off (row N10)."""
    with session.reading() as conn:
        open_ones = deletions.open_duties(conn)
    if not open_ones:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(
            f"{open_ones} open {'duty' if open_ones == 1 else 'duties'}", color="orange", icon=":material/checklist:"
        )
        st.page_link("deletions.py", label="Deleted customers: what is left to do for us")


def _kept(view: View, deletion: Deletion, kept: Sequence[Item], waits: Sequence[str]) -> None:
    st.subheader("Kept", anchor=False)
    rows = []
    for item in kept:
        last = item.what == erasures.LAST_INVOICE
        rows.append(
            {
                "what": item.what,
                "count": ui.number(item.count),
                "until": "until settled" if last else ui.day(item.kept_until),
                "why": _sentence(waits) if last and waits else item.reason,
            }
        )
    columns = {
        "what": ui.text_column("What", width=230, pinned=True),
        "count": ui.figure_column("Number", width=80),
        "until": ui.figure_column("Until", width=110),
        "why": ui.text_column("Why", width=560),
    }
    ui.table(rows, columns, key="kept_table", alt="What is kept, until when and why")
    if (
        Action.EDIT_LAST_INVOICE in view.offers
        and view.user.may(Permission.EDIT_INVOICES)
        and st.button("Edit what the last invoice needs", key="last_invoice_edit", icon=":material/edit:")
    ):
        names = OF_LAST_INVOICE
        forms.fill(LAST, customer_form.stored(view.customer, names), version=view.customer.version)
        _last_invoice(view)


def _sentence(waits: Sequence[str]) -> str:
    told = "; ".join(waits)
    return told[:1].upper() + told[1:]


@st.dialog("What the last invoice needs", width="medium", icon=":material/edit:")
def _last_invoice(view: View) -> None:
    session.close_or_explain()
    elsewhere = customer_form.elsewhere(LAST)
    with st.form(LAST, border=False):
        customer_form.address(LAST)
        customer_form.billing(LAST, on=elsewhere)
        forms.text(LAST, "billing_email", "E-mail for invoices")
        customer_form.tax(LAST)
        forms.text(LAST, "purchase_order", "Purchase-order reference")
        st.form_submit_button("Save", key="last_invoice_go", type="primary", on_click=_save_last, args=(view,))


def _save_last(view: View) -> None:
    changes = forms.typed(LAST, forms.shown(LAST, OF_LAST_INVOICE))
    forms.save(
        LAST, customers.edit_for_last_invoice, view.customer.id, version=forms.version(LAST),
        changes=changes, today=view.today, success="Saved for the last invoice.",
    )  # fmt: skip


def _erased(view: View, erased: Sequence[Item]) -> None:
    st.subheader("Erased", anchor=False)
    columns = {
        "what": ui.text_column("What", width=400, pinned=True),
        "count": ui.figure_column("Number", width=80),
        "at": ui.figure_column("When", width=150),
    }
    rows = [
        {"what": item.what, "count": ui.number(item.count), "at": ui.moment(item.done_at, view.zone)} for item in erased
    ]
    ui.table(rows, columns, key="erased_table", alt="What was erased, and when")
