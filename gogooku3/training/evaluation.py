"""Scores of a split's days, full cross-section, eval mode, and the metrics they make.

Shapes: B days of a batch, N stocks of a batch, D days of the split, S stocks of the dataset,
K horizons, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gogooku3.config import LossConfig, TrainConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import DivergedError
from gogooku3.losses import build_loss
from gogooku3.metrics import (
    DailySeries,
    daily_series,
    over_horizons,
    population_stability,
    summarise,
)
from gogooku3.models.base import Model, ModelOutput
from gogooku3.training.device import Precision, autocast
from gogooku3.training.feed import Feed

Metrics = dict[str, float | None]


class Interrupted(Exception):
    """The run was asked to stop while it was looking at data; nothing was changed."""


@dataclass(frozen=True)
class Evaluation:
    """A split's scores and metrics. Tensors are on the CPU."""

    split: str
    days: tuple[int, ...]
    """D days of the panel's calendar."""
    score_DSK: Tensor
    """float32; 0 where there is no score."""
    return_DSK: Tensor
    """float32, raw forward returns; NaN where unknown or not scored."""
    scored_DS: Tensor
    series: DailySeries
    metrics: Metrics
    """Named `split/name` and `split/name@horizon`."""
    selection_F: list[float] | None
    """Mean weight of each feature, of models that weigh them."""
    attention_A: list[float] | None = None
    """Mean attention by age, 0 = the scored day, of models that attend to their look-back."""

    def beside(self, reference: Evaluation, config: TrainConfig) -> Evaluation:
        """The same with the reference's own `ic` and `rank_ic`, and the PSI of these scores
        against its scores, named as this split's."""
        weights = horizon_weights(config)
        psi = {
            f"psi@{h}": population_stability(reference.scores_of(place), self.scores_of(place))
            for place, h in enumerate(config.data.horizons)
        }
        psi["psi"] = over_horizons(psi, "psi", weights)
        correlations = {
            name: value
            for name, value in reference.metrics.items()
            if name.partition("/")[2].partition("@")[0] in ("ic", "rank_ic")
        }
        metrics = self.metrics | {f"{self.split}/{name}": value for name, value in psi.items()}
        return replace(self, metrics=metrics | correlations)

    def scores_of(self, place: int) -> NDArray[np.float32]:
        """All scores of the horizon at `place`."""
        scores: NDArray[np.float32] = self.score_DSK[..., place][self.scored_DS].numpy()
        return scores


def spread(days: Sequence[int], count: int) -> list[int]:
    """At most `count` of the days, evenly spread, the last of them included."""
    step = max(1, len(days) / max(1, count))
    return [days[-1 - int(place * step)] for place in range(min(count, len(days)))][::-1]


def horizon_weights(config: TrainConfig) -> dict[int, float]:
    """Each horizon's weight in the loss and in what is averaged over horizons."""
    given = config.loss.horizon_weights or {}
    return {h: given.get(str(h), 1.0) for h in config.data.horizons}


def predict(model: Model, batch: Batch, precision: Precision) -> ModelOutput:
    """The model's output in eval mode and without gradients; the mode is put back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(batch.x_BNTF.device, precision):
            return model(batch)  # type: ignore[no-any-return]
    finally:
        model.train(was_training)


def evaluate(
    model: Model,
    feed: Feed,
    days: Sequence[int],
    config: TrainConfig,
    *,
    split: str,
    precision: Precision,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Score consecutive days and compare with what happened.

    Raises:
        DivergedError: a score is NaN or infinite.
        Interrupted: `should_stop` said so.
    """
    board = _Board(feed, days, config)
    for batch in feed.evaluation_batches(days):
        if should_stop():
            raise Interrupted
        board.add(batch, predict(model, batch, precision))
    return board.finish(split)


