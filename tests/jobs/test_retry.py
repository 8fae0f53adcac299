"""Trying an ended job again: from its last state, or from scratch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Checkpoint, Database, Job, JobEvent
from app.domain import InvalidStateError, JobState, NotFoundError, Scope, TooManyJobsError
from app.jobs import keys, read
from app.jobs import retry as retry_module
from app.jobs.cancel import cancel
from app.jobs.claim import Claim
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.pause import pause
from app.jobs.record import record
from app.jobs.retry import retry
from gogooku3.data.header import DatasetHeader
from gogooku3.events import CheckpointEvent, EpochEvent, ResumePointEvent

Act = Callable[..., Job]
REASON = {"class": "user", "code": "bad", "message": "m", "next_action": None}


@pytest.fixture
def act(database: Database) -> Act:
    def act_once(what: Callable[..., Any], *values: Any, **more: Any) -> Any:
        with database.session() as session:
            return what(session, *values, **more)

    return act_once


@pytest.fixture
def again(
    act: Act, caches: Path, header: DatasetHeader, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Job]:
    """Retry with the dataset as `header` says it is."""
    monkeypatch.setattr(retry_module, "read_header", lambda _path: header)
    return lambda job_id, **more: act(retry, job_id, caches=caches, **more)


@pytest.fixture
def failed(running: Claim, act: Act) -> str:
    """A job that failed in its third epoch."""
    for epoch in (1, 2):
        act(
            record,
            running.job_id,
            1,
            [
                EpochEvent(epoch=epoch, metrics={"valid/rank_ic": 0.1}, duration_s=1.0),
                CheckpointEvent(
                    epoch=epoch, path=f"e{epoch}", size=1, sha256="0", is_best=True, metrics={}
                ),
                ResumePointEvent(epoch=epoch, step=0, path="resume.pt"),
            ],
        )
    act(finish, running.job_id, 1, outcome=Outcome.FAILED, reason=REASON)
    return running.job_id


def test_a_failed_job_goes_on_from_its_last_state(
    failed: str, again: Callable[..., Job], take: Callable[..., Claim]
) -> None:
    job = again(failed)
    assert job.state is JobState.QUEUED
    assert (job.retries, job.attempts_used, job.reason, job.finished_at) == (1, 0, None, None)
    assert job.best is not None
    claimed = take()
    assert (claimed.attempt, claimed.resume_path, claimed.recorded_epoch) == (2, "resume.pt", 1)


def test_a_cancelled_job_can_be_tried_again(
    running: Claim, act: Act, again: Callable[..., Job], take: Callable[..., Claim]
) -> None:
    act(cancel, running.job_id, force=True)
    act(finish, running.job_id, 1, outcome=Outcome.CANCELLED)
    job = again(running.job_id)
    assert (job.state, job.cancel_requested_at) == (JobState.QUEUED, None)
    assert job.force_requested is False
    assert take().attempt == 2


def test_from_scratch_everything_is_done_anew(
    failed: str,
    again: Callable[..., Job],
    take: Callable[..., Claim],
    act: Act,
    database: Database,
) -> None:
    job = again(failed, from_scratch=True)
    assert (job.best, job.metrics, job.progress) == (None, None, None)
    claimed = take()
    assert (claimed.resume_path, claimed.recorded_epoch, claimed.forgotten_attempt) == (None, 0, 1)
    again_1 = EpochEvent(epoch=1, metrics={"valid/rank_ic": 0.5}, duration_s=1.0)
    act(record, failed, 2, [again_1])
    act(record, failed, 2, [again_1])
    with database.session() as session:
        assert session.scalars(select(Checkpoint)).all() == []
        (series,) = read.metric_series(session, failed)
        assert [(point.step, point.value) for point in series.points] == [(1, 0.5)]
        events = session.scalars(
            select(JobEvent).where(JobEvent.type == "epoch").order_by(JobEvent.seq)
        ).all()
    # What happened stays told, and the new epoch is told once.
    assert [(e.attempt, e.payload["epoch"]) for e in events] == [(1, 1), (1, 2), (2, 1)]


def test_it_queues_behind_all_others(
    failed: str,
    again: Callable[..., Job],
    submit_job: Callable[..., str],
    take: Callable[..., Claim],
) -> None:
    other = submit_job()
    again(failed)
    assert [take().job_id, take().job_id] == [other, failed]


def test_repeating_it_is_doing_it_once(
    failed: str, again: Callable[..., Job], take: Callable[..., Claim], database: Database
) -> None:
    again(failed)
    assert again(failed).retries == 1
    take()
    assert again(failed).state is JobState.RUNNING
    with database.session() as session:
        states = [
            e.payload["state"] for e in read.events_after(session, failed) if e.type == "state"
        ]
    assert states == ["queued", "running", "failed", "queued", "running"]


def test_only_what_has_failed_or_was_cancelled(
    submit_job: Callable[..., str],
    again: Callable[..., Job],
    take: Callable[..., Claim],
    act: Act,
) -> None:
    job_id = submit_job()
    with pytest.raises(InvalidStateError, match="queued"):
        again(job_id)
    act(pause, job_id)
    with pytest.raises(InvalidStateError, match="paused"):
        again(job_id)
    done = submit_job()
    take()
    act(finish, done, 1, outcome=Outcome.SUCCEEDED)
    with pytest.raises(InvalidStateError, match="succeeded"):
        again(done)
    with pytest.raises(NotFoundError):
        again("job_none")


def test_the_dataset_must_be_what_it_was(
    failed: str, act: Act, caches: Path, header: DatasetHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidStateError, match="cannot be used"):
        act(retry, failed, caches=caches)  # an empty file
    changed = type(header)(**{**header.__dict__, "fingerprint": "0" * 64})
    monkeypatch.setattr(retry_module, "read_header", lambda _path: changed)
    with pytest.raises(InvalidStateError, match="clone the job"):
        act(retry, failed, caches=caches)


def test_a_keys_limit_holds(
    submit_job: Callable[..., str], act: Act, again: Callable[..., Job]
) -> None:
    key_id = act(keys.create, "one", Scope.SUBMIT, max_queued=1)[0].id
    job_id = submit_job(api_key_id=key_id)
    act(cancel, job_id)
    submit_job(api_key_id=key_id)
    with pytest.raises(TooManyJobsError):
        again(job_id)
