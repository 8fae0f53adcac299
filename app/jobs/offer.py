"""What a worker has room for, as it tells when it asks for a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Offer:
    """The free slots of a worker.

    A job that asks for n GPUs takes n slots with a GPU at once; any other takes one slot: one
    without a GPU, unless all slots of the worker have one.
    """

    cpu: Sequence[int] = ()
    """Free slots for jobs without a GPU."""
    gpu: Sequence[int] = ()
    """Free slots with a GPU."""
    gpus: int = 0
    """Slots with a GPU that the worker has in all."""

    @property
    def has_room(self) -> bool:
        """Whether it can take any job."""
        return bool(self.cpu or self.gpu)

    def slots_for(self, gpus: int) -> tuple[int, ...]:
        """The slots of a job that asks for `gpus`; where the worker has no GPU, it trains on the
        CPU. Empty when they are not free."""
        if gpus == 0 or self.gpus == 0:
            return tuple(self.cpu[:1])
        return tuple(self.gpu[:gpus]) if len(self.gpu) >= gpus else ()

    def without_gpus(self) -> Offer:
        """The offer while its GPUs are kept for a job that needs more of them."""
        return replace(self, cpu=[slot for slot in self.cpu if slot not in self.gpu], gpu=())
