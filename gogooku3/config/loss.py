"""The loss: a weighted sum of terms per horizon, each computed per day under the day's mask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel

Weight = Annotated[float, Field(ge=0.0, le=1000.0)]


class HuberConfig(ConfigModel):
    """Huber loss between score and target."""

    kind: Literal["huber"] = "huber"
    weight: Weight = 1.0
    delta: float = Field(default=1.0, gt=0.0)
    """Where the square turns into a straight line, in units of the target."""


class MseConfig(ConfigModel):
    """Mean squared error between score and target."""

    kind: Literal["mse"] = "mse"
    weight: Weight = 1.0


class IcConfig(ConfigModel):
    """1 - Pearson correlation of score and target over the day's stocks."""

    kind: Literal["ic"] = "ic"
    weight: Weight = 1.0


class SoftSpearmanConfig(ConfigModel):
    """1 - Spearman correlation with soft ranks of the scores."""

    kind: Literal["soft_spearman"] = "soft_spearman"
    weight: Weight = 1.0
    temperature: float = Field(default=0.05, gt=0.0, le=10.0)
    """Width of the soft comparison, relative to the standard deviation of the day's scores."""
    bins: int = Field(default=512, ge=16, le=8192)
    """Points of the grid on which the scores' distribution is held."""


class ListNetConfig(ConfigModel):
    """Cross-entropy between the top-one distributions of target and score (Cao et al. 2007)."""

    kind: Literal["listnet"] = "listnet"
    weight: Weight = 1.0
    temperature: float = Field(default=1.0, gt=0.0)
    """Softmax temperature of the target's distribution."""


class PairwiseConfig(ConfigModel):
    """Logistic loss on which of two stocks does better (RankNet, Burges et al. 2005), over a
    systematic sample of pairs."""

    kind: Literal["pairwise"] = "pairwise"
    weight: Weight = 1.0
    pairs: int = Field(default=16, ge=1, le=256)
    """Stocks that each stock is compared with."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Difference of scores that makes the odds e to 1."""


class SharpeConfig(ConfigModel):
    """Minus the return of a dollar-neutral portfolio made of the scores, over its standard
    deviation in the batch's days."""

    kind: Literal["sharpe"] = "sharpe"
    weight: Weight = 1.0
    positions: Literal["tanh", "softmax"] = "tanh"
    """How scores become positions: all stocks nearly alike, or the extremes above all."""
    temperature: float = Field(default=1.0, gt=0.0)
    """The score in units of its standard deviation is divided by this first."""


class QuantileConfig(ConfigModel):
    """Pinball loss of the quantiles of `model.head.kind = quantile`."""

    kind: Literal["quantile"] = "quantile"
    weight: Weight = 1.0
    levels: tuple[float, ...] | None = None
    """Those of the head; null takes them from there."""


class StudentTConfig(ConfigModel):
    """Negative log-likelihood of the target under `model.head.kind = student_t`."""

    kind: Literal["student_t"] = "student_t"
    weight: Weight = 1.0


class TurnoverConfig(ConfigModel):
    """Mean change of the position that a score stands for, from one day of a block to the next
    (`batch.block_days`)."""

    kind: Literal["turnover"] = "turnover"
    weight: Weight = 0.1


OF_SEVERAL_DAYS = ("sharpe", "turnover")
"""Kinds of terms whose value depends on which days are in a batch together."""

LossTerm = Annotated[
    HuberConfig
    | MseConfig
    | IcConfig
    | SoftSpearmanConfig
    | ListNetConfig
    | PairwiseConfig
    | SharpeConfig
    | QuantileConfig
    | StudentTConfig
    | TurnoverConfig,
    Field(discriminator="kind"),
]


class RegimeConfig(ConfigModel):
    """Which training days count how much: by the market's state, told from past returns alone.

    A day is volatile if the market's volatility of the last `window` days is above its own median
    of the last `history` days, else calm; it is joint if the stocks' average correlation is above
    its median, else dispersed.
    """

    window: int = Field(default=20, ge=5, le=252)
    """Trading days of returns behind a day's volatility and correlation, the day included."""
    history: int = Field(default=250, ge=20, le=2520)
    """Trading days whose values make the median, the day included; until there are so many, those
    there are."""
    calm_dispersed: Weight = 1.0
    """What the loss of a day in this regime is multiplied by, before the four are scaled so that
    the mean over the training days is 1; as the next three."""
    calm_joint: Weight = 1.0
    volatile_dispersed: Weight = 1.0
    volatile_joint: Weight = 1.0

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """By regime: calm before volatile, each dispersed before joint."""
        return (
            self.calm_dispersed,
            self.calm_joint,
            self.volatile_dispersed,
            self.volatile_joint,
        )

    @model_validator(mode="after")
    def _not_all_zero(self) -> RegimeConfig:
        if not any(self.weights):
            raise PydanticCustomError(
                "regime_without_weight",
                "every regime has weight 0: no day would be learned from",
                {"field": "calm_dispersed"},
            )
        return self


class LossConfig(ConfigModel):
    """The training objective: sum over terms and horizons of weight x value."""

    terms: tuple[LossTerm, ...] = Field(
        default=(HuberConfig(weight=0.1), IcConfig(), SoftSpearmanConfig(weight=0.5)),
        min_length=1,
        max_length=16,
    )
    horizon_weights: dict[str, Weight] | None = None
    """Weight per horizon, also of `valid/rank_ic` and the like; null = 1 for each horizon."""
    regime: RegimeConfig | None = None
    """Weigh training days by the market's regime; null = all alike. Metrics are not weighed."""

    @model_validator(mode="after")
    def _distinct(self) -> LossConfig:
        kinds = [term.kind for term in self.terms]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise PydanticCustomError(
                    "loss_term_repeat",
                    "loss term {kind} is given twice",
                    {"kind": kind, "field": "terms"},
                )
        if not any(term.weight > 0 for term in self.terms):
            raise PydanticCustomError(
                "loss_without_weight", "every loss term has weight 0", {"field": "terms"}
            )
        return self
