"""Read sweeps and what belongs to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, true
from sqlalchemy.orm import Session

from app.db import Checkpoint, Job, Json, MetricPoint, Sweep, Trial
from app.domain import FINISHED, NoCompleteTrialError, NotFoundError, SweepState
from app.jobs import read as jobs
from app.sweeps.best import (
    best_trial,
    best_trials,
    complete_trials,
    goals,
    is_feasible,
    pareto_front,
)
from app.sweeps.result import metric_at_best

LONGEST_CURVE = 1000
"""Epochs of a trial's intermediate values that a list shows, the newest."""
SAMPLE = 50
"""The newest ended runs of a sweep that say how long one takes."""


@dataclass(frozen=True)
class TrialView:
    """A trial as clients see it: its own row, and what its runs are at."""

    number: int
    state: str
    """Its job's: queued, running, paused, succeeded, failed, cancelled or pruned."""
    params: Json
    value: float | None
    values: list[float] | None
    seed_values: list[float] | None
    violations: Json
    is_feasible: bool | None
    intermediate_values: dict[int, float | None]
    job_id: str
    job_ids: list[str]
    """All of its runs, one a seed."""
    epochs: int
    reason: Json | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class SweepView:
    """A sweep with what its trials are at."""

    row: Sweep
    counts: dict[str, int]
    best: TrialView | None
    estimated_finish_at: datetime | None


def sweep(session: Session, sweep_id: str) -> Sweep:
    """One sweep. Raises NotFoundError."""
    found = session.get(Sweep, sweep_id)
    if found is None:
        raise NotFoundError(f"no sweep {sweep_id!r}")
    return found


def view(session: Session, row: Sweep) -> SweepView:
    """A sweep with its counts, its best trial so far and when it may be over."""
    return views(session, [row])[0]


def views(session: Session, rows: Sequence[Sweep]) -> list[SweepView]:
    """Sweeps as `view` shows them, in the order given, with the same few queries for any number."""
    best = best_trials(session, rows)
    shown = dict(zip(best, trial_views(session, rows, list(best.values())), strict=True))
    counts = _counts(session, rows)
    run_s = _run_s(session, [row.id for row in rows if row.state is SweepState.RUNNING])
    return [
        SweepView(
            row=row,
            counts=counts[row.id],
            best=shown.get(row.id),
            estimated_finish_at=_estimate(row, counts[row.id], run_s.get(row.id)),
        )
        for row in rows
    ]


def trials(
    session: Session,
    row: Sweep,
    *,
    states: Sequence[str] = (),
    after: int = -1,
    page_size: int = 100,
) -> tuple[list[TrialView], int | None]:
    """Trials by number from behind `after`, and the number to go on behind, if there are more."""
    found: list[TrialView] = []
    while True:
        statement = select(Trial).where(Trial.sweep_id == row.id, Trial.number > after)
        rows = session.scalars(statement.order_by(Trial.number).limit(page_size + 1)).all()
        for shown in trial_views(session, [row], rows[:page_size]):
            after = shown.number
            if states and shown.state not in states:
                continue
            found.append(shown)
            if len(found) == page_size:
                return found, after if after < row.created_trials - 1 else None
        if len(rows) <= page_size:
            return found, None


def trial(session: Session, row: Sweep, number: int) -> TrialView:
    """One trial. Raises NotFoundError."""
    found = session.get(Trial, (row.id, number))
    if found is None:
        raise NotFoundError(f"sweep {row.id} has no trial {number}")
    return trial_views(session, [row], [found])[0]


def best(session: Session, row: Sweep) -> tuple[TrialView, Job]:
    """The best trial, and its run of the best value. Raises NoCompleteTrialError."""
    found = best_trial(session, row)
    if found is None:
        raise NoCompleteTrialError(f"no trial of {row.id} is complete within the constraints yet")
    return trial_views(session, [row], [found])[0], best_run(session, row, found)


