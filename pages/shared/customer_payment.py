"""How a customer pays: its SEPA mandates, and the card that is saved at Stripe (row G16)."""

from datetime import date
from uuid import UUID

import streamlit as st

from lib import customer_fields, mandates, vault
from lib.mandates import Mandate
from pages.shared import card_payment, forms, session, ui
from pages.shared.customer_view import View

FORM = "mandate"
FIELDS = ("holder", "iban", "bic", "signed_on", "reference")


def _add(customer_id: int, today: date, request_key: UUID) -> None:
    forms.save(
        FORM, mandates.add, customer_id, today=today, request_key=request_key, success="The mandate is entered.",
        **forms.typed(FORM, FIELDS),
    )  # fmt: skip


def draw(view: View) -> None:
    """The chosen method, and what is there to collect by."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Pays by **{customer_fields.PAYMENT_METHODS[view.customer.payment_method]}**.", width="content")
        st.caption("Changed on the tab Data.", width="content")
    _draw_mandates(view)
    card_payment.draw_on_customer(view)


def _draw_mandates(view: View) -> None:
    with session.reading() as conn:
        found = mandates.mandates_of(conn, view.customer.id)
    valid = next((one for one in found if one.revoked_at is None), None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("SEPA mandate", anchor=False, width="content")
        st.space("stretch")
        if view.may_edit and valid is not None and st.button("Revoke", key="mandate_revoke", icon=":material/block:"):
            ui.confirm(
                "Revoke this mandate?",
                f"Nothing more is collected by **{ui.escaped(valid.reference)}**. It can’t be taken back: a new "
                "mandate has to be signed.",
                "Revoke mandate",
                mandates.revoke,
                valid.id,
                success="The mandate is revoked.",
            )
        if view.may_edit and valid is None and st.button("Enter mandate", key="mandate_add", icon=":material/add:"):
            empty = dict.fromkeys(FIELDS, "")
            forms.fill(FORM, empty | {"holder": view.customer.name, "signed_on": view.today})
            _ask(view)
    if not found:
        ui.empty("No mandate. Without one nothing is collected from this customer’s account.", icon=":material/draw:")
        return
    columns = {
        "state": ui.state_column("State", ("valid", "revoked"), width=100),
        "reference": ui.text_column("Reference", width=160),
        "holder": ui.text_column("Account holder", width=220),
        "iban": ui.text_column("IBAN", width=110),
        "signed": ui.text_column("Signed", width=110),
        "revoked": ui.text_column("Revoked", width=110),
        "by": ui.text_column("Entered by", width=130),
    }
    ui.table([_row(one, view.zone) for one in found], columns, key="mandates", alt="SEPA mandates of this customer")


def _row(one: Mandate, zone: str) -> dict[str, object]:
    return {
        "state": [ui.word("valid" if one.revoked_at is None else "revoked")],
        "reference": one.reference,
        "holder": one.holder,
        "iban": f"… {one.iban_ending}",
        "signed": ui.day(one.signed_on),
        "revoked": ui.day_of(one.revoked_at, zone),
        "by": one.recorded_by,
    }


@st.dialog("Enter mandate", icon=":material/draw:")
def _ask(view: View) -> None:
    session.close_or_explain()
    if not vault.configured():
        st.warning(vault.NOT_CONFIGURED, icon=":material/key_off:")
    st.markdown("As it was signed. The IBAN is stored encrypted; from then on only its last four characters are shown.")
    with st.form(FORM, border=False):
        forms.text(FORM, "holder", "Account holder")
        forms.text(FORM, "iban", "IBAN", autocomplete="off")
        st.date_input("Signed on", key=f"{FORM}_signed_on", max_value=view.today, format="YYYY-MM-DD")
        forms.error(FORM, "signed_on")
        forms.text(FORM, "reference", "Mandate reference", placeholder="Given by us if empty")
        forms.text(FORM, "bic", "BIC", placeholder="Only for accounts outside the EEA")
        st.form_submit_button(
            "Enter mandate", key="mandate_save", type="primary", on_click=_add,
            args=(view.customer.id, view.today, forms.request_key(FORM)),
        )  # fmt: skip
