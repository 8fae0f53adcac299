"""Change what may be changed of a job: its labels, its priority, its note."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from app.db import Job
from app.domain import ChangedError, InvalidSpecError
from app.jobs.lock import lock_job, written
from gogooku3.config import MAX_LABELS, JobPatch, Problem


def change(
    session: Session,
    job_id: str,
    patch: JobPatch,
    *,
    is_as_expected: Callable[[Job], bool] | None = None,
) -> Job:
    """Apply what `patch` gives and leave the rest. Labels are merged; null removes one.

    A waiting job of another priority keeps its place among those. Raises NotFoundError;
    ChangedError when the job, locked by now, is not as expected; InvalidSpecError.
    """
    job = lock_job(session, job_id)
    if is_as_expected is not None and not is_as_expected(job):
        raise ChangedError(f"job {job.id} has changed since it was read; read it again")
    given = patch.model_fields_set
    if "labels" in given:
        labels = {**job.labels, **patch.labels}
        job.labels = {key: value for key, value in labels.items() if value is not None}
        if len(job.labels) > MAX_LABELS:
            message = f"a job has at most {MAX_LABELS} labels; this would make {len(job.labels)}"
            raise InvalidSpecError([Problem("/labels", "too-many-labels", message)])
    if "priority" in given:
        job.priority = patch.priority
    if "note" in given:
        job.note = patch.note
    return written(session, job)
