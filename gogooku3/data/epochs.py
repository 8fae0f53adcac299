"""The order of the days in an epoch: a function of (seed, epoch) and nothing else, so that any step
of any epoch can be taken up again by its number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def epoch_days(days: Sequence[int], seed: int, epoch: int, days_per_step: int) -> list[list[int]]:
    """The days of an epoch in shuffled groups of `days_per_step`; the last may be smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(len(days))
    shuffled = [int(days[place]) for place in order]
    return [
        shuffled[start : start + days_per_step] for start in range(0, len(shuffled), days_per_step)
    ]


def epoch_blocks(days: Sequence[int], seed: int, epoch: int, block_days: int) -> list[list[int]]:
    """The days of an epoch in shuffled blocks of `block_days` consecutive days.

    Each unbroken run of days is cut into blocks at a phase drawn anew each epoch, so that a day
    does not always have the same company; the first and last block of a run may be smaller. Every
    day is in exactly one block.
    """
    rng = np.random.default_rng([seed, epoch, block_days])
    blocks = []
    for run in _runs(days):
        first = int(rng.integers(1, block_days + 1))
        cuts = [0, *range(first, len(run), block_days), len(run)]
        blocks += [run[begin:end] for begin, end in pairwise(cuts)]
    return [blocks[place] for place in rng.permutation(len(blocks))]


def _runs(days: Sequence[int]) -> list[list[int]]:
    """Unbroken runs of increasing days."""
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(int(day))
        else:
            runs.append([int(day)])
    return runs
