"""Work that outlives a click: rows that are due are claimed and done, one at a time, by any number of workers.

    python -m lib work

A handler claims one due row of its table (FOR UPDATE SKIP LOCKED), does it, and says whether there was
one. State, attempts and the reason of a failure stand on the row itself, so that nothing hangs on a
worker having lived: what a killed one left is done by the next.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from threading import Event
from types import FrameType

from sqlalchemy.exc import OperationalError

from lib import card_answers, deletions, import_applying, mail_sending, overviews, term_invoices

Handler = Callable[[], bool]

# What there is to do, in this order in each round. A kind is named as in the view `jobs`; renewals are none, they
# keep their refusals themselves; the overview is none, only read before somebody waits for it.
HANDLERS: dict[str, Handler] = {
    "mail": mail_sending.send_one,
    "erasure": deletions.erase_one,
    "import": import_applying.apply_one,
    "card": card_answers.ask_one,
    "renewal": term_invoices.renew_one,
    "overview": overviews.keep_ready,
}

IDLE_SECONDS = 1.0
# A handler that fails outside of its row (no database, say) rests that long; the others go on.
REST_SECONDS = 15.0
_log = logging.getLogger("mandant.worker")


def work(
    handlers: Mapping[str, Handler] | None = None,
    *,
    stop: Event,
    alive: Callable[[], bool] = lambda: True,
    idle_seconds: float = IDLE_SECONDS,
    rest_seconds: float = REST_SECONDS,
) -> None:
    """Do what is due until `stop` is set or `alive` says no; what was begun is finished first."""
    known = HANDLERS if handlers is None else handlers
    rests_until = dict.fromkeys(known, 0.0)
    while not stop.is_set() and alive():
        busy = False
        for name, handler in known.items():
            if stop.is_set():
                return
            if time.monotonic() < rests_until[name]:
                continue
            try:
                busy = handler() or busy
            except Exception as failure:
                _say(name, failure, rest_seconds)
                rests_until[name] = time.monotonic() + rest_seconds
        if not busy:
            stop.wait(idle_seconds)


def _say(name: str, failure: Exception, rest_seconds: float) -> None:
    """Into the log: all of a failure nobody foresaw, one line of a database that does not answer."""
    if isinstance(failure, OperationalError):
        reason = str(failure.orig).strip().splitlines()[0]
        _log.error("The work “%s” failed; it is tried again in %g seconds: %s", name, rest_seconds, reason)
    else:
        _log.error("The work “%s” failed; it is tried again in %g seconds.", name, rest_seconds, exc_info=failure)


def main(*, parent: int | None = None) -> int:
    """Work until SIGTERM or Ctrl-C, or until the process `parent` that started us has gone. Returns the exit code."""
    stop = Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    # An orphan is handed to another parent: then there is nobody to end us in order.
    work(stop=stop, alive=lambda: parent is None or os.getppid() == parent)
    return 0
