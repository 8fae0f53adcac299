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
FREE_RELEASES = 20
"""A job whose attempts are given back this often in a row, without one epoch done, is using up
attempts all the same: something is wrong with it or with its workers."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    """The trainer came to its end."""
    FAILED = "failed"
    """It did not; `reason.class` (a FailureClass) says whether another attempt can help."""
    CANCELLED = "cancelled"
    """It was stopped because a user cancelled the job."""
    PRUNED = "pruned"
    """It was stopped because its sweep's pruner found it too bad to go on."""
    PAUSED = "paused"
    """It was stopped because a user paused the job: the attempt does not count."""
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
    if outcome is Outcome.RELEASED and not _is_free(session, job):
        outcome, reason = Outcome.FAILED, RELEASED_TOO_OFTEN
    if outcome is Outcome.SUCCEEDED:
        # A cancel that came after the last step found nothing left to stop.
        _forget_estimate(job)
        transition(session, job, JobState.SUCCEEDED)
    elif outcome is Outcome.CANCELLED or job.cancel_requested_at is not None:
        _forget_estimate(job)
        transition(session, job, JobState.CANCELLED, reason=CANCELLED)
    elif outcome is Outcome.PRUNED:
        _forget_estimate(job)
        transition(session, job, JobState.PRUNED, reason=reason)
    elif outcome is Outcome.PAUSED:
        job.attempts_used -= 1
        _put_back(session, job, None)
    elif outcome is Outcome.RELEASED:
        job.attempts_used -= 1
        job.releases += 1
        if reason is not None:
            job.not_before = func.now() + _delay(job.releases)
        _put_back(session, job, reason or RELEASED)
    elif _may_try_again(job, outcome, reason):
        job.not_before = func.now() + _delay(job.attempts_used)
        _put_back(session, job, reason)
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
RELEASED_TOO_OFTEN: Json = {
    "class": FailureClass.INFRA.value,
    "code": "released-too-often",
    "message": "Workers gave the job back again and again before one epoch was done.",
    "next_action": "Look at the workers' logs and why they stop; then retry the job.",
}
PRUNED: Json = {
    "class": "pruned",
    "code": "pruned",
    "message": "Worse than the sweep's other trials at this point: ended by the pruner.",
    "next_action": None,
}
PAUSED: Json = {
    "class": "paused",
    "code": "paused",
    "message": "Paused on request.",
    "next_action": "Resume it when it should go on.",
}
LOST: Json = {
    "class": FailureClass.LOST.value,
    "code": "lease-expired",
    "message": "The worker stopped renewing its lease: it, its machine or its network is gone.",
    "next_action": "Look at the worker's log and at the machine's memory.",
}


def _put_back(session: Session, job: Job, reason: Json | None) -> None:
    """To the queue, or aside when a user has asked for that."""
    if job.pause_requested_at is not None:
        job.not_before = None
        transition(session, job, JobState.PAUSED, reason=PAUSED)
    else:
        transition(session, job, JobState.QUEUED, reason=reason)


def _is_free(session: Session, job: Job) -> bool:
    """Whether giving the attempt back costs nothing."""
    attempt = session.get_one(Attempt, (job.id, job.attempt))
    if attempt.last_epoch is not None:
        job.releases = 0
    return job.releases < FREE_RELEASES


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
