"""What needs attention, each with a link to where it is listed (row G17)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from lib import overviews, quota_warnings
from lib.overviews import Notice


class Shown(NamedTuple):
    """How a notice reads for one and for several, its icon, and the page with the filters that lists it."""

    one: str
    several: str
    icon: str
    page: str
    filters: dict[str, Any]


ENDING = f"within {overviews.ENDING_DAYS} days"
SHOWN = {
    "months_to_close": Shown(
        "1 month waits for its close", "{} months wait for their close", "event_available", "month_close.py", {}
    ),
    "unpriced": Shown(
        "1 customer has something without a price this month",
        "{} customers have something without a price this month",
        "sell", "cost_overview.py", {"cost_order": "Amount, largest first"},
    ),
    "unbilled": Shown(
        "Charges of 1 customer are on no document", "Charges on no document: {} statements",
        "link_off", "invoices.py", {"invoice_view": "Unbilled"},
    ),
    "drafts": Shown(
        "1 draft is not issued", "{} drafts are not issued", "edit_document", "invoices.py", {"invoice_state": "Draft"}
    ),
    "overdue": Shown(
        "1 invoice is overdue", "{} invoices are overdue", "schedule", "invoices.py", {"invoice_state": "Overdue"}
    ),
    "late_renewals": Shown(
        "1 renewal that was paid late is to be issued again", "{} renewals that were paid late are to be issued again",
        "autorenew", "invoices.py", {},
    ),
    "ending_tests": Shown(
        f"1 test ends {ENDING}", f"{{}} tests end {ENDING}",
        "hourglass_bottom", "customers.py", {"phase": "test", "customer_status": "Ending"},
    ),
    "ending_billed": Shown(
        f"1 billed customer ends {ENDING}", f"{{}} billed customers end {ENDING}",
        "event_busy", "customers.py", {"customer_status": "Ending"},
    ),
    "deletions": Shown(
        "1 deleted customer waits to be erased", "{} deleted customers wait to be erased",
        "auto_delete", "deletions.py", {},
    ),
    "duties": Shown(
        "1 duty of ours is not signed off", "{} duties of ours are not signed off", "task_alt", "deletions.py", {}
    ),
    "disputes": Shown(
        "1 payment by card is disputed", "{} payments by card are disputed", "credit_card_off", "payment_methods.py",
        {"tab": "Credit card"},
    ),
    "failed_mails": Shown(
        "1 mail failed", "{} mails failed", "unsubscribe", "jobs.py", {"job_kind": "Mail", "job_state": "Failed"}
    ),
    "quota_warnings": Shown(
        "1 customer has a quota warning", "{} customers have a quota warning", "data_usage", "customers.py",
        {"customer_warning": list(quota_warnings.LEVELS.values())},
    ),
}  # fmt: skip


def draw(notices: Sequence[Notice]) -> None:
    """A link for each; or that there is nothing."""
    st.subheader("Needs attention", anchor=False)
    if not notices:
        st.markdown(":green[:material/check_circle:] Nothing waits for you.")
    for notice in notices:
        shown = SHOWN[notice.name]
        st.page_link(shown.page, label=words(notice), icon=f":material/{shown.icon}:", query_params=shown.filters)


def words(notice: Notice) -> str:
    """4 tests end within 28 days."""
    shown = SHOWN[notice.name]
    if notice.count == 1:
        return shown.one
    many = notice.count > overviews.MOST_COUNTED
    return shown.several.format(f"More than {overviews.MOST_COUNTED:,}" if many else f"{notice.count:,}")
