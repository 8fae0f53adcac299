"""End an attempt."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Attempt, Job, Json
from app.domain import StaleLeaseError
from app.jobs.lock import lock_job, lock_running, written
from app.jobs.outcome import Outcome, settle


def finish(
    session: Session,
    job_id: str,
    attempt: int,
    *,
    outcome: Outcome,
    reason: Json | None = None,
    exit_code: int | None = None,
) -> Job:
    """End a running attempt and move its job on; the job's new state says where to.

    - SUCCEEDED: succeeded, even if a cancel came too late to stop anything.
    - PRUNED: pruned.
    - CANCELLED, or any other outcome once a cancel was asked for: cancelled.
    - FAILED: queued again when `reason["class"]` is one that a retry can fix and
      `limits.max_attempts` allows it, after a growing delay; else failed.
    - PAUSED: paused without using up an attempt, or queued again when the pause was taken back.
    - RELEASED: queued again without using up an attempt, unless that happens over and over.

    Where the job would be queued again and a user has asked to pause it, it is paused.

    `reason`: class, code, message, next_action. Saying the same twice is fine, so a caller whose
    commit was cut off may repeat it. Raises StaleLeaseError when the lease is lost.
    """
    try:
        job = lock_running(session, job_id, attempt)
    except StaleLeaseError:
        if _said_already(session, job_id, attempt, outcome):
            return lock_job(session, job_id)
        raise
    settle(session, job, outcome, reason, exit_code=exit_code)
    return written(session, job)


def _said_already(session: Session, job_id: str, attempt: int, outcome: Outcome) -> bool:
    recorded = session.scalar(
        select(Attempt.outcome).where(Attempt.job_id == job_id, Attempt.number == attempt)
    )
    return recorded == outcome.value
