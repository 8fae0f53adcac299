"""A child process's way to tell its supervisor what happens: one JSON object a line."""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from collections.abc import Callable

from gogooku3.events import Event

EXIT_INTERRUPTED = 3
EXIT_FAILED = 4


def print_traceback() -> None:
    """Where the error at hand arose, into the child's own log; left out when its disk is full: the
    failure itself is still to be told."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


class EventPipe:
    """Writes events, whole lines at a time; a reader that is gone asks the run to stop.

    Args:
        fd: write end of the pipe.
        stop: set when nobody reads any more.
        log: told every event, too: it writes the child's own log.
    """

    def __init__(self, fd: int, stop: threading.Event, log: Callable[[Event], None]) -> None:
        self._fd = fd
        self._stop = stop
        self._log = log
        self._is_broken = False

    def send(self, event: Event) -> None:
        """Write one event. Blocks while the pipe is full."""
        self._log(event)
        line = memoryview(event.model_dump_json().encode() + b"\n")
        try:
            while line and not self._is_broken:
                line = line[os.write(self._fd, line) :]
        except BrokenPipeError:
            self._is_broken = True
            self._stop.set()
