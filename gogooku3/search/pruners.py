"""The pruners: from a sweep's specification to Optuna's. A step is a completed epoch, from 1."""

from __future__ import annotations

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from gogooku3.config import sweep
from gogooku3.config.sweep import SweepSpec


def build_pruner(spec: SweepSpec) -> BasePruner:
    """Optuna's pruner; `wilcoxon` compares days, not epochs: see `is_worse_over_days`."""
    config = spec.pruner
    match config:
        case sweep.NonePruner() | sweep.WilcoxonPruner():
            return NopPruner()
        case sweep.MedianPruner():
            return MedianPruner(
                n_startup_trials=config.startup_trials, n_warmup_steps=config.warmup_epochs + 1
            )
        case sweep.PercentilePruner():
            return PercentilePruner(
                config.percentile,
                n_startup_trials=config.startup_trials,
                n_warmup_steps=config.warmup_epochs + 1,
            )
        case sweep.AshaPruner():
            return SuccessiveHalvingPruner(
                min_resource=config.min_epochs, reduction_factor=config.reduction_factor
            )
        case sweep.HyperbandPruner():
            return HyperbandPruner(
                min_resource=config.min_epochs,
                max_resource=max(spec.config.max_epochs, config.min_epochs),
                reduction_factor=config.reduction_factor,
            )
        case sweep.ThresholdPruner():
            return ThresholdPruner(
                lower=config.lower,
                upper=config.upper,
                n_warmup_steps=config.warmup_epochs + 1,
            )
        case sweep.PatientPruner():
            return PatientPruner(None, config.patience, config.min_delta)
