"""One epoch of gradient steps over shuffled days. Shapes: B days, N stocks, K horizons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from gogooku3.config import AtftGatFanConfig, TrainConfig
from gogooku3.data.epochs import epoch_batches, steps_per_epoch
from gogooku3.errors import DivergedError
from gogooku3.losses import Loss
from gogooku3.models.base import Model
from gogooku3.optim import Schedule
from gogooku3.training.device import Precision, autocast
from gogooku3.training.feed import Feed
from gogooku3.training.seeds import derive, generator
from gogooku3.training.statistics import EpochStatistics


@dataclass
class Learner:
    """What a gradient step needs and changes."""

    config: TrainConfig
    model: Model
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    feed: Feed
    precision: Precision

    def steps(self, days: Sequence[int]) -> int:
        """Optimiser steps in an epoch over `days`."""
        return steps_per_epoch(days, self.config.batch)

    def mean_lr(self, epoch: int, steps: int) -> float:
        """Mean learning rate over the steps of an epoch."""
        first = (epoch - 1) * steps
        return sum(self.schedule.lr_at(first + step) for step in range(steps)) / steps

    def epoch(
        self,
        epoch: int,
        days: Sequence[int],
        start: int,
        statistics: EpochStatistics,
        after_step: Callable[[int, float], bool],
    ) -> bool:
        """Train over `days` from step `start` of `epoch` on; false if told to stop before its end.

        Args:
            epoch: from 1; it and the config's seed fix the order of the days.
            after_step: told the number of steps done and the last one's seconds; true = stop.

        Raises:
            DivergedError: a loss or gradient is NaN or infinite.
        """
        config = self.config.batch
        batches = epoch_batches(days, config, self.config.seed, epoch)
        # The steps of a whole epoch are known, so that the schedule is a function of the step.
        steps = self.steps(days)
        checked = start
        self.model.train()
        for step in range(start, steps):
            began = time.monotonic()
            first = step * config.batches_per_step
            group = batches[first : first + config.batches_per_step]
            self._step(epoch, step, steps, group, statistics)
            # On the CPU looking is free; a GPU is only asked when the epoch is over.
            if self.feed.device.type == "cpu" or step == steps - 1:
                self.check(epoch, checked, step + 1, batches, statistics)
                checked = step + 1
            seconds = time.monotonic() - began
            statistics.elapsed_s += seconds
            if after_step(step + 1, seconds) and step + 1 < steps:
                self.check(epoch, checked, step + 1, batches, statistics)
                return False
        return True

    def check(
        self,
        epoch: int,
        start: int,
        end: int,
        batches: Sequence[Sequence[int]],
        statistics: EpochStatistics,
    ) -> None:
        """Raise DivergedError if a step in `start..end` left a value that is not finite."""
        bad = statistics.first_bad_step(start, end)
        if bad is None:
            return
        size = self.config.batch.batches_per_step
        days = [day for batch in batches[bad * size : (bad + 1) * size] for day in batch]
        dates = ", ".join(day.isoformat() for day in self.feed.dates(days)[:8])
        raise DivergedError(
            f"the loss or its gradient became NaN or infinite in epoch {epoch} at step {bad + 1} "
            f"of {statistics.steps}, training on {dates}, learning rate "
            f"{self.optimizer.param_groups[0]['lr']:.3g}"
        )

    def _step(
        self,
        epoch: int,
        step: int,
        steps: int,
        group: Sequence[Sequence[int]],
        statistics: EpochStatistics,
    ) -> None:
        seed = self.config.seed
        torch.manual_seed(derive(seed, "dropout", epoch, step))
        sample = generator(seed, "stocks", epoch, step)
        lr = self.schedule.lr_at((epoch - 1) * steps + step)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        days = sum(len(batch) for batch in group)
        for batch_days in group:
            self._backward(step, batch_days, len(batch_days) / days, sample, statistics)
        statistics.add(step, "grad_norm", self._clip())
        self.optimizer.step()

    def _backward(
        self,
        step: int,
        days: Sequence[int],
        share: float,
        sample: torch.Generator,
        statistics: EpochStatistics,
    ) -> None:
        """Add one batch's share of the step's gradient."""
        began = time.monotonic()
        batch = self.feed.batch(days, self.config.batch.stocks_per_step, sample)
        statistics.wait_s += time.monotonic() - began
        with autocast(self.feed.device, self.precision):
            output = self.model(batch)
        score_BNK = output.score_BNK.float()
        value, parts = self.loss(
            score_BNK,
            batch.target_BNK,
            batch.valid_BNK,
            distribution_BNKP=output.distribution_BNKP,
            aligned=batch.rows is not None,
        )
        statistics.add(step, "loss", value.detach() * share)
        for name, part in parts.items():
            statistics.add(step, f"loss_{name}", part * share)
        main_BNK = output.main_score_BNK
        weight = self._auxiliary_weight()
        if main_BNK is not None and weight > 0:
            fit = self.loss.auxiliary(main_BNK.float(), batch.target_BNK, batch.valid_BNK)
            statistics.add(step, "loss_auxiliary", fit * share)
            value = value + weight * fit
        (value * share).backward()
        statistics.count(batch.mask_BN)

    def _auxiliary_weight(self) -> float:
        model = self.config.model
        return model.fan.aux_weight if isinstance(model, AtftGatFanConfig) else 0.0

    def _clip(self) -> Tensor:
        """Scale the gradient down to `clip_norm`, if there is one; the norm it had."""
        limit = self.config.optimizer.clip_norm
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        most = float("inf") if limit is None else limit
        return torch.nn.utils.clip_grad_norm_(parameters, most)
