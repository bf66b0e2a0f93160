"""The app's script with one page more, bench/hello.py."""

from pathlib import Path

from lib.auth import Permission
from pages.shared import frame

HELLO = str(Path(__file__).parent / "hello.py")
frame.draw((*frame.PAGES, frame.Entry(HELLO, "Hello", "waving_hand", None, Permission.READ)))
