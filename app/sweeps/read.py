"""Read sweeps and what belongs to them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Checkpoint, Job, Json, MetricPoint, Sweep, Trial
from app.domain import FINISHED, NoCompleteTrialError, NotFoundError
from app.jobs import read as jobs
from app.sweeps.best import best_trial, complete_trials, goals, is_feasible, pareto_front, ranked
from app.sweeps.result import metric_at_best

LONGEST_CURVE = 1000
"""Epochs of a trial's intermediate values that a list shows, the newest."""


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


@dataclass
class _Runs:
    jobs: list[Job] = field(default_factory=list)

    @property
    def current(self) -> Job:
        """The run that tells the trial's state: the first that goes on, else the last."""
        return next((job for job in self.jobs if not job.state.is_finished), self.jobs[-1])


def sweep(session: Session, sweep_id: str) -> Sweep:
    """One sweep. Raises NotFoundError."""
    found = session.get(Sweep, sweep_id)
    if found is None:
        raise NotFoundError(f"no sweep {sweep_id!r}")
    return found


def view(session: Session, row: Sweep) -> SweepView:
    """A sweep with its counts, its best trial so far and when it may be over."""
    best = best_trial(session, row)
    counts = _counts(session, row)
    return SweepView(
        row=row,
        counts=counts,
        best=None if best is None else trial_views(session, row, [best])[0],
        estimated_finish_at=_estimate(session, row, counts),
    )


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
        for shown in trial_views(session, row, rows[:page_size]):
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
    return trial_views(session, row, [found])[0]


def best(session: Session, row: Sweep) -> tuple[TrialView, Job]:
    """The best trial, and its run of the best value. Raises NoCompleteTrialError."""
    found = best_trial(session, row)
    if found is None:
        raise NoCompleteTrialError(f"no trial of {row.id} is complete within the constraints yet")
    return trial_views(session, row, [found])[0], best_run(session, row, found)


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
    return trial_views(session, row, pareto_front(row, complete_trials(session, row.id)))


def best_trials(session: Session, row: Sweep, count: int) -> list[TrialView]:
    """The best trials, best first."""
    return trial_views(session, row, ranked(row, complete_trials(session, row.id))[:count])


def trial_views(session: Session, row: Sweep, rows: Sequence[Trial]) -> list[TrialView]:
    """Trials as clients see them, in the order given."""
    numbers = [one.number for one in rows]
    runs: dict[int, _Runs] = defaultdict(_Runs)
    statement = select(Job).where(Job.sweep_id == row.id, Job.trial_number.in_(numbers))
    for job in session.scalars(statement.order_by(Job.trial_number, Job.seed_index)):
        runs[job.trial_number or 0].jobs.append(job)
    metric = goals(row)[0].metric
    curves = _curves(session, [one.job_id for one in rows], metric)
    return [_view(one, runs[one.number], curves.get(one.job_id, {})) for one in rows]


def _view(one: Trial, runs: _Runs, curve: Mapping[int, float | None]) -> TrialView:
    ends = [job.finished_at for job in runs.jobs]
    starts = [job.started_at for job in runs.jobs if job.started_at is not None]
    return TrialView(
        number=one.number,
        state=one.outcome or runs.current.state.value,
        params=one.params,
        value=one.values[0] if one.values else None,
        values=one.values,
        seed_values=one.seed_values,
        violations=one.violations or {},
        is_feasible=is_feasible(one) if one.values else None,
        intermediate_values=dict(curve),
        job_id=one.job_id,
        job_ids=[job.id for job in runs.jobs],
        epochs=sum((job.progress or {}).get("epochs_done", 0) for job in runs.jobs),
        reason=one.reason or runs.current.reason,
        created_at=one.created_at,
        started_at=min(starts, default=None),
        finished_at=max((end for end in ends if end), default=None) if all(ends) else None,
    )


def _curves(
    session: Session, job_ids: Sequence[str], metric: str
) -> dict[str, dict[int, float | None]]:
    curves: dict[str, dict[int, float | None]] = defaultdict(dict)
    statement = (
        select(MetricPoint.job_id, MetricPoint.step, MetricPoint.value)
        .where(MetricPoint.job_id.in_(job_ids), MetricPoint.name == metric)
        .order_by(MetricPoint.job_id, MetricPoint.step.desc())
    )
    for job_id, step, value in session.execute(statement):
        if len(curves[job_id]) < LONGEST_CURVE:
            curves[job_id][step] = value
    return {job_id: dict(sorted(curve.items())) for job_id, curve in curves.items()}


def _counts(session: Session, row: Sweep) -> dict[str, int]:
    """Trials by state; `waiting` are those that do not exist yet."""
    counts: Counter[str] = Counter()
    told = select(Trial.outcome, func.count()).where(
        Trial.sweep_id == row.id, Trial.outcome.is_not(None)
    )
    for outcome, count in session.execute(told.group_by(Trial.outcome)):
        counts[str(outcome)] = count
    untold = select(Trial).where(Trial.sweep_id == row.id, Trial.outcome.is_(None))
    for shown in trial_views(session, row, session.scalars(untold).all()):
        counts[shown.state] += 1
    states = ("queued", "running", "paused", "succeeded", "pruned", "failed", "cancelled")
    waiting = 0 if row.state.is_finished else max(0, row.n_trials - row.created_trials)
    return {"waiting": waiting} | {state: counts[state] for state in states}


def _estimate(session: Session, row: Sweep, counts: Mapping[str, int]) -> datetime | None:
    """When the last trial may end, by the mean time that trials have taken; None before one has
    ended, or when the sweep stands still.

    Counted from the sweep's last change, not from now: what has not changed is told in the same
    words, and who polls is spared the answer.
    """
    if row.state.value != "running":
        return None
    lengths = session.execute(
        select(Job.started_at, Job.finished_at)
        .where(Job.sweep_id == row.id, Job.state.in_(FINISHED), Job.started_at.is_not(None))
        .order_by(Job.id.desc())
        .limit(50)
    ).all()
    seconds = [(end - start).total_seconds() for start, end in lengths if start and end]
    if not seconds:
        return None
    mean = statistics.fmean(seconds)
    running = counts["running"] + counts["queued"] + counts["paused"]
    left = counts["waiting"] * int(row.config["seeds_per_trial"]) + running / 2
    return row.updated_at + timedelta(seconds=mean * left / row.max_parallel)
