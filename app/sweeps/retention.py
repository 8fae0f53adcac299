"""Which checkpoints of a sweep are kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts, MissingFileError, StoreAwayError
from app.db import Checkpoint, Job, Sweep, Trial
from app.db.database import Database
from app.sweeps.best import complete_trials, goals, ranked
from app.sweeps.lock import lock_sweep
from gogooku3.config import RetentionConfig

AT_ONCE = 50
"""Checkpoints whose rows go in one transaction, after their files."""
logger = logging.getLogger(__name__)


def retain(
    session: Session, sweep: Sweep, artifacts: Artifacts, *, numbers: Sequence[int] | None = None
) -> None:
    """Remove the checkpoints of ended trials that the sweep's retention does not keep.

    `numbers`: of these trials only; None = of all. The sweep's row is locked by the caller.
    """
    gone, _ = _remove(artifacts, superfluous(session, sweep, numbers=numbers))
    _forget(session, gone)


def remove(
    database: Database, sweep_id: str, artifacts: Artifacts, checkpoints: Sequence[Checkpoint]
) -> list[str]:
    """Remove checkpoints that are superfluous; answers what was odd about it.

    The store may take its time, so no transaction is open meanwhile. What is cut short can be
    repeated.
    """
    warnings: list[str] = []
    for start in range(0, len(checkpoints), AT_ONCE):
        gone, odd = _remove(artifacts, checkpoints[start : start + AT_ONCE])
        warnings += odd
        with database.session() as session:
            # A worker that moves the sweep on removes some, too.
            lock_sweep(session, sweep_id)
            _forget(session, gone)
    return warnings


def superfluous(
    session: Session, sweep: Sweep, *, numbers: Sequence[int] | None = None
) -> list[Checkpoint]:
    """The checkpoints of ended trials, which cannot be tried again, that nothing keeps."""
    retention = RetentionConfig.model_validate(sweep.config["retention"])
    kept_trials = {
        trial.number
        for trial in ranked(sweep, complete_trials(session, sweep.id))[: retention.save_sweep_best]
    }
    statement = (
        select(Checkpoint, Job.trial_number)
        .join(Job, Job.id == Checkpoint.job_id)
        .join(Trial, (Trial.sweep_id == Job.sweep_id) & (Trial.number == Job.trial_number))
        .where(Job.sweep_id == sweep.id, Trial.outcome.is_not(None))
        .order_by(Checkpoint.job_id, Checkpoint.epoch.desc())
    )
    if numbers is not None:
        statement = statement.where(Trial.number.in_(numbers))
    by_job: dict[str, list[Checkpoint]] = {}
    number_of: dict[str, int] = {}
    for checkpoint, number in session.execute(statement):
        by_job.setdefault(checkpoint.job_id, []).append(checkpoint)
        number_of[checkpoint.job_id] = int(number or 0)
    return [
        one
        for job_id, checkpoints in by_job.items()
        for one in _superfluous(sweep, retention, checkpoints, number_of[job_id] in kept_trials)
    ]


def _superfluous(
    sweep: Sweep, retention: RetentionConfig, checkpoints: list[Checkpoint], is_best_trial: bool
) -> list[Checkpoint]:
    """Those of one run that nothing keeps; `checkpoints` newest first."""
    goal = goals(sweep)[0]
    sign = -1.0 if goal.direction == "maximize" else 1.0

    def rank(checkpoint: Checkpoint) -> tuple[bool, float, int]:
        value = checkpoint.metrics.get(goal.metric)
        loss = float("inf") if value is None else sign * float(value)
        # The run's own best comes first, whatever metric it was chosen by.
        return (not checkpoint.is_best, loss, -checkpoint.epoch)

    best = sorted(checkpoints, key=rank)
    kept = {one.id for one in best[: retention.save_trial_best]}
    kept |= {one.id for one in checkpoints[: retention.save_trial_latest]}
    if is_best_trial:
        kept.add(best[0].id)
    return [one for one in checkpoints if one.id not in kept]


def _remove(artifacts: Artifacts, checkpoints: Sequence[Checkpoint]) -> tuple[list[str], list[str]]:
    """The ids of those whose file is gone now, and what was odd.

    Files go first: what is cut short is repeated, and nothing is left that no row tells of.
    """
    gone: list[str] = []
    warnings: list[str] = []
    for checkpoint in checkpoints:
        try:
            artifacts.remove(checkpoint.path)
        except MissingFileError:
            warnings.append(f"{checkpoint.id}: its file was gone already")
        except (OSError, StoreAwayError) as error:
            warnings.append(f"{checkpoint.id}: {error}")
            logger.warning("%s was not removed: %s", checkpoint.path, error)
            continue
        gone.append(checkpoint.id)
    return gone, warnings


def _forget(session: Session, ids: Sequence[str]) -> None:
    session.execute(delete(Checkpoint).where(Checkpoint.id.in_(ids)))
