"""What old jobs leave behind, and what of it need not be kept.

Only jobs that have ended are touched, and never the record of what happened: states, epochs and
checkpoints, metrics, attempts. The best checkpoint stays unless its removal is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from app.artifacts import Artifacts, MissingFileError
from app.db import Checkpoint, Job
from app.db.database import Database
from app.domain import FINISHED
from app.jobs.lock import own_remains

AT_ONCE = 200
"""Jobs that are found in one transaction."""
Days = Field(None, ge=1, le=36_500)


class Retention(BaseModel):
    """For how many days what is kept; null = for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    progress_days: int | None = Days
    """Events that only told how far a job was."""
    logs_days: int | None = Days
    """The trainer's printed lines."""
    resume_days: int | None = Days
    """States that a failed or cancelled job could be retried from."""
    checkpoints_days: int | None = Days
    """Checkpoints that are neither the best nor the last of their job."""
    orphans_days: int | None = Days
    """Checkpoints that no record tells of: their attempt was killed before it could be written."""
    best_too: bool = False
    """With `checkpoints_days`: the best and the last ones as well."""
    deliveries_days: int | None = Days
    """What became of webhooks' deliveries."""
    audit_days: int | None = Days
    """The audit log."""


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be."""

    what: str
    job_id: str | None
    name: str
    count: int
    size: int
    """Bytes of files."""


def prune(
    database: Database, artifacts: Artifacts | None, policy: Retention, *, dry_run: bool
) -> Iterator[Pruned]:
    """Remove what the policy does not keep, or only tell; a file that is gone already is fine.

    May be stopped and repeated at any time. Without `artifacts` no file is touched. Raises
    StoreAwayError.
    """
    if policy.progress_days is not None:
        yield from _rows(database, "progress", PROGRESS, policy.progress_days, dry_run)
    if policy.deliveries_days is not None:
        yield from _rows(database, "deliveries", DELIVERIES, policy.deliveries_days, dry_run)
    if policy.audit_days is not None:
        yield from _rows(database, "audit", AUDIT, policy.audit_days, dry_run)
    if artifacts is None:
        return
    for days, find in (
        (policy.logs_days, _logs),
        (policy.resume_days, _resume_states),
        (policy.checkpoints_days, lambda s, j, a: _checkpoints(s, j, policy.best_too)),
        (policy.orphans_days, _orphans),
    ):
        if days is not None:
            yield from _files(database, artifacts, days, find, dry_run)


PROGRESS = """
    events WHERE (job_id, seq) IN (
      SELECT events.job_id, events.seq FROM events JOIN jobs ON jobs.id = events.job_id
      WHERE events.type = 'progress'
        AND jobs.finished_at < now() - make_interval(days => :days)
        AND jobs.state IN ('succeeded', 'failed', 'cancelled', 'pruned')
        AND events.seq < jobs.last_seq
      LIMIT 20000)
"""
DELIVERIES = """
    webhook_deliveries WHERE seq IN (
      SELECT seq FROM webhook_deliveries
      WHERE state <> 'pending' AND created_at < now() - make_interval(days => :days) LIMIT 20000)
"""
AUDIT = """
    audit_log WHERE seq IN (
      SELECT seq FROM audit_log WHERE at < now() - make_interval(days => :days) LIMIT 20000)
"""


def _rows(database: Database, what: str, which: str, days: int, dry_run: bool) -> Iterator[Pruned]:
    """Rows of a table, some thousands in one transaction."""
    total = 0
    if dry_run:
        with database.session() as session:
            unlimited = which.replace("LIMIT 20000", "")
            total = session.scalar(text(f"SELECT count(*) FROM {unlimited}"), {"days": days}) or 0
    else:
        removed = -1
        while removed:
            with database.session() as session:
                statement = text(
                    f"WITH gone AS (DELETE FROM {which} RETURNING 1) SELECT count(*) FROM gone"
                )
                removed = session.scalar(statement, {"days": days}) or 0
            total += removed
    if total:
        yield Pruned(what, None, f"older than {days} days", total, 0)


Find = Callable[[Session, str, Artifacts], list[tuple[str, str]]]
"""What of a job may go, and the places of the files."""


def _files(
    database: Database, artifacts: Artifacts, days: int, find: Find, dry_run: bool
) -> Iterator[Pruned]:
    """Files of ended jobs, oldest first."""
    last = ""
    while ids := _ended(database, days, after=last):
        for job_id in ids:
            with (
                database.reading() as session,
                own_remains(session, job_id) as is_ours,
            ):
                # One that was retried since it was found keeps everything.
                is_over = is_ours and session.scalar(_old(days).where(Job.id == job_id))
                found = find(session, job_id, artifacts) if is_over else []
                removed = list(_remove(artifacts, job_id, found, dry_run))
            yield from removed
        last = ids[-1]


def _ended(database: Database, days: int, *, after: str) -> Sequence[str]:
    """The next jobs that have ended so long ago. Locked, so that the audit log tells of what is
    done to them."""
    with database.session() as session:
        statement = _old(days).where(Job.id > after).order_by(Job.id).limit(AT_ONCE)
        return session.scalars(statement.with_for_update(skip_locked=True, key_share=True)).all()


def _old(days: int) -> Select[str]:
    is_old = Job.finished_at < func.now() - timedelta(days=days)
    return select(Job.id).where(Job.state.in_(FINISHED), is_old)


def _remove(
    artifacts: Artifacts, job_id: str, found: list[tuple[str, str]], dry_run: bool
) -> Iterator[Pruned]:
    for what, path in found:
        size = artifacts.size(path)
        if size is None:
            continue
        if not dry_run:
            with suppress(MissingFileError):
                artifacts.remove(path)
        yield Pruned(what, job_id, path.rpartition("/")[2], 1, size)


def _logs(_session: Session, job_id: str, _artifacts: Artifacts) -> list[tuple[str, str]]:
    return [("log", f"{job_id}/log.txt")]


def _resume_states(_session: Session, job_id: str, artifacts: Artifacts) -> list[tuple[str, str]]:
    which = f"{job_id}/attempt-*/resume*.pt"
    return [("resume", path) for path in artifacts.names(job_id) if fnmatchcase(path, which)]


def _checkpoints(session: Session, job_id: str, best_too: bool) -> list[tuple[str, str]]:
    rows = session.execute(
        select(Checkpoint.path, Checkpoint.is_best)
        .where(Checkpoint.job_id == job_id)
        .order_by(Checkpoint.epoch)
    ).all()
    return [
        ("checkpoint", path)
        for place, (path, is_best) in enumerate(rows)
        if best_too or not (is_best or place == len(rows) - 1)
    ]


def _orphans(session: Session, job_id: str, artifacts: Artifacts) -> list[tuple[str, str]]:
    which = f"{job_id}/attempt-*/*.gk3"
    found = {path for path in artifacts.names(job_id) if fnmatchcase(path, which)}
    known = set(session.scalars(select(Checkpoint.path).where(Checkpoint.job_id == job_id)))
    return [("orphan", path) for path in sorted(found - known)]
