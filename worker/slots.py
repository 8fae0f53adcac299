"""The worker's slots: which are free, and what runs in the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.db import Json
from app.jobs.offer import Offer
from worker.devices import Slot


class Slots:
    """Room for as many trainers as there are slots, shared by the worker's threads."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._lock = threading.Lock()
        self.all = tuple(slots)
        """Every slot, free or not."""
        self._free = list(slots)
        self._running: dict[int, Json] = {}
        self._count = len(slots)
        self._gpus = [slot.gpu for slot in slots if slot.gpu is not None]

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def gpus(self) -> list[str]:
        """The GPUs of the first slots."""
        return list(self._gpus)

    def offer(self) -> Offer:
        """What is free now."""
        with self._lock:
            gpu = [slot.number for slot in self._free if slot.gpu is not None]
            cpu = [slot.number for slot in self._free if slot.gpu is None]
            lends = len(self._gpus) == self._count
            return Offer(cpu=gpu if lends else cpu, gpu=gpu, gpus=len(self._gpus))

    def take(self, numbers: Sequence[int], job_id: str, attempt: int) -> tuple[Slot, ...]:
        """The slots of these numbers, which are free, for this attempt."""
        with self._lock:
            taken = tuple(slot for slot in self._free if slot.number in numbers)
            assert len(taken) == len(numbers), f"slots {numbers} are not all free"
            self._free = [slot for slot in self._free if slot.number not in numbers]
            self._running[taken[0].number] = {
                "job_id": job_id,
                "attempt": attempt,
                "slot": taken[0].number,
                "slots": [slot.number for slot in taken],
            }
            return taken

    def give_back(self, slots: Sequence[Slot]) -> None:
        """The slots are free again."""
        with self._lock:
            self._running.pop(slots[0].number, None)
            self._free = sorted([*self._free, *slots], key=lambda free: free.number)

    def current(self) -> list[Json]:
        """What runs: job_id, attempt, slot and slots of each job."""
        with self._lock:
            return [dict(self._running[number]) for number in sorted(self._running)]
