"""Pruning by Wilcoxon's signed-rank test, paired over validation days."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.pruners import WilcoxonPruner as OptunaPruner

from gogooku3.config.sweep import WilcoxonPruner


def is_worse_over_days(
    config: WilcoxonPruner, best: Mapping[int, float], current: Mapping[int, float]
) -> bool:
    """Whether the current run is worse than the best one on the days that both have.

    Args:
        best: by day (any number that names it), the series of the sweep's best trial; larger is
            better.
        current: the same of the run in question.
    """
    days = sorted(best.keys() & current.keys())
    if len(days) < config.startup_days:
        return False
    pruner = OptunaPruner(p_threshold=config.p_threshold, n_startup_steps=config.startup_days)
    # Optuna's test asks a study for the best trial: one that holds that alone, days for steps.
    study = optuna.create_study(direction="maximize")
    series = {day: float(best[day]) for day in days}
    mean = sum(series.values()) / len(series)
    study.add_trial(optuna.trial.create_trial(value=mean, intermediate_values=series))
    running = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        intermediate_values={day: float(current[day]) for day in days},
    )
    return pruner.prune(study, running)
