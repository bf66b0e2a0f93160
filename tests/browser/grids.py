"""Typing into the cells of a table, each once its editor is open."""

from contextlib import suppress

from playwright.sync_api import FloatRect, Locator, Page
from playwright.sync_api import TimeoutError as TookTooLong

from tests.browser.settling import settled

# Streamlit collects what is typed into a table this long before it asks for a run.
COLLECTS_MS = 150
# How often a cell's editor is asked for.
OPENINGS = 5


def size(page: Page, grid: Locator) -> FloatRect:
    """How large the table is, once the page has settled."""
    settled(page)
    box = grid.bounding_box()
    assert box is not None
    return box


def type_here(page: Page, text: str, *, leave: str = "Enter") -> None:
    """Type into the chosen cell and leave it by that key: Enter stays in the column, Tab goes to the next one."""
    editor = page.get_by_test_id("portal").locator("input, textarea")
    for _ in range(OPENINGS):  # a table that was drawn anew meanwhile takes no notice of a key
        page.keyboard.press("Enter")
        with suppress(TookTooLong):
            editor.wait_for(timeout=5_000)
            break
        settled(page)
    editor.fill(text)
    editor.press(leave)
    # A timer of the page itself: however busy the machine is, it ends after Streamlit's.
    page.evaluate("wait => new Promise(ended => setTimeout(ended, wait))", COLLECTS_MS + 50)
    settled(page)


def type_into(page: Page, grid: Locator, text: str, *, x: float, y: float) -> None:
    """Type into the cell at this place of the table."""
    settled(page)
    grid.click(position={"x": x, "y": y})
    settled(page)
    type_here(page, text)
