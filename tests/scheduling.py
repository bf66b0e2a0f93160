"""Who runs which test: files that share something dear stay together, and few browsers are open at a time."""

from typing import Any

from xdist.scheduler.loadscope import LoadScopeScheduling

BROWSER = "tests/browser/"
# Files whose tests share what takes seconds to make: a running app, the demo company.
SHARING = (BROWSER, "tests/test_demo.py")


class Scheduling(LoadScopeScheduling):
    """Each test by itself to the next free worker, but for files that share something dear: those go as a whole.

    A browser and its server keep more than a processor busy. Beside one such file the other workers take other tests:
    pages then answer as quickly as they would to a person, and the browsers' files don't come all at once.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return file if file.startswith(SHARING) else nodeid

    def _assign_work_unit(self, node: Any) -> None:
        if any(self._in_a_browser(other) for other in self.nodes if other is not node):
            quiet = next((scope for scope in self.workqueue if not scope.startswith(BROWSER)), None)
            if quiet is not None:
                self.workqueue.move_to_end(quiet, last=False)
        super()._assign_work_unit(node)

    def _in_a_browser(self, node: Any) -> bool:
        """Whether this worker has tests of a browser before it."""
        return any(
            scope.startswith(BROWSER) and not all(tests.values()) for scope, tests in self.assigned_work[node].items()
        )
