"""SweepSpec: what a client posts to `/v1/sweeps`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.distribution import DistributionConfig
from gogooku3.config.job import (
    DatasetName,
    LabelKey,
    LabelValue,
    LimitsConfig,
    ResourcesConfig,
)
from gogooku3.config.tagged import kind_or
from gogooku3.config.train import TrainConfig

Metric = Annotated[str, Field(pattern=r"^valid/[a-z_]+(@\d+)?$", max_length=64)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
SweepId = Annotated[str, Field(pattern="^swp_[0-9a-hjkmnp-tv-z]{26}$")]


class ObjectiveConfig(ConfigModel):
    """What makes a trial better: a validation metric at the trial's best epoch."""

    metric: Metric = "valid/rank_ic"
    """Name of the metric, `valid/NAME` or `valid/NAME@HORIZON`."""
    direction: Literal["maximize", "minimize"] = "maximize"


class ConstraintConfig(ConfigModel):
    """A bound on a validation metric at the trial's best epoch; a trial outside is not the best."""

    metric: Metric
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> ConstraintConfig:
        if self.min is None and self.max is None:
            raise PydanticCustomError("constraint_open", "give min, max or both", {"field": "max"})
        if self.min is not None and self.max is not None and self.min > self.max:
            raise PydanticCustomError(
                "constraint_order", "min must not be above max", {"field": "min"}
            )
        return self


class SamplerBase(ConfigModel):
    """What every sampler has."""

    seed: Seed = 0
    """The same seed suggests the same values, trial after trial, when trials run one at a time."""


