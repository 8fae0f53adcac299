"""The worker's slots: which are free, and what runs in the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.db import Json
from worker.devices import Slot


class Slots:
    """Room for as many trainers as there are slots, shared by the worker's threads."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._lock = threading.Lock()
        self._free = list(slots)
        self._running: dict[int, Json] = {}
        self._count = len(slots)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    def take(self) -> Slot | None:
        """A free slot, GPU slots first; None when all are taken."""
        with self._lock:
            return self._free.pop(0) if self._free else None

    def give_back(self, slot: Slot) -> None:
        """The slot is free again."""
        with self._lock:
            self._running.pop(slot.number, None)
            self._free = sorted([*self._free, slot], key=lambda free: free.number)

    def runs(self, slot: Slot, job_id: str, attempt: int) -> None:
        """The slot now runs this attempt."""
        with self._lock:
            self._running[slot.number] = {
                "job_id": job_id,
                "attempt": attempt,
                "slot": slot.number,
            }

    def rests(self, slot: Slot) -> None:
        """The slot runs nothing for now, but is still taken."""
        with self._lock:
            self._running.pop(slot.number, None)

    def current(self) -> list[Json]:
        """What runs: job_id, attempt, slot of each busy slot."""
        with self._lock:
            return [dict(self._running[number]) for number in sorted(self._running)]

    def free_count(self) -> int:
        """How many are free."""
        with self._lock:
            return len(self._free)
