"""Add an event to a job's record."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.db import Job, JobEvent, Json


def append(
    session: Session, job: Job, event_type: str, payload: Json, *, epoch: int | None = None
) -> JobEvent:
    """The next event of a job whose row the caller has locked: that lock is what keeps the
    numbers free of gaps and repeats."""
    job.last_seq += 1
    event = JobEvent(
        job_id=job.id,
        seq=job.last_seq,
        type=event_type,
        attempt=job.attempt,
        epoch=epoch,
        payload=payload,
    )
    session.add(event)
    return event