class TpeSampler(SamplerBase):
    """Tree-structured Parzen estimator, over all parameters jointly (Optuna's TPESampler)."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: int = Field(default=10, ge=0)
    """Trials chosen at random before the first estimate."""


class RandomSampler(SamplerBase):
    """Every value by itself, at random."""

    kind: Literal["random"] = "random"


class GridSampler(ConfigModel):
    """Every combination once, the last parameter changing fastest."""

    kind: Literal["grid"] = "grid"


class CmaEsSampler(SamplerBase):
    """Covariance matrix adaptation (Hansen 2016) over the numbers; choices at random."""

    kind: Literal["cmaes"] = "cmaes"
    startup_trials: int = Field(default=1, ge=0)
    """Trials chosen at random before the first generation."""
    population: int | None = Field(default=None, ge=4)
    """Trials of a generation; null = 4 + floor(3 ln(parameters))."""


class GpSampler(SamplerBase):
    """Gaussian process with expected improvement (Optuna's GPSampler)."""

    kind: Literal["gp"] = "gp"
    startup_trials: int = Field(default=10, ge=0)
    """Trials chosen at random before the first fit."""


class QmcSampler(SamplerBase):
    """A Sobol sequence, scrambled by the seed: random search without its clumps and gaps."""

    kind: Literal["qmc"] = "qmc"


SamplerConfig = Annotated[
    Annotated[TpeSampler, Tag("tpe")]
    | Annotated[RandomSampler, Tag("random")]
    | Annotated[GridSampler, Tag("grid")]
    | Annotated[CmaEsSampler, Tag("cmaes")]
    | Annotated[GpSampler, Tag("gp")]
    | Annotated[QmcSampler, Tag("qmc")],
    Discriminator(kind_or("tpe")),
]


class NonePruner(ConfigModel):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class PrunerBase(ConfigModel):
    """What pruners that wait have."""

    warmup_epochs: int = Field(default=1, ge=0)
    """No trial is pruned before it has completed more epochs than this."""


class MedianPruner(PrunerBase):
    """Prune what is worse than the median of the other trials at the same epoch."""

    kind: Literal["median"] = "median"
    startup_trials: int = Field(default=5, ge=0)
    """Nothing is pruned before this many trials have come to their end."""


class PercentilePruner(PrunerBase):
    """Prune what is not among the best share of the other trials at the same epoch."""

    kind: Literal["percentile"] = "percentile"
    percentile: float = Field(default=25.0, gt=0.0, lt=100.0)
    """Per cent of the trials that are kept."""
    startup_trials: int = Field(default=5, ge=0)


class AshaPruner(ConfigModel):
    """Asynchronous successive halving (Li et al. 2020): at each rung the best share goes on."""

    kind: Literal["asha"] = "asha"
    min_epochs: int = Field(default=1, ge=1)
    """Epochs of the first rung."""
    reduction_factor: int = Field(default=3, ge=2)
    """One trial in this many goes on to the next rung, which is this many times longer."""


class HyperbandPruner(ConfigModel):
    """Several successive halvings at once, from eager to patient (Li et al. 2018)."""

    kind: Literal["hyperband"] = "hyperband"
    min_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class ThresholdPruner(PrunerBase):
    """Prune what leaves a range."""

    kind: Literal["threshold"] = "threshold"
    lower: float | None = None
    upper: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> ThresholdPruner:
        if self.lower is None and self.upper is None:
            raise PydanticCustomError(
                "threshold_open", "give lower, upper or both", {"field": "lower"}
            )
        return self


class PatientPruner(ConfigModel):
    """Prune what has not become better for some epochs."""

    kind: Literal["patient"] = "patient"
    patience: int = Field(default=3, ge=1)
    """Epochs without improvement."""
    min_delta: float = Field(default=0.0, ge=0.0)
    """Smallest change that counts as an improvement."""


class WilcoxonPruner(PrunerBase):
    """Prune what is worse than the best trial over the same validation days.

    Wilcoxon's signed-rank test of the daily series at the trial's best epoch so far against that of
    the sweep's best trial.
    """

    kind: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Pruned when the chance of such days between equal trials is below this."""
    startup_days: int = Field(default=20, ge=2)
    """Days that both must have."""


PrunerConfig = Annotated[
    Annotated[NonePruner, Tag("none")]
    | Annotated[MedianPruner, Tag("median")]
    | Annotated[PercentilePruner, Tag("percentile")]
    | Annotated[AshaPruner, Tag("asha")]
    | Annotated[HyperbandPruner, Tag("hyperband")]
    | Annotated[ThresholdPruner, Tag("threshold")]
    | Annotated[PatientPruner, Tag("patient")]
    | Annotated[WilcoxonPruner, Tag("wilcoxon")],
    Discriminator(kind_or("none")),
]


class RetentionConfig(ConfigModel):
    """Which checkpoints are kept once a trial has ended; the union of the three."""

    save_sweep_best: int = Field(default=1, ge=0, le=1000)
    """Best checkpoints of this many of the sweep's best trials."""
    save_trial_best: int = Field(default=1, ge=0, le=1000)
    """Best checkpoints of each trial."""
    save_trial_latest: int = Field(default=1, ge=0, le=1000)
    """Newest checkpoints of each trial."""


class SweepSpec(ConfigModel):
    """A sweep as a client asks for it: many trials, each a training job."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    """What people call the sweep; free text."""
    dataset: DatasetName
    """Name of a dataset: a cache under the server's home, made by `gogooku3 data`."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    """Key-value pairs, of the sweep and of every trial's job."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Of every trial's job."""
    note: str | None = Field(default=None, max_length=10_000)
    """Free text for people."""
    config: TrainConfig
    """The base configuration: what the search space does not choose."""
    search_space: dict[str, DistributionConfig] = Field(min_length=1, max_length=64)
    """By path of the configuration (`optimizer.lr`, `loss.terms.soft_spearman.weight`): what may be
    chosen there."""
    objective: ObjectiveConfig = ObjectiveConfig()
    objectives: tuple[ObjectiveConfig, ...] | None = Field(default=None, min_length=2, max_length=4)
    """Several objectives at once, instead of `objective`: the result is a Pareto front."""
    constraints: tuple[ConstraintConfig, ...] = Field(default=(), max_length=8)
    sampler: SamplerConfig = TpeSampler()
    pruner: PrunerConfig = NonePruner()
    n_trials: int = Field(default=20, ge=1, le=10_000)
    """Trials in all, however they end."""
    max_parallel: int = Field(default=1, ge=1, le=1000)
    """Jobs of the sweep that wait or run at once, over all workers."""
    seeds_per_trial: int = Field(default=1, ge=1, le=64)
    """Runs of each trial, which differ in `seed` alone; the first can be pruned."""
    seed_penalty: float = Field(default=0.0, ge=0.0, le=10.0)
    """c: a trial's value is the mean over its seeds, made worse by c standard deviations."""
    max_failures: int | None = Field(default=None, ge=0)
    """Failed trials after which the sweep fails; null = a quarter of `n_trials`, at least 3."""
    enqueue: tuple[dict[str, Any], ...] = Field(default=(), max_length=1000)
    """Values by path for the first trials, one object each; what one leaves out is chosen."""
    warm_start_from: tuple[SweepId, ...] = Field(default=(), max_length=5)
    """Sweeps whose trials the sampler learns from before the first suggestion."""
    retention: RetentionConfig = RetentionConfig()
    resources: ResourcesConfig = ResourcesConfig()
    limits: LimitsConfig = LimitsConfig()

    @property
    def goals(self) -> tuple[ObjectiveConfig, ...]:
        """The objectives, one or several."""
        return self.objectives or (self.objective,)

    @property
    def failure_budget(self) -> int:
        """Failed trials that the sweep bears."""
        if self.max_failures is not None:
            return self.max_failures
        return max(3, self.n_trials // 4)