def best_run(session: Session, row: Sweep, found: Trial) -> Job:
    """The run of a trial whose own value is best: with several seeds, the best seed's."""
    goal = goals(row)[0]
    statement = select(Job).where(Job.sweep_id == row.id, Job.trial_number == found.number)
    runs = session.scalars(statement.order_by(Job.seed_index)).all()
    sign = 1.0 if goal.direction == "maximize" else -1.0

    def rank(run: Job) -> float:
        value = metric_at_best(run, goal.metric)
        return float("-inf") if value is None else sign * value

    return max(runs, key=rank)


def best_checkpoint(session: Session, row: Sweep) -> Checkpoint:
    """The best checkpoint of the best trial. Raises NoCompleteTrialError, NoCheckpointError."""
    _, run = best(session, row)
    return jobs.best_checkpoint(session, run.id)


def history(session: Session, row: Sweep) -> list[tuple[int, float, float]]:
    """Of each complete, feasible trial in the order they were begun: number, value, best so
    far."""
    sign = 1.0 if goals(row)[0].direction == "maximize" else -1.0
    so_far: float | None = None
    found = []
    for one in complete_trials(session, row.id):
        if not one.values or not is_feasible(one):
            continue
        value = one.values[0]
        if so_far is None or sign * value > sign * so_far:
            so_far = value
        found.append((one.number, value, so_far))
    return found


def front(session: Session, row: Sweep) -> list[TrialView]:
    """The Pareto front, by number."""
    return trial_views(session, [row], pareto_front(row, complete_trials(session, row.id)))


def trial_views(
    session: Session, sweeps: Sequence[Sweep], rows: Sequence[Trial]
) -> list[TrialView]:
    """Trials of these sweeps as clients see them, in the order given."""
    if not rows:
        return []
    metric_of = {sweep.id: goals(sweep)[0].metric for sweep in sweeps}
    runs = _runs(session, rows)
    curves = _curves(session, {one.job_id: metric_of[one.sweep_id] for one in rows})
    return [_view(one, runs[one.sweep_id, one.number], curves.get(one.job_id, {})) for one in rows]


def _runs(session: Session, rows: Sequence[Trial]) -> dict[tuple[str, int], list[Row[Any]]]:
    """The runs of trials, by seed, with as much as a trial tells of them: a job's configuration
    and provenance are most of its row."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in rows:
        numbers[one.sweep_id].append(one.number)
    mine = (and_(Job.sweep_id == key, Job.trial_number.in_(some)) for key, some in numbers.items())
    statement = (
        select(
            Job.sweep_id,
            Job.trial_number,
            Job.id,
            Job.state,
            Job.progress["epochs_done"].as_integer().label("epochs"),
            Job.reason,
            Job.started_at,
            Job.finished_at,
        )
        .where(or_(*mine))
        .order_by(Job.sweep_id, Job.trial_number, Job.seed_index)
    )
    found: dict[tuple[str, int], list[Row[Any]]] = defaultdict(list)
    for run in session.execute(statement):
        found[run.sweep_id, run.trial_number].append(run)
    return found


def _current(runs: Sequence[Row[Any]]) -> Row[Any]:
    """The run that tells the trial's state: the first that goes on, else the last."""
    return next((run for run in runs if not run.state.is_finished), runs[-1])


def _view(one: Trial, runs: Sequence[Row[Any]], curve: Mapping[int, float | None]) -> TrialView:
    current = _current(runs)
    ends = [run.finished_at for run in runs]
    starts = [run.started_at for run in runs if run.started_at is not None]
    return TrialView(
        number=one.number,
        state=one.outcome or current.state.value,
        params=one.params,
        value=one.values[0] if one.values else None,
        values=one.values,
        seed_values=one.seed_values,
        violations=one.violations or {},
        is_feasible=is_feasible(one) if one.values else None,
        intermediate_values=dict(curve),
        job_id=one.job_id,
        job_ids=[run.id for run in runs],
        epochs=sum(run.epochs or 0 for run in runs),
        reason=one.reason or current.reason,
        created_at=one.created_at,
        started_at=min(starts, default=None),
        finished_at=max((end for end in ends if end), default=None) if all(ends) else None,
    )


