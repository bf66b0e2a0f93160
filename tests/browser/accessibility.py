"""What axe-core finds on a page: violations of serious or critical impact."""

from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.browser.settling import settled

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# Streamlit's own: its menu puts section titles between the items of a list; its toast is a dialog without a name.
STREAMLITS_OWN = ["[data-testid=stSidebarNavItems]", "[data-testid=stToast]"]
# It writes white on the primary colour, and the same colour on the background: in the dark, no colour does for both.
OWN_IN_THE_DARK = [
    "[data-testid=stBaseButton-primary]",
    "[data-testid=stBaseButton-primaryFormSubmit]",
    "[data-testid=stBaseLinkButton-primary]",
]

# Rules whose impact is at most moderate, of those that take long to look.
MODERATE = (
    "region landmark-unique landmark-no-duplicate-banner landmark-banner-is-top-level landmark-one-main "
    "aria-allowed-role heading-order page-has-heading-one"
).split()
# What axe would fetch first, the files of styles and sounds, no rule of ours looks at.
OPTIONS = {"resultTypes": ["violations"], "preload": False, "rules": {rule: {"enabled": False} for rule in MODERATE}}
LOOK = "async ([context, options]) => (await axe.run(context, options)).violations"


def violations(page: Page, *, dark: bool = False) -> list[str]:
    """Rule and element of each serious or critical violation outside STREAMLITS_OWN, in the `dark` OWN_IN_THE_DARK."""
    settled(page)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    apart = STREAMLITS_OWN + (OWN_IN_THE_DARK if dark else [])
    found = page.evaluate(LOOK, [{"exclude": [[selector] for selector in apart]}, OPTIONS])
    return [
        f"{rule['id']}: {node['html'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def in_colours(page: Page, scheme: Scheme) -> None:
    """Let the page that is open change to light or dark, as it does when a person's device does."""
    page.emulate_media(color_scheme=scheme)
    expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
    settled(page)
