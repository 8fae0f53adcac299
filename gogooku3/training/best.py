"""Which epoch is the best so far, on the validation split only, and whether to give up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from gogooku3.config import EarlyStoppingConfig

Metrics = Mapping[str, float | None]


class BestState(TypedDict):
    """What a resumed run needs to know."""

    epoch: int | None
    value: float | None
    metrics: dict[str, float | None]
    waited: int


@dataclass
class BestEpoch:
    """The best epoch by `early_stopping.metric`; a value that is undefined or not finite is
    never better."""

    config: EarlyStoppingConfig
    epoch: int | None = None
    value: float | None = None
    metrics: dict[str, float | None] | None = None
    waited: int = 0
    """Epochs since the best one."""

    def update(self, epoch: int, metrics: Metrics) -> bool:
        """Note an epoch's metrics; true if it is the best so far."""
        value = metrics[self.config.metric]
        if value is None or not math.isfinite(value) or not self._is_better(value):
            self.waited += 1
            return False
        self.epoch, self.value, self.metrics, self.waited = epoch, value, dict(metrics), 0
        return True

    @property
    def gave_up(self) -> bool:
        """Whether `patience` epochs went by without improvement."""
        patience = self.config.patience
        return patience is not None and self.waited >= patience

    def state(self) -> BestState:
        """For the resume state."""
        return BestState(
            epoch=self.epoch,
            value=self.value,
            metrics=dict(self.metrics or {}),
            waited=self.waited,
        )

    def restore(self, state: BestState) -> None:
        """Go on from a resume state."""
        self.epoch, self.value = state["epoch"], state["value"]
        self.metrics, self.waited = dict(state["metrics"]), state["waited"]

    def _is_better(self, value: float) -> bool:
        if self.value is None:
            return True
        gain = value - self.value
        if self.config.metric.startswith("valid/loss"):
            gain = -gain
        return gain > self.config.min_delta
