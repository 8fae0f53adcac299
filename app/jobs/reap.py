"""Take jobs back from workers that are gone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import JobState
from app.jobs.outcome import LOST, Outcome, settle

BATCH = 100


@dataclass(frozen=True)
class Reaped:
    """A job whose lease had run out, and what became of it."""

    job_id: str
    attempt: int
    """The attempt that lost it."""
    state: JobState
    """queued (again), failed or cancelled."""


def reap(session: Session) -> list[Reaped]:
    """End the attempts whose lease has run out by the database's clock; up to 100 at a time.

    A job that is being renewed, recorded or finished at this moment is left alone: its row is
    locked, and when the lock is free its lease is a new one. Several reapers may run at once.
    """
    expired = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_until < func.now())
        .order_by(Job.lease_until)
        .limit(BATCH)
        .with_for_update(skip_locked=True, key_share=True),
        execution_options={"populate_existing": True},
    ).all()
    for job in expired:
        settle(session, job, Outcome.LOST, LOST)
    session.flush()
    return [Reaped(job.id, job.attempt, job.state) for job in expired]
