"""What the price pages share: the history of a price, its withdrawal, a new version and what it changes."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID, uuid4

import streamlit as st

from lib import clock, price_effects, price_notices, prices
from lib.auth import Permission, User
from lib.price_effects import Effects
from lib.prices import Tier, Version
from lib.products import Product
from pages.shared import notice_review, session, tier_editor, ui

MONTHS_AHEAD = 24
PAGE = 50
_REVIEWED, _NOTICES = "review_page", "review_notices"


def from_month(key: str, *, first_open: date, today: date) -> date:
    """The field for the month from which a price rules; the next month unless another one is chosen."""
    options = [clock.next_month(first_open, by=step) for step in range(MONTHS_AHEAD + 1)]
    usual = clock.next_month(clock.month_of(today))
    chosen: date = st.selectbox(
        "Valid from",
        options,
        index=options.index(usual) if usual in options else 0,
        format_func=ui.month,
        key=key,
        help="A price rules whole months, from the first day of this one.",
        width=260,
    )
    session.field_error("valid_from")
    return chosen


def tiers_in(versions: Sequence[Version], month: date) -> list[Tier]:
    """The ranges of the version that rules a month, of versions without gaps between them; none before the first."""
    return next((version.tiers for version in versions if version.valid_from <= month), [])


def history(versions: Sequence[Version], *, first_open: date | None, user: User, key: str) -> None:
    """The versions of one price, the newest first, with a button for each that can still be withdrawn."""
    if not versions:
        ui.empty("No price yet.", icon=":material/sell:")
        return
    st.table(
        [
            {
                "Valid": span(version),
                "Unit price": price_text(version.tiers),
                "Saved by": session.escaped(f"{version.recorded_by}, {ui.day(version.recorded_at.date())}"),
            }
            for version in versions
        ],
        border="horizontal",
        alt="Versions of the price, the newest first",
    )
    with st.container(horizontal=True):
        notice_review.draw(versions, user)
        if user.may(Permission.EDIT_PRICES):
            for version in versions:
                if first_open is not None and version.valid_from >= first_open:
                    _withdraw_button(version, key=key)


def span(version: Version) -> str:
    """From December 2026, or June 2026 – November 2026."""
    if version.until_month is None:
        return f"from {ui.month(version.valid_from)}"
    last = clock.next_month(version.until_month, by=-1)
    return ui.month(last) if last == version.valid_from else f"{ui.month(version.valid_from)} – {ui.month(last)}"


def price_text(tiers: Sequence[Tier]) -> str:
    """The ranges for a cell of a table: one below the other, none divided where the table is narrow."""
    if not tiers:
        return "List price"
    return session.escaped(prices.described(tiers).replace(", ", "\n").replace(" ", "\N{NO-BREAK SPACE}"))


def _withdraw_button(version: Version, *, key: str) -> None:
    month = ui.month(version.valid_from)
    asked = st.button(f"Withdraw {month}", key=f"{key}_withdraw_{version.id}", icon=":material/undo:", type="tertiary")
    if asked:
        whose = f" of {session.escaped(version.customer)}" if version.customer else ""
        ui.confirm(
            f"Withdraw the price from {month}?",
            f"The price{whose} that ruled before goes on. Charges of open months are computed again; "
            "the withdrawn version stays in the audit log.",
            "Withdraw price",
            prices.withdraw,
            version.id,
            success=f"The price from {month} is withdrawn.",
        )


def new_individual(
    product: Product, customer_id: int, name: str, *, valid_from: date, tiers: list[Tier], editor: str
) -> None:
    """Save a customer's own price, or with no ranges the return to the list price. For `on_click`."""
    what = f"{name} has its own price" if tiers else f"The list price rules {name} again"
    saved = session.attempt(
        prices.set_individual_price,
        product.id,
        customer_id,
        valid_from=valid_from,
        tiers=tiers,
        request_key=tier_editor.request_key(editor),
        success=f"{what} from {ui.month(valid_from)}.",
    )
    if saved:
        tier_editor.reset(editor)


