"""One function moves jobs, along one table."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import text

from app.db import Database, Job
from app.domain import TRANSITIONS, InvalidStateError, JobState
from app.jobs import read
from app.jobs.lock import lock_job
from app.jobs.transition import transition


def put(database: Database, job_id: str, state: JobState) -> None:
    lease = "now()" if state is JobState.RUNNING else "NULL"
    with database.session() as session:
        session.execute(
            text(f"UPDATE jobs SET state = :state, lease_until = {lease} WHERE id = :id"),
            {"state": state.value, "id": job_id},
        )


@pytest.mark.parametrize(("start", "to"), list(itertools.product(JobState, JobState)))
def test_every_move(
    start: JobState,
    to: JobState,
    database: Database,
    submit_job: Callable[..., str],
    get: Callable[[str], Job],
) -> None:
    job_id = submit_job()
    put(database, job_id, start)

    def move() -> None:
        with database.session() as session:
            job = lock_job(session, job_id)
            transition(session, job, to, payload={"worker_id": "w"}, reason={"code": "c"})
            if to is JobState.RUNNING:
                job.lease_until = job.created_at

    if to not in TRANSITIONS[start]:
        with pytest.raises(InvalidStateError):
            move()
        assert get(job_id).state is start
        assert get(job_id).last_seq == 1
        return
    move()
    job = get(job_id)
    assert job.state is to
    assert job.version > 1
    assert (job.finished_at is not None) == to.is_finished
    assert (job.started_at is not None) == (to is JobState.RUNNING)
    assert job.reason == {"code": "c"}
    with database.session() as session:
        event = read.events_after(session, job_id)[-1]
    assert (event.seq, event.type) == (2, "state")
    assert event.payload == {
        "state": to.value,
        "from": start.value,
        "worker_id": "w",
        "reason": {"code": "c"},
    }


def test_looks_at_the_state_of_now_not_at_what_was_read(
    database: Database, submit_job: Callable[..., str], get: Callable[[str], Job]
) -> None:
    job_id = submit_job()
    with database.session() as session:
        seen = read.job(session, job_id)
        put(database, job_id, JobState.CANCELLED)
        assert seen.state is JobState.QUEUED
        with pytest.raises(InvalidStateError):
            transition(session, seen, JobState.CANCELLED)
    assert get(job_id).last_seq == 1


def test_the_event_and_the_move_are_one(
    database: Database, submit_job: Callable[..., str], get: Callable[[str], Job]
) -> None:
    job_id = submit_job()
    with database.session() as session:
        transition(session, lock_job(session, job_id), JobState.CANCELLED)
        session.flush()
        session.rollback()
    assert (get(job_id).state, get(job_id).last_seq) == (JobState.QUEUED, 1)
