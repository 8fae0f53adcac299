"""TrainConfig: everything a training run depends on beside the dataset itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.data import DataConfig
from gogooku3.config.loss import LossConfig, QuantileConfig
from gogooku3.config.model import (
    BY_GRADIENT,
    AtftGatFanConfig,
    HeadConfig,
    ModelConfig,
    QuantileHeadConfig,
    StreamingFanConfig,
)
from gogooku3.config.optimizer import (
    AdamWConfig,
    OptimizerConfig,
    SchedulerConfig,
    WarmupCosineConfig,
)


class BatchConfig(ConfigModel):
    """What one optimiser step sees: whole days, or a sample of each day's stocks."""

    days_per_step: int = Field(default=1, ge=1, le=64)
    """B: days (cross-sections) in a batch, or, with `block_days`, in the blocks of a step."""
    block_days: int = Field(default=1, ge=1, le=64)
    """D: days are drawn in blocks of so many consecutive days, which share the rows of their
    windows: cheaper by far, and less random. 1 = each day is drawn by itself. Above 1, each block
    is a batch and `days_per_step` a multiple of it; a block never spans days that are in no part
    of the split. The first and last block of an epoch's days may be shorter."""
    stocks_per_step: int | None = Field(default=None, ge=8)
    """Stocks drawn per day in training; null = the whole cross-section. Evaluation uses all. A
    block draws once, among the stocks of all its days."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """The gradients of so many times `days_per_step` days are averaged before a step."""

    @property
    def batches_per_step(self) -> int:
        """Batches whose gradients are averaged before a step."""
        blocks = 1 if self.block_days == 1 else self.days_per_step // self.block_days
        return self.accumulate * blocks

    @model_validator(mode="after")
    def _whole_blocks(self) -> BatchConfig:
        if self.block_days > 1 and self.days_per_step % self.block_days:
            raise PydanticCustomError(
                "block_days",
                "days_per_step {days} is no multiple of block_days {block}: a step is made of "
                "whole blocks; use days_per_step = {above}, or block_days = 1",
                {
                    "days": self.days_per_step,
                    "block": self.block_days,
                    "above": -(-self.days_per_step // self.block_days) * self.block_days,
                    "field": "days_per_step",
                },
            )
        return self


class EarlyStoppingConfig(ConfigModel):
    """Stop when the metric has not improved for `patience` epochs; also chooses the best epoch."""

    metric: str = Field(
        default="valid/rank_ic", pattern=r"^valid/(loss|ic|rank_ic|icir|rank_icir|sharpe)(@\d+)?$"
    )
    """A validation metric; `loss` is minimised, every other maximised."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without improvement before stopping; null = never stop early."""
    min_delta: float = Field(default=0.0, ge=0.0)
    """Smallest change that counts as an improvement."""


class EvaluationConfig(ConfigModel):
    """How portfolios are scored."""

    cost_bps: float = Field(default=10.0, ge=0.0, le=1000.0)
    """Cost of trading, one way, in basis points of the traded value."""
    train_days: int = Field(default=20, ge=0, le=10_000)
    """Training days, evenly spread, that are scored after each epoch as well: for `train/ic` and
    `train/rank_ic`, and for the PSI of the validation scores against theirs; 0 = none."""


class TrainConfig(ConfigModel):
    """A training run: config and dataset in, events and checkpoints out."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seeds the weights, the order of the days, the sampling of stocks and every dropout."""
    max_epochs: int = Field(default=10, ge=1, le=10_000)
    """Passes over the training days."""
    data: DataConfig
    model: ModelConfig = AtftGatFanConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = AdamWConfig()
    scheduler: SchedulerConfig = WarmupCosineConfig()
    batch: BatchConfig = BatchConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    compile: bool = False
    """Compile the training's forward and backward pass (torch.compile); a worker where that fails
    trains without it and says so in a warning. Results differ by rounding."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto = bf16 autocast on a GPU that has it, else fp32.
    Losses and weights are always fp32."""

    @model_validator(mode="after")
    def _fit_together(self) -> TrainConfig:
        _fit_fan(self)
        _fit_head(self)
        _check_turnover(self)
        _check_regime(self)
        _fill_horizon_weights(self)
        _check_metric_horizon(self)
        return self


