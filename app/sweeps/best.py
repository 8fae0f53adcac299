"""Which trials of a sweep are best: one by its objective, or those of the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, func, select, true
from sqlalchemy.orm import Session, aliased

from app.db import Sweep, Trial
from gogooku3.config import ObjectiveConfig


def is_feasible(trial: Trial) -> bool:
    """Whether a complete trial meets every constraint; an unknown metric does not."""
    return all(v is not None and v <= 0 for v in (trial.violations or {}).values())


def goals(sweep: Sweep) -> list[ObjectiveConfig]:
    """The sweep's objectives, one or several."""
    several = sweep.config["objectives"]
    return [ObjectiveConfig.model_validate(goal) for goal in several or [sweep.config["objective"]]]


def complete_trials(session: Session, sweep_id: str) -> list[Trial]:
    """The trials that have values, by number."""
    statement = select(Trial).where(Trial.sweep_id == sweep_id, Trial.outcome == "succeeded")
    return list(session.scalars(statement.order_by(Trial.number)))


def ranked(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials that meet the constraints, by the first objective, best first; of equals,
    the earlier."""
    sign = -1.0 if goals(sweep)[0].direction == "maximize" else 1.0
    feasible = [trial for trial in trials if trial.values and is_feasible(trial)]
    return sorted(feasible, key=lambda trial: (sign * (trial.values or [0.0])[0], trial.number))


def best_trial(session: Session, sweep: Sweep) -> Trial | None:
    """The best trial by the first objective; None while none is complete within the
    constraints."""
    return best_trials(session, [sweep]).get(sweep.id)


def best_trials(session: Session, sweeps: Sequence[Sweep]) -> dict[str, Trial]:
    """The best trial of each sweep that has one, by the sweep's id: the first of `ranked`, found
    without loading the others."""
    maximised = [sweep.id for sweep in sweeps if goals(sweep)[0].direction == "maximize"]
    value = Trial.values[0].as_float()
    is_violated = Trial.violations.path_exists("$.* ? (@ == null || @ > 0)")
    first = (
        select(Trial)
        .where(
            Trial.sweep_id == Sweep.id,
            Trial.outcome == "succeeded",
            value.is_not(None),
            ~func.coalesce(is_violated, False),
        )
        .order_by(case((Sweep.id.in_(maximised), -value), else_=value), Trial.number)
        .limit(1)
        .lateral()
    )
    statement = (
        select(aliased(Trial, first))
        .select_from(Sweep)
        .join(first, true())
        .where(Sweep.id.in_([sweep.id for sweep in sweeps]))
    )
    return {trial.sweep_id: trial for trial in session.scalars(statement)}


def pareto_front(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """The complete, feasible trials that no other one is at least as good as in everything and
    better in something, by number."""
    signs = [-1.0 if goal.direction == "maximize" else 1.0 for goal in goals(sweep)]
    losses = [
        (trial, [sign * value for sign, value in zip(signs, trial.values, strict=True)])
        for trial in trials
        if trial.values and is_feasible(trial)
    ]

    def is_beaten(own: list[float]) -> bool:
        return any(
            other != own and all(o <= m for o, m in zip(other, own, strict=True))
            for _, other in losses
        )

    return [trial for trial, own in losses if not is_beaten(own)]