def _curves(session: Session, metric_of: Mapping[str, str]) -> dict[str, dict[int, float | None]]:
    """By job, the metric asked for by epoch."""
    jobs_of: dict[str, list[str]] = defaultdict(list)
    for job_id, metric in metric_of.items():
        jobs_of[metric].append(job_id)
    wanted = (
        and_(MetricPoint.name == metric, MetricPoint.job_id.in_(some))
        for metric, some in jobs_of.items()
    )
    curves: dict[str, dict[int, float | None]] = defaultdict(dict)
    statement = (
        select(MetricPoint.job_id, MetricPoint.step, MetricPoint.value)
        .where(or_(*wanted))
        .order_by(MetricPoint.job_id, MetricPoint.step.desc())
    )
    for job_id, step, value in session.execute(statement):
        if len(curves[job_id]) < LONGEST_CURVE:
            curves[job_id][step] = value
    return {job_id: dict(sorted(curve.items())) for job_id, curve in curves.items()}


def _counts(session: Session, rows: Sequence[Sweep]) -> dict[str, dict[str, int]]:
    """By sweep, trials by state; `waiting` are those that do not exist yet."""
    counts: dict[str, Counter[str]] = {row.id: Counter() for row in rows}
    told = select(Trial.sweep_id, Trial.outcome, func.count()).where(
        Trial.sweep_id.in_(counts), Trial.told_at.is_not(None)
    )
    for sweep_id, outcome, count in session.execute(told.group_by(Trial.sweep_id, Trial.outcome)):
        counts[sweep_id][str(outcome)] = count
    untold = (
        select(Trial.sweep_id, Trial.number, Job.state)
        .join(Job, and_(Job.sweep_id == Trial.sweep_id, Job.trial_number == Trial.number))
        .where(Trial.sweep_id.in_(counts), Trial.told_at.is_(None))
        .order_by(Trial.sweep_id, Trial.number, Job.seed_index)
    )
    found: Iterable[Row[Any]] = session.execute(untold)
    for (sweep_id, _), runs in groupby(found, lambda run: (run.sweep_id, run.number)):
        counts[sweep_id][_current(list(runs)).state.value] += 1
    states = ("queued", "running", "paused", "succeeded", "pruned", "failed", "cancelled")
    return {
        row.id: {
            "waiting": 0 if row.state.is_finished else max(0, row.n_trials - row.created_trials)
        }
        | {state: counts[row.id][state] for state in states}
        for row in rows
    }


def _run_s(session: Session, sweep_ids: Sequence[str]) -> dict[str, float]:
    """By sweep, the mean seconds that its newest runs have taken, once one has ended."""
    newest = (
        select(func.extract("epoch", Job.finished_at - Job.started_at).label("seconds"))
        .where(Job.sweep_id == Sweep.id, Job.state.in_(FINISHED), Job.started_at.is_not(None))
        .order_by(Job.trial_number.desc(), Job.seed_index.desc())  # as an index has them
        .limit(SAMPLE)
        .lateral()
    )
    statement = (
        select(Sweep.id, func.avg(newest.c.seconds))
        .join(newest, true())
        .where(Sweep.id.in_(sweep_ids))
        .group_by(Sweep.id)
    )
    return {sweep_id: float(seconds) for sweep_id, seconds in session.execute(statement)}


def _estimate(row: Sweep, counts: Mapping[str, int], run_s: float | None) -> datetime | None:
    """When the last trial may end, by the mean time that trials have taken; None before one has
    ended, or when the sweep stands still.

    Counted from the sweep's last change, not from now: what has not changed is told in the same
    words, and who polls is spared the answer.
    """
    if run_s is None:
        return None
    running = counts["running"] + counts["queued"] + counts["paused"]
    left = counts["waiting"] * int(row.config["seeds_per_trial"]) + running / 2
    return row.updated_at + timedelta(seconds=run_s * left / row.max_parallel)
