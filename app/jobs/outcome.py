"""How an attempt ended, and what that makes of its job."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from app.db import Attempt, Job, Json
from app.domain import FailureClass, JobState
from app.jobs.transition import transition

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    """The trainer came to its end."""
    FAILED = "failed"
    """It did not; `reason.class` (a FailureClass) says whether another attempt can help."""
    CANCELLED = "cancelled"
    """It was stopped because a user cancelled the job."""
    RELEASED = "released"
    """It was stopped because its worker is shutting down: the attempt does not count."""
    LOST = "lost"
    """Its lease ran out: the worker, its machine or the way to the database is gone."""


def settle(
    session: Session,
    job: Job,
    outcome: Outcome,
    reason: Json | None,
    *,
    exit_code: int | None = None,
) -> None:
    """End the running attempt of a job whose row the caller has locked, and move the job on."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(ended_at=func.now(), outcome=outcome.value, reason=reason, exit_code=exit_code)
    )
    if outcome is Outcome.SUCCEEDED:
        # A cancel that came after the last step found nothing left to stop.
        _forget_estimate(job)
        transition(session, job, JobState.SUCCEEDED)
    elif outcome is Outcome.CANCELLED or job.cancel_requested_at is not None:
        _forget_estimate(job)
        transition(session, job, JobState.CANCELLED, reason=CANCELLED)
    elif outcome is Outcome.RELEASED:
        job.attempts_used -= 1
        transition(session, job, JobState.QUEUED, reason=reason or RELEASED)
    elif _may_try_again(job, outcome, reason):
        job.not_before = func.now() + _delay(job.attempts_used)
        transition(session, job, JobState.QUEUED, reason=reason)
    else:
        _forget_estimate(job)
        transition(session, job, JobState.FAILED, reason=reason)


CANCELLED: Json = {
    "class": "cancelled",
    "code": "cancelled",
    "message": "Cancelled on request.",
    "next_action": None,
}
RELEASED: Json = {
    "class": "released",
    "code": "worker-shutdown",
    "message": "The worker shut down; the job goes on from its last checkpoint elsewhere.",
    "next_action": None,
}
LOST: Json = {
    "class": FailureClass.LOST.value,
    "code": "lease-expired",
    "message": "The worker stopped renewing its lease: it, its machine or its network is gone.",
    "next_action": "Look at the worker's log and at the machine's memory.",
}


def _may_try_again(job: Job, outcome: Outcome, reason: Json | None) -> bool:
    failure = FailureClass.LOST if outcome is Outcome.LOST else _failure_class(reason)
    return failure.is_retryable and job.attempts_used < int(job.limits["max_attempts"])


def _failure_class(reason: Json | None) -> FailureClass:
    try:
        return FailureClass((reason or {}).get("class", FailureClass.INFRA))
    except ValueError:
        return FailureClass.INFRA


def _delay(attempts_used: int) -> timedelta:
    """1, 2, 4, ... seconds: a fault that stays must not spin."""
    return timedelta(seconds=min(FIRST_DELAY_S * 2.0 ** (attempts_used - 1), LONGEST_DELAY_S))


def _forget_estimate(job: Job) -> None:
    if job.progress is not None:
        job.progress = {**job.progress, "eta_s": None}
