"""Settings of mail: the server that everything is sent by, and the templates of what is sent."""

from typing import Any

import streamlit as st

from lib import jobs, mail_server, mail_templates, settings, vault
from lib.errors import Invalid
from lib.mail_server import SECURITIES, MailServer, Trial
from lib.mail_templates import KINDS, LANGUAGES, Template
from pages.shared import forms, session, trials, ui

SERVER = "mail_server"
SERVER_FIELDS = ("host", "port", "security", "username", "sender_address", "sender_name")


# ---------------------------------------------------------------------------------- what the clicks do


def _save_server() -> None:
    typed = forms.typed(SERVER, SERVER_FIELDS)
    password = str(st.session_state[f"{SERVER}_password"])
    trials.forget(SERVER)
    saved = forms.save(
        SERVER,
        mail_server.edit,
        version=forms.version(SERVER),
        changes=typed,
        password=password,
        success="The mail server is saved. Send a test mail to see whether it works.",
    )
    if saved:
        with session.reading() as conn:
            found = mail_server.server(conn)
        forms.fill(SERVER, _typed_server(found), version=found.version)


def _typed_server(found: MailServer) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in SERVER_FIELDS}
    return values | {"port": str(found.port), "password": ""}


def _try_server() -> None:
    """Note the test mail in the log; the page then sends it, outside of any transaction."""
    trials.forget(SERVER)
    recipient = st.session_state["trial_test_recipient"]
    if forms.save(
        "trial", mail_server.trial, recipient=recipient, success="What the mail server answered stands below."
    ):
        trials.ask(SERVER, session.result())


def _send_trial(trial: Trial) -> str:
    """Send the test mail that was asked for."""
    mail_server.send_trial(trial)
    return f"{trial.account.host} took the test mail to {trial.recipient}. Look whether it arrives."


def _save_template(kind: str, language: str) -> None:
    form = _form(kind, language)
    typed = forms.typed(form, ("subject", "body"))
    saved = forms.save(
        form,
        mail_templates.edit,
        kind,
        language,
        version=forms.version(form),
        success="The template is saved. Mails that are queued already keep their text.",
        **typed,
    )
    if saved:
        _fill_template(kind, language)


def _reset_template(found: Template) -> None:
    success = "The template is as it was delivered."
    if session.attempt(mail_templates.reset, found.kind, found.language, version=found.version, success=success):
        _fill_template(found.kind, found.language)


def _fill_template(kind: str, language: str) -> None:
    with session.reading() as conn:
        found = mail_templates.template(conn, kind, language)
    forms.fill(_form(kind, language), {"subject": found.subject, "body": found.body}, version=found.version)


def _form(kind: str, language: str) -> str:
    return f"template_{kind}_{language}"


# ---------------------------------------------------------------------------------- the mail server


def draw_server() -> None:
    """Host, sign-in and sender; then a test mail, with what the server says to it."""
    with session.reading() as conn:
        found = mail_server.server(conn)
        ready = mail_server.ready(conn)
        waiting = jobs.total(conn, jobs.Filters(kinds=("mail",), states=("waiting",)))
        own_address = settings.company(conn).email
    if not vault.configured():
        st.warning(vault.NOT_CONFIGURED, icon=":material/key_off:")
    if waiting and not ready:
        many = "1 mail waits" if waiting == 1 else f"{waiting:,} mails wait"
        st.info(
            f"{many} for a mail server. Once it is saved here, mail goes out within seconds.",
            icon=":material/outgoing_mail:",
        )
    forms.begin(SERVER, _typed_server(found), version=found.version)
    with st.form("mail_server_form"):
        _draw_connection(found)
        _draw_sender()
        st.form_submit_button("Save", key="mail_server_save", type="primary", on_click=_save_server)
    _draw_trial(ready, own_address)


