"""Accept a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.db import ApiKey, Job, JobEvent, Json
from app.db.trail import current_request_id
from app.domain import (
    DatasetExistsError,
    InvalidSpecError,
    JobKind,
    JobState,
    NotFoundError,
    TooManyJobsError,
    new_id,
)
from app.jobs import datasets
from gogooku3.config import DatasetSpec, JobSpec, Problem, config_sources
from gogooku3.data.header import SUFFIX, DatasetHeader
from gogooku3.errors import DatasetNotFoundError


@dataclass(frozen=True)
class TrialRun:
    """Which run of which trial of a sweep a job is."""

    sweep_id: str
    number: int
    seed_index: int
    """Of the trial's seeds, from 0."""


def submit(
    session: Session,
    spec: JobSpec,
    *,
    given: dict[str, Any],
    header: DatasetHeader,
    api_key_id: str | None = None,
    parent_id: str | None = None,
    trial: TrialRun | None = None,
) -> Job:
    """Store a checked job as queued, with its effective configuration and its first event.

    `given` is what the client sent: it is kept, and tells which values came from the client;
    `parent_id` is the job that this one is a clone of.
    Ring the doorbell after the commit. Raises TooManyJobsError at the key's limit,
    DatasetInUseError when the dataset is about to be replaced, and InvalidSpecError when it was
    deleted after `header` was read.
    """
    datasets.share(session, spec.dataset)
    building = datasets.live_builds(session, spec.dataset)
    datasets.refuse_use(spec.dataset, building, "wait for or cancel the job that replaces")
    if not header.path.is_file():
        message = f"dataset {spec.dataset!r} has just been deleted"
        raise InvalidSpecError([Problem("/dataset", DatasetNotFoundError.code, message)])
    if api_key_id is not None:
        check_limit(session, api_key_id)
    job = Job(
        **row_of(spec, given, header, api_key_id),
        parent_id=parent_id,
        sweep_id=trial and trial.sweep_id,
        trial_number=trial and trial.number,
        seed_index=trial and trial.seed_index,
    )
    return _enqueue(session, job)


def row_of(
    spec: JobSpec, given: dict[str, Any], header: DatasetHeader, api_key_id: str | None
) -> Json:
    """The columns of a new training job."""
    return {
        "id": new_id("job"),
        "kind": JobKind.TRAIN,
        "name": spec.name or f"{spec.config.model.kind} on {spec.dataset}",
        "state": JobState.QUEUED,
        "dataset": spec.dataset,
        "dataset_fingerprint": header.fingerprint,
        "labels": spec.labels,
        "priority": spec.priority,
        "note": spec.note,
        "spec": given,
        "config": spec.config.model_dump(mode="json"),
        "config_sources": dict(config_sources(spec.config, given.get("config"))),
        "resources": spec.resources.model_dump(mode="json"),
        "limits": spec.limits.model_dump(mode="json"),
        "attempt": 0,
        "attempts_used": 0,
        "last_seq": 1,
        "force_requested": False,
        "api_key_id": api_key_id,
        "request_id": current_request_id(),
    }


def submit_build(
    session: Session,
    spec: DatasetSpec,
    *,
    given: dict[str, Any],
    caches: Path,
    api_key_id: str | None = None,
    parent_id: str | None = None,
) -> Job:
    """Store a checked build as queued; otherwise as `submit`.

    Raises DatasetExistsError, or DatasetInUseError naming the jobs that build the dataset already
    or use the one that is to be replaced; and TooManyJobsError.
    """
    claim_name(session, spec.name, caches, replace=spec.replace)
    if api_key_id is not None:
        check_limit(session, api_key_id)
    job = Job(
        id=new_id("job"),
        kind=JobKind.DATASET,
        name=f"build of {spec.name}",
        state=JobState.QUEUED,
        dataset=spec.name,
        dataset_fingerprint=None,
        labels=spec.labels,
        priority=spec.priority,
        note=spec.note,
        spec=given,
        config=spec.config.model_dump(mode="json"),
        config_sources=dict(config_sources(spec.config, given)),
        resources={"gpus": 0, **spec.resources.model_dump(mode="json")},
        limits=spec.limits.model_dump(mode="json"),
        attempt=0,
        last_seq=1,
        api_key_id=api_key_id,
        parent_id=parent_id,
        request_id=current_request_id(),
    )
    return _enqueue(session, job)


def claim_name(session: Session, name: str, caches: Path, *, replace: bool) -> None:
    """Make sure that a dataset of this name may be built, until the transaction ends.

    Raises DatasetExistsError, or DatasetInUseError naming the jobs and sweeps in the way.
    """
    datasets.own(session, name)
    building = datasets.live_builds(session, name)
    datasets.refuse_use(name, building, "wait for or cancel the job that builds")
    if (caches / f"{name}{SUFFIX}").exists() and not replace:
        raise DatasetExistsError(
            f"there is a dataset {name!r} already; choose another name, delete it, or say "
            "`replace: true`"
        )
    datasets.refuse_use(name, datasets.live_users(session, name), "wait for or cancel what uses")


def check_limit(session: Session, api_key_id: str) -> None:
    """Raise TooManyJobsError when the key has as many queued jobs as it may.

    Counted under the key's lock, so that requests at the same time do not all see the last free
    place.
    """
    statement = select(ApiKey).where(ApiKey.id == api_key_id)
    key = session.scalar(statement)
    if key is None:
        raise NotFoundError(f"no API key {api_key_id!r}")
    if key.max_queued is None:
        return
    session.execute(statement.with_for_update(key_share=True))
    queued = session.scalar(
        select(func.count())
        .select_from(Job)
        .where(Job.api_key_id == api_key_id, Job.state == JobState.QUEUED)
    )
    if (queued or 0) >= key.max_queued:
        raise TooManyJobsError(
            f"this API key has {queued} queued jobs, as many as it may; wait for one to start"
        )


def _enqueue(session: Session, job: Job) -> Job:
    """Store the job and its first event."""
    session.add(job)
    session.flush()
    session.execute(_FIRST_EVENT, {"job_id": job.id, "payload": FIRST_PAYLOAD})
    return job


FIRST_PAYLOAD = {"state": JobState.QUEUED.value}
_FIRST_EVENT = insert(JobEvent).values(seq=1, type="state", attempt=0)
