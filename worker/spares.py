"""Trainers that wait with torch loaded, one for each slot, so that a job need not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from worker.child import Child, child_environment
from worker.devices import Slot

WARM = "--warm"
logger = logging.getLogger(__name__)


class Spares:
    """A process for each slot, started beforehand in what will be its environment.

    A spare has the thread caps of the last job in its slot, as they cannot be changed once torch
    is loaded; a job that asks for others, or for several slots, gets a fresh process. A spare idles
    until its request comes, and ends by itself when this process is gone.
    """

    def __init__(
        self, command: Sequence[str], slots: Sequence[Slot], folder: Path, *, cpu_threads: int = 2
    ) -> None:
        self._command = (*command, WARM)
        self._slots = tuple(slots)
        self._folder = folder
        self._threads = {slot.number: cpu_threads for slot in slots}
        self._ready: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def refill(self) -> None:
        """Start what is missing, and replace what has ended."""
        with self._lock:
            if self._is_closed:
                return
            for slot in self._slots:
                spare = self._ready.get(slot.number)
                if spare is not None and spare.has_ended():
                    self._discard(slot.number)
                if slot.number not in self._ready:
                    self._ready[slot.number] = self._start(slot)

    def take(self, slots: Sequence[Slot], cpu_threads: int, gpus: str | None) -> Child | None:
        """A spare that fits, which is the caller's from now on; None if there is none."""
        if len(slots) != 1 or slots[0].gpu != gpus:
            return None
        number = slots[0].number
        with self._lock:
            if self._threads[number] != cpu_threads:
                self._threads[number] = cpu_threads
                self._discard(number)
            spare = self._ready.pop(number, None)
        if spare is not None and spare.has_ended():
            spare.reap()
            spare.close()
            return None
        return spare

    def pids(self) -> list[int]:
        """Of the processes that wait."""
        with self._lock:
            return [spare.pid for spare in self._ready.values()]

    def close(self) -> None:
        """End all that are left."""
        with self._lock:
            self._is_closed = True
            for number in list(self._ready):
                self._discard(number)

    def _start(self, slot: Slot) -> Child:
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = child_environment(self._threads[slot.number], slot.gpu)
        log = self._folder / "spares.log"
        child = Child(self._folder, log, environment, self._command)
        logger.info("slot %s: spare trainer %s started", slot.number, child.pid)
        return child

    def _discard(self, number: int) -> None:
        spare = self._ready.pop(number, None)
        if spare is not None:
            spare.kill()
            spare.reap()
            spare.close()