def _fit_fan(config: TrainConfig) -> None:
    """Derive the trailing window from the look-back, and see that a frequency bin is left."""
    model, lookback = config.model, config.data.lookback
    if not isinstance(model, AtftGatFanConfig) or not model.fan.enabled:
        return
    fan, days, what = model.fan, lookback, "look-back"
    if isinstance(fan, StreamingFanConfig):
        days, what = fan.days(lookback), "trailing window"
        if days > lookback:
            raise PydanticCustomError(
                "fan_window",
                "fan.window {window} is longer than the look-back of {lookback} days",
                {"window": days, "lookback": lookback, "field": "model/fan/window"},
            )
    bins = days // 2 + 1
    if fan.top_k >= bins:
        raise PydanticCustomError(
            "fan_top_k",
            "fan.top_k {top_k} needs a longer {what}: {days} days have {bins} frequency "
            "bins, and at least one must be left; use top_k <= {most} or a longer {what}",
            {
                "top_k": fan.top_k,
                "what": what,
                "days": days,
                "bins": bins,
                "most": bins - 1,
                "field": "model/fan/top_k",
            },
        )
    if isinstance(fan, StreamingFanConfig):
        fitted = model.model_copy(update={"fan": fan.model_copy(update={"window": days})})
        config.__dict__["model"] = fitted


def _fit_head(config: TrainConfig) -> None:
    """See that a head and the loss term that trains it come together; give the term its levels."""
    head = getattr(config.model, "head", HeadConfig())
    used = {term.kind for term in config.loss.terms if term.weight > 0.0}
    for kind in ("quantile", "student_t"):
        if kind in used and head.kind != kind:
            raise PydanticCustomError(
                "term_without_head",
                "loss term {kind} needs model.head.kind = {kind}, not {head}",
                {"kind": kind, "head": head.kind, "field": "loss/terms"},
            )
        if head.kind == kind and kind not in used:
            raise PydanticCustomError(
                "head_without_term",
                "no loss term trains a head of kind {kind}: add one of that kind",
                {"kind": kind, "field": "loss/terms"},
            )
    if not isinstance(head, QuantileHeadConfig):
        return
    terms = list(config.loss.terms)
    for place, term in enumerate(terms):
        if not isinstance(term, QuantileConfig):
            continue
        if term.levels not in (None, head.levels):
            raise PydanticCustomError(
                "quantile_levels",
                "the levels are those of model.head, {levels}: leave them out",
                {"levels": list(head.levels), "field": f"loss/terms/{place}/levels"},
            )
        terms[place] = term.model_copy(update={"levels": head.levels})
    config.__dict__["loss"] = config.loss.model_copy(update={"terms": tuple(terms)})


def _check_turnover(config: TrainConfig) -> None:
    for place, term in enumerate(config.loss.terms):
        if term.kind == "turnover" and term.weight > 0.0 and config.batch.block_days == 1:
            raise PydanticCustomError(
                "turnover_without_blocks",
                "loss term turnover compares a day with the one before it: set batch.block_days "
                "to 2 or more",
                {"field": f"loss/terms/{place}"},
            )


def _check_regime(config: TrainConfig) -> None:
    if config.loss.regime is not None and not isinstance(config.model, BY_GRADIENT):
        raise PydanticCustomError(
            "regime_without_steps",
            "model.kind {kind} is not trained in steps, so no day can count more than another: "
            "leave loss.regime out",
            {"kind": config.model.kind, "field": "loss/regime"},
        )


def _fill_horizon_weights(config: TrainConfig) -> None:
    horizons = [str(h) for h in config.data.horizons]
    given = config.loss.horizon_weights
    if given is None:
        weights = dict.fromkeys(horizons, 1.0)
        config.__dict__["loss"] = config.loss.model_copy(update={"horizon_weights": weights})
        return
    for key in given:
        if key not in horizons:
            raise PydanticCustomError(
                "horizon_unknown",
                "horizon_weights names horizon {key}, but the horizons are {horizons}",
                {"key": key, "horizons": horizons, "field": f"loss/horizon_weights/{key}"},
            )
    for horizon in horizons:
        if horizon not in given:
            raise PydanticCustomError(
                "horizon_missing",
                "horizon_weights lacks horizon {horizon}: give a weight for each of {horizons}",
                {"horizon": horizon, "horizons": horizons, "field": "loss/horizon_weights"},
            )
    if not any(given.values()):
        raise PydanticCustomError(
            "horizon_weights_zero",
            "every horizon has weight 0",
            {"field": "loss/horizon_weights"},
        )


def _check_metric_horizon(config: TrainConfig) -> None:
    _, _, horizon = config.early_stopping.metric.partition("@")
    if horizon and int(horizon) not in config.data.horizons:
        raise PydanticCustomError(
            "horizon_unknown",
            "early_stopping.metric names horizon {horizon}, but the horizons are {horizons}",
            {
                "horizon": horizon,
                "horizons": list(config.data.horizons),
                "field": "early_stopping/metric",
            },
        )
