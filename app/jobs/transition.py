"""The only mover: a job's state changes here and nowhere else."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.db import Job, JobEvent, Json
from app.domain import TRANSITIONS, InvalidStateError, JobState
from app.jobs.append import append
from app.jobs.lock import lock_job


def transition(
    session: Session,
    job: Job,
    to: JobState,
    *,
    payload: Json | None = None,
    reason: Json | None = None,
) -> JobEvent:
    """Move `job` and tell it as a `state` event, in the caller's transaction.

    Locks the row and looks at the state it has *now*. `payload` is added to the event's;
    `reason` becomes the job's reason. Raises InvalidStateError for a move that
    `app.domain.TRANSITIONS` does not have.
    """
    job = lock_job(session, job.id)
    if to not in TRANSITIONS[job.state]:
        raise InvalidStateError(f"job {job.id} is {job.state.value}; it cannot become {to.value}")
    told: Json = {"state": to.value, "from": job.state.value, **(payload or {})}
    if reason is not None:
        told["reason"] = reason
    job.state = to
    job.reason = reason
    if to is JobState.RUNNING:
        job.not_before = None
        if job.started_at is None:
            job.started_at = func.now()
    else:
        job.lease_owner = None
        job.lease_until = None
        job.pause_requested_at = None
    if to.is_finished:
        job.finished_at = func.now()
    return append(session, job, "state", told)
