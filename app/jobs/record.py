"""Write down what a child process reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db import Attempt, Checkpoint, Job, JobEvent, Json
from app.db.jsonb import storable_text
from app.domain import new_id
from app.jobs.append import append
from app.jobs.lock import lock_running
from app.jobs.points import NewPoint, store_points
from gogooku3.events import (
    CheckpointEvent,
    DatasetEvent,
    EndEvent,
    EpochEvent,
    Event,
    FailureEvent,
    ProgressEvent,
    ResumePointEvent,
    StageEvent,
    StartEvent,
    WarningEvent,
)


def record(session: Session, job_id: str, attempt: int, events: Sequence[Event]) -> int:
    """Store a batch of a trainer's events, in their order; returns the job's newest `seq`.

    Safe to repeat: an epoch, a checkpoint, a place in the run or a warning that is recorded
    already is dropped and uses up no number, so a batch whose commit was cut off and the epochs
    that a resumed trainer sends again do no harm. The `path`s of checkpoints and resume points
    must be relative to the artifacts folder already. `failure` and `end` are for `finish`,
    `dataset` is for `publish`.

    Raises StaleLeaseError when the attempt has lost the lease; nothing is stored then.
    """
    job = lock_running(session, job_id, attempt)
    known = _known_epochs(session, job_id, events)
    points: list[NewPoint] = []
    last_epoch = None
    for event in _newest_place_only(events):
        match event:
            case StartEvent():
                _start(session, job, event)
            case ProgressEvent():
                _progress(session, job, event)
            case StageEvent():
                _stage(session, job, event)
            case EpochEvent() if event.epoch not in known:
                known.add(event.epoch)
                points += _epoch(session, job, event)
                last_epoch = event.epoch
            case CheckpointEvent():
                _checkpoint(session, job, event)
            case ResumePointEvent():
                _update_attempt(session, job, resume_path=event.path)
            case WarningEvent():
                _warning(session, job, event)
            case EpochEvent() | FailureEvent() | EndEvent() | DatasetEvent():
                pass
    if last_epoch is not None:
        _update_attempt(session, job, last_epoch=last_epoch)
    store_points(session, job_id, attempt, points)
    session.flush()
    return job.last_seq


def _known_epochs(session: Session, job_id: str, events: Sequence[Event]) -> set[int]:
    told = [event.epoch for event in events if isinstance(event, EpochEvent)]
    if not told:
        return set()
    return {
        epoch
        for epoch in session.scalars(
            select(JobEvent.epoch).where(
                JobEvent.job_id == job_id, JobEvent.type == "epoch", JobEvent.epoch.in_(told)
            )
        )
        if epoch is not None
    }


def _newest_place_only(events: Sequence[Event]) -> Iterator[Event]:
    """The events without the progress that later progress of the same batch overtakes."""
    kinds = ProgressEvent | StageEvent
    places = [place for place, event in enumerate(events) if isinstance(event, kinds)]
    overtaken = set(places[:-1])
    return (event for place, event in enumerate(events) if place not in overtaken)


def _start(session: Session, job: Job, event: StartEvent) -> None:
    job.provenance = event.provenance
    pid = event.provenance.get("pid")
    if isinstance(pid, int):
        _update_attempt(session, job, pid=pid)


def _progress(session: Session, job: Job, event: ProgressEvent) -> None:
    place = {
        "epoch": event.epoch,
        "max_epochs": event.max_epochs,
        "step": event.step,
        "steps": event.steps,
    }
    before = job.progress or {}
    if all(before.get(name) == value for name, value in place.items()):
        return
    job.progress = {**before, **place, "eta_s": event.eta_s}
    append(session, job, "progress", {**place, "eta_s": event.eta_s})


def _stage(session: Session, job: Job, event: StageEvent) -> None:
    place = {"stage": storable_text(event.stage), "share": event.share, "eta_s": event.eta_s}
    if job.progress != place:
        job.progress = place
        append(session, job, "progress", place)


def _epoch(session: Session, job: Job, event: EpochEvent) -> list[NewPoint]:
    """Tell the epoch; its points are for the caller to store with those of others."""
    metrics = {
        storable_text(name): value if value is not None and math.isfinite(value) else None
        for name, value in event.metrics.items()
    }
    payload = {"epoch": event.epoch, "metrics": metrics, "duration_s": event.duration_s}
    append(session, job, "epoch", payload, epoch=event.epoch)
    before = job.progress or {}
    if event.epoch > before.get("epochs_done", 0):
        job.metrics = metrics
        job.progress = _after_epoch(job, before, event)
    return [NewPoint(name, event.epoch, value) for name, value in metrics.items()]


def _after_epoch(job: Job, before: Json, event: EpochEvent) -> Json:
    # The trainer knows best: a model in closed form has one epoch, whatever was asked.
    max_epochs = int(before.get("max_epochs") or job.config["max_epochs"])
    steps = before.get("steps")
    return {
        "epoch": event.epoch,
        "max_epochs": max_epochs,
        "epochs_done": event.epoch,
        "step": steps,
        "steps": steps,
        "eta_s": (max_epochs - event.epoch) * event.duration_s,
    }


def _checkpoint(session: Session, job: Job, event: CheckpointEvent) -> None:
    exists = select(Checkpoint.id).where(
        Checkpoint.job_id == job.id, Checkpoint.epoch == event.epoch
    )
    if session.scalar(exists) is not None:
        return
    # The best moves forward only: an epoch that is told late, after a run that went further was
    # lost, was the best of its time, not of all.
    newest_best = session.scalar(
        select(func.max(Checkpoint.epoch)).where(Checkpoint.job_id == job.id, Checkpoint.is_best)
    )
    is_best = event.is_best and event.epoch > (newest_best or 0)
    if is_best:
        session.execute(
            update(Checkpoint)
            .where(Checkpoint.job_id == job.id, Checkpoint.is_best)
            .values(is_best=False)
        )
        job.best = {"epoch": event.epoch, "metrics": event.metrics}
    checkpoint = Checkpoint(
        id=new_id("ckp"),
        job_id=job.id,
        attempt=job.attempt,
        epoch=event.epoch,
        path=event.path,
        size=event.size,
        sha256=event.sha256,
        metrics=event.metrics,
        is_best=is_best,
    )
    session.add(checkpoint)
    append(
        session,
        job,
        "checkpoint",
        {
            "id": checkpoint.id,
            "epoch": event.epoch,
            "size": event.size,
            "sha256": event.sha256,
            "is_best": is_best,
            "metrics": event.metrics,
        },
        epoch=event.epoch,
    )


def _warning(session: Session, job: Job, event: WarningEvent) -> None:
    payload = {"code": storable_text(event.code), "message": storable_text(event.message)}
    said = select(JobEvent.seq).where(
        JobEvent.job_id == job.id,
        JobEvent.type == "warning",
        JobEvent.attempt == job.attempt,
        JobEvent.payload == payload,
    )
    if session.scalar(said.limit(1)) is None:
        append(session, job, "warning", payload)


def _update_attempt(session: Session, job: Job, **values: object) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(**values)
    )
