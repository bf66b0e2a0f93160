"""What the journeys' patience rests on: an element that is there twice while a page is redrawn is no failure."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import settling

pytestmark = pytest.mark.browser
# Redrawn a moment after it was opened: the old cell goes when the new one has been there for half a second.
REDRAWN = """
<div data-testid="stApp" data-test-script-state="running"><p>kept</p><p>old</p></div>
<script>
  const app = document.querySelector('div');
  app.insertAdjacentHTML('beforeend', '<p>old</p>');
  setTimeout(() => { app.children[1].remove(); app.dataset.testScriptState = 'notRunning'; }, 500);
</script>
"""
ALWAYS_TWICE = "<div data-testid='stApp' data-test-script-state='notRunning'><p>old</p><p>old</p></div>"


@pytest.fixture
def shown(browser: Browser) -> Page:
    """A page that says whether it is busy."""
    context = browser.new_context()
    settling.watch(context)
    return context.new_page()


def test_the_old_beside_the_new_is_waited_for(shown: Page) -> None:
    shown.set_content(REDRAWN)
    expect(shown.get_by_text("old")).to_be_visible()
    assert shown.get_by_text("old").count() == 1


def test_what_stays_there_twice_fails(shown: Page) -> None:
    shown.set_content(ALWAYS_TWICE)
    with pytest.raises(AssertionError, match="strict mode violation"):
        expect(shown.get_by_text("old")).to_be_visible()
