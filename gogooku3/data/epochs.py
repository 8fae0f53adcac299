"""The order of the days in an epoch: a function of (seed, epoch) and nothing else, so that any step
of any epoch can be taken up again by its number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gogooku3.config import BatchConfig


def epoch_batches(
    days: Sequence[int], config: BatchConfig, seed: int, epoch: int
) -> list[list[int]]:
    """The days of each batch of an epoch, every day in exactly one batch."""
    if config.block_days > 1:
        return epoch_blocks(days, seed, epoch, config.block_days)
    return epoch_days(days, seed, epoch, config.days_per_step)


def steps_per_epoch(days: Sequence[int], config: BatchConfig) -> int:
    """Optimiser steps in an epoch: the same in every epoch; the last may have fewer days."""
    if config.block_days > 1:
        batches = sum(_blocks(len(run), config.block_days)[0] for run in runs(days))
    else:
        batches = -(-len(days) // config.days_per_step)
    return -(-batches // config.batches_per_step)


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
    does not always have the same company; the first and last block of a run may be smaller. There
    are as many blocks in every epoch.
    """
    rng = np.random.default_rng([seed, epoch, block_days])
    blocks = []
    for run in runs(days):
        count, shortest, longest = _blocks(len(run), block_days)
        if count == 1:
            blocks.append(run)
            continue
        first = int(rng.integers(shortest, longest + 1))
        cuts = [0, *range(first, len(run), block_days), len(run)]
        blocks += [run[begin:end] for begin, end in pairwise(cuts)]
    return [blocks[place] for place in rng.permutation(len(blocks))]


def runs(days: Sequence[int]) -> list[list[int]]:
    """Unbroken runs of increasing days."""
    found: list[list[int]] = []
    for day in days:
        if found and day == found[-1][-1] + 1:
            found[-1].append(int(day))
        else:
            found.append([int(day)])
    return found


def _blocks(days: int, block_days: int) -> tuple[int, int, int]:
    """How many blocks an unbroken run is cut into, and the least and the greatest length of the
    first one that make so many.

    Either the fewest that hold the run, or one more: whichever leaves more phases to choose from,
    which is at least half of all.
    """
    fewest = -(-days // block_days)
    spare = fewest * block_days - days
    if spare + 1 >= block_days - 1 - spare or fewest == 1:
        return fewest, block_days - spare, block_days
    return fewest + 1, 1, block_days - spare - 1