def _draw_connection(found: MailServer) -> None:
    first, second, third = st.columns([4, 1, 3])
    with first:
        forms.text(
            SERVER, "host", "Mail server", placeholder="mail.company.example", help="Empty: no mails are sent at all."
        )
    with second:
        forms.text(SERVER, "port", "Port")
    with third:
        forms.choice(SERVER, "security", "Encryption", SECURITIES, lambda one: SECURITIES[one])
    left, right = st.columns(2)
    with left:
        forms.text(SERVER, "username", "User name", autocomplete="off", help="Empty where the server asks for none.")
    with right:
        kept = "Stored. Leave empty to keep it" if found.has_password else ""
        forms.text(
            SERVER, "password", "Password", type="password", placeholder=kept, autocomplete="new-password",
            help="Stored encrypted and never shown again.",
        )  # fmt: skip


def _draw_sender() -> None:
    left, right = st.columns(2)
    with left:
        forms.text(SERVER, "sender_address", "Sender’s address", placeholder="billing@company.example")
    with right:
        forms.text(SERVER, "sender_name", "Sender’s name", placeholder="Company GmbH")


def _draw_trial(ready: bool, own_address: str) -> None:
    forms.begin("trial", {"test_recipient": own_address})
    with st.container(border=True):
        st.subheader("Does it work?", anchor=False)
        st.caption("Sends one mail by the settings as they are saved. If it fails, the reason stands here.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input("To", key="trial_test_recipient", placeholder="you@company.example", width=340)
            st.button(
                "Send a test mail", key="trial_go", icon=":material/outgoing_mail:", disabled=not ready,
                on_click=_try_server, help=None if ready else "Save the mail server first.",
            )  # fmt: skip
        forms.error("trial", "test_recipient")
        trials.carry_out(SERVER, _send_trial, spinner="Talking to the mail server …")
        trials.draw(SERVER, icon=":material/mark_email_read:")


# ---------------------------------------------------------------------------------- the templates


def draw_templates() -> None:
    """One template at a time, beside it what a person will read."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox(
            "Mail", list(KINDS), format_func=lambda one: KINDS[one].label, key="template_kind", width=260
        )
        language = st.segmented_control(
            "Language", list(LANGUAGES), format_func=lambda one: LANGUAGES[one], default="de", key="template_language",
            required=True,
        )  # fmt: skip
    st.caption(KINDS[kind].when)
    with session.reading() as conn:
        found = mail_templates.template(conn, kind, language)
        company = settings.company(conn).name
    form = _form(kind, language)
    forms.begin(form, {"subject": found.subject, "body": found.body}, version=found.version)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        subject = forms.text(form, "subject", "Subject")
        body = forms.block(form, "body", "Text", height=340)
        _draw_template_buttons(found)
    with right:
        _draw_preview(Template(kind, language, subject, body), company)
        _draw_places(kind)


def _draw_template_buttons(found: Template) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Save template", key="template_save", type="primary", on_click=_save_template,
            args=(found.kind, found.language),
        )  # fmt: skip
        if found.version == 0:
            st.caption("As it was delivered.")
        elif st.button("Back to the delivered text …", key="template_reset", type="tertiary"):
            _ask_reset(found)


@st.dialog("Back to the delivered text?")
def _ask_reset(found: Template) -> None:
    session.close_or_explain()
    delivered = mail_templates.default(found.kind, found.language)
    st.markdown("Your text of this mail is replaced by the one that Mandant came with:")
    with st.container(border=True):
        st.markdown(f"**{ui.escaped(delivered.subject)}**")
        st.text(delivered.body)
    st.button("Replace my text", key="template_reset_go", type="primary", on_click=_reset_template, args=(found,))


def _draw_preview(typed: Template, company: str) -> None:
    with st.container(border=True):
        st.markdown("**Preview**, with invented values")
        try:
            checked = mail_templates.checked(typed.kind, subject=typed.subject, body=typed.body)
        except Invalid as refusal:
            forms.problem(str(refusal))
            return
        subject, body = mail_templates.preview(
            Template(typed.kind, typed.language, checked["subject"], checked["body"]), company=company
        )
        st.markdown(f"**{ui.escaped(subject)}**")
        st.text(body)


def _draw_places(kind: str) -> None:
    with st.expander("What can be filled in", icon=":material/data_object:", key=f"places_{kind}"):
        ui.facts(
            {f"{{{name}}}": meaning for name, meaning in KINDS[kind].places.items()},
            alt="What can be filled in, and what it means",
        )
