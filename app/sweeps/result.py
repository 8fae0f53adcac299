"""What the runs of a trial make of it: complete with values, pruned, failed or cancelled."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.db import Job, Json
from app.domain import JobState
from gogooku3.config import SweepSpec


@dataclass(frozen=True)
class Result:
    """How a trial ended."""

    outcome: str
    """succeeded | pruned | failed | cancelled."""
    values: list[float] | None = None
    """One for each objective, of a complete trial."""
    seed_values: list[float] = field(default_factory=list)
    """The first objective of each complete run."""
    violations: dict[str, float | None] = field(default_factory=dict)
    """By constraint: > 0 = not met, None = its metric is undefined."""
    reason: Json | None = None


def result_of(spec: SweepSpec, runs: Sequence[Job]) -> Result | None:
    """The result of a trial whose runs are `runs`, by seed; None while more is to come.

    More seeds are to come after the first run came to its end well.
    """
    if not all(run.state.is_finished for run in runs):
        return None
    if runs[0].state is JobState.PRUNED:
        return Result("pruned")
    for state in (JobState.FAILED, JobState.CANCELLED, JobState.PRUNED):
        ended = [run for run in runs if run.state is state]
        if ended:
            outcome = "failed" if state is JobState.FAILED else "cancelled"
            return Result(outcome, seed_values=_first_values(spec, runs), reason=ended[0].reason)
    if len(runs) < spec.seeds_per_trial:
        return None
    return _complete(spec, runs)


def _complete(spec: SweepSpec, runs: Sequence[Job]) -> Result:
    values = []
    for goal in spec.goals:
        found = [value for run in runs if (value := metric_at_best(run, goal.metric)) is not None]
        if len(found) < len(runs):
            return Result("failed", reason=_undefined(goal.metric))
        value = statistics.fmean(found)
        if len(found) > 1:
            worse = spec.seed_penalty * statistics.stdev(found)
            value += -worse if goal.direction == "maximize" else worse
        values.append(value)
    violations: dict[str, float | None] = {}
    for constraint in spec.constraints:
        found = [
            value for run in runs if (value := metric_at_best(run, constraint.metric)) is not None
        ]
        mean = statistics.fmean(found) if len(found) == len(runs) else None
        if constraint.max is not None:
            name = f"{constraint.metric} <= {constraint.max:g}"
            violations[name] = None if mean is None else mean - constraint.max
        if constraint.min is not None:
            name = f"{constraint.metric} >= {constraint.min:g}"
            violations[name] = None if mean is None else constraint.min - mean
    return Result("succeeded", values, _first_values(spec, runs), violations)


def metric_at_best(run: Job, metric: str) -> float | None:
    """A metric at the run's best epoch, the one of its best checkpoint."""
    metrics = (run.best or {}).get("metrics") or {}
    value = metrics.get(metric)
    return float(value) if isinstance(value, int | float) else None


def _first_values(spec: SweepSpec, runs: Sequence[Job]) -> list[float]:
    metric = spec.goals[0].metric
    found = [metric_at_best(run, metric) for run in runs if run.state is JobState.SUCCEEDED]
    return [value for value in found if value is not None]


def _undefined(metric: str) -> Json:
    return {
        "class": "user",
        "code": "objective-undefined",
        "message": f"{metric} is undefined at the best epoch: the trial has no value.",
        "next_action": "Look at the trial's metrics: a constant prediction has no rank IC.",
    }
