"""Read jobs and what belongs to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Attempt, Checkpoint, Job, JobEvent, Worker
from app.domain import JobState, NoCheckpointError, NotFoundError
from app.jobs.listing import JobFilter, JobPage, list_jobs
from app.jobs.series import Point, Series, metric_series

__all__ = [
    "JobFilter",
    "JobPage",
    "Load",
    "Point",
    "Series",
    "attempts",
    "best_checkpoint",
    "checkpoint",
    "checkpoints",
    "events_after",
    "existing",
    "job",
    "last_checkpoint",
    "last_seq",
    "list_jobs",
    "loads",
    "metric_series",
    "output_folders",
    "output_folders_of",
    "workers",
]


def job(session: Session, job_id: str) -> Job:
    """One job. Raises NotFoundError."""
    found = session.get(Job, job_id)
    if found is None:
        raise NotFoundError(f"no job {job_id!r}")
    return found


def last_seq(session: Session, job_id: str) -> int:
    """The number of a job's newest event. Raises NotFoundError."""
    found = session.scalar(select(Job.last_seq).where(Job.id == job_id))
    if found is None:
        raise NotFoundError(f"no job {job_id!r}")
    return found


def existing(session: Session, job_ids: Sequence[str]) -> set[str]:
    """Those of the ids that a job has."""
    return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids))))


def attempts(session: Session, job_id: str) -> Sequence[Attempt]:
    """A job's attempts, first to last. Raises NotFoundError."""
    job(session, job_id)
    statement = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)
    return session.scalars(statement).all()


def events_after(
    session: Session, job_id: str, after: int = 0, limit: int = 100
) -> Sequence[JobEvent]:
    """A job's events with `seq` > `after`, oldest first, at most `limit`."""
    statement = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.seq > after)
        .order_by(JobEvent.seq)
        .limit(limit)
    )
    return session.scalars(statement).all()


def checkpoints(session: Session, job_id: str) -> Sequence[Checkpoint]:
    """A job's checkpoints, newest epoch first. Raises NotFoundError."""
    job(session, job_id)
    statement = (
        select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.epoch.desc())
    )
    return session.scalars(statement).all()


def checkpoint(session: Session, checkpoint_id: str) -> Checkpoint:
    """One checkpoint. Raises NotFoundError."""
    found = session.get(Checkpoint, checkpoint_id)
    if found is None:
        raise NotFoundError(f"no checkpoint {checkpoint_id!r}")
    return found


def best_checkpoint(session: Session, job_id: str) -> Checkpoint:
    """The checkpoint of a job's best epoch. Raises NotFoundError, NoCheckpointError."""
    best = [one for one in checkpoints(session, job_id) if one.is_best]
    return _first(best, job_id)


def last_checkpoint(session: Session, job_id: str) -> Checkpoint:
    """The checkpoint of a job's newest epoch. Raises NotFoundError, NoCheckpointError."""
    return _first(checkpoints(session, job_id), job_id)


def output_folders(session: Session, job_id: str) -> Sequence[str]:
    """Folders below the artifacts that may hold a job's outputs, the newest attempt's first.

    A running attempt takes over an earlier one's files when it resumes: until then the earlier
    one's are the newest. Raises NotFoundError.
    """
    job(session, job_id)
    return output_folders_of(session, [job_id])[job_id]


def output_folders_of(session: Session, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """The `output_folders` of each of several jobs."""
    statement = (
        select(Attempt.job_id, Attempt.number)
        .where(Attempt.job_id.in_(job_ids))
        .order_by(Attempt.number.desc())
    )
    folders: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
    for job_id, number in session.execute(statement):
        folders[job_id].append(f"{job_id}/attempt-{number}")
    return folders


def workers(session: Session) -> Sequence[Worker]:
    """Workers: those that have not stopped first, then by the newest heartbeat."""
    statement = select(Worker).order_by(
        Worker.stopped_at.is_not(None), Worker.heartbeat_at.desc(), Worker.id
    )
    return session.scalars(statement.limit(1000)).all()


@dataclass(frozen=True)
class Load:
    """How busy a job kept what it runs on in its last epoch, as shares of the time."""

    cpu: float | None
    gpu: float | None


def loads(session: Session, job_ids: Collection[str]) -> dict[str, Load]:
    """Those of the jobs that run and have told of an epoch."""
    cpu, gpu = (Job.metrics[f"sys/{part}_util"].as_float() for part in ("cpu", "gpu"))
    statement = select(Job.id, cpu, gpu).where(
        Job.id.in_(job_ids), Job.state == JobState.RUNNING, Job.metrics.is_not(None)
    )
    return {job_id: Load(cpu, gpu) for job_id, cpu, gpu in session.execute(statement)}


def _first(found: Sequence[Checkpoint], job_id: str) -> Checkpoint:
    if not found:
        raise NoCheckpointError(f"job {job_id} has not written such a checkpoint yet")
    return found[0]
