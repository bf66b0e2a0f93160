"""Typing into the cells of a table, each once its editor is open."""

from playwright.sync_api import FloatRect, Locator, Page

from tests.browser.settling import settled

# Streamlit collects what is typed into a table this long before it asks for a run.
COLLECTS_MS = 150


def size(page: Page, grid: Locator) -> FloatRect:
    """How large the table is, once the page has settled."""
    settled(page)
    box = grid.bounding_box()
    assert box is not None
    return box


def type_here(page: Page, text: str, *, leave: str = "Enter") -> None:
    """Type into the chosen cell and leave it by that key: Enter stays in the column, Tab goes to the next one."""
    page.keyboard.press("Enter")
    editor = page.get_by_test_id("portal").locator("input, textarea")
    editor.fill(text)
    editor.press(leave)
    # A timer of the page itself: however busy the machine is, it ends after Streamlit's.
    page.evaluate("wait => new Promise(ended => setTimeout(ended, wait))", COLLECTS_MS + 50)
    settled(page)


def type_into(page: Page, grid: Locator, text: str, *, x: float, y: float) -> None:
    """Type into the cell at this place of the table."""
    grid.click(position={"x": x, "y": y})
    type_here(page, text)
