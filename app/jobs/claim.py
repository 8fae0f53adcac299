"""Give the best queued job to a worker's slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from app.db import ApiKey, Attempt, Job, JobEvent, Json, Worker
from app.domain import FailureClass, JobKind, JobState
from app.jobs.append import append
from app.jobs.outcome import Outcome, settle
from app.jobs.transition import transition
from app.jobs.workers import ALIVE_S
from gogooku3.config import DatasetConfig, LimitsConfig, ResourcesConfig, TrainConfig


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds from now on, and everything it needs to run it."""

    job_id: str
    attempt: int
    """The fencing token: goes with every later write."""
    config: TrainConfig | DatasetConfig
    """What to train, or what to build."""
    dataset: str
    dataset_fingerprint: str | None
    """Of the dataset when the job was submitted; None = it is still to be built."""
    resources: ResourcesConfig
    limits: LimitsConfig
    resume_path: str | None
    """Resume state of an earlier attempt, relative to the artifacts folder."""
    forgotten_attempt: int
    """What attempts up to this one left behind is not wanted any more."""
    recorded_epoch: int
    """Everything up to this epoch is recorded for certain; later ones may be sent again."""


def claim(
    session: Session,
    *,
    worker_id: str,
    lease_owner: str,
    lease_s: float,
    slot: int,
    has_gpu: bool,
) -> Claim | None:
    """Take the queued job of the highest priority, then of the first place; None if there is none.

    However many workers ask at once, a job goes to one of them. Jobs wait while their back-off
    lasts, while their API key runs as many as it may, and, on a worker without a GPU, while a
    living worker has the GPU they ask for.
    """
    busy_keys: set[str] = set()
    while (job := _next(session, has_gpu=has_gpu, busy_keys=busy_keys)) is not None:
        if job.api_key_id is not None and _is_busy(session, job.api_key_id):
            busy_keys.add(job.api_key_id)
            continue
        claimed = _start(session, job, worker_id, lease_owner, lease_s, slot)
        if claimed is None:
            continue
        if claimed.resources.gpus and not has_gpu:
            append(
                session,
                job,
                "warning",
                {
                    "code": "no-gpu",
                    "message": "The job asks for a GPU and this worker has none: "
                    "it trains on the CPU.",
                },
            )
        session.flush()
        return claimed
    return None


def claimable(*, has_gpu: bool) -> ColumnElement[bool]:
    """The condition on a job's row for a worker to take it now."""
    ready = and_(
        Job.state == JobState.QUEUED,
        or_(Job.not_before.is_(None), Job.not_before <= func.now()),
    )
    if has_gpu:
        return ready
    gpu_worker = (
        select(Worker.id)
        .where(
            Worker.device != "cpu",
            Worker.stopped_at.is_(None),
            Worker.heartbeat_at > func.now() - timedelta(seconds=ALIVE_S),
        )
        .exists()
    )
    return and_(ready, or_(Job.resources["gpus"].as_integer() == 0, ~gpu_worker))


def queued_count(session: Session, *, has_gpu: bool = True) -> int:
    """How many jobs a worker could take now."""
    statement = select(func.count()).select_from(Job).where(claimable(has_gpu=has_gpu))
    return session.scalar(statement) or 0


def _next(session: Session, *, has_gpu: bool, busy_keys: set[str]) -> Job | None:
    allowed = or_(Job.api_key_id.is_(None), Job.api_key_id.not_in(sorted(busy_keys)))
    statement = (
        select(Job)
        .where(claimable(has_gpu=has_gpu), allowed)
        .order_by(Job.priority.desc(), Job.place, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalar(statement, execution_options={"populate_existing": True})


def _is_busy(session: Session, api_key_id: str) -> bool:
    """Whether the key runs as many jobs as it may; counted under its lock, so that two workers
    do not both take the last place."""
    limit = session.scalar(select(ApiKey.max_running).where(ApiKey.id == api_key_id))
    if limit is None:
        return False
    session.execute(
        select(ApiKey.id).where(ApiKey.id == api_key_id).with_for_update(key_share=True)
    )
    running = session.scalar(
        select(func.count())
        .select_from(Job)
        .where(Job.api_key_id == api_key_id, Job.state == JobState.RUNNING)
    )
    return (running or 0) >= limit


def _start(
    session: Session, job: Job, worker_id: str, lease_owner: str, lease_s: float, slot: int
) -> Claim | None:
    """Move a locked job to running. None if what is stored of it is no longer valid: such a job
    fails, so that it does not stand in the way of the others."""
    job.attempt += 1
    job.attempts_used += 1
    session.add(
        Attempt(
            job_id=job.id,
            number=job.attempt,
            worker_id=worker_id,
            lease_owner=lease_owner,
            slot=slot,
        )
    )
    transition(session, job, JobState.RUNNING, payload={"worker_id": worker_id})
    job.lease_owner = lease_owner
    job.lease_until = func.now() + timedelta(seconds=lease_s)
    try:
        config: TrainConfig | DatasetConfig
        if job.kind == JobKind.DATASET:
            config = DatasetConfig.model_validate(job.config)
        else:
            config = TrainConfig.model_validate(job.config)
        resources = ResourcesConfig.model_validate(job.resources)
        limits = LimitsConfig.model_validate(job.limits)
    except ValidationError as error:
        settle(session, job, Outcome.FAILED, _outdated(error))
        return None
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        config=config,
        dataset=job.dataset,
        dataset_fingerprint=job.dataset_fingerprint,
        resources=resources,
        limits=limits,
        resume_path=_resume_path(session, job),
        forgotten_attempt=job.forgotten_attempt,
        recorded_epoch=_recorded_epoch(session, job.id),
    )


def _outdated(error: ValidationError) -> Json:
    first = error.errors(include_url=False)[0]
    return {
        "class": FailureClass.USER.value,
        "code": "spec-outdated",
        "message": "This version of the server no longer accepts the stored configuration: "
        f"{'.'.join(map(str, first['loc']))}: {first['msg']}.",
        "next_action": "Submit the job again.",
    }


def _resume_path(session: Session, job: Job) -> str | None:
    return session.scalar(
        select(Attempt.resume_path)
        .where(
            Attempt.job_id == job.id,
            Attempt.number > job.forgotten_attempt,
            Attempt.resume_path.is_not(None),
        )
        .order_by(Attempt.number.desc())
        .limit(1)
    )


def _recorded_epoch(session: Session, job_id: str) -> int:
    """One less than the newest epoch: the worker may have died between recording that epoch and
    its checkpoint, so both are asked for again, and `record` drops what it has."""
    newest = session.scalar(
        select(func.max(JobEvent.epoch)).where(JobEvent.job_id == job_id, JobEvent.type == "epoch")
    )
    return max((newest or 0) - 1, 0)
