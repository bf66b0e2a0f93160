"""Finds the browser for the tests, or installs one. Run by `make test` before pytest.

python tests/browser/chromium.py
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The headless shell is Chromium without windows, the browser that Playwright, too, would bring: a tenth less work.
NAMES = (
    "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"
)  # fmt: skip
PACKAGES = ("chromium-headless-shell", "chromium")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ADVICE = (
    "The browser tests need Chromium or Chrome. Install one (Debian and Ubuntu: `sudo apt-get install chromium`), "
    "or set CHROMIUM to its path, then run `make test` again."
)


def find() -> str | None:
    """The path of a Chromium: the one that CHROMIUM names, or the first that is installed."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    on_path = next((path for path in map(shutil.which, NAMES) if path), None)
    return on_path or next((place for place in PLACES if Path(place).exists()), None) or _of_playwright()


def install() -> bool:
    """Get one by the system's own means, where we may."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print("Installing Chromium …", flush=True)
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}

    def ran(*command: str) -> bool:
        return subprocess.run(command, check=False, **quiet).returncode == 0  # type: ignore[call-overload, no-any-return]

    return ran("apt-get", "update", "-q") and any(
        ran("apt-get", "install", "-qy", "--no-install-recommends", package) for package in PACKAGES
    )


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


if __name__ == "__main__":
    if find() is None and not (install() and find()):
        sys.exit(ADVICE)
