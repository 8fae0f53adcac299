"""Learning-rate schedules: functions of the global step and of what the epochs' evaluations said.
Both are known to a run that is taken up again, so there is no state to save."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from gogooku3.config import (
    ConstantConfig,
    CosineRestartsConfig,
    PlateauConfig,
    SchedulerConfig,
    WarmupCosineConfig,
)


class Schedule(Protocol):
    """The learning rate of each optimiser step, counted from 0 over the whole run."""

    def lr_at(self, step: int) -> float: ...

    def note(self, is_better: bool) -> None:
        """An epoch was evaluated, and was better than all before it or not."""
        ...


class Planned:
    """A schedule that is fixed before the first step."""

    def note(self, is_better: bool) -> None:
        """What an evaluation says changes nothing."""


@dataclass(frozen=True)
class Span:
    """What a run fixes of a schedule."""

    lr: float
    steps_per_epoch: int
    max_epochs: int


@dataclass(frozen=True)
class Constant(Planned):
    """The same learning rate throughout."""

    config: ConstantConfig
    span: Span

    def lr_at(self, step: int) -> float:
        """Learning rate of optimiser step `step`."""
        return self.span.lr


@dataclass(frozen=True)
class WarmupCosine(Planned):
    """Linear warm-up from the first step, then one cosine down to `eta_min` at the run's end.

    A warm-up that lasts longer than the run never ends in it.
    """

    config: WarmupCosineConfig
    span: Span

    def lr_at(self, step: int) -> float:
        """Learning rate of optimiser step `step`."""
        span = self.span
        warm = self.config.warmup_epochs * span.steps_per_epoch
        if step < warm:
            return span.lr * min(1.0, (step + 1) / warm)
        left = span.max_epochs * span.steps_per_epoch - warm
        return _cosine(span.lr, self.config.eta_min, min(1.0, (step - warm) / max(left, 1.0)))


@dataclass(frozen=True)
class CosineRestarts(Planned):
    """Cosine annealing with warm restarts (Loshchilov and Hutter, 2017), stepped per batch."""

    config: CosineRestartsConfig
    span: Span

    def lr_at(self, step: int) -> float:
        """Learning rate of optimiser step `step`."""
        into, length = step / self.span.steps_per_epoch, float(self.config.t_0)
        while into >= length:
            into -= length
            length *= self.config.t_mult
        return _cosine(self.span.lr, self.config.eta_min, into / length)


@dataclass
class Plateau:
    """The rate falls by `factor` each time more than `patience` epochs in a row were no better."""

    config: PlateauConfig
    span: Span
    waited: int = 0
    """Epochs since the best one, or since the rate fell."""
    falls: int = 0

    def lr_at(self, step: int) -> float:
        """Learning rate of the optimiser steps until the next evaluation."""
        low = min(self.config.eta_min, self.span.lr)
        return max(low, self.span.lr * self.config.factor**self.falls)

    def note(self, is_better: bool) -> None:
        """An epoch was evaluated."""
        self.waited = 0 if is_better else self.waited + 1
        if self.waited > self.config.patience:
            self.waited, self.falls = 0, self.falls + 1


SCHEDULES: Mapping[str, Callable[[Any, Span], Schedule]] = MappingProxyType(
    {
        "constant": Constant,
        "warmup_cosine": WarmupCosine,
        "cosine_restarts": CosineRestarts,
        "plateau": Plateau,
    }
)
"""Each kind's class, called with its configuration and the run's span."""


def build_scheduler(
    config: SchedulerConfig, *, lr: float, steps_per_epoch: int, max_epochs: int
) -> Schedule:
    """The schedule of a run whose highest learning rate is `lr` (`optimizer.lr`)."""
    return SCHEDULES[config.kind](config, Span(lr, steps_per_epoch, max_epochs))


def _cosine(high: float, eta_min: float, progress: float) -> float:
    """From `high` at progress 0 to `eta_min` at 1; an `eta_min` above `high` is not a lowest."""
    low = min(eta_min, high)
    return low + (high - low) * 0.5 * (1.0 + math.cos(math.pi * progress))