@st.dialog("Review the new price", width="large")
def review(
    product: Product,
    tiers: list[Tier],
    valid_from: date,
    currency: str,
    editor: str,
    request_key: UUID,
) -> None:
    """Whose month changes, old and new, and the button that saves the list price (row B5)."""
    session.close_or_explain()
    st.markdown(
        f"**{session.escaped(product.name_en)}** from **{ui.month(valid_from)}**: {price_text(tiers)}".replace(
            "  \n", ", "
        )
    )
    found = _rated(product, tiers, valid_from)
    _totals(found, currency)
    _effects_table(found, currency)
    same = f" {ui.count(found.same, 'more customer')} of this product: the same amount." if found.same else ""
    st.caption(f"Net amounts of {ui.month(valid_from)} as booked today.{same}")
    if found.changed:
        st.checkbox(
            "Prepare a notice by mail for those that change",
            key=_NOTICES,
            help="It is sent once somebody approves it, from the versions of the price.",
        )
    st.button(
        f"Save price from {ui.month(valid_from)}",
        key="review_save",
        type="primary",
        on_click=_save,
        args=(product, tiers, valid_from, editor, request_key),
    )


def review_button(
    product: Product,
    entered: tier_editor.Entered,
    valid_from: date,
    *,
    ruling: Sequence[Tier],
    currency: str,
    editor: str,
) -> None:
    """The page's primary button: opens the review, once all cells can be read and differ from what rules then."""
    same = entered.tiers == list(ruling)
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button(
            "Review and save …",
            key=f"{editor}_review",
            type="primary",
            disabled=entered.tiers is None or same,
            help=f"Nothing differs from the price that rules {ui.month(valid_from)}." if same else None,
        )
        st.button(
            "Discard changes", key=f"{editor}_discard", type="tertiary", on_click=tier_editor.reset, args=(editor,)
        )
    if asked and entered.tiers is not None:
        for key in (_REVIEWED, _NOTICES):
            st.session_state.pop(key, None)
        review(product, entered.tiers, valid_from, currency, editor, uuid4())


def _save(product: Product, tiers: list[Tier], valid_from: date, editor: str, request_key: UUID) -> None:
    notices = st.session_state.get(_NOTICES, False)
    told = " The notices wait for approval, at its version." if notices else ""
    saved = session.attempt(
        price_notices.save if notices else prices.set_list_price,
        product.id,
        valid_from=valid_from,
        tiers=tiers,
        request_key=request_key,
        success=f"The price is saved and rules from {ui.month(valid_from)}.{told}",
    )
    if saved:
        tier_editor.reset(editor)


def _rated(product: Product, tiers: list[Tier], valid_from: date) -> Effects:
    """The page of the list that is wanted, rated anew: a list of all would be as long as the customers."""
    page: int = st.session_state.get(_REVIEWED, 1)
    with st.spinner("Rating the customers of this product …"), session.reading() as conn:
        return price_effects.effects(
            conn, product.id, tiers=tiers, valid_from=valid_from, limit=PAGE, offset=(page - 1) * PAGE
        )


def _totals(found: Effects, currency: str) -> None:
    with st.grid(4, gap="small", min_column_width=130):
        st.metric("Customers that change", ui.number(found.changed), border=True)
        st.metric(f"Before ({currency})", ui.money(found.before), border=True)
        st.metric(f"After ({currency})", ui.money(found.after), border=True)
        st.metric(f"Difference ({currency})", _signed(found.difference), border=True)


def _effects_table(found: Effects, currency: str) -> None:
    if not found.listed:
        ui.empty("No customer's month changes.", icon=":material/check:")
        return
    rows = [
        {
            "customer": f"{effect.number} {effect.name}",
            "quantity": ui.number(effect.quantity),
            "before": ui.money(effect.before),
            "after": ui.money(effect.after),
            "difference": "own price, not touched" if effect.individual else _signed(effect.difference),
        }
        for effect in found.rows
    ]
    columns = {
        "customer": ui.text_column("Customer", width="medium"),
        "quantity": ui.figure_column("Quantity"),
        "before": ui.figure_column(f"Before ({currency})"),
        "after": ui.figure_column(f"After ({currency})"),
        "difference": ui.figure_column("Difference"),
    }
    page = st.session_state.get(_REVIEWED, 1)
    ui.table(
        rows,
        columns,
        key=f"review_table_{page}",
        alt="Customers whose month changes",
        height=min(420, 38 + 34 * len(rows)),
    )
    if found.listed > PAGE:
        st.pagination(-(-found.listed // PAGE), key=_REVIEWED)


def _signed(value: Decimal | None) -> str:
    return f"+{ui.money(value)}" if value is not None and value > 0 else ui.money(value)
