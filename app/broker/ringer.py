"""Rings the doorbell beside the request that asks for it."""

from __future__ import annotations

import threading

from app.broker.doorbell import Doorbell

EVERY_S = 0.05
"""A ring costs some milliseconds of work: under a storm of jobs ..."""
AT_ONCE = 2
"""... only so many are sent each time. Carrying nothing, one is as good as ten; what a burst leaves
unrung the workers' poll finds."""


class Ringer:
    """A doorbell whose callers do not wait; made once per process, used from any thread."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._asked = 0
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._is_started = False

    def ring(self) -> None:
        """Have the doorbell rung soon, at once if it is quiet."""
        with self._lock:
            self._asked += 1
            if not self._is_started:
                self._is_started = True
                self._thread.start()
        self._woken.set()

    def close(self) -> None:
        """Ring what is asked for, and close the connections."""
        self._ended.set()
        self._woken.set()
        if self._is_started:
            self._thread.join()
        self._doorbell.close()

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            with self._lock:
                asked, self._asked = min(self._asked, AT_ONCE), 0
            for _ in range(asked):
                self._doorbell.ring()
            if self._ended.wait(EVERY_S if asked else 0.0):
                with self._lock:
                    if not self._asked:
                        return
