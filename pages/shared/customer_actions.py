"""The menu at each customer of the list: what can be done about it without opening its page (row G3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib import bookings, clock, customer_offers, products, project_keys, subscriptions
from lib.auth import Permission, User
from lib.customer_fields import PAYMENT_METHODS, SERVICE_MODES
from lib.customer_states import Action
from lib.db import Connection
from pages.shared import customer_bookings, customer_verbs, customer_view, ip_distribution, session, ui
from pages.shared.customer_form import COUNTRIES
from pages.shared.customer_view import View

# The column of the table; the key of a click in it; what was clicked, for the run that follows.
ACTIONS, CLICK, _CHOSEN = "actions", "customer_action", "customer_action_chosen"
DETAILS, IPS = ":material/visibility: Details …", ":material/lan: IP distribution …"
# Beside these two, in the order of the menu.
VERBS = (
    Action.REDEEM_KEY,
    Action.EDIT_ADDRESS,
    Action.RESEND_INVITE,
    Action.CHANGE_MAIN,
    Action.MANAGE,
    Action.DELETE,
)


def offered(conn: Connection, customer_ids: Sequence[int], user: User) -> dict[int, list[str]]:
    """The menu of each customer: what its state and this person's role allow."""
    found = {}
    states = customer_offers.of_several(conn, customer_ids, today=clock.today(conn))
    for customer_id in customer_ids:
        # Gone since the list was read: nothing.
        allowed = states.get(customer_id, frozenset())
        ips = [IPS] if Action.EDIT in allowed and user.may(Permission.EDIT_CUSTOMERS) else []
        verbs = [action for action in VERBS if action in allowed and customer_verbs.may(user, action)]
        found[customer_id] = [DETAILS, *ips, *(customer_verbs.LABELS[action] for action in verbs)]
    return found


def column(menus: Mapping[int, Sequence[str]]) -> Any:
    """The column with a menu at each customer, in the order of the rows."""
    return st.column_config.ButtonColumn(
        "", key=CLICK, width=44, type="tertiary", pinned=True, help="What can be done about the customer.",
        on_click=_choose, args=(list(menus),),
    )  # fmt: skip


def _choose(ids: list[int]) -> None:
    click = st.session_state[CLICK]
    st.session_state[_CHOSEN] = (ids[click.row], click.label)


def open_chosen(user: User) -> None:
    """Open the dialog of what was chosen from a menu by the last click; once."""
    customer_id, label = st.session_state.pop(_CHOSEN, (None, ""))
    view = None if customer_id is None else customer_view.read(customer_id, user)
    if view is None:
        return
    if label == DETAILS:
        _details(view)
    elif label == IPS:
        _open_ips(view)
    else:
        for action in VERBS:
            if customer_verbs.LABELS[action] == label:
                customer_verbs.open_dialog(view, action)


def _open_ips(view: View) -> None:
    with session.reading() as conn:
        product = products.product_of_kind(conn, "ips")
        standing = bookings.standing(conn, view.customer.id)
    if product is not None and view.may_edit:
        ip_distribution.open_dialog(view, product, customer_bookings.held_on(standing, product.id, view.today))


# ---------------------------------------------------------------------------------- details


@st.dialog("Details", width="large", icon=":material/visibility:")
def _details(view: View) -> None:
    customer = view.customer
    with session.reading() as conn:
        booked = subscriptions.all_of(conn, customer.id, today=view.today)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{ui.escaped(customer.name)}**", width="content")
        ui.badge(customer.phase)
        ui.badge(view.status)
    left, right = st.columns(2, gap="medium")
    with left:
        place = f"{customer.postcode} {customer.city}".strip()
        address = (customer.street, place, COUNTRIES.get(customer.country, customer.country))
        ui.facts(
            {
                "Number": customer.number,
                "Contact": ", ".join(part for part in (customer.contact_name, customer.contact_email) if part),
                "Address": ", ".join(part for part in address if part),
                "VAT ID": customer.vat_id,
            },
            alt="Customer",
        )
    with right:
        ui.facts(
            {
                "Service mode": SERVICE_MODES[customer.service_mode],
                "Payment method": PAYMENT_METHODS[customer.payment_method],
                "Billed from": ui.day(customer.billed_from) if customer.billed else "Not billed: a test",
                "Last charged day" if customer.billed else "Last day of the test": ui.day(customer.ends_on),
            },
            alt="Contract",
        )
    st.markdown("**All subscriptions**")
    if booked:
        _draw_subscriptions(booked)
    else:
        ui.empty("Nothing was ever booked.")
    if st.button("Open the customer", key="details_open", icon=":material/arrow_forward:"):
        st.switch_page("customer.py", query_params={"id": str(customer.id)})


def _draw_subscriptions(booked: Sequence[subscriptions.Subscription]) -> None:
    rows = [
        {
            "product": one.product if one.key is None else f"{one.product} · {project_keys.MASK}{one.key}",
            "kind": products.KINDS[one.kind],
            "quantity": f"{one.quantity:,}" if one.kind in products.COUNTED else "on",
            "from": ui.day(one.from_day),
            "until": ui.day(one.last_day),
            "state": [ui.word(one.state)],
        }
        for one in booked
    ]
    columns = {
        "product": ui.text_column("Product", width=250, pinned=True),
        "kind": ui.text_column("Kind", width=140),
        "quantity": ui.figure_column("Quantity", width=80),
        "from": ui.figure_column("From", width=100),
        "until": ui.figure_column("Until", width=100, help="The last day; – where there is none."),
        "state": ui.state_column("State", ["planned", "in_force", "over"], width=100),
    }
    ui.table(rows, columns, key="details_subscriptions", alt="All subscriptions, those that run or are to come first")
