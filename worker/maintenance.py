"""What a worker does every other second beside its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from worker.host import Host
from worker.outage import first_line, is_outage

POLL_S = 2.0
logger = logging.getLogger(__name__)


class Maintenance:
    """Two threads, each of which begins with a round at once. A sampler may think for a minute:
    meanwhile the worker says that it is alive, and takes back the jobs of those that are not."""

    def __init__(self, host: Host, poll_s: float = POLL_S) -> None:
        self._pulse = _Rounds("pulse", [host.beat, host.reap], poll_s)
        self._upkeep = _Rounds(
            "maintenance",
            [host.sweep, host.advance_sweeps, host.look, host.prepare, host.analyse_sweeps],
            poll_s,
        )

    def start(self) -> None:
        """Begin with both."""
        self._pulse.start()
        self._upkeep.start()

    def end(self) -> None:
        """Stop after the round under way, and wait for that; the worker is alive until then."""
        self._upkeep.end()
        self._pulse.end()


class _Rounds(threading.Thread):
    """Does its duties one after the other, again and again."""

    def __init__(self, name: str, duties: Sequence[Callable[[], object]], poll_s: float) -> None:
        super().__init__(name=name)
        self._duties = duties
        self._poll_s = poll_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`: also while the worker's last jobs are ending."""
        while True:
            for duty in self._duties:
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
