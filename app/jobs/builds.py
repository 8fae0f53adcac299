"""What a build has made becomes the dataset that jobs find."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Job
from app.domain import DatasetExistsError, JobKind, JobState
from app.jobs import datasets
from app.jobs.append import append
from app.jobs.lock import lock_running
from gogooku3.data.graphs import remove_graphs
from gogooku3.data.header import SUFFIX, read_header
from gogooku3.errors import DatasetError, DatasetNotFoundError
from gogooku3.events import DatasetEvent

STAGING = ".building"
"""Folder beside the datasets: on their disk, so that a finished one only needs a new name."""


def staging_folder(caches: Path, job_id: str, attempt: int) -> Path:
    """Where an attempt's builder writes, and nobody else."""
    return caches / STAGING / f"{job_id}.{attempt}"


def publish(
    session: Session, job_id: str, attempt: int, built: DatasetEvent, staged: Path, caches: Path
) -> None:
    """Give a complete file its dataset's name, and note it in the job's record.

    In the transaction that ends the attempt: an attempt that has lost its lease publishes nothing.
    Safe to repeat when that transaction's commit was cut off. Raises StaleLeaseError,
    DatasetExistsError when a dataset of the name has come up since the job was submitted, and
    DatasetNotFoundError when the file is gone.
    """
    job = lock_running(session, job_id, attempt)
    datasets.own(session, job.dataset)
    path = caches / f"{job.dataset}{SUFFIX}"
    if not _is(path, built.fingerprint):
        _place(staged, path, may_replace=bool(job.spec.get("replace", False)))
    job.dataset_fingerprint = built.fingerprint
    append(session, job, "dataset", {"dataset": job.dataset, **built.model_dump(exclude={"type"})})


def builder_of(session: Session, name: str, fingerprint: str) -> str | None:
    """The id of the newest job that built the dataset as it is; None = it came another way."""
    return session.scalar(
        select(Job.id)
        .where(
            Job.dataset == name,
            Job.kind == JobKind.DATASET,
            Job.state == JobState.SUCCEEDED,
            Job.dataset_fingerprint == fingerprint,
        )
        .order_by(Job.created_at.desc())
        .limit(1)
    )


def sweep_staging(session: Session, caches: Path) -> list[str]:
    """Remove the folders of attempts that no longer run: their worker was killed before it could.
    Returns the folders' names."""
    parent = caches / STAGING
    # Looked for before the jobs are: an attempt runs before it has a folder.
    found = {path.name: path for path in parent.iterdir()} if parent.is_dir() else {}
    if not found:
        return []
    running = session.execute(
        select(Job.id, Job.attempt).where(
            Job.kind == JobKind.DATASET, Job.state == JobState.RUNNING
        )
    )
    left = sorted(found.keys() - {f"{job_id}.{attempt}" for job_id, attempt in running})
    for name in left:
        shutil.rmtree(found[name], ignore_errors=True)
    return left


def _is(path: Path, fingerprint: str) -> bool:
    try:
        return read_header(path).fingerprint == fingerprint
    except DatasetError:
        return False


def _place(staged: Path, path: Path, *, may_replace: bool) -> None:
    if not staged.is_file():
        raise DatasetNotFoundError(f"the file of dataset {path.stem!r} was removed after its build")
    if path.exists() and not may_replace:
        raise DatasetExistsError(
            f"a dataset {path.stem!r} has come up while this one was being built"
        )
    # The graphs of another dataset: they can be made again, and must not stand beside this one.
    remove_graphs(path)
    staged.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
