"""What a trainer reports is written down once, in order, without gaps."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

import pytest
from sqlalchemy import func, select

from app.db import Attempt, Database, Job, JobEvent, MetricPoint
from app.domain import StaleLeaseError
from app.jobs import read
from app.jobs.claim import Claim
from app.jobs.reap import reap
from app.jobs.record import record
from gogooku3.events import (
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    Event,
    ProgressEvent,
    ResumePointEvent,
    StartEvent,
    WarningEvent,
)

Get = Callable[[str], Job]


def epoch(number: int, value: float | None = None) -> EpochEvent:
    rank_ic = number / 100 if value is None else value
    metrics = {"valid/rank_ic": rank_ic, "train/loss": 1.0 / number}
    return EpochEvent(epoch=number, metrics=metrics, duration_s=2.0)


def checkpoint(number: int, *, is_best: bool = True, attempt: int = 1) -> CheckpointEvent:
    return CheckpointEvent(
        epoch=number,
        path=f"job/attempt-{attempt}/epoch-{number:04d}.gk3",
        size=10,
        sha256="a" * 64,
        is_best=is_best,
        metrics={"valid/rank_ic": number / 100},
    )


def progress(number: int, step: int) -> ProgressEvent:
    return ProgressEvent(epoch=number, max_epochs=5, step=step, steps=10, eta_s=3.0)


@pytest.fixture
def tell(database: Database) -> Callable[..., int]:
    def tell_it(claim: Claim, *events: Event) -> int:
        with database.session() as session:
            return record(session, claim.job_id, claim.attempt, events)

    return tell_it


@pytest.fixture
def story(database: Database) -> Callable[[str], list[JobEvent]]:
    """A job's events; their numbers must be 1, 2, 3, ..."""

    def read_it(job_id: str) -> list[JobEvent]:
        with database.session() as session:
            events = list(read.events_after(session, job_id, limit=1000))
            last_seq = read.job(session, job_id).last_seq
        assert [event.seq for event in events] == list(range(1, last_seq + 1))
        return events

    return read_it


def types(events: list[JobEvent]) -> list[str]:
    return [event.type for event in events]


def test_a_run_as_it_is_told(
    running: Claim, tell: Callable[..., int], story: Callable[..., list[JobEvent]], get: Get
) -> None:
    tell(running, StartEvent(provenance={"device": "cpu", "pid": 4711}))
    tell(running, progress(1, 3))
    last = tell(
        running, epoch(1), checkpoint(1), ResumePointEvent(epoch=1, step=0, path="job/r.pt")
    )
    events = story(running.job_id)
    assert types(events) == ["state", "state", "progress", "epoch", "checkpoint"]
    assert last == 5
    assert events[3].payload == {
        "epoch": 1,
        "metrics": {"valid/rank_ic": 0.01, "train/loss": 1.0},
        "duration_s": 2.0,
    }
    assert (events[3].epoch, events[3].attempt) == (1, 1)
    assert "path" not in events[4].payload
    job = get(running.job_id)
    assert job.provenance == {"device": "cpu", "pid": 4711}
    assert job.metrics == {"valid/rank_ic": 0.01, "train/loss": 1.0}
    assert job.best == {"epoch": 1, "metrics": {"valid/rank_ic": 0.01}}
    assert job.progress == {
        "epoch": 1,
        "max_epochs": 5,
        "epochs_done": 1,
        "step": 10,
        "steps": 10,
        "eta_s": 8.0,
    }


def test_the_attempt_remembers(
    running: Claim, tell: Callable[..., int], database: Database
) -> None:
    tell(
        running,
        StartEvent(provenance={"pid": 4711}),
        epoch(1),
        ResumePointEvent(epoch=1, step=0, path="job/attempt-1/resume.pt"),
    )
    with database.session() as session:
        [attempt] = read.attempts(session, running.job_id)
    assert (attempt.pid, attempt.last_epoch) == (4711, 1)
    assert attempt.resume_path == "job/attempt-1/resume.pt"


def test_every_change_that_a_client_sees_grows_the_version(
    running: Claim, tell: Callable[..., int], get: Get
) -> None:
    seen = [get(running.job_id).version]
    for event in (progress(1, 1), epoch(1), checkpoint(1)):
        tell(running, event)
        seen.append(get(running.job_id).version)
    assert seen == sorted(set(seen))


def test_a_batch_sent_twice_changes_nothing(
    running: Claim, tell: Callable[..., int], story: Callable[..., list[JobEvent]], get: Get
) -> None:
    batch = (
        StartEvent(provenance={"pid": 1}),
        WarningEvent(code="w", message="m"),
        epoch(1),
        checkpoint(1),
        progress(2, 5),
    )
    first = tell(running, *batch)
    before = get(running.job_id).progress
    assert tell(running, *batch) == first
    assert types(story(running.job_id))[2:] == ["warning", "epoch", "checkpoint", "progress"]
    assert get(running.job_id).progress == before


def test_an_epoch_twice_in_one_batch(
    running: Claim, tell: Callable[..., int], story: Callable[..., list[JobEvent]]
) -> None:
    tell(running, epoch(1, 0.5), epoch(1, 0.9), epoch(2), epoch(1))
    told = [event.payload["epoch"] for event in story(running.job_id) if event.type == "epoch"]
    assert told == [1, 2]


