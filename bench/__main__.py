"""`make bench`: each figure against its reference, measured side by side in one run.

    python -m bench [name …]      names: close, export, imports, rating, reruns; all of them by default

Prints `name ratio limit` per figure and exits 1 where a ratio is beyond its limit. CUSTOMERS and
RUNS (environment) make it smaller for a quick look; the limits are meant for 100,000 and five.
"""

import os
import sys
from collections.abc import Callable

from bench import close, export, imports, rating, reruns
from bench.servers import Bench, bench_server

PARTS: dict[str, Callable[[Bench], list[tuple[str, float, float]]]] = {
    "close": close.figures,
    "export": export.figures,
    "imports": imports.figures,
    "rating": rating.figures,
    "reruns": reruns.figures,
}


def main(names: list[str]) -> int:
    """Run the named parts. Returns the exit code: 1 where a figure is beyond its limit, 2 for a wrong name."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"No such part: {', '.join(sorted(unknown))}. There are {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    size, runs = int(os.environ.get("CUSTOMERS") or 100_000), int(os.environ.get("RUNS") or 5)
    beyond = False
    with bench_server() as url:
        for name in names or list(PARTS):
            for figure, ratio, limit in PARTS[name](Bench(url, size, runs)):
                print(f"{figure} {ratio:.2f} {limit:.1f}", flush=True)
                beyond = beyond or ratio > limit
    return int(beyond)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
