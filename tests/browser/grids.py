"""Typing into the cells of a table, each once its editor is open."""

from contextlib import suppress

from playwright.sync_api import FloatRect, Locator, Page, expect
from playwright.sync_api import TimeoutError as TookTooLong

from tests.browser.settling import settled

# Streamlit collects what is typed into a table this long before it asks for a run.
COLLECTS_MS = 150
# How often a cell is tried, each time from the click on: a table that is drawn anew forgets which cell was chosen.
TRIES = 8
TRY_MS = 4_000
# The first row under the titles; how far the middle of the last row, which adds one, is from the table's lower edge.
FIRST_ROW_Y = 52
ADDING_ROW = 15


def size(page: Page, grid: Locator) -> FloatRect:
    """How large the table is, once the page has settled."""
    settled(page)
    box = grid.bounding_box()
    assert box is not None
    return box


def type_into(page: Page, grid: Locator, text: str, *, x: float, y: float = FIRST_ROW_Y, right: int = 0) -> None:
    """Type into the cell at this place of the table, or that many cells to its right."""
    editor = page.get_by_test_id("portal").locator("input, textarea")
    for _ in range(TRIES):
        settled(page)
        with suppress(TookTooLong):
            grid.click(position={"x": x, "y": y}, timeout=TRY_MS)
            settled(page)
            for _ in range(right):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
            editor.fill(text, timeout=TRY_MS)
            editor.press("Enter", timeout=TRY_MS)
            break
        page.keyboard.press("Escape")
    else:
        raise AssertionError(f"no cell opened for {text!r}")
    _collected(page)


def add_row(page: Page, grid: Locator) -> None:
    """Click the last row of a table that can grow: it adds one, above it."""
    rows = grid.get_by_role("row", include_hidden=True)
    settled(page)
    before = rows.count()
    for _ in range(TRIES):
        grid.click(position={"x": 120, "y": size(page, grid)["height"] - ADDING_ROW})
        _collected(page)
        with suppress(AssertionError):
            expect(rows).not_to_have_count(before, timeout=TRY_MS)
            return
    raise AssertionError("no row was added")


def _collected(page: Page) -> None:
    """Wait until the page has told the server what was typed, and has settled."""
    # A timer of the page itself: however busy the machine is, it ends after Streamlit's.
    page.evaluate("wait => new Promise(ended => setTimeout(ended, wait))", COLLECTS_MS + 50)
    settled(page)
