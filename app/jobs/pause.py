"""Put a job aside, and let it go on."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import InvalidStateError, JobState
from app.jobs.lock import lock_job, written
from app.jobs.outcome import PAUSED
from app.jobs.submit import check_limit
from app.jobs.transition import transition


def pause(session: Session, job_id: str) -> Job:
    """Put a job that waits aside at once; ask the worker of a running one to stop it.

    A running trainer writes its resume state first, and goes on from exactly there when the job
    is resumed; no attempt is used up. Repeating it changes nothing. Raises NotFoundError, or
    InvalidStateError when the job has ended or is about to be cancelled.
    """
    job = lock_job(session, job_id)
    if job.state is JobState.PAUSED or job.pause_requested_at is not None:
        return job
    if job.state.is_finished:
        raise InvalidStateError(f"job {job.id} is {job.state.value}; there is nothing to pause")
    if job.cancel_requested_at is not None:
        raise InvalidStateError(f"job {job.id} is being cancelled")
    if job.state is JobState.RUNNING:
        job.pause_requested_at = func.now()
    else:
        transition(session, job, JobState.PAUSED, reason=PAUSED)
    return written(session, job)


def resume(session: Session, job_id: str) -> Job:
    """Queue a paused job again, at the place it had; it goes on from its last resume state.

    A pause that its worker has not carried out yet is taken back. A job that waits or runs is
    left as it is. Ring the doorbell after the commit. Raises NotFoundError, InvalidStateError when
    the job has ended, TooManyJobsError.
    """
    job = lock_job(session, job_id)
    if job.state.is_finished:
        raise InvalidStateError(
            f"job {job.id} is {job.state.value}; only a paused job can be resumed"
        )
    if job.state is JobState.PAUSED:
        if job.api_key_id is not None:
            check_limit(session, job.api_key_id)
        job.not_before = None
        job.queued_at = func.now()
        transition(session, job, JobState.QUEUED)
    elif job.pause_requested_at is not None:
        job.pause_requested_at = None
    else:
        return job
    return written(session, job)
