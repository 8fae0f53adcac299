"""Every way an attempt can end, and what becomes of the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.db import Attempt, Database, Job
from app.domain import JobState, StaleLeaseError
from app.jobs import read
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from gogooku3.events import ProgressEvent

Get = Callable[[str], Job]


@pytest.fixture
def end(database: Database) -> Callable[..., Job]:
    def end_it(
        claim: Claim, outcome: Outcome, reason: dict[str, Any] | None = None, **more: Any
    ) -> Job:
        with database.session() as session:
            return finish(
                session, claim.job_id, claim.attempt, outcome=outcome, reason=reason, **more
            )

    return end_it


@pytest.fixture
def attempt_of(database: Database) -> Callable[[Claim], Attempt]:
    def read_it(claim: Claim) -> Attempt:
        with database.session() as session:
            found = session.get(Attempt, (claim.job_id, claim.attempt))
            assert found is not None
            return found

    return read_it


def reason(failure_class: str) -> dict[str, Any]:
    return {"class": failure_class, "code": "c", "message": "m", "next_action": "n"}


def test_success(
    running: Claim, end: Callable[..., Job], attempt_of: Callable[..., Attempt], database: Database
) -> None:
    with database.session() as session:
        place = ProgressEvent(epoch=5, max_epochs=5, step=9, steps=10, eta_s=1.0)
        record(session, running.job_id, 1, [place])
    job = end(running, Outcome.SUCCEEDED, exit_code=0)
    assert job.state is JobState.SUCCEEDED
    assert job.finished_at is not None
    assert (job.lease_owner, job.lease_until, job.reason) == (None, None, None)
    assert job.progress is not None
    assert job.progress["eta_s"] is None
    attempt = attempt_of(running)
    assert (attempt.outcome, attempt.exit_code) == ("succeeded", 0)
    assert attempt.ended_at == job.finished_at


@pytest.mark.parametrize("failure_class", ["user", "data", "diverged", "oom", "timeout"])
def test_what_a_retry_cannot_fix_fails_at_once(
    failure_class: str,
    running: Claim,
    end: Callable[..., Job],
    attempt_of: Callable[..., Attempt],
    database: Database,
) -> None:
    job = end(running, Outcome.FAILED, reason(failure_class), exit_code=4)
    assert job.state is JobState.FAILED
    assert job.reason == reason(failure_class)
    assert attempt_of(running).reason == reason(failure_class)
    with database.session() as session:
        told = read.events_after(session, running.job_id)[-1].payload
    assert told == {"state": "failed", "from": "running", "reason": reason(failure_class)}


@pytest.mark.parametrize("failure_class", ["killed", "infra", "lost", "something new"])
def test_what_a_retry_can_fix_is_tried_again_as_often_as_allowed(
    failure_class: str,
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    end: Callable[..., Job],
    ready: Callable[[], None],
    get: Get,
    database: Database,
) -> None:
    job_id = submit_job(limits={"max_attempts": 3})
    queued_at = get(job_id).queued_at
    delays = []
    for number in (1, 2):
        claimed = take()
        assert claimed.attempt == number
        job = end(claimed, Outcome.FAILED, reason(failure_class))
        assert (job.state, job.reason) == (JobState.QUEUED, reason(failure_class))
        assert job.queued_at == queued_at
        assert job.finished_at is None
        with database.session() as session:
            delays.append(
                session.scalar(
                    text(
                        "SELECT extract(epoch FROM not_before - ended_at) FROM jobs "
                        "JOIN attempts ON job_id = id AND number = attempt"
                    )
                )
            )
        ready()
    job = end(take(), Outcome.FAILED, reason(failure_class))
    assert (job.state, job.attempts_used) == (JobState.FAILED, 3)
    assert delays == [1, 2]


def test_a_workers_orderly_end_uses_up_no_attempt(
    submit_job: Callable[..., str], take: Callable[..., Claim], end: Callable[..., Job]
) -> None:
    submit_job(limits={"max_attempts": 1})
    for number in (1, 2, 3):
        claimed = take()
        assert claimed.attempt == number
        job = end(claimed, Outcome.RELEASED)
        assert (job.state, job.attempts_used, job.not_before) == (JobState.QUEUED, 0, None)
        assert job.reason is not None
        assert job.reason["code"] == "worker-shutdown"
    take()


def test_a_running_job_has_no_old_reason(
    running: Claim, end: Callable[..., Job], take: Callable[..., Claim], get: Get
) -> None:
    end(running, Outcome.RELEASED)
    take()
    assert get(running.job_id).reason is None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.SUCCEEDED, JobState.SUCCEEDED),
        (Outcome.CANCELLED, JobState.CANCELLED),
        (Outcome.FAILED, JobState.CANCELLED),
        (Outcome.RELEASED, JobState.CANCELLED),
    ],
)
def test_after_a_cancel_no_outcome_queues_the_job_again(
    outcome: Outcome,
    state: JobState,
    running: Claim,
    end: Callable[..., Job],
    attempt_of: Callable[..., Attempt],
    take: Callable[..., Claim | None],
    database: Database,
) -> None:
    with database.session() as session:
        cancel(session, running.job_id)
    assert end(running, outcome, reason("killed")).state is state
    assert attempt_of(running).outcome == outcome.value
    assert take() is None


def test_saying_it_twice_is_fine_saying_something_else_is_not(
    running: Claim, end: Callable[..., Job], get: Get
) -> None:
    end(running, Outcome.SUCCEEDED)
    before = get(running.job_id)
    assert end(running, Outcome.SUCCEEDED).state is JobState.SUCCEEDED
    with pytest.raises(StaleLeaseError):
        end(running, Outcome.FAILED, reason("user"))
    after = get(running.job_id)
    assert (after.state, after.version) == (JobState.SUCCEEDED, before.version)


def test_a_repeat_does_not_end_the_next_attempt(
    running: Claim, end: Callable[..., Job], take: Callable[..., Claim], get: Get
) -> None:
    end(running, Outcome.RELEASED)
    again = take()
    end(running, Outcome.RELEASED)
    job = get(running.job_id)
    assert (job.state, job.attempt) == (JobState.RUNNING, again.attempt)
