"""The trainer's side of the lease: no supervisor that still holds it, no training.

The supervisor writes the time of each renewal down a pipe, as an 8-byte little-endian double of
`time.monotonic()`, which all processes of a host share. Nothing here imports torch: the watch
begins before torch is loaded, which takes seconds.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from collections.abc import Callable

STOP_SHARE = 0.8
"""Share of the lease after which a trainer without news writes its resume state and ends."""
EXIT_SHARE = 0.95
"""Share of the lease after which it ends at once: another trainer may start at 1.0."""
EXIT_CODE = 75

_BEAT = struct.Struct("<d")


class Lifeline:
    """Watches a pipe of lease renewals from a thread of its own.

    Args:
        fd: read end of the pipe.
        lease_s: seconds a renewal is good for.
        on_lost: called once, from the thread, when the supervisor is gone (end of file) or silent
            for `STOP_SHARE` of the lease.
        end: ends the process; replaced in tests.
    """

    def __init__(
        self,
        fd: int,
        lease_s: float,
        on_lost: Callable[[], None],
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._fd = fd
        self._lease_s = lease_s
        self._on_lost = on_lost
        self._end = end
        # Until the first renewal tells the true time, which is before this one.
        self._last = time.monotonic()
        self._has_beat = False
        self._open = True
        self._is_lost = False
        self._rest = b""

    def start(self) -> None:
        """Watch until the process ends."""
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def _watch(self) -> None:
        while True:
            waited_s = time.monotonic() - self._last
            if waited_s > EXIT_SHARE * self._lease_s:
                self._end(EXIT_CODE)
                return
            if waited_s > STOP_SHARE * self._lease_s or not self._open:
                self._lose()
            limit = EXIT_SHARE if self._is_lost else STOP_SHARE
            self._wait(max(0.001, limit * self._lease_s - waited_s))

    def _wait(self, timeout_s: float) -> None:
        if not self._open:
            time.sleep(timeout_s)
            return
        ready, _, _ = select.select([self._fd], [], [], timeout_s)
        if not ready:
            return
        read = os.read(self._fd, 4096)
        if not read:
            self._open = False
            return
        self._rest += read
        whole = len(self._rest) // _BEAT.size * _BEAT.size
        for (beat,) in _BEAT.iter_unpack(self._rest[:whole]):
            # A time still to come would keep the trainer alive past its lease.
            known = min(beat, time.monotonic())
            self._last = max(self._last, known) if self._has_beat else known
            self._has_beat = True
        self._rest = self._rest[whole:]

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._on_lost()
