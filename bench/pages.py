"""overview_*, customers_*: server time of a page's rerun against one that only says hello.

Through the running server's own WebSocket, signed in; hello is a page of the same server behind the
same guard. Searches, filters and pages vary from run to run.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import cycle
from statistics import median

from bench.client import Tab, tab
from bench.servers import ROOT, TODAY, Bench, filled, in_use, log
from lib import db, demo_seed, sessions

SMALL = 1_000
SEARCHES = ("hafen", "metallbau gmbh", "c-101", "nord", "rosen", "labor", "wald", "verlag", "@ahorn", "silber")
# A run is repeated: single reruns of 10 ms vary by more than the ratios that are asked for.
REPEATS = 12


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """Ratios at full size, and how much full size costs over 1,000 customers."""
    large = filled(bench, "pages", customers=bench.customers, months=24, documents=2)
    small = filled(bench, "pages", customers=SMALL, months=24, documents=2)
    with _served(large) as at_large, _served(small) as at_small:
        hello, overview, filtered, listed = _measured(
            bench,
            lambda: _page(at_large, "hello", cycle([{}])),
            lambda: _page(at_large, "cost_overview", _overview_steps(bench.customers // 50)),
            lambda: _page(at_large, "cost_overview", _filtered_steps()),
            lambda: _page(at_large, "", _customer_steps()),
        )
        small_overview, small_listed = _measured(
            bench,
            lambda: _page(at_small, "cost_overview", _overview_steps(SMALL // 50)),
            lambda: _page(at_small, "", _customer_steps()),
        )
    log(f"hello {hello * 1000:.0f} ms, overview {overview * 1000:.0f} ms, customers {listed * 1000:.0f} ms")
    return [
        ("overview_rerun", overview / hello, 6.0),
        ("overview_growth", overview / small_overview, 1.5),
        ("overview_filtered", filtered / hello, 25.0),
        ("customers_rerun", listed / hello, 6.0),
        ("customers_growth", listed / small_listed, 1.5),
    ]


Steps = Iterator[dict[str, object]]


def _overview_steps(pages: int) -> Steps:
    """Turn to pages all over the list."""
    return ({"cost_page": 1 + (7919 * turn) % max(1, pages)} for turn in range(1, 1_000_000))


def _filtered_steps() -> Steps:
    """One product over three months, another one each time."""
    starts = cycle(["2026-01", "2026-03", "2026-05", "2026-07"])
    return ({"cost_month": f"{month}", "cost_product": ["users"]} for month in starts)


def _customer_steps() -> Steps:
    return ({"customer_search": search} for search in cycle(SEARCHES))


def _page(opened: tuple[Tab, str], path: str, steps: Steps) -> float:
    raise NotImplementedError
