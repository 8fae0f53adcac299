"""After a run ended for lack of memory: which batch would have fitted, found by trying."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gogooku3.config import BatchConfig, TrainConfig
from gogooku3.training.epoch import Learner
from gogooku3.training.evaluation import predict
from gogooku3.training.experiment import Experiment
from gogooku3.training.feed import Feed
from gogooku3.training.memory import is_out_of_memory, limit_memory
from gogooku3.training.statistics import EpochStatistics

PATIENCE_S = 120.0
"""The search begins no further try after this time."""
LEAST_STOCKS = 64
SHARE = 0.9
"""Share of the limit that a batch has to fit into: a long run leaves gaps between what it holds,
which a step or two do not."""


@dataclass(frozen=True)
class Fit:
    """The largest batch that fitted."""

    batch: BatchConfig
    is_asked: bool
    """It is the one that was asked for: something else was too large."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that make it, by path."""
        names = ("days_per_step", "block_days", "accumulate", "stocks_per_step")
        return {f"batch.{name}": getattr(self.batch, name) for name in names}


def largest_fit(
    config: TrainConfig,
    dataset: Path,
    device: str,
    memory_mb: int | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fit | None:
    """The first of `smaller_batches` with which a whole optimiser step fits into memory.

    Each is tried for real, under nine tenths of the limit, on the training days with the most
    stocks. None when none does, for lack of time, and for models that don't learn by gradient.
    Call it when nothing of the failed run is held any more.
    """
    limit_memory(None)
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    experiment = Experiment.open(config, dataset, device)
    if experiment.learner is None:
        return None
    limit_memory(None if memory_mb is None else int(SHARE * memory_mb))
    days = widest_days(experiment, config.batch)
    widest = int(experiment.panel.universe_TN[days].sum(1).max())
    until = time.monotonic() + PATIENCE_S
    for place, batch in enumerate(smaller_batches(config.batch, widest)):
        if should_stop() or time.monotonic() > until:
            return None
        if _fits(experiment, experiment.learner, batch, days):
            return Fit(batch, is_asked=place == 0)
    return None


def smaller_batches(batch: BatchConfig, widest: int) -> Iterator[BatchConfig]:
    """The batch itself, then half its days again and again, then half its stocks.

    Fewer days at once come with as many more accumulated batches: the same days make a step.
    """
    yield batch
    days, block, accumulate = batch.days_per_step, batch.block_days, batch.accumulate
    while (block if block > 1 else days) > 1:
        if block > 1:
            block //= 2
            days = days // 2 if days % 2 == 0 else block
        else:
            days //= 2
        accumulate *= 2
        batch = batch.model_copy(
            update={"days_per_step": days, "block_days": block, "accumulate": accumulate}
        )
        yield batch
    stocks = min(batch.stocks_per_step or widest, widest) // 2
    while stocks >= LEAST_STOCKS:
        yield batch.model_copy(update={"stocks_per_step": stocks})
        stocks //= 2


def widest_days(experiment: Experiment, batch: BatchConfig) -> list[int]:
    """As many consecutive training days as a batch has, around the one with the most stocks."""
    train = list(experiment.split.train_D)
    stocks_D = experiment.panel.universe_TN[train].sum(1)
    count = min(len(train), max(batch.days_per_step, batch.block_days))
    at = min(int(stocks_D.argmax()), len(train) - count)
    return train[at : at + count]


def _scored(experiment: Experiment, batch: BatchConfig) -> list[int]:
    """As many validation days as are scored at once, around the one with the most stocks."""
    valid = list(experiment.split.valid_D)
    stocks_D = experiment.panel.universe_TN[valid].sum(1)
    at = max(0, int(stocks_D.argmax()) - max(batch.days_per_step, batch.block_days) + 1)
    return valid[at : int(stocks_D.argmax()) + 1]


def _fits(
    experiment: Experiment, learner: Learner, batch: BatchConfig, days: Sequence[int]
) -> bool:
    config = experiment.config.model_copy(update={"batch": batch})
    size = batch.block_days if batch.block_days > 1 else batch.days_per_step
    # The second batch of a step meets the gradients of the first.
    group = [list(days[:size])] * min(2, batch.batches_per_step)
    try:
        learner.config = config
        learner.feed = Feed(experiment.panel, config, experiment.device, experiment.feed.scaling)
        # The next step's first batch is made meanwhile, as in an epoch.
        with learner.ahead(1, [(0, group), (1, group)]) as made:
            learner.step(1, 0, 0, group, EpochStatistics(1, experiment.device), made)
        learner.optimizer.zero_grad(set_to_none=True)
        for scored in learner.feed.evaluation_batches(_scored(experiment, batch)):
            predict(experiment.model, scored, experiment.precision)
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        learner.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if experiment.device.type == "cuda":
            torch.cuda.empty_cache()
