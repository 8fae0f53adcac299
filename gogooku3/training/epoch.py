"""One epoch of gradient steps over shuffled days.

Shapes: T market days, B days, N stocks, K horizons.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from gogooku3.config import AtftGatFanConfig, TrainConfig
from gogooku3.data.batch import Batch
from gogooku3.data.epochs import epoch_batches, steps_per_epoch
from gogooku3.losses import Loss
from gogooku3.models.base import Model
from gogooku3.optim import Ema, Schedule
from gogooku3.training.ahead import one_ahead
from gogooku3.training.compiled import Forward
from gogooku3.training.device import Precision, autocast
from gogooku3.training.divergence import Divergence
from gogooku3.training.feed import Feed
from gogooku3.training.seeds import derive, generator
from gogooku3.training.statistics import EpochStatistics
from gogooku3.training.team import ALONE, Team

AfterStep = Callable[[int, float, Callable[[], None]], bool]
"""Told the number of steps done, the last one's seconds, and what raises DivergedError if any step
so far left a value that is not finite, which no state may be kept after. True = stop."""


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
    team: Team = ALONE
    ema: Ema | None = None
    """The running mean of the weights, which is what is evaluated and saved."""
    forward: Forward | None = None
    """The forward pass of training; None = the model's own."""
    weight_T: Tensor | None = None
    """What the loss of each day of the calendar is multiplied by; None = 1."""

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
        after_step: AfterStep,
    ) -> bool:
        """Train over `days` from step `start` of `epoch` on; false if told to stop before its end.

        Args:
            epoch: from 1; it and the config's seed fix the order of the days.

        Raises:
            DivergedError: a loss or gradient is NaN or infinite.
        """
        size = self.config.batch.batches_per_step
        batches = epoch_batches(days, self.config.batch, self.config.seed, epoch)
        # The steps of a whole epoch are known, so that the schedule is a function of the step.
        steps = self.steps(days)
        groups = [batches[step * size : (step + 1) * size] for step in range(steps)]
        divergence = Divergence(
            feed=self.feed,
            epoch=epoch,
            groups=groups,
            batches=lambda step: self._batches(epoch, step, groups[step]),
            statistics=statistics,
            checked=start,
        )
        self.model.train()
        to_do = list(enumerate(groups))[start:]
        with self.ahead(epoch, to_do) as made:
            for step, group in to_do:
                began = time.monotonic()
                self.step(epoch, step, (epoch - 1) * steps + step, group, statistics, made)
                # On the CPU looking is free; a GPU is only asked when the epoch is over, or before
                # something is kept.
                verify = partial(divergence.check, step + 1, self.optimizer.param_groups[0]["lr"])
                if self.feed.device.type == "cpu" or step == steps - 1:
                    verify()
                seconds = time.monotonic() - began
                statistics.elapsed_s += seconds
                if after_step(step + 1, seconds, verify) and step + 1 < steps:
                    verify()
                    return False
        return True

    def step(
        self,
        epoch: int,
        step: int,
        global_step: int,
        group: Sequence[Sequence[int]],
        statistics: EpochStatistics,
        made: Iterator[Batch] | None = None,
    ) -> None:
        """One optimiser step over the days of some batches: this rank's share of them, taken from
        `made`, or made when they are needed."""
        made = self._own_batches(epoch, [(step, group)]) if made is None else made
        lr = self.schedule.lr_at(global_step)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        days = sum(len(batch) for batch in group)
        for number, batch_days in self._share(group):
            began = time.monotonic()
            batch = next(made)
            statistics.wait_s += time.monotonic() - began
            self._backward((epoch, step, number), batch, len(batch_days) / days, statistics)
        self.team.sum_gradients(self.model.parameters())
        self._clip(step, statistics)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()

    def first_batch(self, days: Sequence[int]) -> Batch:
        """A batch as training makes them over `days`: the first of the first epoch, if this rank
        has one of it, whole."""
        batches = epoch_batches(days, self.config.batch, self.config.seed, 1)
        own = self._share(batches[: self.config.batch.batches_per_step])
        number, taken = own[0] if own else (0, batches[0])
        return self._batch((1, 0, number), taken)

    def _share(self, group: Sequence[Sequence[int]]) -> list[tuple[int, Sequence[int]]]:
        """This rank's part of a step's batches."""
        return self.team.share(group, self.config.batch.batches_per_step >= self.team.size)

    def ahead(
        self, epoch: int, steps: Sequence[tuple[int, Sequence[Sequence[int]]]]
    ) -> closing[Generator[Batch]]:
        """This rank's batches of some steps, each of which has its number beside its days; one is
        made while the one before it is learned from."""
        return closing(one_ahead(self._own_batches(epoch, steps)))

    def _own_batches(
        self, epoch: int, steps: Sequence[tuple[int, Sequence[Sequence[int]]]]
    ) -> Iterator[Batch]:
        for step, group in steps:
            for number, days in self._share(group):
                yield self._batch((epoch, step, number), days)

    def _batches(self, epoch: int, step: int, group: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """The batches of a step as they were, all ranks'."""
        for number, days in enumerate(group):
            yield self._batch((epoch, step, number), days)

    def _batch(self, place: tuple[int, int, int], days: Sequence[int]) -> Batch:
        """The batch at (epoch, step, number in the step)."""
        sample = generator(self.config.seed, "stocks", *place)
        return self.feed.batch(days, self.config.batch.stocks_per_step, sample)

    def _backward(
        self,
        place: tuple[int, int, int],
        batch: Batch,
        share: float,
        statistics: EpochStatistics,
    ) -> None:
        """Add one batch's share of the step's gradient."""
        _, step, _ = place
        # By batch, not by step: whichever rank takes the batch drops out the same.
        torch.manual_seed(derive(self.config.seed, "dropout", *place))
        with autocast(self.feed.device, self.precision):
            output = self.model(batch) if self.forward is None else self.forward(batch)
        score_BNK = output.score_BNK.float()
        weight_B = None if self.weight_T is None else self.weight_T[batch.day_B]
        value, parts = self.loss(
            score_BNK,
            batch.target_BNK,
            batch.valid_BNK,
            weight_B=weight_B,
            distribution_BNKP=output.distribution_BNKP,
            aligned=batch.rows is not None,
        )
        statistics.add(step, "loss", value.detach() * share)
        for name, part in parts.items():
            statistics.add(step, f"loss_{name}", part * share)
        main_BNK = output.main_score_BNK
        weight = self._auxiliary_weight()
        if main_BNK is not None and weight > 0:
            fit = self.loss.auxiliary(
                main_BNK.float(), batch.target_BNK, batch.valid_BNK, weight_B=weight_B
            )
            statistics.add(step, "loss_auxiliary", fit * share)
            value = value + weight * fit
        (value * share).backward()
        statistics.count(batch.mask_BN)

    def _auxiliary_weight(self) -> float:
        model = self.config.model
        return model.fan.aux_weight if isinstance(model, AtftGatFanConfig) else 0.0

    def _clip(self, step: int, statistics: EpochStatistics) -> None:
        """Scale the gradient down to `clip_norm`, if there is one; note the norms it had."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.grad is not None]
        parameters = [parameter for _, parameter in named]
        norm_P = gradient_norms(parameters)
        total = torch.linalg.vector_norm(norm_P)
        statistics.note_gradient(step, total, norm_P, [name for name, _ in named])
        limit = self.config.optimizer.clip_norm
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, total)


def gradient_norms(parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    """Norm of each parameter's gradient, on the device."""
    return torch.stack(torch._foreach_norm([p.grad for p in parameters if p.grad is not None]))
