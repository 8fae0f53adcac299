"""Which checkpoints of a sweep are kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts, MissingFileError, StoreAwayError
from app.db import Checkpoint, Job, Sweep, Trial
from app.sweeps.best import complete_trials, goals, ranked
from gogooku3.config import RetentionConfig

logger = logging.getLogger(__name__)


@dataclass
class Removal:
    """Checkpoints that go, and what was odd about it."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    size: int = 0
    """Bytes."""
    warnings: list[str] = field(default_factory=list)
    """Files that were not there any more."""


def retain(
    session: Session,
    sweep: Sweep,
    artifacts: Artifacts,
    *,
    numbers: Sequence[int] | None = None,
    dry_run: bool = False,
) -> Removal:
    """Remove the checkpoints of ended trials that the sweep's retention does not keep.

    `numbers`: of these trials only; None = of all. With `dry_run`, only say which. A file that is
    gone already is a warning. The sweep's row is locked by the caller.
    """
    retention = RetentionConfig.model_validate(sweep.config["retention"])
    kept_trials = {
        trial.number
        for trial in ranked(sweep, complete_trials(session, sweep.id))[: retention.save_sweep_best]
    }
    removal = Removal()
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
    for job_id, checkpoints in by_job.items():
        is_best_trial = number_of[job_id] in kept_trials
        for checkpoint in _superfluous(sweep, retention, checkpoints, is_best_trial):
            removal.checkpoints.append(checkpoint)
            removal.size += checkpoint.size
            if not dry_run:
                _remove(session, artifacts, checkpoint, removal)
    return removal


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


def _remove(
    session: Session, artifacts: Artifacts, checkpoint: Checkpoint, removal: Removal
) -> None:
    """The file first: what is cut short is repeated, and nothing is left that no row tells of."""
    try:
        artifacts.remove(checkpoint.path)
    except MissingFileError:
        removal.warnings.append(f"{checkpoint.id}: its file was gone already")
    except (OSError, StoreAwayError) as error:
        removal.warnings.append(f"{checkpoint.id}: {error}")
        logger.warning("%s was not removed: %s", checkpoint.path, error)
        return
    session.delete(checkpoint)
