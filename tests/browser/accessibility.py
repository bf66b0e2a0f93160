"""What axe-core finds on a page: violations of serious or critical impact."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.settling import settled

# Streamlit's own: its menu puts section titles between the items of a list; its toast is a dialog without a name.
STREAMLITS_OWN = ["[data-testid=stSidebarNavItems]", "[data-testid=stToast]"]
# It writes white on the primary colour, and the same colour on the background: in the dark, no colour does for both.
OWN_IN_THE_DARK = [
    "[data-testid=stBaseButton-primary]",
    "[data-testid=stBaseButton-primaryFormSubmit]",
    "[data-testid=stBaseLinkButton-primary]",
]


def violations(page: Page, *, dark: bool = False) -> list[str]:
    """Rule and element of each serious or critical violation outside STREAMLITS_OWN, in the `dark` OWN_IN_THE_DARK."""
    settled(page)
    apart = STREAMLITS_OWN + (OWN_IN_THE_DARK if dark else [])
    excluded = {"exclude": [[selector] for selector in apart]}
    found = Axe().run(page, context=excluded, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
