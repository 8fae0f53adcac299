"""Whether a child process still does anything: a stopped or stuck one never ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

STOPPED_S = 10.0
"""A process that somebody has suspended is waited for this long."""
IDLE_S = 300.0
"""One that uses no processor time and tells nothing, this long."""
LOOK_S = 2.0


class Watchdog:
    """Looks at all processes of a session now and then; where there is no /proc, at nothing."""

    def __init__(self, session: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._looked_at = self._ran_at = clock()
        self._ticks = 0

    def heard(self) -> None:
        """The child has told something."""
        self._ran_at = self._clock()

    def verdict(self) -> str | None:
        """Why the child must be taken for stuck; None = it is at work, or waits for something."""
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return None
        if now - self._looked_at > 5 * LOOK_S:
            # It was us who did nothing for a while: the child may have waited for us to listen.
            self._ran_at = now
        self._looked_at = now
        found = list(_processes(self._session))
        ticks = sum(ticks for _, ticks in found)
        if not found or ticks != self._ticks:
            self._ticks = ticks
            self._ran_at = now
        is_stopped = bool(found) and all(state in "Tt" for state, _ in found)
        still_s = now - self._ran_at
        if is_stopped and still_s >= STOPPED_S:
            return f"was suspended (SIGSTOP) for {still_s:.0f} s"
        if still_s >= IDLE_S:
            return f"used no processor time and told nothing for {still_s:.0f} s"
        return None


def _processes(session: int) -> Iterator[tuple[str, int]]:
    """State and used processor time, in clock ticks, of each process of the session."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended while we looked
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            yield fields[0], int(fields[11]) + int(fields[12])
