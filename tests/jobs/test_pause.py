"""Pause and resume work in every state, any number of times, at any moment."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.db import Database, Job
from app.domain import InvalidStateError, JobState, NotFoundError, StaleLeaseError
from app.jobs import read
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.lease import renew
from app.jobs.outcome import Outcome
from app.jobs.pause import pause, resume
from app.jobs.reap import reap
from app.jobs.record import record
from gogooku3.events import ResumePointEvent

Get = Callable[[str], Job]
Act = Callable[..., Job]


@pytest.fixture
def act(database: Database) -> Act:
    def act_once(what: Callable[..., Job], *values: Any, **more: Any) -> Job:
        with database.session() as session:
            return what(session, *values, **more)

    return act_once


def test_a_queued_job_is_put_aside_and_keeps_its_place(
    submit_job: Callable[..., str], take: Callable[..., Claim | None], act: Act
) -> None:
    first, second = submit_job(), submit_job()
    job = act(pause, first)
    assert (job.state, job.pause_requested_at) == (JobState.PAUSED, None)
    assert job.reason is not None
    assert job.reason["code"] == "paused"
    assert act(resume, first).state is JobState.QUEUED
    claimed = [take(), take(), take()]
    assert [one and one.job_id for one in claimed] == [first, second, None]


def test_a_paused_job_is_not_run(
    submit_job: Callable[..., str], take: Callable[..., Claim | None], act: Act
) -> None:
    act(pause, submit_job())
    assert take() is None


def test_a_running_job_is_asked_and_goes_on_from_its_state(
    running: Claim, act: Act, take: Callable[..., Claim], database: Database, get: Get
) -> None:
    assert act(pause, running.job_id).state is JobState.RUNNING
    with database.session() as session:
        assert renew(session, running.job_id, 1, 60).pause
        record(session, running.job_id, 1, [ResumePointEvent(epoch=1, step=3, path="r.pt")])
    job = act(finish, running.job_id, 1, outcome=Outcome.PAUSED, exit_code=3)
    assert (job.state, job.attempts_used, job.pause_requested_at) == (JobState.PAUSED, 0, None)
    assert job.finished_at is None
    act(resume, running.job_id)
    again = take()
    assert (again.attempt, again.resume_path) == (2, "r.pt")


def test_a_pause_can_be_taken_back(running: Claim, act: Act, take: Callable[..., Claim]) -> None:
    act(pause, running.job_id)
    assert act(resume, running.job_id).state is JobState.RUNNING
    # The trainer had been asked already: it ends, and the job is simply queued again.
    job = act(finish, running.job_id, 1, outcome=Outcome.PAUSED)
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)
    assert take().attempt == 2


def test_whatever_would_queue_the_job_again_pauses_it(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    act: Act,
    expire: Callable[[str], None],
    database: Database,
    get: Get,
) -> None:
    for outcome in (Outcome.RELEASED, Outcome.FAILED, Outcome.LOST):
        job_id = submit_job()
        take()
        act(pause, job_id)
        if outcome is Outcome.LOST:
            expire(job_id)
            with database.session() as session:
                reap(session)
        else:
            act(finish, job_id, 1, outcome=outcome, reason={"class": "killed"})
        job = get(job_id)
        assert (job.state, job.not_before) == (JobState.PAUSED, None)
        assert job.attempts_used == (0 if outcome is Outcome.RELEASED else 1)


def test_an_end_that_comes_first_stands(running: Claim, act: Act) -> None:
    act(pause, running.job_id)
    job = act(finish, running.job_id, 1, outcome=Outcome.SUCCEEDED)
    assert (job.state, job.pause_requested_at) == (JobState.SUCCEEDED, None)


def test_cancel_wins_over_pause(
    submit_job: Callable[..., str], take: Callable[..., Claim], act: Act
) -> None:
    waiting = submit_job()
    act(pause, waiting)
    assert act(cancel, waiting).state is JobState.CANCELLED
    busy = submit_job()
    take()
    act(pause, busy)
    act(cancel, busy)
    assert act(finish, busy, 1, outcome=Outcome.PAUSED).state is JobState.CANCELLED
    other = submit_job()
    take()
    act(cancel, other)
    with pytest.raises(InvalidStateError, match="being cancelled"):
        act(pause, other)


def test_what_has_ended_can_be_neither_paused_nor_resumed(running: Claim, act: Act) -> None:
    act(finish, running.job_id, 1, outcome=Outcome.SUCCEEDED)
    for what in (pause, resume):
        with pytest.raises(InvalidStateError, match="succeeded"):
            act(what, running.job_id)
        with pytest.raises(NotFoundError):
            act(what, "job_none")


def test_repeating_it_changes_nothing(
    submit_job: Callable[..., str], running: Claim, act: Act, get: Get
) -> None:
    waiting = submit_job()
    for job_id in (running.job_id, waiting):
        for what in (pause, resume):
            act(what, job_id)
            before = get(job_id)
            act(what, job_id)
            after = get(job_id)
            assert (after.version, after.last_seq) == (before.version, before.last_seq)


def test_a_hundred_pauses_and_resumes_leave_one_record(
    submit_job: Callable[..., str], act: Act, database: Database
) -> None:
    """Every accepted move is in the record, in an order that TRANSITIONS has."""
    job_id = submit_job()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: act(pause if n % 2 else resume, job_id), range(100)))
    with database.session() as session:
        told = [event.payload["state"] for event in read.events_after(session, job_id, 0, 1000)]
    assert told[0] == "queued"
    assert all(a != b for a, b in itertools.pairwise(told))


def test_pause_racing_with_claim(
    submit_job: Callable[..., str],
    take: Callable[..., Claim | None],
    act: Act,
    get: Get,
    database: Database,
) -> None:
    """Either the job never runs, or its worker hears of the pause."""
    for _ in range(10):
        job_id = submit_job()
        together = threading.Barrier(2)

        def claim_it() -> Claim | None:
            together.wait()  # noqa: B023
            return take()

        def pause_it() -> Job:
            together.wait()  # noqa: B023
            return act(pause, job_id)  # noqa: B023

        with ThreadPoolExecutor(2) as pool:
            claiming, pausing = pool.submit(claim_it), pool.submit(pause_it)
            claimed = claiming.result()
            pausing.result()
        if claimed is None:
            assert get(job_id).state is JobState.PAUSED
            continue
        with database.session() as session:
            assert renew(session, job_id, 1, 60).pause
        assert act(finish, job_id, 1, outcome=Outcome.PAUSED).state is JobState.PAUSED


def test_a_job_that_is_always_given_back_ends(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    act: Act,
    ready: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.jobs.outcome.FREE_RELEASES", 3)
    job_id = submit_job(limits={"max_attempts": 2})
    for number in range(1, 6):
        take()
        job = act(finish, job_id, number, outcome=Outcome.RELEASED)
        ready()
        assert job.attempts_used == max(0, number - 3)
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert job.reason["code"] == "released-too-often"
    with pytest.raises(StaleLeaseError):
        act(renew, job_id, 5, 60)
