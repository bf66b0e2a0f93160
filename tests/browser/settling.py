"""Hands off while the page is being redrawn: Playwright's clicks and typing wait until it has settled.

While a run draws, old elements stand beside the new ones, and what is below or beside them moves when they go at its
end. A person waits for that by eye. Playwright, which looks where a button is and clicks there a moment later, would
now and then click beside it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

from playwright.sync_api import BrowserContext, Error, Expect, Locator, LocatorAssertions, Page
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

ACTIONS = "click dblclick fill press press_sequentially check uncheck select_option hover focus drag_to".split()
# The field of a file is hidden behind its button.
HIDDEN_ACTIONS = ["set_input_files"]
ASKS = BackMsg.DESCRIPTOR.fields_by_name["rerun_script"].number
ENDS = ForwardMsg.DESCRIPTOR.fields_by_name["script_finished"].number
AGAIN = ForwardMsg.FINISHED_EARLY_FOR_RERUN
QUIET_MS = 50
DROPPED_MS = 10_000
MORE_CLICKS = 2
# A page is busy from the moment it asks the server for a run until that run's last message, unless this says that the
# server begins another one at once, until nothing of the run before is left, and for a moment after each touch.
# <html data-busy> says so.
WATCH = """
(() => {
  const [ASKS, ENDS, AGAIN, QUIET, DROPPED] = NUMBERS;
  let asked = false, timer = null, heard = 0;

  const busy = () => {
    const app = document.querySelector('[data-testid=stApp]');
    const runs = app && app.dataset.testScriptState !== 'notRunning';
    return asked || runs || document.querySelector('[data-stale=true]');
  };
  const look = () => {
    const root = document.documentElement;
    if (!root) return;
    if (busy()) {
      clearTimeout(timer);
      timer = null;
      root.dataset.busy = '';
    } else if ('busy' in root.dataset && timer === null) {
      timer = setTimeout(() => { timer = null; if (!busy()) delete root.dataset.busy; }, QUIET);
    }
  };
  // What a click leads to may be asked for a moment later.
  const touched = () => {
    clearTimeout(timer);
    timer = null;
    document.documentElement.dataset.busy = '';
    look();
  };
  for (const kind of ['click', 'keydown', 'input']) addEventListener(kind, touched, true);
  // Where the pointer leaves the button that it has pressed, the click goes to what is around it, or to nothing.
  let pressed = null;
  addEventListener('mousedown', ({ target }) => {
    pressed = target.closest('button, a');
    window.missed = pressed !== null;
  }, true);
  addEventListener('click', ({ target }) => { if (pressed?.contains(target)) window.missed = false; }, true);
  new MutationObserver(look).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ['data-test-script-state', 'data-stale'],
  });

  // The number of each field of a message, and its value if it is a number; the rest is skipped.
  const fields = (bytes) => {
    const found = [];
    let at = 0;
    const number = () => {
      let value = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = bytes[at++];
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
    };
    while (at < bytes.length) {
      const tag = number(), value = number();
      found.push([tag >> 3, value]);
      if ((tag & 7) === 2) at += value;
      else if ((tag & 7) !== 0) break;
    }
    return found;
  };
  window.WebSocket = class extends window.WebSocket {
    constructor(...given) {
      super(...given);
      asked = true;
      look();
      this.addEventListener('close', () => { asked = false; look(); });
      this.addEventListener('message', ({ data }) => {
        heard += 1;
        const ended = data instanceof ArrayBuffer && fields(new Uint8Array(data)).find(([field]) => field === ENDS);
        if (ended) asked = ended[1] === AGAIN;
        look();
      });
    }
    send(data) {
      if (typeof data !== 'string' && fields(new Uint8Array(data)).some(([field]) => field === ASKS)) {
        asked = true;
        // A click in a dialog that is gone is dropped: there is no run to wait for.
        const before = heard;
        setTimeout(() => { if (heard === before) { asked = false; look(); } }, DROPPED);
      }
      look();
      super.send(data);
    }
  };
})();
""".replace("NUMBERS", str([ASKS, ENDS, AGAIN, QUIET_MS, DROPPED_MS]))


def watch(context: BrowserContext) -> None:
    """Let this browser's pages say whether they are busy."""
    context.add_init_script(WATCH)


def settled(page: Page) -> None:
    """Wait until the page is not busy. Needed only before what no list above names: the mouse, counting, reading."""
    page.locator("html:not([data-busy])").wait_for(state="attached")


def patient(act: Callable[..., Any], state: Literal["attached", "visible"] = "visible") -> Callable[..., Any]:
    """The same action, once its element is there and the page has settled."""

    @wraps(act)
    def wait_and_act(self: Locator, *args: Any, **options: Any) -> Any:
        self.wait_for(state=state, timeout=options.get("timeout"))
        settled(self.page)
        return act(self, *args, **options)

    return wait_and_act


def sure(click: Callable[..., None]) -> Callable[..., None]:
    """The same click, made again where it missed its button.

    Where a table gets its height, or a font arrives, in the very moment of a click, the pointer goes down on the
    button and up beside it. That is no click, and nothing tells. A person sees it and clicks again.
    """

    @wraps(click)
    def click_until_it_lands(self: Locator, *args: Any, **options: Any) -> None:
        click(self, *args, **options)
        for _ in range(MORE_CLICKS):
            try:
                missed = self.page.evaluate("() => window.missed")
            except Error:  # the click has led to another page
                return
            if not missed or not self.count():
                return
            click(self, *args, **options)

    return click_until_it_lands


def of_page(begin: Callable[..., Any]) -> Callable[..., Any]:
    """`expect`, whose expectation of an element knows on which page that is."""

    @wraps(begin)
    def begin_there(self: Expect, actual: Any, message: str | None = None) -> Any:
        expectation = begin(self, actual, message)
        if isinstance(actual, Locator):
            expectation.page = actual.page
        return expectation

    return begin_there


def unhurried(meet: Callable[..., None]) -> Callable[..., None]:
    """The same expectation, which looks again at the settled page where it saw two of what there is to be one.

    Playwright waits for what isn't there yet, but gives up at once where the old element still stands beside the new.
    """

    @wraps(meet)
    def meet_in_the_end(self: Any, *args: Any, **options: Any) -> None:
        try:
            meet(self, *args, **options)
        except AssertionError as error:
            if "strict mode violation" not in str(error):
                raise
            settled(self.page)
            meet(self, *args, **options)

    return meet_in_the_end


for name in ACTIONS:
    setattr(Locator, name, patient(getattr(Locator, name)))
for name in HIDDEN_ACTIONS:
    setattr(Locator, name, patient(getattr(Locator, name), "attached"))
Locator.click = sure(Locator.click)  # type: ignore[method-assign]
Expect.__call__ = of_page(Expect.__call__)  # type: ignore[method-assign]
for name in dir(LocatorAssertions):
    if name.startswith(("to_", "not_to_")):
        setattr(LocatorAssertions, name, unhurried(getattr(LocatorAssertions, name)))
