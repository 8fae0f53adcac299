"""What a worker does every other second beside its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from worker.host import Host
from worker.outage import first_line, is_outage

POLL_S = 2.0
logger = logging.getLogger(__name__)


class Maintenance(threading.Thread):
    """Heartbeat, expired leases, remains of builds, sweeps, queued jobs, spare trainers; begins
    with a round at once, the start-up sweep."""

    def __init__(self, host: Host, poll_s: float = POLL_S) -> None:
        super().__init__(name="maintenance")
        self._host = host
        self._poll_s = poll_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`: also while the worker's last jobs are ending."""
        while True:
            host = self._host
            for duty in (
                host.beat,
                host.reap,
                host.sweep,
                host.advance_sweeps,
                host.look,
                host.prepare,
                host.analyse_sweeps,
            ):
                self._do(duty)
            if self._ended.wait(self._poll_s):
                return

    def end(self) -> None:
        """Stop after the round under way, and wait for that."""
        self._ended.set()
        self.join()

    def _do(self, duty: Callable[[], object]) -> None:
        try:
            duty()
        except Exception as error:
            # One duty's fault must not end the others, nor this thread.
            if is_outage(error):
                logger.warning("the database is away: %s", first_line(error))
            else:
                logger.exception("%s failed", duty.__name__)
