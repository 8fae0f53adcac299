"""A lease is held by the database's clock, and lost for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.db import Database, Job
from app.domain import JobState, NotFoundError, StaleLeaseError
from app.jobs import read
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.lease import Orders, renew
from app.jobs.reap import reap

Get = Callable[[str], Job]


def left_s(database: Database, job_id: str) -> float:
    with database.session() as session:
        statement = text("SELECT extract(epoch FROM lease_until - now()) FROM jobs WHERE id = :id")
        return float(session.scalar(statement, {"id": job_id}) or 0)


def test_a_renewal_holds_the_job_and_shows_nothing(
    running: Claim, database: Database, get: Get
) -> None:
    before = get(running.job_id)
    with database.session() as session:
        orders = renew(session, running.job_id, 1, 500)
    assert orders == Orders(cancel=False, force=False, pause=False)
    assert 490 < left_s(database, running.job_id) <= 500
    after = get(running.job_id)
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


def test_the_lease_counts_from_the_start_of_the_transaction(
    running: Claim, database: Database
) -> None:
    """A trainer counts from before the transaction: the lease must not end before that count,
    nor may waiting for a lock make it longer than the trainer knows."""
    with database.session() as session:
        session.execute(text("SELECT 1"))
        session.execute(text("SELECT pg_sleep(0.5)"))
        renew(session, running.job_id, 1, 10)
        began = session.scalar(text("SELECT extract(epoch FROM clock_timestamp() - now())"))
        assert began is not None
        assert float(began) >= 0.5
    assert left_s(database, running.job_id) < 9.6


def test_an_unknown_job(database: Database) -> None:
    with pytest.raises(NotFoundError), database.session() as session:
        renew(session, "job_none", 1, 10)


def test_another_attempts_lease_is_not_ours(running: Claim, database: Database) -> None:
    for attempt in (0, 2):
        with pytest.raises(StaleLeaseError), database.session() as session:
            renew(session, running.job_id, attempt, 10)


def test_only_expired_leases_are_reaped(
    running: Claim,
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    expire: Callable[[str], None],
    database: Database,
    get: Get,
) -> None:
    submit_job()
    other = take()
    submit_job()
    expire(running.job_id)
    with database.session() as session:
        [reaped] = reap(session)
    assert (reaped.job_id, reaped.attempt, reaped.state) == (running.job_id, 1, JobState.QUEUED)
    assert get(other.job_id).state is JobState.RUNNING
    job = get(running.job_id)
    assert job.reason is not None
    assert (job.reason["class"], job.lease_until) == ("lost", None)
    with database.session() as session:
        assert reap(session) == []
        [attempt] = read.attempts(session, running.job_id)
    assert attempt.outcome == "lost"
    assert attempt.ended_at is not None


def test_a_lost_job_fails_when_its_attempts_are_used_up(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    expire: Callable[[str], None],
    ready: Callable[[], None],
    database: Database,
    get: Get,
) -> None:
    job_id = submit_job(limits={"max_attempts": 2})
    states = []
    for _ in range(2):
        take()
        expire(job_id)
        with database.session() as session:
            states.append(reap(session)[0].state)
        ready()
    assert states == [JobState.QUEUED, JobState.FAILED]
    job = get(job_id)
    assert job.reason is not None
    assert (job.reason["class"], job.reason["code"]) == ("lost", "lease-expired")


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(
    running: Claim, expire: Callable[[str], None], database: Database
) -> None:
    with database.session() as session:
        cancel(session, running.job_id)
    expire(running.job_id)
    with database.session() as session:
        assert reap(session)[0].state is JobState.CANCELLED


def test_a_job_that_is_being_written_is_left_alone(
    running: Claim, expire: Callable[[str], None], database: Database
) -> None:
    expire(running.job_id)
    with database.session() as writer:
        renew(writer, running.job_id, 1, 60)
        with database.session() as session:
            assert reap(session) == []
    with database.session() as session:
        assert reap(session) == []


def test_the_reaper_that_was_first_wins(
    running: Claim, expire: Callable[[str], None], database: Database, get: Get
) -> None:
    expire(running.job_id)
    outcomes: list[str] = []

    def late() -> None:
        try:
            with database.session() as session:
                renew(session, running.job_id, 1, 60)
                outcomes.append("renewed")
        except StaleLeaseError:
            outcomes.append("stale")

    with database.session() as session:
        assert len(reap(session)) == 1
        thread = threading.Thread(target=late)
        thread.start()
        thread.join(0.3)
        assert outcomes == []
    thread.join(10)
    assert outcomes == ["stale"]
    assert get(running.job_id).state is JobState.QUEUED


def test_many_reapers_and_one_late_renewal(
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
    expire: Callable[[str], None],
    database: Database,
    get: Get,
) -> None:
    """Whoever comes first, each job has one story: kept by its attempt, or taken from it once."""
    claims = []
    for _ in range(10):
        submit_job(limits={"max_attempts": 10})
        claims.append(take())
    for claimed in claims:
        expire(claimed.job_id)
    together = threading.Barrier(14)

    def reaper() -> list[str]:
        together.wait()
        with database.session() as session:
            return [one.job_id for one in reap(session)]

    def renewer(claimed: Claim) -> str | None:
        together.wait()
        try:
            with database.session() as session:
                renew(session, claimed.job_id, claimed.attempt, 60)
        except StaleLeaseError:
            return None
        return claimed.job_id

    with ThreadPoolExecutor(14) as pool:
        reapers = [pool.submit(reaper) for _ in range(4)]
        renewers = [pool.submit(renewer, claimed) for claimed in claims]
        taken = [job_id for future in reapers for job_id in future.result()]
        kept = [future.result() for future in renewers]
    assert sorted(taken + [job_id for job_id in kept if job_id]) == sorted(
        claimed.job_id for claimed in claims
    )
    for job_id in kept:
        if job_id is not None:
            assert get(job_id).state is JobState.RUNNING
    for job_id in taken:
        assert get(job_id).state is JobState.QUEUED
        assert get(job_id).last_seq == 3
