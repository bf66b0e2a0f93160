"""What a test finds in its database: made once for the tests of a file, and copied for each."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Connection, text

from lib import db
from tests import databases

T = TypeVar("T")
# Fills an empty, migrated database; what it returns (ids, frozen dataclasses) is handed to each test.
Fill = Callable[[Connection], T]
# What anybody leaves in the audit log who looks at a page.
SIGNING_IN = "signed in"


def empty(conn: Connection) -> None:
    """Nothing but the schema."""


class Beginnings:
    """The databases that the tests of one file begin with, each made when the first test asks for it."""

    def __init__(self, server: str, template: str) -> None:
        self._server, self._template = server, template
        self._made: dict[Fill[Any], tuple[str, Any]] = {}
        self._shared: dict[Fill[Any], str] = {}
        self._stack = ExitStack()

    def copy(self, fill: Fill[T], stack: ExitStack) -> tuple[str, T]:
        """The URL of a copy that goes with `stack`, and what `fill` returned."""
        template, made = self._filled(fill)
        return stack.enter_context(databases.copy(self._server, template)), made

    def shared(self, fill: Fill[T]) -> tuple[str, T]:
        """The same for tests that only look: one copy does for all of them."""
        if fill not in self._shared:
            self._shared[fill], _ = self.copy(fill, self._stack)
        return self._shared[fill], self._filled(fill)[1]

    def close(self) -> None:
        """Drop them all."""
        self._stack.close()

    def _filled(self, fill: Fill[T]) -> tuple[str, T]:
        if fill is empty:
            return self._template, fill(None)  # type: ignore[arg-type]
        if fill not in self._made:
            url = self._stack.enter_context(databases.copy(self._server, self._template))
            with databases.in_use(url):
                with db.transaction() as conn:
                    made = fill(conn)
                db.engine().dispose()  # nobody may be connected to what is copied
            self._made[fill] = urlsplit(url).path[1:], made
        return self._made[fill]


class Begin:
    """One test's database: `begin(fill)` puts it in use, filled, and returns what `fill` returned."""

    def __init__(self, beginnings: Beginnings, *, only_looks: bool) -> None:
        self._beginnings, self._only_looks = beginnings, only_looks
        self._stack = ExitStack()
        self._url: str | None = None
        self._fill: Fill[Any] | None = None

    def __call__(self, fill: Fill[T]) -> T:
        assert self._fill in (None, empty), "This test has begun already, with something else in its database."
        self.close()  # an empty one that a fixture asked for before
        self._fill = fill
        self._url, made = (
            self._beginnings.shared(fill) if self._only_looks else self._beginnings.copy(fill, self._stack)
        )
        self._stack.enter_context(databases.in_use(self._url))
        if self._only_looks:
            self._stack.callback(self._assert_as_before, _written())
        return made

    @property
    def url(self) -> str:
        """Where it is; an empty one unless the test has begun."""
        if self._url is None:
            self(empty)
        assert self._url
        return self._url

    def close(self) -> None:
        """The test has ended."""
        self._stack.close()

    @staticmethod
    def _assert_as_before(before: int) -> None:
        assert _written() == before, "A test that is marked `looks` wrote to the database that it shares."


def _written() -> int:
    """How often something was written: all that writes stands in the audit log."""
    with db.transaction() as conn:
        found = conn.execute(text("SELECT count(*) FROM audit_log WHERE action <> :in"), {"in": SIGNING_IN})
        return int(found.scalar_one())
