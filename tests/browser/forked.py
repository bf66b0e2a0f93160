"""Servers for journeys, forked from one process that has imported what they need: Python's start takes seconds each.

They run as `lib/local.py` starts them otherwise, which `tests/test_local.py` tries.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lib import local

CONTEXT = multiprocessing.get_context("forkserver")
# What the two sites import before they serve, and for their pages.
CONTEXT.set_forkserver_preload(
    [
        *"streamlit.web.cli uvicorn pandas plotly.graph_objects pyarrow babel.numbers pages.shared.serving".split(),
        *(f"lib.{path.stem}" for path in local.ROOT.joinpath("lib").glob("[!_]*.py")),
    ]
)


class Forked:
    """A running server, with what `local.up` and `local.stop` want of a process."""

    def __init__(self, address: str, port: int, log: Path, *, site: str = local.STAFF) -> None:
        log.touch()
        self._process = CONTEXT.Process(
            target=_serve, args=(local.arguments(address, port, site), local.environment(site), log), daemon=True
        )
        with _no_script():
            self._process.start()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid
        os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end; raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("streamlit", timeout or 0)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


@contextmanager
def _no_script() -> Iterator[None]:
    """Let the new process run nothing first: else it would run the script that this one runs.

    For that it takes the last page of an AppTest, which leaves its module behind under this name.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def _serve(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    """Become `streamlit run …` with this environment, its errors in `log`."""
    os.setsid()
    os.chdir(local.ROOT)
    os.environ.clear()
    os.environ.update(environment, **{local.PARENT: str(os.getppid())})
    for path, descriptor in ((os.devnull, 1), (log, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    from streamlit.web import cli

    sys.argv = ["streamlit", *arguments]
    cli.main(arguments, prog_name="streamlit")
