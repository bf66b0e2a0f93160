"""Who runs which test: files stay together, what takes longest begins first, few browsers are open at a time."""

import os
from typing import Any

from xdist.scheduler.loadscope import LoadScopeScheduling

BROWSER = "tests/browser/"
# As many files at a time that drive a browser.
BROWSERS = os.cpu_count() or 1
# What takes tens of seconds, the longest first: begun last, it would run when everything else has ended.
LONG = (
    "browser/test_customers browser/test_sign_in browser/test_every_page browser/test_first_invoice browser/test_oidc "
    "browser/test_month_close browser/test_people browser/test_service test_billing test_local test_demo test_faults "
    "test_deletions test_pages_customer test_pages_self_service test_worker test_postgres test_rendering"
).split()
RANKS = {f"tests/{name}.py": rank for rank, name in enumerate(LONG)}


class Scheduling(LoadScopeScheduling):
    """Each file as a whole to the next free worker, for its tests share what is dear: a filled database, a running app.

    A browser and its server keep more than a processor busy. Beside such files a worker takes other ones: pages then
    answer about as quickly as they would to a person. After LONG come the files with the most tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(self._next_for(node), last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: Any) -> str:
        open_now = sum(self._in_a_browser(other) for other in self.nodes if other is not node)
        ranked: list[str] = sorted(
            self.workqueue, key=lambda file: (not file.startswith(BROWSER), RANKS.get(file, len(RANKS)))
        )
        if open_now < BROWSERS:
            return ranked[0]
        return next((file for file in ranked if not file.startswith(BROWSER)), ranked[0])

    def _in_a_browser(self, node: Any) -> bool:
        """Whether this worker has tests of a browser before it."""
        return any(
            file.startswith(BROWSER) and not all(tests.values()) for file, tests in self.assigned_work[node].items()
        )
