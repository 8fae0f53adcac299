"""Give the best queued job to a worker's free slots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true, update
from sqlalchemy.orm import Session

from app.db import ApiKey, Attempt, Job, JobEvent, Json, Worker
from app.domain import FailureClass, JobKind, JobState
from app.jobs.append import append
from app.jobs.offer import Offer
from app.jobs.outcome import Outcome, settle
from app.jobs.submit import TrialRun
from app.jobs.transition import transition
from app.jobs.workers import ALIVE_S, is_alive
from gogooku3.config import DatasetConfig, LimitsConfig, ResourcesConfig, TrainConfig


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds from now on, and everything it needs to run it."""

    job_id: str
    attempt: int
    """The fencing token: goes with every later write."""
    slots: tuple[int, ...]
    """The worker's slots that it holds."""
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
    trial: TrialRun | None
    """Of a sweep's trial: which run it is."""
    request_id: str | None
    """Of the request that submitted it, for the logs."""
    recorded_epoch: int
    """Everything up to this epoch is recorded for certain; later ones may be sent again."""


def claim(session: Session, *, worker_id: str, lease_s: float, offer: Offer) -> Claim | None:
    """Take the queued job of the highest priority, then of the first place, that there is room for;
    None if there is none.

    However many workers ask at once, a job goes to one of them. Jobs wait while their back-off
    lasts, while their API key runs as many as it may, and, on a worker without a GPU, while a
    living worker has the GPU they ask for. A job that needs more GPUs than are free, but not more
    than the worker has, is not overtaken by others that need a GPU: this worker keeps its free ones
    for that job until enough have come together, here or on another worker.
    """
    busy_keys: set[str] = set()
    while (job := _next(session, worker_id, offer, busy_keys)) is not None:
        if job.api_key_id is not None and _is_busy(session, job.api_key_id):
            busy_keys.add(job.api_key_id)
            continue
        slots = offer.slots_for(job.gpus)
        if not slots:
            _gather(session, job, worker_id)
            offer = offer.without_gpus()
            continue
        claimed = _start(session, job, worker_id, lease_s, slots)
        if claimed is None:
            continue
        if job.resources["gpus"] and not offer.gpus:
            append(
                session,
                job,
                "warning",
                {
                    "code": "no-gpu",
                    "message": "The job asks for a GPU and no worker has one: it trains on the "
                    "CPU.",
                },
            )
        session.flush()
        return claimed
    return None


def claimable(offer: Offer) -> ColumnElement[bool]:
    """The condition on a job's row for a worker with this offer to take it now, or to gather GPUs
    for it."""
    kinds: list[ColumnElement[bool]] = []
    if offer.cpu:
        kinds.append(Job.gpus == 0)
    if offer.cpu and not offer.gpus:
        kinds.append(and_(Job.gpus > 0, ~gpu_worker().exists()))
    if offer.gpu:
        kinds.append(Job.gpus.between(1, offer.gpus))
    return and_(
        Job.state == JobState.QUEUED,
        or_(Job.not_before.is_(None), Job.not_before <= func.now()),
        or_(false(), *kinds),
    )


def gpu_worker() -> Select[str]:
    """The living workers that have a GPU."""
    return select(Worker.id).where(func.cardinality(Worker.gpus) > 0, is_alive())


def queued_count(session: Session, offer: Offer) -> int:
    """How many jobs a worker could take now."""
    return session.scalar(select(func.count()).select_from(Job).where(claimable(offer))) or 0


def _next(session: Session, worker_id: str, offer: Offer, busy_keys: set[str]) -> Job | None:
    if not offer.has_room:
        return None
    allowed = or_(Job.api_key_id.is_(None), Job.api_key_id.not_in(sorted(busy_keys)))
    # One worker gathers GPUs for a job; another takes it only if it has enough at once.
    mine = or_(
        Job.gpus <= len(offer.gpu),
        Job.gathered_by.is_(None),
        Job.gathered_by == worker_id,
        Job.gathered_until < func.now(),
    )
    if not offer.gpu:
        mine = true()
    statement = (
        select(Job)
        .where(claimable(offer), allowed, mine)
        .order_by(Job.priority.desc(), Job.place, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalar(statement, execution_options={"populate_existing": True})


def _gather(session: Session, job: Job, worker_id: str) -> None:
    """Keep the worker's free GPUs for the job, for as long as the worker says so again."""
    session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(
            gathered_by=worker_id,
            gathered_until=func.now() + timedelta(seconds=ALIVE_S),
            # Nothing that a client sees has changed.
            version=Job.version,
            updated_at=Job.updated_at,
        )
        .execution_options(synchronize_session=False)
    )


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
    session: Session, job: Job, worker_id: str, lease_s: float, slots: tuple[int, ...]
) -> Claim | None:
    """Move a locked job to running. None if what is stored of it is no longer valid: such a job
    fails, so that it does not stand in the way of the others."""
    lease_owner = f"{worker_id}/{'+'.join(map(str, slots))}"
    job.attempt += 1
    job.attempts_used += 1
    job.gathered_by = job.gathered_until = None
    session.add(
        Attempt(
            job_id=job.id,
            number=job.attempt,
            worker_id=worker_id,
            lease_owner=lease_owner,
            slot=slots[0],
            slots=list(slots),
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
        slots=slots,
        config=config,
        dataset=job.dataset,
        dataset_fingerprint=job.dataset_fingerprint,
        resources=resources,
        limits=limits,
        resume_path=_resume_path(session, job),
        forgotten_attempt=job.forgotten_attempt,
        trial=_trial(job),
        request_id=job.request_id,
        recorded_epoch=_recorded_epoch(session, job.id),
    )


def _trial(job: Job) -> TrialRun | None:
    if job.sweep_id is None or job.trial_number is None or job.seed_index is None:
        return None
    return TrialRun(job.sweep_id, job.trial_number, job.seed_index)


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
