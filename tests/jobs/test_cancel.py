"""Cancel works in every state, any number of times, at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.db import Database, Job
from app.domain import InvalidStateError, JobState, NotFoundError, StaleLeaseError
from app.jobs import read
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.lease import renew
from app.jobs.outcome import Outcome

Get = Callable[[str], Job]


@pytest.fixture
def stop(database: Database) -> Callable[..., Job]:
    def stop_it(job_id: str, force: bool = False) -> Job:
        with database.session() as session:
            return cancel(session, job_id, force)

    return stop_it


def test_a_queued_job_is_cancelled_at_once(
    submit_job: Callable[..., str],
    stop: Callable[..., Job],
    take: Callable[..., Claim | None],
) -> None:
    job = stop(submit_job())
    assert job.state is JobState.CANCELLED
    assert job.finished_at is not None
    assert job.cancel_requested_at is not None
    assert job.reason is not None
    assert job.reason["code"] == "cancelled"
    assert take() is None


def test_a_running_job_is_asked_to_stop(
    running: Claim, stop: Callable[..., Job], database: Database
) -> None:
    first = stop(running.job_id)
    assert first.state is JobState.RUNNING
    with database.session() as session:
        orders = renew(session, running.job_id, 1, 60)
    assert (orders.cancel, orders.force) == (True, False)
    second = stop(running.job_id, force=True)
    assert second.cancel_requested_at == first.cancel_requested_at
    with database.session() as session:
        orders = renew(session, running.job_id, 1, 60)
    assert (orders.cancel, orders.force) == (True, True)


def test_repeating_it_changes_nothing(
    running: Claim, submit_job: Callable[..., str], stop: Callable[..., Job], get: Get
) -> None:
    for job_id in (running.job_id, submit_job()):
        stop(job_id)
        before = get(job_id)
        stop(job_id)
        after = get(job_id)
        assert (after.version, after.last_seq) == (before.version, before.last_seq)


def test_what_has_ended_otherwise_cannot_be_cancelled(
    running: Claim, stop: Callable[..., Job], database: Database
) -> None:
    with database.session() as session:
        finish(session, running.job_id, 1, outcome=Outcome.SUCCEEDED)
    with pytest.raises(InvalidStateError, match="succeeded"):
        stop(running.job_id)


def test_an_unknown_job(stop: Callable[..., Job]) -> None:
    with pytest.raises(NotFoundError):
        stop("job_none")


def test_a_hundred_cancels_are_one_move(
    submit_job: Callable[..., str], stop: Callable[..., Job], database: Database
) -> None:
    job_id = submit_job()
    together = threading.Barrier(40)

    def one(number: int) -> JobState:
        if number < 40:
            together.wait()
        return stop(job_id).state

    with ThreadPoolExecutor(40) as pool:
        states = set(pool.map(one, range(100)))
    assert states == {JobState.CANCELLED}
    with database.session() as session:
        told = [event.payload["state"] for event in read.events_after(session, job_id)]
    assert told == ["queued", "cancelled"]


def test_cancel_racing_with_claim(
    submit_job: Callable[..., str],
    stop: Callable[..., Job],
    take: Callable[..., Claim | None],
    get: Get,
    database: Database,
) -> None:
    """Either the job never runs, or its worker hears of the cancel."""
    for _ in range(15):
        job_id = submit_job()
        claimed = _race(take, lambda job_id=job_id: stop(job_id))[0]
        job = get(job_id)
        if claimed is None:
            assert job.state is JobState.CANCELLED
            continue
        assert job.state is JobState.RUNNING
        with database.session() as session:
            assert renew(session, job_id, claimed.attempt, 60).cancel
            finish(session, job_id, claimed.attempt, outcome=Outcome.CANCELLED)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.RELEASED])
def test_cancel_racing_with_finish(
    outcome: Outcome,
    submit_job: Callable[..., str],
    stop: Callable[..., Job],
    take: Callable[..., Claim],
    get: Get,
    database: Database,
) -> None:
    """An accepted cancel never leaves a job that runs again."""
    for _ in range(8):
        job_id = submit_job()
        claimed = take()

        def end(claimed: Claim = claimed) -> None:
            with database.session() as session:
                reason = {"class": "killed"}
                finish(session, claimed.job_id, claimed.attempt, outcome=outcome, reason=reason)

        def ask(job_id: str = job_id) -> Job | None:
            try:
                return stop(job_id)
            except InvalidStateError:
                return None

        accepted = _race(end, ask)[1]
        expected = JobState.SUCCEEDED if outcome is Outcome.SUCCEEDED else JobState.CANCELLED
        assert get(job_id).state is expected
        assert accepted is not None or outcome is Outcome.SUCCEEDED
        with pytest.raises(StaleLeaseError), database.session() as session:
            renew(session, job_id, claimed.attempt, 60)


def _race(*acts: Callable[[], object]) -> list[object]:
    together = threading.Barrier(len(acts))

    def one(act: Callable[[], object]) -> object:
        together.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))
