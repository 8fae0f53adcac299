"""After a run ended for lack of memory: which batch would have fitted, found by trying."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from gogooku3.config import BatchConfig, TrainConfig
from gogooku3.data.epochs import runs
from gogooku3.training.epoch import Learner
from gogooku3.training.evaluation import predict
from gogooku3.training.experiment import Experiment
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


@dataclass(frozen=True)
class Search:
    """What the search came to."""

    fit: Fit | None
    is_whole: bool = True
    """Whether every smaller batch was tried, or one fitted: it was not stopped, and had time."""


def largest_fit(
    config: TrainConfig,
    dataset: Path,
    device: str,
    memory_mb: int | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Search | None:
    """The first of `smaller_batches` with which a whole optimiser step fits into memory.

    Each is tried for real, under nine tenths of the limit, on the training days with the most
    stocks. None for models that don't learn by gradient. Call it when nothing of the failed run is
    held any more.
    """
    limit_memory(None)
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    experiment = Experiment.open(config, dataset, device)
    if experiment.learner is None:
        return None
    limit_memory(None if memory_mb is None else int(SHARE * memory_mb))
    most = max(config.batch.days_per_step, config.batch.block_days)
    days = widest_days(experiment, experiment.split.train_D, most)
    widest = int(experiment.panel.universe_TN[days].sum(1).max())
    until = time.monotonic() + PATIENCE_S
    for batch in smaller_batches(config.batch, widest):
        if not is_allowed(config, batch):
            continue
        if should_stop() or time.monotonic() > until:
            return Search(None, is_whole=False)
        if _fits(experiment, experiment.learner, batch, days):
            return Search(Fit(batch, is_asked=batch == config.batch))
    return Search(None)


def is_allowed(config: TrainConfig, batch: BatchConfig) -> bool:
    """Whether a job may have the batch: a term of the loss may need blocks, for one."""
    plain = config.model_dump(mode="json") | {"batch": batch.model_dump(mode="json")}
    try:
        TrainConfig.model_validate(plain)
    except ValidationError:
        return False
    return True


def smaller_batches(batch: BatchConfig, widest: int) -> Iterator[BatchConfig]:
    """The batch itself, then ever fewer of its days at once, then half its stocks again and again.

    As many more batches are accumulated as there are fewer days in each, so that the same days make
    a step: their number is divided by its smallest factor, half as a rule.
    """
    yield batch
    while (size := batch.block_days if batch.block_days > 1 else batch.days_per_step) > 1:
        factor = next(n for n in range(2, size + 1) if size % n == 0)
        batch = batch.model_copy(
            update={
                "days_per_step": batch.days_per_step // factor,
                "block_days": max(1, batch.block_days // factor),
                "accumulate": batch.accumulate * factor,
            }
        )
        yield batch
    stocks = min(batch.stocks_per_step or widest, widest) // 2
    while stocks >= LEAST_STOCKS:
        yield batch.model_copy(update={"stocks_per_step": stocks})
        stocks //= 2


def widest_days(experiment: Experiment, days: Sequence[int], count: int) -> list[int]:
    """`count` of the days that follow each other in the calendar, those with the most stocks; as
    many as the longest unbroken run of them has, if that is shorter."""
    unbroken = runs(days)
    count = min(count, max(map(len, unbroken)))
    windows = [run[at : at + count] for run in unbroken for at in range(len(run) - count + 1)]
    stocks_T = experiment.panel.universe_TN.sum(1)
    return max(windows, key=lambda window: int(stocks_T[window].sum()))


def _fits(
    experiment: Experiment, learner: Learner, batch: BatchConfig, days: Sequence[int]
) -> bool:
    config = experiment.config.model_copy(update={"batch": batch})
    size = batch.block_days if batch.block_days > 1 else batch.days_per_step
    # The second batch of a step meets the gradients of the first.
    group = [list(days[:size])] * min(2, batch.batches_per_step)
    try:
        learner.config = config
        learner.feed = experiment.feed.with_batch(batch)
        # The next step's first batch is made meanwhile, as in an epoch.
        with learner.ahead(1, [(0, group), (1, group)]) as made:
            learner.step(1, 0, 0, group, EpochStatistics(1, experiment.device), made)
        learner.optimizer.zero_grad(set_to_none=True)
        most = max(batch.days_per_step, batch.block_days)
        scored = widest_days(experiment, experiment.split.valid_D, most)
        for scored_batch in learner.feed.evaluation_batches(scored):
            predict(experiment.model, scored_batch, experiment.precision)
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
