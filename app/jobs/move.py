"""Move a job in the queue."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import FINISHED, InvalidStateError, JobState, NotFoundError
from app.jobs.lock import lock_job, written

_HALF = Decimal("0.5")


def move(
    session: Session,
    job_id: str,
    *,
    before: str | None = None,
    after: str | None = None,
) -> Job:
    """Put a queued job right before or after another, or with neither at the front of the queue.

    It takes the priority of its new neighbour: priority goes before place. Raises NotFoundError,
    or InvalidStateError when one of the two does not wait.
    """
    # Moves one after the other: two jobs must not be put at one place.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("queue", 0))))
    job = lock_job(session, job_id)
    _require_queued(job)
    other = _neighbour(session, job, before or after)
    if other is None or other.id == job.id:
        return job
    job.priority = other.priority
    job.place = _place(session, job, other, behind=after is not None)
    return written(session, job)


def _neighbour(session: Session, job: Job, named: str | None) -> Job | None:
    """The job next to which it is put; None when it is the first already."""
    if named is None:
        order = (Job.priority.desc(), Job.place, Job.id)
        first = select(Job).where(Job.state == JobState.QUEUED).order_by(*order).limit(1)
        return session.scalar(first)
    other = session.get(Job, named)
    if other is None:
        raise NotFoundError(f"no job {named!r}")
    _require_queued(other)
    return other


def _place(session: Session, job: Job, other: Job, *, behind: bool) -> Decimal:
    """Halfway between the other job and the next one on that side. Jobs that run or are paused
    count, too: they may come back to their places."""
    beyond = Job.place > other.place if behind else Job.place < other.place
    nearest = func.min(Job.place) if behind else func.max(Job.place)
    limit: Decimal | None = session.scalar(
        select(nearest).where(
            Job.priority == other.priority, Job.state.not_in(FINISHED), Job.id != job.id, beyond
        )
    )
    if limit is None:
        # New jobs get whole numbers, each greater than all before it.
        return other.place + (_HALF if behind else -1)
    return (other.place + limit) * _HALF


def _require_queued(job: Job) -> None:
    if job.state is not JobState.QUEUED:
        raise InvalidStateError(f"job {job.id} is {job.state.value}; it is not in the queue")