class _Board:
    """Collects batches into dense tensors on the device; reads them once."""

    def __init__(self, feed: Feed, days: Sequence[int], config: TrainConfig) -> None:
        self._feed, self._days, self._config = feed, tuple(days), config
        horizons = config.data.horizons
        # One place more than there are stocks: padding goes there.
        shape = (len(days), len(feed.panel.codes) + 1, len(horizons))
        self._score_DSK = torch.zeros(shape, device=feed.device)
        self._return_DSK = torch.full(shape, torch.nan, device=feed.device)
        self._scored_DS = torch.zeros(shape[:2], dtype=torch.bool, device=feed.device)
        self._filled = 0
        # A loss per horizon: `valid/loss@5` beside their weighted mean `valid/loss`.
        terms = config.loss.terms
        self._losses = [
            build_loss(LossConfig(terms=terms, horizon_weights={str(h): 1.0}), (h,), feed.device)
            for h in horizons
        ]
        self._loss_K = torch.zeros(len(horizons), device=feed.device)
        self._reports: dict[str, Tensor] = {}

    def add(self, batch: Batch, output: ModelOutput) -> None:
        """Put a batch's scores in their places."""
        days, stocks = batch.mask_BN.shape
        rows = slice(self._filled, self._filled + days)
        self._filled += days
        score_BNK = output.score_BNK.float()
        last = self._scored_DS.shape[1] - 1
        place_BN = batch.stock_BN.masked_fill(~batch.mask_BN, last)
        place_BNK = place_BN.unsqueeze(-1).expand(days, stocks, score_BNK.shape[-1])
        self._score_DSK[rows].scatter_(1, place_BNK, score_BNK)
        self._return_DSK[rows].scatter_(1, place_BNK, batch.return_BNK)
        self._scored_DS[rows].scatter_(1, place_BN, batch.mask_BN)
        for k, loss in enumerate(self._losses):
            at = slice(k, k + 1)
            beside = output.distribution_BNKP
            value, _ = loss(
                score_BNK[..., at],
                batch.target_BNK[..., at],
                batch.valid_BNK[..., at],
                distribution_BNKP=None if beside is None else beside[:, :, at],
                aligned=batch.rows is not None,
            )
            self._loss_K[k] += value.detach() * days
        for name, weight_V in output.reports.items():
            weighted_V = weight_V.double() * days
            known_V = self._reports.get(name)
            self._reports[name] = weighted_V if known_V is None else known_V + weighted_V

    def _report(self, name: str) -> list[float] | None:
        """The mean over the days of what the model reported."""
        total_V = self._reports.get(name)
        return None if total_V is None else (total_V / len(self._days)).tolist()

    def finish(self, split: str) -> Evaluation:
        """The metrics of all days."""
        score_DSK = self._score_DSK[:, :-1]
        return_DSK = self._return_DSK[:, :-1]
        scored_DS = self._scored_DS[:, :-1]
        self._check_finite(score_DSK, split)
        data, evaluation = self._config.data, self._config.evaluation
        series = daily_series(
            score_DSK,
            return_DSK,
            ~return_DSK.isnan(),
            data.horizons,
            scored_BN=scored_DS,
            cost_bps=evaluation.cost_bps,
        )
        weights = horizon_weights(self._config)
        metrics = self._loss_metrics(weights) | summarise(series, weights)
        return Evaluation(
            split=split,
            days=self._days,
            score_DSK=score_DSK.cpu(),
            return_DSK=return_DSK.cpu(),
            scored_DS=scored_DS.cpu(),
            series=series,
            metrics={f"{split}/{name}": value for name, value in metrics.items()},
            selection_F=self._report("selection_F"),
            attention_A=self._report("attention_A"),
        )

    def _loss_metrics(self, weights: dict[int, float]) -> Metrics:
        values = (self._loss_K.double() / len(self._days)).tolist()
        pairs = list(zip(weights.items(), values, strict=True))
        mean = sum(w * v for (_, w), v in pairs) / sum(w for (_, w), _ in pairs)
        return {"loss": mean} | {f"loss@{h}": value for (h, _), value in pairs}

    def _check_finite(self, score_DSK: Tensor, split: str) -> None:
        bad_D = ~score_DSK.isfinite().flatten(1).all(dim=1)
        if bad_D.any():
            day = self._days[int(bad_D.nonzero()[0])]
            raise DivergedError(
                f"scores of the {split} split are NaN or infinite on {int(bad_D.sum())} of "
                f"{len(self._days)} days, first on {self._feed.panel.calendar[day]}"
            )
