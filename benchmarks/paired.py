"""Two ways of doing the same, taking turns in one process: how other benchmarks measure.

With one thread (OMP_NUM_THREADS=1) it is processor time that is measured, which other work on the
machine disturbs little; with several, the wall clock's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Paired:
    """Seconds of each turn, and the median of the pairs' ratios."""

    ours_s: list[float]
    theirs_s: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long the other way takes."""
        return statistics.median(t / o for o, t in zip(self.ours_s, self.theirs_s, strict=True))

    def row(self, name: str) -> str:
        """A line of a table: both medians in ms, and the ratio."""
        ours, theirs = (statistics.median(taken) * 1e3 for taken in (self.ours_s, self.theirs_s))
        low, high = (
            pick(t / o for o, t in zip(self.ours_s, self.theirs_s, strict=True))
            for pick in (min, max)
        )
        return (
            f"| {name} | {theirs:.1f} | {ours:.1f} | {self.ratio:.2f} ({low:.2f} to {high:.2f}) |"
        )


def take_turns(ours: Callable[[], object], theirs: Callable[[], object], turns: int) -> Paired:
    """Run both once to warm up, then `turns` times in turn."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    ours(), theirs()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for act, seconds in zip((ours, theirs), taken, strict=True):
            began = clock()
            act()
            seconds.append(clock() - began)
    return Paired(*taken)
