"""Try a job again that has failed or was cancelled."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.db import Checkpoint, Job, JobEvent, MetricBlock, MetricPoint, Trial
from app.db.job import PLACES
from app.domain import InvalidStateError, JobKind, JobState
from app.jobs import datasets
from app.jobs.lock import keep_remains, lock_job, written
from app.jobs.submit import check_limit, claim_name
from app.jobs.transition import transition
from gogooku3.data.header import SUFFIX, read_header
from gogooku3.errors import DatasetError

RETRYABLE = frozenset({JobState.FAILED, JobState.CANCELLED})


def retry(session: Session, job_id: str, *, caches: Path, from_scratch: bool = False) -> Job:
    """Queue a failed or cancelled job again, behind all others, with all its attempts to use.

    It goes on from its last resume state. With `from_scratch` it begins anew: its metrics and
    checkpoints are forgotten (its events stay, as what happened). Repeating it, while the job
    waits or runs, changes nothing. Ring the doorbell after the commit.

    Raises NotFoundError, TooManyJobsError; InvalidStateError when there is nothing to try again or
    the dataset is no longer what it was; DatasetInUseError or DatasetExistsError when it is about
    to be replaced, or cannot be built.
    """
    job = lock_job(session, job_id)
    if job.state in {JobState.QUEUED, JobState.RUNNING} and job.retries:
        return job
    if job.state not in RETRYABLE:
        raise InvalidStateError(
            f"job {job.id} is {job.state.value}; only a failed or cancelled job can be tried again"
        )
    _refuse_counted(session, job)
    keep_remains(session, job.id)
    if job.kind == JobKind.DATASET:
        claim_name(session, job.dataset, caches, replace=bool(job.spec.get("replace", False)))
    else:
        _keep_dataset(session, job, caches)
    if job.api_key_id is not None:
        check_limit(session, job.api_key_id)
    if from_scratch:
        _forget(session, job)
    job.retries += 1
    job.attempts_used = job.releases = 0
    job.cancel_requested_at = job.not_before = job.finished_at = None
    job.force_requested = False
    job.queued_at = func.now()
    job.place = Decimal(session.scalars(select(PLACES.next_value())).one())
    transition(session, job, JobState.QUEUED, payload={"retry": job.retries})
    return written(session, job)


def _refuse_counted(session: Session, job: Job) -> None:
    """A sweep has drawn its conclusions from the end of a trial."""
    if job.sweep_id is None:
        return
    trial = session.get_one(Trial, (job.sweep_id, job.trial_number))
    if trial.outcome is not None:
        raise InvalidStateError(
            f"sweep {job.sweep_id} has counted its trial {trial.number} as {trial.outcome}; clone "
            "the job to run it again"
        )


def _keep_dataset(session: Session, job: Job, caches: Path) -> None:
    datasets.share(session, job.dataset)
    building = datasets.live_builds(session, job.dataset)
    datasets.refuse_use(job.dataset, building, "wait for or cancel the job that replaces")
    try:
        fingerprint = read_header(caches / f"{job.dataset}{SUFFIX}").fingerprint
    except DatasetError as error:
        raise InvalidStateError(f"dataset {job.dataset!r} cannot be used: {error.code}") from error
    if fingerprint != job.dataset_fingerprint:
        raise InvalidStateError(
            f"dataset {job.dataset!r} has been replaced since job {job.id} was submitted; "
            "clone the job to train on what it is now"
        )


def _forget(session: Session, job: Job) -> None:
    """Let nothing of the attempts so far be gone on with. Their files are for the worker of the
    next attempt to remove."""
    job.forgotten_attempt = job.attempt
    job.progress = job.metrics = job.best = None
    for table in (MetricPoint, MetricBlock, Checkpoint):
        session.execute(delete(table).where(table.job_id == job.id))
    # The number is what keeps an epoch from being recorded twice; the event's payload has it too.
    session.execute(
        update(JobEvent)
        .where(JobEvent.job_id == job.id, JobEvent.epoch.is_not(None))
        .values(epoch=None)
    )
