"""What axe-core finds on a page: violations of serious or critical impact."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Streamlit's own: its menu puts section titles between the items of a list; its toast is a dialog without a name.
STREAMLITS_OWN = ["[data-testid=stSidebarNavItems]", "[data-testid=stToast]"]


def violations(page: Page) -> list[str]:
    """Rule and element of each serious or critical violation outside STREAMLITS_OWN."""
    excluded = {"exclude": [[selector] for selector in STREAMLITS_OWN]}
    found = Axe().run(page, context=excluded, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
