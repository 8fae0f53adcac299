"""Cancel a job."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import InvalidStateError, JobState
from app.jobs.lock import lock_job, written
from app.jobs.outcome import CANCELLED
from app.jobs.transition import transition


def cancel(session: Session, job_id: str, force: bool = False) -> Job:
    """Cancel a job that waits at once; ask the worker of a running one to stop it.

    A running trainer writes a checkpoint first, unless `force`. Repeating it changes nothing,
    except that `force` may be added. Raises NotFoundError, or InvalidStateError when the job has
    ended in another way.
    """
    job = lock_job(session, job_id)
    if job.state is JobState.CANCELLED:
        return job
    if job.state.is_finished:
        raise InvalidStateError(f"job {job.id} is {job.state.value}; there is nothing to cancel")
    if job.state is not JobState.RUNNING:
        transition(session, job, JobState.CANCELLED, reason=CANCELLED)
    if job.cancel_requested_at is None:
        job.cancel_requested_at = func.now()
    if force and job.state is JobState.RUNNING:
        job.force_requested = True
    return written(session, job)
