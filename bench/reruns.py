"""overview_*, customers_*, overview_page: server time of a page's rerun against one that only says hello.

Through the running server's own WebSocket, signed in; hello is a page of the same server behind the
same guard. overview_page is the first page, overview_* the Cost Overview. Searches, filters and pages vary from run to
run, and the pages take turns.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from statistics import median
from typing import NamedTuple

from bench.client import Tab, tab
from bench.servers import ROOT, TODAY, Bench, filled, in_use, log
from lib import db, demo_seed, sessions

SMALL = 1_000
# Single reruns of some 10 ms vary by more than the ratios that are asked for.
REPEATS = 8
WARM_UP = 2

Values = dict[str, str | int | list[str]]


class Figure(NamedTuple):
    """A page to time: where it is, and the widget values of each turn."""

    name: str
    path: str
    steps: Iterator[Values]


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """Ratios at full size, and how much full size costs over 1,000 customers."""
    large = filled(bench, "pages", customers=bench.customers, months=24, documents=2)
    small = filled(bench, "pages", customers=SMALL, months=24, documents=2)
    with ExitStack() as open_tabs:
        timed = _opened(open_tabs, large, _pages(bench.customers))
        timed += _opened(open_tabs, small, [each for each in _pages(SMALL) if each.name in ("overview", "customers")])
        taken: list[list[float]] = [[] for _ in timed]
        for turn in range(WARM_UP + bench.runs * REPEATS):
            for index, (page, steps) in enumerate(timed):
                seconds = page.run(**next(steps))
                if turn >= WARM_UP:
                    taken[index].append(seconds)
    hello, overview, filtered, searched, first, listed, small_overview, small_listed = map(median, taken)
    names = (
        "hello",
        "overview",
        "filtered",
        "search",
        "first page",
        "customers",
        f"overview of {SMALL:,}",
        f"customers of {SMALL:,}",
    )
    log(", ".join(f"{name} {median(each) * 1000:.1f} ms" for name, each in zip(names, taken, strict=True)))
    return [
        ("overview_rerun", overview / hello, 6.0),
        ("overview_growth", overview / small_overview, 1.5),
        ("overview_filtered", filtered / hello, 25.0),
        ("customers_rerun", listed / hello, 6.0),
        ("search_rerun", searched / hello, 6.0),
        ("overview_page", first / hello, 6.0),
        ("customers_growth", listed / small_listed, 1.5),
    ]


def _pages(customers: int) -> list[Figure]:
    pages = max(1, customers // 25)
    products = cycle([["Licensed users"], ["IP scans"]])
    months = cycle([("January 2026", "March 2026"), ("April 2026", "June 2026"), ("June 2026", "August 2026")])
    return [
        Figure("hello", "hello", ({"q": f"{turn}"} for turn in range(1_000_000))),
        Figure("overview", "cost_overview", ({"cost_page": 1 + 7919 * turn % pages} for turn in range(1, 1_000_000))),
        Figure(
            "filtered",
            "cost_overview",
            (
                {"cost_month": first, "cost_until": last, "cost_product": chosen}
                for (first, last), chosen in zip(months, products, strict=False)
            ),
        ),
        Figure("search", "hello", ({"sidebar_search": words} for words in cycle([*_searches(), "RE-2026-00017"]))),
        Figure("first page", "", ({"overview_month": [month]} for month in cycle(("October 2026", "December 2026")))),
        Figure("customers", "customers", ({"customer_search": words} for words in cycle(_searches()))),
    ]


def _searches() -> list[str]:
    """What people type: the start of a name, a trade, a number, an e-mail, something common, nothing that exists."""
    return ["ahorn", "metallbau", "C-101", "nord", "@rosen", "labor gmbh", "wald", "xyzzy", "silber", "gmbh"]


def _opened(tabs: ExitStack, url: str, pages: list[Figure]) -> list[tuple[Tab, Iterator[Values]]]:
    port = tabs.enter_context(_served(url))
    token = _signed_in(url)
    opened = []
    for page in pages:
        shown = tabs.enter_context(tab(port, page.path, token=token))
        shown.run()
        opened.append((shown, page.steps))
    return opened


@contextmanager
def _served(url: str) -> Iterator[int]:
    """The app on a free port of this machine, on the database at `url`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "bench/server.py", "--server.port", str(port)],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "MANDANT_TODAY": str(TODAY), "FORWARDED_ALLOW_IPS": ""},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait()


def _signed_in(url: str) -> str:
    """The token of a session of the demo's finance clerk."""
    username, password = next((name, word) for role, name, word in demo_seed.SIGN_INS if role == "finance")
    nonce = secrets.token_urlsafe(16)
    with in_use(url):
        with db.transaction() as conn:
            attempt = sessions.claim(conn, username=username, address="bench")
        with db.transaction() as conn:
            ticket = sessions.ticket(conn, attempt, password=password, nonce=nonce)
            token = sessions.redeem(conn, ticket or "", nonce=nonce)
    if token is None:
        raise RuntimeError("The bench could not sign in.")
    return token
