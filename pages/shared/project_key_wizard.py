"""The wizard that redeems a project key for a customer: the key, our price, the distribution, a summary (row G9).

Each step keeps what was typed, so that *Back* loses nothing. Nothing is written before *Finish*.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import streamlit as st

from lib import clock, money, project_key_redemptions
from lib.auth import Permission
from lib.errors import BillingError, Invalid
from lib.project_key_redemptions import Offer, Preview, Terms
from lib.project_keys import CHARGING
from pages.shared import forms, numbers, session, ui
from pages.shared.customer_view import View

STEPS = ("Key", "Price", "Distribution", "Summary")
_DRAFT = "key_wizard"
KEY, PRICE, CHARGED = "key_typed", "key_price", "key_charging"
INSIDE, OUTSIDE, SLIDER, INSTANTLY = "key_internal", "key_external", "key_slider", "key_instantly"


@dataclass
class Draft:
    """What was typed so far. `problems` are the refusals of the last click, by field; "" is of no field."""

    step: int = 0
    key: str = ""
    offer: Offer | None = None
    price: str = ""
    charging: str = "monthly"
    internal: int = 0
    instantly: bool = True
    problems: dict[str, str] = field(default_factory=dict)
    request: UUID = field(default_factory=uuid4)

    @property
    def found(self) -> Offer:
        """The key, once the first step has found it."""
        assert self.offer is not None
        return self.offer

    def terms(self) -> Terms:
        """How the key is to be redeemed. Raises Invalid at the price."""
        return Terms(
            selling_price=money.parse(self.price, field="selling_price"),
            charging=self.charging,
            internal=self.internal,
            external=self.found.key.ips - self.internal,
            instantly=self.instantly and not self.found.decrease,
        )


def open_dialog(view: View) -> None:
    """Open the wizard at its first step."""
    st.session_state[_DRAFT] = Draft()
    _enter(0)
    _dialog(view)


@st.dialog("Project key", width="medium", icon=":material/key:")
def _dialog(view: View) -> None:
    session.close_or_explain()
    draft: Draft = st.session_state[_DRAFT]
    st.markdown(f"**{ui.escaped(f'{view.customer.number} {view.customer.name}')}**")
    st.caption(" › ".join(f"**{n} {name}**" if n - 1 == draft.step else f"{n} {name}" for n, name in _numbered()))
    _problem(draft, "")
    _DRAWN[draft.step](view, draft)


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(STEPS, start=1))


# ---------------------------------------------------------------------------------- from step to step


def _enter(step: int) -> None:
    """Show a step with what was typed in it before: Streamlit forgets the inputs of the others."""
    draft: Draft = st.session_state[_DRAFT]
    draft.step = step
    st.session_state[KEY], st.session_state[PRICE] = draft.key, draft.price
    st.session_state[CHARGED], st.session_state[INSTANTLY] = draft.charging, draft.instantly
    if draft.offer is not None:
        _split(draft.internal)


def _keep() -> None:
    """Note what stands in the inputs of this step."""
    draft: Draft = st.session_state[_DRAFT]
    draft.problems = {}
    if draft.step == 0:
        draft.key = st.session_state[KEY]
    elif draft.step == 1:
        draft.price, draft.charging = st.session_state[PRICE], st.session_state[CHARGED]
    elif draft.step == 2:
        try:
            numbers.typed_whole(OUTSIDE, field="external", name="External", highest=draft.found.key.ips)
            draft.internal = numbers.typed_whole(INSIDE, field="internal", name="Internal")
        except Invalid as refused:
            draft.problems = {"internal": str(refused)}


def _back() -> None:
    _keep()
    draft: Draft = st.session_state[_DRAFT]
    draft.problems = {}
    _enter(draft.step - 1)


def _next(view: View) -> None:
    """Go on, if what was typed is right."""
    _keep()
    draft: Draft = st.session_state[_DRAFT]
    if draft.problems:
        return
    try:
        _CHECKED[draft.step](view, draft)
    except BillingError as refused:
        draft.problems = {getattr(refused, "field", None) or "": str(refused)}
        return
    _enter(draft.step + 1)


def _look_up(view: View, draft: Draft) -> None:
    before = draft.offer
    with session.reading() as conn:
        draft.offer = project_key_redemptions.offered(
            conn, view.customer.id, draft.key, today=view.today, user=view.user
        )
    if before is None or before.key.id != draft.offer.key.id:
        draft.internal = min(draft.offer.held.internal or 0, draft.offer.key.ips)


def _require_price(view: View, draft: Draft) -> None:
    draft.terms()


def _require_split(view: View, draft: Draft) -> None:
    if draft.internal > draft.found.key.ips:
        raise Invalid(f"The key brings {draft.found.key.ips:,} IPs. Enter as many at most.", field="internal")


def _problem(draft: Draft, name: str) -> None:
    forms.problem(draft.problems.get(name, ""))


# ---------------------------------------------------------------------------------- the steps


def _draw_key(view: View, draft: Draft) -> None:
    st.markdown(
        "A key brings a number of IPs for some months, at a price that you agree with the customer. It is used once."
    )
    with st.form("key_step", border=False):
        st.text_input("Project key", key=KEY, autocomplete="off", help="Spaces and hyphens don't count.")
        _problem(draft, "key")
        with st.container(horizontal=True):
            st.space("stretch")
            st.form_submit_button("Next", type="primary", key="key_next", on_click=_next, args=(view,))


def _draw_price(view: View, draft: Draft) -> None:
    _draw_found(view, draft.found)
    with st.form("price_step", border=False):
        st.text_input(
            f"Selling price, net ({view.currency})", key=PRICE, placeholder="0.00",
            help="Of one month, or of the whole runtime, as chosen below. It takes the place of the price list.",
        )  # fmt: skip
        _problem(draft, "selling_price")
        st.radio("Charged", list(CHARGING), format_func=CHARGING.__getitem__, key=CHARGED, horizontal=True)
        _problem(draft, "charging")
        _buttons(view)


def _draw_found(view: View, offer: Offer) -> None:
    key = offer.key
    facts = {"Key": key.masked, "IPs": f"{key.ips:,}", "Runtime": ui.count(key.months, "month")}
    if view.user.may(Permission.SEE_PURCHASE_PRICES):
        facts["Purchase price"] = f"{ui.money(key.purchase_price)} {view.currency}"
    ui.facts(facts, alt="The key")


def _draw_split(view: View, draft: Draft) -> None:
    total = draft.found.key.ips
    held = draft.found.held
    st.markdown(
        f"The key brings **{total:,}** IPs. Today the customer has {held.quantity:,}: {held.internal or 0:,} internal, "
        f"{held.external or 0:,} external."
    )
    left, right = st.columns(2)
    with left:
        inside = numbers.whole(
            "Internal", key=INSIDE, field="internal", highest=total, on_change=_typed, args=(INSIDE, total)
        )
    with right:
        numbers.whole("External", key=OUTSIDE, field="external", highest=total, on_change=_typed, args=(OUTSIDE, total))
    # Always there, so that nothing moves under the pointer.
    st.session_state[SLIDER] = min(inside or 0, total)
    st.slider("Internal share, the rest is external", 0, total, key=SLIDER, on_change=_slid, args=(total,))
    _problem(draft, "internal")
    _buttons(view)


def _split(inside: int) -> None:
    draft: Draft = st.session_state[_DRAFT]
    st.session_state[INSIDE] = str(inside)
    st.session_state[OUTSIDE] = str(max(draft.found.key.ips - inside, 0))


def _typed(changed: str, total: int) -> None:
    """One share was typed: the other one is the rest."""
    try:
        number = numbers.typed_whole(changed, field="internal", name="IPs", highest=total)
    except Invalid:  # told at the field
        return
    _split(number if changed == INSIDE else total - number)


def _slid(total: int) -> None:
    _split(int(st.session_state[SLIDER]))


def _draw_summary(view: View, draft: Draft) -> None:
    key, held = draft.found.key, draft.found.held
    following = clock.next_month(clock.month_of(view.today))
    if draft.found.decrease:
        st.caption(
            f":material/schedule: The customer has {held.quantity:,} IPs today. A decrease takes effect at the month's "
            f"end: the key starts on {ui.day(following)}."
        )
    else:
        st.checkbox(
            "Perform action instantly", key=INSTANTLY, on_change=_instantly,
            help=f"From today, {ui.day(view.today)}. Otherwise with the next month, from {ui.day(following)}.",
        )  # fmt: skip
    try:
        with session.reading() as conn:
            seen = project_key_redemptions.preview(
                conn, view.customer.id, draft.key, draft.terms(), today=view.today, user=view.user
            )
    except BillingError as refused:
        st.error(ui.escaped(str(refused)), icon=":material/error:")
        _buttons(view)
        return
    _draw_facts(view, draft, seen)
    if seen.pending:
        st.caption(":material/undo: IPs that are booked for later are taken back.")
    changes = "\n".join(
        f"- {ui.month(effect.month)}: {ui.charge(effect.before)} → **{ui.charge(effect.after)}**"
        for effect in seen.effects
    )
    st.markdown(f"All charges of the customer, net in {view.currency}:\n{changes}")
    st.caption(
        f"Until {ui.day(seen.last_day)} the {key.ips:,} IPs can be split anew, but not become more or fewer; they end "
        "on that day. The payment method becomes *Project key*."
    )
    _buttons(view, finish=True)


def _draw_facts(view: View, draft: Draft, seen: Preview) -> None:
    key, terms = draft.found.key, draft.terms()
    each = "each month" if terms.charging == "monthly" else "once, at the start"
    facts = {
        "Key": key.masked,
        "IPs": f"{key.ips:,}: {terms.internal:,} internal, {terms.external:,} external",
        "Runtime": f"{ui.day(seen.from_day)} – {ui.day(seen.last_day)}, {ui.count(key.months, 'month')}",
        "Selling price": f"{ui.money(terms.selling_price)} {view.currency} {each}",
        "Over the runtime": f"{ui.money(seen.total)} {view.currency}",
    }
    if view.user.may(Permission.SEE_PURCHASE_PRICES):
        facts["Purchase price"] = f"{ui.money(key.purchase_price)} {view.currency}"
        facts["Margin"] = f"{ui.signed(seen.total - key.purchase_price)} {view.currency}"
    ui.facts(facts, alt="What the key brings and costs")


def _instantly() -> None:
    st.session_state[_DRAFT].instantly = st.session_state[INSTANTLY]


def _buttons(view: View, *, finish: bool = False) -> None:
    """Back, and Next or Finish; submitting the form of its step, where that has one."""
    draft: Draft = st.session_state[_DRAFT]
    button = st.form_submit_button if draft.step == 1 else st.button
    with st.container(horizontal=True):
        button("Back", key="key_back", icon=":material/arrow_back:", on_click=_back)
        st.space("stretch")
        if finish:
            button("Finish", key="key_finish", type="primary", icon=":material/check:", on_click=_finish, args=(view,))
        else:
            button("Next", key="key_next", type="primary", on_click=_next, args=(view,))


def _finish(view: View) -> None:
    draft: Draft = st.session_state[_DRAFT]
    session.attempt(
        project_key_redemptions.redeem, view.customer.id, draft.key, draft.terms(), today=view.today,
        request_key=draft.request, success=f"{view.customer.name} has the IPs of project key {draft.found.key.masked}.",
    )  # fmt: skip


_CHECKED: tuple[Callable[[View, Draft], None], ...] = (_look_up, _require_price, _require_split)
_DRAWN: tuple[Callable[[View, Draft], None], ...] = (_draw_key, _draw_price, _draw_split, _draw_summary)
