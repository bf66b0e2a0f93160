"""Credit card on the page of payment methods: Stripe's keys, whether they work, and what somebody should look at."""

from urllib.parse import urlsplit

import streamlit as st

from lib import cards, settings, stripe_account, vault
from lib.auth import Permission, User
from lib.stripe_account import Account
from pages.shared import forms, session, stripe_routes, trials, ui

FORM = "stripe"
FIELDS = ("secret_key", "publishable_key", "webhook_secret")


# ---------------------------------------------------------------------------------- what the clicks do


def _save() -> None:
    trials.forget(FORM)
    saved = forms.save(
        FORM, stripe_account.edit, version=forms.version(FORM), success="The keys are saved. Test the connection.",
        **forms.typed(FORM, FIELDS),
    )  # fmt: skip
    if saved:
        with session.reading() as conn:
            version = stripe_account.account(conn).version
        forms.fill(FORM, dict.fromkeys(FIELDS, ""), version=version)


def _remove(version: int) -> None:
    trials.forget(FORM)
    if session.attempt(stripe_account.remove, version=version, success="The keys are removed."):
        with session.reading() as conn:
            version = stripe_account.account(conn).version
        forms.fill(FORM, dict.fromkeys(FIELDS, ""), version=version)


def _try() -> None:
    """Note the test in the log; the page then asks Stripe, outside of any transaction."""
    trials.forget(FORM)
    if session.attempt(stripe_account.trial, success="What Stripe answered stands below."):
        trials.ask(FORM, session.result())


def _ask_stripe(key: str) -> str:
    """Ask Stripe whose keys these are, and note that they were tested."""
    name = stripe_account.try_out(key)
    with session.reading() as conn:
        stripe_account.note_tested(conn, name)
    return f"The connection works: these are the keys of {name}."


# ---------------------------------------------------------------------------------- the tab


def draw(user: User) -> None:
    """The keys, a test of them, the webhook's address, and what needs somebody."""
    with session.reading() as conn:
        zone = settings.company(conn).timezone
        looked = cards.to_look_at(conn)
    _draw_attention(looked, zone)
    may_edit = user.may(Permission.EDIT_SETTINGS)
    st.subheader("Keys of Stripe", anchor=False)
    if may_edit:
        trials.carry_out(FORM, _ask_stripe, spinner="Asking Stripe …")
    with session.reading() as conn:
        found = stripe_account.account(conn)
    _draw_state(found, zone)
    if not may_edit:
        st.caption("An admin enters and changes them.")
        return
    _draw_trial(found)
    if not vault.configured():
        st.warning(vault.NOT_CONFIGURED, icon=":material/key_off:")
    _draw_form(found)
    _draw_webhook()


def _draw_state(found: Account, zone: str) -> None:
    if not found.mode:
        ui.empty("No keys yet: no card can be saved and no invoice paid by card.", icon=":material/credit_card_off:")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        ui.badge("stripe_live" if found.mode == "live" else "stripe_test")
        tested = f"last tested {ui.moment(found.tested_at, zone)}" if found.tested_at else "not tested yet"
        name = f"{found.account_name}, " if found.account_name else ""
        st.text(f"{name}{tested}", width="content")
    ui.facts(
        {
            "Secret key": _masked(found.secret_key_ending),
            "Publishable key": _masked(found.publishable_key_ending),
            "Webhook secret": _masked(found.webhook_secret_ending) or "Not entered: payments are seen by asking alone",
        },
        alt="The stored keys, by their last four characters",
    )


def _masked(ending: str) -> str:
    return f"•••• {ending}" if ending else ""


def _draw_trial(found: Account) -> None:
    with st.container(horizontal=True):
        st.button(
            "Test connection", key="stripe_try", icon=":material/network_check:", disabled=not found.secret_key_ending,
            on_click=_try, help=None if found.secret_key_ending else "Save the keys first.",
        )  # fmt: skip
        if found.mode and st.button("Remove keys", key="stripe_remove", icon=":material/delete:"):
            _ask_remove(found.version)
    trials.draw(FORM)


@st.dialog("Remove Stripe’s keys?", icon=":material/delete:")
def _ask_remove(version: int) -> None:
    session.close_or_explain()
    st.markdown("No card can be saved or charged then, and no pay link made. Payments that are recorded stay.")
    st.button("Remove keys", key="stripe_remove_go", type="primary", on_click=_remove, args=(version,))


def _draw_form(found: Account) -> None:
    forms.begin(FORM, dict.fromkeys(FIELDS, ""), version=found.version)
    with st.form("stripe_form"):
        st.caption(
            "From Stripe’s dashboard, all of test mode or all of live mode. Stored encrypted and never shown again; "
            "what you leave empty stays as it is."
        )
        for name, label, hint in (
            ("secret_key", "Secret key", "sk_test_… or sk_live_…, or a restricted key (rk_…)"),
            ("publishable_key", "Publishable key", "pk_test_… or pk_live_…"),
            ("webhook_secret", "Webhook secret", "whsec_…"),
        ):
            forms.text(FORM, name, label, type="password", placeholder=hint, autocomplete="off")
        st.form_submit_button("Save keys", key="stripe_save", type="primary", on_click=_save)


def _draw_webhook() -> None:
    here = urlsplit(st.context.url or "")
    st.markdown(
        "**Webhook.** Enter this address at Stripe, for events of checkout sessions, payments, refunds and disputes:"
    )
    st.code(f"{here.scheme}://{here.netloc}{stripe_routes.WEBHOOK}", language=None)


def _draw_attention(looked: list[cards.Asked], zone: str) -> None:
    if not looked:
        return
    st.subheader("To look at", anchor=False)
    rows = [
        {
            "at": ui.moment(one.recorded_at, zone), "what": cards.KINDS[one.kind], "customer": one.customer,
            "number": one.number, "amount": ui.money(one.amount), "why": one.note or one.last_error,
        }
        for one in looked
    ]  # fmt: skip
    columns = {
        "what": ui.text_column("What", width=150),
        "why": ui.text_column("Why", width=360),
        "customer": ui.text_column("Customer", width=180),
        "number": ui.text_column("Invoice", width=120),
        "amount": ui.figure_column("Amount", width=90),
        "at": ui.text_column("Asked", width=140),
    }
    ui.table(rows, columns, key="stripe_attention", alt="Payments by card that somebody should look at")
