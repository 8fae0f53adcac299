"""The processes that train one model together: each takes a share of every step's days.

Every rank holds the whole model and makes the same optimiser steps: the gradient of a step is the
sum of what the ranks contribute, each weighted by its days, so it is that of a single process up to
rounding. Data parallel training as in Li et al. (VLDB 2020), without overlapping the exchange:
these models have a few million parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")
TIMEOUT = timedelta(hours=6)
"""Others wait while one evaluates, writes or compiles; a rank that dies ends all at once."""


@dataclass(frozen=True)
class Team:
    """One process's place among `size` ranks. Alone it does nothing."""

    rank: int = 0
    size: int = 1
    control: dist.ProcessGroup | None = None
    """On the CPU, whatever the device: agreeing never waits for a GPU."""

    @classmethod
    def join(cls, rank: int, size: int, device: torch.device, meeting_point: Path) -> Team:
        """Meet the other ranks at a file that is not there yet. Raises RuntimeError."""
        dist.init_process_group(
            "gloo" if device.type == "cpu" else "nccl",
            init_method=f"file://{meeting_point}",
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
        )
        return cls(rank, size, dist.new_group(backend="gloo", timeout=TIMEOUT))

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1:
            dist.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this rank evaluates, writes and reports."""
        return self.rank == 0

    def share(
        self, batches: Sequence[Sequence[int]], whole: bool
    ) -> list[tuple[int, Sequence[int]]]:
        """This rank's part of a step's batches, each with its number in the step.

        `whole` deals out the batches as they are, which leaves dropout as it is in one process;
        else each rank takes a stretch of each batch's days.
        """
        numbered = list(enumerate(batches))
        if whole or self.size == 1:
            return numbered[self.rank :: self.size]
        parts = []
        for number, days in numbered:
            cuts = [len(days) * rank // self.size for rank in (self.rank, self.rank + 1)]
            if cuts[0] < cuts[1]:
                parts.append((number, days[cuts[0] : cuts[1]]))
        return parts

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make each parameter's gradient the sum over the ranks; none counts as 0."""
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]
        )
        dist.all_reduce(flat)
        for parameter, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = part.view_as(parameter)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Whether any rank says so, of each flag: the same answer for all, at the same place."""
        if self.size == 1:
            return flags
        said = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(said, dist.ReduceOp.MAX, group=self.control)
        return tuple(bool(flag) for flag in said.tolist())

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value at the leading rank, by rank; elsewhere nothing."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(value, found, group=self.control)
        return found or []

    def led(self, value: Value) -> Value:
        """The leading rank's value, for all."""
        if self.size == 1:
            return value
        told: list[Any] = [value]
        dist.broadcast_object_list(told, group=self.control)
        return told[0]  # type: ignore[no-any-return]


ALONE = Team()
