"""The frame around every page of the portal: which pages there are, who is here, how the last click ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from lib import settings
from pages.portal.shared import session
from pages.shared import lost_clicks
from pages.shared import session as outcomes

HERE = Path(__file__).parents[1]


class Entry(NamedTuple):
    """A page: its file, its title, its icon, and whether it stands in the menu of who is signed in."""

    file: str
    title: str
    icon: str
    listed: bool = True


PAGES = (
    Entry("company.py", "Company", "apartment"),
    Entry("subscription.py", "Subscription", "inventory_2"),
    Entry("invoices.py", "Invoices", "receipt_long"),
    Entry("team.py", "Team", "group"),
    Entry("account.py", "My account", "account_circle"),
    # Open to everybody: what a mailed link leads to, and the way to such a mail.
    Entry("accept.py", "Invite", "how_to_reg", listed=False),
    Entry("forgotten.py", "Forgotten password", "lock_reset", listed=False),
    Entry("reset.py", "New password", "lock_reset", listed=False),
    Entry("register.py", "Register", "person_add", listed=False),
    Entry("confirm.py", "Confirm registration", "how_to_reg", listed=False),
)


def draw(entries: Sequence[Entry]) -> None:
    """Draw menu and sidebar for whoever is signed in, then run the page that the address names."""
    with session.reading() as conn:
        company = settings.company(conn)
    st.set_page_config(page_title=f"{company.name or 'Customer'} portal", page_icon="🧾", layout="wide")
    user = session.current_user()
    menu = [
        st.Page(
            HERE / entry.file,
            title=entry.title,
            icon=f":material/{entry.icon}:",
            url_path=Path(entry.file).stem,
            default=entry is entries[0],
            visibility="visible" if user is not None and entry.listed else "hidden",
        )
        for entry in entries
    ]
    chosen = st.navigation(menu, position="sidebar" if user else "hidden", expanded=True)
    if user is not None:
        with st.sidebar.container(gap="xsmall"):
            st.text(user.name)
            st.caption(outcomes.escaped(user.customer_name))
            st.button("Sign out", key="sign_out", icon=":material/logout:", on_click=session.sign_out, width="stretch")
    outcomes.forget_on_other_page(chosen.url_path)
    outcomes.show_outcome()
    lost_clicks.draw_instead(chosen)
    chosen.run()