def test_a_resumed_run_repeats_itself_and_nobody_notices(
    running: Claim,
    tell: Callable[..., int],
    take: Callable[..., Claim],
    expire: Callable[[str], None],
    ready: Callable[[], None],
    database: Database,
    story: Callable[..., list[JobEvent]],
    get: Get,
) -> None:
    tell(
        running,
        epoch(1),
        checkpoint(1),
        ResumePointEvent(epoch=1, step=0, path="job/attempt-1/resume.pt"),
        epoch(2),
    )
    # The worker dies here: the checkpoint of epoch 2 was never recorded.
    expire(running.job_id)
    with database.session() as session:
        reap(session)
    ready()
    again = take()
    assert (again.attempt, again.resume_path) == (2, "job/attempt-1/resume.pt")
    assert again.recorded_epoch == 1
    tell(again, epoch(2, 0.99), checkpoint(2, attempt=1), epoch(3), checkpoint(3, attempt=2))
    events = story(running.job_id)
    told = [event.payload["epoch"] for event in events if event.type == "epoch"]
    kept = [event.payload["epoch"] for event in events if event.type == "checkpoint"]
    assert (told, kept) == ([1, 2, 3], [1, 2, 3])
    with database.session() as session:
        points = session.execute(
            select(MetricPoint.step, MetricPoint.value, MetricPoint.attempt)
            .where(MetricPoint.name == "valid/rank_ic")
            .order_by(MetricPoint.step)
        ).all()
        best = read.best_checkpoint(session, running.job_id)
        assert read.last_checkpoint(session, running.job_id).id == best.id
        assert [a.last_epoch for a in read.attempts(session, running.job_id)] == [2, 3]
    assert points == [(1, 0.01, 1), (2, 0.02, 1), (3, 0.03, 2)]
    assert best.epoch == 3
    assert get(running.job_id).best == {"epoch": 3, "metrics": {"valid/rank_ic": 0.03}}


def test_a_restart_from_the_beginning_does_not_turn_back_the_clock(
    running: Claim, tell: Callable[..., int], get: Get, database: Database
) -> None:
    tell(running, epoch(1), checkpoint(1), epoch(2), epoch(3), checkpoint(3))
    before = get(running.job_id)
    tell(running, epoch(1, 0.9), checkpoint(1), epoch(2, 0.9), checkpoint(2))
    after = get(running.job_id)
    assert after.metrics == before.metrics
    assert after.best == before.best
    assert after.progress == before.progress
    with database.session() as session:
        kept = [(one.epoch, one.is_best) for one in read.checkpoints(session, running.job_id)]
    assert kept == [(3, True), (2, False), (1, False)]


def test_the_last_checkpoint_need_not_be_the_best(
    running: Claim, tell: Callable[..., int], database: Database
) -> None:
    tell(running, checkpoint(1), checkpoint(2), checkpoint(5, is_best=False))
    with database.session() as session:
        assert read.best_checkpoint(session, running.job_id).epoch == 2
        assert read.last_checkpoint(session, running.job_id).epoch == 5


def test_undefined_numbers_are_null(
    running: Claim, tell: Callable[..., int], database: Database, get: Get
) -> None:
    metrics = {"valid/ic": nan, "valid/icir": inf, "valid/sharpe": None, "valid/loss": 0.5}
    tell(
        running,
        StartEvent(provenance={"loss_scale": nan, "name": "a\x00b"}),
        EpochEvent(epoch=1, metrics=metrics, duration_s=inf),
        checkpoint(1).model_copy(update={"metrics": metrics}),
        ProgressEvent(epoch=2, max_epochs=5, step=0, steps=10, eta_s=nan),
        WarningEvent(code="w", message="half a pair \ud800, a nul \x00"),
        WarningEvent(code="w", message="half a pair \ud800, a nul \x00"),
    )
    known = {"valid/ic": None, "valid/icir": None, "valid/sharpe": None, "valid/loss": 0.5}
    job = get(running.job_id)
    assert job.metrics == known
    assert job.best == {"epoch": 1, "metrics": known}
    assert job.provenance == {"loss_scale": None, "name": "a\ufffdb"}
    assert job.progress is not None
    assert job.progress["eta_s"] is None
    with database.session() as session:
        points = dict(session.execute(select(MetricPoint.name, MetricPoint.value)).all())
        warnings = session.scalar(
            select(func.count()).select_from(JobEvent).where(JobEvent.type == "warning")
        )
    assert points == known
    assert warnings == 1


def test_only_the_newest_place_of_a_batch_is_told(
    running: Claim, tell: Callable[..., int], story: Callable[..., list[JobEvent]]
) -> None:
    tell(running, progress(1, 1), progress(1, 2), progress(1, 3))
    told = [event.payload for event in story(running.job_id) if event.type == "progress"]
    assert [payload["step"] for payload in told] == [3]


def test_the_end_is_not_records_to_tell(running: Claim, tell: Callable[..., int], get: Get) -> None:
    seq = tell(running, EndEvent(outcome="completed", best_epoch=1, best_metrics={}))
    assert (seq, get(running.job_id).state.value) == (2, "running")


def test_a_stale_attempt_writes_nothing_and_is_counted(
    running: Claim,
    tell: Callable[..., int],
    take: Callable[..., Claim],
    expire: Callable[[str], None],
    ready: Callable[[], None],
    database: Database,
    story: Callable[..., list[JobEvent]],
) -> None:
    expire(running.job_id)
    with database.session() as session:
        reap(session)
    before = types(story(running.job_id))
    with pytest.raises(StaleLeaseError, match="attempt 1"):
        tell(running, epoch(1), checkpoint(1))
    ready()
    again = take()
    with pytest.raises(StaleLeaseError):
        tell(running, epoch(1), checkpoint(1))
    assert types(story(running.job_id)) == [*before, "state"]
    tell(again, epoch(1))
    with database.session() as session:
        stale = session.scalars(select(Attempt.stale_writes).order_by(Attempt.number)).all()
        assert session.scalars(select(MetricPoint.attempt).distinct()).all() == [2]
        assert list(read.checkpoints(session, running.job_id)) == []
    assert stale == [2, 0]
