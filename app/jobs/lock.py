"""Row locks, in one order so that nobody waits in a circle: the job first, then its API key, its
attempts and the rest. Claiming and reaping never wait for a job: they pass locked ones by.

What an ended job left behind has a lock of its own, for it is removed without a transaction: a
store may take its time, and PostgreSQL ends a session that waits long in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.db import Attempt, Job
from app.db.database import after_rollback
from app.domain import JobState, NotFoundError, StaleLeaseError


def lock_job(session: Session, job_id: str) -> Job:
    """The job as it is now, locked until the transaction ends. Raises NotFoundError."""
    # NO KEY UPDATE: inserts of rows that refer to the job need not wait.
    statement = select(Job).where(Job.id == job_id).with_for_update(key_share=True)
    job = session.scalar(statement, execution_options={"populate_existing": True})
    if job is None:
        raise NotFoundError(f"no job {job_id!r}")
    return job


def lock_running(session: Session, job_id: str, attempt: int) -> Job:
    """The locked job, if `attempt` holds its lease: the guard of every write of an attempt.

    Raises StaleLeaseError otherwise; the rejected write is counted although the transaction is
    rolled back.
    """
    job = lock_job(session, job_id)
    if job.state is JobState.RUNNING and job.attempt == attempt:
        return job
    after_rollback(
        session,
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == attempt)
        .values(stale_writes=Attempt.stale_writes + 1),
    )
    raise StaleLeaseError(
        f"attempt {attempt} of {job_id} no longer holds the lease: the job is {job.state.value}, "
        f"its attempt {job.attempt}"
    )


def keep_remains(session: Session, job_id: str) -> None:
    """Keep what the job left behind until the transaction ends: it is about to go on from there.
    Waits while some of it is being removed."""
    session.execute(select(func.pg_advisory_xact_lock(_remains(job_id))))


@contextmanager
def own_remains(session: Session, job_id: str) -> Iterator[bool]:
    """Be the only one to remove what the job left behind, or to bring it back to life, to the end
    of the block; whether that was possible. The lock is the connection's: no transaction is open,
    and the session must keep its connection, as one of `reading` does."""
    is_ours = bool(session.scalar(select(func.pg_try_advisory_lock(_remains(job_id)))))
    try:
        yield is_ours
    finally:
        if is_ours:
            session.execute(select(func.pg_advisory_unlock(_remains(job_id))))


def _remains(job_id: str) -> ColumnElement[int]:
    # A unit separator cannot occur in an id, nor in what other locks are made of.
    return func.hashtextextended(f"remains\x1f{job_id}", 0)


def written(session: Session, job: Job) -> Job:
    """The job as it was written, times of the database's clock included: readable after the
    transaction."""
    session.flush()
    session.refresh(job)
    return job
