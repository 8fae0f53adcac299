"""Keep a running job's lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from app.db import Job
from app.jobs.lock import lock_running


@dataclass(frozen=True)
class Orders:
    """What the user wants of a running job."""

    cancel: bool
    """Stop: let the trainer write a checkpoint."""
    force: bool
    """Stop at once, without a checkpoint."""
    pause: bool
    """Stop for now, with the resume state written."""


def renew(session: Session, job_id: str, attempt: int, lease_s: float) -> Orders:
    """Hold the job for `lease_s` more, counted from the start of this transaction by the
    database's clock, and hear what the user asked for.

    Raises StaleLeaseError when the attempt has lost the lease: stop the trainer, write nothing.
    """
    job = lock_running(session, job_id, attempt)
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(
            lease_until=func.now() + timedelta(seconds=lease_s),
            # A renewal changes nothing that a client sees.
            version=Job.version,
            updated_at=Job.updated_at,
        )
        .execution_options(synchronize_session=False)
    )
    return Orders(
        cancel=job.cancel_requested_at is not None,
        force=job.force_requested,
        pause=job.pause_requested_at is not None,
    )
